/* HTTP as it should not be spoken: nothing crashes, hangs or is misunderstood, and nothing is appended. */
#include "raw.h"

#define CLOSE "Host: x\r\nConnection: close\r\n"

static int setup(void **state) {
    struct server *s = server_new();
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    return 0;
}

static void still_serves(struct server *s) {
    struct reply reply = ask(s, "GET", "/livez", NULL, NULL, NULL);
    expect_status(reply, 200);
}

/* Where the body ends must be beyond doubt, or a proxy and we could see two requests in one. */
static void doubtful_framing_is_refused(void **state) {
    struct server *s = *state;
    const char *lines[] = {
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 44",
        "Content-Length: 2\r\ncontent-length: 2",
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \x0b"
        "chunked",
        "Content-Length : 2",
        "Content-Length\t: 2",
        "Content-Length: +2",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 2 2",
        "Content-Length: two",
        "Content-Length:",
        "Content-Length: 99999999999999999999999",
        " Content-Length: 2",
        "X Y: 1\r\nContent-Length: 2",
        "X\x01: 1\r\nContent-Length: 2",
        "X: a\x01z\r\nContent-Length: 2",
        "X: a\x7fz\r\nContent-Length: 2",
        "No colon\r\nContent-Length: 2",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *request = format(s,
                                     "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: k\r\n"
                                     "Content-Type: application/json\r\n%s\r\n\r\n{}"
                                     "GET /livez HTTP/1.1\r\n" CLOSE "\r\n",
                                     s->shopper, lines[i]);
        struct str answer = raw_ask(s, str_from(request));
        int status = raw_status(answer);
        if (status < 400 || status > 499)
            fail_msg("%s: %.*s", lines[i], STR_ARG(answer));
        if (strstr(answer.ptr, "HTTP/1.1 200"))
            fail_msg("%s: what follows was served as well: %.*s", lines[i], STR_ARG(answer));
    }
    expect_nothing_appended(s);
    still_serves(s);
}

/* Each of the two alone would be fine with this body. */
static void two_lengths_are_refused_even_if_they_agree(void **state) {
    struct server *s = *state;
    const char *request = format(s,
                                 "POST /v1/carts HTTP/1.1\r\n" CLOSE "%s\r\nIdempotency-Key: k\r\nContent-Type: "
                                 "application/json\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "2\r\n{}\r\n0\r\n\r\n",
                                 s->shopper);
    assert_int_equal(raw_status(raw_ask(s, str_from(request))), 400);
    expect_nothing_appended(s);
}

static void headers_of_ours_come_once(void **state) {
    struct server *s = *state;
    const char *twice[] = {"Idempotency-Key: a\r\nIdempotency-Key: b",
                           "Content-Type: application/json\r\nContent-Type: text/plain", "Host: y",
                           "Authorization: Bearer x"};
    for (size_t i = 0; i < sizeof twice / sizeof twice[0]; i++) {
        const char *request = format(s, "POST /v1/carts HTTP/1.1\r\n" CLOSE "%s\r\nIdempotency-Key: k\r\n%s\r\n\r\n",
                                     s->shopper, twice[i]);
        struct str answer = raw_ask(s, str_from(request));
        if (raw_status(answer) != 400)
            fail_msg("%s: %.*s", twice[i], STR_ARG(answer));
    }
    expect_nothing_appended(s);
}

