/* Reading one's own writes: with projectors, a real Redis and a real PostgreSQL. What deciders say, the test says. */
#include "call.h"
#include "live.h"
#include "projections/redis_keys.h"

#define WAIT "Prefer: wait=10"
#define WAITERS "orderlog_http_waiters"
#define NOBODY "01a20442-25b9-75d7-9ff7-000000000000"

static struct reply write_waiting(struct server *s, const char *method, const char *path, const char *token,
                                  const char *key, const char *body) {
    return server_ask(
        s, (struct ask){.method = method, .path = path, .token = token, .key = key, .body = body, .headers = {WAIT}});
}

static struct reply read_after(struct server *s, const char *path, const char *token, const char *command_id) {
    const char *after = format(s, "Orderlog-After: %s", command_id);
    return server_ask(s, (struct ask){.method = "GET", .path = path, .token = token, .headers = {after}});
}

static void expect_applied(struct server *s, struct reply reply, const char *want) {
    assert_string_equal(reply_header(s, reply, "Preference-Applied"), want);
}

/* ---- carts ---- */

static void a_write_may_wait_for_its_cart(void **state) {
    struct server *s = *state;
    struct reply reply = write_waiting(s, "POST", "/v1/carts", s->shopper, "new", NULL);
    expect_status(reply, 201);
    expect_applied(s, reply, "wait=10");
    assert_string_equal(reply_text(reply, "status"), "open");
    const char *cart_id = reply_text(reply, "cart_id"), *lines = format(s, "/v1/carts/%s/lines", cart_id);
    assert_string_equal(reply_header(s, reply, "Location"), format(s, "/v1/carts/%s", cart_id));
    for (int i = 1; i <= 20; i++) {
        reply = write_waiting(s, "POST", lines, s->shopper, format(s, "%d", i), "{\"sku\":\"TEA\",\"quantity\":3}");
        expect_status(reply, 200);
        assert_non_null(strstr(reply.body.ptr, format(s, "\"quantity\":%d", 3 * i)));
    }
    reply = write_waiting(s, "DELETE", format(s, "%s/TEA", lines), s->shopper, NULL, NULL);
    expect_status(reply, 200);
    assert_null(strstr(reply.body.ptr, "TEA"));
}

static void a_refusal_is_told_to_who_waits(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "refused"), *lines = format(s, "/v1/carts/%s/lines", cart_id);
    struct reply reply =
        write_waiting(s, "PATCH", format(s, "%s/TEA", lines), s->shopper, "change", "{\"quantity\":1}");
    expect_problem(s, reply, 404, "not-found", NULL);
    expect_applied(s, reply, "wait=10");
    expect_status(write_waiting(s, "POST", lines, s->shopper, "a", "{\"sku\":\"TEA\",\"quantity\":999}"), 200);
    reply = write_waiting(s, "POST", lines, s->shopper, "b", "{\"sku\":\"TEA\",\"quantity\":1}");
    expect_problem(s, reply, 422, "quantity-limit", NULL);
    /* The same again is the same command, with another body it is refused. */
    expect_status(write_waiting(s, "POST", lines, s->shopper, "a", "{\"sku\":\"TEA\",\"quantity\":999}"), 200);
    reply = write_waiting(s, "POST", lines, s->shopper, "a", "{\"sku\":\"TEA\",\"quantity\":998}");
    expect_problem(s, reply, 422, "idempotency-key-reused", NULL);
    expect_status(write_waiting(s, "POST", lines, s->shopper, "a", "{\"sku\":\"TEA\",\"quantity\":999}"), 200);
}

static void a_read_waits_for_a_write(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "after"), *path = format(s, "/v1/carts/%s", cart_id);
    for (int i = 1; i <= 20; i++) {
        struct reply reply = ask(s, "POST", format(s, "%s/lines", path), s->shopper, format(s, "%d", i),
                                 "{\"sku\":\"TEA\",\"quantity\":2}");
        expect_status(reply, 202);
        reply = read_after(s, path, s->shopper, reply_header(s, reply, "Orderlog-Command"));
        expect_status(reply, 200);
        assert_string_equal(reply_header(s, reply, "Orderlog-Stale"), "");
        assert_non_null(strstr(reply.body.ptr, format(s, "\"quantity\":%d", 2 * i)));
    }
}

