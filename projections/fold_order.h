/* An order as its shopper sees it: the fold of order.events, payment.events and fulfilment.events.
 *
 * No two topics write the same field, so the three may be read in any interleaving: status, version, reason, lines,
 * totals and times are order.events' alone, payments payment.events', shipments fulfilment.events'. All of a topic read
 * again over a row that it made already comes to the same row. Pure; any thread. */
#ifndef ORDERLOG_PROJECTIONS_FOLD_ORDER_H
#define ORDERLOG_PROJECTIONS_FOLD_ORDER_H

#include "core/base/arena.h"
#include "core/base/envelope.h"
#include "gen/types.h"

/* *row is NULL for an order not heard of yet, and is made; else it is changed in place. New parts are in the arena and
 * share nothing with the record. Of the envelope, timestamp_us, command_id and id are looked at. False: not a record
 * that an order is made of; nothing changed. */
bool order_row_fold(struct arena *arena, struct view_order_row **row, const struct envelope *envelope,
                    const struct message *message);

/* The other topics may speak of an order first; it is nobody's until order.events said whose it is. */
static inline bool order_row_is_served(const struct view_order_row *row) {
    return row && row->shopper_id.len > 0;
}

#endif
