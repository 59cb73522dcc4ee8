#include "api/server.h"

#include "api/answer.h"
#include "api/auth.h"
#include "api/connections.h"
#include "api/flights.h"
#include "api/health.h"
#include "api/lag.h"
#include "api/limits.h"
#include "api/listen.h"
#include "api/reads.h"
#include "api/request.h"
#include "api/revoked.h"
#include "api/routes.h"
#include "api/streams.h"
#include "api/trace.h"
#include "api/watch.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEADERS_MAX = 16 * 1024, /* of a request, and what the server needs of its own per connection */
    ANSWER_TIMEOUT_MS = 30 * 1000,
    QUIET_TIMEOUT_MS = 5 * 1000,
};

/* ---- a request's way ---- */

static void *on_line(void *user, const char *uri, struct MHD_Connection *connection) {
    struct api *api = user;
    connections_allow(connection, api->config.receive_timeout_ms);
    return request_new(api, connection, uri);
}

/* The line in the log of a request that we failed; others only when debugging. Routes are named by their template, and
 * what a client did wrong is not repeated: it may hold personal data. */
static void log_request(const struct request *request, int64_t now_us) {
    const char *path = request->route ? request->route->path : "other";
    struct str trace = envelope_trace_id(request->traceparent);
    if (request->status >= 500)
        logging_err(&request->err, "http.failed", "method=%s route=%s status=%d command=%s trace_id=%.*s",
                    method_name(request->method), path, request->status, request->command_id.text, STR_ARG(trace));
    else
        logging_write(LOG_DEBUG, "http.request",
                      "method=%s route=%s status=%d us=%" PRId64 " command=%s problem=%s trace_id=%.*s",
                      method_name(request->method), path, request->status, now_us - request->began_us,
                      request->command_id.text, err_slug(request->err.kind), STR_ARG(trace));
}

static void shed(struct request *request) {
    struct err err = {0};
    limits_count_shed(request->api->limits, SHED_LAG);
    err_set(&err, ERR_OVERLOADED, "the deciders are too far behind");
    answer_err(request, &err);
}

static void handle(struct request *request) {
    request->phase = PHASE_HANDLED;
    flights_request_began(request->api->flights);
    connections_allow(request->connection, request->api->config.ack_timeout_ms * 2 + ANSWER_TIMEOUT_MS);
    if (!request_body_end(request))
        answer_err(request, &request->err);
    else if ((request->route->flags & ROUTE_WRITE) && lag_watch_sheds(request->api->lag))
        shed(request);
    else
        request->route->handler(request);
}

/* Nothing to be done but to wait: the connection is suspended, and is called again. */
static enum MHD_Result go_on(struct request *request) {
    if (request->flight || request->resumed)
        return MHD_YES;
    if (!request->status) {
        struct err err = {0};
        err_set(&err, ERR_INTERNAL, "the handler has not answered");
        answer_err(request, &err);
    }
    return answer_send(request) ? MHD_YES : MHD_NO;
}

/* What it waited for is there. */
static void land(struct request *request) {
    request_step *resumed = request->resumed;
    request->resumed = NULL;
    if (request->flight)
        flight_landed(request);
    else
        resumed(request);
}

/* Called when the headers have come, for each piece of the body, at its end, and after each resumption. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **context) {
    (void)user, (void)connection, (void)url;
    struct request *request = *context;
    switch (request->phase) {
    case PHASE_HEADERS:
        request->phase = PHASE_BODY;
        request_begin(request, method, version);
        if (!request->answer_early)
            return MHD_YES;
        break;
    case PHASE_BODY:
        if (*upload_len) {
            size_t len = *upload_len;
            *upload_len = 0;
            return request_body_add(request, upload, len) ? MHD_YES : MHD_NO;
        }
        break;
    case PHASE_HANDLED:
        if (!request->flight && !request->resumed)
            return MHD_NO; /* answered already, but the server is being stopped */
        land(request);
        return go_on(request);
    }
    handle(request);
    return go_on(request);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code) {
    (void)code;
    struct api *api = user;
    struct request *request = *context;
    if (!request)
        return;
    *context = NULL;
    int64_t now_us = clock_monotonic_us();
    if (request->flight)
        flight_abandon(request->flight);
    if (request->resumed)
        request->abandoned(request);
    if (request->status) {
        health_count(request, now_us);
        log_request(request, now_us);
    }
    request_trace(request);
    if (request->phase == PHASE_HANDLED)
        flights_request_ended(api->flights);
    request_free(request);
    connections_allow_idle(api, connection);
}

