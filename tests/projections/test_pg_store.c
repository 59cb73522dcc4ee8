/* The projector on PostgreSQL, and what it writes there beside rows. */
#include "tests/projections/projector_suite.h"

#include "projections/migrate.h"
#include "projections/sql/001_views.h"
#include "tests/support/database.h"

static struct pg *client(const char *url) {
    struct pg *pg;
    struct err err = {0};
    if (!pg_open(url, NULL, &pg, &err))
        fail_msg("%s", err.detail);
    return pg;
}

static void script(const char *url, const char *sql) {
    struct pg *pg = client(url);
    struct err err = {0};
    if (!pg_script(pg, sql, &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
}

/* The first column of the first row, as text; SQL of tests only, so its address need not name it. */
static int64_t number(const char *url, const char *sql) {
    struct pg *pg = client(url);
    struct pg_result *rows;
    struct err err = {0};
    if (!pg_exec(pg, sql, NULL, &rows, &err))
        fail_msg("%s: %s", sql, err.detail);
    assert_int_equal(pg_rows(rows), 1);
    int64_t value = pg_get_i64(rows, 0, 0);
    pg_result_free(rows);
    pg_close(pg);
    return value;
}

static void make(char **ret_url) {
    database_make(ret_url);
    struct pg *pg = client(*ret_url);
    struct err err = {0};
    if (!projections_migrate(pg, &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
}

static void drop(char *url) {
    database_drop(url);
}

static void wipe(const char *url) {
    script(url, "DROP SCHEMA view CASCADE");
}

static void cut(const char *url) {
    script(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()");
}

static void dump_table(struct pg *pg, struct str table, struct buf *ret) {
    struct pg_result *rows;
    struct err err = {0};
    BUF_AUTO sql = {0};
    buf_printf(&sql, "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), '') FROM view.%.*s t",
               STR_ARG(table));
    if (!pg_exec(pg, sql.ptr, NULL, &rows, &err))
        fail_msg("%s", err.detail);
    buf_printf(ret, "%.*s\n%.*s\n", STR_ARG(table), STR_ARG(pg_get_str(rows, 0, 0)));
    pg_result_free(rows);
}

/* How events fall into rows depends on how they came; what the view says of them does not. */
static struct str shown(struct str table) {
    if (str_eq(table, STR("order_goods")))
        return STR("order_lines");
    if (str_eq(table, STR("stock_records")))
        return STR("stock_ledger");
    return str_eq(table, STR("order_history")) ? STR("order_events") : table;
}

static void dump(const char *url, struct buf *ret) {
    struct pg *pg = client(url);
    struct pg_result *tables;
    struct err err = {0};
    if (!pg_exec(pg, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'view' ORDER BY 1", NULL, &tables, &err))
        fail_msg("%s", err.detail);
    assert_true(pg_rows(tables) > 10);
    for (int i = 0; i < pg_rows(tables); i++) {
        struct pg *own = client(url); /* statements are known by their address, and these are not literals */
        dump_table(own, shown(pg_get_str(tables, i, 0)), ret);
        pg_close(own);
    }
    pg_result_free(tables);
    pg_close(pg);
}

static int64_t parked(const char *url) {
    return number(url, "SELECT count(*) FROM view.parked");
}

const struct test_store test_store = {&projector_postgres, &generation_postgres, make, drop, wipe, cut, dump, parked};

/* ---- what is more than rows ---- */

static void test_tables(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    story_trade(&world.story, 0, 40); /* ten of each way */
    read_all(&world, 0);
    const char *url = world.store_url;
    assert_int_equal(number(url, "SELECT count(*) FROM view.orders"), 40);
    assert_int_equal(number(url, "SELECT count(*) FROM view.orders WHERE status = 'completed' AND total_minor = 750 "
                                 "AND confirmed_at <= completed_at AND completed_at = updated_at"),
                     10);
    assert_int_equal(number(url, "SELECT count(*) FROM view.orders WHERE status = 'rejected' AND reason = 'empty-cart' "
                                 "AND total_minor IS NULL"),
                     10);
    assert_int_equal(number(url, "SELECT sum(line_total_minor)::bigint FROM view.order_lines"), 30 * 750);
    assert_int_equal(number(url, "SELECT count(*) FROM view.payments WHERE amount_minor = 750 AND currency = 'USD'"),
                     30);
    assert_int_equal(number(url, "SELECT count(*) FROM view.shipments WHERE status = 'delivered' AND tracking = 'T-1'"),
                     10);
    assert_int_equal(number(url, "SELECT count(*) FROM view.carts WHERE status = 'checked_out'"), 40);
    assert_int_equal(number(url, "SELECT count(*) FROM view.cart_lines"), 40);
    assert_int_equal(number(url, "SELECT count(*) FROM view.products WHERE for_sale"), STORY_PRODUCTS);
    world_close(&world);
}

static void test_sales(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    story_trade(&world.story, 0, 40);
    read_all(&world, 9);
    const char *url = world.store_url;
    assert_int_equal(number(url, "SELECT sum(orders)::bigint FROM view.sales_by_hour"), 20);
    assert_int_equal(number(url, "SELECT sum(revenue_minor)::bigint FROM view.sales_by_hour"), 20 * 750);
    assert_int_equal(number(url, "SELECT sum(items)::bigint FROM view.sales_by_hour"), 20 * 3);
    assert_int_equal(number(url, "SELECT sum(cancelled_orders)::bigint FROM view.sales_by_hour"), 10);
    assert_int_equal(number(url, "SELECT sum(cancelled_minor)::bigint FROM view.sales_by_hour"), 10 * 750);
    /* Positions that are gone alone begin the sums again, and parked records with them. */
    script(url, "DELETE FROM view.positions");
    read_all(&world, 0);
    assert_int_equal(number(url, "SELECT sum(orders)::bigint FROM view.sales_by_hour"), 20);
    assert_int_equal(number(url, "SELECT count(*) FROM view.orders WHERE status = 'completed'"), 10);
    world_close(&world);
}

/* The ledger has every version, and its last one is what stock says. */
static void test_stock_ledger(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    story_trade(&world.story, 0, 24);
    read_all(&world, 0);
    const char *url = world.store_url;
    assert_int_equal(number(url, "SELECT count(*) FROM (SELECT sku, max(version) AS top, count(*) AS entries "
                                 "FROM view.stock_ledger GROUP BY location, sku) l WHERE top <> entries"),
                     0);
    assert_int_equal(number(url, "SELECT count(*) FROM view.stock s JOIN view.stock_ledger l USING (location, sku, "
                                 "version, received, held, committed, consumed, available)"),
                     STORY_PRODUCTS);
    assert_int_equal(number(url, "SELECT count(*) FROM view.stock_ledger WHERE kind = 'released' AND order_id IS NULL"),
                     0);
    assert_true(number(url, "SELECT count(*) FROM view.stock_ledger WHERE kind = 'consumed'") > 0);
    world_close(&world);
}

static void test_migration_again(void **state) {
    (void)state;
    struct world world;
    struct err err = {0};
    world_open(&world);
    story_trade(&world.story, 0, 4);
    read_all(&world, 0);
    char *before = dump_of(&world);
    script(world.store_url, "TRUNCATE view.schema_version");
    struct pg *pg = client(world.store_url);
    for (int i = 0; i < 2; i++)
        if (!projections_migrate(pg, &err))
            fail_msg("%s", err.detail);
    char *after = dump_of(&world);
    assert_dumps_equal(after, before);
    free(after);
    free(before);
    assert_int_equal(number(world.store_url, "SELECT max(version) FROM view.schema_version"), 5);
    script(world.store_url, "INSERT INTO view.schema_version VALUES (1000)");
    assert_false(projections_migrate(pg, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    pg_close(pg);
    world_close(&world);
}

/* ---- what analysts have: words, views, a role ---- */

/* Whoever reads the schema can know what it is: tables, views, and every column of theirs. */
static void test_everything_is_commented(void **state) {
    (void)state;
    char *url;
    make(&url);
    assert_int_equal(number(url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'view'::regnamespace "
                                 "AND relkind IN ('r', 'v') AND obj_description(oid) IS NULL"),
                     0);
    assert_int_equal(number(url, "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
                                 "WHERE c.relnamespace = 'view'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 "
                                 "AND col_description(c.oid, attnum) IS NULL"),
                     0);
    drop(url);
    free(url);
}

/* The views say what the tables say. */
static void test_analysts_views(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    story_trade(&world.story, 0, 40);
    read_all(&world, 0);
    const char *url = world.store_url;
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_orders"), 40);
    assert_int_equal(number(url,
                            "SELECT count(*) FROM view.v_orders WHERE status = 'completed' AND total = 7.50 "
                            "AND items = 7.50 AND lines = 2 AND units = 3 AND is_sale AND seconds_to_confirmed > 0 "
                            "AND currency = 'USD'"),
                     10);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_orders WHERE is_sale"), 10);
    assert_int_equal(number(url, "SELECT sum(net_minor)::bigint FROM view.v_sales_by_hour"), 10 * 750);
    assert_int_equal(number(url, "SELECT (sum(revenue) * 100)::bigint FROM view.v_sales_by_hour"), 20 * 750);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_lines WHERE line_total = quantity * unit_price "
                                 "AND line_total_minor = line_total * 100"),
                     60);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_payments WHERE status = 'captured' AND amount = 7.50 "
                                 "AND authorized_at <= captured_at AND order_status = 'completed'"),
                     10);
    assert_int_equal(number(url, "SELECT sum(carts)::bigint FROM view.v_conversion"), 40);
    assert_int_equal(number(url, "SELECT sum(placed)::bigint FROM view.v_conversion"), 30);
    assert_int_equal(number(url, "SELECT sum(confirmed)::bigint FROM view.v_conversion"), 20);
    assert_int_equal(number(url, "SELECT sum(revenue_minor)::bigint FROM view.v_best_sellers"), 10 * 750);
    assert_int_equal(number(url, "SELECT min(rank) FROM view.v_best_sellers"), 1);
    assert_int_equal(number(url, "SELECT count(*) FROM (SELECT sku, sum(available_change) AS changes FROM "
                                 "view.v_stock_ledger GROUP BY sku) l JOIN view.v_stock s USING (sku) "
                                 "WHERE changes = available AND name IS NOT NULL"),
                     STORY_PRODUCTS);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_order_events WHERE name = 'OrderPlaced' AND type LIKE "
                                 "'shop.order.v1.%'"),
                     30);
    world_close(&world);
}

static void test_amounts(void **state) {
    (void)state;
    char *url;
    make(&url);
    assert_int_equal(number(url, "SELECT count(*) FROM (VALUES (1999, 'USD', '19.99'), (1999, 'JPY', '1999'), "
                                 "(-1, 'EUR', '-0.01'), (1999, 'KWD', '1.999'), (0, 'USD', '0.00')) "
                                 "AS t(minor, currency, text) WHERE view.amount(minor, currency)::text = text"),
                     5);
    drop(url);
    free(url);
}

/* As the analysts' role: 1 when the statement is refused for want of a right, 0 when it succeeds. */
static bool is_refused(const char *url, const char *sql) {
    struct pg *pg = client(url);
    struct err err = {0};
    BUF_AUTO text = {0};
    buf_printf(&text, "SET ROLE orderlog_analyst; %s", sql);
    bool refused = !pg_script(pg, text.ptr, &err);
    if (refused && !strstr(err.detail, "permission denied"))
        fail_msg("%s: %s", sql, err.detail);
    pg_close(pg);
    return refused;
}

static void test_analyst_role(void **state) {
    (void)state;
    char *url;
    make(&url);
    script(url, "CREATE SCHEMA decider; CREATE TABLE decider.shard (service text)");
    static const char *const may[] = {
        "SELECT * FROM view.v_orders",    "SELECT * FROM view.v_lines",        "SELECT * FROM view.v_payments",
        "SELECT * FROM view.v_shipments", "SELECT * FROM view.v_order_events", "SELECT * FROM view.v_sales_by_hour",
        "SELECT * FROM view.v_carts",     "SELECT * FROM view.v_conversion",   "SELECT * FROM view.v_products",
        "SELECT * FROM view.v_stock",     "SELECT * FROM view.v_stock_ledger", "SELECT * FROM view.v_best_sellers",
        "SELECT * FROM view.order_lines", "SELECT * FROM view.stock_ledger",   "SELECT total_minor FROM view.orders",
        "SELECT view.amount(1, 'USD')",
    };
    static const char *const may_not[] = {
        "SELECT * FROM decider.shard",
        "SELECT tracking FROM view.shipments",
        "SELECT event FROM view.order_events",
        "SELECT order_id FROM view.order_history",
        "SELECT order_id FROM view.order_goods",
        "SELECT order_id FROM view.stock_records",
        "SELECT \"row\" FROM view.orders",
        "SELECT record FROM view.parked",
        "SELECT * FROM view.positions",
        "DELETE FROM view.orders",
        "UPDATE view.v_products SET for_sale = false",
        "INSERT INTO view.schema_version VALUES (1000)",
        "CREATE TABLE view.mine (n int)",
        "TRUNCATE view.order_goods",
    };
    for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++)
        if (is_refused(url, may[i]))
            fail_msg("refused: %s", may[i]);
    for (size_t i = 0; i < sizeof(may_not) / sizeof(may_not[0]); i++)
        if (!is_refused(url, may_not[i]))
            fail_msg("allowed: %s", may_not[i]);
    assert_int_equal(number(url, "SELECT count(*) FROM pg_roles, unnest(rolconfig) setting WHERE rolname = "
                                 "'orderlog_analyst' AND NOT rolsuper AND NOT rolcreaterole AND NOT rolcreatedb AND "
                                 "(setting = 'default_transaction_read_only=on' OR setting LIKE 'statement_timeout=%' "
                                 "OR setting = 'TimeZone=UTC' OR setting LIKE '%search_path=view')"),
                     4);
    drop(url);
    free(url);
}

/* A database that version 1 made, with rows in it. */
static void test_upgrade(void **state) {
    (void)state;
    char *url;
    struct err err = {0};
    database_make(&url);
    BUF_AUTO first = {0};
    buf_printf(
        &first,
        "CREATE SCHEMA view; SET search_path = view; %s; INSERT INTO schema_version VALUES (1); INSERT INTO orders "
        "(order_id, status, currency, items_minor, total_minor, version, \"row\") VALUES "
        "(gen_random_uuid(), 'pending', 'USD', 100, 120, 1, ''); INSERT INTO order_events SELECT order_id, 'b', 3, 7, "
        "'id', 'a.b.OrderPlaced', '2026-01-01', '{\"a\": 1}' FROM orders; INSERT INTO order_events SELECT order_id, "
        "'a', "
        "3, n, 'id', 'a.b.Later', '2026-01-02', '{}' FROM orders, generate_series(1, 2) n; INSERT INTO order_lines "
        "SELECT "
        "order_id, n, 'S' || 4 - n, 'N' || n, n, 10, 10 * n FROM orders, generate_series(1, 3) n; INSERT INTO "
        "stock_ledger SELECT 'main', 'S1', n, 'reserved', n, 11, 12, 13, 14, 15, 16, 17, order_id, 'r', 't', 3, n, "
        "'2026-01-03' FROM orders, generate_series(1, 2) n",
        sql_001_views);
    script(url, first.ptr);
    struct pg *pg = client(url);
    for (int i = 0; i < 2; i++)
        if (!projections_migrate(pg, &err))
            fail_msg("%s", err.detail);
    pg_close(pg);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_orders WHERE total = 1.20 AND lines = 3"), 1);
    assert_int_equal(number(url, "SELECT count(*) FROM view.order_history"), 1);
    assert_int_equal(number(url, "SELECT count(*) FROM view.order_events WHERE partition = 3"), 3);
    assert_int_equal(number(url, "SELECT count(*) FROM view.order_events WHERE topic = 'b' AND \"offset\" = 7 AND "
                                 "type = 'a.b.OrderPlaced' AND time = '2026-01-01' AND event->>'a' = '1'"),
                     1);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_lines WHERE sku = 'S' || 4 - line_no AND name = 'N' || "
                                 "line_no AND quantity = line_no AND unit_price_minor = 10 AND "
                                 "line_total_minor = 10 * line_no"),
                     3);
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_stock_ledger WHERE sku = 'S1' AND location = 'main' AND "
                                 "quantity = version AND kind = 'reserved' AND reason = 'r' AND order_id IS NOT NULL"),
                     2);
    assert_int_equal(number(url, "SELECT count(*) FROM view.stock_ledger WHERE (received, adjusted, restocked, held, "
                                 "committed, consumed, available) = (11, 12, 13, 14, 15, 16, 17) AND partition = 3 AND "
                                 "topic = 't' AND \"offset\" = version AND at = '2026-01-03'"),
                     2);
    assert_false(is_refused(url, "SELECT * FROM view.v_orders"));
    assert_false(is_refused(url, "SELECT * FROM view.v_lines"));
    assert_false(is_refused(url, "SELECT * FROM view.v_stock_ledger"));
    assert_false(is_refused(url, "SELECT * FROM view.v_order_events"));
    assert_int_equal(number(url, "SELECT count(*) FROM view.schema_version"), 5);
    drop(url);
    free(url);
}

