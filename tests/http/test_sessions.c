/* Sessions that are revoked: which tokens are good no more, where, and what if the store is away. With
 * ORDERLOG_TEST_SESSIONS_URL in DynamoDB (tests/dynamodb runs it so), else in PostgreSQL. */
#include "call.h"
#include "refusal.h"

#include "api/auth.h"
#include "core/store/pg.h"
#include "tests/support/database.h"

static char *database_url; /* NULL: in DynamoDB */
static const char *store_url;

static int setup(void **state) {
    struct server *s = server_new();
    store_url = getenv("ORDERLOG_TEST_SESSIONS_URL");
    if (!store_url) {
        database_make(&database_url);
        store_url = database_url;
    }
    s->config.sessions_url = store_url;
    s->config.sessions_interval_ms = 20;
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    if (database_url)
        database_drop(database_url);
    free(database_url);
    return 0;
}

/* Another token of the shopper's, that ends so much earlier than the first. */
static const char *other_token(struct server *s, int64_t earlier_s) {
    struct auth *auth;
    BUF_AUTO token = {0};
    MUST(auth_open(&s->config.session_secrets, NULL, &auth, err));
    auth_session_token(auth, str_from(s->shopper_id),
                       clock_now_us() + (SESSION_DAYS * INT64_C(86400) - earlier_s) * 1000000, &token);
    auth_close(auth);
    return format(s, "Authorization: Bearer %s", token.ptr);
}

static struct reply sign_out(struct server *s, const char *token) {
    return ask(s, "DELETE", "/v1/sessions/current", token, NULL, NULL);
}

static void expect_good(struct server *s, const char *token) {
    expect_status(ask(s, "POST", "/v1/carts", token, "k", NULL), 201);
    take_appended(s, TOPIC_CART_EVENTS);
}

static void expect_refused_everywhere(struct server *s, const char *token) {
    const struct refused cases[] = {
        {"DELETE", "/v1/sessions/current", token, NULL, NULL, 401, "unauthorized", NULL},
        {"POST", "/v1/carts", token, "k", NULL, 401, "unauthorized", NULL},
        {"POST", "/v1/checkouts", token, "k", "{}", 401, "unauthorized", NULL},
        {"GET", "/v1/orders", token, NULL, NULL, 401, "unauthorized", NULL},
        {"GET", "/v1/orders/01a20442-25b9-75d7-9ff7-4f285feb026e/stream", token, NULL, NULL, 401, "unauthorized", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(s, cases[i]);
}

static void await_refused(struct server *s, const char *token) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    while (ask(s, "GET", "/v1/orders/no-uuid", token, NULL, NULL).status != 401) {
        if (clock_monotonic_us() > until_us)
            fail_msg("a revoked token is still good");
        clock_sleep_ms(5);
    }
}

/* Until /readyz?verbose has that line; what it answers. */
static long await_line(struct server *s, const char *line) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    for (;;) {
        struct reply reply = ask(s, "GET", "/readyz?verbose", NULL, NULL, NULL);
        if (strstr(reply.body.ptr, line))
            return reply.status;
        if (clock_monotonic_us() > until_us)
            fail_msg("no line \"%s\": %s", line, reply.body.ptr);
        clock_sleep_ms(5);
    }
}

/* ---- whose tokens are good no more ---- */

static void a_revoked_token_is_refused_everywhere(void **state) {
    struct server *s = *state;
    const char *other = other_token(s, 60), *token = format(s, "%s", s->shopper);
    struct reply reply = sign_out(s, token);
    expect_status(reply, 204);
    assert_int_equal(reply.body.len, 0);
    expect_refused_everywhere(s, token);
    expect_good(s, other); /* another one of the same shopper */
    server_login(s);
    expect_good(s, s->shopper);
}

