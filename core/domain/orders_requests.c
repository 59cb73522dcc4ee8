#include "core/domain/orders_internal.h"

#include "core/domain/pricing.h"

enum { HELD_MAX = 16 }; /* of one order; who sends more has not waited for an answer */

static struct str status_name(enum order_status status) {
    static const struct str names[] = {
        [ORDER_STATUS_PENDING] = {"pending", 7},
        [ORDER_STATUS_AWAITING_PAYMENT] = {"awaiting payment", 16},
        [ORDER_STATUS_PAYMENT_FAILED] = {"waiting for another payment", 27},
        [ORDER_STATUS_CONFIRMED] = {"confirmed", 9},
        [ORDER_STATUS_PROCESSING] = {"picked", 6},
        [ORDER_STATUS_SHIPPED] = {"shipped", 7},
        [ORDER_STATUS_DELIVERED] = {"delivered", 9},
        [ORDER_STATUS_COMPLETED] = {"completed", 9},
        [ORDER_STATUS_CANCELLING] = {"being cancelled", 15},
        [ORDER_STATUS_CANCELLED] = {"cancelled", 9},
        [ORDER_STATUS_REJECTED] = {"rejected", 8},
        [ORDER_STATUS_EXPIRED] = {"expired", 7},
    };
    return names[status];
}

static void refuse_transition(struct room *room, const struct state_order *order) {
    orders_refuse(room, order->order_id, REASON_TRANSITION_REFUSED,
                  REASON_TEXT(room->arena, STR("the order is "), status_name(order->status)));
}

/* ---- CancelOrder ---- */

static void cancel(struct room *room, struct state_order *order, struct str shopper_id) {
    bool by_shopper = shopper_id.ptr != NULL;
    if (by_shopper && !str_eq(shopper_id, order->shopper_id)) {
        orders_refuse(room, order->order_id, REASON_NOT_FOUND, STR("there is no such order"));
        return;
    }
    struct str reason = reason_slug(by_shopper ? REASON_CANCELLED_BY_SHOPPER : REASON_CANCELLED_BY_OPERATOR);
    switch (order->status) {
    case ORDER_STATUS_PENDING:
    case ORDER_STATUS_AWAITING_PAYMENT:
    case ORDER_STATUS_PAYMENT_FAILED:
        orders_cancel_now(room, order, reason);
        return;
    case ORDER_STATUS_CONFIRMED:
        orders_cancel_begin(room, order, reason);
        return;
    default:
        refuse_transition(room, order);
        return;
    }
}

/* The API answers before checkout has decided, so a shopper may be faster than the order. */
static void hold(struct room *room, struct row *row, const struct order_cancel_order *request) {
    struct state_held_order *held = row->state;
    struct state_held_cancel_list old = held ? held->cancels : (struct state_held_cancel_list){0};
    if (old.count >= HELD_MAX) {
        orders_refuse(room, request->order_id, REASON_NOT_FOUND, STR("there is no such order yet"));
        return;
    }
    struct state_held_cancel_list list = {arena_array(room->arena, struct state_held_cancel, old.count + 1),
                                          old.count + 1};
    if (old.count)
        memcpy(list.items, old.items, old.count * sizeof *list.items);
    int64_t due_us = room->now_us + room->shop->hold_expiry_us;
    list.items[old.count] = (struct state_held_cancel){arena_dup(room->arena, room->command_id),
                                                       arena_dup(room->arena, request->shopper_id), due_us};
    if (!held) {
        held = arena_new(room->arena, struct state_held_order);
        held->order_id = arena_dup(room->arena, request->order_id);
    }
    held->cancels = list;
    row->state = held;
    room_put(room, ORDERS_HELD, row, 0, false);
    if (!old.count)
        room_timer_set(room, held->order_id, ORDERS_TIMER_HELD, due_us);
}

/* Answers the first `count` of what was held; a known order is asked, an unknown one is refused. */
static void answer_held(struct room *room, struct row *row, struct state_order *order, size_t count) {
    struct state_held_order *held = row->state;
    struct str command_id = room->command_id;
    for (size_t i = 0; i < count; i++) {
        room->command_id = held->cancels.items[i].command_id;
        if (order)
            cancel(room, order, held->cancels.items[i].shopper_id);
        else
            orders_refuse(room, held->order_id, REASON_NOT_FOUND, STR("there is no such order"));
    }
    room->command_id = command_id;
    held->cancels.items += count;
    held->cancels.count -= count;
    room_put(room, ORDERS_HELD, row, 0, held->cancels.count == 0);
}