/* ---- products and stock ---- */

static void products_and_stock_are_waited_for(void **state) {
    struct server *s = *state;
    const char *product = "{\"name\":\"Tea\",\"price\":{\"minor\":350,\"currency\":\"USD\"}}";
    struct reply reply = ask(s, "PUT", "/v1/products/TEA", OPERATOR, NULL, product);
    reply = read_after(s, "/v1/products/TEA", NULL, reply_header(s, reply, "Orderlog-Command"));
    expect_status(reply, 200);
    reply = write_waiting(s, "PUT", "/v1/products/ZEN", OPERATOR, NULL, product);
    expect_status(reply, 200);
    assert_string_equal(reply_text(reply, "sku"), "ZEN");

    struct call *call = call_start_ask(s, (struct ask){.path = "/v1/inventory/ZEN/receipts",
                                                       .token = OPERATOR,
                                                       .key = "in",
                                                       .body = "{\"quantity\":7,\"location\":\"main\"}",
                                                       .headers = {WAIT}});
    await_metric(s, WAITERS, 1);
    assert_false(atomic_load(&call->answered));
    struct appended a = take_appended(s, TOPIC_INVENTORY_REQUESTS);
    struct call *other =
        call_start_ask(s, (struct ask){.path = "/v1/inventory/ZEN",
                                       .token = OPERATOR,
                                       .headers = {format(s, "Orderlog-After: %s", a.envelope.command_id.ptr)}});
    await_metric(s, WAITERS, 2);
    live.command_id = a.envelope.command_id.ptr;
    const struct message received = {.type = MESSAGE_STOCK_RECEIVED,
                                     .stock_received = {.sku = STR("ZEN"),
                                                        .location = STR("main"),
                                                        .quantity = 7,
                                                        .actor = STR("operator:ann"),
                                                        .counters = {.version = 1, .received = 7, .available = 7}}};
    decider_says(TOPIC_STOCK_EVENTS, "ZEN", &received, live.command_id);
    reply = call_end(call);
    expect_status(reply, 200);
    assert_non_null(strstr(reply.body.ptr, "\"available\":7"));
    reply = call_end(other);
    expect_status(reply, 200);
    assert_non_null(strstr(reply.body.ptr, "\"received\":7"));
}

/* ---- orders ---- */

static struct call *cancel_start(struct server *s, const char *order_id, const char *key, const char *body) {
    return call_start_ask(s, (struct ask){.path = format(s, "/v1/orders/%s/cancel", order_id),
                                          .token = s->shopper,
                                          .key = key,
                                          .body = body,
                                          .headers = {WAIT}});
}

static void an_order_is_waited_for(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "waited");
    order_placed(s, order_id);
    struct call *call = cancel_start(s, order_id, "no", NULL);
    await_metric(s, WAITERS, 1);
    struct appended a = take_appended(s, TOPIC_ORDER_REQUESTS);
    order_is(order_id, 2, ORDER_STATUS_AWAITING_PAYMENT); /* of another command */
    live.command_id = a.envelope.command_id.ptr;
    order_is(order_id, 3, ORDER_STATUS_CANCELLED);
    struct reply reply = call_end(call);
    expect_status(reply, 200);
    assert_string_equal(reply_text(reply, "status"), "cancelled");
    expect_applied(s, reply, "wait=10");
}

static void a_refused_cancellation_is_a_problem(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "refused");
    order_placed(s, order_id);
    struct call *call = cancel_start(s, order_id, "no", NULL);
    await_metric(s, WAITERS, 1);
    live.command_id = take_appended(s, TOPIC_ORDER_REQUESTS).envelope.command_id.ptr;
    order_says(order_id, (struct message){.type = MESSAGE_ORDER_COMMAND_REFUSED,
                                          .order_command_refused = {.order_id = str_from(order_id),
                                                                    .reason = STR("transition-refused"),
                                                                    .detail = STR("it is shipped")}});
    struct reply reply = call_end(call);
    expect_problem(s, reply, 409, "transition-refused", NULL);
    assert_string_equal(reply_text(reply, "detail"), "it is shipped");
}

