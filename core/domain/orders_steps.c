#include "core/domain/orders_internal.h"

static void await_payment(struct room *room, struct state_order *order) {
    bool first = !order->deadline.has;
    struct str payment_method = order->payment_method;
    int64_t deadline = first ? room->now_us + room->shop->payment_deadline_us : order->deadline.value;
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_AWAITING_PAYMENT,
                                 .order_awaiting_payment = {order->order_id, order->version + 1, deadline}});
    if (!first)
        return;
    room_timer_set(room, order->order_id, ORDERS_TIMER_DEADLINE, deadline);
    orders_ask_authorize(room, order, payment_method);
}

static void deadline_clear(struct room *room, const struct state_order *order) {
    if (order->status == ORDER_STATUS_AWAITING_PAYMENT || order->status == ORDER_STATUS_PAYMENT_FAILED)
        room_timer_clear(room, order->order_id, ORDERS_TIMER_DEADLINE);
}

static void confirm(struct room *room, struct state_order *order) {
    deadline_clear(room, order);
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_CONFIRMED,
                                 .order_confirmed = {order->order_id, order->version + 1, order->payment_id}});
    orders_ask_commit(room, order);
    orders_ask_fulfil(room, order);
}

static void payment_failed(struct room *room, struct state_order *order) {
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_PAYMENT_FAILED,
                                 .order_payment_failed = {order->order_id, order->version + 1, order->payment_id,
                                                          reason_slug(REASON_PAYMENT_DECLINED)}});
}

/* Which lines, and how many there were. */
static struct field_error_list refused_lines(struct room *room, const struct message *message) {
    if (message->type != MESSAGE_RESERVATION_STOCK_REFUSED)
        return (struct field_error_list){0};
    const struct reservation_refused_line_list *lines = &message->reservation_stock_refused.lines;
    struct field_error_list errors = {arena_array(room->arena, struct field_error, lines->count), lines->count};
    for (size_t i = 0; i < lines->count; i++) {
        const struct reservation_refused_line *line = &lines->items[i];
        struct str detail =
            REASON_TEXT(room->arena, line->sku, STR(": "), reason_number(room->arena, line->requested),
                        STR(" asked for, "), reason_number(room->arena, line->available), STR(" there"));
        errors.items[i] = (struct field_error){STR("/cart_id"), detail};
    }
    return errors;
}

static void reject(struct room *room, struct state_order *order, const struct message *message) {
    struct str reason = reason_slug(REASON_OUT_OF_STOCK);
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_REJECTED,
                                 .order_rejected = {
                                     .order_id = order->order_id,
                                     .version = order->version + 1,
                                     .cart_id = order->cart_id,
                                     .shopper_id = order->shopper_id,
                                     .reason = reason,
                                     .errors = refused_lines(room, message),
                                     .winner = STR_NULL,
                                     .placed_at = order->placed_at,
                                 }});
    orders_ask_reopen(room, order, reason);
}

void orders_cancel_now(struct room *room, struct state_order *order, struct str reason) {
    deadline_clear(room, order);
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_CANCELLED,
                                 .order_cancelled = {order->order_id, order->version + 1, reason}});
    orders_ask_release(room, order, reason);
    if (order->deadline.has) /* the payment was asked for */
        orders_ask_void(room, order, reason);
}

void orders_cancel_begin(struct room *room, struct state_order *order, struct str reason) {
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_CANCELLING,
                                 .order_cancelling = {order->order_id, order->version + 1, reason}});
    if (order->fulfilment != STATE_ORDER_FULFILMENT_CANCELLED)
        orders_ask_cancel_fulfilment(room, order, reason);
}

void orders_expire(struct room *room, struct state_order *order) {
    struct str reason = reason_slug(REASON_PAYMENT_EXPIRED);
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_EXPIRED,
                                 .order_expired = {order->order_id, order->version + 1, reason}});
    orders_ask_release(room, order, reason);
    orders_ask_void(room, order, reason);
}

static void process(struct room *room, struct state_order *order) {
    orders_say(
        room, &order,
        &(struct message){.type = MESSAGE_ORDER_PROCESSING, .order_processing = {order->order_id, order->version + 1}});
}

static void ship(struct room *room, struct state_order *order) {
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_SHIPPED,
                                 .order_shipped = {order->order_id, order->version + 1, order->shipment_id}});
    if (order->payment != STATE_ORDER_PAYMENT_CAPTURED)
        orders_ask_capture(room, order);
    orders_ask_consume(room, order);
}

