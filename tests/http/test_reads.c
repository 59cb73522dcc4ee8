/* Reads, on views that this program plays itself: it defines all of projections/views.h, so that the linker takes these
 * and not the real ones (test_views asks those). */
#include "raw.h"

#include "projections/views.h"

#include <stdatomic.h>

#define SKU_A "TEA 1"

/* ---- the views ---- */

struct views {
    int unused;
};

static struct {
    _Atomic enum err_kind failure; /* of all of them; ERR_NONE: none */
    _Atomic enum err_kind lists_failure;
    atomic_int opened, asked;
    struct view_order_row *order;
    struct state_cart *cart;
    struct view_product_row products[3];
    struct view_partner partners[4];
    size_t partner_count;
    const char *events;
    struct str after; /* as it was asked for */
    int32_t limit;
    struct str next;
} stub;

bool views_open(const char *redis_url, const char *database_url, int32_t partitions, struct views **ret,
                struct err *err) {
    (void)err;
    assert_string_equal(redis_url, "redis://stub");
    assert_string_equal(database_url, "postgresql://stub");
    assert_int_equal(partitions, PARTITIONS);
    *ret = calloc(1, sizeof **ret);
    stub.opened++;
    return true;
}

bool views_move(struct views *views, const char *dynamodb_url, struct err *err) {
    (void)views, (void)err;
    assert_null(dynamodb_url);
    return true;
}

void views_share(struct views *views, atomic_int_least64_t *away_until_us) {
    (void)views, (void)away_until_us;
}

void views_close(struct views *views) {
    if (views)
        stub.opened--;
    free(views);
}

static bool answers(struct err *err, enum err_kind failure) {
    stub.asked++;
    return failure == ERR_NONE || err_set(err, failure, "host=10.1.2.3 is gone");
}

bool views_ping(struct views *views, struct err *err) {
    (void)views;
    enum err_kind failure = stub.failure;
    return failure == ERR_NONE || err_set(err, failure, "host=10.1.2.3 is gone");
}

bool views_order(struct views *views, struct str order_id, struct arena *arena, struct view_order_row **ret,
                 struct err *err) {
    (void)views, (void)arena;
    *ret = stub.order && str_eq(stub.order->order.order_id, order_id) ? stub.order : NULL;
    return answers(err, stub.failure);
}

static struct view_product_row *product_find(struct str sku) {
    for (size_t i = 0; i < 3; i++)
        if (str_eq(stub.products[i].product.sku, sku))
            return &stub.products[i];
    return NULL;
}

bool views_product(struct views *views, struct str sku, struct arena *arena, struct view_product_row **ret,
                   struct err *err) {
    (void)views, (void)arena;
    *ret = product_find(sku);
    return answers(err, stub.failure);
}

bool views_products(struct views *views, const struct str *skus, size_t count, struct arena *arena,
                    struct view_product_row **ret, struct err *err) {
    (void)views, (void)arena;
    for (size_t i = 0; i < count; i++)
        ret[i] = product_find(skus[i]);
    return answers(err, stub.failure);
}

bool views_recommendations(struct views *views, struct str sku, size_t limit, struct arena *arena,
                           struct view_partner **ret, size_t *ret_count, struct err *err) {
    (void)views, (void)sku;
    *ret = arena_array(arena, struct view_partner, stub.partner_count);
    *ret_count = stub.partner_count < limit ? stub.partner_count : limit;
    for (size_t i = 0; i < *ret_count; i++)
        (*ret)[i] = stub.partners[i];
    return answers(err, stub.failure);
}

bool views_cart(struct views *views, struct str cart_id, struct arena *arena, struct state_cart **ret,
                struct err *err) {
    (void)views, (void)arena;
    *ret = stub.cart && str_eq(stub.cart->cart_id, cart_id) ? stub.cart : NULL;
    return answers(err, stub.failure);
}

/* Only orders are asked for in this way. */
bool views_rows(struct views *views, const struct view *view, const struct str *keys, size_t count, struct arena *arena,
                void **ret, bool *ret_hot, struct err *err) {
    (void)views, (void)arena;
    for (size_t i = 0; i < count; i++)
        ret[i] = view == &view_orders && stub.order && str_eq(stub.order->order.order_id, keys[i]) ? stub.order : NULL;
    *ret_hot = false;
    return answers(err, stub.failure);
}

