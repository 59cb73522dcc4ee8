#include "api/health.h"

#include "api/answer.h"
#include "api/flights.h"
#include "api/readiness.h"
#include "api/reads.h"
#include "api/request.h"
#include "api/revoked.h"
#include "api/routes.h"
#include "core/base/metrics.h"

#include <stdio.h>

enum { ROUTES_MAX = 64, STATUS_BASE = 200, STATUS_COUNT = 400, CLASS_COUNT = 4 };

/* ---- numbers ---- */

/* Registered when first needed; the last row is for what no route took. Registering twice gives the same metric. */
static struct metric *_Atomic latencies[ROUTES_MAX + 1][CLASS_COUNT];
static struct metric *_Atomic counts[ROUTES_MAX + 1][STATUS_COUNT];

static size_t row_of(const struct request *request) {
    size_t row = request->route ? (size_t)(request->route - routes) : ROUTES_MAX;
    return row < ROUTES_MAX ? row : ROUTES_MAX;
}

static void labels_of(const struct request *request, const char *more, char *ret, size_t size) {
    snprintf(ret, size, "method=\"%s\",route=\"%s\"%s", request->route ? method_name(request->method) : "other",
             request->route ? request->route->path : "other", more);
}

static struct metric *latency_of(const struct request *request) {
    int class = request->status / 100 - STATUS_BASE / 100;
    if (class < 0 || class >= CLASS_COUNT)
        class = CLASS_COUNT - 1;
    struct metric *_Atomic *at = &latencies[row_of(request)][class];
    struct metric *metric = atomic_load_explicit(at, memory_order_acquire);
    if (!metric) {
        char labels[160], more[32];
        snprintf(more, sizeof more, ",class=\"%dxx\"", class + STATUS_BASE / 100);
        labels_of(request, more, labels, sizeof labels);
        metric =
            metrics_histogram("orderlog_http_request_seconds", "From a request's first line to its answer.", labels);
        atomic_store_explicit(at, metric, memory_order_release);
    }
    return metric;
}

static struct metric *count_of(const struct request *request, int status) {
    int column = status >= STATUS_BASE && status < STATUS_BASE + STATUS_COUNT ? status - STATUS_BASE : 0;
    struct metric *_Atomic *at = &counts[row_of(request)][column];
    struct metric *metric = atomic_load_explicit(at, memory_order_acquire);
    if (!metric) {
        char labels[160], more[32];
        snprintf(more, sizeof more, ",status=\"%d\"", column + STATUS_BASE);
        labels_of(request, more, labels, sizeof labels);
        metric = metrics_counter("orderlog_http_requests_total", "Requests by route and status.", labels);
        atomic_store_explicit(at, metric, memory_order_release);
    }
    return metric;
}

void health_count(const struct request *request, int64_t now_us) {
    metrics_observe(latency_of(request), (double)(now_us - request->began_us) / 1e6);
    metrics_add(count_of(request, request->status), 1);
}

void health_metrics(struct request *request) {
    metrics_write(answer_text(request, 200, "text/plain; version=0.0.4; charset=utf-8"));
}

/* ---- probes ---- */

void health_live(struct request *request) {
    buf_add_str(answer_text(request, 200, "text/plain; charset=utf-8"), STR("ok\n"));
}

static enum check_state needed(bool ok) {
    return ok ? CHECK_OK : CHECK_FAILED;
}

static enum check_state wanted(bool ok) {
    return ok ? CHECK_OK : CHECK_WARNING;
}

/* What this server knows itself. Reads that a store does not answer degrade it; it stays ready for writes. */
static void check_all(const struct api *api, struct checks *checks) {
    BUF_AUTO why = {0};
    bool roles = !api->config.ready || api->config.ready(api->config.ready_user, &why);
    bool stopping = atomic_load(&api->stopping), log = flights_log_accepts(api->flights);
    bool hot = reads_hot_answers(api->reads), lists = reads_lists_answer(api->reads);
    checks_add(checks, needed(!stopping), stopping ? STR("being stopped") : STR_NULL, "serving");
    checks_add(checks, needed(log), log ? STR_NULL : STR("the last write was not taken"), "log");
    checks_add(checks, needed(roles), buf_str(&why), "roles");
    checks_add(checks, wanted(hot), hot ? STR_NULL : STR("neither Redis nor PostgreSQL answers"), "views");
    checks_add(checks, wanted(lists), lists ? STR_NULL : STR("PostgreSQL does not answer"), "lists");
    revoked_check(api->revoked, checks);
}

void health_ready(struct request *request) {
    const struct api *api = request->api;
    struct str verbose = request_query(request, "verbose");
    CHECKS_AUTO checks = {0};
    check_all(api, &checks);
    /* The details explain what `ready` has said; they do not add to it. */
    bool ready = readiness_of(&checks);
    int status = ready ? 200 : 503;
    if (verbose.ptr && api->config.report)
        api->config.report(api->config.ready_user, &checks);
    bool json = verbose.ptr && str_eq(verbose, STR("json"));
    readiness_write(&checks, ready, verbose,
                    json ? answer_json(request, status) : answer_text(request, status, "text/plain; charset=utf-8"));
}
