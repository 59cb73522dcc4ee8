/* What the files of the decider loop share. A loop, its services, shards and batch belong to the loop's thread. */
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

/* ---- batch.c: its items, and deciding them ---- */

/* Of a parked record: parked behind another of its subject, parked for itself, or marked by an operator. */
enum parked_status { PARKED_BEHIND, PARKED_ITSELF, PARKED_RETRY, PARKED_DROP };

enum item_source {
    ITEM_RECORD,
    ITEM_HANDED, /* a record that another shard of this loop decided in this batch: it has no place in the log yet */
    ITEM_TIMER,
    ITEM_RESULT,
    ITEM_PARKED,
};

/* Of an API command: whether its id was seen before. */
enum item_repeated { ITEM_NEW, ITEM_SAME, ITEM_OTHER_BODY };

/* One thing to decide. */
struct item {
    enum item_source source;
    struct shard *shard;
    size_t input_topic; /* index into the decider's inputs; of a record */
    struct input input;
    struct envelope envelope;
    struct message message;
    const struct log_record *record; /* of a record or parked record */
    struct str body_hash;            /* of an API command; else ptr NULL */
    bool command;                    /* an API command whose id is remembered */
    enum item_repeated repeated;
    struct err poison; /* kind not NONE: cannot be decoded, or (also of a timer) failed alone */
    int64_t parked_id;
    enum parked_status parked_status;
    struct effect_result *result; /* owned by the batch */
    bool open_outcome;            /* of a result: not known yet, the call is made again */
    struct span *span;            /* NULL: it is not traced */
    bool left;                    /* of a result that is open: left to operators, not made again */
    struct str left_why;
};

struct batch_row {
    struct row row;
    struct str image; /* as it will be stored, encoded; of a row that was put */
    uint64_t hash;
    int table; /* within the loop */
    int32_t slot;
    int64_t version; /* 0: new */
    int64_t guard;
    bool stored; /* in the table, in some version */
    bool loaded;
    bool closed;
    bool put;
};

struct timer_op {
    struct timer_op *next;
    struct timer_op *chain; /* in its bucket */
    int32_t slot;
    struct str key;
    struct str name;
    int64_t due_us; /* -1: cleared */
};

struct intent_op {
    struct intent_op *next;
    struct effect effect;
};

/* A record to be parked; or, when it is parked already: to be unparked (reason NULL) or kept with a new reason. */
struct parked_op {
    struct parked_op *next;
    const struct item *item;
    struct str reason;
    bool behind; /* parked only because its subject is */
};

struct str_node {
    struct str_node *next;
    struct str text;
};

enum { TIMER_BUCKETS = 256 };

struct batch {
    struct room room; /* first: the ops cast it back */
    struct loop *loop;
    struct arena arena;
    struct item **items;
    size_t item_count;
    size_t item_capacity;
    int64_t now_us; /* the time of what is handed over */

    struct shard *shard; /* of the item being decided */
    const struct item *item;
    struct str traceparent;  /* of what the item says */
    struct buf *outboxes;    /* by slot */
    int32_t *outbox_records; /* by slot */
    struct buf *changes;     /* by slot: state/changes */
    bool *touched;           /* by slot: its row changes */
    void **scratches;        /* by slot: room.scratch */
    bool left_to_log;        /* something was not handed over, since what comes before it has not come yet */
    struct shard *damaged;   /* it failed on a row of this shard that cannot be read */
    bool unfuse;             /* it failed on something handed over, which may go well, or be parked, unfused */

    struct batch_row **rows; /* open addressing over (table, key) */
    size_t row_capacity;
    size_t row_count;
    struct batch_row **wanted; /* to be loaded in this round */
    size_t wanted_count;
    size_t wanted_capacity;
    bool want_open[LOOP_DECIDERS_MAX * LOOP_TABLES_MAX];
    bool open_loaded[LOOP_DECIDERS_MAX * LOOP_TABLES_MAX];
    struct catalogue *want_catalogue; /* as new as the log is now */
    struct batch_row **in_order;      /* all rows, as they came */

    struct timer_op *timers;
    struct timer_op *timer_buckets[TIMER_BUCKETS];
    struct intent_op *intents;
    struct intent_op **intents_end;
    struct parked_op *parked;
    struct parked_op **parked_end;
    struct str_node *blocked; /* subjects of marked records that failed again, or are not marked */
    struct buf scratch;
    struct err failure; /* set by an op that cannot answer with an error itself */
};

void batch_init(struct batch *batch, struct loop *loop);
void batch_reset(struct batch *batch);
void batch_free(struct batch *batch);
struct item *batch_add_item(struct batch *batch);
/* Wants, loads and decides all items, and what they hand over. ERR_STORE_UNAVAILABLE and the like leave nothing behind
 * but the batch. */
