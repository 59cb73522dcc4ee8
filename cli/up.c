/* orderlog up: every role in one process, each on threads of its own. */
#include "cli/cli.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/server.h"
#include "consumers/gauges.h"
#include "consumers/loop.h"
#include "consumers/provider.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/logging.h"
#include "core/base/process_metrics.h"
#include "core/base/thread.h"
#include "core/store/pg.h"
#include "producers/topics.h"
#include "projections/loop.h"
#include "projections/migrate.h"

/* A projector that waits a little writes more rows with one statement; what shoppers look at waits less. */
enum { UP_REDIS_LINGER_MS = 5, UP_POSTGRES_LINGER_MS = 200 };

enum { UP_PARTITIONS = 4, UP_DECIDERS = 5, UP_PROJECTORS = 2 * VIEW_COUNT, UP_RETRY_MS = 500 };

static const struct decider *const deciders[UP_DECIDERS] = {
    &checkout_decider, &orders_decider, &inventory_decider, &payments_decider, &fulfilment_decider,
};

struct up;

struct projector {
    struct up *up;
    struct projector_config config;
    struct projector_waker waker;
    struct projector_status status;
    size_t count; /* how many its thread has, from this one on */
    pthread_t thread;
    bool started;
};

struct up {
    struct log *log;
    struct api_config api_config;
    struct api *api;
    struct shop shop;
    struct locations locations;
    struct provider *provider;
    const char *database_url;
    const char *redis_url;
    struct loop *loop;
    struct projector projectors[UP_PROJECTORS];
    struct gauges *gauges;
    atomic_bool stop;
    atomic_bool stop_projectors;
    atomic_bool failed;   /* to start */
    atomic_bool deciding; /* the loop was started */
    atomic_bool projector_failed;
    pthread_t starter;
    bool starter_started;
};

/* ---- settings ---- */

/* A setting in seconds, kept in microseconds. */
static bool load_seconds(const char *key, int64_t *us, struct err *err) {
    int64_t seconds;
    if (!config_int(key, *us / 1000000, 1, INT64_C(10) * 365 * 24 * 3600, &seconds, err))
        return false;
    *us = seconds * 1000000;
    return true;
}

static bool load_shop(struct up *up, struct err *err) {
    up->shop = shop_defaults();
    up->shop.currency = str_from(config_get("ORDERLOG_CURRENCY", "USD"));
    if (up->shop.currency.len != 3)
        return err_set(err, ERR_CONFIG, "ORDERLOG_CURRENCY must be an ISO 4217 code such as USD");
    if (!locations_parse(config_get("ORDERLOG_LOCATIONS", "main:0"), &up->locations, err))
        return false;
    up->shop.location = locations_first(&up->locations);
    return load_seconds("ORDERLOG_PAYMENT_DEADLINE_SECONDS", &up->shop.payment_deadline_us, err) &&
           load_seconds("ORDERLOG_CART_ABANDON_SECONDS", &up->shop.cart_abandon_us, err) &&
           load_seconds("ORDERLOG_HOLD_EXPIRY_SECONDS", &up->shop.hold_expiry_us, err);
}

static bool open_provider(struct up *up, struct err *err) {
    const char *url;
    const char *secret = "";
    int64_t timeout_ms;
    if (!config_require("ORDERLOG_PROVIDER", &url, err) ||
        !config_int("ORDERLOG_PROVIDER_TIMEOUT_MS", PROVIDER_TIMEOUT_MS, 10, 300000, &timeout_ms, err))
        return false;
    if (strcmp(url, "instant") != 0 && !config_require("ORDERLOG_PROVIDER_SECRET", &secret, err))
        return false;
    return provider_open(url, str_from(secret), timeout_ms, &up->provider, err);
}

