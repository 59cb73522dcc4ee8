/* How long records wait, told from when the ends were where, and by looking at what was there before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/log/append.h"
#include "core/log/lag.h"
#include "tests/log/temp_folder.h"

enum { MINUTE_US = 60 * 1000000 };

static struct log *the_log;
static struct temp_folder folder;

static int setup(void **state) {
    (void)state;
    struct err err = {0};
    BUF_AUTO url = {0};
    static const struct log_topic_spec spec = {"t", 1, -1, false};
    assert_true(temp_folder_make(&folder));
    buf_printf(&url, "sqlite://%s/log.db", folder.path);
    if (!log_open(url.ptr, NULL, &the_log, &err) || !log_topics_create(the_log, &spec, 1, &err))
        fail_msg("%s", err.detail);
    struct log_producer *producer;
    assert_true(log_producer_open(the_log, NULL, &producer, &err));
    for (int i = 0; i < 10; i++)
        assert_true(log_append(producer, &(struct log_record){.topic = STR("t"), .value = STR("x")}, NULL, NULL, &err));
    assert_true(log_flush(producer, 60000));
    log_producer_close(producer);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    log_close(the_log);
    temp_folder_remove(&folder);
    return 0;
}

static int64_t age(struct lag_ages *ages, int64_t position, int64_t end) {
    struct err err = {0};
    int64_t ret = -7;
    struct lag_row row = {STR("g"), STR("t"), 0, true, position, end, end - position, false};
    if (!lag_ages_of(ages, &row, &ret, &err))
        fail_msg("%s", err.detail);
    return ret;
}

/* Only looking at it says how old it is; it grows older. */
static void what_was_there_before_is_looked_at(void **state) {
    (void)state;
    struct lag_ages *ages = lag_ages_open(the_log);
    clock_sleep_ms(20);
    int64_t first = age(ages, 3, 10);
    assert_in_range(first, 20 * 1000, MINUTE_US);
    clock_sleep_ms(2);
    assert_true(age(ages, 3, 10) >= first + 2000);
    assert_true(age(ages, 5, 10) >= first); /* it moves on; looked at again a little later only */
    assert_int_equal(age(ages, 10, 10), 0);
    lag_ages_close(ages);
}

/* The log need not be asked: there is no such record in it. */
static void what_came_since_is_known(void **state) {
    (void)state;
    struct lag_ages *ages = lag_ages_open(the_log);
    assert_int_equal(age(ages, 10, 10), 0);
    int64_t before_us = clock_monotonic_us();
    assert_int_equal(age(ages, 10, 100), 0);
    int64_t last = 0;
    for (int64_t end = 101; end < 400; end++) {
        int64_t now = age(ages, 10, end); /* more come, this one waits on */
        assert_true(now >= last);
        last = now;
    }
    assert_in_range(last, 1, clock_monotonic_us() - before_us);
    clock_sleep_ms(5);
    assert_true(age(ages, 10, 400) >= 5000);
    assert_true(age(ages, 398, 401) < age(ages, 200, 401)); /* what came later is younger */
    assert_int_equal(age(ages, 401, 401), 0);
    assert_int_equal(age(ages, 401, 402), 0);
    lag_ages_close(ages);
}

/* A group that stopped reading for good is behind for ever. */
static void who_has_left_does_not_count(void **state) {
    (void)state;
    static const struct lag_left left = {{"moved"}, 1}, others = {{"move", "moved-too"}, 2};
    struct err err = {0};
    struct lag_report report;
    struct log_consumer *consumer;
    const struct log_listener listener = {0};
    assert_true(log_consumer_open(the_log, STR("moved"), &(struct str){"t", 1}, 1, &listener, &consumer, &err));
    log_consumer_commit(consumer, &(struct log_position){STR("t"), 0, 3}, 1);
    log_consumer_close(consumer);
    assert_true(lag_read(the_log, NULL, &report, &err));
    assert_int_equal(report.total, 7);
    lag_free(&report);
    assert_false(lag_wait(the_log, &others, 0, &err));
    assert_non_null(strstr(err.detail, "moved is still 7 records behind"));
    assert_true(lag_read(the_log, &left, &report, &err));
    assert_int_equal(report.count, 0);
    lag_free(&report);
    if (!lag_wait(the_log, &left, 60, &err))
        fail_msg("%s", err.detail);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_there_before_is_looked_at, setup, teardown),
        cmocka_unit_test_setup_teardown(what_came_since_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_left_does_not_count, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
