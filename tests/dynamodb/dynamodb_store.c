/* The projector on DynamoDB: the suite of all stores, in a table of its own for each test; test_dynamodb.sh says where.
 */
/* A rebuild is a new table here: its tests are for the other stores. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/projections/projector_suite.h"

#include "core/store/redis.h"
#include "projections/dynamodb_items.h"
#include "projections/views.h"
#include "projections/views_dynamodb.h"
#include "tests/support/database.h"

enum { REDIS_DB = 7 };

static struct dynamodb *client(void) {
    struct dynamodb *db;
    struct err err = {0};
    if (!dynamodb_open(&db, &err))
        fail_msg("%s", err.detail);
    return db;
}

static json_t *ask(const char *operation, json_t *request) {
    struct dynamodb *db = client();
    struct err err = {0};
    json_t *answer = NULL;
    if (dynamodb_call(db, operation, request, &answer, &err) != DYNAMODB_DONE)
        fail_msg("%s", err.detail);
    dynamodb_close(db);
    return answer;
}

static const char *table_of(const char *url) {
    const char *table;
    struct err err = {0};
    if (!dynamodb_table_parse("url", url, &table, &err))
        fail_msg("%s", err.detail);
    return table;
}

/* As infra/aws/data.yaml makes it. */
static void table_make(const char *url) {
    json_decref(
        ask("CreateTable", json_pack("{s:s, s:s, s:[{s:s, s:s}], s:[{s:s, s:s}]}", "TableName", table_of(url),
                                     "BillingMode", "PAY_PER_REQUEST", "AttributeDefinitions", "AttributeName", ITEM_ID,
                                     "AttributeType", "S", "KeySchema", "AttributeName", ITEM_ID, "KeyType", "HASH")));
}

static void drop(char *url) {
    json_decref(ask("DeleteTable", json_pack("{s:s}", "TableName", table_of(url))));
}

static void wipe(const char *url) {
    drop((char *)(uintptr_t)url);
    table_make(url);
}

static void make(char **ret_url) {
    struct id name = id_random();
    BUF_AUTO url = {0};
    buf_printf(&url, "dynamodb://test.%s", name.text);
    *ret_url = mem_strdup(buf_str(&url));
    table_make(*ret_url);
}

static void cut(const char *url) {
    (void)url; /* a connection is a request's */
}

/* ---- all that is in a table ---- */

static json_t *items_of(const char *url) {
    json_t *items = json_array(), *from = NULL;
    do {
        json_t *request = json_pack("{s:s, s:b}", "TableName", table_of(url), "ConsistentRead", 1);
        if (from)
            json_object_set_new(request, "ExclusiveStartKey", from);
        json_t *answer = ask("Scan", request);
        json_array_extend(items, json_object_get(answer, "Items"));
        from = json_incref(json_object_get(answer, "LastEvaluatedKey"));
        json_decref(answer);
    } while (from);
    return items;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump(const char *url, struct buf *ret) {
    json_t *items = items_of(url);
    size_t count = json_array_size(items);
    char **lines = mem_alloc((count + 1) * sizeof(*lines));
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(items, i);
        BUF_AUTO line = {0};
        char *text = json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS);
        buf_printf(&line, "%s %s\n", dynamodb_get_text(item, ITEM_ID).ptr, text);
        lines[i] = mem_strdup(buf_str(&line));
        free(text);
    }
    qsort(lines, count, sizeof(*lines), by_text);
    for (size_t i = 0; i < count; i++) {
        buf_add_str(ret, str_from(lines[i]));
        free(lines[i]);
    }
    free(lines);
    json_decref(items);
}

static int64_t parked(const char *url) {
    json_t *items = items_of(url), *item;
    int64_t count = 0;
    size_t i;
    json_array_foreach(items, i, item) {
        struct str id = dynamodb_get_text(item, ITEM_ID);
        count += memmem(id.ptr, id.len, ":parked:", 8) != NULL;
    }
    json_decref(items);
    return count;
}

const struct test_store test_store = {&projector_dynamodb, NULL, make, drop, wipe, cut, dump, parked};

/* ---- beyond the suite ---- */

static void redis_rows_read(struct world *world, const char *url) {
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        struct runner runner;
        runner_init(&runner, world, views_all[i]);
        runner.config.store = &projector_redis;
        runner.config.url = url;
        runner_start(&runner);
        await_read_in(&projector_redis, url, world, views_all[i], NULL);
        runner_stop(&runner);
    }
}

static const struct redisReply *call(struct redis *redis, const struct str *args, size_t count) {
    const struct redisReply *reply;
    struct err err = {0};
    if (!redis_call(redis, args, count, &reply, &err))
        fail_msg("%s", err.detail);
    return reply;
}

