/* Records about one order of two lines, as the topics that orders reads would bring them. Tests change what they
 * need to. */
#ifndef ORDERLOG_TESTS_DOMAIN_ORDER_RECORDS_H
#define ORDERLOG_TESTS_DOMAIN_ORDER_RECORDS_H

#include <stdio.h>

#include "core/domain/order.h"
#include "tests/support/room.h"

#define ORDER "order-1"
#define CART "cart-1"
#define SHOPPER "shopper-1"

/* The command that the table of a test gives: a record, or a timer that is due. */
enum { TIMER_DEADLINE = MESSAGE_TYPE_COUNT + 1 };

static inline struct money order_usd(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static inline struct message order_record_of(const char *order_id, enum message_type type) {
    static struct line lines[2];
    static struct stock_line stock_lines[2];
    static struct reservation_refused_line refused_lines[1];
    static struct field_error errors[1];
    lines[0] = (struct line){STR("apple"), STR("An apple"), 2, order_usd(150), order_usd(300), 7};
    lines[1] = (struct line){STR("pear"), STR("A pear"), 1, order_usd(99), order_usd(99), 8};
    stock_lines[0] = (struct stock_line){STR("apple"), 2, {.version = 1}};
    stock_lines[1] = (struct stock_line){STR("pear"), 1, {.version = 1}};
    refused_lines[0] = (struct reservation_refused_line){STR("apple"), 2, 1};
    errors[0] = (struct field_error){STR("/cart_id"), STR("why")};
    const struct totals totals = {order_usd(399), order_usd(0), order_usd(0), order_usd(0), order_usd(399)};
    const struct str order = str_from(order_id), cart = STR(CART), shopper = STR(SHOPPER), payment = STR("payment-1");
    const struct str main = STR("main"), actor = STR("operator:ann"), shipment = STR("shipment-1");
    const struct line_list line_list = {lines, 2};
    const struct stock_line_list stock_list = {stock_lines, 2};
    struct message m = {.type = type};
    switch (type) {
    case MESSAGE_ORDER_PLACE_ORDER:
        m.order_place_order = (struct order_place_order){
            order, cart, shopper, line_list, totals, STR("pm_card_visa"), {STR("US"), STR("OR")}, STR("ref-1")};
        break;
    case MESSAGE_ORDER_REJECT_ORDER:
        m.order_reject_order =
            (struct order_reject_order){order, cart, shopper, STR("empty-cart"), {errors, 1}, NULL, STR_NULL};
        break;
    case MESSAGE_ORDER_CANCEL_ORDER:
        m.order_cancel_order = (struct order_cancel_order){order, shopper, STR("shopper"), STR("hash")};
        break;
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        m.reservation_stock_reserved = (struct reservation_stock_reserved){order, main, stock_list};
        break;
    case MESSAGE_RESERVATION_STOCK_REFUSED:
        m.reservation_stock_refused = (struct reservation_stock_refused){order, main, {refused_lines, 1}};
        break;
    case MESSAGE_RESERVATION_COMMITTED:
        m.reservation_committed = (struct reservation_committed){order, main, stock_list};
        break;
    case MESSAGE_RESERVATION_RELEASED:
        m.reservation_released = (struct reservation_released){order, main, stock_list, STR("stock-short")};
        break;
    case MESSAGE_RESERVATION_CONSUMED:
        m.reservation_consumed = (struct reservation_consumed){order, main, stock_list};
        break;
    case MESSAGE_RESERVATION_COMMAND_REFUSED:
        m.reservation_command_refused = (struct reservation_command_refused){order, main, STR("not-found"), STR("no")};
        break;
    case MESSAGE_PAYMENT_REQUESTED:
        m.payment_requested = (struct payment_requested){.order_id = order,
                                                         .shopper_id = shopper,
                                                         .payment_id = payment,
                                                         .attempt = 1,
                                                         .amount = order_usd(399),
                                                         .idempotency_key = STR("key-1")};
        break;
    case MESSAGE_PAYMENT_AUTHORIZED:
        m.payment_authorized =
            (struct payment_authorized){order, payment, 1, order_usd(399), STR("sandbox"), STR("pi_1")};
        break;
    case MESSAGE_PAYMENT_DECLINED:
        m.payment_declined = (struct payment_declined){order, payment, 1, STR("card_declined")};
        break;
    case MESSAGE_PAYMENT_OUTCOME_UNKNOWN:
        m.payment_outcome_unknown = (struct payment_outcome_unknown){order, payment, 1, STR("time-out")};
        break;
    case MESSAGE_PAYMENT_CAPTURED:
        m.payment_captured = (struct payment_captured){order, payment, 1, order_usd(399), STR("pi_1")};
        break;
    case MESSAGE_PAYMENT_CAPTURE_FAILED:
        m.payment_capture_failed = (struct payment_capture_failed){order, payment, 1, STR("processing_error")};
        break;
    case MESSAGE_PAYMENT_VOID_REQUESTED:
        m.payment_void_requested = (struct payment_void_requested){order, payment, 1, STR("payment-expired")};
        break;
    case MESSAGE_PAYMENT_VOIDED:
        m.payment_voided = (struct payment_voided){order, payment, 1, STR("payment-expired")};
        break;
    case MESSAGE_PAYMENT_VOID_FAILED:
        m.payment_void_failed = (struct payment_void_failed){order, payment, 1, STR("processing_error")};
        break;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        m.payment_authorization_expired = (struct payment_authorization_expired){order, payment, 1};
        break;
    case MESSAGE_PAYMENT_REFUNDED:
        m.payment_refunded = (struct payment_refunded){order, payment, 1, order_usd(399), STR("re_1")};
        break;
    case MESSAGE_PAYMENT_REFUND_FAILED:
        m.payment_refund_failed = (struct payment_refund_failed){order, payment, 1, STR("processing_error")};
        break;
    case MESSAGE_PAYMENT_COMMAND_REFUSED:
        m.payment_command_refused = (struct payment_command_refused){order, STR("transition-refused"), STR("no")};
        break;
    case MESSAGE_FULFILMENT_REQUESTED:
        m.fulfilment_requested = (struct fulfilment_requested){order, main, {NULL, 0}};
        break;
    case MESSAGE_FULFILMENT_PICKED:
        m.fulfilment_picked = (struct fulfilment_picked){order, actor};
        break;
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        m.fulfilment_shipment_dispatched =
            (struct fulfilment_shipment_dispatched){order, shipment, STR("post"), STR("T1"), actor};
        break;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        m.fulfilment_shipment_delivered = (struct fulfilment_shipment_delivered){order, shipment, actor};
        break;
    case MESSAGE_FULFILMENT_CANCELLED:
        m.fulfilment_cancelled = (struct fulfilment_cancelled){order, STR("cancelled-by-shopper")};
        break;
    case MESSAGE_FULFILMENT_CANCELLATION_REFUSED:
        m.fulfilment_cancellation_refused = (struct fulfilment_cancellation_refused){order, STR("transition-refused")};
        break;
    case MESSAGE_FULFILMENT_COMMAND_REFUSED:
        m.fulfilment_command_refused = (struct fulfilment_command_refused){order, STR("transition-refused"), STR("no")};
        break;
    default:
        fail_msg("no such record is made here: %d", (int)type);
    }
    return m;
}

static inline struct message order_record(enum message_type type) {
    return order_record_of(ORDER, type);
}

static inline const char *order_topic_of(enum message_type type) {
    static const char *const topics[] = {TOPIC_ORDER_REQUESTS, TOPIC_RESERVATION_EVENTS, TOPIC_PAYMENT_EVENTS,
                                         TOPIC_FULFILMENT_EVENTS, TOPIC_ORDER_EVENTS};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        const struct schema_version *version = schema_subject_find(str_from(topics[i]))->current;
        for (size_t j = 0; j < version->branch_count; j++)
            if (version->branches[j].message == (int32_t)type)
                return topics[i];
    }
    fail_msg("orders does not read such a record: %d", (int)type);
    return NULL;
}

