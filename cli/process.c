#include "cli/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/probes.h"
#include "api/server.h"
#include "cli/cli.h"
#include "cli/emf.h"
#include "cli/process_notifier.h"
#include "cli/process_projectors.h"
#include "cli/process_settings.h"
#include "consumers/gauges.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "projections/views_dynamodb.h"
#include "core/base/logging.h"
#include "core/base/process_metrics.h"
#include "core/base/service_manager.h"
#include "core/base/thread.h"
#include "core/store/pg.h"
#include "core/trace/trace.h"
#include "projections/migrate.h"

enum { RETRY_MS = 500 };

static const struct decider *const all_deciders[] = {
    &checkout_decider, &orders_decider, &inventory_decider, &payments_decider, &fulfilment_decider,
};

struct process {
    const struct process_roles *roles;
    struct log *log;
    struct api *api;
    struct probes *probes;
    struct shop shop;
    struct locations locations;
    struct provider *provider;
    const char *database_url;
    const char *redis_url;
    const char *views_url;
    struct loop *loop;
    struct notifier_role *notifier;
    struct projectors *projectors;
    struct gauges *gauges;
    struct lag_left left;
    atomic_bool stop;
    atomic_bool failed; /* to start */
    atomic_bool log_is_open;
    atomic_bool running; /* deciders and projectors were started */
    pthread_t starter;
    bool starter_started;
};

bool process_add_decider(struct process_roles *roles, struct str service) {
    if (str_eq(service, STR("notifier"))) {
        roles->notifies = true;
        return true;
    }
    for (size_t i = 0; i < sizeof all_deciders / sizeof all_deciders[0]; i++) {
        if (!str_eq(service, str_from(all_deciders[i]->service)))
            continue;
        for (size_t j = 0; j < roles->decider_count; j++)
            if (roles->deciders[j] == all_deciders[i])
                return true;
        roles->deciders[roles->decider_count++] = all_deciders[i];
        return true;
    }
    return false;
}

void process_add_deciders(struct process_roles *roles) {
    for (size_t i = 0; i < sizeof all_deciders / sizeof all_deciders[0]; i++)
        (void)process_add_decider(roles, str_from(all_deciders[i]->service));
}

static bool makes_calls(const struct process_roles *roles) {
    for (size_t i = 0; i < roles->decider_count; i++)
        if (roles->deciders[i] == &payments_decider)
            return true;
    return false;
}

/* ---- deciders and projectors, once PostgreSQL answers ---- */

static bool migrate(struct process *process, struct err *err) {
    const struct process_roles *roles = process->roles;
    struct pg *pg;
    if (roles->decider_count && !loop_migrate(process->database_url, roles->deciders, roles->decider_count, err))
        return false;
    if (process->notifier && !notifier_role_migrate(process->notifier, err))
        return false;
    if (!roles->projects[PROCESS_POSTGRES])
        return true;
    if (!pg_open(process->database_url, NULL, &pg, err))
        return false;
    bool ok = projections_migrate(pg, err);
    pg_close(pg);
    return ok;
}

/* In one loop: what one decider says to another goes to it in memory, and one transaction is for all. */
static bool start_loop(struct process *process, struct err *err) {
    const struct loop_config config = {.deciders = process->roles->deciders,
                                       .decider_count = process->roles->decider_count,
                                       .log = process->log,
                                       .database_url = process->database_url,
                                       .shop = &process->shop,
                                       .locations = &process->locations,
                                       .call = process->provider ? provider_call : NULL,
                                       .call_user = process->provider,
                                       .calls_at_once =
                                           process->provider ? provider_calls_at_once(process->provider) : 0};
    return !config.decider_count || loop_start(&config, &process->loop, err);
}

static bool start_projectors(struct process *process, struct err *err) {
    const bool *projects = process->roles->projects;
    const struct projectors_config config = {
        .log = process->log,
        .shop = &process->shop,
        .urls = {[PROCESS_REDIS] = projects[PROCESS_REDIS] ? process->redis_url : NULL,
                 [PROCESS_POSTGRES] = projects[PROCESS_POSTGRES] ? process->database_url : NULL},
        .views_url = process->views_url};
    return (!projects[PROCESS_REDIS] && !projects[PROCESS_POSTGRES]) ||
           projectors_start(&config, &process->projectors, err);
}

