/* An order's changes as they happen: with projectors, a real Redis, which is killed, and a real PostgreSQL. */
#include "live.h"
#include "raw.h"

static int stream_open(struct server *s, const char *token, const char *order_id, const char *query,
                       const char *header) {
    int fd = raw_connect(s);
    raw_send(fd, str_from(format(s, "GET /v1/orders/%s/stream%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s%s\r\n", order_id, query,
                                 token, header, *header ? "\r\n" : "")));
    return fd;
}

static struct str until_text(struct server *s, int fd, const char *text) {
    struct str got = raw_receive(s, fd, text);
    if (!strstr(got.ptr, text))
        fail_msg("the stream ended before %s: %s", text, got.ptr);
    return got;
}

/* The end of a chunked answer: the connection stays. */
#define END "\r\n0\r\n\r\n"

static void each_change_is_told_up_to_the_end(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "each");
    order_placed(s, order_id);
    int fd = stream_open(s, s->shopper, order_id, "", "");
    struct str first = until_text(s, fd, "\n\n\r\n");
    assert_int_equal(raw_status(first), 200);
    assert_non_null(strcasestr(first.ptr, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(first.ptr, "event: order\nid: 1\ndata: {"));
    assert_non_null(strstr(first.ptr, "\"status\":\"pending\""));
    order_is(order_id, 2, ORDER_STATUS_AWAITING_PAYMENT);
    assert_non_null(strstr(until_text(s, fd, "\n\n\r\n").ptr, "id: 2\ndata: {"));
    order_is(order_id, 3, ORDER_STATUS_CONFIRMED);
    assert_non_null(strstr(until_text(s, fd, "\n\n\r\n").ptr, "\"status\":\"confirmed\""));
    order_is(order_id, 4, ORDER_STATUS_CANCELLED);
    struct str last = until_text(s, fd, END);
    assert_non_null(strstr(last.ptr, "id: 4\ndata: {"));
    assert_int_equal(raw_count(last, "event: order"), 1);
    /* The connection takes the next request. */
    raw_send(fd, STR("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert_int_equal(raw_status(raw_receive(s, fd, NULL)), 200);
    close(fd);
}

static void it_ends_where_the_client_said(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "until");
    int early = stream_open(s, s->shopper, order_id, "?until=confirmed", ""); /* the order is not there yet */
    order_placed(s, order_id);
    order_is(order_id, 2, ORDER_STATUS_AWAITING_PAYMENT);
    order_is(order_id, 3, ORDER_STATUS_CONFIRMED);
    struct str got = until_text(s, early, END);
    assert_int_equal(raw_status(got), 200);
    assert_non_null(strstr(got.ptr, "\"status\":\"confirmed\""));
    int late = stream_open(s, OPERATOR, order_id, "?until=awaiting_payment", "");
    got = until_text(s, late, END);
    assert_int_equal(raw_count(got, "event: order"), 1);
    close(early), close(late);
}

static void it_goes_on_where_the_client_was(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "resume");
    order_placed(s, order_id);
    order_is(order_id, 2, ORDER_STATUS_AWAITING_PAYMENT);
    await(s, format(s, "/v1/orders/%s", order_id), s->shopper, "awaiting_payment");
    int behind = stream_open(s, s->shopper, order_id, "", "Last-Event-ID: 1");
    assert_non_null(strstr(until_text(s, behind, "\n\n\r\n").ptr, "id: 2\n"));
    int level = stream_open(s, s->shopper, order_id, "", "Last-Event-ID: 2");
    struct str got = until_text(s, level, "\r\n\r\n"); /* it is answered at once, */
    assert_int_equal(raw_status(got), 200);
    assert_null(strstr(got.ptr, "event:")); /* but there is nothing new */
    order_is(order_id, 3, ORDER_STATUS_CANCELLED);
    assert_int_equal(raw_count(until_text(s, level, END), "event: order"), 1);
    until_text(s, behind, END);
    close(behind), close(level);
    int ended = stream_open(s, s->shopper, order_id, "", "Last-Event-ID: 3\r\nConnection: close");
    assert_int_equal(raw_status(raw_receive(s, ended, NULL)), 204);
    close(ended);
}

