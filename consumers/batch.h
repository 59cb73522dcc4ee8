/* What a loop decides at once: records, timers and answers of some of its shards, the rows that they touch, and what is
 * said of them; committed in one transaction. Belongs to the loop's thread, as all of it. */
#ifndef ORDERLOG_CONSUMERS_BATCH_H
#define ORDERLOG_CONSUMERS_BATCH_H

#include "consumers/internal.h"

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
