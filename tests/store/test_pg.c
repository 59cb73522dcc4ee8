/* The PostgreSQL client: parameters and arrays as they arrive, results as they come back, errors by their class. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/store/pg.h"
#include "tests/support/database.h"

static char *url;

static int setup(void **state) {
    struct err err = {0};
    struct pg *pg;
    if (!pg_open(url, "SET application_name = 'test'", &pg, &err))
        fail_msg("%s", err.detail);
    *state = pg;
    return 0;
}

static int teardown(void **state) {
    pg_close(*state);
    return 0;
}

static struct err failure;

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if (!(call))                                                                                                   \
            fail_msg("%s: %s", #call, failure.detail);                                                                 \
    } while (0)

#define assert_str(actual, wanted)                                                                                     \
    do {                                                                                                               \
        struct str got = (actual);                                                                                     \
        assert_true(str_eq(got, (wanted)));                                                                            \
    } while (0)

/* ---- parameters ---- */

static void scalars(void **state) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    pg_add_text(&params, STR("größe"));
    pg_add_text(&params, STR(""));
    pg_add_text(&params, STR_NULL);
    pg_add_bytes(&params, ((struct str){"\0\xff\n", 3}));
    pg_add_i64(&params, INT64_MIN);
    pg_add_bool(&params, true);
    pg_add_bool(&params, false);
    pg_add_time(&params, INT64_C(1700000000123456));
    pg_add_time(&params, -1);
    MUST(pg_exec(*state, "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9", &params, &row, &failure));
    assert_int_equal(pg_rows(row), 1);
    assert_str(pg_get_str(row, 0, 0), STR("größe"));
    assert_false(pg_is_null(row, 0, 1));
    assert_int_equal(pg_get_str(row, 0, 1).len, 0);
    assert_true(pg_is_null(row, 0, 2));
    assert_null(pg_get_str(row, 0, 2).ptr);
    assert_str(pg_get_str(row, 0, 3), ((struct str){"\0\xff\n", 3}));
    assert_true(pg_get_i64(row, 0, 4) == INT64_MIN);
    assert_true(pg_get_bool(row, 0, 5));
    assert_false(pg_get_bool(row, 0, 6));
    assert_true(pg_get_time(row, 0, 7) == INT64_C(1700000000123456));
    assert_true(pg_get_time(row, 0, 8) == -1);
}

/* What was sent is what the server understands, not only what comes back. */
static void values_as_the_server_sees_them(void **state) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    pg_add_time(&params, 0);
    pg_add_i64(&params, -5);
    pg_add_bytes(&params, STR("ab"));
    pg_add_bool(&params, true);
    MUST(pg_exec(
        *state, "SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), $2::text, encode($3, 'hex'), $4::text",
        &params, &row, &failure));
    assert_str(pg_get_str(row, 0, 0), STR("1970-01-01 00:00:00"));
    assert_str(pg_get_str(row, 0, 1), STR("-5"));
    assert_str(pg_get_str(row, 0, 2), STR("6162"));
    assert_str(pg_get_str(row, 0, 3), STR("true"));
}

static void integers_of_all_widths(void **state) {
    PG_RESULT_AUTO *row = NULL;
    MUST(pg_exec(*state, "SELECT (-2)::int2, (-3)::int4, (-4)::int8", NULL, &row, &failure));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pg_get_i64(row, 0, i), -2 - i);
}

static void arrays(void **state) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_array(&params, PG_I64);
    pg_array_i64(&params, 0, INT64_MAX);
    pg_array_null(&params, 0);
    pg_add_array(&params, PG_TEXT);
    pg_array_str(&params, 1, STR("a,\"b\"{}"));
    pg_array_str(&params, 1, STR_NULL);
    pg_add_array(&params, PG_BYTES);
    pg_array_str(&params, 2, ((struct str){"\0x", 2}));
    pg_array_str(&params, 2, STR(""));
    pg_add_array(&params, PG_BOOL);
    pg_array_i64(&params, 3, 1);
    pg_array_i64(&params, 3, 0);
    pg_add_array(&params, PG_TIME);
    pg_array_i64(&params, 4, INT64_C(1700000000123456));
    pg_array_null(&params, 4);
    MUST(pg_exec(*state, "SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bytea[], $4::bool[], $5::timestamptz[])",
                 &params, &rows, &failure));
    assert_int_equal(pg_rows(rows), 2);
    assert_true(pg_get_i64(rows, 0, 0) == INT64_MAX);
    assert_true(pg_is_null(rows, 1, 0));
    assert_str(pg_get_str(rows, 0, 1), STR("a,\"b\"{}"));
    assert_true(pg_is_null(rows, 1, 1));
    assert_str(pg_get_str(rows, 0, 2), ((struct str){"\0x", 2}));
    assert_int_equal(pg_get_str(rows, 1, 2).len, 0);
    assert_false(pg_is_null(rows, 1, 2));
    assert_true(pg_get_bool(rows, 0, 3));
    assert_false(pg_get_bool(rows, 1, 3));
    assert_true(pg_get_time(rows, 0, 4) == INT64_C(1700000000123456));
    assert_true(pg_is_null(rows, 1, 4));
}

