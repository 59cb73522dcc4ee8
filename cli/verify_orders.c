/* One decision per order: every acknowledged checkout is decided, once; what is bought is shipped once. */
#include "cli/verify.h"
#include "core/base/map.h"

#include <stdlib.h>

/* An order's id to what a check knows of it. */
struct orders {
    struct map map;
    size_t each; /* of what is known */
};

static void *orders_begin(size_t each) {
    struct orders *orders = mem_zalloc(sizeof *orders);
    orders->each = each;
    return orders;
}

static void *orders_get(struct orders *orders, struct str order_id) {
    void **slot = map_put(&orders->map, order_id);
    if (!*slot)
        *slot = mem_zalloc(orders->each);
    return *slot;
}

static void orders_end(void *state) {
    struct orders *orders = state;
    map_free(&orders->map, free);
    free(orders);
}

/* ---- one decision ---- */

struct decision {
    bool placed;
    bool rejected;
};

static void *decisions_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return orders_begin(sizeof(struct decision));
}

/* An order that was placed may still be rejected, for want of stock; nothing else follows the other. */
static void decisions_record(void *state, struct verify_result *result, const struct verify_record *record) {
    bool placed = record->message->type == MESSAGE_ORDER_PLACED;
    if (!placed && record->message->type != MESSAGE_ORDER_REJECTED)
        return;
    struct str order_id = placed ? record->message->order_placed.order_id : record->message->order_rejected.order_id;
    struct decision *decision = orders_get(state, order_id);
    if (!decision->placed && !decision->rejected)
        result->count++;
    if (placed && decision->placed)
        verify_violation(result, &record->at, "order %.*s is placed a second time", STR_ARG(order_id));
    else if (placed && decision->rejected)
        verify_violation(result, &record->at, "order %.*s is placed after it was rejected", STR_ARG(order_id));
    else if (!placed && decision->rejected)
        verify_violation(result, &record->at, "order %.*s is rejected a second time", STR_ARG(order_id));
    decision->placed |= placed;
    decision->rejected |= !placed;
}

const struct verify_check verify_decisions = {
    .name = "one-decision-per-order",
    .holds = "an order is placed at most once, and rejected at most once",
    .begin = decisions_begin,
    .record = decisions_record,
    .end = orders_end,
};

/* ---- every checkout is decided ---- */

struct checkout {
    struct verify_at at;
    bool requested;
    bool decided;
};

static void *acknowledged_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return orders_begin(sizeof(struct checkout));
}

static void acknowledged_record(void *state, struct verify_result *result, const struct verify_record *record) {
    const struct message *message = record->message;
    if (message->type == MESSAGE_ORDER_PLACED || message->type == MESSAGE_ORDER_REJECTED) {
        struct str order_id =
            message->type == MESSAGE_ORDER_PLACED ? message->order_placed.order_id : message->order_rejected.order_id;
        ((struct checkout *)orders_get(state, order_id))->decided = true;
    } else if (message->type == MESSAGE_CART_CHECKOUT_REQUESTED) {
        struct checkout *checkout = orders_get(state, message->cart_checkout_requested.order_id);
        if (checkout->requested)
            return; /* sent again */
        checkout->requested = true;
        checkout->at = record->at;
        result->count++;
    }
}

static bool acknowledged_finish(void *state, const struct verify_options *options, struct verify_result *result,
                                struct err *err) {
    (void)err;
    const struct orders *orders = state;
    for (struct map_entry *entry = map_next(&orders->map, NULL); entry; entry = map_next(&orders->map, entry)) {
        const struct checkout *checkout = entry->value;
        if (checkout->requested && !checkout->decided && !options->in_flight)
            verify_violation(result, &checkout->at, "the checkout of order %.*s was never decided",
                             STR_ARG(entry->key));
    }
    return true;
}

const struct verify_check verify_acknowledged = {
    .name = "acknowledged-checkout-decided",
    .holds = "every checkout in the log ended in OrderPlaced or OrderRejected",
    .begin = acknowledged_begin,
    .record = acknowledged_record,
    .finish = acknowledged_finish,
    .end = orders_end,
};

/* ---- one shipment ---- */

struct shipment {
    bool dispatched;
    bool shipped;
};

static void *shipments_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return orders_begin(sizeof(struct shipment));
}

static void shipments_record(void *state, struct verify_result *result, const struct verify_record *record) {
    bool dispatched = record->message->type == MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED;
    if (!dispatched && record->message->type != MESSAGE_ORDER_SHIPPED)
        return;
    struct str order_id =
        dispatched ? record->message->fulfilment_shipment_dispatched.order_id : record->message->order_shipped.order_id;
    struct shipment *shipment = orders_get(state, order_id);
    if (!shipment->dispatched && !shipment->shipped)
        result->count++;
    if (dispatched ? shipment->dispatched : shipment->shipped)
        verify_violation(result, &record->at, "order %.*s is shipped a second time", STR_ARG(order_id));
    shipment->dispatched |= dispatched;
    shipment->shipped |= !dispatched;
}

const struct verify_check verify_shipments = {
    .name = "one-shipment-per-order",
    .holds = "an order is dispatched at most once",
    .begin = shipments_begin,
    .record = shipments_record,
    .end = orders_end,
};
