/* SubmitPayment for an order that payments does not know yet. */
#include "core/domain/payments.h"

enum { HELD_MAX = 16 }; /* of one order; who sends more has not waited for an answer */

static struct state_held_payment_request_list held_of(struct room *room, struct str order_id) {
    const struct state_held_payment *held = room_row(room, PAYMENTS_HELD, order_id)->state;
    return held ? held->requests : (struct state_held_payment_request_list){0};
}

static void held_put(struct room *room, struct str order_id, struct state_held_payment_request_list requests) {
    struct row *row = room_row(room, PAYMENTS_HELD, order_id);
    struct state_held_payment *held = arena_new(room->arena, struct state_held_payment);
    held->requests = requests;
    row->state = held;
    room_put(room, PAYMENTS_HELD, row, 0, requests.count == 0);
}

void payments_held_add(struct room *room, const struct payment_submit_payment *m) {
    struct state_held_payment_request_list before = held_of(room, m->order_id);
    if (before.count >= HELD_MAX) {
        payments_refuse(room, m->order_id, REASON_NOT_FOUND, STR("there is no such order yet"));
        return;
    }
    struct arena *arena = room->arena;
    struct state_held_payment_request *requests =
        arena_array(arena, struct state_held_payment_request, before.count + 1);
    if (before.count)
        memcpy(requests, before.items, before.count * sizeof(*requests));
    int64_t due_us = room->now_us + room->shop->hold_expiry_us;
    requests[before.count] = (struct state_held_payment_request){.command_id = arena_dup(arena, room->command_id),
                                                                 .due_at = due_us,
                                                                 .shopper_id = arena_dup(arena, m->shopper_id),
                                                                 .payment_method = arena_dup(arena, m->payment_method)};
    held_put(room, m->order_id, (struct state_held_payment_request_list){requests, before.count + 1});
    if (before.count == 0)
        room_timer_set(room, m->order_id, PAYMENTS_TIMER_HELD, due_us);
}

void payments_held_answer(struct room *room, struct str order_id) {
    struct state_held_payment_request_list held = held_of(room, order_id);
    if (!held.count)
        return;
    struct str command_id = room->command_id;
    for (size_t i = 0; i < held.count; i++) {
        room->command_id = held.items[i].command_id;
        payments_submit(room, order_id, held.items[i].shopper_id, held.items[i].payment_method);
    }
    room->command_id = command_id;
    held_put(room, order_id, (struct state_held_payment_request_list){0});
    room_timer_clear(room, order_id, PAYMENTS_TIMER_HELD);
}

void payments_held_expire(struct room *room, struct str order_id) {
    struct state_held_payment_request_list held = held_of(room, order_id);
    struct str command_id = room->command_id;
    size_t expired = 0;
    for (; expired < held.count && held.items[expired].due_at <= room->now_us; expired++) {
        room->command_id = held.items[expired].command_id;
        payments_refuse(room, order_id, REASON_NOT_FOUND, STR("there is no such order"));
    }
    room->command_id = command_id;
    if (!held.count)
        return;
    held_put(room, order_id, (struct state_held_payment_request_list){held.items + expired, held.count - expired});
    if (expired < held.count)
        room_timer_set(room, order_id, PAYMENTS_TIMER_HELD, held.items[expired].due_at);
}
