#include "api/lag.h"

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/base/thread.h"
#include "core/log/lag.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

enum { DECIDERS = 5 };

static const struct decider *const deciders[DECIDERS] = {
    &checkout_decider, &orders_decider, &inventory_decider, &payments_decider, &fulfilment_decider,
};

struct lag_watch {
    struct log *log;
    int64_t interval_ms;
    int64_t records_max; /* -1: no limit, as below */
    int64_t age_max_us;
    struct lag_ages *ages;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closing;
    bool failing; /* which the log knows */
    atomic_bool sheds;
    struct metric *sheds_metric;
};

struct lag {
    int64_t records;
    int64_t age_us;
};

/* ---- measuring ---- */

static bool position_find(const struct log_group_position *told, size_t count, const struct decider *decider,
                          struct str topic, int32_t partition, int64_t *ret) {
    for (size_t i = 0; i < count; i++)
        if (told[i].position.partition == partition && str_eq(told[i].group, str_from(decider->service)) &&
            str_eq(told[i].position.topic, topic)) {
            *ret = told[i].position.offset;
            return true;
        }
    return false;
}

/* All inputs of all deciders, in their order. */
struct ends {
    struct log_position *high, *low;
    size_t count;
};

static void ends_free(struct ends *ends) {
    free(ends->high);
    free(ends->low);
}

static bool ends_add(struct log *log, const struct decider *decider, struct ends *ends, struct err *err) {
    struct log_topic topic;
    if (!log_topic_find(log, str_from(decider->inputs[0]), &topic, err))
        return false;
    size_t more = ends->count + decider->input_count * (size_t)topic.partitions;
    ends->high = mem_realloc(ends->high, more * sizeof *ends->high);
    for (size_t i = 0; i < decider->input_count; i++)
        for (int32_t p = 0; p < topic.partitions; p++)
            ends->high[ends->count++] = (struct log_position){str_from(decider->inputs[i]), p, 0};
    return true;
}

static bool ends_read(struct log *log, struct ends *ret, struct err *err) {
    for (size_t i = 0; i < DECIDERS; i++)
        if (!ends_add(log, deciders[i], ret, err))
            return false;
    ret->low = mem_alloc(ret->count * sizeof *ret->low);
    memcpy(ret->low, ret->high, ret->count * sizeof *ret->low);
    return log_ends(log, ret->high, ret->count, false, err) && log_ends(log, ret->low, ret->count, true, err);
}

/* How far one input of a shard is behind. */
static bool row_measure(struct lag_watch *watch, struct lag_row *row, int64_t low, int64_t *ret_age_us,
                        struct err *err) {
    int64_t from = row->has_position ? row->position : low;
    row->lag = from < row->end ? row->end - from : 0;
    return lag_ages_of(watch->ages, row, ret_age_us, err);
}

/* Of a shard, the oldest record that waits; of a decider, its middle shard: one that has halted is not to stop the
 * others, and when PostgreSQL is away all of them stand still. */
static int64_t middle(int64_t *ages, int32_t count) {
    for (int32_t i = 1; i < count; i++)
        for (int32_t j = i; j > 0 && ages[j - 1] < ages[j]; j--) {
            int64_t age = ages[j];
            ages[j] = ages[j - 1];
            ages[j - 1] = age;
        }
    return count ? ages[(count - 1) / 2] : 0;
}

static bool decider_measure(struct lag_watch *watch, const struct decider *decider,
                            const struct log_group_position *told, size_t count, const struct ends *ends, size_t *at,
                            struct lag *total, struct err *err) {
    struct log_topic topic;
    if (!log_topic_find(watch->log, str_from(decider->inputs[0]), &topic, err))
        return false;
    int32_t shards = topic.partitions;
    int64_t *ages = mem_zalloc((size_t)shards * sizeof *ages);
    bool ok = true;
    for (size_t i = 0; ok && i < decider->input_count; i++)
        for (int32_t shard = 0; ok && shard < shards; shard++) {
            int64_t age_us = 0;
            struct lag_row row = {.group = str_from(decider->service),
                                  .topic = str_from(decider->inputs[i]),
                                  .partition = shard,
                                  .end = ends->high[*at].offset};
            row.has_position = position_find(told, count, decider, row.topic, shard, &row.position);
            ok = row_measure(watch, &row, ends->low[(*at)++].offset, &age_us, err);
            total->records += row.lag;
            if (age_us > ages[shard])
                ages[shard] = age_us;
        }
    int64_t age_us = middle(ages, shards);
    if (age_us > total->age_us)
        total->age_us = age_us;
    free(ages);
    return ok;
}

