/* inventory: every (reservation, request) pair. */
#include "tests/domain/inventory_script.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_another_location),
        cmocka_unit_test(test_counters_follow),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_a_sku_twice_is_one_line),
        cmocka_unit_test(test_released_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
