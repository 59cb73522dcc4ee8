/* notifier: which events somebody is told of, with what, in any order of the two topics; and what its answers become.
 */
#include "core/domain/notices.h"
#include "tests/support/room.h"

#define ORDER "0190f3a1-0000-8000-8000-000000000001"
#define SHOPPER "0190f3a1-0000-8000-8000-00000000000a"
enum { NOTICE };

static struct money dollars(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static struct message placed(void) {
    static struct line lines[1];
    lines[0] = (struct line){STR("tea"), STR("Tea <green>"), 2, {450, {"USD", 3}}, {900, {"USD", 3}}, 7};
    return (struct message){.type = MESSAGE_ORDER_PLACED,
                            .order_placed = {.order_id = STR(ORDER),
                                             .version = 1,
                                             .cart_id = STR(ORDER),
                                             .shopper_id = STR(SHOPPER),
                                             .lines = {lines, 1},
                                             .totals = {dollars(900), dollars(0), dollars(0), dollars(0), dollars(900)},
                                             .ship_to = {STR("US"), STR("NY")},
                                             .personal_ref = STR("ref"),
                                             .location = STR("main"),
                                             .payment_method = STR("pm_card_visa"),
                                             .placed_at = 1000000}};
}

static struct message refunded(void) {
    return (struct message){
        .type = MESSAGE_PAYMENT_REFUNDED,
        .payment_refunded = {STR(ORDER), STR("pay-1"), 1, {450, {"USD", 3}}, STR("pi_1")},
    };
}

static bool give(struct test_room *room, const char *topic, const char *id, struct message message) {
    return test_room_give(room, topic, ORDER, id, &message);
}

static struct test_room *room_with_order(void) {
    struct test_room *room = test_room_open(&notifier_decider);
    assert_true(give(room, TOPIC_ORDER_EVENTS, "placed", placed()));
    assert_int_equal(room->intent_count, 0);
    return room;
}

static const struct {
    struct message message;
    const char *template;
    const char *reason;
} told[] = {
    {{.type = MESSAGE_ORDER_CONFIRMED, .order_confirmed = {{ORDER, 36}, 2, {"pay-1", 5}}}, "order-confirmed", ""},
    {{.type = MESSAGE_ORDER_REJECTED,
      .order_rejected = {.order_id = {ORDER, 36},
                         .version = 2,
                         .cart_id = {ORDER, 36},
                         .shopper_id = {SHOPPER, 36},
                         .reason = {"out-of-stock", 12}}},
     "order-refused",
     "out-of-stock"},
    {{.type = MESSAGE_ORDER_SHIPPED, .order_shipped = {{ORDER, 36}, 2, {"ship-1", 6}}}, "order-shipped", ""},
    {{.type = MESSAGE_ORDER_DELIVERED, .order_delivered = {{ORDER, 36}, 2}}, "order-delivered", ""},
    {{.type = MESSAGE_ORDER_CANCELLED, .order_cancelled = {{ORDER, 36}, 2, {"cancelled-by-shopper", 20}}},
     "order-cancelled",
     "cancelled-by-shopper"},
    {{.type = MESSAGE_ORDER_EXPIRED, .order_expired = {{ORDER, 36}, 2, {"payment-expired", 15}}},
     "order-cancelled",
     "payment-expired"},
};

static void each_event_makes_its_notice(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        struct test_room *room = room_with_order();
        room->now_us = 5000000;
        assert_true(give(room, TOPIC_ORDER_EVENTS, "cause", told[i].message));
        test_room_expect_nothing(room);
        assert_int_equal(room->intent_count, 1);
        const struct intent_send_notice *notice = &room->intents[0].message.intent_send_notice;
        BUF_AUTO id = {0};
        buf_printf(&id, ORDER "/%s/cause", told[i].template);
        assert_str(room->intents[0].id, id.ptr);
        assert_str(notice->template, told[i].template);
        assert_str(notice->reason, told[i].reason);
        assert_str(notice->cause, "cause");
        assert_int_equal(notice->caused_at, 5000000);
        assert_str(notice->order.personal_ref, "ref");
        assert_str(notice->order.lines.items[0].name, "Tea <green>");
        assert_int_equal(notice->order.totals.total.minor, 900);
        test_room_close(room);
    }
}

static void other_events_make_none(void **state) {
    (void)state;
    struct test_room *room = room_with_order();
    assert_true(give(
        room, TOPIC_ORDER_EVENTS, "awaiting",
        (struct message){.type = MESSAGE_ORDER_AWAITING_PAYMENT, .order_awaiting_payment = {STR(ORDER), 2, 9000000}}));
    assert_true(give(
        room, TOPIC_PAYMENT_EVENTS, "captured",
        (struct message){.type = MESSAGE_PAYMENT_CAPTURED,
                         .payment_captured = {.order_id = STR(ORDER), .payment_id = STR("p"), .amount = dollars(9)}}));
    assert_int_equal(room->intent_count, 0);
    test_room_expect_nothing(room);
    test_room_close(room);
}

