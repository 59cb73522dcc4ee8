/* The whole life of one order, as the API and the deciders would have written it, with a place for a test to get in:
 * each record is shown to `alter` before it is appended. */
#ifndef ORDERLOG_TESTS_CLI_MADE_STORY_H
#define ORDERLOG_TESTS_CLI_MADE_STORY_H

#include "tests/cli/made_log.h"

/* What becomes of a record: SET marks the one that was changed, TWICE appends another like it. */
enum alter { KEEP, SET, TWICE, DROP };

struct story {
    struct made_log made;
    enum alter (*alter)(struct story *story, struct message *message, struct made_record *record);
    struct str order_id, cart_id, shopper_id, payment_id, shipment_id;
    struct counters stock;
    struct made_at marked; /* where the record that is wrong stands */
    const char *marked_topic;
    bool is_marked;
};

static inline void story_mark(struct story *story, const char *topic, struct made_at at) {
    story->marked_topic = topic;
    story->marked = at;
    story->is_marked = true;
}

static inline void story_say(struct story *story, const char *topic, const char *origin, struct str key,
                             struct message message) {
    struct made_record record = {.topic = topic, .origin = origin, .key = key, .message = &message};
    enum alter alter = story->alter ? story->alter(story, &message, &record) : KEEP;
    if (alter == DROP)
        return;
    struct made_at at = made_append(&story->made, &record);
    if (alter == TWICE)
        at = made_append(&story->made, &record);
    if (alter == TWICE || alter == SET)
        story_mark(story, topic, at);
}

