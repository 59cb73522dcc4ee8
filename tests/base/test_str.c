#include "core/base/str.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void assert_str(struct str s, const char *want) {
    assert_non_null(s.ptr);
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.ptr, want, s.len);
}

static void compares_in_byte_order(void **state) {
    (void)state;
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_true(str_eq(STR_NULL, STR("")));
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_true(str_starts_with(STR("orders.events"), STR("orders")));
    assert_true(str_starts_with(STR_NULL, STR("")));
    assert_false(str_starts_with(STR("or"), STR("orders")));
    assert_true(str_ends_with(STR("orders.events"), STR(".events")));
    assert_false(str_ends_with(STR("events"), STR(".events")));
}

static void tells_absent_from_empty(void **state) {
    (void)state;
    assert_null(str_from(NULL).ptr);
    assert_str(str_from(""), "");
    BUF_AUTO empty = {0};
    assert_str(buf_str(&empty), "");
}

static void cuts_at_the_first_separator(void **state) {
    (void)state;
    struct str rest;
    assert_str(str_cut(STR("a=b=c"), '=', &rest), "a");
    assert_str(rest, "b=c");
    assert_str(str_cut(STR("a="), '=', &rest), "a");
    assert_str(rest, "");
    assert_str(str_cut(STR("abc"), '=', &rest), "abc");
    assert_null(rest.ptr);
    assert_int_equal(str_cut(STR_NULL, '=', &rest).len, 0);
    assert_null(rest.ptr);
}

static void reads_whole_integers_only(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {{"0", 0},     {"-0", 0},
                {"007", 7},   {"9223372036854775807", INT64_MAX},
                {"-12", -12}, {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = 99;
        assert_true(str_to_i64(str_from(good[i].text), &value));
        assert_true(value == good[i].want);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "0x1",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = 99;
        assert_false(str_to_i64(str_from(bad[i]), &value));
        assert_int_equal(value, 99);
    }
    int64_t value;
    assert_false(str_to_i64(STR_NULL, &value));
}

static void grows_and_stays_terminated(void **state) {
    (void)state;
    BUF_AUTO buf = {0};
    for (int i = 0; i < 1000; i++) {
        buf_printf(&buf, "%d,", i);
        assert_int_equal(buf.ptr[buf.len], 0);
    }
    assert_int_equal(buf.len, 10 * 2 + 90 * 3 + 900 * 4);
    buf_reset(&buf);
    assert_str(buf_str(&buf), "");
    buf_add(&buf, NULL, 0);
    buf_add_str(&buf, STR_NULL);
    buf_add_char(&buf, 'x');
    assert_string_equal(buf.ptr, "x");
    buf_free(&buf);
    assert_null(buf.ptr);
}

/* Every length around the sizes at which the buffer grows. */
static void prints_text_of_any_length(void **state) {
    (void)state;
    char text[300];
    for (size_t len = 0; len < sizeof text - 1; len++) {
        memset(text, 'a', len);
        text[len] = '\0';
        BUF_AUTO buf = {0};
        buf_add_char(&buf, '>');
        buf_printf(&buf, "%s", text);
        assert_int_equal(buf.len, len + 1);
        assert_string_equal(buf.ptr + 1, text);
    }
}

static void check_json(struct str in, const char *want) {
    BUF_AUTO buf = {0};
    buf_add_json_string(&buf, in);
    assert_string_equal(buf.ptr, want);
}

static void escapes_for_json(void **state) {
    (void)state;
    check_json(STR(""), "\"\"");
    check_json(STR_NULL, "\"\"");
    check_json(STR("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
    check_json(STR("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    check_json((struct str){"\0\x1f\x7f", 3}, "\"\\u0000\\u001f\\u007f\"");
    check_json(STR("Zürich € 😀"), "\"Zürich € 😀\"");
}

#define FFFD "\xEF\xBF\xBD"

static void replaces_what_is_not_utf8(void **state) {
    (void)state;
    check_json(STR("a\xff"
                   "b"),
               "\"a" FFFD "b\"");
    check_json(STR("\xc0\x80"), "\"" FFFD FFFD "\"");                   /* overlong */
    check_json(STR("\xe0\x9f\xbf"), "\"" FFFD FFFD FFFD "\"");          /* overlong */
    check_json(STR("\xed\xa0\x80"), "\"" FFFD FFFD FFFD "\"");          /* a surrogate */
    check_json(STR("\xf4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\""); /* past U+10FFFF */
    check_json(STR("\xe2\x82"), "\"" FFFD FFFD "\"");                   /* cut short */
    check_json(STR("\xf4\x8f\xbf\xbf"), "\"\xf4\x8f\xbf\xbf\"");        /* the last there is */
}

static void writes_json_that_others_read(void **state) {
    (void)state;
    srand(7);
    for (int round = 0; round < 5000; round++) {
        char bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(rand() % 3 ? rand() : "\xe2\x82\xac\xf0\x9f\x98\x80\"\\"[rand() % 9]);
        BUF_AUTO buf = {0};
        buf_add_json_string(&buf, (struct str){bytes, sizeof bytes});
        json_t *json = json_loadb(buf.ptr, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_true(json_is_string(json));
        json_decref(json);
    }
}

static void copies_end_in_zero(void **state) {
    (void)state;
    char *copy = mem_strdup((struct str){"abcdef", 3});
    assert_string_equal(copy, "abc");
    free(copy);
    char *empty = mem_strdup(STR_NULL);
    assert_string_equal(empty, "");
    free(empty);
    void *nothing = mem_alloc(0);
    assert_non_null(nothing);
    free(nothing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_in_byte_order),
        cmocka_unit_test(tells_absent_from_empty),
        cmocka_unit_test(cuts_at_the_first_separator),
        cmocka_unit_test(reads_whole_integers_only),
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(prints_text_of_any_length),
        cmocka_unit_test(escapes_for_json),
        cmocka_unit_test(replaces_what_is_not_utf8),
        cmocka_unit_test(writes_json_that_others_read),
        cmocka_unit_test(copies_end_in_zero),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
