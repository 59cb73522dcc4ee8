/* An order's way, and the ways off it: what orders says and asks at each record (section 5 of the design). */
#include "tests/domain/order_records.h"

enum { GIVEN_MAX = 16, THEN_MAX = 8 };

/* Given these, when the last comes, then these are emitted and the order is there. */
struct scenario {
    const char *name;
    int given[GIVEN_MAX]; /* 0 ends */
    int when;
    enum message_type then[THEN_MAX];
    enum order_status status;
};

/* clang-format off */
#define PLACE MESSAGE_ORDER_PLACE_ORDER
#define CANCEL MESSAGE_ORDER_CANCEL_ORDER
#define RESERVED MESSAGE_RESERVATION_STOCK_RESERVED
#define RELEASED MESSAGE_RESERVATION_RELEASED
#define REQUESTED MESSAGE_PAYMENT_REQUESTED
#define AUTHORIZED MESSAGE_PAYMENT_AUTHORIZED
#define DECLINED MESSAGE_PAYMENT_DECLINED
#define PICKED MESSAGE_FULFILMENT_PICKED
#define DISPATCHED MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED
#define DELIVERED MESSAGE_FULFILMENT_SHIPMENT_DELIVERED
#define CAPTURED MESSAGE_PAYMENT_CAPTURED
#define CONSUMED MESSAGE_RESERVATION_CONSUMED
#define TO_CONFIRMED PLACE, RESERVED, REQUESTED, AUTHORIZED
#define TO_SHIPPED TO_CONFIRMED, PICKED, DISPATCHED
#define COMMIT MESSAGE_INVENTORY_COMMIT_RESERVATION
#define RELEASE MESSAGE_INVENTORY_RELEASE_RESERVATION
#define VOID MESSAGE_PAYMENT_VOID_PAYMENT
#define REOPEN MESSAGE_CHECKOUT_REOPEN_CART