static inline struct money story_usd(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static inline struct totals story_totals(int64_t items) {
    return (struct totals){story_usd(items), story_usd(0), story_usd(0), story_usd(0), story_usd(items)};
}

enum { STORY_QUANTITY = 2, STORY_PRICE = 250, STORY_TOTAL = STORY_QUANTITY * STORY_PRICE };

static inline struct line_list story_lines(struct story *story) {
    struct line *line = arena_new(&story->made.arena, struct line);
    *line = (struct line){.sku = STR("SKU-1"),
                          .name = STR("Thing"),
                          .quantity = STORY_QUANTITY,
                          .unit_price = story_usd(STORY_PRICE),
                          .line_total = story_usd(STORY_TOTAL)};
    return (struct line_list){line, 1};
}

static inline struct counters story_stock_next(struct story *story) {
    struct counters *c = &story->stock;
    c->version++;
    c->available = c->received + c->adjusted + c->restocked - c->held - c->committed - c->consumed;
    return *c;
}

static inline void story_reservation(struct story *story, enum message_type type) {
    struct stock_line *line = arena_new(&story->made.arena, struct stock_line);
    *line = (struct stock_line){STR("SKU-1"), STORY_QUANTITY, story_stock_next(story)};
    struct message message = {.type = type};
    /* the four have the same first fields */
    message.reservation_released =
        (struct reservation_released){story->order_id, STR("main"), {line, 1}, STR("cancelled-by-shopper")};
    story_say(story, TOPIC_RESERVATION_EVENTS, "inventory/0", story->order_id, message);
    struct message level = {.type = MESSAGE_STOCK_LEVEL_CHANGED,
                            .stock_level_changed = {STR("SKU-1"), STR("main"), story->stock}};
    story_say(story, TOPIC_STOCK_EVENTS, "inventory/0", STR("SKU-1"), level);
}

static inline void story_order(struct story *story, struct message message, int32_t version) {
    message.order_completed.order_id = story->order_id;
    message.order_completed.version = version;
    story_say(story, TOPIC_ORDER_EVENTS, "orders/0", story->order_id, message);
}

static inline void story_payment(struct story *story, struct message message) {
    story_say(story, TOPIC_PAYMENT_EVENTS, "payments/0", story->order_id, message);
}

static inline void story_fulfilment(struct story *story, struct message message) {
    story_say(story, TOPIC_FULFILMENT_EVENTS, "fulfilment/0", story->order_id, message);
}

/* ---- the chapters ---- */

static inline void story_shop(struct story *story) {
    struct str cart = story->cart_id, shopper = story->shopper_id;
    story->stock.received = 10;
    story_say(story, TOPIC_STOCK_EVENTS, "inventory/0", STR("SKU-1"),
              (struct message){
                  .type = MESSAGE_STOCK_RECEIVED,
                  .stock_received = {STR("SKU-1"), STR("main"), 10, story_stock_next(story), STR("operator:test")}});
    story_say(story, TOPIC_CART_EVENTS, NULL, cart,
              (struct message){.type = MESSAGE_CART_CREATED, .cart_created = {cart, shopper, STR("USD"), STR("00")}});
    story_say(story, TOPIC_CART_EVENTS, NULL, cart,
              (struct message){.type = MESSAGE_CART_LINE_ADDED,
                               .cart_line_added = {cart, shopper, STR("SKU-1"), STORY_QUANTITY, STR("01")}});
    story_say(story, TOPIC_CART_EVENTS, NULL, cart,
              (struct message){.type = MESSAGE_CART_CHECKOUT_REQUESTED,
                               .cart_checkout_requested = {.cart_id = cart,
                                                           .shopper_id = shopper,
                                                           .order_id = story->order_id,
                                                           .expected_total = story_usd(STORY_TOTAL),
                                                           .payment_method = STR("pm_card_visa"),
                                                           .personal_ref = STR("ref"),
                                                           .ship_to = {STR("US"), STR("OR")},
                                                           .body_hash = STR("02")}});
}

static inline void story_place(struct story *story) {
    struct ship_to ship_to = {STR("US"), STR("OR")};
    story_say(story, TOPIC_CHECKOUT_EVENTS, "checkout/0", story->cart_id,
              (struct message){.type = MESSAGE_CHECKOUT_ACCEPTED,
                               .checkout_accepted = {.cart_id = story->cart_id,
                                                     .shopper_id = story->shopper_id,
                                                     .order_id = story->order_id,
                                                     .lines = story_lines(story),
                                                     .totals = story_totals(STORY_TOTAL),
                                                     .ship_to = ship_to,
                                                     .personal_ref = STR("ref")}});
    story_order(story,
                (struct message){.type = MESSAGE_ORDER_PLACED,
                                 .order_placed = {.cart_id = story->cart_id,
                                                  .shopper_id = story->shopper_id,
                                                  .lines = story_lines(story),
                                                  .totals = story_totals(STORY_TOTAL),
                                                  .ship_to = ship_to,
                                                  .personal_ref = STR("ref"),
                                                  .location = STR("main"),
                                                  .placed_at = 1767225600000000}},
                1);
    story->stock.held = STORY_QUANTITY;
    story_reservation(story, MESSAGE_RESERVATION_STOCK_RESERVED);
    story_order(story, (struct message){.type = MESSAGE_ORDER_AWAITING_PAYMENT}, 2);
}

static inline void story_pay(struct story *story) {
    struct str order = story->order_id, payment = story->payment_id;
    story_payment(story, (struct message){.type = MESSAGE_PAYMENT_REQUESTED,
                                          .payment_requested = {.order_id = order,
                                                                .shopper_id = story->shopper_id,
                                                                .payment_id = payment,
                                                                .attempt = 1,
                                                                .amount = story_usd(STORY_TOTAL),
                                                                .idempotency_key = STR("key-1")}});
    story_payment(story, (struct message){.type = MESSAGE_PAYMENT_AUTHORIZED,
                                          .payment_authorized = {order, payment, 1, story_usd(STORY_TOTAL), STR("test"),
                                                                 STR("pi_1")}});
    story_order(story, (struct message){.type = MESSAGE_ORDER_CONFIRMED, .order_confirmed = {.payment_id = payment}},
                3);
    story->stock.held = 0;
    story->stock.committed = STORY_QUANTITY;
    story_reservation(story, MESSAGE_RESERVATION_COMMITTED);
}

static inline void story_ship(struct story *story) {
    struct str order = story->order_id, actor = STR("operator:test");
    struct quantity quantity = {STR("SKU-1"), STORY_QUANTITY};
    story_fulfilment(story, (struct message){.type = MESSAGE_FULFILMENT_REQUESTED,
                                             .fulfilment_requested = {order, STR("main"), {&quantity, 1}}});
    story_fulfilment(story, (struct message){.type = MESSAGE_FULFILMENT_PICKED, .fulfilment_picked = {order, actor}});
    story_order(story, (struct message){.type = MESSAGE_ORDER_PROCESSING}, 4);
    story_fulfilment(story, (struct message){.type = MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED,
                                             .fulfilment_shipment_dispatched = {order, story->shipment_id, STR("post"),
                                                                                STR("1Z"), actor}});
    story_order(story,
                (struct message){.type = MESSAGE_ORDER_SHIPPED, .order_shipped = {.shipment_id = story->shipment_id}},
                5);
    story_payment(story, (struct message){
                             .type = MESSAGE_PAYMENT_CAPTURED,
                             .payment_captured = {order, story->payment_id, 1, story_usd(STORY_TOTAL), STR("pi_1")}});
    story->stock.committed = 0;
    story->stock.consumed = STORY_QUANTITY;
    story_reservation(story, MESSAGE_RESERVATION_CONSUMED);
    story_fulfilment(story, (struct message){.type = MESSAGE_FULFILMENT_SHIPMENT_DELIVERED,
                                             .fulfilment_shipment_delivered = {order, story->shipment_id, actor}});
    story_order(story, (struct message){.type = MESSAGE_ORDER_DELIVERED}, 6);
    story_order(story, (struct message){.type = MESSAGE_ORDER_COMPLETED}, 7);
    story_payment(story,
                  (struct message){.type = MESSAGE_PAYMENT_REFUNDED,
                                   .payment_refunded = {order, story->payment_id, 1, story_usd(100), STR("re_1")}});
}

static inline void story_begin(struct story *story) {
    *story = (struct story){0};
    made_open(&story->made);
    story->order_id = made_id(&story->made, "order", 1);
    story->cart_id = made_id(&story->made, "cart", 1);
    story->shopper_id = made_id(&story->made, "shopper", 1);
    story->payment_id = made_id(&story->made, "payment", 1);
    story->shipment_id = made_id(&story->made, "shipment", 1);
}

static inline void story_tell(struct story *story) {
    story_shop(story);
    story_place(story);
    story_pay(story);
    story_ship(story);
}

#endif