/* The same event again is the same intent: the room fails when it is another. */
static void a_repetition_is_the_same_intent(void **state) {
    (void)state;
    struct test_room *room = room_with_order();
    assert_true(give(room, TOPIC_ORDER_EVENTS, "cause", told[0].message));
    assert_true(give(room, TOPIC_ORDER_EVENTS, "cause", told[0].message));
    assert_int_equal(room->intent_count, 1);
    assert_true(give(room, TOPIC_ORDER_EVENTS, "placed", placed()));
    assert_int_equal(room->intent_count, 1);
    test_room_close(room);
}

/* No event says where to write to, when the checkout itself was refused. */
static void refused_at_the_checkout(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&notifier_decider);
    assert_true(give(room, TOPIC_ORDER_EVENTS, "cause", told[1].message));
    assert_int_equal(room->intent_count, 0);
    test_room_expect(room, MESSAGE_NOTIFICATION_SUPPRESSED);
    const struct test_record *record = test_room_last(room, MESSAGE_NOTIFICATION_SUPPRESSED);
    assert_str(record->key, ORDER);
    assert_str(record->message.notification_suppressed.reason, "not-placed");
    assert_str(record->message.notification_suppressed.cause, "cause");
    test_room_close(room);
}

static void a_refund_waits_for_its_order(void **state) {
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct test_room *room = test_room_open(&notifier_decider);
        room->now_us = 3000000;
        if (first)
            assert_true(give(room, TOPIC_PAYMENT_EVENTS, "refund", refunded()));
        assert_int_equal(room->intent_count, 0);
        test_room_expect_nothing(room);
        assert_true(give(room, TOPIC_ORDER_EVENTS, "placed", placed()));
        if (!first)
            assert_true(give(room, TOPIC_PAYMENT_EVENTS, "refund", refunded()));
        assert_int_equal(room->intent_count, 1);
        const struct intent_send_notice *notice = &room->intents[0].message.intent_send_notice;
        assert_str(notice->template, "order-refunded");
        assert_str(notice->cause, "refund");
        assert_int_equal(notice->caused_at, 3000000);
        assert_int_equal(notice->refunded_minor, 450);
        const struct state_notice *kept = test_room_state(room, NOTICE, ORDER);
        assert_int_equal(kept->waiting.count, 0);
        test_room_close(room);
    }
}

static void the_rows_are_a_fold(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&notifier_decider), *folded = test_room_open(&notifier_decider);
    assert_true(give(room, TOPIC_PAYMENT_EVENTS, "refund", refunded()));
    assert_true(give(room, TOPIC_ORDER_EVENTS, "placed", placed()));
    assert_true(give(room, TOPIC_PAYMENT_EVENTS, "refund-2", refunded()));
    assert_true(give(room, TOPIC_ORDER_EVENTS, "cause", told[0].message));
    for (size_t i = 0; i < room->log_count; i++)
        if (!room->log[i]->emitted)
            test_room_fold(folded, room->log[i]);
    test_room_same_rows(room, folded);
    test_room_close(room);
    test_room_close(folded);
}

static void answers_become_events(void **state) {
    (void)state;
    static const enum message_type becomes[] = {[INTENT_NOTICE_OUTCOME_SENT] = MESSAGE_NOTIFICATION_SENT,
                                                [INTENT_NOTICE_OUTCOME_SUPPRESSED] = MESSAGE_NOTIFICATION_SUPPRESSED,
                                                [INTENT_NOTICE_OUTCOME_FAILED] = MESSAGE_NOTIFICATION_FAILED,
                                                [INTENT_NOTICE_OUTCOME_UNKNOWN] = MESSAGE_UNKNOWN};
    for (size_t i = 0; i < sizeof becomes / sizeof becomes[0]; i++) {
        struct test_room *room = test_room_open(&notifier_decider);
        struct message answer = {.type = MESSAGE_INTENT_NOTICE_ANSWERED,
                                 .intent_notice_answered = {.order_id = STR(ORDER),
                                                            .template = STR("order-shipped"),
                                                            .cause = STR("cause"),
                                                            .channel = STR("email"),
                                                            .outcome = (enum intent_notice_outcome)i,
                                                            .reason = STR("because")}};
        assert_true(test_room_result(room, ORDER, "command", &answer));
        if (becomes[i] == MESSAGE_UNKNOWN)
            test_room_expect_nothing(room);
        else
            test_room_expect(room, becomes[i]);
        if (becomes[i] == MESSAGE_NOTIFICATION_FAILED)
            assert_str(test_room_last(room, becomes[i])->message.notification_failed.reason, "because");
        test_room_close(room);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_makes_its_notice),     cmocka_unit_test(other_events_make_none),
        cmocka_unit_test(a_repetition_is_the_same_intent), cmocka_unit_test(refused_at_the_checkout),
        cmocka_unit_test(a_refund_waits_for_its_order),    cmocka_unit_test(the_rows_are_a_fold),
        cmocka_unit_test(answers_become_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
