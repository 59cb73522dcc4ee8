/* An order, as the orders decider knows it: the fold of its own events and of the facts of the others.
 *
 * Status and all that the order is come from order.events; what the reservation, the payment and the fulfilment have
 * come to, each from its own topic: so the four may be read in any interleaving. Within a topic a fact only ever moves
 * its part forward, so that one that is repeated, or late, changes nothing. Pure; any thread. */
#ifndef ORDERLOG_DOMAIN_ORDER_H
#define ORDERLOG_DOMAIN_ORDER_H

#include "core/domain/room.h"

/* Folds a record of order.events, reservation.events, payment.events or fulfilment.events into *order (NULL: an order
 * not heard of yet; made when the record tells of one, else changed in place). The new parts are in the arena and share
 * nothing with the record. False: it changed nothing. */
bool order_evolve(struct arena *arena, struct state_order **order, const struct message *message);

/* Others may speak of an order before order.events does (in a rebuild); until then it is not known. */
static inline bool order_is_known(const struct state_order *order) {
    return order && order->version > 0;
}
/* Nothing follows any more but the end of a compensation. */
static inline bool order_has_ended(enum order_status status) {
    return status == ORDER_STATUS_COMPLETED || status == ORDER_STATUS_CANCELLED || status == ORDER_STATUS_REJECTED ||
           status == ORDER_STATUS_EXPIRED;
}
/* The order that a record of any of these topics, or of order.requests, is about; STR_NULL: none. */
struct str order_id_of(const struct message *message);

#endif
