#include "cli/emf.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/emf.h"
#include "core/base/logging.h"
#include "core/base/thread.h"

static struct {
    struct emf *emf; /* NULL: off */
    int64_t period_s;
    pthread_t thread;
    pthread_mutex_t lock; /* guards `stop` */
    pthread_cond_t stopping;
    bool stop;
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Lines are whole: the log that reads them takes each for a document. */
static void write_now(void) {
    BUF_AUTO lines = {0};
    emf_write(writer.emf, clock_now_us(), &lines);
    flockfile(stdout);
    bool ok = fwrite(lines.ptr, 1, lines.len, stdout) == lines.len && fflush(stdout) == 0;
    funlockfile(stdout);
    if (!ok)
        logging_write(LOG_WARN, "emf.not_written", "why=\"%s\"", strerrordesc_np(errno));
}

static void *writer_main(void *unused) {
    (void)unused;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&writer.lock);
    while (!writer.stop) {
        next.tv_sec += writer.period_s;
        while (!writer.stop && pthread_cond_timedwait(&writer.stopping, &writer.lock, &next) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&writer.lock);
        write_now();
        pthread_mutex_lock(&writer.lock);
    }
    pthread_mutex_unlock(&writer.lock);
    return NULL;
}

static bool name_valid(const char *name) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_/#:";
    size_t len = strlen(name);
    return len >= 1 && len <= 255 && strspn(name, allowed) == len;
}

bool emf_start(struct err *err) {
    const char *name = config_get("ORDERLOG_EMF_NAMESPACE", "orderlog");
    if (!config_int("ORDERLOG_EMF_SECONDS", 0, 0, 3600, &writer.period_s, err))
        return false;
    if (!writer.period_s)
        return true;
    if (!name_valid(name))
        return err_set(err, ERR_CONFIG, "ORDERLOG_EMF_NAMESPACE must be 1 to 255 of letters, digits and .-_/#:");
    thread_cond_init(&writer.stopping);
    writer.emf = emf_open(name);
    if (pthread_create(&writer.thread, NULL, writer_main, NULL) == 0)
        return true;
    emf_close(writer.emf);
    writer.emf = NULL;
    return err_set(err, ERR_INTERNAL, "no thread can be started");
}

void emf_stop(void) {
    if (!writer.emf)
        return;
    pthread_mutex_lock(&writer.lock);
    writer.stop = true;
    pthread_cond_signal(&writer.stopping);
    pthread_mutex_unlock(&writer.lock);
    pthread_join(writer.thread, NULL);
    emf_close(writer.emf);
    writer.emf = NULL;
}