bool views_product_page(struct views *views, struct str after, int32_t limit, struct arena *arena,
                        struct view_product_row ***ret, size_t *ret_count, struct str *ret_next, struct err *err) {
    (void)views;
    *ret = arena_array(arena, struct view_product_row *, 3);
    for (size_t i = 0; i < 3; i++)
        (*ret)[i] = &stub.products[i];
    *ret_count = 3;
    *ret_next = stub.next;
    stub.after = after.ptr ? str_from(mem_strdup(after)) : STR_NULL;
    stub.limit = limit;
    return answers(err, stub.lists_failure);
}

bool views_order_page(struct views *views, struct str shopper_id, struct str after, int32_t limit, struct arena *arena,
                      struct view_order_row ***ret, size_t *ret_count, struct str *ret_next, struct err *err) {
    (void)views, (void)after;
    *ret = arena_array(arena, struct view_order_row *, 1);
    (*ret)[0] = stub.order;
    *ret_count = stub.order && str_eq(stub.order->shopper_id, shopper_id);
    *ret_next = STR_NULL;
    stub.limit = limit;
    return answers(err, stub.lists_failure);
}

bool views_order_events_json(struct views *views, struct str order_id, struct buf *ret, struct err *err) {
    (void)views, (void)order_id;
    buf_add_str(ret, str_from(stub.events));
    return answers(err, stub.lists_failure);
}

/* ---- what they hold ---- */

static struct money usd(int64_t minor) {
    return (struct money){minor, STR("USD")};
}

static struct view_product_row product_row(struct str sku, struct str name, int64_t minor, bool for_sale) {
    static struct view_stock_level level = {
        .location = {"main", 4}, .version = 7, .received = 10, .held = 2, .available = 8};
    return (struct view_product_row){
        .product = {.sku = sku, .name = name, .price = usd(minor), .available = 8, .revision = 3},
        .for_sale = for_sale,
        .inventory = {.sku = sku, .locations = {&level, 1}}};
}

static int setup(void **state) {
    struct server *s = server_new();
    memset(&stub, 0, sizeof stub);
    stub.products[0] = product_row(STR(SKU_A), STR("Tea \"green\""), 350, true);
    stub.products[1] = product_row(STR("GONE"), STR("Gone"), 100, false);
    stub.products[2] = product_row(STR("ZEN"), STR("Zen"), 1000, true);
    stub.events = "[]";
    s->config.redis_url = "redis://stub";
    s->config.database_url = "postgresql://stub";
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    assert_int_equal(stub.opened, 0);
    return 0;
}

static struct reply get(struct server *s, const char *path, const char *token) {
    return ask(s, "GET", path, token, NULL, NULL);
}

/* Members in any order. */
static void expect_body(struct reply reply, const char *want) {
    json_t *wanted = json_loads(want, 0, NULL);
    expect_status(reply, 200);
    assert_non_null(wanted);
    if (!json_equal(reply.json, wanted))
        fail_msg("%s\ninstead of\n%s", reply.body.ptr, want);
    json_decref(wanted);
}

#define TEA                                                                                                            \
    "{\"sku\":\"TEA 1\",\"name\":\"Tea \\\"green\\\"\",\"price\":{\"minor\":350,\"currency\":\"USD\"},"                \
    "\"available\":8,\"revision\":3}"
#define ZEN                                                                                                            \
    "{\"sku\":\"ZEN\",\"name\":\"Zen\",\"price\":{\"minor\":1000,\"currency\":\"USD\"},\"available\":8,\"revision\":"  \
    "3}"

static void a_product_is_shown_when_it_is_for_sale(void **state) {
    struct server *s = *state;
    expect_body(get(s, "/v1/products/TEA%201", NULL), TEA);
    const char *missing[] = {"/v1/products/GONE", "/v1/products/NONE"};
    for (size_t i = 0; i < 2; i++) {
        struct reply reply = get(s, missing[i], NULL);
        expect_problem(s, reply, 404, "not-found", NULL);
        assert_string_equal(reply_header(s, reply, "Retry-After"), "");
    }
}

