/* Where revoked sessions are kept, and the set in memory. With ORDERLOG_TEST_SESSIONS_URL in DynamoDB (tests/dynamodb
 * runs it so), else in PostgreSQL. */
#include "harness.h"

#include "api/revoked_set.h"
#include "core/aws/dynamodb.h"
#include "core/store/pg.h"
#include "tests/support/database.h"

static char *database_url; /* NULL: in DynamoDB */
static const char *store_url;

static int setup(void **state) {
    (void)state;
    logging_init(LOG_WARN);
    store_url = getenv("ORDERLOG_TEST_SESSIONS_URL");
    if (!store_url) {
        database_make(&database_url);
        store_url = database_url;
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (database_url)
        database_drop(database_url);
    free(database_url);
    return 0;
}

static int64_t now_s(void) {
    return clock_now_us() / 1000000;
}

/* ---- the store ---- */

static struct revoked_id id_like(uint8_t byte, int64_t expires_s) {
    struct revoked_id id = {.expires_s = expires_s};
    memset(id.bytes, byte, sizeof id.bytes);
    random_bytes(id.bytes + 1, sizeof id.bytes - 1);
    return id;
}

/* What a read has of this id: its end, 0: nothing. */
static int64_t expires_in(const struct revoked_list *list, const struct revoked_id *id) {
    int64_t expires_s = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (memcmp(list->items[i].bytes, id->bytes, sizeof id->bytes) != 0)
            continue;
        assert_int_equal(expires_s, 0); /* once only */
        expires_s = list->items[i].expires_s;
    }
    return expires_s;
}

static void expect_read(struct revoked_store *store, const struct revoked_id *ids, size_t count) {
    struct revoked_list list = {0};
    MUST(store->ops->read(store, &list, err));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(expires_in(&list, &ids[i]), ids[i].expires_s);
    free(list.items);
}

/* The first read has all. */
static void expect_stored(const struct revoked_id *ids, size_t count) {
    struct revoked_store *store;
    MUST(revoked_store_open(store_url, &store, err));
    expect_read(store, ids, count);
    store->ops->close(store);
}

static void what_is_added_again_changes_nothing(void **state) {
    (void)state;
    struct revoked_store *one, *other;
    int64_t end_s = now_s() + 1000;
    struct revoked_id ids[] = {id_like(1, end_s), id_like(2, end_s + 1), id_like(3, end_s + 2)};
    const struct revoked_id again[] = {ids[0], ids[0], ids[1]};
    MUST(revoked_store_open(store_url, &one, err));
    MUST(revoked_store_open(store_url, &other, err));
    MUST(one->ops->add(one, ids, 2, err));
    expect_read(other, ids, 2);
    MUST(one->ops->add(one, again, 3, err));
    MUST(other->ops->add(other, again, 3, err));
    MUST(one->ops->add(one, &ids[2], 1, err));
    expect_read(other, &ids[2], 1);
    struct revoked_id earlier = ids[0];
    earlier.expires_s -= 500;
    MUST(one->ops->add(one, &earlier, 1, err));
    expect_stored(ids, 3);
    ids[0].expires_s += 500; /* a shopper's later tokens as well */
    MUST(one->ops->add(one, &ids[0], 1, err));
    expect_read(other, &ids[0], 1);
    expect_stored(ids, 3);
    one->ops->close(one);
    other->ops->close(other);
}

static void fill(struct dynamodb *db, const char *table, int calls, int items, size_t id_len) {
    char id[1024];
    memset(id, 'x', sizeof id);
    for (int call = 0; call < calls; call++) {
        json_t *puts = json_array();
        for (int i = 0; i < items; i++) {
            snprintf(id, 9, "%08x", call * items + i);
            id[8] = 'x';
            json_array_append_new(puts, json_pack("{s:{s:{s:o, s:o, s:o, s:o}}}", "PutRequest", "Item", "kind",
                                                  dynamodb_text(STR("revoked")), "id",
                                                  dynamodb_text((struct str){id, id_len}), "revoked_us",
                                                  dynamodb_number(clock_now_us()), "expires_at",
                                                  dynamodb_number(now_s() + 1000)));
        }
        struct err why = {0};
        if (dynamodb_call(db, "BatchWriteItem", json_pack("{s:{s:o}}", "RequestItems", table, puts), NULL, &why) !=
            DYNAMODB_DONE)
            fail_msg("%s", why.detail);
    }
}

