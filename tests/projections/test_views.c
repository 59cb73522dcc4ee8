/* What the API reads: from Redis, from PostgreSQL in its stead, and lists. */
#include "core/store/pg.h"
#include "core/store/redis.h"
#include "projections/redis_keys.h"
#include "projections/views.h"
#include "tests/projections/projector_test.h"
#include "tests/support/database.h"

/* Both stores are filled by their projectors; the fixture's own is PostgreSQL. */
enum { REDIS_DB = 12 };

static char *redis_url;
static struct world world;
static struct views *views;
static struct arena arena;

static void make(char **ret_url) {
    database_make(ret_url);
}

static void drop(char *url) {
    database_drop(url);
}

const struct test_store test_store = {.ops = &projector_postgres, .make = make, .drop = drop};

static void redis_flush(void) {
    static const struct str args[] = {{"FLUSHDB", 7}};
    struct redis *redis;
    struct err err = {0};
    if (!redis_open(redis_url, NULL, &redis, &err) || !redis_call(redis, args, 1, NULL, &err))
        fail_msg("%s", err.detail);
    redis_close(redis);
}

static void fill_redis(const struct view *view) {
    struct runner runner;
    runner_init(&runner, &world, view);
    runner.config.store = &projector_redis;
    runner.config.url = redis_url;
    runner_start(&runner);
    await_read_in(&projector_redis, redis_url, &world, view, NULL);
    runner_stop(&runner);
}

static int setup(void **state) {
    (void)state;
    struct err err = {0};
    arena_init(&arena);
    world_open(&world);
    story_trade(&world.story, 0, 30);
    read_all(&world, 0);
    redis_flush();
    for (size_t i = 0; i < VIEW_COUNT; i++)
        fill_redis(views_all[i]);
    if (!views_open(redis_url, world.store_url, STORY_PARTITIONS, &views, &err))
        fail_msg("%s", err.detail);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    views_close(views);
    redis_flush();
    world_close(&world);
    arena_free(&arena);
    return 0;
}

static struct str id(const char *kind, int64_t n) {
    return story_id(&world.story, kind, n);
}

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct err err = {0};                                                                                          \
        if (!(call))                                                                                                   \
            fail_msg("%s", err.detail);                                                                                \
    } while (0)

static void check_rows(struct views *from) {
    struct view_order_row *order;
    struct view_product_row *products[3];
    struct state_cart *cart;
    const struct str skus[] = {STR("SKU-2"), STR("SKU-none"), STR("SKU-1")};
    OK(views_order(from, id("order", 4), &arena, &order, &err));
    assert_int_equal(order->order.status, ORDER_STATUS_COMPLETED);
    assert_true(str_eq(order->shopper_id, id("shopper", 1)));
    OK(views_order(from, id("order", 1000), &arena, &order, &err));
    assert_null(order);
    OK(views_order(from, STR("no id at all"), &arena, &order, &err));
    assert_null(order);
    OK(views_products(from, skus, 3, &arena, products, &err));
    assert_int_equal(products[0]->product.price.minor, 202);
    assert_null(products[1]);
    assert_int_equal(products[2]->product.price.minor, 201);
    OK(views_product(from, STR("SKU-5"), &arena, &products[0], &err));
    assert_true(str_eq(products[0]->inventory.locations.items[0].location, STR("main")));
    OK(views_cart(from, id("cart", 4), &arena, &cart, &err));
    assert_int_equal(cart->lines.count, 1);
    OK(views_cart(from, id("cart", 1000), &arena, &cart, &err));
    assert_null(cart);
}

static void test_rows(void **state) {
    (void)state;
    OK(views_ping(views, &err));
    check_rows(views);
}

/* The same answers while Redis is away. */
static void test_without_redis(void **state) {
    (void)state;
    struct views *others;
    OK(views_open("unix:///nowhere/redis.sock", world.store_url, STORY_PARTITIONS, &others, &err));
    check_rows(others);
    OK(views_ping(others, &err));
    views_close(others);
}

