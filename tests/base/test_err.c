#include "core/base/err.h"

#include "core/base/logging.h"

#include <setjmp.h>
#include <cmocka.h>

static void sets_and_wraps(void **state) {
    (void)state;
    struct err err = {0};
    assert_false(err_set(&err, ERR_IO, "cannot read %s", "segment 7"));
    assert_int_equal(err.kind, ERR_IO);
    assert_string_equal(err.detail, "cannot read segment 7");
    assert_false(err_wrap(&err, "shard %d", 3));
    assert_int_equal(err.kind, ERR_IO);
    assert_string_equal(err.detail, "shard 3: cannot read segment 7");
    err_set(&err, ERR_TIMEOUT, "again: %s", err.detail);
    assert_string_equal(err.detail, "again: shard 3: cannot read segment 7");
}

static void nowhere_to_keep_it_is_fine(void **state) {
    (void)state;
    assert_false(err_set(NULL, ERR_IO, "x"));
    assert_false(err_wrap(NULL, "x"));
    assert_false(err_field(NULL, ERR_INVALID_BODY, "/a", "x"));
}

static void cuts_what_is_too_long(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct err err = {0};
    err_set(&err, ERR_IO, "%s", text);
    assert_int_equal(strlen(err.detail), sizeof err.detail - 1);
    err_wrap(&err, "context");
    assert_int_equal(strlen(err.detail), sizeof err.detail - 1);
    assert_memory_equal(err.detail, "context: xx", 11);
    err = (struct err){0};
    err_field(&err, ERR_INVALID_BODY, text, "%s", text);
    assert_int_equal(strlen(err.fields[0].pointer), sizeof err.fields[0].pointer - 1);
    assert_int_equal(strlen(err.fields[0].detail), sizeof err.fields[0].detail - 1);
}

static void collects_fields(void **state) {
    (void)state;
    struct err err = {0};
    for (int i = 0; i < ERR_FIELDS_MAX + 5; i++)
        assert_false(err_field(&err, ERR_INVALID_BODY, "/lines/0/quantity", "must be at least %d", i));
    assert_int_equal(err.kind, ERR_INVALID_BODY);
    assert_int_equal(err.field_count, ERR_FIELDS_MAX);
    assert_string_equal(err.detail, "/lines/0/quantity: must be at least 0");
    assert_string_equal(err.fields[1].pointer, "/lines/0/quantity");
    assert_string_equal(err.fields[1].detail, "must be at least 1");
    err_set(&err, ERR_IO, "another");
    assert_int_equal(err.field_count, 0);
    err_field(&err, ERR_INVALID_BODY, "", "x");
    assert_int_equal(err.kind, ERR_IO); /* an earlier error is not replaced */
}

static void every_kind_has_its_row(void **state) {
    (void)state;
    for (enum err_kind kind = ERR_NONE; kind < ERR_KIND_COUNT; kind++) {
        assert_in_range(err_http_status(kind), 200, 599);
        assert_non_null(err_title(kind));
        assert_in_range(err_log_level(kind), LOG_DEBUG, LOG_ERROR);
        for (enum err_kind other = ERR_NONE; other < kind; other++)
            assert_string_not_equal(err_slug(kind), err_slug(other));
    }
    assert_int_equal(err_http_status(ERR_RATE_LIMITED), 429);
    assert_string_equal(err_slug(ERR_LOG_UNAVAILABLE), "log-unavailable");
    assert_int_equal(err_log_level(ERR_LOG_UNAVAILABLE), LOG_WARN);
    assert_string_equal(err_slug(ERR_KIND_COUNT), "internal");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_and_wraps),         cmocka_unit_test(nowhere_to_keep_it_is_fine),
        cmocka_unit_test(cuts_what_is_too_long),  cmocka_unit_test(collects_fields),
        cmocka_unit_test(every_kind_has_its_row),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