static bool open_log(struct up *up, struct err *err) {
    const char *url;
    int64_t partitions;
    struct log_options options = {0};
    if (!config_require("ORDERLOG_LOG", &url, err) ||
        !config_int("ORDERLOG_PARTITIONS", UP_PARTITIONS, 1, 1024, &partitions, err) ||
        !log_open(url, &options, &up->log, err) || !topics_create(up->log, (int32_t)partitions, err))
        return false;
    for (size_t i = 0; i < up->locations.count; i++)
        if (up->locations.items[i].partition >= partitions)
            return err_set(err, ERR_CONFIG, "ORDERLOG_LOCATIONS: %s has partition %d, but topics have %lld",
                           up->locations.items[i].name, up->locations.items[i].partition, (long long)partitions);
    return true;
}

/* ---- deciders and projectors ---- */

static bool migrate(struct up *up, struct err *err) {
    struct pg *pg;
    if (!loop_migrate(up->database_url, deciders, UP_DECIDERS, err) || !pg_open(up->database_url, NULL, &pg, err))
        return false;
    bool ok = projections_migrate(pg, err);
    pg_close(pg);
    return ok;
}

/* In one loop: what one decider says to another goes to it in memory, and one transaction is for all. */
static bool start_loop(struct up *up, struct err *err) {
    const struct loop_config config = {.deciders = deciders,
                                       .decider_count = UP_DECIDERS,
                                       .log = up->log,
                                       .database_url = up->database_url,
                                       .shop = &up->shop,
                                       .locations = &up->locations,
                                       .call = provider_call,
                                       .call_user = up->provider};
    return loop_start(&config, &up->loop, err);
}

/* Those of one store, from the first that has the thread on. */
static void *projectors_main(void *user) {
    struct projector *first = user;
    const struct projector_config *configs[VIEW_COUNT];
    struct err err = {0};
    if (first->count > 1)
        thread_name("%s-views", first->config.store->name);
    else
        thread_name("pg-%s", first->config.view->name);
    for (size_t i = 0; i < first->count; i++)
        configs[i] = &first[i].config;
    if (!projector_run_together(first->up->log, configs, first->count, &first->up->stop_projectors, &err)) {
        logging_err(&err, "projector.stopped", "store=%s view=%s", first->config.store->name,
                    first->count > 1 ? "all" : first->config.view->name);
        atomic_store(&first->up->projector_failed, true);
    }
    return NULL;
}

static void set_up_projectors(struct up *up) {
    for (int i = 0; i < UP_PROJECTORS; i++) {
        struct projector *projector = &up->projectors[i];
        bool redis = i < VIEW_COUNT;
        *projector = (struct projector){.up = up, .waker = PROJECTOR_WAKER_INIT, .status = PROJECTOR_STATUS_INIT};
        projector->config = (struct projector_config){.store = redis ? &projector_redis : &projector_postgres,
                                                      .url = redis ? up->redis_url : up->database_url,
                                                      .view = views_all[i % VIEW_COUNT],
                                                      .shop = &up->shop,
                                                      .status = &projector->status,
                                                      .waker = &projector->waker,
                                                      .linger_ms = redis ? UP_REDIS_LINGER_MS : UP_POSTGRES_LINGER_MS};
    }
}

/* Redis's views share a thread, because they share round trips. PostgreSQL's have one each: what is wrong with one does
 * not hold up the others. */
static bool start_projectors(struct up *up, struct err *err) {
    set_up_projectors(up);
    for (int i = 0; i < UP_PROJECTORS; i++) {
        struct projector *projector = &up->projectors[i];
        projector->count = i == 0 ? VIEW_COUNT : 1;
        if (i > 0 && i < VIEW_COUNT)
            continue;
        if (pthread_create(&projector->thread, NULL, projectors_main, projector) != 0)
            return err_set(err, ERR_INTERNAL, "no thread can be started");
        projector->started = true;
    }
    return true;
}

