/* What a store of read models must do for the projector's loop. One implementation per store; each belongs to the
 * loop's thread.
 *
 * Errors: ERR_STORE_UNAVAILABLE, or whatever the store answered. After any failure, or a conflict, the loop forgets
 * what it holds of the shards concerned, and begins with load again. */
#ifndef ORDERLOG_PROJECTIONS_STORE_H
#define ORDERLOG_PROJECTIONS_STORE_H

#include "core/log/lag.h"
#include "core/log/log.h"
#include "projections/view.h"

struct projector_store;

/* A row that a batch needs. */
struct view_row {
    struct str key;
    int32_t shard;
    void *value;      /* the view's C type; NULL: there is none */
    bool held;        /* the store had one when it was loaded: to be changed, not added */
    uint32_t changed; /* by which of the view's topics: bit i for topic i; 0: nothing to save */
};

/* A record that was applied: what the complete store writes more than rows of. */
struct view_fact {
    const struct envelope *envelope;
    const struct message *message;
    const struct view_row *row; /* as it stands after the batch; NULL: the record is of none, or of several */
};

/* What a poll changed in one shard. */
struct shard_save {
    int32_t shard;
    struct str expected;  /* the positions gone on from; ptr NULL: none, the shard begins with this */
    struct str positions; /* the ones to keep */
    struct view_row **rows;
    size_t row_count; /* only changed ones */
    struct view_fact *facts;
    size_t fact_count; /* in the order of the records */
    struct state_parked *parked;
    size_t parked_count;
    bool whole;    /* with this, the shard shows all that the log held when it was read: it may be served */
    bool conflict; /* out: the store holds other positions than expected; nothing of this shard was saved */
};

struct shard_held {
    struct str positions; /* ptr NULL: none */
    struct str *parked;   /* subjects */
    size_t parked_count;
};

/* What one of several projectors that share a thread has to load or to save. */
struct store_part {
    struct projector_store *store;
    struct view_row *const *rows; /* to load */
    size_t row_count;
    struct shard_save *shards; /* to save */
    size_t shard_count;
};

struct projector_store_ops {
    const char *name; /* "redis" */
    size_t batch_max; /* records that one poll may bring, for what it can save at once; 0: any number */
    /* Topics that it reads for this view beyond the view's own, NULL-terminated. */
    const char *const *(*more_topics)(const struct view *view);
    /* Does not connect yet. */
    bool (*open)(const char *url, const struct view *view, struct projector_store **ret, struct err *err);
    void (*close)(struct projector_store *store);
    bool (*load)(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                 struct err *err);
    /* Fills in `value`. What is loaded is borrowed until the next call, or in the arena. */
    bool (*load_rows)(struct projector_store *store, struct view_row *const *rows, size_t count, struct arena *arena,
                      struct err *err);
    /* Each shard as a whole or not at all: rows, facts, parked records and positions, when `expected` is still what is
     * held. False: it is not known which were saved. */
    bool (*save)(struct projector_store *store, struct shard_save *shards, size_t count, struct arena *arena,
                 struct err *err);
    /* The same for several views, all of the same URL, in one round trip each. A conflict of one may be told of that
     * shard in all of them. NULL: there is nothing to be gained. */
    bool (*load_together)(const struct store_part *parts, size_t count, struct arena *arena, struct err *err);
    bool (*save_together)(const struct store_part *parts, size_t count, struct arena *arena, struct err *err);
};

/* The group of a view's projectors: "redis-view-orders". */
void projector_group_name(const char *store, const struct view *view, char ret[LAG_GROUP_SIZE]);

extern const struct projector_store_ops projector_redis, projector_postgres, projector_dynamodb;

/* The same stores, but on a generation that is being built beside the live one (projections/rebuild.h): by its number,
 * or in its schema, which is there. */
CHECK_RESULT bool projector_redis_open_building(const char *url, const struct view *view, int32_t generation,
                                                struct projector_store **ret, struct err *err);
CHECK_RESULT bool projector_postgres_open_building(const char *url, const struct view *view, const char *schema,
                                                   struct projector_store **ret, struct err *err);

#endif