/* Gives a record its own command id, "c-1", "c-2", …; or fires the deadline, also where it was cleared. */
static inline void order_give_message(struct test_room *room, const struct message *message) {
    char id[32];
    snprintf(id, sizeof id, "c-%zu", room->log_count);
    struct str order_id = order_id_of(message);
    char key[64];
    snprintf(key, sizeof key, "%.*s", STR_ARG(order_id));
    assert_true(test_room_give(room, order_topic_of(message->type), key, id, message));
}

static inline void order_give(struct test_room *room, int type) {
    if (type == TIMER_DEADLINE) {
        assert_true(test_room_timer_due(room, ORDER, "deadline"));
        return;
    }
    struct message message = order_record((enum message_type)type);
    order_give_message(room, &message);
}

/* "Order: pending -> awaiting_payment | rejected | cancelled; ..." */
static inline bool order_may_follow(enum order_status from, enum order_status to) {
    static const enum order_status next[][4] = {
        [ORDER_STATUS_PENDING] = {ORDER_STATUS_AWAITING_PAYMENT, ORDER_STATUS_REJECTED, ORDER_STATUS_CANCELLED},
        [ORDER_STATUS_AWAITING_PAYMENT] = {ORDER_STATUS_CONFIRMED, ORDER_STATUS_PAYMENT_FAILED, ORDER_STATUS_EXPIRED,
                                           ORDER_STATUS_CANCELLED},
        [ORDER_STATUS_PAYMENT_FAILED] = {ORDER_STATUS_AWAITING_PAYMENT, ORDER_STATUS_EXPIRED, ORDER_STATUS_CANCELLED},
        [ORDER_STATUS_CONFIRMED] = {ORDER_STATUS_PROCESSING, ORDER_STATUS_CANCELLING},
        [ORDER_STATUS_CANCELLING] = {ORDER_STATUS_CANCELLED, ORDER_STATUS_CONFIRMED, ORDER_STATUS_PROCESSING},
        [ORDER_STATUS_PROCESSING] = {ORDER_STATUS_SHIPPED},
        [ORDER_STATUS_SHIPPED] = {ORDER_STATUS_DELIVERED},
        [ORDER_STATUS_DELIVERED] = {ORDER_STATUS_COMPLETED},
        [ORDER_STATUS_EXPIRED] = {0},
    };
    for (size_t i = 0; i < 4; i++)
        if (to != ORDER_STATUS_PENDING && next[from][i] == to)
            return true;
    return false;
}

static inline const struct state_order *order_state(struct test_room *room) {
    return test_room_state(room, 0, ORDER);
}

#endif
