#include "core/domain/order.h"

/* What every versioned record of order.events begins with. */
struct step {
    struct str order_id;
    int32_t version;
    enum order_status status; /* that it makes */
};

static bool step_of(const struct message *message, struct step *ret) {
    switch (message->type) {
#define STEP(TYPE, member, to)                                                                                         \
    case MESSAGE_##TYPE:                                                                                               \
        *ret = (struct step){message->member.order_id, message->member.version, to};                                   \
        return true;
        STEP(ORDER_PLACED, order_placed, ORDER_STATUS_PENDING)
        STEP(ORDER_REJECTED, order_rejected, ORDER_STATUS_REJECTED)
        STEP(ORDER_AWAITING_PAYMENT, order_awaiting_payment, ORDER_STATUS_AWAITING_PAYMENT)
        STEP(ORDER_CONFIRMED, order_confirmed, ORDER_STATUS_CONFIRMED)
        STEP(ORDER_PAYMENT_FAILED, order_payment_failed, ORDER_STATUS_PAYMENT_FAILED)
        STEP(ORDER_EXPIRED, order_expired, ORDER_STATUS_EXPIRED)
        STEP(ORDER_PROCESSING, order_processing, ORDER_STATUS_PROCESSING)
        STEP(ORDER_CANCELLING, order_cancelling, ORDER_STATUS_CANCELLING)
        STEP(ORDER_CANCELLED, order_cancelled, ORDER_STATUS_CANCELLED)
        STEP(ORDER_CANCELLATION_REFUSED, order_cancellation_refused, message->order_cancellation_refused.status)
        STEP(ORDER_SHIPPED, order_shipped, ORDER_STATUS_SHIPPED)
        STEP(ORDER_DELIVERED, order_delivered, ORDER_STATUS_DELIVERED)
        STEP(ORDER_COMPLETED, order_completed, ORDER_STATUS_COMPLETED)
#undef STEP
    default:
        return false;
    }
}

static void placed(struct arena *arena, struct state_order *order, const struct order_placed *event) {
    order->cart_id = arena_dup(arena, event->cart_id);
    order->shopper_id = arena_dup(arena, event->shopper_id);
    order->placed_at = event->placed_at;
    order->lines = (struct quantity_list){arena_array(arena, struct quantity, event->lines.count), event->lines.count};
    for (size_t i = 0; i < event->lines.count; i++)
        order->lines.items[i] =
            (struct quantity){arena_dup(arena, event->lines.items[i].sku), event->lines.items[i].quantity};
    order->total = (struct money){event->totals.total.minor, arena_dup(arena, event->totals.total.currency)};
    order->payment_method = arena_dup(arena, event->payment_method);
    order->ship_to =
        (struct ship_to){arena_dup(arena, event->ship_to.country), arena_dup(arena, event->ship_to.region)};
    order->personal_ref = arena_dup(arena, event->personal_ref);
    order->location = arena_dup(arena, event->location);
}

static void stepped(struct arena *arena, struct state_order *order, const struct step *step,
                    const struct message *message) {
    order->version = step->version;
    order->status = step->status;
    switch (message->type) {
    case MESSAGE_ORDER_PLACED:
        placed(arena, order, &message->order_placed);
        return;
    case MESSAGE_ORDER_REJECTED:
        order->cart_id = arena_dup(arena, message->order_rejected.cart_id);
        order->shopper_id = arena_dup(arena, message->order_rejected.shopper_id);
        order->placed_at = message->order_rejected.placed_at;
        order->reason = arena_dup(arena, message->order_rejected.reason);
        order->payment_method = STR_NULL;
        return;
    case MESSAGE_ORDER_AWAITING_PAYMENT:
        order->deadline = (struct opt_long){true, message->order_awaiting_payment.deadline};
        order->payment_method = STR_NULL;
        return;
    case MESSAGE_ORDER_EXPIRED:
        order->reason = arena_dup(arena, message->order_expired.reason);
        return;
    case MESSAGE_ORDER_CANCELLING:
        order->reason = arena_dup(arena, message->order_cancelling.reason);
        return;
    case MESSAGE_ORDER_CANCELLED:
        order->reason = arena_dup(arena, message->order_cancelled.reason);
        order->payment_method = STR_NULL;
        return;
    case MESSAGE_ORDER_CANCELLATION_REFUSED:
        order->reason = STR_NULL;
        return;
    default:
        return;
    }
}

/* ---- the facts of others: how far each part has come. A part moves to a state only from one of a lower rank. */

static int reservation_rank(enum state_order_reservation state) {
    static const int ranks[] = {
        [STATE_ORDER_RESERVATION_NONE] = 0,     [STATE_ORDER_RESERVATION_HELD] = 1,
        [STATE_ORDER_RESERVATION_REFUSED] = 1,  [STATE_ORDER_RESERVATION_COMMITTED] = 2,
        [STATE_ORDER_RESERVATION_RELEASED] = 3, [STATE_ORDER_RESERVATION_CONSUMED] = 3,
    };
    return ranks[state];
}