/* A second generation takes the place of the first: its views read its own tables, and the first can be dropped. */
static void test_generations(void **state) {
    (void)state;
    char *url;
    struct err err = {0};
    make(&url);
    struct pg *pg = client(url);
    if (!projections_migrate_schema(pg, "view_next", &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
    script(url, "INSERT INTO view_next.products (sku, for_sale, available, \"row\") VALUES ('new', true, 1, '')");
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_products"), 0);
    script(url, "BEGIN; ALTER SCHEMA view RENAME TO view_before; ALTER SCHEMA view_next RENAME TO view; COMMIT; "
                "DROP SCHEMA view_before CASCADE");
    assert_int_equal(number(url, "SELECT count(*) FROM view.v_products WHERE sku = 'new'"), 1);
    assert_false(is_refused(url, "SELECT * FROM view.v_products"));
    pg = client(url);
    if (!projections_migrate(pg, &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
    drop(url);
    free(url);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PROJECTOR_TESTS,
        REBUILD_TESTS,
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_sales),
        cmocka_unit_test(test_stock_ledger),
        cmocka_unit_test(test_migration_again),
        cmocka_unit_test(test_everything_is_commented),
        cmocka_unit_test(test_analysts_views),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_analyst_role),
        cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_generations),
    };
    if (!database_is_there())
        return TEST_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