static void what_is_wrong_is_said(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "wrong");
    order_placed(s, order_id);
    const char *path = format(s, "/v1/orders/%s/stream", order_id);
    expect_problem(s, ask(s, "GET", format(s, "%s?until=soon", path), s->shopper, NULL, NULL), 400, "invalid-body",
                   NULL);
    expect_problem(s, ask(s, "GET", format(s, "%s?until=expired", path), s->shopper, NULL, NULL), 400, "invalid-body",
                   NULL);
    struct ask wrong_id = {.method = "GET", .path = path, .token = s->shopper, .headers = {"Last-Event-ID: two"}};
    expect_problem(s, server_ask(s, wrong_id), 400, "invalid-body", NULL);
    expect_problem(s, ask(s, "GET", path, NULL, NULL, NULL), 401, "unauthorized", NULL);
    char shopper[512];
    memcpy(shopper, s->shopper, sizeof shopper);
    server_login(s);
    struct reply reply = ask(s, "GET", path, s->shopper, NULL, NULL);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "");
    memcpy(s->shopper, shopper, sizeof shopper);
}

/* The id is the shopper's, but the row says otherwise: the row is believed. */
static void a_row_of_somebody_else_is_not_shown(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "theirs");
    char mine[37];
    memcpy(mine, s->shopper_id, sizeof mine);
    snprintf(s->shopper_id, sizeof s->shopper_id, "00000000-0000-4000-8000-000000000000");
    order_placed(s, order_id);
    memcpy(s->shopper_id, mine, sizeof mine);
    struct reply reply = ask(s, "GET", format(s, "/v1/orders/%s/stream", order_id), s->shopper, NULL, NULL);
    expect_problem(s, reply, 404, "not-found", NULL);
}

static void an_order_that_does_not_come_is_not_found(void **state) {
    struct server *s = *state;
    s->config.stream_absent_ms = 50;
    live_restart_api(s);
    const char *path = format(s, "/v1/orders/%s/stream", order_id_new(s, "never"));
    struct reply reply = ask(s, "GET", path, s->shopper, NULL, NULL);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
}

static void a_quiet_stream_says_that_it_lives(void **state) {
    struct server *s = *state;
    s->config.stream_beat_ms = 20;
    live_restart_api(s);
    const char *order_id = order_id_new(s, "quiet");
    order_placed(s, order_id);
    int fd = stream_open(s, s->shopper, order_id, "", "");
    until_text(s, fd, "\r\n:\n\n\r\n");
    until_text(s, fd, "\r\n:\n\n\r\n");
    close(fd);
}

static void there_are_only_so_many(void **state) {
    struct server *s = *state;
    s->config.streams_max = 3;
    s->config.streams_per_shopper = 2;
    live_restart_api(s);
    const char *order_id = order_id_new(s, "many"), *path = format(s, "/v1/orders/%s/stream", order_id);
    order_placed(s, order_id);
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = stream_open(s, i < 2 ? s->shopper : OPERATOR, order_id, "", "");
        until_text(s, fds[i], "\n\n\r\n");
        if (i == 1) {
            struct reply reply = ask(s, "GET", path, s->shopper, NULL, NULL);
            expect_problem(s, reply, 429, "rate-limited", NULL);
            assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
        }
    }
    struct reply reply = ask(s, "GET", path, OPERATOR, NULL, NULL);
    expect_problem(s, reply, 503, "overloaded", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    /* Clients that have left make room, though nothing is sent. */
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
    await_metric(s, "orderlog_http_streams", 0);
    int fd = stream_open(s, s->shopper, order_id, "", "");
    until_text(s, fd, "\n\n\r\n");
    close(fd);
}

static void a_stopping_server_ends_its_streams(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "stop");
    order_placed(s, order_id);
    int begun = stream_open(s, s->shopper, order_id, "", "");
    until_text(s, begun, "\n\n\r\n");
    int waiting = stream_open(s, s->shopper, order_id_new(s, "stop-absent"), "", "");
    await_metric(s, "orderlog_http_streams", 2);
    api_stop(s->api);
    assert_non_null(strstr(raw_receive(s, begun, NULL).ptr, "0\r\n\r\n"));
    assert_int_equal(raw_status(raw_receive(s, waiting, NULL)), 503);
    close(begun), close(waiting);
    MUST(api_start(&s->config, s->log, &s->api, err));
}

