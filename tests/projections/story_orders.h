/* The story's catalogue, stock, carts and orders: what happens in the shop. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_STORY_ORDERS_H
#define ORDERLOG_TESTS_PROJECTIONS_STORY_ORDERS_H

#include "tests/projections/story.h"

/* ---- the catalogue and its stock ---- */

static inline struct money story_usd(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static inline struct str story_sku(struct story *story, int n) {
    return arena_printf(&story->arena, "SKU-%d", n);
}

static inline struct counters *story_stock(struct story *story, struct str sku) {
    void **place = map_put(&story->stock, sku);
    if (!*place)
        *place = mem_zalloc(sizeof(struct counters));
    struct counters *counters = *place;
    counters->version++;
    return counters;
}

static inline struct counters story_balance(struct counters *counters) {
    counters->available = counters->received + counters->adjusted + counters->restocked - counters->held -
                          counters->committed - counters->consumed;
    return *counters;
}

static inline void story_product(struct story *story, int n, int64_t price_minor) {
    struct str sku = story_sku(story, n);
    story_say(story, TOPIC_CATALOGUE_EVENTS, NULL, sku, STR_NULL,
              &(struct message){.type = MESSAGE_CATALOGUE_PRODUCT_REVISED,
                                .catalogue_product_revised = {.sku = sku,
                                                              .name = arena_printf(&story->arena, "Thing %d", n),
                                                              .price = story_usd(price_minor),
                                                              .actor = STR("operator:test"),
                                                              .body_hash = STR("00")}});
}

static inline void story_receive(struct story *story, int n, int64_t quantity) {
    struct str sku = story_sku(story, n);
    struct counters *counters = story_stock(story, sku);
    counters->received += quantity;
    story_say(story, TOPIC_STOCK_EVENTS, "inventory/0", sku, STR_NULL,
              &(struct message){.type = MESSAGE_STOCK_RECEIVED,
                                .stock_received = {.sku = sku,
                                                   .location = STR("main"),
                                                   .quantity = quantity,
                                                   .counters = story_balance(counters),
                                                   .actor = STR("operator:test")}});
}

/* ---- an order, one step after the other ---- */

enum story_way { STORY_COMPLETED, STORY_REJECTED, STORY_CANCELLED, STORY_EXPIRED, STORY_WAYS };

struct story_order {
    enum story_way way;
    int64_t n;
    int step;
    int32_t version;
    struct str id, cart_id, shopper_id, command_id, payment_id, shipment_id;
    struct line lines[2];
};

static inline struct story_order story_order_new(struct story *story, int64_t n, enum story_way way) {
    struct story_order order = {.way = way, .n = n};
    order.id = story_id(story, "order", n);
    order.cart_id = story_id(story, "cart", n);
    order.shopper_id = story_id(story, "shopper", n % 3);
    order.command_id = story_id(story, "command", n);
    order.payment_id = story_id(story, "payment", n);
    order.shipment_id = story_id(story, "shipment", n);
    for (int i = 0; i < 2; i++)
        order.lines[i] = (struct line){.sku = story_sku(story, (int)((n + i) % STORY_PRODUCTS)),
                                       .name = STR("Thing"),
                                       .quantity = i + 1,
                                       .unit_price = story_usd(250),
                                       .line_total = story_usd(250 * (i + 1))};
    return order;
}

static inline struct totals story_totals(void) {
    return (struct totals){story_usd(750), story_usd(0), story_usd(0), story_usd(0), story_usd(750)};
}

static inline void story_cart(struct story *story, const struct story_order *order) {
    struct str cart = order->cart_id, shopper = order->shopper_id;
    story_say(story, TOPIC_CART_EVENTS, NULL, cart, STR_NULL,
              &(struct message){.type = MESSAGE_CART_CREATED, .cart_created = {cart, shopper, STR("USD"), STR("01")}});
    for (int i = 0; i < 2; i++)
        story_say(story, TOPIC_CART_EVENTS, NULL, cart, STR_NULL,
                  &(struct message){
                      .type = MESSAGE_CART_LINE_ADDED,
                      .cart_line_added = {cart, shopper, order->lines[i].sku, order->lines[i].quantity, STR("02")}});
    story_say(story, TOPIC_CART_EVENTS, NULL, cart, STR_NULL,
              &(struct message){.type = MESSAGE_CART_LINE_REMOVED,
                                .cart_line_removed = {cart, shopper, order->lines[1].sku, STR("03")}});
}

static inline void story_checkout(struct story *story, struct story_order *order) {
    story_say(story, TOPIC_CHECKOUT_EVENTS, "checkout/0", order->cart_id, order->command_id,
              &(struct message){.type = MESSAGE_CHECKOUT_ACCEPTED,
                                .checkout_accepted = {.cart_id = order->cart_id,
                                                      .shopper_id = order->shopper_id,
                                                      .order_id = order->id,
                                                      .lines = {order->lines, 2},
                                                      .totals = story_totals(),
                                                      .ship_to = {STR("US"), STR("OR")},
                                                      .personal_ref = STR("ref")}});
}

static inline void story_tell(struct story *story, const struct story_order *order, const char *topic,
                              const char *origin, const struct message *message) {
    story_say(story, topic, origin, order->id, order->command_id, message);
}

static inline void story_reservation(struct story *story, const struct story_order *order, enum message_type type) {
    struct stock_line lines[2];
    for (int i = 0; i < 2; i++) {
        struct counters *counters = story_stock(story, order->lines[i].sku);
        int64_t quantity = order->lines[i].quantity;
        counters->held += type == MESSAGE_RESERVATION_STOCK_RESERVED ? quantity
                          : type == MESSAGE_RESERVATION_COMMITTED    ? -quantity
                                                                     : 0;
        counters->committed += type == MESSAGE_RESERVATION_COMMITTED        ? quantity
                               : type == MESSAGE_RESERVATION_STOCK_RESERVED ? 0
                                                                            : -quantity;
        counters->consumed += type == MESSAGE_RESERVATION_CONSUMED ? quantity : 0;
        lines[i] = (struct stock_line){order->lines[i].sku, (int32_t)quantity, story_balance(counters)};
        story_say(story, TOPIC_STOCK_EVENTS, "inventory/0", order->lines[i].sku, order->command_id,
                  &(struct message){.type = MESSAGE_STOCK_LEVEL_CHANGED,
                                    .stock_level_changed = {order->lines[i].sku, STR("main"), lines[i].counters}});
    }
    struct message message = {.type = type};
    if (type == MESSAGE_RESERVATION_RELEASED)
        message.reservation_released =
            (struct reservation_released){order->id, STR("main"), {lines, 2}, STR("cancelled-by-shopper")};
    else /* the three others have the same fields */
        message.reservation_stock_reserved = (struct reservation_stock_reserved){order->id, STR("main"), {lines, 2}};
    story_tell(story, order, TOPIC_RESERVATION_EVENTS, "inventory/0", &message);
}

/* An event of order.events that has nothing but its version, and maybe a reason. */
static inline void story_status(struct story *story, struct story_order *order, enum message_type type) {
    struct message m = {.type = type};
    int32_t version = ++order->version;
    switch (type) {
    case MESSAGE_ORDER_AWAITING_PAYMENT:
        m.order_awaiting_payment = (struct order_awaiting_payment){order->id, version, 1};
        break;
    case MESSAGE_ORDER_CONFIRMED:
        m.order_confirmed = (struct order_confirmed){order->id, version, order->payment_id};
        break;
    case MESSAGE_ORDER_PAYMENT_FAILED:
        m.order_payment_failed =
            (struct order_payment_failed){order->id, version, order->payment_id, STR("payment-declined")};
        break;
    case MESSAGE_ORDER_SHIPPED:
        m.order_shipped = (struct order_shipped){order->id, version, order->shipment_id};
        break;
    case MESSAGE_ORDER_EXPIRED:
    case MESSAGE_ORDER_CANCELLING:
    case MESSAGE_ORDER_CANCELLED: /* all three: id, version, reason */
        m.order_cancelled = (struct order_cancelled){order->id, version, STR("cancelled-by-shopper")};
        break;
    default: /* id, version */
        m.order_processing = (struct order_processing){order->id, version};
    }
    story_tell(story, order, TOPIC_ORDER_EVENTS, "orders/0", &m);
}

static inline void story_placed(struct story *story, struct story_order *order) {
    story_tell(story, order, TOPIC_ORDER_EVENTS, "orders/0",
               &(struct message){.type = MESSAGE_ORDER_PLACED,
                                 .order_placed = {.order_id = order->id,
                                                  .version = ++order->version,
                                                  .cart_id = order->cart_id,
                                                  .shopper_id = order->shopper_id,
                                                  .lines = {order->lines, 2},
                                                  .totals = story_totals(),
                                                  .ship_to = {STR("US"), STR("OR")},
                                                  .personal_ref = STR("ref"),
                                                  .location = STR("main"),
                                                  .placed_at = 1700000000000000 + order->n}});
}

static inline void story_rejected(struct story *story, struct story_order *order) {
    struct field_error errors[] = {{STR("/cart_id"), STR("it is empty")}};
    story_tell(story, order, TOPIC_ORDER_EVENTS, "orders/0",
               &(struct message){.type = MESSAGE_ORDER_REJECTED,
                                 .order_rejected = {.order_id = order->id,
                                                    .version = ++order->version,
                                                    .cart_id = order->cart_id,
                                                    .shopper_id = order->shopper_id,
                                                    .reason = STR("empty-cart"),
                                                    .errors = {errors, 1},
                                                    .placed_at = 1700000000000000 + order->n}});
}

static inline void story_payment(struct story *story, const struct story_order *order, enum message_type type) {
    struct message m = {.type = type};
    switch (type) {
    case MESSAGE_PAYMENT_REQUESTED:
        m.payment_requested = (struct payment_requested){.order_id = order->id,
                                                         .shopper_id = order->shopper_id,
                                                         .payment_id = order->payment_id,
                                                         .attempt = 1,
                                                         .amount = story_usd(750),
                                                         .idempotency_key = STR("key")};
        break;
    case MESSAGE_PAYMENT_AUTHORIZED:
        m.payment_authorized =
            (struct payment_authorized){order->id, order->payment_id, 1, story_usd(750), STR("sandbox"), STR("pi_1")};
        break;
    case MESSAGE_PAYMENT_CAPTURED:
        m.payment_captured = (struct payment_captured){order->id, order->payment_id, 1, story_usd(750), STR("pi_1")};
        break;
    default: /* id, payment, attempt, code or reason */
        m.payment_voided = (struct payment_voided){order->id, order->payment_id, 1, STR("declined")};
    }
    story_tell(story, order, TOPIC_PAYMENT_EVENTS, "payments/0", &m);
}

static inline void story_fulfilment(struct story *story, const struct story_order *order, enum message_type type) {
    struct message m = {.type = type};
    struct quantity lines[] = {{order->lines[0].sku, 1}, {order->lines[1].sku, 1}};
    switch (type) {
    case MESSAGE_FULFILMENT_REQUESTED:
        m.fulfilment_requested = (struct fulfilment_requested){order->id, STR("main"), {lines, 2}};
        break;
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        m.fulfilment_shipment_dispatched = (struct fulfilment_shipment_dispatched){
            order->id, order->shipment_id, STR("ACME"), STR("T-1"), STR("operator:test")};
        break;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        m.fulfilment_shipment_delivered =
            (struct fulfilment_shipment_delivered){order->id, order->shipment_id, STR("operator:test")};
        break;
    default: /* id, actor or reason */
        m.fulfilment_picked = (struct fulfilment_picked){order->id, STR("operator:test")};
    }
    story_tell(story, order, TOPIC_FULFILMENT_EVENTS, "fulfilment/0", &m);
}

/* The same way for all, as far as the payment's request. False: it has come to its end. */
static inline bool story_begins(struct story *story, struct story_order *order) {
    switch (order->step) {
    case 0:
        story_cart(story, order);
        break;
    case 1:
        story_checkout(story, order);
        break;
    case 2:
        if (order->way == STORY_REJECTED)
            story_rejected(story, order);
        else
            story_placed(story, order);
        return order->way != STORY_REJECTED;
    case 3:
        story_reservation(story, order, MESSAGE_RESERVATION_STOCK_RESERVED);
        break;
    case 4:
        story_status(story, order, MESSAGE_ORDER_AWAITING_PAYMENT);
        break;
    default:
        story_payment(story, order, MESSAGE_PAYMENT_REQUESTED);
    }
    return true;
}

static inline bool story_expires(struct story *story, struct story_order *order) {
    switch (order->step) {
    case 6:
        story_payment(story, order, MESSAGE_PAYMENT_DECLINED);
        return true;
    case 7:
        story_status(story, order, MESSAGE_ORDER_PAYMENT_FAILED);
        return true;
    case 8:
        story_status(story, order, MESSAGE_ORDER_EXPIRED);
        return true;
    default:
        story_payment(story, order, MESSAGE_PAYMENT_VOIDED);
        return false;
    }
}

static inline bool story_is_confirmed(struct story *story, struct story_order *order) {
    switch (order->step) {
    case 6:
        story_payment(story, order, MESSAGE_PAYMENT_AUTHORIZED);
        break;
    case 7:
        story_status(story, order, MESSAGE_ORDER_CONFIRMED);
        break;
    case 8:
        story_reservation(story, order, MESSAGE_RESERVATION_COMMITTED);
        break;
    default:
        story_fulfilment(story, order, MESSAGE_FULFILMENT_REQUESTED);
    }
    return true;
}

static inline bool story_is_cancelled(struct story *story, struct story_order *order) {
    switch (order->step) {
    case 10:
        story_status(story, order, MESSAGE_ORDER_CANCELLING);
        return true;
    case 11:
        story_fulfilment(story, order, MESSAGE_FULFILMENT_CANCELLED);
        return true;
    case 12:
        story_status(story, order, MESSAGE_ORDER_CANCELLED);
        return true;
    case 13:
        story_reservation(story, order, MESSAGE_RESERVATION_RELEASED);
        return true;
    default:
        story_payment(story, order, MESSAGE_PAYMENT_VOIDED);
        return false;
    }
}

static inline bool story_is_completed(struct story *story, struct story_order *order) {
    switch (order->step) {
    case 10:
        story_fulfilment(story, order, MESSAGE_FULFILMENT_PICKED);
        return true;
    case 11:
        story_status(story, order, MESSAGE_ORDER_PROCESSING);
        return true;
    case 12:
        story_fulfilment(story, order, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED);
        return true;
    case 13:
        story_status(story, order, MESSAGE_ORDER_SHIPPED);
        return true;
    case 14:
        story_payment(story, order, MESSAGE_PAYMENT_CAPTURED);
        return true;
    case 15:
        story_reservation(story, order, MESSAGE_RESERVATION_CONSUMED);
        return true;
    case 16:
        story_fulfilment(story, order, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED);
        return true;
    case 17:
        story_status(story, order, MESSAGE_ORDER_DELIVERED);
        return true;
    default:
        story_status(story, order, MESSAGE_ORDER_COMPLETED);
        return false;
    }
}

/* Appends the next step's records; false after the last one. */
static inline bool story_step(struct story *story, struct story_order *order) {
    bool more = order->step < 6                 ? story_begins(story, order)
                : order->way == STORY_EXPIRED   ? story_expires(story, order)
                : order->step < 10              ? story_is_confirmed(story, order)
                : order->way == STORY_CANCELLED ? story_is_cancelled(story, order)
                                                : story_is_completed(story, order);
    order->step++;
    return more;
}

/* The catalogue, and `count` orders of all ways, from the `first` on, several at a time. */
static inline void story_trade(struct story *story, int64_t first, int64_t count) {
    struct story_order open[5];
    int64_t next = first;
    size_t running = 0;
    if (first == 0)
        for (int i = 0; i < STORY_PRODUCTS; i++) {
            story_product(story, i, 200 + i);
            story_receive(story, i, 1000);
        }
    while (next < first + count || running) {
        while (running < 5 && next < first + count) {
            open[running++] = story_order_new(story, next, (enum story_way)(next % STORY_WAYS));
            next++;
        }
        for (size_t i = 0; i < running;) {
            if (story_step(story, &open[i]))
                i++;
            else
                open[i] = open[--running];
        }
    }
    story_flush(story);
}

#endif
