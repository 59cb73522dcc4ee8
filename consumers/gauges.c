#include "consumers/gauges_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/thread.h"
#include "core/store/redis.h"

enum { LOG_INTERVAL_MS = 2000, STORE_INTERVAL_MS = 10000 };

/* A query that takes longer is given up: it must not burden a database that is in trouble. */
static const char session_settings[] =
    "SET statement_timeout = '2s'; SET default_transaction_read_only = on; "
    "SET enable_seqscan = off; SET jit = off; SET application_name = 'orderlog-gauges'";

enum answer { ANSWER_NOT_ASKED, ANSWER_YES, ANSWER_NO };

struct source {
    const char *name;
    struct metric *up;
    _Atomic enum answer answer;
};

struct gauges {
    struct gauges_config config;
    pthread_t thread;
    pthread_mutex_t lock; /* for `changed` */
    pthread_cond_t changed;
    bool stopping;
    struct gauges_lag lag;
    struct gauges_tables tables;
    struct gauges_payments payments;
    struct pg *pg;
    struct redis *redis;
    struct source postgres, redis_source;
    bool log_answers, tables_answer;
    atomic_bool disk_known;
    _Atomic int64_t disk_free, disk_size;
    struct metric *used, *free, *size, *updated;
};

/* ---- the rounds ---- */

static void note(struct source *source, bool ok, const struct err *err) {
    enum answer now = ok ? ANSWER_YES : ANSWER_NO, before = atomic_exchange(&source->answer, now);
    if (!source->up) {
        BUF_AUTO labels = {0};
        buf_printf(&labels, "store=\"%s\"", source->name);
        source->up =
            metrics_gauge("orderlog_store_up", "1: it answered when it was last asked; 0: it did not.", labels.ptr);
    }
    metrics_set(source->up, ok);
    if (now == before)
        return;
    if (ok && before != ANSWER_NOT_ASKED)
        logging_write(LOG_INFO, "gauges.store_back", "store=%s", source->name);
    if (!ok)
        logging_err(err, "gauges.store_away", "store=%s", source->name);
}

static bool connect_postgres(struct gauges *gauges, struct err *err) {
    if (!gauges->pg)
        return pg_open(gauges->config.database_url, session_settings, &gauges->pg, err);
    return pg_connected(gauges->pg) || pg_reset(gauges->pg, err);
}

/* A server that answers may still refuse the question: just after the very first start, there are no tables yet. */
static bool ask_postgres(struct gauges *gauges) {
    struct err err = {0};
    bool known = connect_postgres(gauges, &err) && gauges_tables_round(&gauges->tables, gauges->pg, &err) &&
                 gauges_payments_round(&gauges->payments, gauges->pg, gauges->config.log, &err);
    note(&gauges->postgres, known || err.kind != ERR_STORE_UNAVAILABLE, &err);
    if (known)
        metrics_set(gauges->updated, (double)clock_now_us() / 1e6);
    else {
        gauges_tables_unset(&gauges->tables);
        gauges_payments_unset(&gauges->payments);
    }
    if (!known && gauges->tables_answer && err.kind != ERR_STORE_UNAVAILABLE)
        logging_err(&err, "gauges.tables_unknown", " ");
    gauges->tables_answer = known;
    return known;
}

static bool ask_redis(struct gauges *gauges, struct err *err) {
    static const struct str ping[] = {{"PING", 4}};
    const struct redisReply *reply;
    return (gauges->redis || redis_open(gauges->config.redis_url, NULL, &gauges->redis, err)) &&
           redis_call(gauges->redis, ping, 1, &reply, err);
}

/* False: what PostgreSQL holds is not known. */
static bool stores_round(struct gauges *gauges) {
    struct err err = {0};
    bool known = !gauges->config.database_url || ask_postgres(gauges);
    if (gauges->config.redis_url) {
        bool ok = ask_redis(gauges, &err);
        note(&gauges->redis_source, ok, &err);
    }
    return known;
}

static void set_usage(struct gauges *gauges) {
    struct log_usage usage;
    struct err err = {0};
    bool known = log_usage_read(gauges->config.log, &usage, &err);
    atomic_store(&gauges->disk_known, known);
    if (!known) {
        metrics_unset(gauges->used);
        metrics_unset(gauges->free);
        metrics_unset(gauges->size);
        return;
    }
    atomic_store(&gauges->disk_free, usage.free_bytes);
    atomic_store(&gauges->disk_size, usage.disk_bytes);
    metrics_set(gauges->used, (double)usage.used_bytes);
    metrics_set(gauges->free, (double)usage.free_bytes);
    metrics_set(gauges->size, (double)usage.disk_bytes);
}

static void log_round(struct gauges *gauges) {
    struct err err = {0};
    bool ok = gauges_lag_round(&gauges->lag, &err);
    if (!ok && gauges->log_answers)
        logging_err(&err, "gauges.lag_unknown", " ");
    gauges->log_answers = ok;
    set_usage(gauges);
}