/* The same key with another body is the same command to who waits, but for its outcome. */
static void a_key_used_again_has_an_outcome_of_its_own(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "again");
    order_placed(s, order_id);
    struct call *call = cancel_start(s, order_id, "key", NULL);
    await_metric(s, WAITERS, 1);
    live.command_id = take_appended(s, TOPIC_ORDER_REQUESTS).envelope.command_id.ptr;
    live.body_hash = body_hash_of(s, "");
    order_is(order_id, 2, ORDER_STATUS_CANCELLED);
    expect_status(call_end(call), 200);

    call = cancel_start(s, order_id, "key", "{}");
    await_metric(s, WAITERS, 1);
    live.body_hash = body_hash_of(s, "{}");
    order_says(order_id, (struct message){.type = MESSAGE_ORDER_COMMAND_REFUSED,
                                          .order_command_refused = {.order_id = str_from(order_id),
                                                                    .reason = STR("idempotency-key-reused"),
                                                                    .detail = STR("used before")}});
    expect_problem(s, call_end(call), 422, "idempotency-key-reused", NULL);
    expect_status(call_end(cancel_start(s, order_id, "key", NULL)), 200);
    expect_problem(s, call_end(cancel_start(s, order_id, "key", "{}")), 422, "idempotency-key-reused", NULL);
    struct reply reply = read_after(s, format(s, "/v1/orders/%s", order_id), s->shopper, live.command_id);
    assert_string_equal(reply_header(s, reply, "Orderlog-Stale"), "");
}

static void a_checkout_is_waited_for(void **state) {
    struct server *s = *state;
    struct reply reply = write_waiting(s, "POST", "/v1/carts", s->shopper, "buy", NULL);
    const char *cart_id = reply_text(reply, "cart_id"), *body = format(s, CHECKOUT_BODY("%s"), cart_id);
    struct call *call = call_start_ask(
        s, (struct ask){.path = "/v1/checkouts", .token = s->shopper, .key = "buy", .body = body, .headers = {WAIT}});
    await_metric(s, WAITERS, 1);
    take_appended(s, TOPIC_CART_EVENTS);
    struct appended a = take_appended(s, TOPIC_CART_EVENTS);
    const struct cart_checkout_requested *requested = &a.message.cart_checkout_requested;
    live.command_id = a.envelope.command_id.ptr;
    order_placed(s, format(s, "%.*s", STR_ARG(requested->order_id)));
    const struct message accepted = {
        .type = MESSAGE_CHECKOUT_ACCEPTED,
        .checkout_accepted = {
            .cart_id = str_from(cart_id),
            .order_id = requested->order_id,
            .shopper_id = str_from(s->shopper_id),
            .totals = {{1, STR("USD")}, {0, STR("USD")}, {0, STR("USD")}, {0, STR("USD")}, {1, STR("USD")}}}};
    decider_says(TOPIC_CHECKOUT_EVENTS, cart_id, &accepted, live.command_id);
    reply = call_end(call);
    expect_status(reply, 201);
    assert_string_equal(reply_text(reply, "status"), "pending");
    assert_string_equal(reply_header(s, reply, "Location"), format(s, "/v1/orders/%s", reply_text(reply, "order_id")));
    /* The same order again, and not for another body. */
    reply = write_waiting(s, "POST", "/v1/checkouts", s->shopper, "buy", body);
    expect_status(reply, 201);
    assert_string_equal(reply_text(reply, "order_id"), format(s, "%.*s", STR_ARG(requested->order_id)));
    reply = write_waiting(s, "POST", "/v1/checkouts", s->shopper, "buy", format(s, "%s ", body));
    expect_problem(s, reply, 422, "idempotency-key-reused", NULL);
}

/* ---- when it does not come ---- */