static const struct scenario scenarios[] = {
    {"placed", {0}, PLACE,
     {MESSAGE_ORDER_PLACED, MESSAGE_INVENTORY_RESERVE_STOCK}, ORDER_STATUS_PENDING},
    {"stock is there", {PLACE}, RESERVED,
     {MESSAGE_ORDER_AWAITING_PAYMENT, MESSAGE_PAYMENT_AUTHORIZE_PAYMENT}, ORDER_STATUS_AWAITING_PAYMENT},
    {"the payment is on its way", {PLACE, RESERVED}, REQUESTED, {0}, ORDER_STATUS_AWAITING_PAYMENT},
    {"paid for", {PLACE, RESERVED, REQUESTED}, AUTHORIZED,
     {MESSAGE_ORDER_CONFIRMED, COMMIT, MESSAGE_FULFILMENT_REQUEST_FULFILMENT}, ORDER_STATUS_CONFIRMED},
    {"paid for in the end", {PLACE, RESERVED, REQUESTED, MESSAGE_PAYMENT_OUTCOME_UNKNOWN}, AUTHORIZED,
     {MESSAGE_ORDER_CONFIRMED, COMMIT, MESSAGE_FULFILMENT_REQUEST_FULFILMENT}, ORDER_STATUS_CONFIRMED},
    {"to be picked", {TO_CONFIRMED}, MESSAGE_FULFILMENT_REQUESTED, {0}, ORDER_STATUS_CONFIRMED},
    {"committed", {TO_CONFIRMED}, MESSAGE_RESERVATION_COMMITTED, {0}, ORDER_STATUS_CONFIRMED},
    {"picked", {TO_CONFIRMED}, PICKED, {MESSAGE_ORDER_PROCESSING}, ORDER_STATUS_PROCESSING},
    {"shipped", {TO_CONFIRMED, PICKED}, DISPATCHED,
     {MESSAGE_ORDER_SHIPPED, MESSAGE_PAYMENT_CAPTURE_PAYMENT, MESSAGE_INVENTORY_CONSUME_RESERVATION}, ORDER_STATUS_SHIPPED},
    {"told too late that it was cancelled", {TO_CONFIRMED, PICKED, MESSAGE_FULFILMENT_CANCELLED}, DISPATCHED,
     {MESSAGE_ORDER_SHIPPED, MESSAGE_PAYMENT_CAPTURE_PAYMENT, MESSAGE_INVENTORY_CONSUME_RESERVATION}, ORDER_STATUS_SHIPPED},
    {"delivered", {TO_SHIPPED}, DELIVERED, {MESSAGE_ORDER_DELIVERED}, ORDER_STATUS_DELIVERED},
    {"captured while under way", {TO_SHIPPED}, CAPTURED, {0}, ORDER_STATUS_SHIPPED},
    {"consumed while under way", {TO_SHIPPED}, CONSUMED, {0}, ORDER_STATUS_SHIPPED},
    {"completed by delivery", {TO_SHIPPED, CAPTURED, CONSUMED}, DELIVERED,
     {MESSAGE_ORDER_DELIVERED, MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},
    {"completed by the money", {TO_SHIPPED, CONSUMED, DELIVERED}, CAPTURED, {MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},
    {"completed by the stock", {TO_SHIPPED, CAPTURED, DELIVERED}, CONSUMED, {MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},
    {"captured before it ships", {TO_CONFIRMED, PICKED, CAPTURED}, DISPATCHED,
     {MESSAGE_ORDER_SHIPPED, MESSAGE_INVENTORY_CONSUME_RESERVATION}, ORDER_STATUS_SHIPPED},
    {"refunded before it is consumed", {TO_SHIPPED, DELIVERED, CAPTURED, MESSAGE_PAYMENT_REFUNDED}, CONSUMED,
     {MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},
    {"not before it is consumed", {TO_SHIPPED, DELIVERED}, CAPTURED, {0}, ORDER_STATUS_DELIVERED},
    {"not before it is captured", {TO_SHIPPED, DELIVERED}, CONSUMED, {0}, ORDER_STATUS_DELIVERED},

    {"out of stock", {PLACE}, MESSAGE_RESERVATION_STOCK_REFUSED, {MESSAGE_ORDER_REJECTED, REOPEN}, ORDER_STATUS_REJECTED},
    {"rejected by checkout", {0}, MESSAGE_ORDER_REJECT_ORDER, {MESSAGE_ORDER_REJECTED}, ORDER_STATUS_REJECTED},

    {"declined", {PLACE, RESERVED, REQUESTED}, DECLINED, {MESSAGE_ORDER_PAYMENT_FAILED}, ORDER_STATUS_PAYMENT_FAILED},
    {"declined in the end", {PLACE, RESERVED, REQUESTED, MESSAGE_PAYMENT_OUTCOME_UNKNOWN}, DECLINED,
     {MESSAGE_ORDER_PAYMENT_FAILED}, ORDER_STATUS_PAYMENT_FAILED},
    {"the deadline passes", {PLACE, RESERVED}, TIMER_DEADLINE, {MESSAGE_ORDER_EXPIRED, RELEASE, VOID}, ORDER_STATUS_EXPIRED},
    {"the deadline passes while nobody knows", {PLACE, RESERVED, REQUESTED, MESSAGE_PAYMENT_OUTCOME_UNKNOWN}, TIMER_DEADLINE,
     {MESSAGE_ORDER_EXPIRED, RELEASE, VOID}, ORDER_STATUS_EXPIRED},
    {"the deadline passes after a decline", {PLACE, RESERVED, REQUESTED, DECLINED}, TIMER_DEADLINE,
     {MESSAGE_ORDER_EXPIRED, RELEASE, VOID}, ORDER_STATUS_EXPIRED},
    {"authorised too late", {PLACE, RESERVED, REQUESTED, TIMER_DEADLINE}, AUTHORIZED, {0}, ORDER_STATUS_EXPIRED},
    {"asked for too late", {PLACE, RESERVED, TIMER_DEADLINE}, REQUESTED, {0}, ORDER_STATUS_EXPIRED},

    {"cancelled before stock is reserved", {PLACE}, CANCEL, {MESSAGE_ORDER_CANCELLED, RELEASE}, ORDER_STATUS_CANCELLED},
    {"reserved after it was cancelled", {PLACE, CANCEL}, RESERVED, {0}, ORDER_STATUS_CANCELLED},
    {"refused after it was cancelled", {PLACE, CANCEL}, MESSAGE_RESERVATION_STOCK_REFUSED, {0}, ORDER_STATUS_CANCELLED},
    {"cancelled before it is paid for", {PLACE, RESERVED}, CANCEL,
     {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}, ORDER_STATUS_CANCELLED},
    {"cancelled while it is being paid for", {PLACE, RESERVED, REQUESTED}, CANCEL,
     {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}, ORDER_STATUS_CANCELLED},
    {"cancelled while nobody knows", {PLACE, RESERVED, REQUESTED, MESSAGE_PAYMENT_OUTCOME_UNKNOWN}, CANCEL,
     {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}, ORDER_STATUS_CANCELLED},
    {"cancelled after a decline", {PLACE, RESERVED, REQUESTED, DECLINED}, CANCEL,
     {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}, ORDER_STATUS_CANCELLED},
    {"authorised after it was cancelled", {PLACE, RESERVED, REQUESTED, CANCEL}, AUTHORIZED, {0}, ORDER_STATUS_CANCELLED},
    {"authorised though it was never asked for", {PLACE, CANCEL}, AUTHORIZED, {VOID}, ORDER_STATUS_CANCELLED},
    {"cancelled after it was confirmed", {TO_CONFIRMED}, CANCEL,
     {MESSAGE_ORDER_CANCELLING, MESSAGE_FULFILMENT_CANCEL_FULFILMENT}, ORDER_STATUS_CANCELLING},
    {"fulfilment stops", {TO_CONFIRMED, CANCEL}, MESSAGE_FULFILMENT_CANCELLED,
     {MESSAGE_ORDER_CANCELLED, RELEASE, VOID}, ORDER_STATUS_CANCELLED},
    {"picked while it is being cancelled", {TO_CONFIRMED, CANCEL}, PICKED, {0}, ORDER_STATUS_CANCELLING},
    {"fulfilment does not stop", {TO_CONFIRMED, CANCEL, PICKED}, MESSAGE_FULFILMENT_CANCELLATION_REFUSED,
     {MESSAGE_ORDER_CANCELLATION_REFUSED}, ORDER_STATUS_PROCESSING},
    {"fulfilment does not stop, and is not picked", {TO_CONFIRMED, CANCEL}, MESSAGE_FULFILMENT_CANCELLATION_REFUSED,
     {MESSAGE_ORDER_CANCELLATION_REFUSED}, ORDER_STATUS_CONFIRMED},
    {"fulfilment did not stop, and went on", {TO_CONFIRMED, CANCEL, PICKED, DISPATCHED}, MESSAGE_FULFILMENT_CANCELLATION_REFUSED,
     {MESSAGE_ORDER_CANCELLATION_REFUSED, MESSAGE_ORDER_SHIPPED, MESSAGE_PAYMENT_CAPTURE_PAYMENT,
      MESSAGE_INVENTORY_CONSUME_RESERVATION}, ORDER_STATUS_SHIPPED},
    {"cancelled again, after it was refused", {TO_CONFIRMED, CANCEL, MESSAGE_FULFILMENT_CANCELLATION_REFUSED}, CANCEL,
     {MESSAGE_ORDER_CANCELLING, MESSAGE_FULFILMENT_CANCEL_FULFILMENT}, ORDER_STATUS_CANCELLING},

    {"stock ran short before payment", {PLACE, RESERVED}, RELEASED, {MESSAGE_ORDER_CANCELLED, VOID}, ORDER_STATUS_CANCELLED},
    {"stock ran short while it is being paid for", {PLACE, RESERVED, REQUESTED}, RELEASED,
     {MESSAGE_ORDER_CANCELLED, VOID}, ORDER_STATUS_CANCELLED},
    {"stock ran short while nobody knows", {PLACE, RESERVED, REQUESTED, MESSAGE_PAYMENT_OUTCOME_UNKNOWN}, RELEASED,
     {MESSAGE_ORDER_CANCELLED, VOID}, ORDER_STATUS_CANCELLED},
    {"authorised after stock ran short", {PLACE, RESERVED, REQUESTED, RELEASED}, AUTHORIZED, {0},
     ORDER_STATUS_CANCELLED},
    {"stock ran short while it is being cancelled", {TO_CONFIRMED, CANCEL, RELEASED}, MESSAGE_FULFILMENT_CANCELLED,
     {MESSAGE_ORDER_CANCELLED, VOID}, ORDER_STATUS_CANCELLED},
    {"stock ran short after a decline", {PLACE, RESERVED, REQUESTED, DECLINED}, RELEASED,
     {MESSAGE_ORDER_CANCELLED, VOID}, ORDER_STATUS_CANCELLED},
    {"stock ran short after confirmation", {TO_CONFIRMED}, RELEASED,
     {MESSAGE_ORDER_CANCELLING, MESSAGE_FULFILMENT_CANCEL_FULFILMENT}, ORDER_STATUS_CANCELLING},
    {"stock ran short: fulfilment stops", {TO_CONFIRMED, RELEASED}, MESSAGE_FULFILMENT_CANCELLED,
     {MESSAGE_ORDER_CANCELLED, VOID}, ORDER_STATUS_CANCELLED},
    {"stock ran short: picked already", {TO_CONFIRMED, RELEASED, PICKED}, MESSAGE_FULFILMENT_CANCELLATION_REFUSED,
     {MESSAGE_ORDER_CANCELLATION_REFUSED}, ORDER_STATUS_PROCESSING},
    {"stock ran short after the pick", {TO_CONFIRMED, PICKED}, RELEASED, {0}, ORDER_STATUS_PROCESSING},
    {"stock ran short after the pick: it ships", {TO_CONFIRMED, PICKED, RELEASED}, DISPATCHED,
     {MESSAGE_ORDER_SHIPPED, MESSAGE_PAYMENT_CAPTURE_PAYMENT}, ORDER_STATUS_SHIPPED},
    {"stock ran short after the pick: as good as consumed", {TO_CONFIRMED, PICKED, RELEASED, DISPATCHED, DELIVERED}, CAPTURED,
     {MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},
    {"stock ran short when all but that was done", {TO_SHIPPED, DELIVERED, CAPTURED}, RELEASED,
     {MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},

    {"the authorisation expired", {TO_CONFIRMED}, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED,
     {MESSAGE_ORDER_CANCELLING, MESSAGE_FULFILMENT_CANCEL_FULFILMENT}, ORDER_STATUS_CANCELLING},
    {"the authorisation expired: fulfilment stops", {TO_CONFIRMED, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED},
     MESSAGE_FULFILMENT_CANCELLED, {MESSAGE_ORDER_CANCELLED, RELEASE}, ORDER_STATUS_CANCELLED},
    {"the authorisation expired after the pick", {TO_CONFIRMED, PICKED}, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED, {0},
     ORDER_STATUS_PROCESSING},
    {"the authorisation expired under way", {TO_SHIPPED}, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED, {0}, ORDER_STATUS_SHIPPED},
    {"the capture fails, is tried again", {TO_SHIPPED, DELIVERED, CONSUMED, MESSAGE_PAYMENT_CAPTURE_FAILED}, CAPTURED,
     {MESSAGE_ORDER_COMPLETED}, ORDER_STATUS_COMPLETED},
    {"fulfilment stops of itself", {TO_CONFIRMED, MESSAGE_FULFILMENT_REQUESTED}, MESSAGE_FULFILMENT_CANCELLED,
     {MESSAGE_ORDER_CANCELLING, MESSAGE_ORDER_CANCELLED, RELEASE, VOID}, ORDER_STATUS_CANCELLED},
};
/* clang-format on */

static struct test_room *room_after(const int *given) {
    struct test_room *room = test_room_open(&orders_decider);
    for (size_t i = 0; i < GIVEN_MAX && given[i]; i++)
        order_give(room, given[i]);
    room->log_seen = room->log_count;
    return room;
}

static void test_ways(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        const struct scenario *s = &scenarios[i];
        struct test_room *room = room_after(s->given);
        room->about = s->name;
        order_give(room, s->when);
        test_room_expect_types(room, s->then, __FILE__, __LINE__);
        if (order_state(room)->status != s->status)
            fail_msg("%s: the status is %d", s->name, (int)order_state(room)->status);
        assert_int_equal(test_room_closed(room, 0, ORDER), order_has_ended(s->status));
        /* The same fact again is harmless. */
        if (s->when != PLACE && s->when != CANCEL && s->when != MESSAGE_ORDER_REJECT_ORDER) {
            order_give(room, s->when);
            test_room_expect_nothing(room);
            assert_int_equal(order_state(room)->status, s->status);
        }
        test_room_close(room);
    }
}

/* ---- what the records say ---- */

static void test_placed_holds_the_whole_order(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE});
    const struct order_placed *placed = &test_room_last(room, MESSAGE_ORDER_PLACED)->message.order_placed;
    assert_int_equal(placed->version, 1);
    assert_int_equal(placed->placed_at, room->now_us);
    assert_int_equal(placed->lines.count, 2);
    assert_int_equal(placed->totals.total.minor, 399);
    assert_str(placed->location, "main");
    const struct test_record *reserve = test_room_last(room, MESSAGE_INVENTORY_RESERVE_STOCK);
    assert_str(reserve->topic, TOPIC_INVENTORY_REQUESTS);
    assert_str(reserve->key, "main");
    assert_str(reserve->subject, ORDER);
    assert_str(reserve->message.inventory_reserve_stock.lines.items[1].sku, "pear");
    assert_int_equal(reserve->message.inventory_reserve_stock.lines.items[0].quantity, 2);
    test_room_close(room);
}

static void test_payment_is_asked_for_with_the_token(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE, RESERVED});
    const struct test_record *asked = test_room_last(room, MESSAGE_PAYMENT_AUTHORIZE_PAYMENT);
    assert_str(asked->key, ORDER);
    assert_str(asked->message.payment_authorize_payment.payment_method, "pm_card_visa");
    assert_str(asked->message.payment_authorize_payment.shopper_id, SHOPPER);
    assert_int_equal(asked->message.payment_authorize_payment.amount.minor, 399);
    assert_null(order_state(room)->payment_method.ptr);
    test_room_close(room);
}

static void test_records_of_a_chain_carry_its_command(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    struct message place = order_record(PLACE);
    assert_true(test_room_give(room, TOPIC_ORDER_REQUESTS, ORDER, "command-7", &place));
    assert_str(test_room_last(room, MESSAGE_ORDER_PLACED)->command_id, "command-7");
    assert_str(test_room_last(room, MESSAGE_INVENTORY_RESERVE_STOCK)->command_id, "command-7");
    test_room_close(room);
}

static void test_deadline_is_set_once(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE, RESERVED});
    int64_t deadline = room->now_us + room->shop.payment_deadline_us;
    assert_int_equal(test_room_timer(room, ORDER, "deadline")->due_us, deadline);
    room->now_us += 1000000;
    order_give(room, REQUESTED);
    order_give(room, DECLINED);
    test_room_expect(room, MESSAGE_ORDER_PAYMENT_FAILED);
    struct message again = order_record(REQUESTED);
    again.payment_requested.attempt = 2;
    again.payment_requested.payment_id = STR("payment-2");
    order_give_message(room, &again);
    test_room_expect(room, MESSAGE_ORDER_AWAITING_PAYMENT);
    assert_int_equal(test_room_last(room, MESSAGE_ORDER_AWAITING_PAYMENT)->message.order_awaiting_payment.deadline,
                     deadline);
    assert_int_equal(test_room_timer(room, ORDER, "deadline")->due_us, deadline);

    order_give(room, DECLINED); /* of the first attempt, late */
    order_give(room, AUTHORIZED);
    test_room_expect_nothing(room);
    struct message paid = order_record(AUTHORIZED);
    paid.payment_authorized.attempt = 2;
    paid.payment_authorized.payment_id = STR("payment-2");
    order_give_message(room, &paid);
    assert_str(test_room_last(room, MESSAGE_ORDER_CONFIRMED)->message.order_confirmed.payment_id, "payment-2");
    assert_null(test_room_timer(room, ORDER, "deadline"));
    room->now_us = deadline;
    assert_int_equal(test_room_fire(room), 0);
    test_room_close(room);
}

