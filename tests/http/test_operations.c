/* What operations see: probes, metrics, the description, the log's lines; and the table of locations. */
#include "harness.h"

static bool roles_ready = true;

static bool roles(void *user, struct buf *why) {
    (void)user;
    if (!roles_ready)
        buf_add_str(why, STR("the projector \"redis\" is catching up"));
    return roles_ready;
}

static void details(void *user, struct checks *checks) {
    (void)user;
    checks_add(checks, CHECK_WARNING, STR("cold"), "toaster/%d", 3);
}

static int setup(void **state) {
    struct server *s = server_new();
    s->config.ready = roles;
    s->config.report = details;
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    return 0;
}

static void probes_answer(void **state) {
    struct server *s = *state;
    struct reply reply = ask(s, "GET", "/livez", NULL, NULL, NULL);
    expect_status(reply, 200);
    assert_string_equal(reply.body.ptr, "ok\n");
    reply = ask(s, "GET", "/readyz", NULL, NULL, NULL);
    expect_status(reply, 200);
    assert_string_equal(reply.body.ptr, "ready\n");
    roles_ready = false;
    reply = ask(s, "GET", "/readyz", NULL, NULL, NULL);
    expect_status(reply, 503);
    assert_string_equal(reply.body.ptr, "unready\n");
    reply = ask(s, "GET", "/readyz?verbose", NULL, NULL, NULL);
    expect_status(reply, 503);
    assert_string_equal(reply.body.ptr, "ok       serving\n"
                                        "ok       log\n"
                                        "failed   roles: the projector \"redis\" is catching up\n"
                                        "warning  views: neither Redis nor PostgreSQL answers\n"
                                        "warning  lists: PostgreSQL does not answer\n"
                                        "warning  toaster/3: cold\n"
                                        "unready\n");
    reply = ask(s, "GET", "/readyz?verbose=json", NULL, NULL, NULL);
    expect_status(reply, 503);
    json_t *check = json_array_get(json_object_get(reply.json, "checks"), 2);
    assert_string_equal(json_string_value(json_object_get(check, "name")), "roles");
    assert_string_equal(json_string_value(json_object_get(check, "detail")), "the projector \"redis\" is catching up");
    reply = ask(s, "GET", "/livez", NULL, NULL, NULL);
    expect_status(reply, 200);
    roles_ready = true;
}

