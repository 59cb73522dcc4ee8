/* The API with its views: projectors, a PostgreSQL database and a Redis of the test's own, which it may stop. */
#ifndef ORDERLOG_TESTS_HTTP_LIVE_H
#define ORDERLOG_TESTS_HTTP_LIVE_H

#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/store/pg.h"
#include "core/store/redis.h"
#include "projections/loop.h"
#include "projections/migrate.h"
#include "tests/support/database.h"

struct runner {
    struct projector_config config;
    struct projector_waker waker;
    struct log *log;
    pthread_t thread;
    struct err err;
};

static struct live {
    struct server *s;
    char *database_url;
    char redis_url[5000];
    pid_t redis;
    atomic_bool stop;
    struct runner runners[2 * VIEW_COUNT];
    struct log_producer *producer;
    int64_t sequences[SCHEMA_SUBJECT_COUNT][PARTITIONS]; /* of the origin that decider_says speaks for */
    int events;
    const char *command_id; /* that what deciders say came of, */
    const char *body_hash;  /* and its body's; NULL: not at once */
} live;

/* ---- Redis ---- */

/* One command; false when Redis does not answer. */
static inline bool live_redis(const char *url, const char *command, const char *arg) {
    const struct str args[] = {str_from(command), str_from(arg)};
    struct redis *redis;
    struct err away = {0};
    MUST(redis_open(url, NULL, &redis, err));
    bool ok = redis_call(redis, args, arg ? 2 : 1, NULL, &away);
    redis_close(redis);
    return ok;
}

static inline void live_redis_start(void) {
    char path[4200];
    snprintf(path, sizeof path, "%s/redis.sock", live.s->folder);
    snprintf(live.redis_url, sizeof live.redis_url, "unix://%s", path);
    live.redis = fork();
    assert_true(live.redis >= 0);
    if (live.redis == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
               "--logfile", "redis.log", "--dir", live.s->folder, (char *)NULL);
        _exit(127);
    }
    while (!live_redis(live.redis_url, "PING", NULL)) {
        if (waitpid(live.redis, NULL, WNOHANG) != 0)
            fail_msg("redis-server does not start");
        clock_sleep_ms(10);
    }
}

static inline void live_redis_kill(void) {
    if (live.redis <= 0)
        return;
    kill(live.redis, SIGKILL);
    waitpid(live.redis, NULL, 0);
    live.redis = 0;
}

/* Asks until it is answered 200 and the body holds the text. */
static inline struct reply await(struct server *s, const char *path, const char *token, const char *text) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    for (;;) {
        struct reply reply = ask(s, "GET", path, token, NULL, NULL);
        if (reply.status == 200 && strstr(reply.body.ptr, text))
            return reply;
        if (clock_monotonic_us() > until_us)
            fail_msg("GET %s: %ld %s", path, reply.status, reply.body.ptr);
        clock_sleep_ms(10);
    }
}

/* ---- all of it ---- */

static inline void *live_project(void *user) {
    struct runner *runner = user;
    return projector_run(runner->log, &runner->config, &live.stop, &runner->err) ? NULL : runner;
}

static inline void live_projectors_start(void) {
    atomic_store(&live.stop, false);
    for (size_t i = 0; i < 2 * VIEW_COUNT; i++) {
        struct runner *runner = &live.runners[i];
        *runner = (struct runner){.waker = PROJECTOR_WAKER_INIT, .log = live.s->log};
        runner->config = (struct projector_config){.store = i % 2 ? &projector_redis : &projector_postgres,
                                                   .url = i % 2 ? live.redis_url : live.database_url,
                                                   .view = views_all[i / 2],
                                                   .shop = &live.s->config.shop,
                                                   .waker = &runner->waker};
        assert_int_equal(pthread_create(&runner->thread, NULL, live_project, runner), 0);
    }
}

static inline void live_projectors_stop(void) {
    atomic_store(&live.stop, true);
    for (size_t i = 0; i < 2 * VIEW_COUNT; i++) {
        void *failed;
        projector_wake(&live.runners[i].waker);
        pthread_join(live.runners[i].thread, &failed);
        if (failed)
            fail_msg("%s", live.runners[i].err.detail);
    }
}

static inline int live_setup(void **state) {
    live = (struct live){0};
    struct pg *pg;
    database_make(&live.database_url);
    MUST(pg_open(live.database_url, NULL, &pg, err));
    MUST(projections_migrate(pg, err));
    pg_close(pg);
    struct server *s = live.s = server_new();
    live_redis_start();
    live_projectors_start();
    s->config.redis_url = live.redis_url;
    s->config.database_url = live.database_url;
    MUST(log_producer_open(s->log, NULL, &live.producer, err));
    server_start(s);
    *state = s;
    return 0;
}

