/* What a store must do so that a rebuild can make the next generation of its rows beside the live one (rebuild.h).
 * One implementation per store; each belongs to the rebuild's thread.
 *
 * A generation that was filled to the end and left behind (the rebuild was killed) is taken up again, if it was made by
 * the same program; what was not filled is thrown away. One rebuild at a time: the second is refused (ERR_FENCED). */
#ifndef ORDERLOG_PROJECTIONS_GENERATION_H
#define ORDERLOG_PROJECTIONS_GENERATION_H

#include "projections/store.h"

struct generation;

struct generation_options {
    const char *url;
    const struct view *const *views; /* to be made anew */
    size_t view_count;
    int32_t partitions;
    struct str made_by; /* the program and what it was told: only what the same one left is taken up */
};

/* One row that is not the same, or there only once. */
struct generation_difference {
    const char *table; /* "orders", also in Redis */
    struct str key;
    struct str what; /* what differs, for people */
};

/* What the rebuild does for the store. */
struct generation_host {
    void *user;
    /* Brings the generation to exactly where the live one stands now. */
    bool (*advance)(void *user, struct err *err);
    /* Whether a view's shards then stand at the same places in both: else there is nothing to compare it with. */
    bool (*comparable)(void *user, const struct view *view);
    /* This shard is live: it is not to be read on any more. */
    void (*settled)(void *user, const struct view *view, int32_t shard);
    void (*compared)(void *user, int64_t rows);
    void (*differs)(void *user, const struct generation_difference *difference);
    /* Now and then, while it takes long; false ends it. */
    bool (*tick)(void *user, struct err *err);
};

struct generation_ops {
    const char *name;
    const struct projector_store_ops *store;
    /* Which views are swapped in together, though not all are made anew; all of them must be brought to where the live
     * ones stand. */
    bool swaps_all;
    /* *ret_filled: one that was left behind is taken up. `note` tells of what was found, for people. */
    bool (*open)(const struct generation_options *options, struct generation **ret, bool *ret_filled, struct buf *note,
                 struct err *err);
    /* What was built and not swapped in or discarded stays for a later rebuild. NULL is fine. */
    void (*close)(struct generation *generation);
    int32_t (*number)(const struct generation *generation); /* of the one that is made */
    /* Where a shard of the live one stands. */
    bool (*live)(struct generation *generation, const struct view *view, int32_t shard, struct arena *arena,
                 struct str *ret_positions, struct err *err);

    bool (*fill_begin)(struct generation *generation, struct err *err);
    /* Facts and parked records of some shards, while they are folded. */
    bool (*fill_facts)(struct generation *generation, const struct view *view, const struct shard_save *shards,
                       size_t count, struct err *err);
    /* Each row once, as it stands at the end. */
    bool (*fill_row)(struct generation *generation, const struct view *view, int32_t shard, struct str key,
                     struct str bytes, struct err *err);
    bool (*fill_positions)(struct generation *generation, const struct view *view, int32_t shard, struct str positions,
                           struct err *err);
    bool (*fill_end)(struct generation *generation, struct err *err);
    /* What makes it as quick as the live one: indexes. */
    bool (*finish)(struct generation *generation, const struct generation_host *host, struct err *err);

    /* The store, on this generation, for reading on. */
    bool (*store_open)(struct generation *generation, const struct view *view, struct projector_store **ret,
                       struct err *err);
    bool (*compare)(struct generation *generation, const struct generation_host *host, struct err *err);
    bool (*swap)(struct generation *generation, const struct generation_host *host, struct err *err);
    /* After swap: the old one; without it: this one. May be left to the next rebuild: then it says so in `note`. */
    bool (*discard)(struct generation *generation, const struct generation_host *host, struct buf *note,
                    struct err *err);
};

extern const struct generation_ops generation_redis, generation_postgres;

#endif
