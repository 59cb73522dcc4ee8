#include "api/flights.h"

#include "api/answer.h"
#include "api/limits.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/thread.h"
#include "core/codec/avro.h"

#include <stdio.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    TICK_US = 200 * 1000,
    LINGER_MS = 1,
    LINGER_FROM = 4, /* flights: with fewer there is nothing to be gathered, only time to be lost */
    FAILURE_COUNTS_US = 5 * 1000 * 1000,
    FLIGHT_DETAIL_MAX = 160,
};

struct flight {
    struct flight *prev, *next; /* of those in the air, else of those that landed and wait to be resumed */
    struct flights *flights;
    struct MHD_Connection *connection;
    int64_t started_us;
    int64_t deadline_us;
    int refs; /* the request's, and the log's until it reports */
    bool landed;
    enum log_outcome outcome;
    struct span span; /* of the append */
    struct envelope sent;
    enum err_kind kind;
    char detail[FLIGHT_DETAIL_MAX];
};

struct flight_list {
    struct flight *first, *last;
};

struct flights {
    struct api *api;
    void (*each_tick)(struct api *api);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;       /* of the thread */
    pthread_cond_t quiet;      /* in_flight, or active requests, may have come to none */
    struct flight_list air;    /* by deadline, the next first: all have the same time */
    struct flight_list landed; /* to be resumed */
    int64_t in_flight;         /* from the start until the connection goes on */
    bool refusing;
    bool closing;
    bool failing;
    int64_t failed_us;
    atomic_int_least64_t active; /* requests */
    struct metric *in_flight_metric;
    struct metric *ack_metric;
};

static void list_push(struct flight_list *list, struct flight *flight) {
    flight->next = NULL;
    flight->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = flight;
    list->last = flight;
}

static void list_remove(struct flight_list *list, struct flight *flight) {
    *(flight->prev ? &flight->prev->next : &list->first) = flight->next;
    *(flight->next ? &flight->next->prev : &list->last) = flight->prev;
}

/* ---- under the lock ---- */

static void land(struct flight *flight, enum log_outcome outcome, enum err_kind kind, const char *detail) {
    struct flights *flights = flight->flights;
    flight->landed = true;
    flight->outcome = outcome;
    flight->kind = kind;
    snprintf(flight->detail, sizeof flight->detail, "%s", detail);
    list_remove(&flights->air, flight);
    bool was_empty = !flights->landed.first;
    list_push(&flights->landed, flight);
    if (was_empty)
        pthread_cond_signal(&flights->wake);
}

static void unref(struct flight *flight) {
    if (--flight->refs == 0)
        free(flight);
}

static void note_outcome(struct flights *flights, enum log_outcome outcome) {
    flights->failing = outcome != LOG_PERSISTED;
    if (flights->failing)
        flights->failed_us = clock_monotonic_us();
}

static void land_overdue(struct flights *flights, int64_t now_us) {
    struct flight *flight;
    while ((flight = flights->air.first) && flight->deadline_us <= now_us) {
        note_outcome(flights, LOG_OUTCOME_UNKNOWN);
        land(flight, LOG_OUTCOME_UNKNOWN, ERR_OUTCOME_UNKNOWN, "the log has not answered in time");
    }
}

/* ---- the log's threads ---- */

static void delivered(void *user, enum log_outcome outcome, int32_t partition, int64_t offset, const struct err *err) {
    struct flight *flight = user;
    struct flights *flights = flight->flights;
    pthread_mutex_lock(&flights->lock);
    flight->sent.partition = partition;
    flight->sent.offset = outcome == LOG_PERSISTED ? offset : -1;
    note_outcome(flights, outcome);
    if (!flight->landed) {
        enum err_kind kind = outcome == LOG_OUTCOME_UNKNOWN ? ERR_OUTCOME_UNKNOWN : ERR_LOG_UNAVAILABLE;
        land(flight, outcome, kind, err ? err->detail : "");
    }
    unref(flight);
    pthread_mutex_unlock(&flights->lock);
}

/* ---- the connections' threads ---- */

static bool reserve(struct flights *flights, struct err *err) {
    pthread_mutex_lock(&flights->lock);
    bool full = flights->in_flight >= flights->api->config.in_flight_max;
    bool refusing = atomic_load(&flights->api->stopping);
    if (!full && !refusing)
        metrics_set(flights->in_flight_metric, (double)++flights->in_flight);
    pthread_mutex_unlock(&flights->lock);
    if (refusing)
        return err_set(err, ERR_LOG_UNAVAILABLE, "the server is stopping");
    if (full)
        limits_count_shed(flights->api->limits, SHED_IN_FLIGHT);
    return !full || err_set(err, ERR_OVERLOADED, "%d writes wait for the log", flights->api->config.in_flight_max);
}

