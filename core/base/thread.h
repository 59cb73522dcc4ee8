/* What threads share: names, as tools show them (top -H, perf, orderlog bench), and waiting. */
#ifndef ORDERLOG_BASE_THREAD_H
#define ORDERLOG_BASE_THREAD_H

#include <pthread.h>

/* Names the calling thread: the first 15 bytes count. */
void thread_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A condition whose timed waits count by the monotonic clock (clock_monotonic_us): setting the time moves none. */
void thread_cond_init(pthread_cond_t *cond);

#endif