static bool start_notifier(struct process *process, struct err *err) {
    return !process->notifier ||
           notifier_role_start(process->notifier, process->log, &process->shop, &process->locations, err);
}

static bool start_deciding(struct process *process, struct err *err) {
    return (process->loop || start_loop(process, err)) && (process->projectors || start_projectors(process, err)) &&
           start_notifier(process, err);
}

/* The API takes writes at once; deciders and views follow as soon as PostgreSQL answers. */
static void *starter_main(void *user) {
    struct process *process = user;
    struct err err = {0};
    thread_name("starter");
    while (!atomic_load(&process->stop) && !migrate(process, &err)) {
        logging_err(&err, "process.database_away", " ");
        clock_sleep_ms(RETRY_MS);
    }
    if (atomic_load(&process->stop))
        return NULL;
    while (!atomic_load(&process->stop) && !start_deciding(process, &err)) {
        if (err.kind == ERR_LOG_UNAVAILABLE) {
            logging_err(&err, "process.log_away", " ");
            clock_sleep_ms(RETRY_MS);
            continue;
        }
        logging_err(&err, "process.cannot_start", " ");
        atomic_store(&process->failed, true);
        kill(getpid(), SIGTERM);
        return NULL;
    }
    atomic_store(&process->running, true);
    return NULL;
}

/* ---- probes ---- */

static bool is_ready(void *user, struct buf *why) {
    struct process *process = user;
    if (!atomic_load(&process->running)) {
        buf_printf(why, "waiting for %s", atomic_load(&process->log_is_open) ? "PostgreSQL" : "the log");
        return false;
    }
    if (process->loop && !loop_ready(process->loop, why))
        return false;
    /* Who sells must not be taken for unready because nobody can be told of it. */
    if (process->notifier && !process->roles->api && !notifier_role_ready(process->notifier, why))
        return false;
    if (process->projectors && !projectors_run(process->projectors)) {
        buf_printf(why, "a projector has stopped; the log says why");
        return false;
    }
    return true;
}

static void report(void *user, struct checks *checks) {
    struct process *process = user;
    if (!atomic_load(&process->running))
        return;
    if (process->gauges)
        gauges_check(process->gauges, checks);
    if (process->loop)
        loop_check(process->loop, checks);
    if (process->notifier)
        notifier_role_check(process->notifier, checks);
    if (process->projectors)
        projectors_check(process->projectors, checks);
}

/* What the API's server would say of the roles, for a process without one. */
static void report_alone(void *user, struct checks *checks) {
    BUF_AUTO why = {0};
    bool ready = is_ready(user, &why);
    checks_add(checks, ready ? CHECK_OK : CHECK_FAILED, buf_str(&why), "roles");
    report(user, checks);
}

/* ---- start ---- */

/* A connection is a descriptor, and the soft limit that shells give is far below what the API is made for. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool load_settings(struct process *process, struct err *err) {
    const struct process_roles *roles = process->roles;
    bool postgres = roles->api || roles->decider_count || roles->notifies || roles->projects[PROCESS_POSTGRES];
    bool redis = roles->api || roles->projects[PROCESS_REDIS];
    return process_shop_load(&process->shop, &process->locations, err) &&
           (!postgres || config_require("DATABASE_URL", &process->database_url, err)) &&
           (!redis ||
            (config_require("REDIS_URL", &process->redis_url, err) && views_url_load(&process->views_url, err))) &&
           (!makes_calls(roles) || process_provider_open(&process->provider, err)) &&
           (!roles->notifies || notifier_role_open(process->database_url, &process->notifier, err));
}

static bool start_probes(struct process *process, struct err *err) {
    const struct probes_config config = {
        .listen = config_get("ORDERLOG_LISTEN", NULL), .report = report_alone, .user = process};
    return process->roles->api || !config.listen || probes_start(&config, &process->probes, err);
}

/* False: stopped meanwhile, or it cannot be opened. */
static bool wait_for_log(struct process *process, const sigset_t *signals, int *ret_signal, struct err *err) {
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
    bool worth_waiting;
    *ret_signal = 0;
    while (!process_log_open(process->roles->makes_topics, &process->locations, &process->log, &worth_waiting, err)) {
        if (!worth_waiting || err->kind != ERR_LOG_UNAVAILABLE)
            return false;
        logging_err(err, "process.log_away", " ");
        *ret_signal = sigtimedwait(signals, NULL, &pause);
        if (*ret_signal > 0)
            return false;
    }
    atomic_store(&process->log_is_open, true);
    return true;
}

