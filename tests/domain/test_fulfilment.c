/* fulfilment: every (state, request) pair, and requests that come before their order. */
#include "tests/support/room.h"

#include <stdio.h>

#define ORDER "order-1"
enum { FULFILMENT, HELD };

/* ---- when */

static bool give(struct test_room *room, const char *id, struct message message) {
    static int commands;
    char text[32];
    snprintf(text, sizeof text, "command-%d", ++commands);
    return test_room_give(room, TOPIC_FULFILMENT_REQUESTS, ORDER, id ? id : text, &message);
}

static bool request(struct test_room *room) {
    static struct quantity lines[] = {{{"tea", 3}, 2}, {{"cup", 3}, 1}};
    return give(room, NULL,
                (struct message){.type = MESSAGE_FULFILMENT_REQUEST_FULFILMENT,
                                 .fulfilment_request_fulfilment = {
                                     STR(ORDER), STR("main"), {lines, 2}, {STR("US"), STR("NY")}, STR("ref")}});
}

static bool cancel(struct test_room *room) {
    return give(room, NULL,
                (struct message){.type = MESSAGE_FULFILMENT_CANCEL_FULFILMENT,
                                 .fulfilment_cancel_fulfilment = {STR(ORDER), STR("cancelled-by-shopper")}});
}

static bool pick(struct test_room *room, const char *id) {
    return give(room, id,
                (struct message){.type = MESSAGE_FULFILMENT_RECORD_PICK,
                                 .fulfilment_record_pick = {STR(ORDER), STR("operator:ann"), STR("hash")}});
}

static bool dispatch(struct test_room *room, const char *id) {
    return give(room, id,
                (struct message){.type = MESSAGE_FULFILMENT_RECORD_DISPATCH,
                                 .fulfilment_record_dispatch = {STR(ORDER), STR("ups"), STR("1Z"), STR("operator:bob"),
                                                                STR("hash")}});
}

static bool deliver(struct test_room *room, const char *id) {
    return give(room, id,
                (struct message){.type = MESSAGE_FULFILMENT_RECORD_DELIVERY,
                                 .fulfilment_record_delivery = {STR(ORDER), STR("operator:eve"), STR("hash")}});
}

static bool input(struct test_room *room, char name) {
    switch (name) {
    case 'r':
        return request(room);
    case 'c':
        return cancel(room);
    case 'p':
        return pick(room, NULL);
    case 'd':
        return dispatch(room, NULL);
    default:
        return deliver(room, NULL);
    }
}

/* ---- then: a letter for each record; h: held */

static char letter_of(const struct message *message) {
    switch (message->type) {
    case MESSAGE_FULFILMENT_REQUESTED:
        return 'F';
    case MESSAGE_FULFILMENT_PICKED:
        return 'P';
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        return 'D';
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        return 'V';
    case MESSAGE_FULFILMENT_CANCELLED:
        return 'C';
    case MESSAGE_FULFILMENT_CANCELLATION_REFUSED:
        return 'X';
    default: {
        struct str reason = message->fulfilment_command_refused.reason;
        return str_eq(reason, STR("transition-refused")) ? 'R' : str_eq(reason, STR("not-found")) ? 'N' : '?';
    }
    }
}

static const char *effects_of(struct test_room *room, char name) {
    static char letters[32];
    size_t count = 0;
    size_t before = room->log_count;
    bool held = test_room_timer(room, ORDER, "held") != NULL;
    if (!input(room, name))
        return "!";
    for (size_t i = before; i < room->log_count; i++)
        if (str_eq(room->log[i]->topic, STR(TOPIC_FULFILMENT_EVENTS)))
            letters[count++] = letter_of(&room->log[i]->message);
    if (!held && test_room_timer(room, ORDER, "held"))
        letters[count++] = 'h';
    letters[count] = 0;
    return letters;
}

static struct test_room *room_after(const char *given) {
    struct test_room *room = test_room_open(&fulfilment_decider);
    for (; *given; given++)
        assert_true(input(room, *given));
    return room;
}

static void assert_is_fold(struct test_room *room) {
    struct test_room *folded = test_room_open(&fulfilment_decider);
    for (size_t i = 0; i < room->log_count; i++)
        if (str_eq(room->log[i]->topic, STR(TOPIC_FULFILMENT_EVENTS)))
            test_room_fold(folded, room->log[i]);
    test_room_same_rows(room, folded);
    test_room_close(folded);
}

/* ---- the matrix */

static const char inputs[] = "rcpdv";

