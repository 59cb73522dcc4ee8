/* The projector: folds topics into the rows of a view, in one store. Written once; stores differ behind store.h.
 *
 * A projector's shard i is partition i of its topics. Where it stands is kept by the store with the rows, in one write
 * that fails when somebody else moved on meanwhile: so a record is applied once, whoever crashes, freezes or owns the
 * shard twice. The group's committed positions are told for other people's tools only. */
#ifndef ORDERLOG_PROJECTIONS_LOOP_H
#define ORDERLOG_PROJECTIONS_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/checks.h"
#include "core/log/log.h"
#include "projections/store.h"

/* Lets other threads interrupt a projector that waits. */
struct projector_waker {
    pthread_mutex_t mutex;
    struct log_consumer *consumer;
};
#define PROJECTOR_WAKER_INIT ((struct projector_waker){PTHREAD_MUTEX_INITIALIZER, NULL})
void projector_wake(struct projector_waker *waker);

/* How a projector's shards stand, for probes: a line for each, made by its loop, asked by any thread. */
struct projector_status {
    pthread_mutex_t mutex;
    struct checks checks; /* guarded by it */
};
#define PROJECTOR_STATUS_INIT ((struct projector_status){PTHREAD_MUTEX_INITIALIZER, {0}})
/* Adds them. A shard that cannot go on is a warning: what can be read is what its store has. */
void projector_check(struct projector_status *status, struct checks *checks);
void projector_status_free(struct projector_status *status); /* once the projector has ended */

struct projector_config {
    const struct projector_store_ops *store; /* &projector_redis or &projector_postgres */
    const char *url;                         /* of the store */
    const struct view *view;                 /* one of views_all */
    const struct shop *shop;
    struct projector_status *status; /* NULL: nobody asks */
    struct projector_waker *waker;   /* NULL: `stop` is seen within PROJECTOR_POLL_MS */
    size_t batch_max;                /* records per poll; 0: 1,000 */
    int64_t look_ms;                 /* how often it looks whether the store still has what it had; 0: 5,000 */
    int64_t linger_ms;   /* at least this long after a poll that found something: larger batches, less work */
    size_t busy_records; /* after a poll that found so many, at least busy_linger_ms; 0: no difference */
    int64_t busy_linger_ms;
    /* Told when a shard was read and goes on from there, and when it is halted, for /readyz and tests. On the loop's
     * thread. May be NULL. */
    void (*shard_changed)(void *user, int32_t shard, bool running, const struct err *why_halted);
    void *user;
};

enum { PROJECTOR_POLL_MS = 250 };

/* Runs until *stop. A store or log that is away is waited for, for ever. A shard is halted (an error in the log and the
 * metric orderlog_shard_halted say so) until the process restarts or the shard is assigned anew, when: the log has
 * lost records, a record's type or schema is unknown, or the rows are of another log. A record that cannot be handled
 * is parked in the store, and what comes of its subject behind it. False: the configuration or the topics are not as
 * they must be. */
CHECK_RESULT bool projector_run(struct log *log, const struct projector_config *config, const atomic_bool *stop,
                                struct err *err);
/* The same for several views of one store (the same ops and URL) in one thread: less work, because what they
 * load and save is one round trip. Each keeps its own positions, group and waker. */
CHECK_RESULT bool projector_run_together(struct log *log, const struct projector_config *const *configs, size_t count,
                                         const atomic_bool *stop, struct err *err);

#endif
