/* What the files of the orders decider share. */
#ifndef ORDERLOG_DOMAIN_ORDERS_INTERNAL_H
#define ORDERLOG_DOMAIN_ORDERS_INTERNAL_H

#include "core/domain/order.h"
#include "core/domain/reason.h"

enum { ORDERS_ORDER, ORDERS_HELD };

#define ORDERS_TIMER_DEADLINE STR("deadline")
#define ORDERS_TIMER_HELD STR("held")

/* ---- orders_say.c: records that orders emits ---- */

/* Emits a record of order.events and folds it. */
void orders_say(struct room *room, struct state_order **order, const struct message *message);
void orders_refuse(struct room *room, struct str order_id, enum reason reason, struct str detail);

void orders_ask_reserve(struct room *room, const struct state_order *order);
void orders_ask_commit(struct room *room, const struct state_order *order);
void orders_ask_consume(struct room *room, const struct state_order *order);
/* Unless there is nothing to release. */
void orders_ask_release(struct room *room, const struct state_order *order, struct str reason);
void orders_ask_authorize(struct room *room, const struct state_order *order, struct str payment_method);
void orders_ask_capture(struct room *room, const struct state_order *order);
/* Asked for whatever has come of the payment so far, unless it is over: payments lets go of what is authorised, and of
 * what may still be. */
void orders_ask_void(struct room *room, const struct state_order *order, struct str reason);
void orders_ask_fulfil(struct room *room, const struct state_order *order);
void orders_ask_cancel_fulfilment(struct room *room, const struct state_order *order, struct str reason);
void orders_ask_reopen(struct room *room, const struct state_order *order, struct str reason);

/* ---- orders_steps.c: an order's way ---- */

/* Takes every step that follows from how far reservation, payment and fulfilment have come. `message` is the fact
 * that was read last. */
void orders_settle(struct room *room, struct state_order *order, const struct message *message);
/* Before it is confirmed: at once. */
void orders_cancel_now(struct room *room, struct state_order *order, struct str reason);
/* After: fulfilment is asked first. */
void orders_cancel_begin(struct room *room, struct state_order *order, struct str reason);
void orders_expire(struct room *room, struct state_order *order);

/* ---- orders_requests.c, orders_facts.c: one record each ---- */

bool orders_decide_place(struct room *room, const struct input *input, const char **why);
bool orders_decide_reject(struct room *room, const struct input *input, const char **why);
bool orders_decide_cancel(struct room *room, const struct input *input, const char **why);
bool orders_decide_timer(struct room *room, const struct input *input, const char **why);
bool orders_decide_fact(struct room *room, const struct input *input, const char **why);

static inline void orders_put(struct room *room, struct row *row, struct state_order *order) {
    row->state = order;
    room_put(room, ORDERS_ORDER, row, 0, order_has_ended(order->status));
}

#endif
