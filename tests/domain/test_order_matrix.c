/* Every (state, record) pair of orders. What is not in the table below is the rule: a command is refused with a
 * reason, a fact is recorded and nothing said. */
#include "tests/domain/order_records.h"

enum { GIVEN_MAX = 12, THEN_MAX = 8 };

enum place {
    UNKNOWN,
    PENDING,
    AWAITING_PAYMENT,
    PAYMENT_FAILED,
    CONFIRMED,
    PROCESSING,
    SHIPPED,
    DELIVERED,
    COMPLETED,
    CANCELLING,
    CANCELLED,
    REJECTED,
    EXPIRED,
    PLACE_COUNT,
};

/* clang-format off */
#define TO_AWAITING MESSAGE_ORDER_PLACE_ORDER, MESSAGE_RESERVATION_STOCK_RESERVED
#define TO_CONFIRMED TO_AWAITING, MESSAGE_PAYMENT_REQUESTED, MESSAGE_PAYMENT_AUTHORIZED
#define TO_SHIPPED TO_CONFIRMED, MESSAGE_FULFILMENT_PICKED, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED

/* How to get there. */
static const struct {
    const char *name;
    int given[GIVEN_MAX];
    enum order_status status;
} places[PLACE_COUNT] = {
    [UNKNOWN] = {"unknown", {0}, ORDER_STATUS_PENDING},
    [PENDING] = {"pending", {MESSAGE_ORDER_PLACE_ORDER}, ORDER_STATUS_PENDING},
    [AWAITING_PAYMENT] = {"awaiting_payment", {TO_AWAITING}, ORDER_STATUS_AWAITING_PAYMENT},
    [PAYMENT_FAILED] = {"payment_failed", {TO_AWAITING, MESSAGE_PAYMENT_REQUESTED, MESSAGE_PAYMENT_DECLINED}, ORDER_STATUS_PAYMENT_FAILED},
    [CONFIRMED] = {"confirmed", {TO_CONFIRMED}, ORDER_STATUS_CONFIRMED},
    [PROCESSING] = {"processing", {TO_CONFIRMED, MESSAGE_FULFILMENT_PICKED}, ORDER_STATUS_PROCESSING},
    [SHIPPED] = {"shipped", {TO_SHIPPED}, ORDER_STATUS_SHIPPED},
    [DELIVERED] = {"delivered", {TO_SHIPPED, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED}, ORDER_STATUS_DELIVERED},
    [COMPLETED] = {"completed", {TO_SHIPPED, MESSAGE_PAYMENT_CAPTURED, MESSAGE_RESERVATION_CONSUMED, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED}, ORDER_STATUS_COMPLETED},
    [CANCELLING] = {"cancelling", {TO_CONFIRMED, MESSAGE_ORDER_CANCEL_ORDER}, ORDER_STATUS_CANCELLING},
    [CANCELLED] = {"cancelled", {TO_AWAITING, MESSAGE_ORDER_CANCEL_ORDER}, ORDER_STATUS_CANCELLED},
    [REJECTED] = {"rejected", {MESSAGE_ORDER_PLACE_ORDER, MESSAGE_RESERVATION_STOCK_REFUSED}, ORDER_STATUS_REJECTED},
    [EXPIRED] = {"expired", {TO_AWAITING, TIMER_DEADLINE}, ORDER_STATUS_EXPIRED},
};

static const int commands[] = {MESSAGE_ORDER_PLACE_ORDER, MESSAGE_ORDER_REJECT_ORDER, MESSAGE_ORDER_CANCEL_ORDER};

/* Every record of the topics of facts, and the timer. */
static const int facts[] = {
    MESSAGE_RESERVATION_STOCK_RESERVED, MESSAGE_RESERVATION_STOCK_REFUSED, MESSAGE_RESERVATION_COMMITTED,
    MESSAGE_RESERVATION_RELEASED, MESSAGE_RESERVATION_CONSUMED, MESSAGE_RESERVATION_COMMAND_REFUSED,
    MESSAGE_PAYMENT_REQUESTED, MESSAGE_PAYMENT_AUTHORIZED, MESSAGE_PAYMENT_DECLINED, MESSAGE_PAYMENT_OUTCOME_UNKNOWN,
    MESSAGE_PAYMENT_CAPTURED, MESSAGE_PAYMENT_CAPTURE_FAILED, MESSAGE_PAYMENT_VOID_REQUESTED, MESSAGE_PAYMENT_VOIDED,
    MESSAGE_PAYMENT_VOID_FAILED, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED, MESSAGE_PAYMENT_REFUNDED,
    MESSAGE_PAYMENT_REFUND_FAILED, MESSAGE_PAYMENT_COMMAND_REFUSED,
    MESSAGE_FULFILMENT_REQUESTED, MESSAGE_FULFILMENT_PICKED, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED,
    MESSAGE_FULFILMENT_SHIPMENT_DELIVERED, MESSAGE_FULFILMENT_CANCELLED, MESSAGE_FULFILMENT_CANCELLATION_REFUSED,
    MESSAGE_FULFILMENT_COMMAND_REFUSED,
    TIMER_DEADLINE,
};