static void what_was_bought_together_is_shown_while_it_is_for_sale(void **state) {
    struct server *s = *state;
    stub.partners[0] = (struct view_partner){STR("GONE"), 9};
    stub.partners[1] = (struct view_partner){STR("ZEN"), 7};
    stub.partners[2] = (struct view_partner){STR("NONE"), 5};
    stub.partners[3] = (struct view_partner){STR(SKU_A), 2};
    expect_body(get(s, "/v1/products/ZEN/recommendations", NULL), "{\"sku\":\"ZEN\",\"items\":[]}");
    stub.partner_count = 4;
    expect_body(get(s, "/v1/products/ZEN/recommendations", NULL),
                "{\"sku\":\"ZEN\",\"items\":[{\"orders\":7,\"product\":" ZEN "},{\"orders\":2,\"product\":" TEA "}]}");
    expect_body(get(s, "/v1/products/TEA%201/recommendations?limit=1", NULL),
                "{\"sku\":\"TEA 1\",\"items\":[{\"orders\":7,\"product\":" ZEN "}]}");
    expect_problem(s, get(s, "/v1/products/GONE/recommendations", NULL), 404, "not-found", NULL);
    expect_problem(s, get(s, "/v1/products/NONE/recommendations", NULL), 404, "not-found", NULL);
    expect_problem(s, get(s, "/v1/products/ZEN/recommendations?limit=0", NULL), 400, "invalid-body", NULL);
}

static void products_come_in_pages(void **state) {
    struct server *s = *state;
    expect_body(get(s, "/v1/products", NULL), "{\"items\":[" TEA "," ZEN "]}");
    assert_int_equal(stub.limit, 20);
    assert_null(stub.after.ptr);
    stub.next = STR("ZEN");
    expect_body(get(s, "/v1/products?limit=3&after=a+b%2B", NULL), "{\"items\":[" TEA "," ZEN "],\"next\":\"ZEN\"}");
    assert_int_equal(stub.limit, 3);
    assert_string_equal(stub.after.ptr, "a b+");
    free((void *)(uintptr_t)stub.after.ptr);
}

static void stock_is_shown_to_operators(void **state) {
    struct server *s = *state;
    expect_body(get(s, "/v1/inventory/GONE", OPERATOR),
                "{\"sku\":\"GONE\",\"locations\":[{\"location\":\"main\",\"version\":7,\"received\":10,\"adjusted\":0,"
                "\"restocked\":0,\"held\":2,\"committed\":0,\"consumed\":0,\"available\":8}]}");
    struct reply reply = get(s, "/v1/inventory/NONE", OPERATOR);
    expect_problem(s, reply, 404, "not-found", NULL);
}

#define LINE(sku, name, quantity, price, total)                                                                        \
    "{\"sku\":\"" sku "\",\"name\":\"" name "\",\"quantity\":" quantity ",\"unit_price\":{\"minor\":" price            \
    ",\"currency\":\"USD\"},\"line_total\":{\"minor\":" total ",\"currency\":\"USD\"}}"
#define TOTALS(items, total)                                                                                           \
    "\"totals\":{\"items\":{\"minor\":" items                                                                          \
    ",\"currency\":\"USD\"},\"discount\":{\"minor\":0,\"currency\":\"USD\"},"                                          \
    "\"shipping\":{\"minor\":0,\"currency\":\"USD\"},\"tax\":{\"minor\":0,\"currency\":\"USD\"},\"total\":{"           \
    "\"minor\":" total ",\"currency\":\"USD\"}}"

static void a_cart_is_joined_with_the_catalogue(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "cart");
    const char *path = format(s, "/v1/carts/%s", cart_id);
    struct quantity lines[] = {{STR(SKU_A), 3}, {STR("GONE"), 2}, {STR("ZEN"), 1}};
    struct state_cart cart = {
        .cart_id = str_from(cart_id), .currency = STR("USD"), .lines = {lines, 3}, .status = STATE_CART_STATUS_OPEN};
    struct reply reply = get(s, path, s->shopper);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");

    stub.cart = &cart; /* spoken of, but not created */
    reply = get(s, path, s->shopper);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");

    cart.shopper_id = str_from(s->shopper_id);