static bool reserve_to(struct state_order *order, enum state_order_reservation to) {
    if (reservation_rank(to) <= reservation_rank(order->reservation))
        return false;
    order->reservation = to;
    return true;
}

static bool fulfil_to(struct state_order *order, enum state_order_fulfilment to) {
    bool cancels = to == STATE_ORDER_FULFILMENT_CANCELLED;
    if (order->fulfilment == STATE_ORDER_FULFILMENT_CANCELLED || to <= order->fulfilment ||
        (cancels && order->fulfilment > STATE_ORDER_FULFILMENT_OPEN))
        return false;
    order->fulfilment = to;
    return true;
}

static int payment_rank(enum state_order_payment state) {
    static const int ranks[] = {
        [STATE_ORDER_PAYMENT_NONE] = 0,     [STATE_ORDER_PAYMENT_AUTHORIZING] = 1, [STATE_ORDER_PAYMENT_UNKNOWN] = 2,
        [STATE_ORDER_PAYMENT_DECLINED] = 3, [STATE_ORDER_PAYMENT_AUTHORIZED] = 3,  [STATE_ORDER_PAYMENT_VOIDED] = 4,
        [STATE_ORDER_PAYMENT_EXPIRED] = 4,  [STATE_ORDER_PAYMENT_CAPTURED] = 4,    [STATE_ORDER_PAYMENT_REFUNDED] = 5,
    };
    return ranks[state];
}

/* Facts of an attempt before the last are late and tell nothing. */
static bool attempt_is_last(struct arena *arena, struct state_order *order, struct str payment_id, int32_t attempt) {
    if (attempt < order->attempt)
        return false;
    if (attempt > order->attempt) {
        order->payment = STATE_ORDER_PAYMENT_NONE;
        order->payment_failure = STR_NULL;
    }
    if (attempt > order->attempt || !order->payment_id.ptr)
        order->payment_id = arena_dup(arena, payment_id);
    order->attempt = attempt;
    return true;
}

static bool pay_to(struct state_order *order, enum state_order_payment to) {
    if (payment_rank(to) <= payment_rank(order->payment))
        return false;
    order->payment = to;
    order->payment_failure = STR_NULL;
    return true;
}

static bool pay_failed(struct arena *arena, struct state_order *order, struct str code) {
    if (order->payment_failure.ptr && str_eq(order->payment_failure, code))
        return false;
    order->payment_failure = arena_dup(arena, code);
    return true;
}