static void test_deadline_expires(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE, RESERVED, REQUESTED});
    room->now_us += room->shop.payment_deadline_us - 1;
    assert_int_equal(test_room_fire(room), 0);
    room->now_us++;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect(room, MESSAGE_ORDER_EXPIRED, RELEASE, VOID);
    assert_str(test_room_last(room, MESSAGE_ORDER_EXPIRED)->message.order_expired.reason, "payment-expired");
    test_room_close(room);
}

static void test_out_of_stock_says_what_there_was(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE, MESSAGE_RESERVATION_STOCK_REFUSED});
    const struct order_rejected *rejected = &test_room_last(room, MESSAGE_ORDER_REJECTED)->message.order_rejected;
    assert_str(rejected->reason, "out-of-stock");
    assert_int_equal(rejected->version, 2);
    assert_int_equal(rejected->errors.count, 1);
    assert_str(rejected->errors.items[0].detail, "apple: 2 asked for, 1 there");
    const struct test_record *reopen = test_room_last(room, REOPEN);
    assert_str(reopen->key, CART);
    assert_str(reopen->message.checkout_reopen_cart.order_id, ORDER);
    assert_str(reopen->message.checkout_reopen_cart.reason, "out-of-stock");
    test_room_close(room);
}

static void test_rejection_of_checkout_is_passed_on(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    struct totals totals = {order_usd(5), order_usd(0), order_usd(0), order_usd(0), order_usd(5)};
    struct message reject = order_record(MESSAGE_ORDER_REJECT_ORDER);
    reject.order_reject_order.totals = &totals;
    reject.order_reject_order.winner = STR("order-2");
    order_give_message(room, &reject);
    const struct order_rejected *rejected = &test_room_last(room, MESSAGE_ORDER_REJECTED)->message.order_rejected;
    assert_int_equal(rejected->totals->total.minor, 5);
    assert_str(rejected->winner, "order-2");
    assert_str(rejected->errors.items[0].detail, "why");
    assert_int_equal(rejected->placed_at, room->now_us);
    test_room_close(room);
}

