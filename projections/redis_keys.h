/* The names of the views' keys in Redis. The shard is the hash tag, so that all that one script call touches is in one
 * slot of a cluster. */
#ifndef ORDERLOG_PROJECTIONS_REDIS_KEYS_H
#define ORDERLOG_PROJECTIONS_REDIS_KEYS_H

#include "projections/view.h"

/* {p7}:order:<id>: a row's bytes */
static inline struct str redis_key_row(struct arena *arena, const struct view *view, int32_t shard, struct str key) {
    return arena_printf(arena, "{p%d}:%s:%.*s", shard, view->key_name, STR_ARG(key));
}
/* {p7}:pos:view-orders: where the shard stands, as state/positions */
static inline struct str redis_key_positions(struct arena *arena, const struct view *view, int32_t shard) {
    return arena_printf(arena, "{p%d}:pos:view-%s", shard, view->name);
}
/* {p7}:parked:view-orders: a list of state/parked, oldest first */
static inline struct str redis_key_parked(struct arena *arena, const struct view *view, int32_t shard) {
    return arena_printf(arena, "{p%d}:parked:view-%s", shard, view->name);
}
/* {p7}:parked-subjects:view-orders: the set of their subjects */
static inline struct str redis_key_parked_subjects(struct arena *arena, const struct view *view, int32_t shard) {
    return arena_printf(arena, "{p%d}:parked-subjects:view-%s", shard, view->name);
}
/* {p7}:whole:view-orders: there once the shard has been filled up; without it, rows may be missing or old */
static inline struct str redis_key_whole(struct arena *arena, const struct view *view, int32_t shard) {
    return arena_printf(arena, "{p%d}:whole:view-%s", shard, view->name);
}

#endif