static void release(struct flights *flights) {
    metrics_set(flights->in_flight_metric, (double)--flights->in_flight);
    if (flights->refusing && flights->in_flight == 0)
        pthread_cond_broadcast(&flights->quiet);
}

/* What the client is to know of a refusal by the log: its own kinds, never that of a missing topic (404). */
static enum err_kind refusal_kind(enum err_kind kind) {
    return kind == ERR_OVERLOADED || kind == ERR_LOG_UNAVAILABLE ? kind : ERR_INTERNAL;
}

static void take_off(struct flight *flight, const struct command *command) {
    struct flights *flights = flight->flights;
    struct api *api = flights->api;
    pthread_mutex_lock(&flights->lock);
    list_push(&flights->air, flight);
    pthread_mutex_unlock(&flights->lock);
    struct err err;
    if (command_append(api->producer, api->config.locations, command, delivered, flight, err_none(&err)))
        return;
    if (err.kind == ERR_OVERLOADED)
        limits_count_shed(api->limits, SHED_LOG_QUEUE);
    pthread_mutex_lock(&flights->lock);
    if (err.kind != ERR_OVERLOADED)
        note_outcome(flights, LOG_NOT_PERSISTED);
    if (!flight->landed)
        land(flight, LOG_NOT_PERSISTED, refusal_kind(err.kind), err.detail);
    unref(flight);
    pthread_mutex_unlock(&flights->lock);
}

static void start(struct request *request, const struct command *command, request_step *then) {
    struct flights *flights = request->api->flights;
    struct err err;
    if (!reserve(flights, err_none(&err))) {
        answer_err(request, &err);
        return;
    }
    struct flight *flight = mem_zalloc(sizeof *flight);
    int64_t now_us = clock_monotonic_us();
    *flight = (struct flight){.flights = flights,
                              .connection = request->connection,
                              .started_us = now_us,
                              .deadline_us = now_us + request->api->config.ack_timeout_ms * 1000,
                              .refs = 2};
    if (request->span.on && span_begin(&flight->span, request->traceparent))
        flight->sent = (struct envelope){.topic = command_topic(command->message),
                                         .partition = LOG_BY_KEY,
                                         .offset = -1,
                                         .type = message_name(command->message->type)};
    request->flight = flight;
    request->next = then;
    MHD_suspend_connection(request->connection);
    take_off(flight, command);
}

void flight_start(struct request *request, const struct message *message, request_step *then) {
    struct command command = {.id = id_str(&request->command_id),
                              .traceparent = request->traceparent,
                              .tracestate = request->tracestate,
                              .time_us = clock_now_us(),
                              .message = message};
    start(request, &command, then);
}

void flight_start_ahead(struct request *request, struct str id, const struct message *message, request_step *then) {
    struct command command = {.id = id,
                              .command_id = id_str(&request->command_id),
                              .traceparent = request->traceparent,
                              .tracestate = request->tracestate,
                              .time_us = clock_now_us(),
                              .message = message};
    start(request, &command, then);
}

void flight_landed(struct request *request) {
    struct flight *flight = request->flight;
    struct flights *flights = flight->flights;
    bool persisted = flight->outcome == LOG_PERSISTED;
    struct err err;
    if (!persisted)
        err_set(err_none(&err), flight->kind, "%s", flight->detail);
    metrics_observe(flights->ack_metric, (double)(clock_monotonic_us() - flight->started_us) / 1e6);
    request->flight = NULL;
    pthread_mutex_lock(&flights->lock);
    span_end_record(&flight->span, SPAN_PRODUCER, "send", &flight->sent, STR_NULL, !persisted);
    release(flights);
    unref(flight);
    pthread_mutex_unlock(&flights->lock);
    if (persisted)
        request->next(request);
    else
        answer_err(request, &err);
}

void flight_abandon(struct flight *flight) {
    struct flights *flights = flight->flights;
    pthread_mutex_lock(&flights->lock);
    release(flights);
    unref(flight);
    pthread_mutex_unlock(&flights->lock);
}

void flights_request_began(struct flights *flights) {
    atomic_fetch_add(&flights->active, 1);
}

void flights_request_ended(struct flights *flights) {
    if (atomic_fetch_sub(&flights->active, 1) != 1 || !atomic_load(&flights->api->stopping))
        return;
    pthread_mutex_lock(&flights->lock);
    pthread_cond_broadcast(&flights->quiet);
    pthread_mutex_unlock(&flights->lock);
}