static void empty_and_large_arrays(void **state) {
    static const char sql[] = "SELECT count(*), coalesce(sum(x), 0)::bigint FROM UNNEST($1::bigint[]) x";
    for (int64_t count = 0; count <= 100000; count += 50000) {
        PG_PARAMS_AUTO params = {0};
        PG_RESULT_AUTO *row = NULL;
        pg_add_array(&params, PG_I64);
        for (int64_t i = 0; i < count; i++)
            pg_array_i64(&params, 0, i);
        MUST(pg_exec(*state, sql, &params, &row, &failure));
        assert_int_equal(pg_get_i64(row, 0, 0), count);
        assert_int_equal(pg_get_i64(row, 0, 1), count * (count - 1) / 2);
    }
}

static void affected_rows(void **state) {
    PG_RESULT_AUTO *made = NULL;
    PG_RESULT_AUTO *changed = NULL;
    MUST(pg_script(*state, "CREATE TEMPORARY TABLE t (x bigint)", &failure));
    MUST(pg_exec(*state, "INSERT INTO t SELECT generate_series(1, 5)", NULL, &made, &failure));
    assert_int_equal(pg_affected(made), 5);
    MUST(pg_exec(*state, "UPDATE t SET x = 0 WHERE x > 3", NULL, &changed, &failure));
    assert_int_equal(pg_affected(changed), 2);
}

/* ---- errors ---- */