static void redis_run(struct str verb, struct str key) {
    const struct str args[] = {verb, key};
    struct redis *redis;
    struct err err = {0};
    if (!redis_open(redis_url, NULL, &redis, &err) || !redis_call(redis, args, 2, NULL, &err))
        fail_msg("%s", err.detail);
    redis_close(redis);
}

/* Redis lost its data and is being filled again: what is missing or old there is not what is answered. */
static void test_while_redis_is_filled(void **state) {
    (void)state;
    int32_t shard = log_partition_of(id("order", 4), STORY_PARTITIONS);
    struct str row = redis_key_row(&arena, &view_orders, shard, 1, id("order", 4));
    struct str whole = redis_key_of_shard(&arena, &view_orders, shard, 0, REDIS_WHOLE);
    struct view_order_row *order;
    redis_run(STR("DEL"), row);
    OK(views_order(views, id("order", 4), &arena, &order, &err));
    assert_null(order); /* a whole shard is taken at its word */
    redis_run(STR("DEL"), whole);
    check_rows(views);
    struct views *alone;
    OK(views_open(redis_url, NULL, STORY_PARTITIONS, &alone, &err));
    OK(views_order(alone, id("order", 4), &arena, &order, &err));
    assert_null(order); /* there is nobody else to ask */
    views_close(alone);
    redis_flush();
    check_rows(views);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        fill_redis(views_all[i]);
    OK(views_open(redis_url, NULL, STORY_PARTITIONS, &alone, &err));
    check_rows(alone);
    views_close(alone);
}

