/* What the files of the decider loop share; batch.h has what is of a batch. A loop, its services, shards and batch
 * belong to the loop's thread. */
#ifndef ORDERLOG_CONSUMERS_INTERNAL_H
#define ORDERLOG_CONSUMERS_INTERNAL_H

#include <pthread.h>

#include "consumers/cache.h"
#include "consumers/catalogue.h"
#include "consumers/loop.h"
#include "core/base/arena.h"
#include "core/base/metrics.h"
#include "core/log/envelope.h"
#include "core/store/pg.h"
#include "core/trace/trace.h"
#include "producers/publisher.h"

enum {
    LOOP_BATCH_MAX = 1000,
    LOOP_BACKLOG_MAX_BYTES = 16 << 20,
    LOOP_INPUTS_MAX = 8,
    LOOP_TABLES_MAX = 4, /* of a decider */
};

struct batch;
struct flush;

enum shard_status {
    SHARD_AWAY,    /* not (wholly) assigned to this loop */
    SHARD_WAITING, /* assigned; to be taken over at retry_at_us */
    SHARD_RUNNING,
    SHARD_HALTED, /* stands before something it must not move past */
};

struct shard_origin {
    struct str topic; /* owned, as is origin */
    struct str origin;
    int64_t last_seq;
};

struct shard_output {
    struct str topic; /* owned */
    int32_t partition;
    int64_t last_seq;
    int64_t acknowledged_offset;
};

/* A shard that this loop owns, as its row in PostgreSQL has it plus what the batch in hand adds. After any doubt all
 * of it is thrown away and read again (shard_take_over). */
struct shard {
    struct service *service;
    int32_t index; /* within its service: the partition */
    int32_t slot;  /* within the loop */
    enum shard_status status;
    enum shard_status told; /* to probes and metrics */
    struct metric *halted_gauge, *running_gauge;
    uint32_t assigned; /* a bit for each input topic */
    int64_t retry_at_us;
    int64_t retry_delay_us;
    char *halted_why;
    char *halt_next; /* why it halts once it is taken over, so that what it decided is published; NULL: it does not */

    int64_t epoch;
    int64_t version; /* of the row: one more with each commit; also the id of the outbox row */
    int64_t done_saved;
    int64_t flushed_through; /* the tables hold what was changed up to this version */
    int64_t flushed_saved;   /* as the row says */
    bool moved;              /* next_offsets are ahead of the row's: only duplicates came since */
    int64_t next_offsets[LOOP_INPUTS_MAX];
    struct shard_origin *origins;
    size_t origin_count;
    struct shard_output *outputs;
    size_t output_count;

    int64_t next_due_us; /* of the earliest timer; INT64_MAX: none */
    bool settling;       /* a timer is due; what was committed before `settle_time_us` is to be in the log first */
    int64_t settle_time_us, settle_asked_at_us; /* by PostgreSQL's clock; monotonic */
    bool fenced; /* a timer is due and `fence` holds the inputs' ends as they were after that */
    int64_t fence_time_us;
    int64_t fence[LOOP_INPUTS_MAX];
    bool timers_fired; /* in the batch in hand: look up the next one after it */

    struct str *parked; /* subjects with parked records, owned */
    size_t parked_count;
    int64_t parked_check_at_us;
    int64_t force_park_offset; /* a record that failed alone in the database: park it; -1: none */
    int32_t force_park_input;
    char *force_left;      /* the intent whose answer failed alone: leave it to operators; NULL: none. Owned */
    char *put_off;         /* the timer that failed alone, by key and name: later; NULL: none. Owned */
    bool marked_alone;     /* a batch of marked records failed in the database: one by one */
    int64_t force_kept_id; /* a marked record that failed alone: keep it parked; 0: none */
};

/* A decider in its loop. */
struct service {
    struct loop *loop;
    const struct decider *decider;
    struct log_consumer *consumer;
    struct catalogue *catalogue;
    struct log_topic inputs[LOOP_INPUTS_MAX];
    struct log_batch polled;
    struct shard *shards; /* part of the loop's */
    int32_t shard_count;
    int first_table; /* its tables' numbers within the loop begin here */
    bool assigned_once, assigned_told;

    struct {
        struct metric *records;
        struct metric *duplicates;
        struct metric *parked;
        struct metric *put_off;
        struct metric *take_overs;
        struct metric *halted;
        struct metric *emitted;
        struct metric *stage;
    } metrics;
};