static const struct {
    const char *state;
    const char *given;
    const char *then[sizeof inputs - 1];
    bool closed;
} matrix[] = {
    /*                                     Request Cancel Pick Dispatch Deliver */
    {"none", "", {"F", "C", "h", "h", "h"}, false},
    {"open", "r", {"R", "C", "P", "R", "R"}, false},
    {"picked", "rp", {"R", "X", "R", "D", "R"}, false},
    {"picked, not cancelled", "rpc", {"R", "X", "R", "D", "R"}, false},
    {"dispatched", "rpd", {"R", "X", "R", "R", "V"}, false},
    {"delivered", "rpdv", {"R", "X", "R", "R", "R"}, true},
    {"cancelled", "rc", {"R", "R", "R", "R", "R"}, true},
    {"cancelled before it was asked for", "c", {"R", "R", "R", "R", "R"}, true},
    {"held, then asked for", "pr", {"R", "X", "R", "D", "R"}, false},
    {"held, then cancelled", "pc", {"R", "R", "R", "R", "R"}, true},
    {"all held, then asked for", "pdvr", {"R", "X", "R", "R", "R"}, true},
    {"held in the wrong order", "dpr", {"R", "X", "R", "D", "R"}, false},
};

static void test_every_pair(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++)
        for (size_t which = 0; inputs[which]; which++) {
            struct test_room *room = room_after(matrix[i].given);
            assert_true(test_room_closed(room, FULFILMENT, ORDER) == matrix[i].closed);
            const char *effects = effects_of(room, inputs[which]);
            if (strcmp(effects, matrix[i].then[which]) != 0)
                fail_msg("%s, %c: %s, not %s", matrix[i].state, inputs[which], effects, matrix[i].then[which]);
            assert_is_fold(room);
            test_room_close(room);
        }
}

/* ---- what the records say */

static void test_records(void **state) {
    (void)state;
    struct test_room *room = room_after("rpdvc");
    const struct fulfilment_requested *requested =
        &test_room_last(room, MESSAGE_FULFILMENT_REQUESTED)->message.fulfilment_requested;
    assert_str(requested->location, "main");
    assert_int_equal(requested->lines.count, 2);
    assert_str(requested->lines.items[1].sku, "cup");
    assert_str(test_room_last(room, MESSAGE_FULFILMENT_PICKED)->message.fulfilment_picked.actor, "operator:ann");
    const struct test_record *record = test_room_last(room, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED);
    const struct fulfilment_shipment_dispatched *dispatched = &record->message.fulfilment_shipment_dispatched;
    assert_str(record->topic, TOPIC_FULFILMENT_EVENTS);
    assert_str(record->key, ORDER);
    assert_str(record->subject, ORDER);
    assert_str(dispatched->carrier, "ups");
    assert_str(dispatched->tracking, "1Z");
    assert_str(dispatched->actor, "operator:bob");
    const struct fulfilment_shipment_delivered *delivered =
        &test_room_last(room, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED)->message.fulfilment_shipment_delivered;
    assert_int_equal(dispatched->shipment_id.len, 36);
    assert_true(str_eq(dispatched->shipment_id, delivered->shipment_id));
    assert_str(delivered->actor, "operator:eve");
    assert_str(
        test_room_last(room, MESSAGE_FULFILMENT_CANCELLATION_REFUSED)->message.fulfilment_cancellation_refused.reason,
        "transition-refused");
    test_room_close(room);

    room = room_after("rc");
    assert_str(test_room_last(room, MESSAGE_FULFILMENT_CANCELLED)->message.fulfilment_cancelled.reason,
               "cancelled-by-shopper");
    test_room_close(room);
}

/* ---- requests for an order that is not known yet */

static void test_held_until_it_is_known(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&fulfilment_decider);
    assert_true(pick(room, "picking") && dispatch(room, "dispatching"));
    test_room_expect_nothing(room);
    assert_true(request(room));
    test_room_expect(room, MESSAGE_FULFILMENT_REQUESTED, MESSAGE_FULFILMENT_PICKED,
                     MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED);
    assert_str(test_room_last(room, MESSAGE_FULFILMENT_PICKED)->command_id, "picking");
    const struct test_record *record = test_room_last(room, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED);
    assert_str(record->command_id, "dispatching");
    assert_str(record->message.fulfilment_shipment_dispatched.tracking, "1Z");
    assert_null(test_room_timer(room, ORDER, "held"));
    assert_true(test_room_closed(room, HELD, ORDER));
    test_room_close(room);
}

