/* What a process without an API answers to probes and scrapers. */
#include "api/probes.h"
#include "core/base/metrics.h"

#include <curl/curl.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <cmocka.h>

static atomic_bool has_failed;

static void report(void *user, struct checks *checks) {
    (void)user;
    checks_add(checks, CHECK_WARNING, STR("a \"slow\" store"), "views");
    if (atomic_load(&has_failed))
        checks_add(checks, CHECK_FAILED, STR("its rows are of another log"), "orders/%d", 3);
}

struct reply {
    long status;
    struct buf body;
    char content_type[80];
};

static size_t keep(char *bytes, size_t size, size_t count, void *user) {
    buf_add(user, bytes, size * count);
    return size * count;
}

static struct reply ask(const struct probes *probes, const char *method, const char *path) {
    struct reply reply = {0};
    CURL *curl = curl_easy_init();
    char url[128], *type = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", probes_port(probes), path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    if (strcmp(method, "POST") == 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "some body");
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    snprintf(reply.content_type, sizeof reply.content_type, "%s", type ? type : "");
    curl_easy_cleanup(curl);
    return reply;
}

static void expect(const struct probes *probes, const char *path, long status, const char *type, const char *body) {
    struct reply reply = ask(probes, "GET", path);
    assert_int_equal(reply.status, status);
    assert_string_equal(reply.content_type, type);
    assert_non_null(reply.body.ptr);
    assert_string_equal(reply.body.ptr, body);
    buf_free(&reply.body);
}

static int setup(void **state) {
    const struct probes_config config = {.listen = "127.0.0.1:0", .report = report};
    struct err err = {0};
    struct probes *probes;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!probes_start(&config, &probes, &err))
        fail_msg("%s", err.detail);
    *state = probes;
    atomic_store(&has_failed, false);
    return 0;
}

static int teardown(void **state) {
    probes_stop(*state);
    curl_global_cleanup();
    return 0;
}

static const char plain[] = "text/plain; charset=utf-8";

static void says_whether_it_is_ready(void **state) {
    expect(*state, "/livez", 200, plain, "ok\n");
    expect(*state, "/readyz", 200, plain, "ready\n");
    expect(*state, "/readyz?verbose", 200, plain, "warning  views: a \"slow\" store\nready\n");
    atomic_store(&has_failed, true);
    expect(*state, "/livez", 200, plain, "ok\n");
    expect(*state, "/readyz", 503, plain, "unready\n");
    expect(*state, "/readyz?verbose=json", 503, "application/json",
           "{\"status\":\"unready\",\"checks\":[{\"name\":\"views\",\"state\":\"warning\",\"detail\":\"a \\\"slow\\\" "
           "store\"},{\"name\":\"orders/3\",\"state\":\"failed\",\"detail\":\"its rows are of another log\"}]}");
}

static void tells_its_metrics(void **state) {
    metrics_add(metrics_counter("orderlog_probed_total", "Only of this test.", ""), 2);
    struct reply reply = ask(*state, "GET", "/metrics");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(reply.body.ptr, "\norderlog_probed_total 2\n"));
    buf_free(&reply.body);
}

static void takes_nothing_else(void **state) {
    struct reply reply = ask(*state, "POST", "/metrics");
    assert_int_equal(reply.status, 405);
    buf_free(&reply.body);
    reply = ask(*state, "HEAD", "/readyz");
    assert_int_equal(reply.status, 200);
    assert_null(reply.body.ptr);
    expect(*state, "/v1/orders", 404, plain, "there is /livez, /readyz and /metrics\n");
}

static void complains_of_its_address(void **state) {
    struct err err = {0};
    struct probes *second;
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%d", probes_port(*state));
    assert_false(probes_start(&(struct probes_config){.listen = taken, .report = report}, &second, &err));
    assert_int_equal(err.kind, ERR_IO);
    assert_non_null(strstr(err.detail, taken));
    assert_false(probes_start(&(struct probes_config){.listen = "here", .report = report}, &second, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_whether_it_is_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_its_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_nothing_else, setup, teardown),
        cmocka_unit_test_setup_teardown(complains_of_its_address, setup, teardown),
    };
    return cmocka_run_group_tests_name("probes", tests, NULL, NULL);
}
