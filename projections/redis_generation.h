/* Inside of Redis' next generation: what redis_generation.c (making it, swapping it in), redis_compare.c and
 * redis_sweep.c (what is left of others) share. */
#ifndef ORDERLOG_PROJECTIONS_REDIS_GENERATION_H
#define ORDERLOG_PROJECTIONS_REDIS_GENERATION_H

#include "core/store/redis.h"
#include "projections/generation.h"
#include "projections/redis_keys.h"
#include "projections/redis_lock.h"

struct waiting_row {
    int32_t shard;
    struct str name; /* of its key in Redis */
    struct str bytes;
};

enum { WAITING_ROWS = 2000, WAITING_BYTES = 4 << 20 };

struct generation {
    struct generation_options options;
    int32_t number;
    struct redis *redis;
    struct redis_lock lock;
    bool swapped;
    struct arena arena; /* of the rows that wait */
    struct waiting_row waiting[WAITING_ROWS];
    size_t waiting_count;
    size_t waiting_bytes;
};

/* The positions of a shard: of the live generation (building 0) or the one that is built; ptr NULL: none. */
CHECK_RESULT bool redis_generation_positions(struct generation *generation, const struct view *view, int32_t shard,
                                             int32_t building, struct arena *arena, struct str *ret, struct err *err);
/* Whether both are of the same place in the log. */
bool redis_generation_same_place(struct str a, struct str b, struct arena *arena);
/* 1 when there are none. */
int32_t redis_generation_of_positions(struct str positions, struct arena *arena);

CHECK_RESULT bool redis_generation_compare(struct generation *generation, const struct generation_host *host,
                                           struct err *err);

/* All keys that may be rows of these views, page by page. `page` false ends it. */
typedef bool redis_page_fn(void *user, const struct str *names, size_t count, struct arena *arena, struct err *err);
CHECK_RESULT bool redis_generation_scan(struct generation *generation, redis_page_fn *page, void *user,
                                        struct err *err);
/* Removes, in small steps, all rows of these views that are not live, and what there is once per shard of generations
 * that were being built. */
CHECK_RESULT bool redis_generation_sweep(struct generation *generation, const struct generation_host *host,
                                         struct err *err);

#endif