/* A decider's table in its loop. */
struct table {
    const struct decider_table *spec;
    const struct schema_subject *subject;
    const struct service *service;
    char *load;
    char *load_open;
    char *insert;
    char *update;
};

struct loop {
    struct loop_config config;
    char *owner; /* this start's nonce */
    pthread_t thread;
    atomic_bool stop;
    int64_t fence_at_us;         /* the log did not say where it ends: not asked again before */
    pthread_mutex_t status_lock; /* guards `status` */
    struct checks status;        /* what was last told of each shard */

    pthread_mutex_t wake_lock; /* guards `woken` */
    pthread_cond_t wake_cond;
    bool woken;

    struct pg *pg;
    struct flush *flush;
    struct cache cache;
    struct publisher *publisher;
    struct effects *effects;
    struct service services[LOOP_DECIDERS_MAX];
    size_t service_count;
    struct table tables[LOOP_DECIDERS_MAX * LOOP_TABLES_MAX];
    int table_count;
    struct shard *shards; /* of all services, by slot */
    int32_t shard_count;
    size_t isolate; /* so many batches of one record, to find the one that the database refuses */
    size_t unfused; /* so many batches in which nothing is handed over, for what is to be parked needs its place */
    size_t poll_first;
    int64_t housekeeping_at_us;
    int64_t operators_at_us;
    int64_t idle_save_at_us;
    int64_t positions_at_us;

    struct {
        struct metric *batches;
        struct metric *batch_seconds;
        struct metric *backlog;
        struct metric *handed;
    } metrics;
};

/* ---- loop.c ---- */

/* A shard must not go on after these. */
bool err_must_halt(enum err_kind kind);

/* Once round: publish, take over, poll, decide, commit. */
void loop_turn(struct loop *loop, struct batch *batch);

/* ---- between.c: what is done between batches ---- */

/* A connection that works, or false, said so in the log. */
bool loop_have_database(struct loop *loop);
void loop_take_over_waiting(struct loop *loop);
/* Old rows of outbox and commands. */
void loop_keep_house(struct loop *loop);
/* From any thread. */
void loop_wake(void *loop);
/* Until somebody wakes it. */
void loop_wait(struct loop *loop, int64_t timeout_ms);

/* ---- status.c: for probes and metrics ---- */

void status_register(struct loop *loop);
void status_register_service(struct service *service);
void status_register_shard(struct shard *shard);
/* What changed since it was last told. */
void status_write(struct loop *loop);

/* ---- shard.c: ownership and position ---- */

/* Step 1 of the loop: a new epoch, then everything read anew, sought and queued. */
CHECK_RESULT bool shard_take_over(struct loop *loop, struct shard *shard, struct err *err);
/* Throws away all that is held in memory; positions are no longer known. */
void shard_drop(struct loop *loop, struct shard *shard);
/* To be taken over again, after a delay that grows with each failure. */
void shard_retry(struct loop *loop, struct shard *shard, const struct err *why);
void shard_halt(struct shard *shard, const struct err *why);
/* The row's bytes as they are now. */
void shard_encode(const struct loop *loop, const struct shard *shard, struct arena *arena, struct buf *ret);
/* 0 when nothing was received. */
int64_t shard_last_seq(const struct shard *shard, struct str topic, struct str origin);
void shard_set_last_seq(struct shard *shard, struct str topic, struct str origin, int64_t seq);
/* The next number of this output partition. */
int64_t shard_next_seq(struct shard *shard, struct str topic, int32_t partition);
CHECK_RESULT bool shard_load_next_due(struct loop *loop, struct shard *shard, struct err *err);
/* Whether the log still has all that it acknowledged, and no higher numbers of this shard's origin than its row knows:
 * else ERR_LOST_RECORDS, one of the two is of an earlier time. `fresh`: the row was only just made. Reads the log from
 * what was acknowledged on, a bounded part of it. Not within a transaction: a log that answers slowly is not to hold a
 * row's lock. */
CHECK_RESULT bool shard_check_log(struct loop *loop, const struct shard *shard, bool fresh, struct err *err);
bool shard_is_parked(const struct shard *shard, struct str subject);
void shard_add_parked(struct shard *shard, struct str subject);
void shard_remove_parked(struct shard *shard, struct str subject);
/* For "service=%s shard=%d". */
#define SHARD_ARG(shard) (shard)->service->decider->service, (shard)->index

#endif