#define AUTHORIZE MESSAGE_PAYMENT_AUTHORIZE_PAYMENT
#define CAPTURE MESSAGE_PAYMENT_CAPTURE_PAYMENT
#define VOID MESSAGE_PAYMENT_VOID_PAYMENT
#define COMMIT MESSAGE_INVENTORY_COMMIT_RESERVATION
#define RELEASE MESSAGE_INVENTORY_RELEASE_RESERVATION
#define CONSUME MESSAGE_INVENTORY_CONSUME_RESERVATION
#define FULFIL MESSAGE_FULFILMENT_REQUEST_FULFILMENT
#define STOP MESSAGE_FULFILMENT_CANCEL_FULFILMENT

static const struct {
    enum place place;
    int when;
    enum message_type then[THEN_MAX];
} exceptions[] = {
    {UNKNOWN, MESSAGE_ORDER_PLACE_ORDER, {MESSAGE_ORDER_PLACED, MESSAGE_INVENTORY_RESERVE_STOCK}},
    {UNKNOWN, MESSAGE_ORDER_REJECT_ORDER, {MESSAGE_ORDER_REJECTED}},
    {UNKNOWN, MESSAGE_ORDER_CANCEL_ORDER, {0}}, /* held */
    {PENDING, MESSAGE_ORDER_CANCEL_ORDER, {MESSAGE_ORDER_CANCELLED, RELEASE}},
    {PENDING, MESSAGE_RESERVATION_STOCK_RESERVED, {MESSAGE_ORDER_AWAITING_PAYMENT, AUTHORIZE}},
    {PENDING, MESSAGE_RESERVATION_COMMITTED, {MESSAGE_ORDER_AWAITING_PAYMENT, AUTHORIZE}},
    {PENDING, MESSAGE_RESERVATION_STOCK_REFUSED, {MESSAGE_ORDER_REJECTED, MESSAGE_CHECKOUT_REOPEN_CART}},
    {PENDING, MESSAGE_RESERVATION_RELEASED, {MESSAGE_ORDER_CANCELLED}},
    {AWAITING_PAYMENT, MESSAGE_ORDER_CANCEL_ORDER, {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}},
    {AWAITING_PAYMENT, MESSAGE_RESERVATION_RELEASED, {MESSAGE_ORDER_CANCELLED, VOID}},
    {AWAITING_PAYMENT, MESSAGE_PAYMENT_AUTHORIZED, {MESSAGE_ORDER_CONFIRMED, COMMIT, FULFIL}},
    {AWAITING_PAYMENT, MESSAGE_PAYMENT_CAPTURED, {MESSAGE_ORDER_CONFIRMED, COMMIT, FULFIL}},
    {AWAITING_PAYMENT, MESSAGE_PAYMENT_DECLINED, {MESSAGE_ORDER_PAYMENT_FAILED}},
    {AWAITING_PAYMENT, TIMER_DEADLINE, {MESSAGE_ORDER_EXPIRED, RELEASE, VOID}},
    {PAYMENT_FAILED, MESSAGE_ORDER_CANCEL_ORDER, {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}},
    {PAYMENT_FAILED, MESSAGE_RESERVATION_RELEASED, {MESSAGE_ORDER_CANCELLED, VOID}},
    {PAYMENT_FAILED, MESSAGE_PAYMENT_CAPTURED, {MESSAGE_ORDER_AWAITING_PAYMENT, MESSAGE_ORDER_CONFIRMED, COMMIT, FULFIL}},
    {PAYMENT_FAILED, TIMER_DEADLINE, {MESSAGE_ORDER_EXPIRED, RELEASE, VOID}},
    {CONFIRMED, MESSAGE_ORDER_CANCEL_ORDER, {MESSAGE_ORDER_CANCELLING, STOP}},
    {CONFIRMED, MESSAGE_RESERVATION_RELEASED, {MESSAGE_ORDER_CANCELLING, STOP}},
    {CONFIRMED, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED, {MESSAGE_ORDER_CANCELLING, STOP}},
    {CONFIRMED, MESSAGE_FULFILMENT_PICKED, {MESSAGE_ORDER_PROCESSING}},
    {CONFIRMED, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED, {MESSAGE_ORDER_PROCESSING, MESSAGE_ORDER_SHIPPED, CAPTURE, CONSUME}},
    {CONFIRMED, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED,
     {MESSAGE_ORDER_PROCESSING, MESSAGE_ORDER_SHIPPED, CAPTURE, CONSUME, MESSAGE_ORDER_DELIVERED}},
    {CONFIRMED, MESSAGE_FULFILMENT_CANCELLED, {MESSAGE_ORDER_CANCELLING, MESSAGE_ORDER_CANCELLED, RELEASE, VOID}},
    {CANCELLING, MESSAGE_FULFILMENT_CANCELLED, {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}},
    {CANCELLING, MESSAGE_FULFILMENT_CANCELLATION_REFUSED, {MESSAGE_ORDER_CANCELLATION_REFUSED}},
    {PROCESSING, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED, {MESSAGE_ORDER_SHIPPED, CAPTURE, CONSUME}},
    {PROCESSING, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED, {MESSAGE_ORDER_SHIPPED, CAPTURE, CONSUME, MESSAGE_ORDER_DELIVERED}},
    {SHIPPED, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED, {MESSAGE_ORDER_DELIVERED}},
    {REJECTED, MESSAGE_PAYMENT_AUTHORIZED, {VOID}}, /* of the others payments knows already */
};
/* clang-format on */

