#include <stdio.h>
#include <stdlib.h>

#include "consumers/internal.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/logging.h"
#include "core/base/thread.h"

enum { LOOP_FLUSH_MS = 10000, LOOP_CALLERS = 16 }; /* calls in flight */

/* ---- assignment ---- */

static void mark(struct loop *loop, const struct log_partition *partitions, size_t count, bool assigned) {
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < loop->config.decider->input_count; t++) {
            if (!str_eq(partitions[i].topic, loop->inputs[t].name) || partitions[i].partition >= loop->shard_count)
                continue;
            struct shard *shard = &loop->shards[partitions[i].partition];
            uint32_t all = (1u << loop->config.decider->input_count) - 1;
            shard->assigned = assigned ? shard->assigned | 1u << t : shard->assigned & ~(1u << t);
            if (shard->assigned == all && shard->status == SHARD_AWAY) {
                shard->status = SHARD_WAITING;
                shard->retry_at_us = 0;
            } else if (shard->assigned != all && shard->status != SHARD_AWAY) {
                shard_drop(loop, shard);
                shard->status = SHARD_AWAY;
            }
        }
}

static void on_assigned(void *user, const struct log_partition *partitions, size_t count) {
    struct loop *loop = user;
    loop->assigned_once = true;
    mark(loop, partitions, count, true);
}

static void on_revoked(void *user, const struct log_partition *partitions, size_t count, bool lost) {
    (void)lost; /* a shard that was taken already is fenced by its epoch; dropping it is the same either way */
    mark(user, partitions, count, false);
}

static void wake(void *user) {
    struct loop *loop = user;
    if (atomic_load(&loop->consumer_open))
        log_consumer_wake(loop->consumer);
}

/* ---- start and stop ---- */

/* What was committed is given to the log before the shards are given back. */
static void finish(struct loop *loop) {
    int64_t deadline_us = clock_monotonic_us() + LOOP_FLUSH_MS * INT64_C(1000);
    struct err err = {0};
    while (publisher_backlog_bytes(loop->publisher) && clock_monotonic_us() < deadline_us) {
        bool taken = publisher_pump(loop->publisher, &err);
        if (!taken)
            logging_err(&err, "loop.publisher_waits", "service=%s", loop->config.decider->service);
        clock_sleep_ms(taken ? 1 : 100);
    }
    loop_save_done(loop);
}

static void *loop_main(void *user) {
    struct loop *loop = user;
    struct batch batch;
    thread_name("%s", loop->config.decider->service);
    batch_init(&batch, loop);
    while (!atomic_load(&loop->stop))
        loop_turn(loop, &batch);
    batch_free(&batch);
    finish(loop);
    return NULL;
}

static char *format_sql(const char *format, const char *table) {
    BUF_AUTO sql = {0};
    buf_printf(&sql, format, table);
    return mem_strdup(buf_str(&sql));
}