static bool start_api(struct process *process, struct err *err) {
    struct api_config config;
    if (!api_config_load(&process->shop, &process->locations, &config, err))
        return false;
    config.ready = is_ready;
    config.report = report;
    config.ready_user = process;
    return api_start(&config, process->log, &process->api, err);
}

/* What waits in the deciders' tables is told by those that decide. Where movable views are is known for certain only to
 * those that need it set. */
static bool start_gauges(struct process *process, struct err *err) {
    if (process->redis_url)
        views_groups_left(process->views_url, &process->left);
    const struct gauges_config config = {.log = process->log,
                                         .left = &process->left,
                                         .database_url = process->database_url,
                                         .redis_url = process->redis_url};
    return (!process->roles->decider_count && !process->roles->notifies) ||
           gauges_start(&config, &process->gauges, err);
}

static bool start_roles(struct process *process, struct err *err) {
    if (!start_gauges(process, err) || (process->roles->api && !start_api(process, err)))
        return false;
    if (pthread_create(&process->starter, NULL, starter_main, process) != 0)
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    process->starter_started = true;
    return true;
}

/* ---- stop ---- */

/* From the shoppers down: no new writes, then nothing more to decide, then nothing more to show. */
static void stop(struct process *process) {
    atomic_store(&process->stop, true);
    if (process->starter_started)
        pthread_join(process->starter, NULL);
    api_stop(process->api);
    probes_stop(process->probes);
    loop_stop(process->loop);
    notifier_role_close(process->notifier);
    projectors_stop(process->projectors);
    gauges_stop(process->gauges);
    provider_close(process->provider);
    log_close(process->log);
    emf_stop();
    trace_stop();
}

static int port_of(const struct process *process) {
    return process->api ? api_port(process->api) : process->probes ? probes_port(process->probes) : 0;
}

/* Meanwhile systemd, if it asked for that, is told that we are alive. */
static int wait_for_signal(const sigset_t *signals) {
    int64_t period_ms = service_manager_watchdog_ms();
    const struct timespec period = {.tv_sec = period_ms / 1000, .tv_nsec = period_ms % 1000 * 1000000};
    for (;;) {
        int received = sigtimedwait(signals, NULL, period_ms ? &period : NULL);
        if (received > 0)
            return received;
        if (errno == EAGAIN)
            (void)service_manager_tell("WATCHDOG=1");
    }
}

static int run(struct process *process, const sigset_t *signals) {
    struct err err = {0};
    int received = 0;
    if (!load_settings(process, &err) || !emf_start(&err) || !trace_start(&err) || !start_probes(process, &err))
        return cli_fail(&err);
    if (!wait_for_log(process, signals, &received, &err) && received <= 0)
        return cli_fail(&err);
    if (received <= 0) {
        if (!start_roles(process, &err))
            return cli_fail(&err);
        logging_write(LOG_INFO, "process.started", "port=%d version=%s", port_of(process), ORDERLOG_VERSION);
        (void)service_manager_tell("READY=1");
        received = wait_for_signal(signals);
    }
    (void)service_manager_tell("STOPPING=1");
    logging_write(LOG_INFO, "process.stopping", "signal=%d", received);
    return CLI_OK;
}

int process_run(const struct process_roles *roles) {
    struct process *process = mem_zalloc(sizeof(*process));
    sigset_t signals;
    process->roles = roles;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread, so that all inherit it */
    raise_descriptor_limit();
    process_metrics_start();
    int status = run(process, &signals);
    stop(process);
    if (atomic_load(&process->failed))
        status = CLI_USAGE;
    free(process);
    return status;
}
