/* One record of each type that an order's row is made of. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_ORDER_MESSAGES_H
#define ORDERLOG_TESTS_PROJECTIONS_ORDER_MESSAGES_H

#include "gen/types.h"

#define ORDER STR("0190b6c2-0000-7000-8000-000000000001")
#define CART STR("0190b6c2-0000-7000-8000-000000000002")
#define SHOPPER STR("0190b6c2-0000-7000-8000-000000000003")
#define PAYMENT STR("0190b6c2-0000-7000-8000-000000000004")
#define SHIPMENT STR("0190b6c2-0000-7000-8000-000000000005")
#define WINNER STR("0190b6c2-0000-7000-8000-000000000006")

static inline struct money usd(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static inline struct totals totals(void) {
    return (struct totals){usd(500), usd(0), usd(0), usd(0), usd(500)};
}

/* A record of this type with this version, where it has one, and made-up but sensible content. */
static inline struct message message(enum message_type type, int32_t version) {
    static struct line lines[1];
    static struct field_error errors[1];
    static struct totals rejected_totals;
    struct message m = {.type = type};
    lines[0] = (struct line){STR("SKU-1"), STR("Thing"), 2, usd(250), usd(500), 7};
    errors[0] = (struct field_error){STR("/expected_total"), STR("it costs more now")};
    rejected_totals = totals();
    switch (type) {
    case MESSAGE_ORDER_PLACED:
        m.order_placed = (struct order_placed){.order_id = ORDER,
                                               .version = version,
                                               .cart_id = CART,
                                               .shopper_id = SHOPPER,
                                               .lines = {lines, 1},
                                               .totals = totals(),
                                               .placed_at = 1000};
        break;
    case MESSAGE_ORDER_REJECTED:
        m.order_rejected = (struct order_rejected){ORDER,       version,          CART,   SHOPPER, STR("price-changed"),
                                                   {errors, 1}, &rejected_totals, WINNER, 1000};
        break;
    case MESSAGE_ORDER_AWAITING_PAYMENT:
        m.order_awaiting_payment = (struct order_awaiting_payment){ORDER, version, 5000};
        break;
    case MESSAGE_ORDER_CONFIRMED:
        m.order_confirmed = (struct order_confirmed){ORDER, version, PAYMENT};
        break;
    case MESSAGE_ORDER_PAYMENT_FAILED:
        m.order_payment_failed = (struct order_payment_failed){ORDER, version, PAYMENT, STR("payment-declined")};
        break;
    case MESSAGE_ORDER_EXPIRED:
        m.order_expired = (struct order_expired){ORDER, version, STR("payment-expired")};
        break;
    case MESSAGE_ORDER_CANCELLING:
        m.order_cancelling = (struct order_cancelling){ORDER, version, STR("cancelled-by-shopper")};
        break;
    case MESSAGE_ORDER_CANCELLED:
        m.order_cancelled = (struct order_cancelled){ORDER, version, STR("cancelled-by-shopper")};
        break;
    case MESSAGE_ORDER_CANCELLATION_REFUSED:
        m.order_cancellation_refused =
            (struct order_cancellation_refused){ORDER, version, ORDER_STATUS_PROCESSING, STR("transition-refused")};
        break;
    case MESSAGE_ORDER_SHIPPED:
        m.order_shipped = (struct order_shipped){ORDER, version, SHIPMENT};
        break;
    case MESSAGE_ORDER_PROCESSING:
        m.order_processing = (struct order_processing){ORDER, version};
        break;
    case MESSAGE_ORDER_DELIVERED:
        m.order_delivered = (struct order_delivered){ORDER, version};
        break;
    case MESSAGE_ORDER_COMPLETED:
        m.order_completed = (struct order_completed){ORDER, version};
        break;
    case MESSAGE_ORDER_COMMAND_REFUSED:
        m.order_command_refused = (struct order_command_refused){ORDER, STR("transition-refused"), STR("too late")};
        break;
    case MESSAGE_PAYMENT_REQUESTED:
        m.payment_requested = (struct payment_requested){
            .order_id = ORDER, .shopper_id = SHOPPER, .payment_id = PAYMENT, .attempt = 1, .amount = usd(500)};
        break;
    case MESSAGE_PAYMENT_AUTHORIZED:
        m.payment_authorized = (struct payment_authorized){ORDER, PAYMENT, 1, usd(500), STR("sandbox"), STR("pi")};
        break;
    case MESSAGE_PAYMENT_CAPTURED:
        m.payment_captured = (struct payment_captured){ORDER, PAYMENT, 1, usd(400), STR("pi")};
        break;
    case MESSAGE_PAYMENT_REFUNDED:
        m.payment_refunded = (struct payment_refunded){ORDER, PAYMENT, 1, usd(100), STR("pi")};
        break;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        m.payment_authorization_expired = (struct payment_authorization_expired){ORDER, PAYMENT, 1};
        break;
    case MESSAGE_PAYMENT_COMMAND_REFUSED:
        m.payment_command_refused = (struct payment_command_refused){ORDER, STR("not-found"), STR("no order")};
        break;
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        m.fulfilment_shipment_dispatched =
            (struct fulfilment_shipment_dispatched){ORDER, SHIPMENT, STR("ACME"), STR("T-1"), STR("operator:a")};
        break;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        m.fulfilment_shipment_delivered = (struct fulfilment_shipment_delivered){ORDER, SHIPMENT, STR("operator:a")};
        break;
    default: /* of payments: id, payment, attempt, and a text that is not looked at */
        m.payment_voided = (struct payment_voided){ORDER, PAYMENT, version, STR("why")};
    }
    return m;
}

#endif