/* The formats are literals of this function; the table's name goes in once. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void make_statements(struct loop *loop) {
    for (size_t t = 0; t < loop->config.decider->table_count; t++) {
        const char *table = loop->config.decider->tables[t].name;
        loop->sql.load[t] = format_sql("SELECT key, version, closed, state FROM decider.%s WHERE key = ANY($1)", table);
        loop->sql.load_open[t] = format_sql(
            "SELECT key, version, closed, state FROM decider.%s WHERE shard = $1::bigint AND NOT closed", table);
        loop->sql.insert[t] = format_sql(
            "INSERT INTO decider.%s (shard, key, version, guard, closed, state) "
            "SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bytea[])",
            table);
        loop->sql.update[t] = format_sql(
            "UPDATE decider.%s t SET version = u.version, guard = u.guard, closed = u.closed, state = u.state FROM "
            "UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bytea[]) "
            "AS u(shard, key, version, guard, closed, state) WHERE t.key = u.key",
            table);
    }
}
#pragma GCC diagnostic pop

static void register_metrics(struct loop *loop) {
    char labels[64];
    snprintf(labels, sizeof(labels), "service=\"%s\"", loop->config.decider->service);
    loop->metrics.records = metrics_counter("orderlog_decider_records_total", "Records consumed by deciders.", labels);
    loop->metrics.duplicates =
        metrics_counter("orderlog_decider_duplicates_total", "Records dropped by their origin's number.", labels);
    loop->metrics.parked = metrics_counter("orderlog_decider_parked_total", "Records parked.", labels);
    loop->metrics.batches = metrics_counter("orderlog_decider_batches_total", "Batches committed.", labels);
    loop->metrics.batch_seconds =
        metrics_histogram("orderlog_decider_batch_seconds", "Time from poll to commit of a batch.", labels);
    loop->metrics.take_overs = metrics_counter("orderlog_decider_take_overs_total", "Shards taken over.", labels);
    loop->metrics.halted = metrics_counter("orderlog_decider_halts_total", "Times a shard was halted.", labels);
    loop->metrics.emitted = metrics_counter("orderlog_decider_records_out_total",
                                            "Records decided, to be published by the outbox.", labels);
    loop->metrics.backlog = metrics_gauge("orderlog_outbox_backlog_bytes",
                                          "Committed outbox bytes that the log has not acknowledged.", labels);
}

static struct metric *halted_gauge(const char *service, int32_t shard) {
    char labels[96];
    snprintf(labels, sizeof(labels), "service=\"%s\",shard=\"%d\"", service, shard);
    return metrics_gauge("orderlog_shard_halted", "1: this shard moves no further; /readyz?verbose says why.", labels);
}

static bool open_inputs(struct loop *loop, struct err *err) {
    const struct decider *decider = loop->config.decider;
    struct str topics[LOOP_INPUTS_MAX];
    for (size_t i = 0; i < decider->input_count; i++) {
        topics[i] = str_from(decider->inputs[i]);
        if (!log_topic_find(loop->config.log, topics[i], &loop->inputs[i], err))
            return false;
        if (loop->inputs[i].partitions != loop->inputs[0].partitions)
            return err_set(err, ERR_CONFIG, "%s and %s must have the same number of partitions", decider->inputs[0],
                           decider->inputs[i]);
    }
    loop->shard_count = loop->inputs[0].partitions;
    loop->shards = mem_zalloc((size_t)loop->shard_count * sizeof(*loop->shards));
    for (int32_t s = 0; s < loop->shard_count; s++) {
        loop->shards[s] = (struct shard){.index = s, .next_due_us = INT64_MAX, .force_park_offset = -1};
        loop->shards[s].halted_gauge = halted_gauge(decider->service, s);
    }
    struct log_listener listener = {.user = loop, .assigned = on_assigned, .revoked = on_revoked};
    if (!log_consumer_open(loop->config.log, str_from(decider->service), topics, decider->input_count, &listener,
                           &loop->consumer, err))
        return false;
    atomic_store(&loop->consumer_open, true);
    return true;
}

static void close_all(struct loop *loop) {
    /* Both wake the consumer from threads of theirs: they go first. */
    effects_close(loop->effects);
    loop->effects = NULL;
    publisher_close(loop->publisher, LOOP_FLUSH_MS);
    loop->publisher = NULL;
    atomic_store(&loop->consumer_open, false);
    log_consumer_close(loop->consumer);
    catalogue_close(loop->catalogue);
    pg_close(loop->pg);
    for (int32_t s = 0; s < loop->shard_count; s++) {
        shard_drop(loop, &loop->shards[s]);
        free(loop->shards[s].origins);
        free(loop->shards[s].outputs);
        free(loop->shards[s].parked);
    }
    for (int t = 0; t < LOOP_TABLES_MAX; t++) {
        free(loop->sql.load[t]);
        free(loop->sql.load_open[t]);
        free(loop->sql.insert[t]);
        free(loop->sql.update[t]);
    }
    pthread_mutex_destroy(&loop->status_lock);
    checks_free(&loop->status);
    free(loop->shards);
    free(loop->owner);
    free(loop);
}

bool loop_start(const struct loop_config *config, struct loop **ret, struct err *err) {
    struct loop *loop = mem_zalloc(sizeof(*loop));
    struct id owner = id_random();
    loop->config = *config;
    loop->owner = mem_strdup(id_str(&owner));
    pthread_mutex_init(&loop->status_lock, NULL);
    checks_add(&loop->status, CHECK_FAILED, STR("waiting for its shards"), "decider %s", config->decider->service);
    register_metrics(loop);
    make_statements(loop);
    if (config->call)
        loop->effects = effects_open(config->call, config->call_user, LOOP_CALLERS, wake, loop);
    if (!publisher_open(config->log, wake, loop, &loop->publisher, err) ||
        (config->decider->reads_catalogue && !catalogue_open(config->log, &loop->catalogue, err)) ||
        !open_inputs(loop, err)) {
        close_all(loop);
        return false;
    }
    if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0) {
        close_all(loop);
        return err_set(err, ERR_INTERNAL, "no thread can be started for %s", config->decider->service);
    }
    *ret = loop;
    return true;
}

void loop_stop(struct loop *loop) {
    if (!loop)
        return;
    atomic_store(&loop->stop, true);
    wake(loop);
    pthread_join(loop->thread, NULL);
    close_all(loop);
}
