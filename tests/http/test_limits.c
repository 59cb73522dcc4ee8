/* What the API turns away rather than carry: by rate, by what is in flight, by how far deciders are behind. */
#include "call.h"
#include "raw.h"
#include "stub_log.h"

#include <poll.h>

static int setup(void **state) {
    struct server *s = server_new();
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    return 0;
}

static double metric(struct server *s, const char *name) {
    struct reply reply = ask(s, "GET", "/metrics", NULL, NULL, NULL);
    const char *at = strstr(reply.body.ptr, format(s, "\n%s ", name));
    return at ? strtod(at + strlen(name) + 2, NULL) : 0;
}

static void await_metric(struct server *s, const char *name, double want) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    while (metric(s, name) != want) {
        if (clock_monotonic_us() > until_us)
            fail_msg("%s is %g instead of %g", name, metric(s, name), want);
        clock_sleep_ms(5);
    }
}

static double shed(struct server *s, const char *reason) {
    return metric(s, format(s, "orderlog_http_shed_total{reason=\"%s\"}", reason));
}

/* ---- how often ---- */

/* Asks until it is turned away; how often it was not. */
static int ask_until_limited(struct server *s, const char *path, const char *token, int at_most) {
    for (int i = 0; i < at_most; i++) {
        struct reply reply = ask(s, "GET", path, token, NULL, NULL);
        if (reply.status != 429)
            continue;
        expect_problem(s, reply, 429, "rate-limited", NULL);
        assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
        return i;
    }
    return at_most;
}

static void a_shopper_may_ask_only_so_often(void **state) {
    struct server *s = *state;
    s->config.rate_shopper = 5;
    s->config.rate_shopper_burst = 20;
    server_start(s);
    const char *path = format(s, "/v1/carts/%s", cart_new(s, "limited")); /* one of the twenty */
    double before = shed(s, "rate_shopper");
    int taken = ask_until_limited(s, path, s->shopper, 1000);
    assert_in_range(taken, 19, 500); /* more may flow in meanwhile */
    assert_true(shed(s, "rate_shopper") > before);
    char limited[512];
    memcpy(limited, s->shopper, sizeof limited);
    server_login(s); /* nobody else is */
    expect_problem(s, ask(s, "GET", path, s->shopper, NULL, NULL), 404, "not-found", NULL);
    for (int i = 0; i < 50; i++) {
        expect_status(ask(s, "GET", "/livez", NULL, NULL, NULL), 200);
        assert_true(ask(s, "GET", "/v1/inventory/TEA", OPERATOR, NULL, NULL).status != 429);
    }
    /* What Retry-After says is true. */
    clock_sleep_ms(1000);
    assert_true(ask(s, "GET", path, limited, NULL, NULL).status != 429);
}

static void an_address_may_ask_only_so_often(void **state) {
    struct server *s = *state;
    s->config.rate_address = 1;
    s->config.rate_address_burst = 10;
    server_start(s); /* one of the ten */
    int taken = ask_until_limited(s, "/v1/products", NULL, 100);
    assert_in_range(taken, 9, 50);
    assert_true(shed(s, "rate_address") >= 1);
    expect_status(ask(s, "POST", "/v1/sessions", NULL, NULL, NULL), 429);
    expect_status(ask(s, "GET", "/readyz", NULL, NULL, NULL), 200);
    struct reply webhook = ask(s, "POST", "/v1/webhooks/payments/stripe", NULL, NULL, "{}");
    expect_problem(s, webhook, 404, "not-found", NULL); /* no secret is set: but it was looked at */
}

static void an_operator_may_ask_only_so_often(void **state) {
    struct server *s = *state;
    s->config.rate_operator = 5;
    s->config.rate_operator_burst = 20;
    server_start(s);
    int taken = ask_until_limited(s, "/v1/inventory/TEA", OPERATOR, 1000);
    assert_in_range(taken, 19, 500);
    assert_true(shed(s, "rate_operator") >= 1);
    expect_status(ask(s, "GET", "/v1/orders", s->shopper, NULL, NULL), 503); /* looked at: there are no views */
}

/* Far more shoppers than there are buckets: the memory for them was there before, and each is served. */
static void many_shoppers_are_not_confused(void **state) {
    struct server *s = *state;
    s->config.rate_shopper = 1;
    s->config.rate_shopper_burst = 1;
    server_start(s);
    for (int i = 0; i < 500; i++) {
        server_login(s);
        struct reply reply = ask(s, "GET", "/v1/orders", s->shopper, NULL, NULL);
        assert_true(reply.status != 429);
    }
}