#define LINES                                                                                                          \
    "\"lines\":[" LINE("TEA 1", "Tea \\\"green\\\"", "3", "350", "1050") "," LINE(                                     \
        "GONE", "GONE", "2", "0", "0") "," LINE("ZEN", "Zen", "1", "1000", "1000") "]," TOTALS("2050", "2050")
    expect_body(get(s, path, s->shopper), format(s, "{\"cart_id\":\"%s\",\"status\":\"open\"," LINES "}", cart_id));

    cart.status = STATE_CART_STATUS_CHECKED_OUT;
    cart.live_order_id = STR("01a20442-25b9-75d7-9ff7-4f285feb026e");
    expect_body(get(s, path, s->shopper),
                format(s, "{\"cart_id\":\"%s\",\"status\":\"checked_out\",\"order_id\":\"%.*s\"," LINES "}", cart_id,
                       STR_ARG(cart.live_order_id)));

    cart.lines.count = 0;
    cart.live_order_id = STR_NULL;
    expect_body(
        get(s, path, s->shopper),
        format(s, "{\"cart_id\":\"%s\",\"status\":\"checked_out\",\"lines\":[]," TOTALS("0", "0") "}", cart_id));

    cart.shopper_id = STR("01a20442-25b9-75d7-9ff7-000000000000"); /* the record says somebody else */
    reply = get(s, path, s->shopper);
    expect_problem(s, reply, 404, "not-found", NULL);
}

static const char *order_of_mine(struct server *s, struct view_order_row *row) {
    const struct str parts[] = {STR("order")};
    struct id id = id_owned_derive(str_from(s->shopper_id), parts, 1, &s->config.id_secrets);
    *row = (struct view_order_row){.shopper_id = str_from(s->shopper_id),
                                   .order = {.order_id = arena_dup(&s->arena, id_str(&id)),
                                             .status = ORDER_STATUS_PENDING,
                                             .placed_at = 1700000000000000,
                                             .updated_at = 1700000001500000,
                                             .version = 2}};
    return row->order.order_id.ptr;
}

#define ORDER                                                                                                          \
    "{\"order_id\":\"%s\",\"status\":\"pending\",\"placed_at\":\"2023-11-14T22:13:20Z\","                              \
    "\"updated_at\":\"2023-11-14T22:13:21.500000Z\",\"version\":2,\"errors\":[],\"lines\":[],\"payments\":[],"         \
    "\"shipments\":[]}"

static void an_order_is_shown_to_its_shopper_and_operators(void **state) {
    struct server *s = *state;
    struct view_order_row row;
    const char *order_id = order_of_mine(s, &row), *path = format(s, "/v1/orders/%s", order_id);
    struct reply reply = get(s, path, s->shopper);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    stub.order = &row;
    expect_body(get(s, path, s->shopper), format(s, ORDER, order_id));
    expect_body(get(s, path, OPERATOR), format(s, ORDER, order_id));
    expect_body(get(s, "/v1/orders", s->shopper), format(s, "{\"items\":[" ORDER "]}", order_id));
    expect_body(get(s, format(s, "/v1/orders?shopper_id=%s", s->shopper_id), s->shopper),
                format(s, "{\"items\":[" ORDER "]}", order_id));
    expect_body(get(s, format(s, "/v1/orders?shopper_id=%s&limit=100", s->shopper_id), OPERATOR),
                format(s, "{\"items\":[" ORDER "]}", order_id));
    assert_int_equal(stub.limit, 100);
    row.shopper_id = STR("01a20442-25b9-75d7-9ff7-000000000000"); /* the record says somebody else */
    reply = get(s, path, s->shopper);
    expect_problem(s, reply, 404, "not-found", NULL);
}

static void an_order_has_a_history(void **state) {
    struct server *s = *state;
    struct view_order_row row;
    const char *path = format(s, "/v1/orders/%s/events", order_of_mine(s, &row));
    struct reply reply = get(s, path, s->shopper);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    stub.events = "[{\"id\":\"1\"}]";
    expect_body(get(s, path, s->shopper), "{\"items\":[{\"id\":\"1\"}]}");
    expect_body(get(s, path, OPERATOR), "{\"items\":[{\"id\":\"1\"}]}");
}

static void await_status(struct server *s, const char *path, long status) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    for (;;) {
        struct reply reply = get(s, path, OPERATOR);
        long got = reply.status;
        if (got == status)
            return;
        assert_true(clock_monotonic_us() < until_us);
        clock_sleep_ms(10);
    }
}