static const enum message_type *expected(enum place place, int when, bool command) {
    static const enum message_type refused[] = {MESSAGE_ORDER_COMMAND_REFUSED, 0}, nothing[] = {0};
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (exceptions[i].place == place && exceptions[i].when == when)
            return exceptions[i].then;
    return command ? refused : nothing;
}

static struct test_room *room_at(enum place place) {
    struct test_room *room = test_room_open(&orders_decider);
    for (size_t i = 0; i < GIVEN_MAX && places[place].given[i]; i++)
        order_give(room, places[place].given[i]);
    if (place != UNKNOWN)
        assert_int_equal(order_state(room)->status, places[place].status);
    room->log_seen = room->log_count;
    return room;
}

/* The states of section 5, as they follow each other. */
static void check_steps(struct test_room *room, size_t from_record, enum order_status status) {
    for (size_t i = from_record; i < room->log_count; i++) {
        if (!room->log[i]->emitted || !str_eq(room->log[i]->topic, STR(TOPIC_ORDER_EVENTS)))
            continue;
        struct state_order probe = {.version = -1, .status = status};
        struct state_order *into = &probe;
        if (!order_evolve(&room->passing, &into, &room->log[i]->message))
            continue;
        if (room->log[i]->message.type != MESSAGE_ORDER_PLACED && !order_may_follow(status, probe.status))
            fail_msg("status %d may not become %d", (int)status, (int)probe.status);
        status = probe.status;
    }
}

static void check_pair(enum place place, int when, bool command) {
    struct test_room *room = room_at(place);
    size_t before = room->log_count;
    char about[128];
    const char *record = when == TIMER_DEADLINE ? "the deadline" : schema_messages[when]->name;
    snprintf(about, sizeof about, "%s, then %s", places[place].name, record);
    room->about = about;
    order_give(room, when);
    test_room_expect_types(room, expected(place, when, command), __FILE__, __LINE__);
    check_steps(room, before, places[place].status);
    if (command && place != UNKNOWN && test_room_emits(room, before, MESSAGE_ORDER_COMMAND_REFUSED)) {
        const struct test_record *refused = test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED);
        assert_str(refused->message.order_command_refused.reason, "transition-refused");
        assert_true(refused->message.order_command_refused.detail.len > 0);
        assert_str(refused->key, ORDER);
    }
    test_room_close(room);
}

static void test_commands(void **state) {
    (void)state;
    for (int place = 0; place < PLACE_COUNT; place++)
        for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
            check_pair((enum place)place, commands[i], true);
}

static void test_facts(void **state) {
    (void)state;
    for (int place = 0; place < PLACE_COUNT; place++)
        for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
            check_pair((enum place)place, facts[i], false);
}

/* Nothing that the four topics may carry is missing above. */
static void test_table_is_whole(void **state) {
    (void)state;
    size_t count = 0;
    for (size_t i = 0; i < orders_decider.input_count; i++)
        count += schema_subject_find(str_from(orders_decider.inputs[i]))->current->branch_count;
    assert_int_equal(count + 1, sizeof commands / sizeof commands[0] + sizeof facts / sizeof facts[0]);
}

/* What another service tells is kept, whatever the order's own state. */
static void test_facts_are_recorded(void **state) {
    (void)state;
    for (int place = UNKNOWN; place < PLACE_COUNT; place++) {
        struct test_room *room = room_at((enum place)place);
        struct message asked = order_record(MESSAGE_PAYMENT_REQUESTED);
        asked.payment_requested.attempt = 2;
        asked.payment_requested.payment_id = STR("payment-2");
        order_give_message(room, &asked);
        assert_int_equal(order_state(room)->attempt, 2);
        assert_int_equal(order_state(room)->payment, STATE_ORDER_PAYMENT_AUTHORIZING);
        struct message declined = order_record(MESSAGE_PAYMENT_DECLINED);
        declined.payment_declined.attempt = 2;
        order_give_message(room, &declined);
        assert_int_equal(order_state(room)->payment, STATE_ORDER_PAYMENT_DECLINED);
        struct message failed = order_record(MESSAGE_PAYMENT_VOID_FAILED);
        failed.payment_void_failed.attempt = 2;
        order_give_message(room, &failed);
        assert_str(order_state(room)->payment_failure, "processing_error");
        struct message gone = order_record(MESSAGE_PAYMENT_VOIDED);
        gone.payment_voided.attempt = 2;
        order_give_message(room, &gone);
        assert_int_equal(order_state(room)->payment, STATE_ORDER_PAYMENT_VOIDED);
        assert_null(order_state(room)->payment_failure.ptr);
        test_room_close(room);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_whole),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_facts_are_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