static inline int live_teardown(void **state) {
    struct server *s = *state;
    api_stop(s->api);
    s->api = NULL;
    live_projectors_stop();
    live_redis_kill();
    log_producer_close(live.producer);
    server_free(s);
    database_drop(live.database_url);
    free(live.database_url);
    return 0;
}

/* With other settings. */
static inline void live_restart_api(struct server *s) {
    api_stop(s->api);
    MUST(api_start(&s->config, s->log, &s->api, err));
}

/* ---- what deciders would say, so that they need not run here ---- */

static inline void decider_says(const char *topic, const char *key, const struct message *message,
                                const char *command_id) {
    static const char origin[] = "orders/0";
    char id[32], seq[32];
    BUF_AUTO value = {0};
    int32_t partition = log_partition_of(str_from(key), PARTITIONS);
    MUST(message_encode(schema_subject_find(str_from(topic)), message, &value, err));
    snprintf(id, sizeof id, "e%d", ++live.events);
    snprintf(seq, sizeof seq, "%lld", (long long)++live.sequences[topic_index(topic)][partition]);
    const struct log_header headers[] = {{STR(HEADER_ID), str_from(id)},
                                         {STR(HEADER_TYPE), message_name(message->type)},
                                         {STR(HEADER_SUBJECT), str_from(key)},
                                         {STR(HEADER_COMMAND_ID), str_from(command_id)},
                                         {STR(HEADER_ORIGIN), str_from(origin)},
                                         {STR(HEADER_ORIGIN_SEQ), str_from(seq)},
                                         {STR(HEADER_BODY_HASH), str_from(live.body_hash)}};
    const struct log_record record = {.topic = str_from(topic),
                                      .partition = partition,
                                      .key = str_from(key),
                                      .value = buf_str(&value),
                                      .headers = headers,
                                      .header_count = sizeof headers / sizeof headers[0] - !live.body_hash};
    int64_t offset;
    MUST(log_append_wait(live.producer, &record, PATIENCE_MS, &partition, &offset, err));
}

static inline void order_says(const char *order_id, struct message message) {
    decider_says(TOPIC_ORDER_EVENTS, order_id, &message, live.command_id ? live.command_id : "c1");
}

static inline void order_placed(struct server *s, const char *order_id) {
    order_says(order_id,
               (struct message){
                   .type = MESSAGE_ORDER_PLACED,
                   .order_placed = {
                       .order_id = str_from(order_id),
                       .version = 1,
                       .cart_id = str_from(order_id),
                       .shopper_id = str_from(s->shopper_id),
                       .totals = {{1, STR("USD")}, {0, STR("USD")}, {0, STR("USD")}, {0, STR("USD")}, {1, STR("USD")}},
                       .ship_to = {STR("US"), STR("IL")},
                       .personal_ref = STR("ref"),
                       .location = STR("main"),
                       .payment_method = STR("pm"),
                       .placed_at = 1700000000000000}});
}

static inline double metric(struct server *s, const char *name) {
    struct reply reply = ask(s, "GET", "/metrics", NULL, NULL, NULL);
    const char *at = strstr(reply.body.ptr, format(s, "\n%s ", name));
    if (!at)
        fail_msg("there is no metric %s", name);
    return strtod(at + strlen(name) + 2, NULL);
}

static inline void await_metric(struct server *s, const char *name, double want) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    while (metric(s, name) != want) {
        if (clock_monotonic_us() > until_us)
            fail_msg("%s is %g instead of %g", name, metric(s, name), want);
        clock_sleep_ms(5);
    }
}

/* An id of the shopper's. */
static inline const char *order_id_new(struct server *s, const char *name) {
    const struct str parts[] = {STR("order"), str_from(name)};
    struct id id = id_owned_derive(str_from(s->shopper_id), parts, 2, &s->config.id_secrets);
    return format(s, "%s", id.text);
}

static inline void order_is(const char *order_id, int32_t version, enum order_status status) {
    struct str id = str_from(order_id);
    struct message message;
    switch (status) {
    case ORDER_STATUS_AWAITING_PAYMENT:
        message = (struct message){.type = MESSAGE_ORDER_AWAITING_PAYMENT,
                                   .order_awaiting_payment = {.order_id = id, .version = version}};
        break;
    case ORDER_STATUS_CONFIRMED:
        message = (struct message){.type = MESSAGE_ORDER_CONFIRMED,
                                   .order_confirmed = {.order_id = id, .version = version, .payment_id = id}};
        break;
    case ORDER_STATUS_CANCELLED:
        message = (struct message){
            .type = MESSAGE_ORDER_CANCELLED,
            .order_cancelled = {.order_id = id, .version = version, .reason = STR("cancelled-by-shopper")}};
        break;
    default:
        fail_msg("no event for status %d", status);
    }
    order_says(order_id, message);
}

#endif
