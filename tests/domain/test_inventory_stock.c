/* inventory: receipts, adjustments, what they take that was promised, and the end of a batch. */
#include "tests/domain/inventory_script.h"

/* ---- the counters themselves */

static void test_no_counter_goes_below_zero(void **state) {
    (void)state;
    const struct counters before = {.version = 7,
                                    .received = 10,
                                    .adjusted = -1,
                                    .restocked = 2,
                                    .held = 3,
                                    .committed = 2,
                                    .consumed = 1,
                                    .available = 5};
    struct counters after = {0};
    assert_false(stock_change(&before, (struct stock_change){.held = 6}, &after));
    assert_false(stock_change(&before, (struct stock_change){.held = -4}, &after));
    assert_false(stock_change(&before, (struct stock_change){.committed = -3}, &after));
    assert_false(stock_change(&before, (struct stock_change){.consumed = -2}, &after));
    assert_false(stock_change(&before, (struct stock_change){.received = -11, .adjusted = 20}, &after));
    assert_false(stock_change(&before, (struct stock_change){.received = INT64_MAX}, &after));
    assert_int_equal(after.version, 0);
    assert_true(stock_change(&before, (struct stock_change){.held = -3, .committed = 8}, &after));
    assert_int_equal(after.version, 8);
    assert_int_equal(after.held, 0);
    assert_int_equal(after.committed, 10);
    assert_int_equal(after.available, 0);
}

/* ---- stock */

static void test_receipts_and_adjustments(void **state) {
    (void)state;
    struct test_room *room = test_room_open(&inventory_decider);
    assert_true(adjust(room, "tea", -1));
    assert_string_equal(emitted(room), "R");
    assert_true(receive(room, "tea", 0) && receive(room, "tea", -4) && adjust(room, "tea", 0));
    assert_string_equal(emitted(room), "???");
    assert_str(test_room_last(room, MESSAGE_STOCK_COMMAND_REFUSED)->message.stock_command_refused.reason,
               "invalid-body");
    assert_true(receive(room, "tea", 5) && adjust(room, "tea", 2) && adjust(room, "tea", -7));
    assert_string_equal(emitted(room), "raa");
    const struct test_record *record = test_room_last(room, MESSAGE_STOCK_ADJUSTED);
    const struct stock_adjusted *m = &record->message.stock_adjusted;
    assert_str(record->topic, TOPIC_STOCK_EVENTS);
    assert_str(record->key, "tea");
    assert_str(m->reason, "damaged");
    assert_str(m->actor, "operator:ann");
    assert_int_equal(m->quantity, -7);
    assert_int_equal(m->counters.version, 3);
    assert_int_equal(m->counters.received, 5);
    assert_int_equal(m->counters.adjusted, -5);
    assert_int_equal(m->counters.available, 0);
    test_room_close(room);
}

static void test_numbers_that_do_not_fit(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", INT64_MAX);
    assert_true(receive(room, "tea", 1) && adjust(room, "tea", 1));
    assert_string_equal(emitted(room), "??");
    assert_str(test_room_last(room, MESSAGE_STOCK_COMMAND_REFUSED)->message.stock_command_refused.reason,
               "quantity-limit");
    assert_true(adjust(room, "tea", INT64_MIN));
    assert_string_equal(emitted(room), "R");
    assert_true(adjust(room, "tea", -INT64_MAX) && adjust(room, "tea", -2) && adjust(room, "tea", INT64_MAX));
    assert_string_equal(emitted(room), "aRa");
    assert_counters(room, "tea", INT64_MAX, 0, 0, 0);
    assert_true(reserve(room, "order", MAIN, "tea:2147483647"));
    assert_true(adjust(room, "tea", INT64_MIN));
    assert_string_equal(emitted(room), "HlR");
    test_room_close(room);
}

/* Records that nobody sends: parked, and nothing is changed (the room checks that). */
static void test_poison(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_false(reserve(room, "order", MAIN, ""));
    assert_false(reserve(room, "order", MAIN, "tea:0"));
    assert_false(reserve(room, "order", MAIN, "tea:1 tea:-1"));
    assert_false(reserve(room, "order", MAIN, "tea:2147483647 tea:1"));
    assert_false(reserve(room, "order", "ma/in", "tea:1"));
    assert_false(reserve(room, "order", "", "tea:1"));
    assert_false(reserve(room, "", MAIN, "tea:1"));
    assert_false(receive(room, "", 1));
    assert_false(test_room_result(room, MAIN, "c", &(struct message){.type = MESSAGE_INTENT_PROVIDER_ANSWERED}));
    struct message foreign = {.type = MESSAGE_STOCK_SHORT,
                              .stock_short = {.sku = STR("tea"), .location = STR(MAIN), .short_by = 1}};
    assert_false(test_room_give(room, TOPIC_STOCK_EVENTS, "tea", "c", &foreign));
    test_room_expect_nothing(room);
    test_room_close(room);
}

/* ---- an adjustment that takes what was promised */

static void assert_released(const struct test_record *record, const char *order_id) {
    assert_int_equal(record->message.type, MESSAGE_RESERVATION_RELEASED);
    assert_str(record->message.reservation_released.order_id, order_id);
    assert_str(record->message.reservation_released.reason, "stock-short");
}