/* Paths are decoded here (percent.c), strictly; the server's own way would come first and be lenient. */
static size_t leave_escaped(void *user, struct MHD_Connection *connection, char *text) {
    (void)user, (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_message(void *user, const char *format, va_list args) {
    (void)user;
    BUF_AUTO text = {0};
    buf_vprintf(&text, format, args);
    while (text.len && text.ptr[text.len - 1] == '\n')
        text.ptr[--text.len] = '\0';
    logging_write(LOG_DEBUG, "http.library", "message=\"%s\"", text.ptr);
}

/* ---- start ---- */

static void or_default(int64_t fallback, int64_t *value) {
    if (*value <= 0)
        *value = fallback;
}

static void or_default_number(int32_t fallback, int32_t *value) {
    if (*value <= 0)
        *value = fallback;
}

/* Below zero there is none. */
static void or_default_limit(int32_t fallback, int32_t *value) {
    if (*value == 0)
        *value = fallback;
}

static struct api_config with_defaults(const struct api_config *given) {
    struct api_config config = *given;
    or_default_number(2, &config.threads);
    or_default_number(2048, &config.in_flight_max);
    or_default_number(8192, &config.connections_max);
    or_default_number(4096, &config.waiters_max);
    or_default_number(4096, &config.streams_max);
    or_default_number(16, &config.streams_per_shopper);
    or_default(32 * 1024 * 1024, &config.bodies_max_bytes);
    or_default_limit(50, &config.rate_shopper);
    or_default_number(500, &config.rate_shopper_burst);
    or_default_limit(200, &config.rate_address);
    or_default_number(1000, &config.rate_address_burst);
    or_default_limit(2000, &config.rate_operator);
    or_default_number(20000, &config.rate_operator_burst);
    config.shed_lag_records = config.shed_lag_records ? config.shed_lag_records : 200 * 1000;
    config.shed_lag_s = config.shed_lag_s ? config.shed_lag_s : 30;
    or_default(1000, &config.shed_interval_ms);
    or_default_number(1000 * 1000, &config.revoked_max);
    or_default(1000, &config.sessions_interval_ms);
    or_default(5 * 1000, &config.stream_absent_ms);
    or_default(15 * 1000, &config.stream_beat_ms);
    or_default(10 * 1000, &config.ack_timeout_ms);
    or_default(4 * 1000, &config.delivery_timeout_ms);
    or_default(30 * 1000, &config.receive_timeout_ms);
    or_default(60 * 1000, &config.idle_timeout_ms);
    if (!config.listen)
        config.listen = "127.0.0.1:8080";
    return config;
}

/* A missing topic would be found by the first write only. */
static bool check_topics(const struct api *api, int32_t *ret_partitions, struct err *err) {
    for (size_t i = 0; i < command_topic_count; i++) {
        struct log_topic topic;
        if (!log_topic_find(api->log, str_from(command_topics[i]), &topic, err))
            return err_wrap(err, "the topic %s", command_topics[i]);
        if (strcmp(command_topics[i], TOPIC_CART_EVENTS) == 0)
            *ret_partitions = topic.partitions;
        const struct locations *locations = api->config.locations;
        for (size_t j = 0; strcmp(command_topics[i], TOPIC_INVENTORY_REQUESTS) == 0 && j < locations->count; j++) {
            if (locations->items[j].partition >= topic.partitions)
                return err_set(err, ERR_CONFIG, "location %s has partition %d, but there are only %d",
                               locations->items[j].name, locations->items[j].partition, topic.partitions);
        }
    }
    return true;
}

static bool open_parts(struct api *api, struct err *err) {
    int32_t partitions = 0;
    const struct log_producer_options options = {.delivery_timeout_ms = api->config.delivery_timeout_ms};
    return check_topics(api, &partitions, err) &&
           auth_open(&api->config.session_secrets, api->config.operator_tokens, &api->auth, err) &&
           revoked_open(&api->config, &api->revoked, err) && reads_open(api, partitions, &api->reads, err) &&
           (!api->config.redis_url || watch_open(api, partitions, &api->watch, err)) &&
           lag_watch_open(&api->config, api->log, &api->lag, err) &&
           log_producer_open(api->log, &options, &api->producer, err);
}

static void each_tick(struct api *api) {
    connections_sweep(api->connections);
    revoked_tick(api->revoked);
    metrics_set(api->bodies_metric, (double)atomic_load(&api->bodies_bytes));
}

static bool serve(struct api *api, int fd, struct err *err) {
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    api->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)api->config.threads, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)api->config.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(api->config.idle_timeout_ms / 1000 + 1), MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_line, api,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, api, MHD_OPTION_NOTIFY_CONNECTION, connections_notify, api,
        MHD_OPTION_END);
    return api->daemon || err_set(err, ERR_IO, "cannot start the HTTP server");
}

