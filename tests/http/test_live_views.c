/* From a write through the log and the projectors to what the API then shows: with a real Redis and PostgreSQL. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/store/redis.h"
#include "projections/loop.h"
#include "tests/support/database.h"

enum { REDIS_DB = 14 };

struct runner {
    struct projector_config config;
    struct projector_waker waker;
    struct log *log;
    pthread_t thread;
    struct err err;
};

static struct fixture {
    struct server *s;
    char *database_url;
    char redis_url[512];
    atomic_bool stop;
    struct runner runners[2 * VIEW_COUNT];
} fixture;

static void *project(void *user) {
    struct runner *runner = user;
    return projector_run(runner->log, &runner->config, &fixture.stop, &runner->err) ? NULL : runner;
}

static void redis_flush(void) {
    static const struct str args[] = {{"FLUSHDB", 7}};
    struct redis *redis;
    MUST(redis_open(fixture.redis_url, NULL, &redis, err));
    MUST(redis_call(redis, args, 1, NULL, err));
    redis_close(redis);
}

static void projectors_start(void) {
    for (size_t i = 0; i < 2 * VIEW_COUNT; i++) {
        struct runner *runner = &fixture.runners[i];
        *runner = (struct runner){.waker = PROJECTOR_WAKER_INIT, .log = fixture.s->log};
        runner->config = (struct projector_config){.store = i % 2 ? &projector_redis : &projector_postgres,
                                                   .url = i % 2 ? fixture.redis_url : fixture.database_url,
                                                   .view = views_all[i / 2],
                                                   .shop = &fixture.s->config.shop,
                                                   .waker = &runner->waker};
        assert_int_equal(pthread_create(&runner->thread, NULL, project, runner), 0);
    }
}

static int setup(void **state) {
    const char *redis = getenv("ORDERLOG_TEST_REDIS_URL");
    snprintf(fixture.redis_url, sizeof fixture.redis_url, strstr(redis, "unix://") == redis ? "%s?db=%d" : "%s/%d",
             redis, REDIS_DB);
    database_make(&fixture.database_url);
    redis_flush();
    struct server *s = fixture.s = server_new();
    projectors_start();
    s->config.redis_url = fixture.redis_url;
    s->config.database_url = fixture.database_url;
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct server *s = *state;
    api_stop(s->api);
    s->api = NULL;
    atomic_store(&fixture.stop, true);
    for (size_t i = 0; i < 2 * VIEW_COUNT; i++) {
        void *failed;
        projector_wake(&fixture.runners[i].waker);
        pthread_join(fixture.runners[i].thread, &failed);
        if (failed)
            fail_msg("%s", fixture.runners[i].err.detail);
    }
    server_free(s);
    redis_flush();
    database_drop(fixture.database_url);
    free(fixture.database_url);
    return 0;
}

/* Asks until it is answered 200 and the body holds the text. */
static struct reply await(struct server *s, const char *path, const char *token, const char *text) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    for (;;) {
        struct reply reply = ask(s, "GET", path, token, NULL, NULL);
        if (reply.status == 200 && strstr(reply.body.ptr, text))
            return reply;
        if (clock_monotonic_us() > until_us)
            fail_msg("GET %s: %ld %s", path, reply.status, reply.body.ptr);
        clock_sleep_ms(10);
    }
}

static void a_cart_shows_what_was_put_into_it(void **state) {
    struct server *s = *state;
    struct reply reply = ask(s, "PUT", "/v1/products/TEA", OPERATOR, NULL,
                             "{\"name\":\"Tea\",\"price\":{\"minor\":350,\"currency\":\"USD\"}}");
    expect_status(reply, 202);
    await(s, "/v1/products/TEA", NULL, "\"minor\":350");
    await(s, "/v1/products?limit=1", NULL, "\"sku\":\"TEA\"");
    const char *cart_id = cart_new(s, "cart"), *path = format(s, "/v1/carts/%s", cart_id);
    reply = ask(s, "POST", format(s, "%s/lines", path), s->shopper, "k", "{\"sku\":\"TEA\",\"quantity\":3}");
    expect_status(reply, 202);
    reply = await(s, path, s->shopper, "\"sku\":\"TEA\"");
    json_t *total = json_object_get(json_object_get(reply.json, "totals"), "total");
    assert_int_equal(json_integer_value(json_object_get(total, "minor")), 1050);
    assert_string_equal(reply_text(reply, "status"), "open");
    reply = ask(s, "DELETE", "/v1/products/TEA", OPERATOR, NULL, NULL);
    expect_status(reply, 202);
    await(s, path, s->shopper, "\"minor\":0");
}