static void test_reasons(void **state) {
    (void)state;
    static const struct {
        int given[GIVEN_MAX];
        const char *reason;
    } cases[] = {
        {{PLACE, CANCEL}, "cancelled-by-shopper"},
        {{TO_CONFIRMED, CANCEL, MESSAGE_FULFILMENT_CANCELLED}, "cancelled-by-shopper"},
        {{PLACE, RESERVED, REQUESTED, DECLINED, CANCEL}, "cancelled-by-shopper"},
        {{PLACE, RESERVED, RELEASED}, "stock-short"},
        {{TO_CONFIRMED, RELEASED, MESSAGE_FULFILMENT_CANCELLED}, "stock-short"},
        {{TO_CONFIRMED, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED, MESSAGE_FULFILMENT_CANCELLED}, "authorization-expired"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_room *room = room_after(cases[i].given);
        assert_str(test_room_last(room, MESSAGE_ORDER_CANCELLED)->message.order_cancelled.reason, cases[i].reason);
        assert_str(order_state(room)->reason, cases[i].reason);
        assert_null(order_state(room)->payment_method.ptr); /* nobody needs the token any more */
        assert_null(test_room_timer(room, ORDER, "deadline"));
        test_room_close(room);
    }
    struct test_room *room = room_after((int[GIVEN_MAX]){TO_CONFIRMED, CANCEL});
    assert_str(order_state(room)->reason, "cancelled-by-shopper");
    order_give(room, MESSAGE_FULFILMENT_CANCELLATION_REFUSED);
    assert_null(order_state(room)->reason.ptr); /* it goes on: there is nothing to give a reason for */
    test_room_close(room);
}

/* ---- who may cancel, and when ---- */

static void test_strangers_cannot_cancel(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE});
    struct message cancel = order_record(CANCEL);
    cancel.order_cancel_order.shopper_id = STR("shopper-2");
    order_give_message(room, &cancel);
    test_room_expect(room, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_str(test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED)->message.order_command_refused.reason, "not-found");
    assert_int_equal(order_state(room)->status, ORDER_STATUS_PENDING);
    test_room_close(room);
}

