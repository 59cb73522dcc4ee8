#include "api/health.h"

#include "api/answer.h"
#include "api/flights.h"
#include "api/reads.h"
#include "api/request.h"
#include "api/routes.h"
#include "core/base/metrics.h"

#include <stdio.h>

enum { ROUTES_MAX = 64, STATUS_BASE = 200, STATUS_COUNT = 400 };

/* ---- numbers ---- */

/* Registered when first needed; the last row is for what no route took. Registering twice gives the same metric. */
static struct metric *_Atomic latencies[ROUTES_MAX + 1];
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
    struct metric *_Atomic *at = &latencies[row_of(request)];
    struct metric *metric = atomic_load_explicit(at, memory_order_acquire);
    if (!metric) {
        char labels[160];
        labels_of(request, "", labels, sizeof labels);
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

struct check {
    const char *name;
    bool needed; /* else its failure degrades the server, which stays ready */
    bool ok;
    struct str why;
};

static void write_checks(const struct check *checks, size_t count, bool ready, struct buf *ret) {
    buf_printf(ret, "{\"status\":\"%s\",\"checks\":[", ready ? "ready" : "unready");
    for (size_t i = 0; i < count; i++) {
        buf_printf(ret, "%s{\"name\":\"%s\",\"needed\":%s,\"ok\":%s", i ? "," : "", checks[i].name,
                   checks[i].needed ? "true" : "false", checks[i].ok ? "true" : "false");
        if (checks[i].why.len) {
            buf_add_str(ret, STR(",\"detail\":"));
            buf_add_json_string(ret, checks[i].why);
        }
        buf_add_char(ret, '}');
    }
    buf_add_str(ret, STR("]}"));
}

void health_ready(struct request *request) {
    const struct api *api = request->api;
    BUF_AUTO why = {0};
    bool hooked = !api->config.ready || api->config.ready(api->config.ready_user, &why);
    const struct check checks[] = {
        {"serving", true, !atomic_load(&api->stopping), STR_NULL},
        {"log", true, flights_log_accepts(api->flights), STR_NULL},
        {"roles", true, hooked, buf_str(&why)},
        {"views", false, reads_hot_answers(api->reads), STR_NULL},
        {"lists", false, reads_lists_answer(api->reads), STR_NULL},
    };
    enum { COUNT = sizeof checks / sizeof checks[0] };
    bool ready = true;
    for (size_t i = 0; i < COUNT; i++)
        ready = ready && (checks[i].ok || !checks[i].needed);
    int status = ready ? 200 : 503;
    if (request_query(request, "verbose").ptr)
        write_checks(checks, COUNT, ready, answer_json(request, status));
    else
        buf_add_str(answer_text(request, status, "text/plain; charset=utf-8"),
                    ready ? STR("ready\n") : STR("unready\n"));
}