static void api_free(struct api *api) {
    log_producer_close(api->producer);
    flights_close(api->flights);
    watch_close(api->watch);
    streams_close(api->streams);
    limits_close(api->limits);
    lag_watch_close(api->lag);
    reads_close(api->reads);
    revoked_close(api->revoked);
    auth_close(api->auth);
    connections_close(api->connections);
    free(api);
}

bool api_start(const struct api_config *config, struct log *log, struct api **ret, struct err *err) {
    struct api *api = mem_zalloc(sizeof *api);
    int fd = -1;
    api->config = with_defaults(config);
    api->log = log;
    api->connections = connections_open();
    api->streams = streams_open();
    api->limits = limits_open(&api->config);
    api->bodies_metric = metrics_gauge("orderlog_http_body_bytes", "Bytes of the bodies that are being received.", "");
    api->waiters_metric = metrics_gauge("orderlog_http_waiters", "Requests that wait to read their writes.", "");
    json_object_seed(0); /* before there are threads */
    if (!open_parts(api, err) || !flights_open(api, each_tick, &api->flights, err) ||
        !listen_open(api->config.listen, &fd, &api->port, err) || !serve(api, fd, err)) {
        if (fd >= 0)
            close(fd);
        api_free(api);
        return false;
    }
    logging_write(LOG_INFO, "http.listening", "address=%s port=%d threads=%d", api->config.listen, api->port,
                  api->config.threads);
    *ret = api;
    return true;
}

int api_port(const struct api *api) {
    return api->port;
}

/* ---- stop ---- */

/* The order matters: the server must not be stopped while a connection is suspended, and a connection is resumed only
 * once the log has answered or was given up. */
void api_stop(struct api *api) {
    if (!api)
        return;
    atomic_store(&api->stopping, true);
    int fd = MHD_quiesce_daemon(api->daemon);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR); /* nobody connects any more; the daemon's threads may still use its number */
    if (api->watch)
        watch_stop(api->watch);
    revoked_stop(api->revoked);
    flights_land_all(api->flights, api->config.ack_timeout_ms);
    if (!flights_wait_quiet(api->flights, QUIET_TIMEOUT_MS))
        logging_write(LOG_WARN, "http.stopped_early", "reason=\"clients do not take their answers\"");
    MHD_stop_daemon(api->daemon);
    if (fd >= 0)
        close(fd);
    logging_write(LOG_INFO, "http.stopped", "port=%d", api->port);
    api_free(api);
}