static void what_does_not_come_in_time_is_answered_without(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "late"), *path = format(s, "/v1/orders/%s", order_id);
    const char *after = "Orderlog-After: " NOBODY;
    struct ask late = {.method = "GET", .path = path, .token = s->shopper, .headers = {after, "Prefer: wait=1"}};
    struct reply reply = server_ask(s, late);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    assert_string_equal(reply_header(s, reply, "Orderlog-Stale"), "true");
    order_placed(s, order_id);
    await(s, path, s->shopper, "pending");
    reply = server_ask(s, late);
    expect_status(reply, 200);
    assert_string_equal(reply_header(s, reply, "Orderlog-Stale"), "true");
    expect_applied(s, reply, "wait=1");
    reply = server_ask(s, (struct ask){.method = "POST",
                                       .path = format(s, "%s/cancel", path),
                                       .token = s->shopper,
                                       .key = "k",
                                       .headers = {"Prefer: respond-async, wait=1"}});
    expect_status(reply, 202);
    assert_string_equal(reply_text(reply, "order_id"), order_id);
    expect_applied(s, reply, "wait=1");
}

static void what_is_asked_for_may_be_wrong(void **state) {
    struct server *s = *state;
    const char *path = format(s, "/v1/carts/%s", cart_new(s, "wrong"));
    expect_problem(s, read_after(s, path, s->shopper, "soon"), 400, "invalid-body", NULL);
    const char *const prefers[] = {"Prefer: wait=soon", "Prefer: wait",   "Prefer: wait=-1",
                                   "Prefer: waiting=1", "Prefer: wait=0", "Prefer: return=minimal"};
    for (size_t i = 0; i < sizeof prefers / sizeof prefers[0]; i++) {
        struct reply reply = server_ask(s, (struct ask){.method = "POST",
                                                        .path = format(s, "%s/lines", path),
                                                        .token = s->shopper,
                                                        .key = format(s, "%zu", i),
                                                        .body = "{\"sku\":\"TEA\",\"quantity\":1}",
                                                        .headers = {prefers[i]}});
        expect_status(reply, 202);
        expect_applied(s, reply, "");
    }
    struct ask lots = {.method = "DELETE", .path = format(s, "%s/lines/TEA", path), .token = s->shopper};
    lots.headers[0] = "Prefer: x; y=\"z\" , WAIT=3600;a=b";
    expect_applied(s, server_ask(s, lots), "wait=10");
}

static void only_so_many_wait(void **state) {
    struct server *s = *state;
    s->config.waiters_max = 1;
    live_restart_api(s);
    const char *order_id = order_id_new(s, "full"), *path = format(s, "/v1/orders/%s", order_id);
    order_placed(s, order_id);
    await(s, path, s->shopper, "pending");
    struct call *call = cancel_start(s, order_id, "1", NULL);
    await_metric(s, WAITERS, 1);
    struct reply reply = write_waiting(s, "POST", format(s, "%s/cancel", path), s->shopper, "2", NULL);
    expect_status(reply, 202);
    expect_applied(s, reply, "");
    reply = read_after(s, path, s->shopper, NOBODY);
    expect_status(reply, 200);
    assert_string_equal(reply_header(s, reply, "Orderlog-Stale"), "true");
    live.command_id = take_appended(s, TOPIC_ORDER_REQUESTS).envelope.command_id.ptr;
    order_is(order_id, 2, ORDER_STATUS_CANCELLED);
    expect_status(call_end(call), 200);
    await_metric(s, WAITERS, 0);
}

static void a_stop_answers_who_waits(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "stop");
    order_placed(s, order_id);
    await(s, format(s, "/v1/orders/%s", order_id), s->shopper, "pending");
    struct call *write = cancel_start(s, order_id, "1", NULL);
    struct call *read = call_start_ask(s, (struct ask){.path = format(s, "/v1/orders/%s", order_id),
                                                       .token = s->shopper,
                                                       .headers = {"Orderlog-After: " NOBODY}});
    await_metric(s, WAITERS, 2);
    api_stop(s->api);
    expect_status(call_end(write), 202);
    struct reply reply = call_end(read);
    expect_status(reply, 200);
    assert_string_equal(reply_header(s, reply, "Orderlog-Stale"), "true");
    MUST(api_start(&s->config, s->log, &s->api, err));
}