static void test_operators_can_cancel(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){PLACE});
    struct message cancel = order_record(CANCEL);
    cancel.order_cancel_order.shopper_id = STR_NULL;
    order_give_message(room, &cancel);
    test_room_expect(room, MESSAGE_ORDER_CANCELLED, RELEASE);
    assert_str(order_state(room)->reason, "cancelled-by-operator");
    test_room_close(room);
}

static void test_refusals_say_why(void **state) {
    (void)state;
    struct test_room *room = room_after((int[GIVEN_MAX]){TO_SHIPPED});
    order_give(room, CANCEL);
    test_room_expect(room, MESSAGE_ORDER_COMMAND_REFUSED);
    const struct test_record *refused = test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_str(refused->key, ORDER);
    assert_str(refused->message.order_command_refused.reason, "transition-refused");
    assert_str(refused->message.order_command_refused.detail, "the order is shipped");
    test_room_reuse(room, TOPIC_ORDER_REQUESTS, ORDER, "command-9", &(struct message){.type = CANCEL});
    refused = test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_str(refused->message.order_command_refused.reason, "idempotency-key-reused");
    assert_str(refused->command_id, "command-9");
    test_room_close(room);
}

/* ---- requests for an order that is not known yet ---- */

static void cancel_as(struct test_room *room, const char *command_id, struct str shopper_id) {
    struct message cancel = order_record(CANCEL);
    cancel.order_cancel_order.shopper_id = shopper_id;
    assert_true(test_room_give(room, TOPIC_ORDER_REQUESTS, ORDER, command_id, &cancel));
}

