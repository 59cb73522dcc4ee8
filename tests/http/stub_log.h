/* A log that is the embedded one, but whose acknowledgements come when the test says so: held back, failed, or given.
 */
#ifndef ORDERLOG_TESTS_HTTP_STUB_LOG_H
#define ORDERLOG_TESTS_HTTP_STUB_LOG_H

#include "harness.h"

#include <pthread.h>

#include "core/log/adapter.h"

enum { STUB_MAX = 4096 };

struct stub_append {
    const char *topic;
    log_delivery *delivery;
    void *user;
};

struct stub_log {
    struct log base;
    struct log_ops ops;
    struct log *real;
    struct log_producer producer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct stub_append held[STUB_MAX]; /* in their order, from `first` on */
    size_t first, count;
    bool at_once;           /* acknowledge at once, inside of the append */
    int64_t return_late_ms; /* and so long before it returns */
    struct err refusal;     /* kind not NONE: appends are refused */
};

static inline bool stub_topic_find(struct log *log, struct str name, struct log_topic *ret, struct err *err) {
    return log_topic_find(((struct stub_log *)log)->real, name, ret, err);
}

static inline bool stub_producer_open(struct log *log, const struct log_producer_options *options,
                                      struct log_producer **ret, struct err *err) {
    (void)options, (void)err;
    struct stub_log *stub = (struct stub_log *)log;
    stub->producer.log = log;
    *ret = &stub->producer;
    return true;
}

static inline bool stub_append(struct log_producer *producer, const struct log_record *record, log_delivery *delivery,
                               void *user, struct err *err) {
    struct stub_log *stub = (struct stub_log *)producer->log;
    pthread_mutex_lock(&stub->lock);
    bool accepted = stub->refusal.kind == ERR_NONE, at_once = stub->at_once;
    if (!accepted)
        *err = stub->refusal;
    else if (!at_once)
        stub->held[stub->count++ % STUB_MAX] =
            (struct stub_append){schema_subject_find(record->topic)->name, delivery, user};
    pthread_cond_broadcast(&stub->changed);
    pthread_mutex_unlock(&stub->lock);
    if (accepted && at_once) {
        delivery(user, LOG_PERSISTED, 0, 0, NULL);
        clock_sleep_ms(stub->return_late_ms);
    }
    return accepted;
}

/* Waits until `count` appends came in all. */
static inline void stub_await(struct stub_log *stub, size_t count) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&stub->lock);
    while (stub->count < count)
        if (pthread_cond_timedwait(&stub->changed, &stub->lock, &until) != 0)
            fail_msg("%zu appends came instead of %zu", stub->count, count);
    pthread_mutex_unlock(&stub->lock);
}

/* Reports the oldest append that is held. */
static inline void stub_deliver(struct stub_log *stub, enum log_outcome outcome) {
    struct err err = {0};
    err_set(&err, ERR_LOG_UNAVAILABLE, "the stub says so");
    pthread_mutex_lock(&stub->lock);
    assert_true(stub->first < stub->count);
    struct stub_append append = stub->held[stub->first++ % STUB_MAX];
    pthread_mutex_unlock(&stub->lock);
    append.delivery(append.user, outcome, 0, 0, outcome == LOG_PERSISTED ? NULL : &err);
}

/* The topic of the append that came as number `index`, from 0. */
static inline const char *stub_topic(struct stub_log *stub, size_t index) {
    pthread_mutex_lock(&stub->lock);
    const char *topic = stub->held[index % STUB_MAX].topic;
    pthread_mutex_unlock(&stub->lock);
    return topic;
}

static inline size_t stub_held(struct stub_log *stub) {
    pthread_mutex_lock(&stub->lock);
    size_t held = stub->count - stub->first;
    pthread_mutex_unlock(&stub->lock);
    return held;
}

static inline bool stub_flush(struct log_producer *producer, int64_t timeout_ms) {
    (void)producer, (void)timeout_ms;
    return true;
}

/* As the port says: each append gets its delivery. */
static inline void stub_producer_close(struct log_producer *producer) {
    struct stub_log *stub = (struct stub_log *)producer->log;
    while (stub_held(stub))
        stub_deliver(stub, LOG_OUTCOME_UNKNOWN);
}

static inline struct stub_log *stub_new(struct log *real) {
    struct stub_log *stub = calloc(1, sizeof *stub);
    stub->ops = (struct log_ops){.topic_find = stub_topic_find,
                                 .producer_open = stub_producer_open,
                                 .producer_close = stub_producer_close,
                                 .append = stub_append,
                                 .flush = stub_flush};
    stub->base.ops = &stub->ops;
    stub->real = real;
    pthread_mutex_init(&stub->lock, NULL);
    pthread_cond_init(&stub->changed, NULL);
    return stub;
}

static inline void stub_free(struct stub_log *stub) {
    pthread_cond_destroy(&stub->changed);
    pthread_mutex_destroy(&stub->lock);
    free(stub);
}

#endif
