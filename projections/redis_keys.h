/* The names of the views' keys in Redis. The shard is the hash tag, so that all that one script call touches is in one
 * slot of a cluster.
 *
 * Rows are of a generation, and carry its number from the second on: a rebuild fills the next one beside the live one.
 * The live one's number is in the positions and, for readers, in `whole`. What there is once per shard keeps its name:
 * while a generation is being built it has its own, and takes the plain name when it goes live. */
#ifndef ORDERLOG_PROJECTIONS_REDIS_KEYS_H
#define ORDERLOG_PROJECTIONS_REDIS_KEYS_H

#include "projections/view.h"

/* {p7}:order:<id>, {p7}:g2:order:<id>: a row's bytes */
static inline struct str redis_key_row(struct arena *arena, const struct view *view, int32_t shard, int32_t generation,
                                       struct str key) {
    if (generation > 1)
        return arena_printf(arena, "{p%d}:g%d:%s:%.*s", shard, generation, view->key_name, STR_ARG(key));
    return arena_printf(arena, "{p%d}:%s:%.*s", shard, view->key_name, STR_ARG(key));
}
/* What there is once per shard. `building`: the generation that is being built; 0: the live one. */
static inline struct str redis_key_of_shard(struct arena *arena, const struct view *view, int32_t shard,
                                            int32_t building, const char *what) {
    if (building)
        return arena_printf(arena, "{p%d}:g%d:%s:view-%s", shard, building, what, view->name);
    return arena_printf(arena, "{p%d}:%s:view-%s", shard, what, view->name);
}
#define REDIS_POSITIONS "pos"                   /* {p7}:pos:view-orders: where the shard stands, as state/positions */
#define REDIS_PARKED "parked"                   /* a list of state/parked, oldest first */
#define REDIS_PARKED_SUBJECTS "parked-subjects" /* the set of their subjects */
#define REDIS_WHOLE                                                                                                    \
    "whole" /* the live generation's number, once it was filled; without it, rows may be missing or old */

/* The other way round. False: not the key of a row of this view. */
bool redis_key_row_read(struct str name, const struct view *view, int32_t *ret_shard, int32_t *ret_generation,
                        struct str *ret_key);

/* orderlog:view-orders: where changes of rows are told, for all shards */
static inline struct str redis_channel(struct arena *arena, const struct view *view) {
    return arena_printf(arena, "orderlog:view-%s", view->name);
}

#endif