static void test_without_anything(void **state) {
    (void)state;
    struct views *others;
    struct view_order_row *order;
    struct err err = {0};
    assert_true(views_open("unix:///nowhere/redis.sock", NULL, STORY_PARTITIONS, &others, &err));
    for (int i = 0; i < 2; i++) {
        assert_false(views_order(others, id("order", 4), &arena, &order, &err));
        assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    }
    assert_false(views_ping(others, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    views_close(others);
    assert_true(
        views_open("unix:///nowhere/redis.sock", "postgresql://127.0.0.1:1/x", STORY_PARTITIONS, &others, &err));
    for (int i = 0; i < 2; i++) {
        assert_false(views_order(others, id("order", 4), &arena, &order, &err));
        assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    }
    views_close(others);
    assert_false(views_open("http://x", NULL, STORY_PARTITIONS, &others, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

/* An order that only its payment spoke of is nobody's yet. */
static void test_order_not_placed_yet(void **state) {
    (void)state;
    struct view_order_row *order;
    struct story_order early = story_order_new(&world.story, 500, STORY_COMPLETED);
    story_payment(&world.story, &early, MESSAGE_PAYMENT_REQUESTED);
    story_flush(&world.story);
    fill_redis(&view_orders);
    OK(views_order(views, early.id, &arena, &order, &err));
    assert_null(order);
    story_placed(&world.story, &early);
    story_flush(&world.story);
    fill_redis(&view_orders);
    OK(views_order(views, early.id, &arena, &order, &err));
    assert_non_null(order);
    assert_int_equal(order->order.payments.count, 1);
}

static void test_product_pages(void **state) {
    (void)state;
    struct str after = STR_NULL, last = STR("");
    size_t seen = 0, pages = 0;
    do {
        struct view_product_row **rows;
        size_t count;
        OK(views_product_page(views, after, 5, &arena, &rows, &count, &after, &err));
        assert_true(count <= 5);
        for (size_t i = 0; i < count; i++) {
            assert_true(str_cmp(last, rows[i]->product.sku) < 0);
            last = rows[i]->product.sku;
        }
        seen += count;
        pages++;
    } while (after.ptr);
    assert_int_equal(seen, STORY_PRODUCTS);
    assert_int_equal(pages, 3);
}

static void test_order_pages(void **state) {
    (void)state;
    struct str after = STR_NULL;
    int64_t placed_at = INT64_MAX;
    size_t seen = 0;
    do {
        struct view_order_row **rows;
        size_t count;
        OK(views_order_page(views, id("shopper", 1), after, 4, &arena, &rows, &count, &after, &err));
        for (size_t i = 0; i < count; i++) {
            assert_true(str_eq(rows[i]->shopper_id, id("shopper", 1)));
            assert_true(rows[i]->order.placed_at < placed_at);
            placed_at = rows[i]->order.placed_at;
        }
        seen += count;
    } while (after.ptr);
    assert_int_equal(seen, 10);
}

/* A page that ends with the last row is the last; what is asked behind a stranger's order is empty. */
static void test_page_ends(void **state) {
    (void)state;
    struct view_order_row **rows;
    size_t count;
    struct str next;
    OK(views_order_page(views, id("shopper", 1), STR_NULL, 10, &arena, &rows, &count, &next, &err));
    assert_int_equal(count, 10);
    assert_null(next.ptr);
    OK(views_order_page(views, id("shopper", 1), id("order", 0), 10, &arena, &rows, &count, &next, &err));
    assert_int_equal(count, 0);
    OK(views_order_page(views, STR("x"), STR_NULL, 10, &arena, &rows, &count, &next, &err));
    assert_int_equal(count, 0);
    OK(views_order_page(views, id("shopper", 1), STR("x"), 10, &arena, &rows, &count, &next, &err));
    assert_int_equal(count, 0);
}

static void test_order_events(void **state) {
    (void)state;
    BUF_AUTO json = {0};
    struct story_order order = story_order_new(&world.story, 700, STORY_COMPLETED);
    /* One after the other: what the log takes at the same time has the same time. */
    while (story_step(&world.story, &order))
        story_flush(&world.story);
    story_flush(&world.story);
    read_all(&world, 0);
    OK(views_order_events_json(views, order.id, &json, &err));
    assert_true(str_starts_with(buf_str(&json), STR("[{\"id\":\"")));
    assert_true(str_ends_with(buf_str(&json), STR("}]")));
    const char *placed = strstr(json.ptr, "\"type\":\"shop.order.v1.OrderPlaced\"");
    const char *reserved = strstr(json.ptr, "\"type\":\"shop.reservation.v1.StockReserved\"");
    const char *completed = strstr(json.ptr, "\"type\":\"shop.order.v1.OrderCompleted\"");
    assert_true(placed && reserved && completed && placed < reserved && reserved < completed);
    size_t events = 0;
    for (const char *at = json.ptr; (at = strstr(at, "\"event\":{")); at++)
        events++;
    assert_int_equal(events, 17);
    buf_reset(&json);
    OK(views_order_events_json(views, id("order", 1000), &json, &err));
    assert_string_equal(json.ptr, "[]");
    buf_reset(&json);
    OK(views_order_events_json(views, STR("x"), &json, &err));
    assert_string_equal(json.ptr, "[]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_without_redis),
        cmocka_unit_test(test_while_redis_is_filled),
        cmocka_unit_test(test_product_pages),
        cmocka_unit_test(test_order_pages),
        cmocka_unit_test(test_page_ends),
        cmocka_unit_test(test_order_events),
        cmocka_unit_test(test_without_anything),
        cmocka_unit_test(test_order_not_placed_yet),
    };
    const char *server = getenv("ORDERLOG_TEST_REDIS_URL");
    BUF_AUTO url = {0};
    if (!database_is_there() || !server)
        return getenv("CI") ? 1 : TEST_SKIPPED;
    buf_printf(&url, strstr(server, "unix://") == server ? "%s?db=%d" : "%s/%d", server, REDIS_DB);
    redis_url = url.ptr;
    return cmocka_run_group_tests(tests, setup, teardown);
}