static void answer_all_held(struct room *room, struct state_order *order) {
    struct row *row = room_row(room, ORDERS_HELD, order->order_id);
    struct state_held_order *held = row->state;
    if (!held || !held->cancels.count)
        return;
    room_timer_clear(room, order->order_id, ORDERS_TIMER_HELD);
    answer_held(room, row, order, held->cancels.count);
}

bool orders_decide_cancel(struct room *room, const struct input *input, const char **why) {
    (void)why;
    const struct order_cancel_order *request = &input->message->order_cancel_order;
    struct row *row = room_row(room, ORDERS_ORDER, input->envelope->key);
    struct state_order *order = row->state;
    if (!order_is_known(order)) {
        hold(room, room_row(room, ORDERS_HELD, input->envelope->key), request);
        return true;
    }
    int32_t version = order->version;
    cancel(room, order, request->shopper_id);
    if (order->version != version)
        orders_put(room, row, order);
    return true;
}

/* ---- PlaceOrder, RejectOrder ---- */

static void place(struct room *room, struct state_order **order, const struct order_place_order *request) {
    orders_say(room, order,
               &(struct message){.type = MESSAGE_ORDER_PLACED,
                                 .order_placed = {
                                     .order_id = request->order_id,
                                     .version = 1,
                                     .cart_id = request->cart_id,
                                     .shopper_id = request->shopper_id,
                                     .lines = request->lines,
                                     .totals = request->totals,
                                     .ship_to = request->ship_to,
                                     .personal_ref = request->personal_ref,
                                     .location = room->shop->location,
                                     .payment_method = request->payment_method,
                                     .placed_at = room->now_us,
                                 }});
    orders_ask_reserve(room, *order);
}

bool orders_decide_place(struct room *room, const struct input *input, const char **why) {
    const struct order_place_order *request = &input->message->order_place_order;
    struct row *row = room_row(room, ORDERS_ORDER, input->envelope->key);
    struct state_order *order = row->state;
    if (order_is_known(order)) {
        refuse_transition(room, order);
        return true;
    }
    if (!request->lines.count || !price_balances(&request->lines, &request->totals)) {
        *why = "the lines and totals of the order do not add up";
        return false;
    }
    place(room, &order, request);
    answer_all_held(room, order);
    orders_put(room, row, order);
    return true;
}

bool orders_decide_reject(struct room *room, const struct input *input, const char **why) {
    (void)why;
    const struct order_reject_order *request = &input->message->order_reject_order;
    struct row *row = room_row(room, ORDERS_ORDER, input->envelope->key);
    struct state_order *order = row->state;
    if (order_is_known(order)) {
        refuse_transition(room, order);
        return true;
    }
    orders_say(room, &order,
               &(struct message){.type = MESSAGE_ORDER_REJECTED,
                                 .order_rejected = {
                                     .order_id = request->order_id,
                                     .version = 1,
                                     .cart_id = request->cart_id,
                                     .shopper_id = request->shopper_id,
                                     .reason = request->reason,
                                     .errors = request->errors,
                                     .totals = request->totals,
                                     .winner = request->winner,
                                     .placed_at = room->now_us,
                                 }});
    answer_all_held(room, order);
    orders_put(room, row, order);
    return true;
}

/* ---- timers ---- */

static void expire_held(struct room *room, struct str order_id) {
    struct row *row = room_row(room, ORDERS_HELD, order_id);
    struct state_held_order *held = row->state;
    size_t due = 0;
    while (held && due < held->cancels.count && held->cancels.items[due].due_at <= room->now_us)
        due++;
    if (due)
        answer_held(room, row, NULL, due);
    if (held && held->cancels.count)
        room_timer_set(room, held->order_id, ORDERS_TIMER_HELD, held->cancels.items[0].due_at);
}

bool orders_decide_timer(struct room *room, const struct input *input, const char **why) {
    if (str_eq(input->timer, ORDERS_TIMER_HELD)) {
        expire_held(room, input->envelope->key);
        return true;
    }
    if (!str_eq(input->timer, ORDERS_TIMER_DEADLINE)) {
        *why = "orders sets no such timer";
        return false;
    }
    struct row *row = room_row(room, ORDERS_ORDER, input->envelope->key);
    struct state_order *order = row->state;
    if (!order || (order->status != ORDER_STATUS_AWAITING_PAYMENT && order->status != ORDER_STATUS_PAYMENT_FAILED))
        return true;
    orders_expire(room, order);
    orders_put(room, row, order);
    return true;
}