static void test_held_and_cancelled(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&fulfilment_decider);
    assert_true(pick(room, "picking"));
    assert_true(cancel(room));
    test_room_expect(room, MESSAGE_FULFILMENT_CANCELLED, MESSAGE_FULFILMENT_COMMAND_REFUSED);
    assert_str(test_room_last(room, MESSAGE_FULFILMENT_COMMAND_REFUSED)->command_id, "picking");
    assert_null(test_room_timer(room, ORDER, "held"));
    assert_true(test_room_closed(room, HELD, ORDER));
    test_room_close(room);
}

static void assert_not_found(struct test_room *room, const char *command_id) {
    test_room_expect(room, MESSAGE_FULFILMENT_COMMAND_REFUSED);
    const struct test_record *record = test_room_last(room, MESSAGE_FULFILMENT_COMMAND_REFUSED);
    assert_str(record->command_id, command_id);
    assert_str(record->message.fulfilment_command_refused.reason, "not-found");
}

static void test_held_until_it_expires(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&fulfilment_decider);
    assert_true(pick(room, "first"));
    room->now_us += room->shop.hold_expiry_us - 1;
    assert_true(deliver(room, "second"));
    assert_int_equal(test_room_fire(room), 0);
    room->now_us += 1;
    assert_int_equal(test_room_fire(room), 1);
    assert_not_found(room, "first");
    room->now_us += room->shop.hold_expiry_us;
    assert_int_equal(test_room_fire(room), 1);
    assert_not_found(room, "second");
    assert_null(test_room_timer(room, ORDER, "held"));
    assert_null(test_room_state(room, FULFILMENT, ORDER));
    test_room_close(room);
}

static void test_no_more_than_sixteen_are_held(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&fulfilment_decider);
    for (int i = 0; i < 16; i++)
        assert_true(pick(room, NULL));
    test_room_expect_nothing(room);
    assert_true(pick(room, "one-too-many"));
    assert_not_found(room, "one-too-many");
    test_room_close(room);
}

static void test_key_reused(void **state) {
    (void)state;
    struct test_room *room = room_after("r");
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_PICK,
                              .fulfilment_record_pick = {STR(ORDER), STR("operator:ann"), STR("other")}};
    test_room_reuse(room, TOPIC_FULFILMENT_REQUESTS, ORDER, "again", &message);
    const struct test_record *record = test_room_last(room, MESSAGE_FULFILMENT_COMMAND_REFUSED);
    assert_str(record->command_id, "again");
    assert_str(record->message.fulfilment_command_refused.reason, "idempotency-key-reused");
    test_room_close(room);
}

static void test_poison(void **state) {
    (void)state;
    struct test_room *room = room_after("r");
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_PICK,
                              .fulfilment_record_pick = {STR(""), STR("operator:ann"), STR("hash")}};
    assert_false(give(room, NULL, message));
    message = test_room_last(room, MESSAGE_FULFILMENT_REQUESTED)->message;
    assert_false(test_room_give(room, TOPIC_FULFILMENT_EVENTS, ORDER, "c", &message));
    message = (struct message){.type = MESSAGE_INTENT_PROVIDER_ANSWERED};
    assert_false(test_room_result(room, ORDER, "c", &message));
    test_room_close(room);
}

/* ---- random walks: goods move forward only, and an order is cancelled or picked, never both */

static void test_walks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        uint64_t random = seed;
        struct test_room *room = test_room_open(&fulfilment_decider);
        for (int step = 0; step < 25; step++)
            assert_true(input(room, "rrccpppdddvvv"[test_random_below(&random, 13)]));
        char way[64];
        size_t count = 0;
        for (size_t i = 0; i < room->log_count; i++) {
            char letter =
                str_eq(room->log[i]->topic, STR(TOPIC_FULFILMENT_EVENTS)) ? letter_of(&room->log[i]->message) : 'R';
            if (letter != 'R' && letter != 'N' && letter != 'X')
                way[count++] = letter;
        }
        way[count] = 0;
        assert_true(strncmp("FPDV", way, count) == 0 || strcmp("FC", way) == 0 || strcmp("C", way) == 0);
        assert_is_fold(room);
        test_room_close(room);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_held_until_it_is_known),
        cmocka_unit_test(test_held_and_cancelled),
        cmocka_unit_test(test_held_until_it_expires),
        cmocka_unit_test(test_no_more_than_sixteen_are_held),
        cmocka_unit_test(test_key_reused),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