/* The last character of a signature has bits that say nothing. */
static void no_other_spelling_of_it_is_good(void **state) {
    struct server *s = *state;
    char token[512];
    server_login(s);
    expect_status(sign_out(s, s->shopper), 204);
    size_t last = strlen(s->shopper) - 1;
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"; *c; c++) {
        snprintf(token, sizeof token, "%s", s->shopper);
        token[last] = *c;
        expect_refused(s, (struct refused){"POST", "/v1/carts", token, "k", NULL, 401, "unauthorized", NULL});
    }
    server_login(s);
}

static void an_operator_revokes_all_of_a_shopper(void **state) {
    struct server *s = *state;
    const char *tokens[] = {format(s, "%s", s->shopper), other_token(s, 60), other_token(s, 0),
                            other_token(s, -30)}; /* the last by another instance's clock */
    const char *path = format(s, "/v1/shoppers/%s/sessions", s->shopper_id);
    expect_refused(s, (struct refused){"DELETE", path, s->shopper, NULL, NULL, 403, "forbidden", NULL});
    expect_refused(
        s, (struct refused){"DELETE", "/v1/shoppers/me/sessions", OPERATOR, NULL, NULL, 404, "not-found", NULL});
    expect_good(s, tokens[1]);
    expect_status(ask(s, "DELETE", path, OPERATOR, NULL, NULL), 204);
    for (size_t i = 0; i < 4; i++)
        expect_refused_everywhere(s, tokens[i]);
    expect_status(ask(s, "DELETE", path, OPERATOR, NULL, NULL), 204);
    server_login(s);
    expect_good(s, s->shopper);
}

