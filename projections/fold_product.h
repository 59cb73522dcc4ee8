/* A SKU: the product by catalogue.events, its stock in every location by stock.events.
 *
 * No two topics write the same field, so the two may be read in any interleaving; read again over a row that they made,
 * they come to the same row. Pure; any thread. */
#ifndef ORDERLOG_PROJECTIONS_FOLD_PRODUCT_H
#define ORDERLOG_PROJECTIONS_FOLD_PRODUCT_H

#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "gen/types.h"

/* *row is NULL for a SKU not heard of yet, and is made; else it is changed in place. New parts are in the arena and
 * share nothing with the record. Of the envelope, offset (a product's revision), timestamp_us, command_id and id are
 * looked at. False: not a record that a product is made of; nothing changed.
 *
 * StockLevelChanged carries the commands of shoppers' orders; they are not kept here: nobody waits for them on a
 * product, and they would crowd out those that somebody waits for. */
bool product_row_fold(struct arena *arena, struct view_product_row **row, const struct envelope *envelope,
                      const struct message *message);

/* A SKU may have stock before it is in the catalogue: that is no product to a shopper yet. */
static inline bool product_row_is_known(const struct view_product_row *row) {
    return row && row->product.revision >= 0;
}

#endif