/* One failure is enough for the others not to be tried; and what failed is not told. */
static void views_that_are_away_hold_nobody(void **state) {
    struct server *s = *state;
    stub.failure = ERR_STORE_UNAVAILABLE;
    await_status(s, "/v1/products/ZEN", 503);
    int asked = stub.asked;
    for (int i = 0; i < 20; i++) {
        struct reply reply = get(s, "/v1/products/ZEN", NULL);
        expect_problem(s, reply, 503, "store-unavailable", NULL);
        assert_string_equal(reply_header(s, reply, "Retry-After"), "2");
        assert_null(strstr(reply.body.ptr, "10.1.2.3"));
    }
    assert_int_equal(stub.asked, asked);
    cart_new(s, "meanwhile"); /* writes go on */
    struct reply reply = get(s, "/readyz?verbose=json", NULL);
    expect_body(reply, "{\"status\":\"ready\",\"checks\":[{\"name\":\"serving\",\"state\":\"ok\"},"
                       "{\"name\":\"log\",\"state\":\"ok\"},{\"name\":\"roles\",\"state\":\"ok\"},"
                       "{\"name\":\"views\",\"state\":\"warning\",\"detail\":\"neither Redis nor PostgreSQL answers\"},"
                       "{\"name\":\"lists\",\"state\":\"ok\"}]}");
    expect_status(get(s, "/v1/products", NULL), 200); /* the lists are elsewhere */
    stub.failure = ERR_NONE;
    await_status(s, "/v1/products/ZEN", 200);

    stub.lists_failure = ERR_STORE_UNAVAILABLE;
    await_status(s, "/v1/products", 503);
    expect_status(get(s, "/v1/products/ZEN", NULL), 200);
    stub.lists_failure = ERR_NONE;
    await_status(s, "/v1/products", 200);
}

/* As before the very first projector has made them. */
static void tables_that_are_not_there_yet(void **state) {
    struct server *s = *state;
    stub.lists_failure = ERR_CONFIG;
    struct reply reply = get(s, "/v1/products", NULL);
    expect_problem(s, reply, 503, "store-unavailable", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "2");
    stub.lists_failure = ERR_NONE;
    await_status(s, "/v1/products", 200);
}

static void other_failures_are_ours(void **state) {
    struct server *s = *state;
    stub.failure = ERR_CORRUPT;
    struct reply reply = get(s, "/v1/products/ZEN", NULL);
    expect_problem(s, reply, 500, "corrupt", NULL);
    assert_null(strstr(reply.body.ptr, "10.1.2.3"));
    stub.failure = ERR_NONE;
    expect_status(get(s, "/v1/products/ZEN", NULL), 200);
}

static void a_row_that_cannot_be_read_ends_its_stream(void **state) {
    struct server *s = *state;
    struct view_order_row row;
    const char *path = format(s, "/v1/orders/%s/stream", order_of_mine(s, &row));
    stub.failure = ERR_CORRUPT;
    struct reply reply = get(s, path, s->shopper);
    expect_problem(s, reply, 500, "corrupt", NULL);
    stub.failure = ERR_STORE_UNAVAILABLE;
    s->config.stream_absent_ms = 50;
    api_stop(s->api);
    MUST(api_start(&s->config, s->log, &s->api, err));
    reply = get(s, path, s->shopper);
    expect_problem(s, reply, 503, "store-unavailable", NULL);
    stub.failure = ERR_NONE;
}

static void without_views_there_are_no_reads(void **state) {
    struct server *s = *state;
    api_stop(s->api);
    s->config.redis_url = NULL;
    MUST(api_start(&s->config, s->log, &s->api, err));
    const char *paths[] = {"/v1/products", "/v1/products/ZEN", "/v1/inventory/ZEN",
                           format(s, "/v1/orders?shopper_id=%s", s->shopper_id),
                           format(s, "/v1/orders/%s/stream", s->shopper_id)};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct reply reply = get(s, paths[i], OPERATOR);
        expect_problem(s, reply, 503, "store-unavailable", NULL);
    }
    cart_new(s, "still");
    s->config.redis_url = "redis://stub";
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_product_is_shown_when_it_is_for_sale),
        TEST(what_was_bought_together_is_shown_while_it_is_for_sale),
        TEST(products_come_in_pages),
        TEST(stock_is_shown_to_operators),
        TEST(a_cart_is_joined_with_the_catalogue),
        TEST(an_order_is_shown_to_its_shopper_and_operators),
        TEST(an_order_has_a_history),
        TEST(views_that_are_away_hold_nobody),
        TEST(tables_that_are_not_there_yet),
        TEST(other_failures_are_ours),
        TEST(a_row_that_cannot_be_read_ends_its_stream),
        TEST(without_views_there_are_no_reads),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