static int64_t metric(struct server *s, const char *name) {
    struct reply reply = ask(s, "GET", "/metrics", NULL, NULL, NULL);
    expect_status(reply, 200);
    assert_string_equal(reply_header(s, reply, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    const char *at = strstr(reply.body.ptr, format(s, "\n%s ", name));
    return at ? atoll(at + strlen(name) + 2) : 0;
}

static void requests_are_counted_by_route_and_status(void **state) {
    struct server *s = *state;
    const char *created = "orderlog_http_requests_total{method=\"POST\",route=\"/v1/carts\",status=\"201\"}";
    const char *refused = "orderlog_http_requests_total{method=\"POST\",route=\"/v1/carts\",status=\"401\"}";
    const char *other = "orderlog_http_requests_total{method=\"other\",route=\"other\",status=\"404\"}";
    const char *timed = "orderlog_http_request_seconds_count{method=\"POST\",route=\"/v1/carts\",class=\"2xx\"}";
    int64_t before[] = {metric(s, created), metric(s, refused), metric(s, other), metric(s, timed)};
    cart_new(s, "one");
    cart_new(s, "two");
    ask(s, "POST", "/v1/carts", NULL, "k", NULL);
    ask(s, "GET", "/no/such/path/secret", NULL, NULL, NULL);
    assert_int_equal(metric(s, created) - before[0], 2);
    assert_int_equal(metric(s, refused) - before[1], 1);
    assert_int_equal(metric(s, other) - before[2], 1);
    assert_int_equal(metric(s, timed) - before[3], 2);
    assert_int_equal(metric(s, "orderlog_http_writes_in_flight"), 0);
    assert_int_equal(metric(s, "orderlog_http_connections"), 1);
    struct reply reply = ask(s, "GET", "/metrics", NULL, NULL, NULL);
    assert_null(strstr(reply.body.ptr, "secret"));
}

static void the_description_is_served_as_it_is(void **state) {
    struct server *s = *state;
    const char *source = getenv("ORDERLOG_SOURCE");
    if (!source)
        skip();
    FILE *file = fopen(format(s, "%s/api/openapi.yaml", source), "r");
    assert_non_null(file);
    struct reply reply = ask(s, "GET", "/openapi.yaml", NULL, NULL, NULL);
    expect_status(reply, 200);
    assert_string_equal(reply_header(s, reply, "Content-Type"), "application/yaml");
    char *text = calloc(1, reply.body.len + 2);
    assert_int_equal(fread(text, 1, reply.body.len + 1, file), reply.body.len);
    assert_string_equal(text, reply.body.ptr);
    free(text);
    fclose(file);
}

/* A line is written for what we failed at only, and it holds nothing of what the client sent. */
static void the_log_has_a_line_for_each_failure(void **state) {
    struct server *s = *state;
    const char *path = format(s, "%s/stderr", s->folder);
    fflush(stderr);
    int before = dup(STDERR_FILENO);
    assert_non_null(freopen(path, "w", stderr));
    struct reply reply = ask(s, "GET", "/v1/products/secret-sku", NULL, NULL, NULL);
    expect_status(reply, 503); /* no views */
    ask(s, "POST", "/v1/checkouts", s->shopper, "secret-key", "{\"email\":\"ada@example.org\"}");
    ask(s, "POST", "/v1/carts", "Authorization: Bearer secret-token", "k", NULL);
    api_stop(s->api);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    MUST(api_start(&s->config, s->log, &s->api, err));
    FILE *file = fopen(path, "r");
    char line[4096];
    int lines = 0;
    while (fgets(line, sizeof line, file)) {
        lines++;
        assert_non_null(strstr(line, "\"event\":\"http.failed\""));
        assert_non_null(strstr(line, "\"route\":\"/v1/products/{sku}\""));
        assert_non_null(strstr(line, "\"status\":503"));
        assert_non_null(strstr(line, reply_text(reply, "trace_id")));
        assert_null(strstr(line, "secret"));
        assert_null(strstr(line, "ada@"));
    }
    assert_int_equal(lines, 1);
    fclose(file);
}

static void locations_are_a_table(void **state) {
    (void)state;
    struct locations locations;
    int32_t partition = -1;
    MUST(locations_parse("main:0,north-2:11", &locations, err));
    expect_text(locations_first(&locations), "main");
    assert_true(locations_partition(&locations, STR("north-2"), &partition));
    assert_int_equal(partition, 11);
    assert_false(locations_partition(&locations, STR("north"), &partition));
    assert_false(locations_partition(&locations, STR(""), &partition));
    const char *wrong[] = {
        "",        "main",     "main:",    ":0",       "main:0,",         "main:0,main:1",
        "main:-1", "main:1.5", "main:0:1", "Main:0",   "ma in:0",         "main:0;north:1",
        "main:x",  " main:0",  "main: 0",  "main:0\n", "main:2147483648", "a23456789012345678901234567890123:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err why = {0};
        if (locations_parse(wrong[i], &locations, &why))
            fail_msg("\"%s\" was taken", wrong[i]);
        assert_int_equal(why.kind, ERR_CONFIG);
    }
    BUF_AUTO many = {0};
    for (int i = 0; i <= LOCATIONS_MAX; i++)
        buf_printf(&many, "%sl%d:%d", i ? "," : "", i, i);
    struct err why = {0};
    assert_false(locations_parse(many.ptr, &locations, &why));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probes_answer),
        cmocka_unit_test(requests_are_counted_by_route_and_status),
        cmocka_unit_test(the_description_is_served_as_it_is),
        cmocka_unit_test(the_log_has_a_line_for_each_failure),
        cmocka_unit_test(locations_are_a_table),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    curl_global_cleanup();
    return failed;
}
