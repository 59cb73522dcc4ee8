#include "core/domain/orders_internal.h"

/* Too late to cancel: the goods are on their way out, and the order goes on from where they are. */
static void cancellation_refused(struct room *room, struct state_order *order) {
    bool picked = order->fulfilment >= STATE_ORDER_FULFILMENT_PICKED;
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_CANCELLATION_REFUSED,
                                 .order_cancellation_refused = {
                                     .order_id = order->order_id,
                                     .version = order->version + 1,
                                     .status = picked ? ORDER_STATUS_PROCESSING : ORDER_STATUS_CONFIRMED,
                                     .reason = reason_slug(REASON_TRANSITION_REFUSED),
                                 }});
}

/* What a fact sets off by coming, besides the steps that its part being so far leads to. */
static void react(struct room *room, struct state_order *order, const struct message *message) {
    bool confirmed = order->status == ORDER_STATUS_CONFIRMED;
    switch (message->type) {
    case MESSAGE_RESERVATION_RELEASED:
        if (confirmed)
            orders_cancel_begin(room, order, reason_slug(REASON_STOCK_SHORT));
        return;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        if (confirmed)
            orders_cancel_begin(room, order, reason_slug(REASON_AUTHORIZATION_EXPIRED));
        return;
    case MESSAGE_PAYMENT_AUTHORIZED:
        /* An order that ended after its payment was asked for has asked for the void too, and payments holds on to
         * that: to ask again would only be refused, under the id of the shopper's own command. */
        if (order_has_ended(order->status) && !order->deadline.has)
            orders_ask_void(room, order, order->reason);
        return;
    case MESSAGE_FULFILMENT_CANCELLATION_REFUSED:
        if (order->status == ORDER_STATUS_CANCELLING)
            cancellation_refused(room, order);
        return;
    default:
        return;
    }
}

bool orders_decide_fact(struct room *room, const struct input *input, const char **why) {
    (void)why;
    const struct message *message = input->message;
    struct row *row = room_row(room, ORDERS_ORDER, input->envelope->key);
    struct state_order *order = row->state;
    int32_t version = order ? order->version : 0;
    bool changed = order_evolve(room->arena, &order, message);
    if (order_is_known(order) && (changed || message->type == MESSAGE_FULFILMENT_CANCELLATION_REFUSED)) {
        react(room, order, message);
        orders_settle(room, order, message);
    }
    if (changed || (order && order->version != version))
        orders_put(room, row, order);
    return true;
}