/* What the orders decider would say, so that it need not run here. */
static void order_placed(struct server *s, const char *order_id) {
    const struct message message = {
        .type = MESSAGE_ORDER_PLACED,
        .order_placed = {
            .order_id = str_from(order_id),
            .version = 1,
            .cart_id = str_from(order_id),
            .shopper_id = str_from(s->shopper_id),
            .totals = {{1, STR("USD")}, {0, STR("USD")}, {0, STR("USD")}, {0, STR("USD")}, {1, STR("USD")}},
            .ship_to = {STR("US"), STR("IL")},
            .personal_ref = STR("ref"),
            .location = STR("main"),
            .payment_method = STR("pm"),
            .placed_at = 1700000000000000}};
    BUF_AUTO value = {0};
    MUST(message_encode(schema_subject_find(STR(TOPIC_ORDER_EVENTS)), &message, &value, err));
    const struct log_header headers[] = {{STR(HEADER_ID), STR("e1")},
                                         {STR(HEADER_TYPE), message_name(message.type)},
                                         {STR(HEADER_SUBJECT), str_from(order_id)},
                                         {STR(HEADER_COMMAND_ID), STR("c1")},
                                         {STR(HEADER_ORIGIN), STR("orders/0")},
                                         {STR(HEADER_ORIGIN_SEQ), STR("1")}};
    const struct log_record record = {.topic = STR(TOPIC_ORDER_EVENTS),
                                      .partition = LOG_BY_KEY,
                                      .key = str_from(order_id),
                                      .value = buf_str(&value),
                                      .headers = headers,
                                      .header_count = sizeof headers / sizeof headers[0]};
    struct log_producer *producer;
    int32_t partition;
    int64_t offset;
    MUST(log_producer_open(s->log, NULL, &producer, err));
    MUST(log_append_wait(producer, &record, PATIENCE_MS, &partition, &offset, err));
    log_producer_close(producer);
}

static void an_order_shows_with_its_history(void **state) {
    struct server *s = *state;
    const struct str parts[] = {STR("order")};
    struct id order_id = id_owned_derive(str_from(s->shopper_id), parts, 1, &s->config.id_secrets);
    const char *path = format(s, "/v1/orders/%s", order_id.text);
    struct reply reply = ask(s, "GET", path, s->shopper, NULL, NULL);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    order_placed(s, order_id.text);
    await(s, path, s->shopper, "\"status\":\"pending\"");
    await(s, "/v1/orders", s->shopper, order_id.text);
    reply = await(s, format(s, "%s/events", path), OPERATOR, "shop.order.v1.OrderPlaced");
    json_t *items = json_object_get(reply.json, "items");
    assert_int_equal(json_array_size(items), 1);
    json_t *event = json_array_get(items, 0);
    assert_string_equal(json_string_value(json_object_get(event, "topic")), TOPIC_ORDER_EVENTS);
    assert_string_equal(json_string_value(json_object_get(json_object_get(event, "event"), "order_id")), order_id.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cart_shows_what_was_put_into_it),
        cmocka_unit_test(an_order_shows_with_its_history),
    };
    if (!database_is_there())
        return TEST_SKIPPED;
    if (!getenv("ORDERLOG_TEST_REDIS_URL")) {
        fprintf(stderr, "ORDERLOG_TEST_REDIS_URL is not set: tests/run sets it\n");
        return getenv("CI") ? 1 : TEST_SKIPPED;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    curl_global_cleanup();
    return failed;
}
