/* The orders decider: leads each order along its way, in whatever interleaving the facts of the others come. */
#include "core/domain/orders_internal.h"

static bool is_request(const struct input *input) {
    if (input->kind != INPUT_RECORD)
        return false;
    enum message_type type = input->message->type;
    return type == MESSAGE_ORDER_PLACE_ORDER || type == MESSAGE_ORDER_REJECT_ORDER ||
           type == MESSAGE_ORDER_CANCEL_ORDER;
}

static void want(struct room *room, const struct input *input) {
    if (input->kind == INPUT_TIMER && str_eq(input->timer, ORDERS_TIMER_HELD)) {
        room_want(room, ORDERS_HELD, input->envelope->key);
        return;
    }
    room_want(room, ORDERS_ORDER, input->envelope->key);
    if (is_request(input))
        room_want(room, ORDERS_HELD, input->envelope->key);
}

static bool decide(struct room *room, const struct input *input, const char **why) {
    if (input->kind == INPUT_TIMER)
        return orders_decide_timer(room, input, why);
    if (input->kind != INPUT_RECORD || !order_id_of(input->message).ptr) {
        *why = "orders takes no such record";
        return false;
    }
    if (!str_eq(order_id_of(input->message), input->envelope->key)) {
        *why = "the key is not the order that the record is about";
        return false;
    }
    switch (input->message->type) {
    case MESSAGE_ORDER_PLACE_ORDER:
        return orders_decide_place(room, input, why);
    case MESSAGE_ORDER_REJECT_ORDER:
        return orders_decide_reject(room, input, why);
    case MESSAGE_ORDER_CANCEL_ORDER:
        return orders_decide_cancel(room, input, why);
    default:
        return orders_decide_fact(room, input, why);
    }
}

static void evolve_want(struct room *room, const struct input *input) {
    room_want(room, ORDERS_ORDER, input->envelope->key);
}

static void evolve(struct room *room, const struct input *input) {
    if (!str_eq(order_id_of(input->message), input->envelope->key))
        return;
    struct row *row = room_row(room, ORDERS_ORDER, input->envelope->key);
    struct state_order *order = row->state;
    if (order_evolve(room->arena, &order, input->message))
        orders_put(room, row, order);
}

static void refuse_reused(struct room *room, const struct input *input) {
    orders_refuse(room, input->envelope->key, REASON_IDEMPOTENCY_KEY_REUSED,
                  STR("the key was used for another request"));
}

static const char *const inputs[] = {
    TOPIC_ORDER_REQUESTS,
    TOPIC_RESERVATION_EVENTS,
    TOPIC_PAYMENT_EVENTS,
    TOPIC_FULFILMENT_EVENTS,
};
static const struct decider_table tables[] = {
    [ORDERS_ORDER] = {.name = "orders", .subject = "state/order", .size = sizeof(struct state_order)},
    [ORDERS_HELD] = {.name = "held_order",
                     .subject = "state/held_order",
                     .size = sizeof(struct state_held_order),
                     .apart = true},
};

const struct decider orders_decider = {
    .service = "orders",
    .inputs = inputs,
    .input_count = sizeof inputs / sizeof inputs[0],
    .events = (const char *const[]){TOPIC_ORDER_EVENTS, NULL},
    .tables = tables,
    .table_count = sizeof tables / sizeof tables[0],
    .remembers_commands = true,
    .want = want,
    .decide = decide,
    .evolve_want = evolve_want,
    .evolve = evolve,
    .refuse_reused = refuse_reused,
};
