/* Who and what is refused at the door, whatever the body: with which problem, and with nothing appended. */
#include "refusal.h"

#include "api/auth.h"

/* ---- who may ---- */

static void a_token_is_needed(void **state) {
    struct server *s = *state;
    const char *line = "{\"sku\":\"A\",\"quantity\":1}";
    const char *paths[] = {"/v1/carts", "/v1/checkouts", "/v1/inventory/A/receipts"};
    for (size_t i = 0; i < 3; i++) {
        expect_refused(s, (struct refused){"POST", paths[i], NULL, "k", line, 401, "unauthorized", NULL});
        expect_refused(
            s, (struct refused){"POST", paths[i], "Authorization: Basic YTpi", "k", line, 401, "unauthorized", NULL});
        expect_refused(s, (struct refused){"POST", paths[i], "Authorization: Bearer 0123456789abcdef-anna", "k", line,
                                           401, "unauthorized", NULL});
    }
    struct reply reply = ask(s, "POST", "/v1/carts", NULL, "k", NULL);
    assert_string_equal(reply_header(s, reply, "WWW-Authenticate"), "Bearer realm=\"orderlog\"");
}

/* Any other character of the token, and any cut, is another token. */
static void a_forged_session_is_refused(void **state) {
    struct server *s = *state;
    size_t len = strlen(s->shopper), begin = strlen("Authorization: Bearer ");
    char token[512];
    for (size_t i = begin; i < len; i++) {
        snprintf(token, sizeof token, "%s", s->shopper);
        token[i] = token[i] == 'A' ? 'B' : 'A';
        expect_refused(s, (struct refused){"POST", "/v1/carts", token, "k", NULL, 401, "unauthorized", NULL});
    }
    for (size_t cut = begin + 1; cut < len; cut += 7) {
        snprintf(token, sizeof token, "%.*s", (int)cut, s->shopper);
        expect_refused(s, (struct refused){"POST", "/v1/carts", token, "k", NULL, 401, "unauthorized", NULL});
    }
}

static const char *session_of(struct server *s, struct secret_pair secrets, int64_t expires_us) {
    struct auth *auth;
    BUF_AUTO token = {0};
    MUST(auth_open(&secrets, NULL, &auth, err));
    auth_session_token(auth, str_from(s->shopper_id), expires_us, &token);
    auth_close(auth);
    return format(s, "Authorization: Bearer %s", token.ptr);
}

static void sessions_end_and_secrets_change(void **state) {
    struct server *s = *state;
    const int64_t second_us = 1000000, now_us = clock_now_us();
    const char *past = session_of(s, s->config.session_secrets, now_us - second_us);
    expect_refused(s, (struct refused){"POST", "/v1/carts", past, "k", NULL, 401, "unauthorized", NULL});
    const char *other = session_of(s, SECRET("xxxx"), now_us + 100 * second_us);
    expect_refused(s, (struct refused){"POST", "/v1/carts", other, "k", NULL, 401, "unauthorized", NULL});
    /* A new secret, the old one being the previous: tokens of both hold. */
    api_stop(s->api);
    s->config.session_secrets = (struct secret_pair){SECRET("xxxx").current, SECRET("s3ss").current};
    MUST(api_start(&s->config, s->log, &s->api, err));
    const char *tokens[] = {other, s->shopper};
    for (size_t i = 0; i < 2; i++) {
        struct reply reply = ask(s, "POST", "/v1/carts", tokens[i], "k", NULL);
        expect_status(reply, 201);
        take_appended(s, TOPIC_CART_EVENTS);
    }
    api_stop(s->api);
    s->config.session_secrets = SECRET("s3ss");
    MUST(api_start(&s->config, s->log, &s->api, err));
}