/* The API takes writes at once; deciders and views follow as soon as PostgreSQL answers. */
static void *starter_main(void *user) {
    struct up *up = user;
    struct err err = {0};
    thread_name("starter");
    while (!atomic_load(&up->stop) && !migrate(up, &err)) {
        logging_err(&err, "up.database_away", " ");
        clock_sleep_ms(UP_RETRY_MS);
    }
    if (atomic_load(&up->stop))
        return NULL;
    if (!start_loop(up, &err) || !start_projectors(up, &err)) {
        logging_err(&err, "up.cannot_start", " ");
        atomic_store(&up->failed, true);
        kill(getpid(), SIGTERM);
        return NULL;
    }
    atomic_store(&up->deciding, true);
    return NULL;
}

static bool is_ready(void *user, struct buf *why) {
    struct up *up = user;
    if (!atomic_load(&up->deciding)) {
        buf_printf(why, "waiting for PostgreSQL");
        return false;
    }
    if (!loop_ready(up->loop, why))
        return false;
    if (atomic_load(&up->projector_failed))
        buf_printf(why, "a projector has stopped; the log says why");
    return !atomic_load(&up->projector_failed);
}

static void report(void *user, struct checks *checks) {
    struct up *up = user;
    gauges_check(up->gauges, checks);
    if (!atomic_load(&up->deciding))
        return;
    loop_check(up->loop, checks);
    for (int i = 0; i < UP_PROJECTORS; i++)
        projector_check(&up->projectors[i].status, checks);
}

/* ---- life ---- */

/* A connection is a descriptor, and the soft limit that shells give is far below what the API is made for. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool start(struct up *up, struct err *err) {
    if (!load_shop(up, err) || !config_require("DATABASE_URL", &up->database_url, err) ||
        !config_require("REDIS_URL", &up->redis_url, err) || !open_provider(up, err) ||
        !api_config_load(&up->shop, &up->locations, &up->api_config, err) || !open_log(up, err))
        return false;
    const struct gauges_config gauges = {.log = up->log, .database_url = up->database_url, .redis_url = up->redis_url};
    if (!gauges_start(&gauges, &up->gauges, err))
        return false;
    up->api_config.ready = is_ready;
    up->api_config.report = report;
    up->api_config.ready_user = up;
    if (!api_start(&up->api_config, up->log, &up->api, err))
        return false;
    if (pthread_create(&up->starter, NULL, starter_main, up) != 0)
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    up->starter_started = true;
    return true;
}

/* From the shoppers down: no new writes, then nothing more to decide, then nothing more to show. */
static void stop(struct up *up) {
    atomic_store(&up->stop, true);
    if (up->starter_started)
        pthread_join(up->starter, NULL);
    api_stop(up->api);
    loop_stop(up->loop);
    atomic_store(&up->stop_projectors, true);
    for (int i = 0; i < UP_PROJECTORS; i++)
        if (up->projectors[i].started) {
            projector_wake(&up->projectors[i].waker);
            pthread_join(up->projectors[i].thread, NULL);
        }
    for (int i = 0; i < UP_PROJECTORS; i++)
        projector_status_free(&up->projectors[i].status);
    gauges_stop(up->gauges);
    provider_close(up->provider);
    log_close(up->log);
}

int up_main(int argc, char **argv) {
    struct up *up = mem_zalloc(sizeof(*up));
    struct err err = {0};
    sigset_t signals;
    int received, status = CLI_OK;
    if (getopt_long(argc, argv, "", (struct option[]){{0}}, NULL) != -1)
        status = cli_usage_hint();
    else if (!cli_no_operands(argc, argv))
        status = CLI_USAGE;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread, so that all inherit it */
    raise_descriptor_limit();
    process_metrics_start();
    if (status == CLI_OK && !start(up, &err))
        status = cli_fail(&err);
    if (status == CLI_OK) {
        logging_write(LOG_INFO, "up.started", "port=%d version=%s", api_port(up->api), ORDERLOG_VERSION);
        sigwait(&signals, &received);
        logging_write(LOG_INFO, "up.stopping", "signal=%d", received);
    }
    stop(up);
    if (atomic_load(&up->failed))
        status = CLI_USAGE;
    free(up);
    return status;
}
