/* inventory: every (reservation, request) pair, and what becomes of the stock. */
#include "tests/support/room.h"

#include <stdio.h>

#include "core/domain/inventory.h"

#define MAIN "main"

/* ---- when: requests, by short names */

static struct quantity_list lines_of(struct test_room *room, const char *text) {
    struct quantity_list list = {arena_array(&room->kept, struct quantity, 16), 0};
    char sku[32];
    int quantity, used;
    while (sscanf(text, " %31[^:]:%d%n", sku, &quantity, &used) == 2) {
        list.items[list.count++] = (struct quantity){arena_dup(&room->kept, str_from(sku)), quantity};
        text += used;
    }
    return list;
}

static bool give(struct test_room *room, struct message message) {
    static int commands;
    char id[32];
    snprintf(id, sizeof id, "command-%d", ++commands);
    return test_room_give(room, TOPIC_INVENTORY_REQUESTS, MAIN, id, &message);
}

/* "SKU:quantity SKU:quantity" */
static bool reserve(struct test_room *room, const char *order_id, const char *location, const char *lines) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_RESERVE_STOCK,
                                       .inventory_reserve_stock = {str_from(order_id), str_from(location),
                                                                   lines_of(room, lines)}});
}

static bool commit(struct test_room *room, const char *order_id, const char *location) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_COMMIT_RESERVATION,
                                       .inventory_commit_reservation = {str_from(order_id), str_from(location)}});
}

static bool release(struct test_room *room, const char *order_id, const char *location) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_RELEASE_RESERVATION,
                                       .inventory_release_reservation = {str_from(order_id), str_from(location),
                                                                         STR("cancelled-by-shopper")}});
}

static bool consume(struct test_room *room, const char *order_id, const char *location) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_CONSUME_RESERVATION,
                                       .inventory_consume_reservation = {str_from(order_id), str_from(location)}});
}

static bool receive(struct test_room *room, const char *sku, int64_t quantity) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_RECEIVE_STOCK,
                                       .inventory_receive_stock = {.sku = str_from(sku),
                                                                   .location = STR(MAIN),
                                                                   .quantity = quantity,
                                                                   .actor = STR("operator:ann"),
                                                                   .body_hash = STR("hash")}});
}

static bool adjust(struct test_room *room, const char *sku, int64_t quantity) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_ADJUST_STOCK,
                                       .inventory_adjust_stock = {.sku = str_from(sku),
                                                                  .location = STR(MAIN),
                                                                  .quantity = quantity,
                                                                  .reason = STR("damaged"),
                                                                  .actor = STR("operator:ann"),
                                                                  .body_hash = STR("hash")}});
}

/* ---- then: what was emitted since the last look, a letter for each record */

static char letter_of(const struct message *message) {
    struct str reason = STR_NULL;
    switch (message->type) {
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        return 'H';
    case MESSAGE_RESERVATION_STOCK_REFUSED:
        return 'X';
    case MESSAGE_RESERVATION_COMMITTED:
        return 'C';
    case MESSAGE_RESERVATION_RELEASED:
        return 'L';
    case MESSAGE_RESERVATION_CONSUMED:
        return 'S';
    case MESSAGE_STOCK_RECEIVED:
        return 'r';
    case MESSAGE_STOCK_ADJUSTED:
        return 'a';
    case MESSAGE_STOCK_SHORT:
        return 's';
    case MESSAGE_STOCK_LEVEL_CHANGED:
        return 'l';
    case MESSAGE_RESERVATION_COMMAND_REFUSED:
        reason = message->reservation_command_refused.reason;
        break;
    default:
        reason = message->stock_command_refused.reason;
        break;
    }
    return str_eq(reason, STR("transition-refused")) ? 'R' : str_eq(reason, STR("not-found")) ? 'N' : '?';
}

static const char *emitted(struct test_room *room) {
    static char letters[256];
    size_t count = 0;
    for (; room->log_seen < room->log_count; room->log_seen++) {
        const struct test_record *record = room->log[room->log_seen];
        if (!str_eq(record->topic, STR(TOPIC_INVENTORY_REQUESTS)))
            letters[count++] = letter_of(&record->message);
    }
    letters[count] = 0;
    return letters;
}