static void who_may(void **state) {
    struct server *s = *state;
    const char *path = "/v1/sessions/current";
    const struct refused cases[] = {
        {"DELETE", path, NULL, NULL, NULL, 401, "unauthorized", NULL},
        {"DELETE", path, "Authorization: Bearer s1.x.y", NULL, NULL, 401, "unauthorized", NULL},
        {"DELETE", path, OPERATOR, NULL, NULL, 403, "forbidden", NULL},
        {"DELETE", path, s->shopper, NULL, "{}", 400, "invalid-body", NULL},
        {"GET", path, s->shopper, NULL, NULL, 405, "method-not-allowed", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(s, cases[i]);
    expect_good(s, s->shopper);
}

/* ---- other instances ---- */

static void other_instances_learn_of_it(void **state) {
    struct server *s = *state;
    struct api *own = s->api, *running, *started;
    const char *token = format(s, "%s", s->shopper);
    MUST(api_start(&s->config, s->log, &running, err));
    s->api = running;
    expect_good(s, token);
    s->api = own;
    expect_status(sign_out(s, token), 204);
    s->api = running;
    await_refused(s, token);
    expect_refused_everywhere(s, token);
    MUST(api_start(&s->config, s->log, &started, err));
    s->api = started;
    assert_int_equal(await_line(s, "ok       sessions\n"), 200); /* from then on it knows all */
    expect_refused_everywhere(s, token);
    api_stop(started);
    api_stop(running);
    s->api = own;
    server_login(s);
}

/* ---- the store ---- */

static void however_many_there_are_operators_end_more(void **state) {
    struct server *s = *state;
    struct api *own = s->api;
    struct api_config config = s->config;
    expect_status(sign_out(s, s->shopper), 204);
    server_login(s);
    config.revoked_max = 1;
    MUST(api_start(&config, s->log, &s->api, err));
    assert_int_equal(await_line(s, "ok       sessions\n"), 200); /* from then on it knows of that one */
    expect_refused(s,
                   (struct refused){"DELETE", "/v1/sessions/current", s->shopper, NULL, NULL, 503, "overloaded", NULL});
    const char *path = format(s, "/v1/shoppers/%s/sessions", s->shopper_id);
    expect_status(ask(s, "DELETE", path, OPERATOR, NULL, NULL), 204);
    expect_refused_everywhere(s, s->shopper);
    api_stop(s->api);
    s->api = own;
    server_login(s);
}

static void no_token_is_stored(void **state) {
    (void)state;
    struct pg *pg;
    PG_RESULT_AUTO *rows = NULL;
    if (!database_url)
        skip();
    MUST(pg_open(database_url, NULL, &pg, err));
    MUST(pg_exec(pg, "SELECT count(*), count(*) FILTER (WHERE length(id) <> 16) FROM sessions.revoked", NULL, &rows,
                 err));
    assert_true(pg_get_i64(rows, 0, 0) > 0);
    assert_int_equal(pg_get_i64(rows, 0, 1), 0);
    pg_close(pg);
}

/* ---- without its store ---- */

static void a_server_without_a_store_serves_on(void **state) {
    struct server *s = *state;
    struct api *own = s->api;
    const char *const urls[] = {"postgresql://127.0.0.1:1/none", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct api_config config = s->config;
        config.sessions_url = urls[i];
        MUST(api_start(&config, s->log, &s->api, err));
        expect_refused(s, (struct refused){"DELETE", "/v1/sessions/current", s->shopper, NULL, NULL, 503,
                                           "store-unavailable", NULL});
        expect_good(s, s->shopper);
        struct reply reply = ask(s, "GET", "/readyz?verbose", NULL, NULL, NULL);
        expect_status(reply, urls[i] ? 503 : 200);
        assert_int_equal(strstr(reply.body.ptr, "failed   sessions: the store of revoked sessions does not answer\n") !=
                             NULL,
                         urls[i] != NULL);
        api_stop(s->api);
    }
    s->api = own;
}

static void database_let_in(bool anybody) {
    struct pg *pg;
    struct str rest, name = str_cut(str_from(database_url + strlen("postgresql:///")), '?', &rest);
    BUF_AUTO sql = {0};
    buf_printf(&sql, "ALTER DATABASE %.*s WITH ALLOW_CONNECTIONS %s; ", STR_ARG(name), anybody ? "true" : "false");
    if (!anybody)
        buf_printf(&sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%.*s'",
                   STR_ARG(name));
    MUST(pg_open(getenv("ORDERLOG_TEST_DATABASE_URL"), NULL, &pg, err));
    MUST(pg_script(pg, sql.ptr, err));
    pg_close(pg);
}

/* What was revoked before is not known until the store was read once, and until then the server is not ready. */
static void a_server_that_starts_before_its_store_is_not_ready(struct server *s, const char *revoked) {
    struct api *own = s->api;
    MUST(api_start(&s->config, s->log, &s->api, err));
    assert_int_equal(await_line(s, "failed   sessions: the store of revoked sessions does not answer\n"), 503);
    expect_good(s, s->shopper);
    database_let_in(true);
    assert_int_equal(await_line(s, "ok       sessions\n"), 200);
    expect_refused_everywhere(s, revoked);
    api_stop(s->api);
    s->api = own;
}

static void while_the_store_is_away_what_is_known_counts(void **state) {
    struct server *s = *state;
    if (!database_url)
        skip(); /* tests/dynamodb stops its server instead */
    const char *token = format(s, "%s", s->shopper);
    expect_status(sign_out(s, token), 204);
    server_login(s);
    database_let_in(false);
    assert_int_equal(await_line(s, "warning  sessions: the store of revoked sessions does not answer\n"), 200);
    expect_refused_everywhere(s, token);
    expect_refused(
        s, (struct refused){"DELETE", "/v1/sessions/current", s->shopper, NULL, NULL, 503, "store-unavailable", NULL});
    expect_good(s, s->shopper);
    struct reply reply = ask(s, "GET", "/metrics", NULL, NULL, NULL);
    const char *unread = strstr(reply.body.ptr, "\norderlog_http_sessions_unread_total ");
    assert_non_null(unread);
    assert_true(strtod(strchr(unread, ' ') + 1, NULL) > 0);
    a_server_that_starts_before_its_store_is_not_ready(s, token);
    assert_int_equal(await_line(s, "ok       sessions\n"), 200);
    expect_status(sign_out(s, s->shopper), 204);
    server_login(s);
}

/* Holds up whoever writes into the table. */
static struct pg *table_hold(void) {
    struct pg *pg;
    MUST(pg_open(database_url, NULL, &pg, err));
    MUST(pg_begin(pg, err));
    MUST(pg_script(pg, "LOCK TABLE sessions.revoked IN EXCLUSIVE MODE", err));
    return pg;
}

static void table_let_go(struct pg *pg) {
    pg_rollback(pg);
    pg_close(pg);
}

static void await_writer(struct pg *pg) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    for (bool waits = false; !waits;) {
        PG_RESULT_AUTO *rows = NULL;
        MUST(pg_exec(
            pg, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'sessions.revoked'::regclass AND NOT granted)",
            NULL, &rows, err));
        waits = pg_get_bool(rows, 0, 0);
        if (clock_monotonic_us() > until_us)
            fail_msg("nobody writes into sessions.revoked");
    }
}