/* Every row, byte for byte, under the same name. */
static void test_rows_are_those_of_redis(void **state) {
    (void)state;
    struct world world;
    BUF_AUTO url = {0};
    const char *server = getenv("ORDERLOG_TEST_REDIS_URL");
    world_open(&world);
    story_trade(&world.story, 0, 150);
    read_all(&world, 0);
    buf_printf(&url, strstr(server, "unix://") == server ? "%s?db=%d" : "%s/%d", server, REDIS_DB);
    struct redis *redis;
    struct err err = {0};
    assert_true(redis_open(url.ptr, NULL, &redis, &err));
    call(redis, (const struct str[]){STR("FLUSHDB")}, 1);
    redis_rows_read(&world, url.ptr);
    json_t *items = items_of(world.store_url), *item;
    size_t i, rows = 0, shards = 0;
    json_array_foreach(items, i, item) {
        BUF_AUTO bytes = {0};
        struct str id = dynamodb_get_text(item, ITEM_ID);
        if (!dynamodb_get_bytes(item, ITEM_ROW, &bytes)) {
            shards++;
            continue;
        }
        rows++;
        struct str held = redis_text(call(redis, (const struct str[]){STR("GET"), id}, 2));
        if (!str_eq(held, buf_str(&bytes)))
            fail_msg("%.*s is not what Redis holds", STR_ARG(id));
    }
    size_t keys = 0;
    const struct redisReply *all = call(redis, (const struct str[]){STR("KEYS"), STR("*")}, 2);
    for (size_t k = 0; k < redis_count(all); k++) {
        struct str name = redis_text(redis_item(all, k));
        keys += !memmem(name.ptr, name.len, ":pos:", 5) && !memmem(name.ptr, name.len, ":whole:", 7);
    }
    assert_true(rows > 300);
    assert_int_equal(rows, keys);
    assert_true(shards > STORY_PARTITIONS); /* one that got no record has none */
    call(redis, (const struct str[]){STR("FLUSHDB")}, 1);
    redis_close(redis);
    json_decref(items);
    world_close(&world);
}

/* More rows than one transaction takes: 12 SKUs each in records of as many shards; a crash after the first of several
 * transactions leaves rows that are ahead. */
static void test_rows_ahead_come_to_the_same(void **state) {
    (void)state;
    struct world world;
    world_open(&world);
    story_trade(&world.story, 0, 60);
    char *expected = expected_of(&world);
    struct runner runner;
    runner_init(&runner, &world, &view_recommendations);
    runner_start(&runner);
    await_read(&world, &view_recommendations);
    runner_stop(&runner);
    /* The positions are lost, and the rows are not. */
    for (int32_t shard = 0; shard < STORY_PARTITIONS; shard++) {
        char id[64];
        snprintf(id, sizeof id, "{p%d}:pos:view-recommendations", shard);
        json_decref(ask("DeleteItem", json_pack("{s:s, s:{s:{s:s}}}", "TableName", table_of(world.store_url), "Key",
                                                ITEM_ID, "S", id)));
    }
    read_all(&world, 7);
    assert_read_as(&world, expected);
    world_close(&world);
}

static void test_other_positions_refuse_all_transactions(void **state) {
    (void)state;
    enum { ROWS = 150 };
    struct world world;
    struct arena arena;
    struct projector_store *store;
    struct err err = {0};
    arena_init(&arena);
    world_open(&world);
    assert_true(projector_dynamodb.open(world.store_url, &view_recommendations, &store, &err));
    struct view_row rows[ROWS], *changed[ROWS];
    for (int i = 0; i < ROWS; i++) {
        struct view_recommendation_row *value = arena_new(&arena, struct view_recommendation_row);
        *value = (struct view_recommendation_row){.sku = arena_printf(&arena, "S%d", i), .orders = 1};
        rows[i] = (struct view_row){.key = recommendation_key(&arena, 0, value->sku), .value = value, .changed = 1};
        changed[i] = &rows[i];
    }
    struct shard_save save = {.positions = STR("here"), .rows = changed, .row_count = ROWS, .whole = true};
    assert_true(projector_dynamodb.save(store, &save, 1, &arena, &err));
    assert_false(save.conflict);
    char *before = dump_of(&world);
    for (int i = 0; i < ROWS; i++)
        ((struct view_recommendation_row *)rows[i].value)->orders = 7;
    const struct str expected[] = {STR_NULL, STR("there")};
    for (size_t i = 0; i < 2; i++) {
        save = (struct shard_save){.expected = expected[i], .positions = STR("on"), .rows = changed, .row_count = ROWS};
        assert_true(projector_dynamodb.save(store, &save, 1, &arena, &err));
        assert_true(save.conflict);
    }
    char *after = dump_of(&world);
    assert_dumps_equal(after, before);
    free(after);
    free(before);
    save = (struct shard_save){.expected = STR("here"), .positions = STR("on"), .rows = changed, .row_count = ROWS};
    assert_true(projector_dynamodb.save(store, &save, 1, &arena, &err));
    assert_false(save.conflict);
    projector_dynamodb.close(store);
    arena_free(&arena);
    world_close(&world);
}

