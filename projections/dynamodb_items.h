/* The items of the views in DynamoDB: named as the keys in Redis are, in one table with the key `id` (a string).
 *
 *   {p7}:cart:<id>                   row_bytes: the row
 *   {p7}:pos:view-carts              shard_at: the shard's positions; whole: once it was filled; parked: subjects
 *   {p7}:parked:view-carts:<place>   row_bytes: a parked record, as state/parked */
#ifndef ORDERLOG_PROJECTIONS_DYNAMODB_ITEMS_H
#define ORDERLOG_PROJECTIONS_DYNAMODB_ITEMS_H

#include "core/aws/dynamodb.h"
#include "projections/redis_keys.h"

#define ITEM_ID "id"
#define ITEM_ROW "row_bytes"
#define ITEM_POSITIONS "shard_at"
#define ITEM_WHOLE "whole"
#define ITEM_PARKED "parked"

static inline struct str item_id_row(struct arena *arena, const struct view *view, int32_t shard, struct str key) {
    return redis_key_row(arena, view, shard, 1, key);
}
static inline struct str item_id_shard(struct arena *arena, const struct view *view, int32_t shard) {
    return redis_key_of_shard(arena, view, shard, 0, REDIS_POSITIONS);
}

/* Items by their ids, as they are now, in as few calls as may be. ret[i] NULL: there is none; else the caller's to
 * json_decref. False: none is given. Ids may repeat. What the table has no capacity for is asked for again up to
 * `rounds` times, after pauses that grow from 50 ms to 1 s. */
CHECK_RESULT bool dynamodb_items_get(struct dynamodb *db, const char *table, const struct str *ids, size_t count,
                                     int rounds, json_t **ret, struct err *err);
/* An attribute of bytes, in the arena; ptr NULL: the item is NULL or has none. */
struct str dynamodb_item_bytes(const json_t *item, const char *name, struct arena *arena);
/* What DynamoDB failed with, as a store that is away: whatever it is, it may be put right while we run. */
void dynamodb_is_away(const char *table, struct err *err);

#endif