/* ---- when Redis does not tell ---- */

static void a_lost_subscription_loses_no_change(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "lost");
    order_placed(s, order_id);
    int fd = stream_open(s, s->shopper, order_id, "", "");
    until_text(s, fd, "\n\n\r\n");
    for (int32_t version = 2; version < 12; version++) {
        const struct str kill[] = {STR("CLIENT"), STR("KILL"), STR("TYPE"), STR("pubsub")};
        struct redis *redis;
        MUST(redis_open(live.redis_url, NULL, &redis, err));
        MUST(redis_call(redis, kill, 4, NULL, err));
        redis_close(redis);
        order_is(order_id, version, ORDER_STATUS_AWAITING_PAYMENT);
        until_text(s, fd, format(s, "id: %d\n", version));
    }
    close(fd);
}

static void without_redis_postgresql_tells(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "away");
    order_placed(s, order_id);
    int fd = stream_open(s, s->shopper, order_id, "", "");
    until_text(s, fd, "\n\n\r\n");
    live_redis_kill();
    order_is(order_id, 2, ORDER_STATUS_AWAITING_PAYMENT);
    until_text(s, fd, "id: 2\n");
    const char *later = order_id_new(s, "away-later"); /* one that begins meanwhile */
    int second = stream_open(s, s->shopper, later, "", "");
    order_placed(s, later);
    until_text(s, second, "id: 1\n");
    live_redis_start();
    order_is(order_id, 3, ORDER_STATUS_CONFIRMED);
    until_text(s, fd, "id: 3\n");
    order_is(later, 2, ORDER_STATUS_CANCELLED);
    until_text(s, second, END);
    close(fd), close(second);
}

/* It is there, but does not answer: that must not keep the server's threads. */
static void a_redis_that_hangs_is_as_good_as_away(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "hangs"), *path = format(s, "/v1/orders/%s", order_id);
    order_placed(s, order_id);
    int fd = stream_open(s, s->shopper, order_id, "", "");
    until_text(s, fd, "\n\n\r\n");
    kill(live.redis, SIGSTOP);
    order_is(order_id, 2, ORDER_STATUS_AWAITING_PAYMENT);
    until_text(s, fd, "id: 2\n");
    for (int i = 0; i < 20; i++)
        expect_status(ask(s, "GET", path, s->shopper, NULL, NULL), 200);
    kill(live.redis, SIGCONT);
    order_is(order_id, 3, ORDER_STATUS_CANCELLED);
    until_text(s, fd, END);
    close(fd);
}

/* ---- many at once ---- */

enum { MANY = 200 };

static void many_are_told_of_their_own(void **state) {
    struct server *s = *state;
    s->config.streams_per_shopper = MANY;
    live_restart_api(s);
    const char *order_ids[MANY];
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        order_ids[i] = order_id_new(s, format(s, "many-%d", i / 2)); /* two for each order */
        fds[i] = stream_open(s, s->shopper, order_ids[i], "?until=confirmed", "");
        if (i % 2)
            order_placed(s, order_ids[i]);
    }
    for (int i = 0; i < MANY; i += 2)
        order_is(order_ids[i], 2, ORDER_STATUS_CONFIRMED);
    for (int i = 0; i < MANY; i++) {
        struct str got = until_text(s, fds[i], END);
        assert_non_null(strstr(got.ptr, "\"status\":\"confirmed\""));
        assert_non_null(strstr(got.ptr, format(s, "\"order_id\":\"%s\"", order_ids[i])));
        close(fds[i]);
    }
    await_metric(s, "orderlog_http_streams", 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_change_is_told_up_to_the_end),   TEST(it_ends_where_the_client_said),
        TEST(it_goes_on_where_the_client_was),     TEST(what_is_wrong_is_said),
        TEST(a_row_of_somebody_else_is_not_shown), TEST(an_order_that_does_not_come_is_not_found),
        TEST(a_quiet_stream_says_that_it_lives),   TEST(there_are_only_so_many),
        TEST(a_stopping_server_ends_its_streams),  TEST(a_lost_subscription_loses_no_change),
        TEST(without_redis_postgresql_tells),      TEST(a_redis_that_hangs_is_as_good_as_away),
        TEST(many_are_told_of_their_own),
    };
    if (!database_is_there())
        return TEST_SKIPPED;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
