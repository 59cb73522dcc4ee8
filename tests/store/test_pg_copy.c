/* Inserts by COPY, into the schema that a connection works in: the same rows as the statements would have made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/store/pg_copy.h"
#include "tests/support/database.h"

static char *url;
static struct err failure;

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if (!(call))                                                                                                   \
            fail_msg("%s: %s", #call, failure.detail);                                                                 \
    } while (0)

static const char tables_sql[] =
    "CREATE TABLE %s.thing (id uuid PRIMARY KEY, name text, number int, big bigint, at timestamptz, yes boolean, "
    "event json, bytes bytea); CREATE TABLE %s.plain (id bigint)";

static struct pg *two_schemas(void) {
    struct pg *pg;
    BUF_AUTO sql = {0};
    MUST(pg_open(url, NULL, &pg, &failure));
    MUST(pg_script(pg,
                   "DROP SCHEMA IF EXISTS a CASCADE; DROP SCHEMA IF EXISTS b CASCADE; CREATE SCHEMA a; "
                   "CREATE SCHEMA b",
                   &failure));
    for (const char *schema = "a"; schema; schema = *schema == 'a' ? "b" : NULL) {
        buf_reset(&sql);
        buf_printf(&sql, tables_sql, schema, schema);
        MUST(pg_script(pg, sql.ptr, &failure));
    }
    return pg;
}

static bool insert(struct pg *pg, int rows, struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_I64, PG_I64, PG_TIME, PG_BOOL, PG_TEXT, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_TEXT); /* not a column: the last ones are */
    pg_array_str(&params, 0, STR("else"));
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        pg_add_array(&params, types[i]);
    for (int i = 0; i < rows; i++) {
        char id[37];
        snprintf(id, sizeof(id), "01234567-89ab-cdef-0123-%012x", (unsigned)i);
        pg_array_str(&params, 1, str_from(id));
        pg_array_str(&params, 2, i % 2 ? STR("größe") : STR_NULL);
        pg_array_i64(&params, 3, -i);
        pg_array_i64(&params, 4, INT64_MIN + i);
        pg_array_i64(&params, 5, INT64_C(1700000000123456) + i);
        pg_array_i64(&params, 6, i % 3 == 0);
        pg_array_str(&params, 7, STR("{\"a\": 1}"));
        pg_array_str(&params, 8, ((struct str){"\0\xff\n", 3}));
    }
    return pg_exec(pg,
                   "INSERT INTO a.thing AS t (id, name, number, big, at, yes, event, bytes) SELECT n.* FROM "
                   "UNNEST($2::uuid[], $3::text[], $4::int[], $5::bigint[], $6::timestamptz[], $7::boolean[], "
                   "$8::json[], $9::bytea[]) AS n WHERE $1::text[] IS NOT NULL ON CONFLICT DO NOTHING",
                   &params, NULL, err);
}

static int64_t number(struct pg *pg, const char *sql) {
    PG_RESULT_AUTO *row = NULL;
    MUST(pg_exec(pg, sql, NULL, &row, &failure));
    return pg_get_i64(row, 0, 0);
}

static void same_rows(void **state) {
    (void)state;
    static const char *const tables[] = {"thing", NULL};
    struct pg *pg = two_schemas();
    struct pg_copy *copy;
    MUST(insert(pg, 1000, &failure));
    MUST(pg_copy_begin(pg, "b", tables, "", &copy, &failure));
    MUST(insert(pg, 1000, &failure));
    PG_PARAMS_AUTO params = {0};
    pg_add_i64(&params, 7);
    MUST(pg_exec(pg, "INSERT INTO b.plain (id) VALUES ($1)", &params, NULL, &failure)); /* not one of those named */
    assert_int_equal(number(pg, "SELECT count(*) FROM b.plain"), 1);
    assert_int_equal(number(pg, "SELECT count(*) FROM b.thing"), 0);
    MUST(pg_copy_flush(copy, false, &failure)); /* too little to be sent */
    assert_int_equal(number(pg, "SELECT count(*) FROM b.thing"), 0);
    MUST(pg_copy_flush(copy, true, &failure));
    assert_int_equal(pg_copy_rows(copy), 1000);
    pg_copy_end(copy);
    assert_int_equal(number(pg, "SELECT count(*) FROM b.thing"), 1000);
    assert_int_equal(number(pg, "SELECT count(*) FROM a.thing x JOIN b.thing y USING (id) WHERE x *= y"), 1000);
    pg_close(pg);
}

