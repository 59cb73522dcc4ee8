/* Inside the projector: what loop.c (who owns what, when to read and save) and batch.c (what a poll's records do)
 * share. */
#ifndef ORDERLOG_PROJECTIONS_PROJECTOR_H
#define ORDERLOG_PROJECTIONS_PROJECTOR_H

#include "core/base/map.h"
#include "projections/loop.h"
#include "projections/positions.h"

struct metric;

enum shard_state {
    SHARD_OFF,     /* not ours */
    SHARD_UNREAD,  /* ours; nothing is held of it, and nothing of it is polled */
    SHARD_RUNNING, /* its positions are known, its topics are polled */
    SHARD_HALTED,  /* moves no further */
};

struct shard {
    int32_t index;
    enum shard_state state;
    size_t assigned; /* of its topics: it is ours when all are */
    struct positions positions;
    struct buf expected;               /* the positions as the store holds them; empty: it holds none */
    struct buf next;                   /* as they are to be saved */
    struct map parked;                 /* subjects */
    int64_t whole_at[VIEW_TOPICS_MAX]; /* the ends of its topics when its positions were read: past them it is whole */
    struct metric *halted_gauge, *running_gauge;
    enum shard_state told; /* to probes */
    char *halted_why;      /* owned; NULL: it is not halted */
    /* of the batch */
    bool touched;
    struct err *halt; /* why it is to halt once what came before is saved; NULL: it goes on */
    struct shard_save save;
};

struct projector {
    struct log *log;
    const struct projector_config *config;
    const atomic_bool *stop;
    char service[LAG_GROUP_SIZE]; /* the group */
    struct projector_store *store;
    struct log_consumer *consumer;
    struct log_topic topics[VIEW_TOPICS_MAX]; /* the view's, then what the store reads beyond */
    const struct schema_subject *subjects[VIEW_TOPICS_MAX];
    size_t topic_count;
    struct shard *shards;
    int32_t shard_count;
    struct arena arena;    /* of the batch */
    struct arena *rows;    /* where rows are folded: the batch's, unless the store keeps them as they are */
    int64_t backoff_ms;    /* how long it waited after the last failure; 0: all is well */
    int64_t retry_at_us;   /* unread shards are not read before */
    int64_t batch_at_us;   /* with tracing on: when the batch in hand was begun */
    int64_t look_at_us;    /* when the store is to be looked at again */
    enum err_kind trouble; /* the last failure; probes are public, and its text may name hosts */
    struct metric *applied, *duplicates, *parked, *save_seconds, *stage, *parked_subjects;
};

/* ---- parts.c */

/* False with ERR_CONFIG when the topics cannot be read together, else when one is not there (yet). */
CHECK_RESULT bool projector_find_topics(struct projector *projector, struct err *err);
void projector_open_shards(struct projector *projector); /* one for each partition of the topics */
void projector_close_shards(struct projector *projector);
void projector_open_metrics(struct projector *projector);

/* ---- status.c: how it stands, for probes and metrics */

/* Tells config->status what has changed since the last time. */
void projector_tell_status(struct projector *projector);
/* What was saved can be seen now. */
void projector_observe(struct projector *projector, const struct log_batch *records);
/* Spans of what these saves hold. */
void projector_trace(const struct projector *projector, const struct shard_save *saves, size_t count);

/* ---- loop.c: the steps of a projector's life; run.c takes them, for one or for several */

/* Opens the store and finds the topics; false as projector_run. After true, projector_free. */
CHECK_RESULT bool projector_init(struct projector *projector, struct log *log, const struct projector_config *config,
                                 const atomic_bool *stop, struct err *err);
void projector_free(struct projector *projector);
/* Joins the group; false when it was stopped before. `notify`: see log_consumer_notify; may be NULL. */
bool projector_join(struct projector *projector, void (*notify)(void *user), void *user);
void projector_leave(struct projector *projector);
/* Reads shards that are ours and unread; false: some are left so. */
bool projector_read_shards(struct projector *projector);
/* What it polls: at most so many records, and for so long. */
size_t projector_batch_max(const struct projector *projector);
int64_t projector_timeout_ms(const struct projector *projector, bool all_read);
/* After a poll that failed; false: nothing was done about it, and it may be tried again at retry_at_us. */
bool projector_poll_failed(struct projector *projector, const struct err *err);
/* After a load or a save that failed. */
void projector_store_failed(struct projector *projector, const struct err *err, const char *event);
/* What the batch changed, to be saved, in the batch's arena. */
struct shard_save *projector_saves(struct projector *projector, size_t *ret_count);
void projector_saved(struct projector *projector, const struct log_batch *records, const struct shard_save *saves,
                     size_t count, int64_t begun_us);

/* ---- batch.c */

struct batch; /* in the projector's arena */

/* What the records are, and which rows they need. */
struct batch *batch_begin(struct projector *projector, const struct log_batch *records);
struct view_row *const *batch_rows(const struct batch *batch, size_t *ret_count);
/* Once these are loaded: folds the records into rows and facts, fills in `save` of each shard that it touches, moves
 * its positions on, and says in `halt` where one must stop. Nothing is saved yet. */
void batch_end(struct batch *batch);
/* All of it. False: rows could not be loaded. */
CHECK_RESULT bool batch_fold(struct projector *projector, const struct log_batch *records, struct err *err);

#endif