/* ---- bodies ---- */

static void all_bodies_together_have_a_size(void **state) {
    struct server *s = *state;
    s->config.bodies_max_bytes = 40 * 1024;
    server_start(s);
    int first = raw_connect(s);
    raw_send(first, str_from(format(s,
                                    "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: k\r\n"
                                    "Content-Type: application/json\r\nContent-Length: 30000\r\n\r\n",
                                    s->shopper)));
    char *blanks = calloc(1, 30001);
    memset(blanks, ' ', 30000);
    raw_send(first, (struct str){blanks, 29000});
    await_metric(s, "orderlog_http_body_bytes", 29000);
    double before = shed(s, "bodies");
    struct reply reply = ask(s, "POST", "/v1/carts", s->shopper, "second", format(s, "%.*s{}", 20000, blanks));
    expect_problem(s, reply, 503, "overloaded", NULL);
    assert_true(shed(s, "bodies") > before);
    memcpy(blanks + 998, "{}", 2);
    raw_send(first, (struct str){blanks, 1000});
    assert_int_equal(raw_status(raw_receive(s, first, "cart_id")), 201);
    close(first);
    await_metric(s, "orderlog_http_body_bytes", 0); /* the answer is sent before the request is done with */
    reply = ask(s, "POST", "/v1/carts", s->shopper, "third", format(s, "%.*s{}", 20000, blanks + 1000));
    expect_status(reply, 201);
    free(blanks);
}

/* ---- how far behind ---- */

static struct log_consumer *checkout_join(struct server *s) {
    const struct str topics[] = {STR(TOPIC_CART_EVENTS), STR(TOPIC_CHECKOUT_REQUESTS)};
    struct log_consumer *consumer;
    MUST(log_consumer_open(s->log, STR("checkout"), topics, 2, NULL, &consumer, err));
    return consumer;
}

/* The checkout service says that it has decided all but so many records. */
static void checkout_stands(struct server *s, struct log_consumer *consumer, int64_t left) {
    for (int32_t i = 0; i < PARTITIONS; i++) {
        int64_t end = log_end(s, TOPIC_CART_EVENTS, i), here = end < left ? end : left;
        const struct log_position position = {STR(TOPIC_CART_EVENTS), i, end - here};
        log_consumer_commit(consumer, &position, 1);
        left -= here;
    }
}

#define SHEDDING "orderlog_http_shedding"

static void append_carts(struct server *s, int count) {
    for (int i = 0; i < count; i++)
        cart_new(s, format(s, "lag-%d", i));
}