static void errors_by_class(void **state) {
    const struct {
        const char *sql;
        enum err_kind kind;
        const char *sqlstate;
    } cases[] = {
        {"SELECT 1 / 0", ERR_INTERNAL, "22012"},
        {"INSERT INTO kept VALUES (1)", ERR_INTERNAL, "23505"},
        {"INSERT INTO kept VALUES (-1)", ERR_INTERNAL, "23514"},
        {"INSERT INTO kept VALUES (NULL)", ERR_INTERNAL, "23502"},
        {"DO $$ BEGIN RAISE EXCEPTION 'no'; END $$", ERR_INTERNAL, "P0001"},
        {"SELECT * FROM nowhere", ERR_CONFIG, "42P01"},
        {"SELECT nothing FROM kept", ERR_CONFIG, "42703"},
        {"this is no SQL", ERR_CONFIG, "42601"},
        {"SELECT pg_sleep(30)", ERR_STORE_UNAVAILABLE, "57014"},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$", ERR_STORE_UNAVAILABLE, "53100"},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$", ERR_STORE_UNAVAILABLE, "40P01"},
        {"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P03'; END $$", ERR_STORE_UNAVAILABLE, "57P03"},
    };
    MUST(pg_script(*state,
                   "CREATE TEMPORARY TABLE kept (x bigint PRIMARY KEY CHECK (x > 0)); INSERT INTO kept VALUES (1);"
                   "SET statement_timeout = '200ms'",
                   &failure));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        assert_false(pg_exec(*state, cases[i].sql, NULL, NULL, &err));
        if (err.kind != cases[i].kind || !strstr(err.detail, cases[i].sqlstate))
            fail_msg("%s: kind %d, %s", cases[i].sql, (int)err.kind, err.detail);
        assert_true(pg_connected(*state));
        assert_false(pg_script(*state, cases[i].sql, &err));
        assert_int_equal(err.kind, cases[i].kind);
    }
    struct err err = {0};
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, ((struct str){"a\0b", 3}));
    assert_false(pg_exec(*state, "SELECT $1", &params, NULL, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_non_null(strstr(err.detail, "22021"));
    MUST(pg_exec(*state, "SELECT 1", NULL, NULL, &failure)); /* and it goes on */
}

static void no_server(void **state) {
    (void)state;
    struct pg *pg = NULL;
    struct err err = {0};
    assert_false(pg_open("postgresql:///x?host=/nowhere", NULL, &pg, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    assert_null(pg);
}

static void settings_that_fail(void **state) {
    (void)state;
    struct pg *pg = NULL;
    struct err err = {0};
    assert_false(pg_open(url, "SET no_such_setting = 1", &pg, &err));
    assert_null(pg);
}

/* ---- transactions ---- */

static int64_t count_kept(struct pg *pg) {
    PG_RESULT_AUTO *row = NULL;
    MUST(pg_exec(pg, "SELECT count(*) FROM kept", NULL, &row, &failure));
    return pg_get_i64(row, 0, 0);
}

static void transactions(void **state) {
    MUST(pg_script(*state, "CREATE TEMPORARY TABLE kept (x bigint)", &failure));
    MUST(pg_begin(*state, &failure));
    MUST(pg_exec(*state, "INSERT INTO kept VALUES (1)", NULL, NULL, &failure));
    pg_rollback(*state);
    pg_rollback(*state); /* outside of one it does nothing */
    assert_int_equal(count_kept(*state), 0);
    MUST(pg_begin(*state, &failure));
    MUST(pg_exec(*state, "INSERT INTO kept VALUES (1)", NULL, NULL, &failure));
    MUST(pg_commit(*state, &failure));
    assert_int_equal(count_kept(*state), 1);
}

/* COMMIT of a transaction that has failed is answered without an error by the server: it was rolled back. */
static void commit_of_a_failed_transaction(void **state) {
    struct err err = {0};
    MUST(pg_script(*state, "CREATE TEMPORARY TABLE kept (x bigint)", &failure));
    MUST(pg_begin(*state, &failure));
    MUST(pg_exec(*state, "INSERT INTO kept VALUES (1)", NULL, NULL, &failure));
    assert_false(pg_exec(*state, "SELECT 1 / 0", NULL, NULL, &err));
    assert_false(pg_commit(*state, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_int_equal(count_kept(*state), 0);
    MUST(pg_begin(*state, &failure)); /* no transaction is left open */
    MUST(pg_commit(*state, &failure));
}

/* A constraint that is checked at COMMIT only. */
static void commit_that_is_refused(void **state) {
    struct err err = {0};
    MUST(pg_script(*state, "CREATE TEMPORARY TABLE kept (x bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)", &failure));
    MUST(pg_begin(*state, &failure));
    MUST(pg_exec(*state, "INSERT INTO kept VALUES (1), (1)", NULL, NULL, &failure));
    assert_false(pg_commit(*state, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_non_null(strstr(err.detail, "23505"));
    assert_int_equal(count_kept(*state), 0);
}

/* ---- a connection that is lost ---- */

static void cut(struct pg *pg) {
    struct pg *other;
    PG_RESULT_AUTO *row = NULL;
    PG_PARAMS_AUTO params = {0};
    MUST(pg_exec(pg, "SELECT pg_backend_pid()", NULL, &row, &failure));
    pg_add_i64(&params, pg_get_i64(row, 0, 0));
    MUST(pg_open(url, NULL, &other, &failure));
    MUST(pg_exec(other, "SELECT pg_terminate_backend($1::int, 5000)", &params, NULL, &failure));
    pg_close(other);
}

/* After a reset it is as after opening: the settings are made, statements are prepared anew. */
static void reset(void **state) {
    static const char prepared[] = "SELECT current_setting('application_name')";
    struct err err = {0};
    PG_RESULT_AUTO *row = NULL;
    MUST(pg_exec(*state, prepared, NULL, NULL, &failure));
    cut(*state);
    assert_false(pg_exec(*state, prepared, NULL, NULL, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    assert_false(pg_connected(*state));
    pg_rollback(*state);
    assert_false(pg_begin(*state, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    MUST(pg_reset(*state, &failure));
    assert_true(pg_connected(*state));
    MUST(pg_exec(*state, prepared, NULL, &row, &failure));
    assert_str(pg_get_str(row, 0, 0), STR("test"));
}

static void lost_in_a_transaction(void **state) {
    struct err err = {0};
    MUST(pg_begin(*state, &failure));
    cut(*state);
    assert_false(pg_commit(*state, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    MUST(pg_reset(*state, &failure));
    MUST(pg_begin(*state, &failure));
    MUST(pg_commit(*state, &failure));
}

/* The same text at another place is another statement; each is prepared once. */
static void statements(void **state) {
    static const char a[] = "SELECT 1::bigint", b[] = "SELECT 2::bigint";
    for (int i = 0; i < 3; i++) {
        PG_RESULT_AUTO *first = NULL;
        PG_RESULT_AUTO *second = NULL;
        MUST(pg_exec(*state, a, NULL, &first, &failure));
        MUST(pg_exec(*state, b, NULL, &second, &failure));
        assert_int_equal(pg_get_i64(first, 0, 0), 1);
        assert_int_equal(pg_get_i64(second, 0, 0), 2);
    }
    PG_RESULT_AUTO *row = NULL;
    MUST(pg_exec(*state, "SELECT count(*) FROM pg_prepared_statements", NULL, &row, &failure));
    assert_int_equal(pg_get_i64(row, 0, 0), 3);
}

/* ---- several statements at once ---- */

static int64_t count_rows(struct pg *pg) {
    PG_RESULT_AUTO *row = NULL;
    MUST(pg_exec(pg, "SELECT count(*) FROM together", NULL, &row, &failure));
    return pg_get_i64(row, 0, 0);
}

static void send_insert(struct pg *pg, int64_t value) {
    PG_PARAMS_AUTO params = {0};
    pg_add_i64(&params, value);
    pg_send(pg, "INSERT INTO together VALUES ($1)", &params);
}

static void make_together(struct pg *pg) {
    MUST(pg_script(pg, "DROP TABLE IF EXISTS together; CREATE TABLE together (n bigint PRIMARY KEY)", &failure));
}

static void together_all_or_none(void **state) {
    struct pg *pg = *state;
    struct err err = {0};
    make_together(pg);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            send_insert(pg, round * 10 + i);
        MUST(pg_sync(pg, &failure));
        send_insert(pg, 100);
        send_insert(pg, 0); /* is there already */
        send_insert(pg, 101);
        pg_send(pg, round ? "SELECT 1" : "SELECT 2", NULL);
        assert_false(pg_sync(pg, &err));
        assert_int_equal(err.kind, ERR_INTERNAL);
        assert_non_null(strstr(err.detail, "23505"));
        assert_int_equal(count_rows(pg), 3 * (round + 1));
    }
    MUST(pg_sync(pg, &failure)); /* of nothing */
    MUST(pg_begin(pg, &failure));
    MUST(pg_commit(pg, &failure));
}

static void together_without_waiting(void **state) {
    struct pg *pg = *state;
    make_together(pg);
    send_insert(pg, 1);
    pg_send(pg, "SELECT pg_sleep(0.05)", NULL);
    send_insert(pg, 2);
    pg_sync_start(pg);
    while (!pg_sync_done(pg))
        ;
    MUST(pg_sync(pg, &failure));
    assert_int_equal(count_rows(pg), 2);
}

static void together_and_cut(void **state) {
    struct pg *pg = *state;
    struct err err = {0};
    make_together(pg);
    cut(pg);
    send_insert(pg, 1);
    assert_false(pg_sync(pg, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    MUST(pg_reset(pg, &failure));
    send_insert(pg, 2);
    MUST(pg_sync(pg, &failure));
    assert_int_equal(count_rows(pg), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    database_make(&url);
    const struct CMUnitTest tests[] = {
        TEST(scalars),
        TEST(values_as_the_server_sees_them),
        TEST(integers_of_all_widths),
        TEST(arrays),
        TEST(empty_and_large_arrays),
        TEST(affected_rows),
        TEST(errors_by_class),
        TEST(no_server),
        TEST(settings_that_fail),
        TEST(transactions),
        TEST(commit_of_a_failed_transaction),
        TEST(commit_that_is_refused),
        TEST(reset),
        TEST(lost_in_a_transaction),
        TEST(statements),
        TEST(together_all_or_none),
        TEST(together_without_waiting),
        TEST(together_and_cut),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    database_drop(url);
    free(url);
    return failed;
}