static bool payment_fact(struct arena *arena, struct state_order *order, const struct message *message) {
    switch (message->type) {
#define MOVES(TYPE, member, to)                                                                                        \
    case MESSAGE_##TYPE:                                                                                               \
        return attempt_is_last(arena, order, message->member.payment_id, message->member.attempt) &&                   \
               pay_to(order, STATE_ORDER_PAYMENT_##to);
#define FAILS(TYPE, member)                                                                                            \
    case MESSAGE_##TYPE:                                                                                               \
        return attempt_is_last(arena, order, message->member.payment_id, message->member.attempt) &&                   \
               pay_failed(arena, order, message->member.code);
        MOVES(PAYMENT_REQUESTED, payment_requested, AUTHORIZING)
        MOVES(PAYMENT_OUTCOME_UNKNOWN, payment_outcome_unknown, UNKNOWN)
        MOVES(PAYMENT_DECLINED, payment_declined, DECLINED)
        MOVES(PAYMENT_AUTHORIZED, payment_authorized, AUTHORIZED)
        MOVES(PAYMENT_VOIDED, payment_voided, VOIDED)
        MOVES(PAYMENT_AUTHORIZATION_EXPIRED, payment_authorization_expired, EXPIRED)
        MOVES(PAYMENT_CAPTURED, payment_captured, CAPTURED)
        MOVES(PAYMENT_REFUNDED, payment_refunded, REFUNDED)
        FAILS(PAYMENT_CAPTURE_FAILED, payment_capture_failed)
        FAILS(PAYMENT_VOID_FAILED, payment_void_failed)
        FAILS(PAYMENT_REFUND_FAILED, payment_refund_failed)
#undef MOVES
#undef FAILS
    default:
        return false;
    }
}

static bool fact(struct arena *arena, struct state_order *order, const struct message *message) {
    switch (message->type) {
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        return reserve_to(order, STATE_ORDER_RESERVATION_HELD);
    case MESSAGE_RESERVATION_STOCK_REFUSED:
        return reserve_to(order, STATE_ORDER_RESERVATION_REFUSED);
    case MESSAGE_RESERVATION_COMMITTED:
        return reserve_to(order, STATE_ORDER_RESERVATION_COMMITTED);
    case MESSAGE_RESERVATION_RELEASED:
        return reserve_to(order, STATE_ORDER_RESERVATION_RELEASED);
    case MESSAGE_RESERVATION_CONSUMED:
        return reserve_to(order, STATE_ORDER_RESERVATION_CONSUMED);
    case MESSAGE_FULFILMENT_REQUESTED:
        return fulfil_to(order, STATE_ORDER_FULFILMENT_OPEN);
    case MESSAGE_FULFILMENT_PICKED:
        return fulfil_to(order, STATE_ORDER_FULFILMENT_PICKED);
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        if (!fulfil_to(order, STATE_ORDER_FULFILMENT_DISPATCHED))
            return false;
        order->shipment_id = arena_dup(arena, message->fulfilment_shipment_dispatched.shipment_id);
        return true;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        if (!fulfil_to(order, STATE_ORDER_FULFILMENT_DELIVERED))
            return false;
        order->shipment_id = arena_dup(arena, message->fulfilment_shipment_delivered.shipment_id);
        return true;
    case MESSAGE_FULFILMENT_CANCELLED:
        return fulfil_to(order, STATE_ORDER_FULFILMENT_CANCELLED);
    default:
        return payment_fact(arena, order, message);
    }
}

struct str order_id_of(const struct message *message) {
    struct step step;
    if (step_of(message, &step))
        return step.order_id;
    switch (message->type) {
#define ABOUT(TYPE, member)                                                                                            \
    case MESSAGE_##TYPE:                                                                                               \
        return message->member.order_id;
        ABOUT(ORDER_PLACE_ORDER, order_place_order)
        ABOUT(ORDER_REJECT_ORDER, order_reject_order)
        ABOUT(ORDER_CANCEL_ORDER, order_cancel_order)
        ABOUT(ORDER_COMMAND_REFUSED, order_command_refused)
        ABOUT(RESERVATION_STOCK_RESERVED, reservation_stock_reserved)
        ABOUT(RESERVATION_STOCK_REFUSED, reservation_stock_refused)
        ABOUT(RESERVATION_COMMITTED, reservation_committed)
        ABOUT(RESERVATION_RELEASED, reservation_released)
        ABOUT(RESERVATION_CONSUMED, reservation_consumed)
        ABOUT(RESERVATION_COMMAND_REFUSED, reservation_command_refused)
        ABOUT(PAYMENT_REQUESTED, payment_requested)
        ABOUT(PAYMENT_OUTCOME_UNKNOWN, payment_outcome_unknown)
        ABOUT(PAYMENT_DECLINED, payment_declined)
        ABOUT(PAYMENT_AUTHORIZED, payment_authorized)
        ABOUT(PAYMENT_VOID_REQUESTED, payment_void_requested)
        ABOUT(PAYMENT_VOIDED, payment_voided)
        ABOUT(PAYMENT_VOID_FAILED, payment_void_failed)
        ABOUT(PAYMENT_AUTHORIZATION_EXPIRED, payment_authorization_expired)
        ABOUT(PAYMENT_CAPTURED, payment_captured)
        ABOUT(PAYMENT_CAPTURE_FAILED, payment_capture_failed)
        ABOUT(PAYMENT_REFUNDED, payment_refunded)
        ABOUT(PAYMENT_REFUND_FAILED, payment_refund_failed)
        ABOUT(PAYMENT_COMMAND_REFUSED, payment_command_refused)
        ABOUT(FULFILMENT_REQUESTED, fulfilment_requested)
        ABOUT(FULFILMENT_PICKED, fulfilment_picked)
        ABOUT(FULFILMENT_SHIPMENT_DISPATCHED, fulfilment_shipment_dispatched)
        ABOUT(FULFILMENT_SHIPMENT_DELIVERED, fulfilment_shipment_delivered)
        ABOUT(FULFILMENT_CANCELLED, fulfilment_cancelled)
        ABOUT(FULFILMENT_CANCELLATION_REFUSED, fulfilment_cancellation_refused)
        ABOUT(FULFILMENT_COMMAND_REFUSED, fulfilment_command_refused)
#undef ABOUT
    default:
        return STR_NULL;
    }
}

bool order_evolve(struct arena *arena, struct state_order **order, const struct message *message) {
    struct state_order fresh = {
        .reason = STR_NULL,
        .cart_id = STR(""),
        .shopper_id = STR(""),
        .total.currency = STR(""),
        .payment_method = STR_NULL,
        .payment_id = STR_NULL,
        .payment_failure = STR_NULL,
        .shipment_id = STR_NULL,
        .ship_to = {STR(""), STR("")},
        .personal_ref = STR(""),
        .location = STR(""),
    };
    struct state_order *into = *order ? *order : &fresh;
    struct step step;
    bool changed;
    if (step_of(message, &step)) {
        changed = step.version > into->version;
        if (changed)
            stepped(arena, into, &step, message);
    } else {
        changed = fact(arena, into, message);
    }
    if (changed && !*order) {
        fresh.order_id = arena_dup(arena, order_id_of(message));
        *order = arena_new(arena, struct state_order);
        **order = fresh;
    }
    return changed;
}
