/* Reads the log on for several views at once, without a group, up to given offsets: what a rebuild does instead of a
 * projector's loop, with the projector's own batches (batch.c).
 *
 * First with rows in memory (kept_rows.h), from the beginning; then, with the store of the generation that was made of
 * them, to where the live one stands. Belongs to one thread. */
#ifndef ORDERLOG_PROJECTIONS_REFOLD_H
#define ORDERLOG_PROJECTIONS_REFOLD_H

#include "projections/projector.h"

struct refold_view {
    const struct view *view;
    struct projector projector;
    struct projector_config config;
    struct projector_store_ops ops;
    struct log_record *picked; /* its records of a poll */
    size_t picked_count;
    int64_t *limits; /* by shard and topic: the first offset that is not read any more */
};

struct refold {
    struct log *log;
    struct log_consumer *consumer;
    struct refold_view views[VIEW_COUNT];
    size_t view_count;
    int64_t events; /* read so far */
    /* After each poll; false ends the run. May be NULL. */
    bool (*tick)(void *user, struct err *err);
    /* Facts and parked records of a batch, before its rows are saved. May be NULL. */
    bool (*facts)(void *user, const struct view *view, struct shard_save *shards, size_t count, struct err *err);
    void *user;
};

/* Shards are at the beginning, limits 0. `ops` says which topics are read. */
CHECK_RESULT bool refold_open(struct log *log, const struct projector_store_ops *ops, const struct view *const *views,
                              size_t view_count, const struct shop *shop, struct refold *ret, struct err *err);
void refold_close(struct refold *refold);

/* From now on rows come from and go to this store; not owned. `rows`: the arena where it keeps them as they are, NULL:
 * it does not. */
void refold_use(struct refold_view *view, const struct projector_store_ops *ops, struct projector_store *store,
                struct arena *rows);
/* Where a shard stands by its store: load of projector_store_ops. */
CHECK_RESULT bool refold_load(struct refold *refold, struct refold_view *view, int32_t shard, struct err *err);
/* Nothing more is read of this shard. */
void refold_end_shard(struct refold_view *view, int32_t shard);
bool refold_shard_has_ended(const struct refold_view *view, int32_t shard);
int64_t *refold_limit(const struct refold_view *view, int32_t shard, size_t topic);
/* How many records there are up to the limits. */
int64_t refold_left(const struct refold *refold);
/* Reads them. ERR_CORRUPT and the like as a projector would halt for; ERR_TIMEOUT: none came for ten seconds. */
CHECK_RESULT bool refold_run(struct refold *refold, struct err *err);

#endif
