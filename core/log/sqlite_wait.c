#include "core/log/sqlite_internal.h"

#include <errno.h>
#include <time.h>

#include "core/base/clock.h"

int64_t sqlog_deadline_us(int64_t timeout_ms) {
    const int64_t longest_ms = (int64_t)365 * 24 * 3600 * 1000;
    if (timeout_ms < 0 || timeout_ms > longest_ms)
        return INT64_MAX;
    return clock_monotonic_us() + timeout_ms * 1000;
}

bool sqlog_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_us) {
    if (until_us == INT64_MAX) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}