static void test_early_requests_are_held(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    cancel_as(room, "early-1", STR("shopper-2"));
    cancel_as(room, "early-2", STR(SHOPPER));
    cancel_as(room, "early-3", STR(SHOPPER));
    test_room_expect_nothing(room);
    order_give(room, PLACE);
    size_t first = room->log_count - 6;
    test_room_expect(room, MESSAGE_ORDER_PLACED, MESSAGE_INVENTORY_RESERVE_STOCK, MESSAGE_ORDER_COMMAND_REFUSED,
                     MESSAGE_ORDER_CANCELLED, RELEASE, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_str(room->log[first + 2]->command_id, "early-1");
    assert_str(room->log[first + 2]->message.order_command_refused.reason, "not-found");
    assert_str(room->log[first + 3]->command_id, "early-2");
    assert_str(room->log[first + 5]->command_id, "early-3");
    assert_str(room->log[first + 5]->message.order_command_refused.reason, "transition-refused");
    assert_null(test_room_timer(room, ORDER, "held"));
    assert_true(test_room_closed(room, 1, ORDER));
    test_room_close(room);
}

static void test_early_requests_of_a_rejected_order(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    cancel_as(room, "early-1", STR(SHOPPER));
    order_give(room, MESSAGE_ORDER_REJECT_ORDER);
    test_room_expect(room, MESSAGE_ORDER_REJECTED, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_null(test_room_timer(room, ORDER, "held"));
    test_room_close(room);
}

static void test_held_requests_expire(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    cancel_as(room, "early-1", STR(SHOPPER));
    room->now_us += 1000;
    cancel_as(room, "early-2", STR(SHOPPER));
    room->now_us += room->shop.hold_expiry_us - 1000;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect(room, MESSAGE_ORDER_COMMAND_REFUSED);
    const struct test_record *refused = test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_str(refused->command_id, "early-1");
    assert_str(refused->message.order_command_refused.reason, "not-found");
    assert_false(test_room_closed(room, 1, ORDER));
    room->now_us += 1000;
    assert_int_equal(test_room_fire(room), 1);
    assert_str(test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED)->command_id, "early-2");
    assert_true(test_room_closed(room, 1, ORDER));
    assert_null(test_room_timer(room, ORDER, "held"));
    room->log_seen = room->log_count;
    order_give(room, PLACE);
    test_room_expect(room, MESSAGE_ORDER_PLACED, MESSAGE_INVENTORY_RESERVE_STOCK);
    test_room_close(room);
}

static void test_no_more_than_sixteen_are_held(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    char command_id[32];
    for (int i = 0; i < 16; i++) {
        snprintf(command_id, sizeof command_id, "early-%d", i);
        cancel_as(room, command_id, STR(SHOPPER));
    }
    test_room_expect_nothing(room);
    cancel_as(room, "one-too-many", STR(SHOPPER));
    test_room_expect(room, MESSAGE_ORDER_COMMAND_REFUSED);
    const struct test_record *refused = test_room_last(room, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_str(refused->command_id, "one-too-many");
    assert_str(refused->message.order_command_refused.reason, "not-found");
    test_room_close(room);
}

/* ---- what cannot be handled ---- */

static void test_poison(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&orders_decider);
    struct message place = order_record(PLACE);
    assert_false(test_room_give(room, TOPIC_ORDER_REQUESTS, "order-2", "c", &place)); /* another key */
    place.order_place_order.totals.total.minor++;
    assert_false(test_room_give(room, TOPIC_ORDER_REQUESTS, ORDER, "c", &place));
    place = order_record(PLACE);
    place.order_place_order.lines.count = 0;
    assert_false(test_room_give(room, TOPIC_ORDER_REQUESTS, ORDER, "c", &place));
    struct message event = {.type = MESSAGE_CART_CREATED,
                            .cart_created = {STR(CART), STR(SHOPPER), STR("USD"), STR("hash")}};
    assert_false(test_room_give(room, TOPIC_CART_EVENTS, CART, "c", &event));
    assert_false(test_room_result(room, ORDER, "c", &event));
    assert_false(test_room_timer_due(room, ORDER, "lunch"));
    test_room_expect_nothing(room);
    assert_null(order_state(room));
    test_room_close(room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_placed_holds_the_whole_order),
        cmocka_unit_test(test_payment_is_asked_for_with_the_token),
        cmocka_unit_test(test_records_of_a_chain_carry_its_command),
        cmocka_unit_test(test_deadline_is_set_once),
        cmocka_unit_test(test_deadline_expires),
        cmocka_unit_test(test_out_of_stock_says_what_there_was),
        cmocka_unit_test(test_rejection_of_checkout_is_passed_on),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_strangers_cannot_cancel),
        cmocka_unit_test(test_operators_can_cancel),
        cmocka_unit_test(test_refusals_say_why),
        cmocka_unit_test(test_early_requests_are_held),
        cmocka_unit_test(test_early_requests_of_a_rejected_order),
        cmocka_unit_test(test_held_requests_expire),
        cmocka_unit_test(test_no_more_than_sixteen_are_held),
        cmocka_unit_test(test_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