/* ---- the thread ---- */

static void sleep_until(struct gauges *gauges, int64_t until_us) {
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000 * 1000)};
    pthread_mutex_lock(&gauges->lock);
    while (!gauges->stopping && clock_monotonic_us() < until_us)
        pthread_cond_timedwait(&gauges->changed, &gauges->lock, &until);
    pthread_mutex_unlock(&gauges->lock);
}

static bool is_stopping(struct gauges *gauges) {
    pthread_mutex_lock(&gauges->lock);
    bool stopping = gauges->stopping;
    pthread_mutex_unlock(&gauges->lock);
    return stopping;
}

static void *gauges_main(void *user) {
    struct gauges *gauges = user;
    int64_t log_us = gauges->config.log_interval_ms * 1000, store_us = gauges->config.store_interval_ms * 1000;
    int64_t stores_at_us = 0;
    thread_name("gauges");
    while (!is_stopping(gauges)) {
        int64_t now_us = clock_monotonic_us();
        log_round(gauges);
        if (now_us >= stores_at_us) {
            bool known = stores_round(gauges);
            stores_at_us = now_us + (known ? store_us : log_us);
        }
        sleep_until(gauges, now_us + log_us);
    }
    return NULL;
}

/* ---- start and stop ---- */

static void register_metrics(struct gauges *gauges) {
    gauges->used = metrics_gauge("orderlog_log_size_bytes", "Room that the embedded log takes on the disk.", "");
    gauges->free = metrics_gauge("orderlog_log_disk_free_bytes", "Room that is left on the log's disk.", "");
    gauges->size = metrics_gauge("orderlog_log_disk_size_bytes", "Size of the log's disk.", "");
    gauges->updated =
        metrics_gauge("orderlog_gauges_updated_timestamp_seconds",
                      "When what waits in PostgreSQL was last asked for, since unix epoch in seconds.", "");
    struct metric *const all[] = {gauges->used, gauges->free, gauges->size, gauges->updated};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        metrics_unset(all[i]);
}

bool gauges_start(const struct gauges_config *config, struct gauges **ret, struct err *err) {
    struct gauges *gauges = mem_zalloc(sizeof *gauges);
    gauges->config = *config;
    if (!gauges->config.log_interval_ms)
        gauges->config.log_interval_ms = LOG_INTERVAL_MS;
    if (!gauges->config.store_interval_ms)
        gauges->config.store_interval_ms = STORE_INTERVAL_MS;
    gauges->lag.log = config->log;
    gauges->lag.left = config->left;
    gauges->log_answers = true;
    gauges->postgres.name = "postgres";
    gauges->redis_source.name = "redis";
    register_metrics(gauges);
    pthread_mutex_init(&gauges->lock, NULL);
    thread_cond_init(&gauges->changed);
    if (pthread_create(&gauges->thread, NULL, gauges_main, gauges) != 0) {
        free(gauges);
        return err_set(err, ERR_INTERNAL, "no thread can be started for the gauges");
    }
    *ret = gauges;
    return true;
}

void gauges_stop(struct gauges *gauges) {
    if (!gauges)
        return;
    pthread_mutex_lock(&gauges->lock);
    gauges->stopping = true;
    pthread_cond_signal(&gauges->changed);
    pthread_mutex_unlock(&gauges->lock);
    pthread_join(gauges->thread, NULL);
    gauges_lag_close(&gauges->lag);
    gauges_tables_close(&gauges->tables);
    gauges_payments_unset(&gauges->payments);
    pg_close(gauges->pg);
    redis_close(gauges->redis);
    pthread_cond_destroy(&gauges->changed);
    pthread_mutex_destroy(&gauges->lock);
    free(gauges);
}

/* ---- probes ---- */

enum { DISK_LOW_PERCENT = 5 };

static void check_store(const struct source *source, struct checks *checks) {
    enum answer answer = atomic_load(&source->answer);
    if (answer != ANSWER_NOT_ASKED)
        checks_add(checks, answer == ANSWER_YES ? CHECK_OK : CHECK_WARNING,
                   answer == ANSWER_YES ? STR_NULL : STR("did not answer when it was last asked"), "%s", source->name);
}

void gauges_check(struct gauges *gauges, struct checks *checks) {
    check_store(&gauges->postgres, checks);
    check_store(&gauges->redis_source, checks);
    if (!atomic_load(&gauges->disk_known))
        return;
    int64_t free_bytes = atomic_load(&gauges->disk_free), size = atomic_load(&gauges->disk_size);
    BUF_AUTO room = {0};
    buf_printf(&room, "%lld MiB are free on the log's disk", (long long)(free_bytes >> 20));
    checks_add(checks, free_bytes < size / 100 * DISK_LOW_PERCENT ? CHECK_WARNING : CHECK_OK, buf_str(&room), "disk");
}