static struct counters counters_of(struct test_room *room, const char *sku) {
    char key[64];
    snprintf(key, sizeof key, MAIN "/%s", sku);
    const struct state_stock *stock = test_room_state(room, INVENTORY_STOCK, key);
    return stock ? stock->counters : (struct counters){0};
}

static void assert_counters(struct test_room *room, const char *sku, int64_t available, int64_t held, int64_t committed,
                            int64_t consumed) {
    struct counters counters = counters_of(room, sku);
    assert_int_equal(counters.available, available);
    assert_int_equal(counters.held, held);
    assert_int_equal(counters.committed, committed);
    assert_int_equal(counters.consumed, consumed);
}

static struct test_room *room_with(const char *sku, int64_t quantity) {
    struct test_room *room = test_room_open(&inventory_decider);
    assert_true(receive(room, sku, quantity));
    assert_string_equal(emitted(room), "r");
    return room;
}

/* ---- the matrix */

enum { RESERVE, COMMIT, RELEASE, CONSUME, REQUEST_COUNT };

static bool request(struct test_room *room, int which, const char *location) {
    switch (which) {
    case RESERVE:
        return reserve(room, "order", location, "tea:3");
    case COMMIT:
        return commit(room, "order", location);
    case RELEASE:
        return release(room, "order", location);
    default:
        return consume(room, "order", location);
    }
}

/* A reservation is brought there by these requests; then each request is made of a reservation of its own. An `l`
 * follows every change of the stock row. */
static const struct {
    const char *state;
    const char *given; /* h hold, x ask for too much, c commit, r release, s consume, - take the stock away */
    const char *then[REQUEST_COUNT];
} matrix[] = {
    /*                          Reserve Commit Release Consume */
    {"none", "", {"Hl", "N", "L", "N"}},
    {"held", "h", {"R", "Cl", "Ll", "R"}},
    {"committed", "hc", {"R", "R", "Ll", "Sl"}},
    {"released when held", "hr", {"R", "R", "R", "R"}},
    {"released when committed", "hcr", {"R", "R", "R", "R"}},
    {"released for stock-short", "h-", {"R", "R", "R", "R"}},
    {"released before it was asked for", "r", {"R", "R", "R", "R"}},
    {"consumed", "hcs", {"R", "R", "R", "R"}},
    {"refused", "x", {"R", "R", "R", "R"}},
};

static void bring(struct test_room *room, const char *given) {
    for (; *given; given++) {
        if (*given == 'h')
            assert_true(reserve(room, "order", MAIN, "tea:3"));
        if (*given == 'x')
            assert_true(reserve(room, "order", MAIN, "tea:11"));
        if (*given == 'c')
            assert_true(commit(room, "order", MAIN));
        if (*given == 'r')
            assert_true(release(room, "order", MAIN));
        if (*given == 's')
            assert_true(consume(room, "order", MAIN));
        if (*given == '-')
            assert_true(adjust(room, "tea", -8));
    }
    emitted(room);
}

static void test_every_pair(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++)
        for (int which = 0; which < REQUEST_COUNT; which++) {
            struct test_room *room = room_with("tea", 10);
            bring(room, matrix[i].given);
            assert_true(request(room, which, MAIN));
            const char *then = emitted(room);
            if (strcmp(then, matrix[i].then[which]) != 0)
                fail_msg("%s, request %d: %s, not %s", matrix[i].state, which, then, matrix[i].then[which]);
            test_room_close(room);
        }
}

/* A request that names another location than the reservation's never touches it. */
static void test_another_location(void **state) {
    (void)state;
    for (int which = COMMIT; which < REQUEST_COUNT; which++) {
        struct test_room *room = room_with("tea", 10);
        bring(room, which == CONSUME ? "hc" : "h");
        assert_true(request(room, which, "depot"));
        assert_string_equal(emitted(room), "N");
        test_room_close(room);
    }
}

/* ---- reservations */