static void lines_that_are_none(void **state) {
    struct server *s = *state;
    const struct {
        struct str line;
        int status; /* 0: none is needed */
    } cases[] = {
        {STR("GET\r\n\r\n"), 0},
        {STR("\r\n\r\n\r\n\r\n"), 0},
        {STR("GET /livez\r\n\r\n"), 400},
        {STR("GET /livez HTTP/2.0\r\n" CLOSE "\r\n"), 0},
        {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0},
        {STR("GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"), 400}, /* no Host */
        {STR("GET /livez x HTTP/1.1\r\n" CLOSE "\r\n"), 0},
        {STR("GET livez HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET http://x/livez HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET * HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET /livez#a HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET /livez\0/x HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET /livez?\0 HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET /v1/products/a\xC3\xA4 HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET /v1/products/a\x01 HTTP/1.1\r\n" CLOSE "\r\n"), 400},
        {STR("GET /livez HTTP/1.1\r\n" CLOSE "X: a\0b\r\n\r\n"), 0},
        {STR("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n"), 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = raw_connect(s);
        raw_send(fd, cases[i].line);
        if (cases[i].status)
            assert_int_equal(raw_status(raw_receive(s, fd, NULL)), cases[i].status);
        close(fd);
    }
    still_serves(s);
}

/* A product must not be withdrawn by a name cut short. */
static void a_zero_byte_does_not_end_the_path(void **state) {
    struct server *s = *state;
    BUF_AUTO request = {0};
    buf_add_str(&request, STR("DELETE /v1/products/TEA\0POT HTTP/1.1\r\n" CLOSE OPERATOR "\r\n\r\n"));
    assert_int_equal(raw_status(raw_ask(s, buf_str(&request))), 400);
    expect_nothing_appended(s);
}

static void headers_have_a_size(void **state) {
    struct server *s = *state;
    BUF_AUTO huge = {0};
    buf_add_str(&huge, STR("GET /livez HTTP/1.1\r\n" CLOSE "X-Huge: "));
    for (int i = 0; i < 100 * 1024; i++)
        buf_add_char(&huge, 'x');
    buf_add_str(&huge, STR("\r\n\r\n"));
    int status = raw_status(raw_ask(s, buf_str(&huge)));
    assert_true(status == 0 || status == 431 || status == 413 || status == 400);
    BUF_AUTO many = {0};
    buf_add_str(&many, STR("GET /livez HTTP/1.1\r\n" CLOSE));
    for (int i = 0; i < 20000; i++)
        buf_printf(&many, "X-%d: y\r\n", i);
    buf_add_str(&many, STR("\r\n"));
    status = raw_status(raw_ask(s, buf_str(&many)));
    assert_true(status == 0 || status == 431 || status == 413 || status == 400);
    BUF_AUTO line = {0};
    buf_add_str(&line, STR("GET /v1/products/"));
    for (int i = 0; i < 100 * 1024; i++)
        buf_add_char(&line, 'x');
    buf_add_str(&line, STR(" HTTP/1.1\r\n" CLOSE "\r\n"));
    status = raw_status(raw_ask(s, buf_str(&line)));
    assert_true(status == 0 || status == 414 || status == 431 || status == 400);
    still_serves(s);
}

/* Every prefix of a good request, and then silence: the client is gone. */
static void requests_break_off_anywhere(void **state) {
    struct server *s = *state;
    const char *request = format(s,
                                 "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: k\r\n"
                                 "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{      }",
                                 s->shopper);
    for (size_t len = 0; len <= strlen(request); len += 3) {
        int fd = raw_connect(s);
        raw_send(fd, (struct str){request, len});
        close(fd);
    }
    still_serves(s);
    expect_nothing_appended(s);
}

static struct str chunked(struct server *s, const char *chunks) {
    return str_from(format(s,
                           "POST /v1/carts HTTP/1.1\r\n" CLOSE "%s\r\nIdempotency-Key: k\r\n"
                           "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                           s->shopper, chunks));
}

static void chunks_are_read_or_refused(void **state) {
    struct server *s = *state;
    struct str answer = raw_ask(s, chunked(s, "1\r\n{\r\n1;ext=1\r\n}\r\n0\r\nX-Trailer: y\r\n\r\n"));
    assert_int_equal(raw_status(answer), 201);
    expect_text(take_appended(s, TOPIC_CART_EVENTS).message.cart_created.body_hash, body_hash_of(s, "{}"));
    const char *broken[] = {"x\r\n{}\r\n0\r\n\r\n", "2\r\n{}XX0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n",
                            "fffffffffffffffff\r\n{}\r\n", "\r\n{}\r\n0\r\n\r\n"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int status = raw_status(raw_ask(s, chunked(s, broken[i])));
        if (status < 400 || status > 499)
            fail_msg("%s: %d", broken[i], status);
    }
    expect_nothing_appended(s);
}

/* Nobody waits for the end of a body that has none. */
static void an_endless_body_is_cut_off(void **state) {
    struct server *s = *state;
    int fd = raw_connect(s);
    raw_send(fd, chunked(s, ""));
    char chunk[4096 + 16];
    int len = snprintf(chunk, sizeof chunk, "1000\r\n%4096s\r\n", "");
    size_t sent = 0;
    while (raw_send(fd, (struct str){chunk, (size_t)len})) {
        sent += (size_t)len;
        if (sent > 64 * 1024 * 1024)
            fail_msg("64 MiB were taken");
    }
    close(fd);
    expect_nothing_appended(s);
    still_serves(s);
}

static void a_client_may_ask_before_it_sends(void **state) {
    struct server *s = *state;
    int fd = raw_connect(s);
    const char *headers = "POST /v1/carts HTTP/1.1\r\n" CLOSE "%s\r\nIdempotency-Key: k\r\n"
                          "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %s\r\n\r\n";
    raw_send(fd, str_from(format(s, headers, s->shopper, "2")));
    assert_int_equal(raw_status(raw_receive(s, fd, "\r\n\r\n")), 100);
    raw_send(fd, STR("{}"));
    assert_int_equal(raw_status(raw_receive(s, fd, NULL)), 201);
    close(fd);
    take_appended(s, TOPIC_CART_EVENTS);
    /* So large that it need not be sent. */
    struct str answer = raw_ask(s, str_from(format(s, headers, s->shopper, "3000000")));
    assert_int_equal(raw_status(answer), 413);
    assert_non_null(strstr(answer.ptr, "/problems/too-large"));
}

static void requests_may_follow_each_other(void **state) {
    struct server *s = *state;
    const char *cart = format(s,
                              "POST /v1/carts HTTP/1.1\r\nHost: x\r\n%s\r\nIdempotency-Key: p\r\n"
                              "Content-Length: 0\r\n\r\n",
                              s->shopper);
    const char *request =
        format(s, "%sGET /livez HTTP/1.1\r\nHost: x\r\n\r\n%sGET /nowhere HTTP/1.1\r\n" CLOSE "\r\n", cart, cart);
    struct str answer = raw_ask(s, str_from(request));
    assert_int_equal(raw_count(answer, "HTTP/1.1 "), 4);
    assert_int_equal(raw_count(answer, "HTTP/1.1 201"), 2);
    const char *second = strstr(answer.ptr, "HTTP/1.1 200"), *fourth = strstr(answer.ptr, "HTTP/1.1 404");
    assert_non_null(second);
    assert_non_null(fourth);
    assert_true(strstr(answer.ptr, "HTTP/1.1 201") < second && second < fourth);
    take_appended(s, TOPIC_CART_EVENTS), take_appended(s, TOPIC_CART_EVENTS);
}

static void head_is_get_without_the_body(void **state) {
    struct server *s = *state;
    struct str answer = raw_ask(s, STR("HEAD /livez HTTP/1.1\r\n" CLOSE "\r\n"));
    assert_int_equal(raw_status(answer), 200);
    assert_non_null(strstr(answer.ptr, "Content-Length: 3\r\n"));
    assert_true(str_ends_with(answer, STR("\r\n\r\n")));
    answer = raw_ask(s, STR("GET /livez HTTP/1.0\r\n\r\n"));
    assert_int_equal(raw_status(answer), 200);
    assert_true(str_ends_with(answer, STR("\r\n\r\nok\n")));
}

/* However steadily it drips, a request has only so long; so has a connection that says nothing. */
static void slow_clients_are_cut_off(void **state) {
    struct server *s = *state;
    api_stop(s->api);
    s->config.receive_timeout_ms = 300;
    s->config.idle_timeout_ms = 300;
    MUST(api_start(&s->config, s->log, &s->api, err));
    const char *begins[] = {"GET /livez HTTP/1.1\r\nX: ", "GET /",
                            "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n"
                            "Content-Type: application/json\r\n\r\n",
                            "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /"};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        int fd = raw_connect(s);
        raw_send(fd, str_from(begins[i]));
        int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
        while (raw_send(fd, STR("x"))) {
            assert_true(clock_monotonic_us() < until_us);
            clock_sleep_ms(20); /* the drip */
        }
        close(fd);
    }
    int fd = raw_connect(s);
    assert_int_equal(raw_receive(s, fd, NULL).len, 0);
    close(fd);
    still_serves(s);
    expect_nothing_appended(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubtful_framing_is_refused),
        cmocka_unit_test(two_lengths_are_refused_even_if_they_agree),
        cmocka_unit_test(headers_of_ours_come_once),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(a_zero_byte_does_not_end_the_path),
        cmocka_unit_test(headers_have_a_size),
        cmocka_unit_test(requests_break_off_anywhere),
        cmocka_unit_test(chunks_are_read_or_refused),
        cmocka_unit_test(an_endless_body_is_cut_off),
        cmocka_unit_test(a_client_may_ask_before_it_sends),
        cmocka_unit_test(requests_may_follow_each_other),
        cmocka_unit_test(head_is_get_without_the_body),
        cmocka_unit_test(slow_clients_are_cut_off),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    curl_global_cleanup();
    return failed;
}