/* PostgreSQL shows it while Redis is away. */
static void without_redis_writes_are_read_as_well(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "away"), *lines = format(s, "/v1/carts/%s/lines", cart_id);
    live_redis_kill();
    for (int i = 1; i <= 5; i++) {
        struct reply reply =
            write_waiting(s, "POST", lines, s->shopper, format(s, "%d", i), "{\"sku\":\"TEA\",\"quantity\":1}");
        expect_status(reply, 200);
        assert_non_null(strstr(reply.body.ptr, format(s, "\"quantity\":%d", i)));
    }
    live_redis_start();
    struct reply reply = write_waiting(s, "POST", lines, s->shopper, "6", "{\"sku\":\"TEA\",\"quantity\":1}");
    expect_status(reply, 200);
    assert_non_null(strstr(reply.body.ptr, "\"quantity\":6"));
}

/* ---- when two looks at a row do not see the same ---- */

struct switching {
    const char *whole; /* Redis' mark that the order's row is there; without it PostgreSQL is asked */
    atomic_bool stop;
    bool failed;
};

static void *switch_stores(void *user) {
    struct switching *switching = user;
    const struct str unset[] = {STR("DEL"), str_from(switching->whole)};
    const struct str set[] = {STR("SET"), str_from(switching->whole), STR("1")};
    struct redis *redis;
    struct err err = {0};
    switching->failed = !redis_open(live.redis_url, NULL, &redis, &err);
    if (switching->failed)
        return NULL;
    while (!atomic_load(&switching->stop) && !switching->failed)
        switching->failed = !redis_call(redis, unset, 2, NULL, &err) || !redis_call(redis, set, 3, NULL, &err);
    redis_close(redis);
    return NULL;
}

static void forget_order(const char *order_id) {
    struct pg *pg;
    PG_PARAMS_AUTO params = {0};
    MUST(pg_open(live.database_url, NULL, &pg, err));
    pg_add_text(&params, str_from(order_id));
    MUST(pg_exec(pg, "DELETE FROM view.orders WHERE order_id = $1::text::uuid", &params, NULL, err));
    pg_close(pg);
}

/* Redis comes back, or goes, between the look that lets a request go on and its own: it waits on. */
static void what_was_seen_once_is_not_given_up(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "seen"), *path = format(s, "/v1/orders/%s", order_id);
    order_placed(s, order_id);
    struct call *call = cancel_start(s, order_id, "key", NULL);
    await_metric(s, WAITERS, 1);
    live.command_id = take_appended(s, TOPIC_ORDER_REQUESTS).envelope.command_id.ptr;
    order_is(order_id, 2, ORDER_STATUS_CANCELLED);
    expect_status(call_end(call), 200);
    live_projectors_stop();
    forget_order(order_id);
    struct str whole = redis_key_of_shard(&s->arena, &view_orders,
                                          view_shard_of(&view_orders, str_from(order_id), PARTITIONS), 0, REDIS_WHOLE);
    struct switching switching = {.whole = format(s, "%.*s", STR_ARG(whole))};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, switch_stores, &switching), 0);
    const char *after = format(s, "Orderlog-After: %s", live.command_id);
    int given_up = 0;
    for (int i = 0; i < 15; i++) {
        given_up += call_end(cancel_start(s, order_id, "key", NULL)).status != 200;
        struct ask read = {.method = "GET", .path = path, .token = s->shopper, .headers = {after, WAIT}};
        given_up += server_ask(s, read).status != 200;
    }
    atomic_store(&switching.stop, true);
    pthread_join(thread, NULL);
    live_projectors_start();
    assert_false(switching.failed);
    assert_true(given_up <
                4); /* each may have met the wrong store for ten seconds; without another try it is a third */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_write_may_wait_for_its_cart),
        TEST(a_refusal_is_told_to_who_waits),
        TEST(a_read_waits_for_a_write),
        TEST(products_and_stock_are_waited_for),
        TEST(an_order_is_waited_for),
        TEST(a_refused_cancellation_is_a_problem),
        TEST(a_key_used_again_has_an_outcome_of_its_own),
        TEST(a_checkout_is_waited_for),
        TEST(what_does_not_come_in_time_is_answered_without),
        TEST(what_is_asked_for_may_be_wrong),
        TEST(only_so_many_wait),
        TEST(a_stop_answers_who_waits),
        TEST(without_redis_writes_are_read_as_well),
        TEST(what_was_seen_once_is_not_given_up),
    };
    if (!database_is_there())
        return TEST_SKIPPED;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