static bool measure(struct lag_watch *watch, struct lag *ret, struct err *err) {
    struct log_group_position *told;
    struct ends ends = {0};
    size_t count, at = 0;
    *ret = (struct lag){0};
    if (!log_group_positions(watch->log, &told, &count, err))
        return false;
    bool ok = ends_read(watch->log, &ends, err);
    for (size_t i = 0; ok && i < DECIDERS; i++)
        ok = decider_measure(watch, deciders[i], told, count, &ends, &at, ret, err);
    ends_free(&ends);
    free(told);
    return ok;
}

/* ---- deciding ---- */

static bool is_over(const struct lag_watch *watch, const struct lag *lag, int64_t part) {
    return (watch->records_max >= 0 && lag->records > watch->records_max / part) ||
           (watch->age_max_us >= 0 && lag->age_us > watch->age_max_us / part);
}

static void judge(struct lag_watch *watch, const struct lag *lag) {
    bool before = atomic_load(&watch->sheds), now = is_over(watch, lag, before ? 2 : 1);
    if (now && !before)
        logging_write(LOG_WARN, "http.shedding", "records=%" PRId64 " oldest_s=%" PRId64, lag->records,
                      lag->age_us / 1000000);
    if (before && !now)
        logging_write(LOG_INFO, "http.shedding_ended", "records=%" PRId64 " oldest_s=%" PRId64, lag->records,
                      lag->age_us / 1000000);
    atomic_store(&watch->sheds, now);
    metrics_set(watch->sheds_metric, now);
}

/* What cannot be measured changes nothing. */
static void round_of(struct lag_watch *watch) {
    struct err err = {0};
    struct lag lag;
    bool ok = measure(watch, &lag, &err);
    if (ok)
        judge(watch, &lag);
    else if (!watch->failing)
        logging_err(&err, "http.lag_unknown", " ");
    watch->failing = !ok;
}

static void *run(void *user) {
    struct lag_watch *watch = user;
    thread_name("api-lag");
    pthread_mutex_lock(&watch->lock);
    while (!watch->closing) {
        pthread_mutex_unlock(&watch->lock);
        round_of(watch);
        int64_t until_us = clock_monotonic_us() + watch->interval_ms * 1000;
        struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
        pthread_mutex_lock(&watch->lock);
        if (!watch->closing)
            pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

bool lag_watch_sheds(const struct lag_watch *watch) {
    return watch && atomic_load_explicit(&watch->sheds, memory_order_relaxed);
}

/* ---- opening and closing ---- */

static void destroy(struct lag_watch *watch) {
    lag_ages_close(watch->ages);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

bool lag_watch_open(const struct api_config *config, struct log *log, struct lag_watch **ret, struct err *err) {
    *ret = NULL;
    if (config->shed_lag_records < 0 && config->shed_lag_s < 0)
        return true;
    struct lag_watch *watch = mem_zalloc(sizeof *watch);
    watch->log = log;
    watch->ages = lag_ages_open(log);
    watch->interval_ms = config->shed_interval_ms;
    watch->records_max = config->shed_lag_records;
    watch->age_max_us = config->shed_lag_s < 0 ? -1 : config->shed_lag_s * 1000000;
    watch->sheds_metric = metrics_gauge("orderlog_http_shedding",
                                        "1: commands are turned away, because deciders are too far behind.", "");
    metrics_set(watch->sheds_metric, 0);
    thread_cond_init(&watch->wake);
    pthread_mutex_init(&watch->lock, NULL);
    if (pthread_create(&watch->thread, NULL, run, watch) != 0) {
        destroy(watch);
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    }
    *ret = watch;
    return true;
}

void lag_watch_close(struct lag_watch *watch) {
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->closing = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    destroy(watch);
}