static void deliver(struct room *room, struct state_order *order) {
    orders_say(
        room, &order,
        &(struct message){.type = MESSAGE_ORDER_DELIVERED, .order_delivered = {order->order_id, order->version + 1}});
}

static void complete(struct room *room, struct state_order *order) {
    orders_say(
        room, &order,
        &(struct message){.type = MESSAGE_ORDER_COMPLETED, .order_completed = {order->order_id, order->version + 1}});
}

/* ---- which step is next; each returns whether there was one ---- */

static bool step_pending(struct room *room, struct state_order *order, const struct message *message) {
    switch (order->reservation) {
    case STATE_ORDER_RESERVATION_HELD:
    case STATE_ORDER_RESERVATION_COMMITTED:
        await_payment(room, order);
        return true;
    case STATE_ORDER_RESERVATION_REFUSED:
        reject(room, order, message);
        return true;
    case STATE_ORDER_RESERVATION_RELEASED:
        orders_cancel_now(room, order, reason_slug(REASON_STOCK_SHORT));
        return true;
    default:
        return false;
    }
}

/* Awaiting the payment, or after one failed. */
static bool step_unpaid(struct room *room, struct state_order *order) {
    bool failed = order->status == ORDER_STATUS_PAYMENT_FAILED;
    if (order->reservation == STATE_ORDER_RESERVATION_RELEASED) {
        orders_cancel_now(room, order, reason_slug(REASON_STOCK_SHORT));
        return true;
    }
    switch (order->payment) {
    case STATE_ORDER_PAYMENT_AUTHORIZING:
    case STATE_ORDER_PAYMENT_UNKNOWN:
        if (failed)
            await_payment(room, order);
        return failed;
    case STATE_ORDER_PAYMENT_AUTHORIZED:
    case STATE_ORDER_PAYMENT_CAPTURED:
        if (failed)
            await_payment(room, order);
        else
            confirm(room, order);
        return true;
    case STATE_ORDER_PAYMENT_DECLINED:
        if (!failed)
            payment_failed(room, order);
        return !failed;
    default:
        return false;
    }
}

static bool step_confirmed(struct room *room, struct state_order *order) {
    if (order->fulfilment == STATE_ORDER_FULFILMENT_CANCELLED)
        orders_cancel_begin(room, order, reason_slug(REASON_CANCELLED_BY_OPERATOR));
    else if (order->fulfilment >= STATE_ORDER_FULFILMENT_PICKED)
        process(room, order);
    return order->status != ORDER_STATUS_CONFIRMED;
}

static bool step_cancelling(struct room *room, struct state_order *order) {
    if (order->fulfilment != STATE_ORDER_FULFILMENT_CANCELLED)
        return false;
    orders_cancel_now(room, order, order->reason);
    return true;
}

static bool step_parcel(struct room *room, struct state_order *order) {
    bool delivered = order->fulfilment == STATE_ORDER_FULFILMENT_DELIVERED;
    if (order->status == ORDER_STATUS_PROCESSING) {
        if (!delivered && order->fulfilment != STATE_ORDER_FULFILMENT_DISPATCHED)
            return false;
        ship(room, order);
        return true;
    }
    if (order->status == ORDER_STATUS_SHIPPED && delivered) {
        deliver(room, order);
        return true;
    }
    /* Stock that ran short after the goods were picked is as good as consumed: it left the house. */
    bool captured = order->payment == STATE_ORDER_PAYMENT_CAPTURED || order->payment == STATE_ORDER_PAYMENT_REFUNDED;
    bool consumed = order->reservation == STATE_ORDER_RESERVATION_CONSUMED ||
                    order->reservation == STATE_ORDER_RESERVATION_RELEASED;
    if (order->status != ORDER_STATUS_DELIVERED || !captured || !consumed)
        return false;
    complete(room, order);
    return true;
}

static bool step(struct room *room, struct state_order *order, const struct message *message) {
    switch (order->status) {
    case ORDER_STATUS_PENDING:
        return step_pending(room, order, message);
    case ORDER_STATUS_AWAITING_PAYMENT:
    case ORDER_STATUS_PAYMENT_FAILED:
        return step_unpaid(room, order);
    case ORDER_STATUS_CONFIRMED:
        return step_confirmed(room, order);
    case ORDER_STATUS_CANCELLING:
        return step_cancelling(room, order);
    case ORDER_STATUS_PROCESSING:
    case ORDER_STATUS_SHIPPED:
    case ORDER_STATUS_DELIVERED:
        return step_parcel(room, order);
    default:
        return false;
    }
}

void orders_settle(struct room *room, struct state_order *order, const struct message *message) {
    while (step(room, order, message))
        continue;
}