bool flights_log_accepts(struct flights *flights) {
    pthread_mutex_lock(&flights->lock);
    /* Later than that it counts as untried: without traffic nothing else would make the server ready again. */
    bool accepts = !flights->failing || clock_monotonic_us() - flights->failed_us > FAILURE_COUNTS_US;
    pthread_mutex_unlock(&flights->lock);
    return accepts;
}

/* ---- the thread of flights ---- */

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t time_us) {
    struct timespec until = {.tv_sec = time_us / 1000000, .tv_nsec = time_us % 1000000 * 1000};
    pthread_cond_timedwait(cond, lock, &until);
}

/* A flight may be freed as soon as its connection was resumed. */
static void resume_all(struct flight *flight) {
    while (flight) {
        struct flight *next = flight->next;
        MHD_resume_connection(flight->connection);
        flight = next;
    }
}

static struct flight *take_landed(struct flights *flights) {
    if (flights->landed.first && flights->in_flight >= LINGER_FROM && !flights->refusing) {
        pthread_mutex_unlock(&flights->lock);
        clock_sleep_ms(LINGER_MS);
        pthread_mutex_lock(&flights->lock);
    }
    struct flight *first = flights->landed.first;
    flights->landed = (struct flight_list){0};
    return first;
}

static void *run(void *user) {
    struct flights *flights = user;
    int64_t tick_us = clock_monotonic_us() + TICK_US;
    thread_name("api-answers");
    pthread_mutex_lock(&flights->lock);
    while (!flights->closing) {
        while (!flights->closing && !flights->landed.first && clock_monotonic_us() < tick_us)
            wait_until(&flights->wake, &flights->lock, tick_us);
        bool ticks = clock_monotonic_us() >= tick_us;
        if (ticks)
            land_overdue(flights, clock_monotonic_us());
        struct flight *first = take_landed(flights);
        pthread_mutex_unlock(&flights->lock);
        resume_all(first);
        if (ticks) {
            flights->each_tick(flights->api);
            tick_us = clock_monotonic_us() + TICK_US;
        }
        pthread_mutex_lock(&flights->lock);
    }
    pthread_mutex_unlock(&flights->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void destroy(struct flights *flights) {
    pthread_cond_destroy(&flights->wake);
    pthread_cond_destroy(&flights->quiet);
    pthread_mutex_destroy(&flights->lock);
    free(flights);
}

bool flights_open(struct api *api, void (*each_tick)(struct api *api), struct flights **ret, struct err *err) {
    struct flights *flights = mem_zalloc(sizeof *flights);
    flights->api = api;
    flights->each_tick = each_tick;
    pthread_mutex_init(&flights->lock, NULL);
    thread_cond_init(&flights->wake);
    thread_cond_init(&flights->quiet);
    flights->in_flight_metric =
        metrics_gauge("orderlog_http_writes_in_flight", "Writes that wait for the log to acknowledge them.", "");
    flights->ack_metric =
        metrics_histogram("orderlog_http_ack_seconds", "From a write's hand-over to the log to its outcome.", "");
    int failed = pthread_create(&flights->thread, NULL, run, flights);
    if (failed) {
        destroy(flights);
        return err_set(err, ERR_INTERNAL, "cannot start a thread: %s", strerrordesc_np(failed));
    }
    *ret = flights;
    return true;
}

void flights_land_all(struct flights *flights, int64_t timeout_ms) {
    int64_t deadline_us = clock_monotonic_us() + timeout_ms * 1000;
    pthread_mutex_lock(&flights->lock);
    flights->refusing = true;
    while (flights->in_flight > 0) {
        if (clock_monotonic_us() >= deadline_us)
            land_overdue(flights, INT64_MAX);
        int64_t soon_us = clock_monotonic_us() + TICK_US;
        wait_until(&flights->quiet, &flights->lock, soon_us);
    }
    pthread_mutex_unlock(&flights->lock);
}

bool flights_wait_quiet(struct flights *flights, int64_t timeout_ms) {
    int64_t deadline_us = clock_monotonic_us() + timeout_ms * 1000;
    pthread_mutex_lock(&flights->lock);
    while (atomic_load(&flights->active) > 0 && clock_monotonic_us() < deadline_us)
        wait_until(&flights->quiet, &flights->lock, deadline_us);
    pthread_mutex_unlock(&flights->lock);
    return atomic_load(&flights->active) == 0;
}

void flights_close(struct flights *flights) {
    if (!flights)
        return;
    pthread_mutex_lock(&flights->lock);
    flights->closing = true;
    pthread_cond_signal(&flights->wake);
    pthread_mutex_unlock(&flights->lock);
    pthread_join(flights->thread, NULL);
    destroy(flights);
}