static void test_held_first_newest_first(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_true(receive(room, "cup", 10));
    assert_true(reserve(room, "old-held", MAIN, "tea:2"));
    assert_true(reserve(room, "old-committed", MAIN, "tea:2"));
    assert_true(reserve(room, "new-held", MAIN, "cup:5 tea:1"));
    assert_true(reserve(room, "new-committed", MAIN, "tea:4"));
    assert_true(reserve(room, "bystander", MAIN, "cup:5"));
    assert_true(commit(room, "new-committed", MAIN) && commit(room, "old-committed", MAIN));
    emitted(room);

    size_t before = room->log_count + 1;
    assert_true(adjust(room, "tea", -5)); /* 1 is free: new-held, old-held and new-committed have to go */
    assert_string_equal(emitted(room), "sLLLal");
    struct test_record *const *log = room->log + before;
    assert_int_equal(log[0]->message.stock_short.short_by, 4);
    assert_released(log[1], "new-held");
    assert_released(log[2], "old-held");
    assert_released(log[3], "new-committed");
    assert_int_equal(log[4]->message.stock_adjusted.counters.available, 3);
    assert_str(log[5]->message.stock_level_changed.sku, "cup");
    assert_counters(room, "tea", 3, 0, 2, 0);
    assert_counters(room, "cup", 5, 5, 0, 0);

    assert_true(adjust(room, "tea", -6)); /* more than there is, all promises included */
    assert_string_equal(emitted(room), "R");
    assert_true(adjust(room, "tea", -5));
    assert_string_equal(emitted(room), "sLa");
    assert_counters(room, "tea", 0, 0, 0, 0);
    test_room_close(room);
}

/* Neither what holds other stock nor what came to its end is touched. */
static void test_others_are_left_alone(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 4);
    assert_true(reserve(room, "shipped", MAIN, "tea:2"));
    assert_true(commit(room, "shipped", MAIN) && consume(room, "shipped", MAIN));
    assert_true(reserve(room, "order", MAIN, "tea:2"));
    emitted(room);
    assert_true(adjust(room, "tea", -3));
    assert_string_equal(emitted(room), "R");
    assert_counters(room, "tea", 0, 2, 0, 2);
    assert_true(adjust(room, "tea", -1));
    assert_string_equal(emitted(room), "sLa");
    assert_counters(room, "tea", 1, 0, 0, 2);
    test_room_close(room);
}

/* What the same batch reserved before it can be short, too. */
static void test_short_within_a_batch(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 5);
    test_room_batch_begin(room);
    assert_true(reserve(room, "first", MAIN, "tea:2"));
    assert_true(reserve(room, "second", MAIN, "tea:3"));
    assert_true(adjust(room, "tea", -2));
    assert_string_equal(emitted(room), "HHsLa");
    test_room_batch_end(room);
    assert_string_equal(emitted(room), "");
    assert_counters(room, "tea", 1, 2, 0, 0);
    assert_str(test_room_last(room, MESSAGE_RESERVATION_RELEASED)->message.reservation_released.order_id, "second");
    test_room_close(room);
}

/* ---- the end of a batch */

static void test_levels_are_coalesced(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_true(receive(room, "cup", 10));
    assert_true(receive(room, "pot", 10));
    emitted(room);
    test_room_batch_begin(room);
    assert_true(reserve(room, "one", MAIN, "tea:1 cup:1"));
    assert_true(reserve(room, "two", MAIN, "tea:2 pot:1"));
    assert_true(release(room, "one", MAIN));
    assert_true(receive(room, "cup", 5)); /* says what cup's level is */
    assert_string_equal(emitted(room), "HHLr");
    size_t before = room->log_count;
    test_room_batch_end(room);
    assert_string_equal(emitted(room), "ll");
    const struct test_record *pot = room->log[before], *tea = room->log[before + 1];
    assert_str(pot->key, "pot");
    assert_str(pot->subject, "pot");
    assert_str(pot->topic, TOPIC_STOCK_EVENTS);
    assert_str(pot->message.stock_level_changed.location, MAIN);
    assert_int_equal(pot->message.stock_level_changed.counters.version, 2);
    assert_str(tea->key, "tea");
    assert_int_equal(tea->message.stock_level_changed.counters.version, 4);
    assert_int_equal(tea->message.stock_level_changed.counters.available, 8);
    test_room_close(room);
}

static void test_key_reused(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    struct message message = {.type = MESSAGE_INVENTORY_ADJUST_STOCK,
                              .inventory_adjust_stock = {STR("tea"), STR(MAIN), 1, STR(""), STR(""), STR("")}};
    test_room_reuse(room, TOPIC_INVENTORY_REQUESTS, MAIN, "again", &message);
    const struct test_record *record = test_room_last(room, MESSAGE_STOCK_COMMAND_REFUSED);
    assert_str(record->message.stock_command_refused.reason, "idempotency-key-reused");
    assert_str(record->command_id, "again");
    assert_str(record->key, "tea");
    assert_int_equal(counters_of(room, "tea").version, 1);
    test_room_close(room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_counter_goes_below_zero),
        cmocka_unit_test(test_receipts_and_adjustments),
        cmocka_unit_test(test_numbers_that_do_not_fit),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_held_first_newest_first),
        cmocka_unit_test(test_others_are_left_alone),
        cmocka_unit_test(test_short_within_a_batch),
        cmocka_unit_test(test_levels_are_coalesced),
        cmocka_unit_test(test_key_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