static void test_counters_follow(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_true(reserve(room, "order", MAIN, "tea:3"));
    assert_counters(room, "tea", 7, 3, 0, 0);
    assert_true(commit(room, "order", MAIN));
    assert_counters(room, "tea", 7, 0, 3, 0);
    assert_true(consume(room, "order", MAIN));
    assert_counters(room, "tea", 7, 0, 0, 3);
    assert_int_equal(counters_of(room, "tea").version, 4);
    assert_true(test_room_closed(room, INVENTORY_RESERVATION, "order"));
    assert_true(reserve(room, "other", MAIN, "tea:7"));
    assert_false(test_room_closed(room, INVENTORY_RESERVATION, "other"));
    assert_true(release(room, "other", MAIN));
    assert_counters(room, "tea", 7, 0, 0, 3);
    assert_true(test_room_closed(room, INVENTORY_RESERVATION, "other"));
    test_room_close(room);
}

static void test_all_or_nothing(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_true(receive(room, "cup", 1));
    assert_true(reserve(room, "order", MAIN, "tea:3 cup:2 pot:1"));
    assert_string_equal(emitted(room), "rX");
    const struct reservation_stock_refused *m =
        &test_room_last(room, MESSAGE_RESERVATION_STOCK_REFUSED)->message.reservation_stock_refused;
    assert_int_equal(m->lines.count, 2);
    assert_str(m->lines.items[0].sku, "cup");
    assert_int_equal(m->lines.items[0].requested, 2);
    assert_int_equal(m->lines.items[0].available, 1);
    assert_str(m->lines.items[1].sku, "pot");
    assert_int_equal(m->lines.items[1].requested, 1);
    assert_int_equal(m->lines.items[1].available, 0);
    assert_counters(room, "tea", 10, 0, 0, 0);
    assert_true(test_room_closed(room, INVENTORY_RESERVATION, "order"));
    test_room_close(room);
}

static void test_a_sku_twice_is_one_line(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_true(receive(room, "cup", 1));
    emitted(room);
    assert_true(reserve(room, "order", MAIN, "tea:3 cup:1 tea:4"));
    assert_string_equal(emitted(room), "Hll");
    const struct test_record *record = test_room_last(room, MESSAGE_RESERVATION_STOCK_RESERVED);
    const struct reservation_stock_reserved *m = &record->message.reservation_stock_reserved;
    assert_str(record->topic, TOPIC_RESERVATION_EVENTS);
    assert_str(record->key, "order");
    assert_str(record->subject, "order");
    assert_int_equal(m->lines.count, 2);
    assert_str(m->lines.items[0].sku, "tea");
    assert_int_equal(m->lines.items[0].quantity, 7);
    assert_int_equal(m->lines.items[0].counters.version, 2);
    assert_int_equal(m->lines.items[0].counters.available, 3);
    assert_true(reserve(room, "greedy", MAIN, "tea:2 tea:2"));
    assert_string_equal(emitted(room), "X");
    const struct reservation_refused_line *line =
        test_room_last(room, MESSAGE_RESERVATION_STOCK_REFUSED)->message.reservation_stock_refused.lines.items;
    assert_int_equal(line->requested, 4);
    assert_int_equal(line->available, 3);
    test_room_close(room);
}

/* A release that came first (it should not) keeps the order from holding anything. */
static void test_released_first(void **state) {
    (void)state;
    struct test_room *room = room_with("tea", 10);
    assert_true(release(room, "order", MAIN));
    const struct reservation_released *m =
        &test_room_last(room, MESSAGE_RESERVATION_RELEASED)->message.reservation_released;
    assert_int_equal(m->lines.count, 0);
    assert_str(m->reason, "cancelled-by-shopper");
    assert_true(reserve(room, "order", MAIN, "tea:3"));
    assert_string_equal(emitted(room), "LR");
    assert_counters(room, "tea", 10, 0, 0, 0);
    test_room_close(room);
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
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_another_location),
        cmocka_unit_test(test_counters_follow),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_a_sku_twice_is_one_line),
        cmocka_unit_test(test_released_first),
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