CHECK_RESULT bool batch_decide(struct batch *batch, struct err *err);

/* ---- batch_room.c: what a decider sees and says ---- */

extern const struct room_ops batch_room_ops;
/* NULL when there is none and `make` is false. `table` is the loop's number. */
struct batch_row *batch_row_find(struct batch *batch, int table, struct str key, bool make);
/* due_us -1 clears it. */
void batch_set_timer(struct batch *batch, struct str key, struct str name, int64_t due_us);
/* Appends a record of ours to the outbox of batch->shard. `value` is encoded; extra headers may be given. */
void batch_emit_raw(struct batch *batch, struct str topic, struct str key, struct str subject, struct str type,
                    struct str value, const struct log_header *extra, size_t extra_count);

/* ---- traces.c ---- */

/* What is said of this item from here on is within its span, if it has one. */
void batch_begin_span(struct batch *batch, struct item *item);
/* Of all items; once they are committed. */
void batch_end_spans(const struct batch *batch);

/* ---- hand_over.c ---- */

/* A record that was just emitted, with its number: given to its receiver at once if that is a running shard of this
 * loop and has all that comes before. What is not, comes by the log. */
void batch_hand_over(struct batch *batch, const struct log_record *record, int64_t number);

/* ---- batch_store.c: its loads and its one transaction ---- */

CHECK_RESULT bool batch_load(struct batch *batch, struct err *err);
/* Marks items whose command id was seen before. */
CHECK_RESULT bool batch_load_commands(struct batch *batch, struct err *err);
/* ERR_FENCED: a shard is not ours any more; nothing was kept. */
CHECK_RESULT bool batch_save(struct batch *batch, struct err *err);
/* What was acknowledged, read past or flushed since the last commit is told the table, when there is nothing else to
 * do, so that a restart does not do it again. Only a saving: duplicates are dropped by their numbers. `batch` is empty.
 */
void loop_save_idle(struct loop *loop, struct batch *batch);

/* ---- changes.c: the rows, timers and intents that a batch changed, on their way into the tables ---- */

/* Fills batch->changes and the images of the rows that were put. */
CHECK_RESULT bool batch_encode_changes(struct batch *batch, struct err *err);
/* Once committed, they are the cache's and the flush's. */
void batch_keep_changes(struct batch *batch);
/* ---- intake.c: what there is to decide ---- */

/* Records of a poll: filtered by their origin's numbers, read, and added as items. A record that a shard must not move
 * past halts it. */
void intake_records(struct batch *batch, struct service *service);
/* Timers that are due, of shards that have consumed all that the log held by then; with `one`, of one shard one. */
CHECK_RESULT bool intake_timers(struct batch *batch, bool one, struct err *err);
/* Answers to calls, at most so many. */
void intake_results(struct batch *batch, size_t max);
/* A batch of this alone fails each time: when it comes again, it is set aside. */
void intake_set_aside(const struct item *item);

/* ---- operators.c: calls that only people can settle ---- */

/* Once a second: applies what operators have marked (decider.mark), to shards that are ours. */
void operators_turn(struct loop *loop);
/* Leaves a result that cannot be decided to operators; it is no reason to stand still. */
void operators_leave(struct batch *batch, struct item *item, const char *why);
/* Sees that intents whose outcome is open are in their table. */
CHECK_RESULT bool operators_prepare(struct batch *batch, struct err *err);
/* Keeps with each of them how often it was tried, and why there is none: adds a statement to the transaction. */
void operators_send(struct batch *batch);

/* ---- dead_letters.c ---- */

/* Why something is set aside that the loop could not commit, even alone. */
#define REASON_CANNOT_BE_KEPT "what comes of this record cannot be kept"
#define REASON_ANSWER_CANNOT_BE_KEPT "what comes of this answer cannot be kept"

/* Fills message, body hash or poison from item->record and the envelope that was read (a poison may be set already).
 * ERR_UNKNOWN_SCHEMA: this program is too old for it. */
CHECK_RESULT bool item_read(struct batch *batch, struct item *item, struct err *err);

/* Sets a record aside and its subject with it; publishes it to the dead-letter topic unless it is only `behind`. */
void batch_park(struct batch *batch, const struct item *item, const char *reason, bool behind);
/* Whether this parked item is to be decided now; settles it if not. */
bool batch_marked_is_due(struct batch *batch, const struct item *item);
void batch_marked_done(struct batch *batch, const struct item *item);
/* Adds the parked records that an operator marked, and those behind them, as items. */
CHECK_RESULT bool batch_add_marked(struct batch *batch, struct shard *shard, struct err *err);
/* Adds their statements to the transaction. */
void batch_send_parked(struct batch *batch);
CHECK_RESULT bool shard_load_parked(struct loop *loop, struct shard *shard, struct err *err);

#endif
