/* Where a shard stands: numbers per origin, and going on from what a store holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "projections/positions.h"

static const struct log_topic topics[] = {{{"a", 1}, {"id-a", 4}, 4}, {{"b", 1}, {"id-b", 4}, 4}};
static struct positions positions;

static int setup(void **state) {
    struct err err = {0};
    (void)state;
    positions_init(&positions);
    return positions_read(&positions, STR("log"), topics, 2, STR_NULL, &err) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    positions_free(&positions);
    return 0;
}

static enum positions_verdict check(size_t topic, const char *origin, int64_t seq) {
    int64_t last;
    return positions_check(&positions, topic, str_from(origin), seq, &last);
}

static void test_numbers(void **state) {
    (void)state;
    assert_int_equal(check(0, "o/1", 2), POSITIONS_GAP);
    assert_int_equal(check(0, "o/1", 1), POSITIONS_NEXT);
    positions_advance(&positions, 0, 10, STR("o/1"), 1);
    assert_int_equal(check(0, "o/1", 1), POSITIONS_AGAIN);
    assert_int_equal(check(0, "o/1", 2), POSITIONS_NEXT);
    assert_int_equal(check(0, "o/1", 3), POSITIONS_GAP);
    /* Each origin, and each topic of an origin, counts for itself. */
    assert_int_equal(check(0, "o/2", 1), POSITIONS_NEXT);
    assert_int_equal(check(1, "o/1", 1), POSITIONS_NEXT);
    /* A duplicate moves the offset, never the number back. */
    positions_advance(&positions, 0, 11, STR("o/1"), 2);
    positions_advance(&positions, 0, 12, STR("o/1"), 1);
    assert_int_equal(check(0, "o/1", 3), POSITIONS_NEXT);
    assert_int_equal(positions.state.topics.items[0].next_offset, 13);
    assert_int_equal(positions.state.topics.items[1].next_offset, 0);
}

static void test_records_without_origin(void **state) {
    (void)state;
    assert_int_equal(check(0, NULL, 0), POSITIONS_NEXT);
    positions_advance(&positions, 0, 5, STR_NULL, 0);
    assert_int_equal(check(0, NULL, 0), POSITIONS_NEXT);
    assert_int_equal(positions.state.origins.count, 0);
}

/* The same bytes, whatever the order in which the origins were heard of. */
static void test_bytes(void **state) {
    (void)state;
    static const char *const orders[2][4] = {{"o/1", "o/2", "p/0", "a/9"}, {"p/0", "a/9", "o/2", "o/1"}};
    struct buf bytes[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        assert_true(positions_read(&positions, STR("log"), topics, 2, STR_NULL, &err));
        for (int k = 0; k < 4; k++)
            positions_advance(&positions, 1, 7, str_from(orders[i][k]), 1);
        positions_write(&positions, &bytes[i]);
    }
    assert_true(str_eq(buf_str(&bytes[0]), buf_str(&bytes[1])));
    buf_free(&bytes[0]);
    buf_free(&bytes[1]);
}

static void test_going_on(void **state) {
    (void)state;
    struct err err = {0};
    BUF_AUTO bytes = {0};
    positions_advance(&positions, 0, 41, STR("o/1"), 3);
    positions_advance(&positions, 1, 17, STR("p/1"), 9);
    positions_write(&positions, &bytes);
    struct positions again;
    positions_init(&again);
    assert_true(positions_read(&again, STR("log"), topics, 2, buf_str(&bytes), &err));
    assert_int_equal(again.state.topics.items[0].next_offset, 42);
    assert_int_equal(again.state.topics.items[1].next_offset, 18);
    int64_t last;
    assert_int_equal(positions_check(&again, 1, STR("p/1"), 11, &last), POSITIONS_GAP);
    assert_int_equal(last, 9);

    /* A topic that the service reads since then begins at the beginning; one that it reads no more is forgotten. */
    const struct log_topic others[] = {topics[1], {{"c", 1}, {"id-c", 4}, 4}};
    assert_true(positions_read(&again, STR("log"), others, 2, buf_str(&bytes), &err));
    assert_int_equal(again.state.topics.items[0].next_offset, 18);
    assert_int_equal(again.state.topics.items[1].next_offset, 0);
    assert_int_equal(again.state.origins.count, 1);
    positions_free(&again);
}

static void test_another_log(void **state) {
    (void)state;
    struct err err = {0};
    BUF_AUTO bytes = {0};
    positions_advance(&positions, 0, 41, STR("o/1"), 3);
    positions_write(&positions, &bytes);
    assert_false(positions_read(&positions, STR("other"), topics, 2, buf_str(&bytes), &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    const struct log_topic anew[] = {{{"a", 1}, {"id-x", 4}, 4}, topics[1]};
    assert_false(positions_read(&positions, STR("log"), anew, 2, buf_str(&bytes), &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_false(positions_read(&positions, STR("log"), topics, 2, STR("damaged"), &err));
    assert_int_not_equal(err.kind, ERR_NONE);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_numbers),     TEST(test_records_without_origin), TEST(test_bytes), TEST(test_going_on),
        TEST(test_another_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