/* What the API reads: rows there are, rows there are none, and PostgreSQL's in their stead nowhere. */
static void test_views_read_it(void **state) {
    (void)state;
    struct world world;
    struct arena arena;
    struct views *views;
    struct err err = {0};
    arena_init(&arena);
    world_open(&world);
    story_trade(&world.story, 0, 8);
    read_all(&world, 0);
    assert_true(views_open(getenv("ORDERLOG_TEST_REDIS_URL"), NULL, STORY_PARTITIONS, &views, &err));
    assert_true(views_move(views, world.store_url, &err));
    struct state_cart *cart;
    if (!views_cart(views, story_id(&world.story, "cart", 0), &arena, &cart, &err))
        fail_msg("%s", err.detail);
    assert_non_null(cart);
    assert_int_equal(cart->status, STATE_CART_STATUS_CHECKED_OUT);
    assert_true(views_cart(views, story_id(&world.story, "nothing", 0), &arena, &cart, &err));
    assert_null(cart);
    const struct view_product_row *product = row_of(&world, &view_products, STR("SKU-3"), &arena);
    /* As when two callers wait for one cart: DynamoDB itself refuses a question that names an item twice. */
    const struct str twice[] = {story_id(&world.story, "cart", 1), story_id(&world.story, "cart", 1)};
    void *rows[2];
    bool hot;
    if (!views_rows(views, &view_carts, twice, 2, &arena, rows, &hot, &err))
        fail_msg("%s", err.detail);
    assert_true(rows[0] && rows[1]);
    struct view_partner *partners;
    size_t count = 0, all = 0;
    for (int i = 0; i < STORY_PRODUCTS; i++, all += count)
        assert_true(
            views_recommendations(views, arena_printf(&arena, "SKU-%d", i), 5, &arena, &partners, &count, &err));
    assert_true(all > 0);
    assert_non_null(product);
    views_close(views);
    arena_free(&arena);
    world_close(&world);
}

static void test_wrong_credentials_are_told(void **state) {
    (void)state;
    struct world world;
    struct arena arena;
    struct projector_store *store;
    struct shard_held held = {0};
    struct err err = {0};
    arena_init(&arena);
    world_open(&world);
    char *id = mem_strdup(str_from(getenv("AWS_ACCESS_KEY_ID")));
    setenv("AWS_ACCESS_KEY_ID", "no-such-key!", 1);
    assert_true(projector_dynamodb.open(world.store_url, &view_carts, &store, &err));
    assert_false(projector_dynamodb.load(store, 0, &arena, &held, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "UnrecognizedClientException"));
    assert_non_null(strstr(err.detail, table_of(world.store_url)));
    projector_dynamodb.close(store);
    setenv("AWS_ACCESS_KEY_ID", id, 1);
    free(id);
    arena_free(&arena);
    world_close(&world);
}

static void test_urls(void **state) {
    (void)state;
    static const char *const wrong[] = {"redis://x", "dynamodb://", "dynamodb://a/b", "dynamodb:/a"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *url;
        struct err err = {0};
        setenv("ORDERLOG_VIEWS_URL", wrong[i], 1);
        assert_false(views_url_load(&url, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.detail, "ORDERLOG_VIEWS_URL"));
    }
    unsetenv("ORDERLOG_VIEWS_URL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_restart_midway),
        cmocka_unit_test(test_rebuild_is_equal),
        cmocka_unit_test(test_wipe_while_running),
        cmocka_unit_test(test_lost_answers),
        cmocka_unit_test(test_kill_around_saves),
        cmocka_unit_test(test_zombie_is_refused),
        cmocka_unit_test(test_duplicates_are_dropped),
        cmocka_unit_test(test_poison_parks_its_subject),
        cmocka_unit_test(test_rows_are_those_of_redis),
        cmocka_unit_test(test_rows_ahead_come_to_the_same),
        cmocka_unit_test(test_other_positions_refuse_all_transactions),
        cmocka_unit_test(test_views_read_it),
        cmocka_unit_test(test_wrong_credentials_are_told),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
