#include "core/domain/orders_internal.h"

void orders_say(struct room *room, struct state_order **order, const struct message *message) {
    order_evolve(room->arena, order, message);
    room_emit(room, STR(TOPIC_ORDER_EVENTS), (*order)->order_id, (*order)->order_id, message);
}

void orders_refuse(struct room *room, struct str order_id, enum reason reason, struct str detail) {
    room_emit(room, STR(TOPIC_ORDER_EVENTS), order_id, order_id,
              &(struct message){.type = MESSAGE_ORDER_COMMAND_REFUSED,
                                .order_command_refused = {order_id, reason_slug(reason), detail}});
}

/* Inventory works by location, the others by order. */
static void ask_inventory(struct room *room, const struct state_order *order, const struct message *message) {
    room_emit(room, STR(TOPIC_INVENTORY_REQUESTS), order->location, order->order_id, message);
}

void orders_ask_reserve(struct room *room, const struct state_order *order) {
    ask_inventory(room, order,
                  &(struct message){.type = MESSAGE_INVENTORY_RESERVE_STOCK,
                                    .inventory_reserve_stock = {order->order_id, order->location, order->lines}});
}

void orders_ask_commit(struct room *room, const struct state_order *order) {
    ask_inventory(room, order,
                  &(struct message){.type = MESSAGE_INVENTORY_COMMIT_RESERVATION,
                                    .inventory_commit_reservation = {order->order_id, order->location}});
}

void orders_ask_consume(struct room *room, const struct state_order *order) {
    if (order->reservation == STATE_ORDER_RESERVATION_RELEASED ||
        order->reservation == STATE_ORDER_RESERVATION_CONSUMED)
        return;
    ask_inventory(room, order,
                  &(struct message){.type = MESSAGE_INVENTORY_CONSUME_RESERVATION,
                                    .inventory_consume_reservation = {order->order_id, order->location}});
}

void orders_ask_release(struct room *room, const struct state_order *order, struct str reason) {
    if (order->reservation == STATE_ORDER_RESERVATION_RELEASED || order->reservation == STATE_ORDER_RESERVATION_REFUSED)
        return;
    ask_inventory(room, order,
                  &(struct message){.type = MESSAGE_INVENTORY_RELEASE_RESERVATION,
                                    .inventory_release_reservation = {order->order_id, order->location, reason}});
}

static void ask_payments(struct room *room, const struct state_order *order, const struct message *message) {
    room_emit(room, STR(TOPIC_PAYMENT_REQUESTS), order->order_id, order->order_id, message);
}

void orders_ask_authorize(struct room *room, const struct state_order *order, struct str payment_method) {
    ask_payments(room, order,
                 &(struct message){
                     .type = MESSAGE_PAYMENT_AUTHORIZE_PAYMENT,
                     .payment_authorize_payment = {order->order_id, order->shopper_id, order->total, payment_method}});
}

void orders_ask_capture(struct room *room, const struct state_order *order) {
    ask_payments(room, order,
                 &(struct message){.type = MESSAGE_PAYMENT_CAPTURE_PAYMENT,
                                   .payment_capture_payment = {order->order_id, order->total}});
}

void orders_ask_void(struct room *room, const struct state_order *order, struct str reason) {
    if (order->payment >= STATE_ORDER_PAYMENT_VOIDED) /* or expired, or captured: nothing is held any more */
        return;
    ask_payments(
        room, order,
        &(struct message){.type = MESSAGE_PAYMENT_VOID_PAYMENT, .payment_void_payment = {order->order_id, reason}});
}

static void ask_fulfilment(struct room *room, const struct state_order *order, const struct message *message) {
    room_emit(room, STR(TOPIC_FULFILMENT_REQUESTS), order->order_id, order->order_id, message);
}

void orders_ask_fulfil(struct room *room, const struct state_order *order) {
    ask_fulfilment(room, order,
                   &(struct message){.type = MESSAGE_FULFILMENT_REQUEST_FULFILMENT,
                                     .fulfilment_request_fulfilment = {order->order_id, order->location, order->lines,
                                                                       order->ship_to, order->personal_ref}});
}

void orders_ask_cancel_fulfilment(struct room *room, const struct state_order *order, struct str reason) {
    ask_fulfilment(room, order,
                   &(struct message){.type = MESSAGE_FULFILMENT_CANCEL_FULFILMENT,
                                     .fulfilment_cancel_fulfilment = {order->order_id, reason}});
}

void orders_ask_reopen(struct room *room, const struct state_order *order, struct str reason) {
    room_emit(room, STR(TOPIC_CHECKOUT_REQUESTS), order->cart_id, order->cart_id,
              &(struct message){.type = MESSAGE_CHECKOUT_REOPEN_CART,
                                .checkout_reopen_cart = {order->cart_id, order->order_id, reason}});
}