/* An answer of DynamoDB holds 1 MiB: what was revoked last comes behind ids that are as long as they may be. */
static void all_pages_are_read(void **state) {
    (void)state;
    enum { CALLS = 50, ITEMS = 25, LONG = 1000 };
    int64_t end_s = now_s() + 1000;
    const struct revoked_id ids[] = {id_like(4, end_s), id_like(5, end_s)};
    struct dynamodb *db;
    struct revoked_store *store;
    const char *table;
    if (database_url)
        skip();
    MUST(dynamodb_table_parse("table", store_url, &table, err));
    MUST(dynamodb_open(&db, err));
    MUST(revoked_store_open(store_url, &store, err));
    MUST(store->ops->add(store, &ids[0], 1, err));
    fill(db, table, CALLS, ITEMS, LONG);
    MUST(store->ops->add(store, &ids[1], 1, err));
    expect_stored(ids, 2);
    store->ops->close(store);
    dynamodb_close(db);
}

/* What has ended goes: from DynamoDB by its time to live, from PostgreSQL by who looks at it. */
static void what_has_ended_is_deleted(void **state) {
    (void)state;
    struct pg *pg;
    struct revoked_store *store;
    const struct revoked_id ids[] = {id_like(6, now_s() - 1), id_like(7, now_s() + 1000)};
    PG_RESULT_AUTO *rows = NULL;
    if (!database_url)
        skip();
    MUST(revoked_store_open(store_url, &store, err));
    MUST(store->ops->add(store, ids, 2, err));
    store->ops->close(store);
    expect_stored(&ids[1], 1);
    MUST(pg_open(database_url, NULL, &pg, err));
    MUST(pg_exec(pg, "SELECT count(*) FILTER (WHERE expires_at < now()), count(*) > 0 FROM sessions.revoked", NULL,
                 &rows, err));
    assert_int_equal(pg_get_i64(rows, 0, 0), 0);
    assert_true(pg_get_bool(rows, 0, 1));
    pg_close(pg);
}

static void a_wrong_url_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"redis://x", "dynamodb://", "dynamodb://a/b", "postgresql://x"};
    const char *url;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err err = {0};
        setenv("ORDERLOG_SESSIONS_URL", wrong[i], 1);
        assert_false(sessions_url_load("postgresql:///shop", &url, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.detail, "ORDERLOG_SESSIONS_URL"));
    }
    setenv("ORDERLOG_SESSIONS_URL", "dynamodb://sessions", 1);
    MUST(sessions_url_load("postgresql:///shop", &url, err));
    assert_string_equal(url, "dynamodb://sessions");
    unsetenv("ORDERLOG_SESSIONS_URL");
    MUST(sessions_url_load("postgresql:///shop", &url, err));
    assert_string_equal(url, "postgresql:///shop");
}

/* ---- the set ---- */

static void the_set_has_what_was_added(void **state) {
    (void)state;
    enum { COUNT = 5000 };
    struct revoked_set *set = revoked_set_new();
    struct revoked_id *ids = calloc(COUNT, sizeof *ids), other = id_like(0, now_s() + 1000);
    for (int i = 0; i < COUNT; i++)
        ids[i] = id_like((uint8_t)i, now_s() + 1000 + i);
    assert_false(revoked_set_has(set, &other));
    revoked_set_add(set, ids, COUNT);
    revoked_set_add(set, ids, COUNT);
    revoked_set_sweep(set);
    assert_int_equal(revoked_set_count(set), COUNT);
    assert_false(revoked_set_has(set, &other));
    for (int i = 0; i < COUNT; i++) {
        struct revoked_id later = ids[i], earlier = ids[i];
        later.expires_s++;
        earlier.expires_s--;
        assert_true(revoked_set_has(set, &ids[i]));
        assert_true(revoked_set_has(set, &earlier));
        assert_false(revoked_set_has(set, &later)); /* a token that was given to the shopper since */
    }
    free(ids);
    revoked_set_free(set);
}

static void the_set_forgets_what_has_ended(void **state) {
    (void)state;
    struct revoked_set *set = revoked_set_new();
    const struct revoked_id ids[] = {id_like(1, now_s() - 1), id_like(2, now_s() + 2), id_like(3, now_s() + 1000)};
    revoked_set_add(set, ids, 3);
    assert_false(revoked_set_has(set, &ids[0]));
    assert_true(revoked_set_has(set, &ids[2]));
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    for (; revoked_set_count(set) > 1; clock_sleep_ms(20)) {
        assert_true(clock_monotonic_us() < until_us);
        revoked_set_sweep(set);
    }
    assert_false(revoked_set_has(set, &ids[1]));
    assert_true(revoked_set_has(set, &ids[2]));
    revoked_set_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_again_changes_nothing), cmocka_unit_test(all_pages_are_read),
        cmocka_unit_test(what_has_ended_is_deleted),           cmocka_unit_test(a_wrong_url_is_refused),
        cmocka_unit_test(the_set_has_what_was_added),          cmocka_unit_test(the_set_forgets_what_has_ended),
    };
    if (!getenv("ORDERLOG_TEST_SESSIONS_URL") && !database_is_there())
        return TEST_SKIPPED;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    curl_global_cleanup();
    return failed;
}
