#include "core/base/clock.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static void check_text(int64_t time_us, const char *want) {
    char text[CLOCK_TEXT_SIZE];
    assert_int_equal(clock_format(time_us, text), strlen(want));
    assert_string_equal(text, want);
}

static void formats_rfc3339(void **state) {
    (void)state;
    check_text(0, "1970-01-01T00:00:00Z");
    check_text(-1, "1969-12-31T23:59:59.999999Z");
    check_text(1769903999123456, "2026-01-31T23:59:59.123456Z");
    check_text(951782400000100, "2000-02-29T00:00:00.000100Z");
    check_text(INT64_MIN, "0000-01-01T00:00:00Z");
    check_text(INT64_MAX, "9999-12-31T23:59:59.999999Z");
}

static void agrees_with_the_c_library(void **state) {
    (void)state;
    srand48(11);
    for (int i = 0; i < 200000; i++) {
        time_t seconds = (time_t)(drand48() * 315569520000.0) - 62167219200;
        int64_t want = (int64_t)seconds * 1000000 + (i % 3 ? lrand48() % 1000000 : 0);
        char text[CLOCK_TEXT_SIZE], date[96];
        size_t len = clock_format(want, text);
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        snprintf(date, sizeof date, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_memory_equal(text, date, 19);
        int64_t parsed = -1;
        assert_true(clock_parse((struct str){text, len}, &parsed));
        assert_true(parsed == want);
    }
}

static void parses_offsets_and_fractions(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T01:30:00+01:30", 0},
        {"1969-12-31T16:00:00-08:00", 0},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.000001Z", 1},
        {"1970-01-01T00:00:00.1234567890123456789Z", 123456},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2016-12-31T23:59:60Z", 1483228800000000},
        {"2017-01-01T00:59:60+01:00", 1483228800000000},
        {"0000-01-01T00:00:00Z", -62167219200000000},
        {"9999-12-31T23:59:59.999999Z", 253402300799999999},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t time_us = 42;
        assert_true(clock_parse(str_from(cases[i].text), &time_us));
        assert_true(time_us == cases[i].want);
    }
}

static void refuses_all_else(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31 23:59:59Z",
        "2026-1-31T23:59:59Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T12:00:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00Z ",
        " 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00ZZ",
        "+026-01-01T00:00:00Z",
        "2026-01-01T-1:00:00Z",
        "12026-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t time_us = 42;
        assert_false(clock_parse(str_from(cases[i]), &time_us));
        assert_int_equal(time_us, 42);
    }
    int64_t time_us;
    assert_false(clock_parse(STR_NULL, &time_us));
    assert_false(clock_parse((struct str){"2026-01-01T00:00:00Z\0", 21}, &time_us));
}

/* Every cut of a valid text is refused, and reads no byte past its end. */
static void refuses_what_is_cut_short(void **state) {
    (void)state;
    static const char whole[] = "2026-01-31T23:59:59.123456+01:00";
    int64_t time_us;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        char *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, whole, len);
        assert_false(clock_parse((struct str){copy, len}, &time_us));
        free(copy);
    }
}

static void clocks_go_on(void **state) {
    (void)state;
    int64_t wall = clock_now_us(), monotonic = clock_monotonic_us(), cpu = clock_thread_cpu_us();
    assert_true(wall > 1700000000000000);
    clock_sleep_ms(20);
    clock_sleep_ms(-1);
    assert_true(clock_monotonic_us() - monotonic >= 20000);
    assert_true(clock_thread_cpu_us() >= cpu);
    assert_true(clock_thread_cpu_us() - cpu < 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_rfc3339),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(parses_offsets_and_fractions),
        cmocka_unit_test(refuses_all_else),
        cmocka_unit_test(refuses_what_is_cut_short),
        cmocka_unit_test(clocks_go_on),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