static void many_parts(void **state) {
    (void)state;
    static const char *const tables[] = {"thing", NULL};
    struct pg *pg = two_schemas();
    struct pg_copy *copy;
    MUST(pg_copy_begin(pg, "b", tables, "", &copy, &failure));
    MUST(insert(pg, 60000, &failure));
    MUST(pg_copy_flush(copy, false, &failure)); /* enough now */
    assert_int_equal(number(pg, "SELECT count(*) FROM b.thing"), 60000);
    MUST(insert(pg, 1, &failure));
    assert_false(pg_copy_flush(copy, true, &failure)); /* there is one of this id */
    assert_int_equal(failure.kind, ERR_INTERNAL);
    pg_copy_end(copy);
    MUST(insert(pg, 3, &failure)); /* the connection is good, and runs statements again */
    assert_int_equal(number(pg, "SELECT count(*) FROM a.thing"), 3);
    pg_close(pg);
}

/* As they lie in the table, part by part. */
static void in_order(void **state) {
    (void)state;
    static const char *const tables[] = {"sale", "thing", NULL};
    struct pg *pg = two_schemas();
    struct pg_copy *copy;
    MUST(pg_script(pg, "CREATE TABLE b.sale (day int, sku text)", &failure));
    MUST(pg_copy_begin(pg, "b", tables, "", &copy, &failure));
    pg_copy_sort(copy);
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_TEXT);
    for (int i = 0; i < 100; i++) {
        pg_array_i64(&params, 0, i * 37 % 10);
        pg_array_str(&params, 1, i % 3 ? STR("b") : STR("a"));
    }
    for (int part = 0; part < 2; part++) {
        MUST(pg_exec(pg, "INSERT INTO b.sale (day, sku) SELECT * FROM UNNEST($1::int[], $2::text[])", &params, NULL,
                     &failure));
        MUST(pg_copy_flush(copy, true, &failure));
    }
    MUST(insert(pg, 10, &failure));
    MUST(pg_copy_flush(copy, true, &failure));
    pg_copy_end(copy);
    assert_int_equal(number(pg, "SELECT count(*) FROM b.thing"), 10);
    assert_int_equal(number(pg, "SELECT count(*) FROM (SELECT (day, sku) < lag((day, sku)) OVER (ORDER BY ctid) AS "
                                "falls FROM b.sale) s WHERE falls"),
                     1); /* where the second part begins */
    pg_close(pg);
}

static void bad_values(void **state) {
    (void)state;
    static const char *const tables[] = {"thing", NULL};
    struct pg *pg = two_schemas();
    struct pg_copy *copy;
    PG_PARAMS_AUTO params = {0};
    MUST(pg_copy_begin(pg, "b", tables, "", &copy, &failure));
    pg_add_array(&params, PG_TEXT);
    pg_array_str(&params, 0, STR("not-a-uuid"));
    assert_false(pg_exec(pg, "INSERT INTO a.thing (id) SELECT * FROM UNNEST($1::uuid[])", &params, NULL, &failure));
    assert_int_equal(failure.kind, ERR_INTERNAL);
    assert_false(pg_exec(pg, "INSERT INTO a.thing (none) SELECT * FROM UNNEST($1::uuid[])", &params, NULL, &failure));
    assert_int_equal(failure.kind, ERR_CONFIG);
    pg_copy_end(copy);
    pg_close(pg);
}

static void schema_alias(void **state) {
    (void)state;
    struct pg *pg = two_schemas();
    pg_alias_schema(pg, "a", "b");
    MUST(insert(pg, 5, &failure));
    struct pg *plain;
    MUST(pg_open(url, NULL, &plain, &failure));
    assert_int_equal(number(plain, "SELECT count(*) FROM a.thing"), 0);
    assert_int_equal(number(plain, "SELECT count(*) FROM b.thing"), 5);
    assert_int_equal(number(pg, "SELECT count(*) FROM a.thing AS aa JOIN a.thing ab ON aa.id = ab.id"), 5);
    pg_close(plain);
    pg_close(pg);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_rows),  cmocka_unit_test(many_parts),   cmocka_unit_test(in_order),
        cmocka_unit_test(bad_values), cmocka_unit_test(schema_alias),
    };
    if (!database_is_there())
        return TEST_SKIPPED;
    database_make(&url);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    database_drop(url);
    free(url);
    return failed;
}