static void a_store_that_hangs_holds_nobody(void **state) {
    struct server *s = *state;
    struct api *own = s->api;
    struct api_config config = s->config;
    if (!database_url)
        skip();
    config.ack_timeout_ms = 200;
    MUST(api_start(&config, s->log, &s->api, err));
    struct pg *held = table_hold();
    const struct refused refused = {"DELETE", "/v1/sessions/current", s->shopper, NULL, NULL,
                                    503,      "store-unavailable",    NULL};
    for (int i = 0; i < 3; i++) /* the first is being done, the others are not begun */
        expect_refused(s, refused);
    expect_good(s, s->shopper);
    table_let_go(held);
    long status = 503; /* what hung may be done since: then it is 401 */
    for (int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
         status == 503 && clock_monotonic_us() < until_us;)
        status = sign_out(s, s->shopper).status;
    assert_true(status == 204 || status == 401);
    expect_refused_everywhere(s, s->shopper);
    api_stop(s->api);
    s->api = own;
    server_login(s);
}

struct held {
    struct pg *pg;
    struct call *call;
};

static void *let_go_once_answered(void *user) {
    const struct held *held = user;
    while (!atomic_load(&held->call->answered))
        clock_sleep_ms(5);
    table_let_go(held->pg);
    return NULL;
}

static void who_waits_when_the_server_stops_is_answered(void **state) {
    struct server *s = *state;
    struct api *own = s->api;
    pthread_t thread;
    if (!database_url)
        skip();
    MUST(api_start(&s->config, s->log, &s->api, err));
    struct held held = {.pg = table_hold()};
    held.call =
        call_start_ask(s, (struct ask){.method = "DELETE", .path = "/v1/sessions/current", .token = s->shopper});
    await_writer(held.pg);
    assert_int_equal(pthread_create(&thread, NULL, let_go_once_answered, &held), 0);
    api_stop(s->api);
    pthread_join(thread, NULL);
    expect_problem(s, call_end(held.call), 503, "store-unavailable", NULL);
    s->api = own;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_revoked_token_is_refused_everywhere),
        cmocka_unit_test(no_other_spelling_of_it_is_good),
        cmocka_unit_test(an_operator_revokes_all_of_a_shopper),
        cmocka_unit_test(who_may),
        cmocka_unit_test(other_instances_learn_of_it),
        cmocka_unit_test(however_many_there_are_operators_end_more),
        cmocka_unit_test(no_token_is_stored),
        cmocka_unit_test(a_server_without_a_store_serves_on),
        cmocka_unit_test(while_the_store_is_away_what_is_known_counts),
        cmocka_unit_test(a_store_that_hangs_holds_nobody),
        cmocka_unit_test(who_waits_when_the_server_stops_is_answered),
    };
    if (!getenv("ORDERLOG_TEST_SESSIONS_URL") && !database_is_there())
        return TEST_SKIPPED;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    curl_global_cleanup();
    return failed;
}
