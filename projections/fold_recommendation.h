/* What is bought together: of a SKU, the SKUs that confirmed orders held beside it, and in how many.
 *
 * An order is counted once, with FulfilmentRequested, which follows its confirmation and names its lines. Shards count
 * for themselves, since the topic's key is the order: who asks for a SKU adds up the rows of all shards. Each row knows
 * the last record that it counted, so that reading again over a row comes to the same row. Pure; any thread. */
#ifndef ORDERLOG_PROJECTIONS_FOLD_RECOMMENDATION_H
#define ORDERLOG_PROJECTIONS_FOLD_RECOMMENDATION_H

#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "gen/types.h"

enum {
    RECOMMENDATION_PARTNERS_MAX = 32, /* kept of a row. Beyond, a number is what there were at least, by Misra and
                                         Gries: it is too low by a 33rd of what was counted at most */
    RECOMMENDATION_BASKET_MAX = 32    /* of a larger order, the first so many SKUs are counted */
};

/* The rows that a record changes: "<shard>/<sku>" for each SKU of an order that has two or more. */
size_t recommendation_keys(struct arena *arena, int32_t shard, const struct message *message, struct str **ret);
struct str recommendation_key(struct arena *arena, int32_t shard, struct str sku);
/* *row is NULL for a key not heard of yet, and is made; else it is changed in place. Of the envelope, offset is looked
 * at. False: not a record of fulfilment.events; nothing changed. */
bool recommendation_row_fold(struct arena *arena, struct str key, struct view_recommendation_row **row,
                             const struct envelope *envelope, const struct message *message);
/* Adds up the rows of one SKU (NULL: none): at most `limit` partners, those of the most orders first, then by SKU. */
size_t recommendation_merge(struct arena *arena, struct view_recommendation_row *const *rows, size_t count,
                            size_t limit, struct view_partner **ret);

#endif