static void expect_shedding(struct server *s) {
    struct reply reply = ask(s, "POST", "/v1/carts", s->shopper, "more", NULL);
    expect_problem(s, reply, 503, "overloaded", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    assert_string_equal(reply_header(s, reply, "Orderlog-Command"), "");
    expect_status(ask(s, "GET", "/livez", NULL, NULL, NULL), 200);
    expect_status(ask(s, "POST", "/v1/sessions", NULL, NULL, NULL), 201); /* nothing is written for it */
    assert_true(shed(s, "lag") >= 1);
}

static void records_that_wait_are_bounded(void **state) {
    struct server *s = *state;
    s->config.shed_lag_records = 20;
    s->config.shed_interval_ms = 5;
    server_start(s);
    append_carts(s, 20);
    await_metric(s, SHEDDING, 0);
    cart_new(s, "one-more");
    await_metric(s, SHEDDING, 1);
    expect_shedding(s);
    struct log_consumer *consumer = checkout_join(s);
    checkout_stands(s, consumer, 12); /* less than there may, but more than half */
    clock_sleep_ms(50);
    expect_shedding(s);
    checkout_stands(s, consumer, 8);
    await_metric(s, SHEDDING, 0);
    cart_new(s, "again");
    log_consumer_close(consumer);
}

static void the_time_that_they_wait_is_bounded(void **state) {
    struct server *s = *state;
    s->config.shed_lag_s = 1;
    s->config.shed_interval_ms = 5;
    server_start(s);
    append_carts(s, 20); /* in all partitions */
    await_metric(s, SHEDDING, 1);
    expect_shedding(s);
    struct log_consumer *consumer = checkout_join(s);
    checkout_stands(s, consumer, 0);
    await_metric(s, SHEDDING, 0);
    cart_new(s, "again");
    log_consumer_close(consumer);
}

/* One shard that stands still is the operators' to mend; the others go on. */
static void one_halted_shard_stops_nobody(void **state) {
    struct server *s = *state;
    s->config.shed_lag_s = 1;
    s->config.shed_interval_ms = 5;
    server_start(s);
    append_carts(s, 20);
    struct log_consumer *consumer = checkout_join(s);
    checkout_stands(s, consumer, 0);
    const struct log_position halted = {STR(TOPIC_CART_EVENTS), 2, 0};
    log_consumer_commit(consumer, &halted, 1);
    clock_sleep_ms(1200);
    assert_true(metric(s, SHEDDING) == 0);
    log_consumer_close(consumer);
}

/* ---- a flood ---- */

enum { FLOOD = 600, FLOOD_CONNECTIONS = 100, FLOOD_IN_FLIGHT = 20, FLOOD_MIB = 48 };

static int64_t resident_kib(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long long kib = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %lld", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

/* Far more clients than there may be, while the log does not answer: each gets an answer, and memory stays bounded. */
static void a_flood_is_answered(void **state) {
    struct server *s = *state;
    struct stub_log *stub = stub_new(s->log);
    s->config.connections_max = FLOOD_CONNECTIONS;
    s->config.in_flight_max = FLOOD_IN_FLIGHT;
    s->config.ack_timeout_ms = PATIENCE_MS;
    MUST(api_start(&s->config, &stub->base, &s->api, err));
    server_login(s);
    curl_easy_cleanup(s->curl); /* its connection would be one of the hundred */
    s->curl = curl_easy_init();
    int64_t before_kib = resident_kib();
    struct pollfd fds[FLOOD];
    for (int i = 0; i < FLOOD; i++) {
        fds[i] = (struct pollfd){.fd = raw_connect(s), .events = POLLIN};
        raw_send(fds[i].fd, str_from(format(s,
                                            "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: %d\r\n"
                                            "Content-Length: 0\r\n\r\n",
                                            s->shopper, i)));
    }
    /* All but those that wait for the log are answered while it is silent. */
    int refused = 0, created = 0;
    while (refused < FLOOD - FLOOD_IN_FLIGHT) {
        assert_true(poll(fds, FLOOD, PATIENCE_MS) > 0);
        for (int i = 0; i < FLOOD; i++) {
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            struct str answer = raw_receive(s, fds[i].fd, "}");
            assert_int_equal(raw_status(answer), 503);
            assert_non_null(strstr(answer.ptr, "/problems/overloaded"));
            assert_non_null(strstr(answer.ptr, "Retry-After: 1\r\n"));
            close(fds[i].fd);
            fds[i].fd = -1;
            refused++;
        }
    }
    stub_await(stub, FLOOD_IN_FLIGHT);
    assert_int_equal(stub_held(stub), FLOOD_IN_FLIGHT);
    assert_true(resident_kib() - before_kib < FLOOD_MIB * 1024);
    while (stub_held(stub))
        stub_deliver(stub, LOG_PERSISTED);
    for (int i = 0; i < FLOOD; i++) {
        if (fds[i].fd < 0)
            continue;
        assert_int_equal(raw_status(raw_receive(s, fds[i].fd, "}")), 201);
        close(fds[i].fd);
        created++;
    }
    assert_int_equal(created, FLOOD_IN_FLIGHT);
    assert_int_equal(shed(s, "in_flight"), FLOOD - FLOOD_IN_FLIGHT);
    api_stop(s->api);
    s->api = NULL;
    stub_free(stub);
}

/* Clients that hold on to their connections do not keep others out for long. */
static void idle_connections_make_room(void **state) {
    struct server *s = *state;
    s->config.connections_max = 20;
    s->config.threads = 1;
    server_start(s);
    int fds[20];
    for (int i = 0; i < 19; i++) {
        fds[i] = raw_connect(s);
        raw_send(fds[i], STR("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    int late = raw_connect(s);
    raw_send(late, STR("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert_int_equal(raw_status(raw_receive(s, late, NULL)), 200);
    close(late);
    for (int i = 0; i < 19; i++)
        close(fds[i]);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_shopper_may_ask_only_so_often),
        TEST(an_address_may_ask_only_so_often),
        TEST(an_operator_may_ask_only_so_often),
        TEST(many_shoppers_are_not_confused),
        TEST(all_bodies_together_have_a_size),
        TEST(records_that_wait_are_bounded),
        TEST(the_time_that_they_wait_is_bounded),
        TEST(one_halted_shard_stops_nobody),
        TEST(a_flood_is_answered),
        TEST(idle_connections_make_room),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