static void each_to_their_own(void **state) {
    struct server *s = *state;
    const char *product = "{\"name\":\"A\",\"price\":{\"minor\":1,\"currency\":\"USD\"}}";
    const char *order = "/v1/fulfilments/01a20442-25b9-75d7-9ff7-4f285feb026e";
    const struct refused cases[] = {
        {"PUT", "/v1/products/A", s->shopper, NULL, product, 403, "forbidden", NULL},
        {"DELETE", "/v1/products/A", s->shopper, NULL, NULL, 403, "forbidden", NULL},
        {"GET", "/v1/inventory/A", s->shopper, NULL, NULL, 403, "forbidden", NULL},
        {"POST", "/v1/inventory/A/receipts", s->shopper, "k", "{}", 403, "forbidden", NULL},
        {"POST", "/v1/inventory/A/adjustments", s->shopper, "k", "{}", 403, "forbidden", NULL},
        {"POST", format(s, "%s/pick", order), s->shopper, "k", NULL, 403, "forbidden", NULL},
        {"POST", format(s, "%s/dispatch", order), s->shopper, "k", "{}", 403, "forbidden", NULL},
        {"POST", format(s, "%s/deliver", order), s->shopper, "k", NULL, 403, "forbidden", NULL},
        {"POST", "/v1/carts", OPERATOR, "k", NULL, 403, "forbidden", NULL},
        {"POST", "/v1/checkouts", OPERATOR, "k", "{}", 403, "forbidden", NULL},
        {"GET", format(s, "/v1/orders?shopper_id=%s", "01a20442-25b9-75d7-9ff7-4f285feb026e"), s->shopper, NULL, NULL,
         403, "forbidden", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(s, cases[i]);
}

/* A stranger's id is as good as none, and no read is needed to tell. */
static void ids_of_strangers_are_not_found(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "mine");
    char mine[512];
    snprintf(mine, sizeof mine, "%s", s->shopper);
    server_login(s);
    const char *flipped = format(s, "%.35s%c", cart_id, cart_id[35] == '0' ? '1' : '0');
    const struct {
        const char *id, *token;
    } who[] = {{cart_id, s->shopper}, {flipped, mine}, {"no-uuid", mine}, {"", mine}};
    for (size_t i = 0; i < 3; i++) {
        const char *id = who[i].id, *token = who[i].token;
        const char *checkout = format(s, CHECKOUT_BODY("%s"), i == 2 ? cart_id : id);
        const struct refused cases[] = {
            {"GET", format(s, "/v1/carts/%s", id), token, NULL, NULL, 404, "not-found", NULL},
            {"POST", format(s, "/v1/carts/%s/lines", id), token, "k", "{\"sku\":\"A\",\"quantity\":1}", 404,
             "not-found", NULL},
            {"PATCH", format(s, "/v1/carts/%s/lines/A", id), token, "k", "{\"quantity\":1}", 404, "not-found", NULL},
            {"DELETE", format(s, "/v1/carts/%s/lines/A", id), token, "k", NULL, 404, "not-found", NULL},
            {"GET", format(s, "/v1/orders/%s", id), token, NULL, NULL, 404, "not-found", NULL},
            {"GET", format(s, "/v1/orders/%s/events", id), token, NULL, NULL, 404, "not-found", NULL},
            {"POST", format(s, "/v1/orders/%s/cancel", id), token, "k", NULL, 404, "not-found", NULL},
            {"POST", format(s, "/v1/orders/%s/payments", id), token, "k", "{\"payment_method\":\"pm\"}", 404,
             "not-found", NULL},
            {"POST", "/v1/checkouts", i == 2 ? s->shopper : token, "k", checkout, 404, "not-found", "/cart_id"},
        };
        for (size_t j = 0; j < sizeof cases / sizeof cases[0]; j++)
            expect_refused(s, cases[j]);
    }
    expect_refused(s,
                   (struct refused){"POST", "/v1/orders/no-uuid/cancel", OPERATOR, "k", NULL, 404, "not-found", NULL});
    expect_refused(
        s, (struct refused){"POST", "/v1/fulfilments/no-uuid/pick", OPERATOR, "k", NULL, 404, "not-found", NULL});
}

/* ---- the request as such ---- */

static void keys_are_required_of_posts(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "keys");
    const char *lines = format(s, "/v1/carts/%s/lines", cart_id);
    const char *line = "{\"sku\":\"A\",\"quantity\":1}";
    const struct refused cases[] = {
        {"POST", "/v1/carts", s->shopper, NULL, NULL, 400, "idempotency-key-missing", NULL},
        {"POST", lines, s->shopper, NULL, line, 400, "idempotency-key-missing", NULL},
        {"POST", "/v1/inventory/A/receipts", OPERATOR, NULL, "{\"quantity\":1,\"location\":\"main\"}", 400,
         "idempotency-key-missing", NULL},
        {"POST", lines, s->shopper, "two words", line, 400, "invalid-body", NULL},
        {"POST", lines, s->shopper, "k\xC3\xA4se", line, 400, "invalid-body", NULL},
        {"POST", lines, s->shopper, format(s, "%0201d", 7), line, 400, "invalid-body", NULL},
        {"DELETE", format(s, "%s/A", lines), s->shopper, "two words", NULL, 400, "invalid-body", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(s, cases[i]);
    struct reply reply = ask(s, "POST", lines, s->shopper, format(s, "%0200d", 7), line);
    expect_status(reply, 202);
    take_appended(s, TOPIC_CART_EVENTS);
}

static void paths_and_methods_are_known(void **state) {
    struct server *s = *state;
    const struct refused cases[] = {
        {"GET", "/", NULL, NULL, NULL, 404, "not-found", NULL},
        {"GET", "/v1", NULL, NULL, NULL, 404, "not-found", NULL},
        {"GET", "/v1/products/", NULL, NULL, NULL, 404, "not-found", NULL},
        {"GET", "/v1//products", NULL, NULL, NULL, 404, "not-found", NULL},
        {"GET", "/v1/products/a/b", NULL, NULL, NULL, 404, "not-found", NULL},
        {"GET", "/V1/products", NULL, NULL, NULL, 404, "not-found", NULL},
        {"POST", "/v1/fulfilments/x/lose", OPERATOR, "k", NULL, 404, "not-found", NULL},
        {"GET", "/v1/products/a%2Fb", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", format(s, "/v1/products/%065d", 1), NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"POST", format(s, "/v1/inventory/%065d/receipts", 1), OPERATOR, "k", "{}", 400, "invalid-body", NULL},
        {"PUT", "/v1/products/..", OPERATOR, NULL, "{\"name\":\"A\",\"price\":{\"minor\":1,\"currency\":\"USD\"}}", 400,
         "invalid-body", NULL},
        {"GET", "/v1/products/%", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%4", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%zz", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%00", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/a%0Ab", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%C3", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%C0%AF", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%ED%A0%80", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/%F4%90%80%80", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products/\"", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products?limit=0", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products?limit=101", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products?limit=ten", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products?limit=1&limit=2", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products?after=%", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/products?page=2", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/livez?verbose", NULL, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/orders", OPERATOR, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/orders?shopper_id=me", OPERATOR, NULL, NULL, 400, "invalid-body", NULL},
        {"GET", "/v1/orders?after=last", s->shopper, NULL, NULL, 400, "invalid-body", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(s, cases[i]);
}

static void other_methods_are_told_which(void **state) {
    struct server *s = *state;
    const struct {
        const char *method, *path, *allow;
    } cases[] = {
        {"PATCH", "/v1/products/A", "GET, HEAD, PUT, DELETE"},
        {"GET", "/v1/sessions", "POST"},
        {"OPTIONS", "/v1/carts", "POST"},
        {"TRACE", "/livez", "GET, HEAD"},
        {"BREW", "/v1/orders/x/cancel", "POST"},
        {"PUT", "/v1/carts/x/lines/y", "PATCH, DELETE"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reply reply = ask(s, cases[i].method, cases[i].path, NULL, NULL, NULL);
        expect_problem(s, reply, 405, "method-not-allowed", NULL);
        assert_string_equal(reply_header(s, reply, "Allow"), cases[i].allow);
    }
}

static void bodies_say_what_they_are(void **state) {
    struct server *s = *state;
    const char *path = format(s, "/v1/carts/%s/lines", cart_new(s, "types"));
    const char *wrong[] = {"Content-Type:", "Content-Type: text/plain",
                           "Content-Type: application/json; charset=latin1", "Content-Type: application/jsonx",
                           "Content-Type: application/x-www-form-urlencoded"};
    const char *right[] = {"Content-Type: application/json; charset=utf-8", "Content-Type: Application/JSON",
                           "Content-Type: application/json;charset=\"UTF-8\"", "Content-Type: application/json;"};
    struct ask asked = {.method = "POST", .path = path, .token = s->shopper, .key = "k"};
    asked.body = "{\"sku\":\"A\",\"quantity\":1}";
    asked.own_type = true;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        asked.headers[0] = wrong[i];
        struct reply reply = server_ask(s, asked);
        expect_problem(s, reply, 415, "unsupported-media-type", NULL);
    }
    expect_nothing_appended(s);
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        asked.headers[0] = right[i];
        struct reply reply = server_ask(s, asked);
        expect_status(reply, 202);
        take_appended(s, TOPIC_CART_EVENTS);
    }
    expect_refused(s, (struct refused){"POST", path, s->shopper, "k", NULL, 400, "invalid-body", NULL});
    expect_refused(
        s, (struct refused){"DELETE", format(s, "%s/A", path), s->shopper, "k", "{}", 400, "invalid-body", NULL});
    expect_refused(s, (struct refused){"GET", "/v1/products/A", NULL, NULL, "{}", 400, "invalid-body", NULL});
}

/* ---- what the server is started with ---- */

static void expect_no_start(struct server *s, const char *tokens, const char *locations, const char *listen) {
    struct api_config config = server_config(s);
    struct locations other;
    struct api *api;
    struct err why = {0};
    config.operator_tokens = tokens;
    config.listen = listen;
    MUST(locations_parse(locations, &other, err));
    config.locations = &other;
    if (api_start(&config, s->log, &api, &why))
        fail_msg("started with %s / %s / %s", tokens, locations, listen);
    assert_true(why.kind == ERR_CONFIG || why.kind == ERR_IO);
    assert_null(strstr(why.detail, "hunter2hunter2hunter2"));
}

static void a_wrong_setting_is_found_at_the_start(void **state) {
    struct server *s = *state;
    expect_no_start(s, "hunter2hunter2hunter2", "main:0", "127.0.0.1:0");
    expect_no_start(s, "ann:short", "main:0", "127.0.0.1:0");
    expect_no_start(s, "a b:hunter2hunter2hunter2", "main:0", "127.0.0.1:0");
    expect_no_start(s, "ann:s1.hunter2hunter2hunter2", "main:0", "127.0.0.1:0");
    expect_no_start(s, OPERATOR_TOKENS, "main:4", "127.0.0.1:0");
    expect_no_start(s, OPERATOR_TOKENS, "main:0", "127.0.0.1");
    expect_no_start(s, OPERATOR_TOKENS, "main:0", "[::1:0");
    expect_no_start(s, OPERATOR_TOKENS, "main:0", "127.0.0.1:99999");
    expect_no_start(s, OPERATOR_TOKENS, "main:0", format(s, "127.0.0.1:%d", api_port(s->api)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_needed),
        cmocka_unit_test(a_forged_session_is_refused),
        cmocka_unit_test(sessions_end_and_secrets_change),
        cmocka_unit_test(each_to_their_own),
        cmocka_unit_test(ids_of_strangers_are_not_found),
        cmocka_unit_test(keys_are_required_of_posts),
        cmocka_unit_test(paths_and_methods_are_known),
        cmocka_unit_test(other_methods_are_told_which),
        cmocka_unit_test(bodies_say_what_they_are),
        cmocka_unit_test(a_wrong_setting_is_found_at_the_start),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, refusal_setup, refusal_teardown);
    curl_global_cleanup();
    return failed;
}
