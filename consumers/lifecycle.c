#include <stdio.h>
#include <stdlib.h>

#include "consumers/batch.h"
#include "consumers/flush.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/logging.h"
#include "core/codec/avro.h"
#include "core/base/thread.h"

enum { LOOP_FLUSH_MS = 10000, LOOP_ANSWERS_MS = 5000, LOOP_CALLERS = 16 }; /* calls in flight */

/* ---- assignment ---- */

static void mark_shard(struct shard *shard, size_t input, bool assigned) {
    uint32_t all = (1u << shard->service->decider->input_count) - 1;
    shard->assigned = assigned ? shard->assigned | 1u << input : shard->assigned & ~(1u << input);
    if (shard->assigned == all && shard->status == SHARD_AWAY) {
        shard->status = SHARD_WAITING;
        shard->retry_at_us = 0;
    } else if (shard->assigned != all && shard->status != SHARD_AWAY) {
        shard_drop(shard->service->loop, shard);
        shard->status = SHARD_AWAY;
    }
}

static void mark(struct service *service, const struct log_partition *partitions, size_t count, bool assigned) {
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < service->decider->input_count; t++)
            if (str_eq(partitions[i].topic, service->inputs[t].name) && partitions[i].partition < service->shard_count)
                mark_shard(&service->shards[partitions[i].partition], t, assigned);
}

static void on_assigned(void *user, const struct log_partition *partitions, size_t count) {
    struct service *service = user;
    service->assigned_once = true;
    mark(service, partitions, count, true);
}

static void on_revoked(void *user, const struct log_partition *partitions, size_t count, bool lost) {
    (void)lost; /* a shard that was taken already is fenced by its epoch; dropping it is the same either way */
    mark(user, partitions, count, false);
}

/* ---- start and stop ---- */

/* What comes of the calls in flight is decided while the shards are still ours; what was committed is given to the log
 * before they are given back. */
static void finish(struct loop *loop, struct batch *batch) {
    int64_t deadline_us = clock_monotonic_us() + LOOP_ANSWERS_MS * INT64_C(1000);
    struct err err = {0};
    if (loop->effects)
        effects_stop(loop->effects);
    while (loop->effects && effects_pending(loop->effects) && clock_monotonic_us() < deadline_us)
        loop_turn(loop, batch);
    deadline_us = clock_monotonic_us() + LOOP_FLUSH_MS * INT64_C(1000);
    while (publisher_backlog_bytes(loop->publisher) && clock_monotonic_us() < deadline_us) {
        bool taken = publisher_pump(loop->publisher, &err);
        if (!taken)
            logging_err(&err, "loop.publisher_waits", "service=%s", loop->services[0].decider->service);
        clock_sleep_ms(taken ? 1 : 100);
    }
    /* With nothing left in flight and nothing to flush, the next start has nothing to do again. */
    if (loop->pg && pg_connected(loop->pg) && !flush_now(loop->flush, &err))
        logging_err(&err, "loop.flush_failed", " ");
    loop->idle_save_at_us = 0;
    loop_save_idle(loop, batch);
}

static void *loop_main(void *user) {
    struct loop *loop = user;
    struct batch batch;
    thread_name("%s", loop->service_count == 1 ? loop->services[0].decider->service : "deciders");
    batch_init(&batch, loop);
    while (!atomic_load(&loop->stop))
        loop_turn(loop, &batch);
    finish(loop, &batch);
    batch_free(&batch);
    return NULL;
}

static char *format_sql(const char *format, const char *table) {
    BUF_AUTO sql = {0};
    buf_printf(&sql, format, table);
    return mem_strdup(buf_str(&sql));
}

/* The formats are literals of make_statements; the table's name goes in once. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void make_statements(struct table *table) {
    const char *name = table->spec->name;
    table->load = format_sql("SELECT key, version, closed, state FROM decider.%s WHERE key = ANY($1)", name);
    table->load_open =
        format_sql("SELECT key, version, closed, state FROM decider.%s WHERE shard = $1::bigint AND NOT closed", name);
    table->insert = format_sql(
        "INSERT INTO decider.%s (shard, key, version, guard, closed, state) "
        "SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bytea[])",
        name);
    table->update = format_sql(
        "WITH done AS (UPDATE decider.%s t SET version = u.version, guard = u.guard, closed = u.closed, state = "
        "u.state "
        "FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bytea[]) "
        "AS u(shard, key, version, guard, closed, state) WHERE t.key = u.key AND t.version < u.version RETURNING 1) "
        "SELECT decider.require((SELECT count(*) FROM done), cardinality($2::text[]))",
        name);
}
#pragma GCC diagnostic pop

static bool find_inputs(struct service *service, struct err *err) {
    const struct decider *decider = service->decider;
    for (size_t i = 0; i < decider->input_count; i++) {
        if (!log_topic_find(service->loop->config.log, str_from(decider->inputs[i]), &service->inputs[i], err))
            return false;
        if (service->inputs[i].partitions != service->inputs[0].partitions)
            return err_set(err, ERR_CONFIG, "%s and %s must have the same number of partitions", decider->inputs[0],
                           decider->inputs[i]);
    }
    service->shard_count = service->inputs[0].partitions;
    return true;
}

static void add_tables(struct service *service) {
    struct loop *loop = service->loop;
    service->first_table = loop->table_count;
    for (size_t t = 0; t < service->decider->table_count; t++) {
        struct table *table = &loop->tables[loop->table_count++];
        table->spec = &service->decider->tables[t];
        table->subject = schema_subject_find(str_from(table->spec->subject));
        table->service = service;
        make_statements(table);
    }
}

static bool find_services(struct loop *loop, struct err *err) {
    for (size_t i = 0; i < loop->config.decider_count; i++) {
        struct service *service = &loop->services[loop->service_count++];
        service->loop = loop;
        service->decider = loop->config.deciders[i];
        status_register_service(service);
        add_tables(service);
        if (!find_inputs(service, err))
            return false;
        loop->shard_count += service->shard_count;
    }
    return true;
}

/* Of all services in one array: a slot. */
static void make_shards(struct loop *loop) {
    int32_t slot = 0;
    loop->shards = mem_zalloc((size_t)loop->shard_count * sizeof(*loop->shards));
    for (size_t i = 0; i < loop->service_count; i++) {
        struct service *service = &loop->services[i];
        service->shards = &loop->shards[slot];
        for (int32_t s = 0; s < service->shard_count; s++, slot++) {
            loop->shards[slot] = (struct shard){
                .service = service, .index = s, .slot = slot, .next_due_us = INT64_MAX, .force_park_offset = -1};
            status_register_shard(&loop->shards[slot]);
        }
    }
}

static bool open_inputs(struct service *service, struct err *err) {
    const struct decider *decider = service->decider;
    struct str topics[LOOP_INPUTS_MAX];
    for (size_t i = 0; i < decider->input_count; i++)
        topics[i] = service->inputs[i].name;
    struct log_listener listener = {.user = service, .assigned = on_assigned, .revoked = on_revoked};
    if (!log_consumer_open(service->loop->config.log, str_from(decider->service), topics, decider->input_count,
                           &listener, &service->consumer, err))
        return false;
    log_consumer_notify(service->consumer, loop_wake, service->loop);
    return !decider->reads_catalogue || catalogue_open(service->loop->config.log, &service->catalogue, err);
}

static bool open_services(struct loop *loop, struct err *err) {
    if (!find_services(loop, err))
        return false;
    make_shards(loop);
    loop->flush = flush_open(loop);
    for (size_t i = 0; i < loop->service_count; i++)
        if (!open_inputs(&loop->services[i], err))
            return false;
    return true;
}

static void close_all(struct loop *loop) {
    /* Both wake the loop from threads of theirs: they go first. */
    effects_close(loop->effects);
    loop->effects = NULL;
    publisher_close(loop->publisher, 0); /* what could be published was waited for by `finish` */
    loop->publisher = NULL;
    for (size_t i = 0; i < loop->service_count; i++) {
        log_consumer_close(loop->services[i].consumer);
        catalogue_close(loop->services[i].catalogue);
    }
    for (int32_t s = 0; loop->shards && s < loop->shard_count; s++) {
        shard_drop(loop, &loop->shards[s]);
        free(loop->shards[s].origins);
        free(loop->shards[s].outputs);
        free(loop->shards[s].parked);
        free(loop->shards[s].force_left);
        free(loop->shards[s].put_off);
        free(loop->shards[s].halt_next);
    }
    flush_close(loop->flush);
    pg_close(loop->pg);
    for (int t = 0; t < loop->table_count; t++) {
        char *texts[] = {loop->tables[t].load, loop->tables[t].load_open, loop->tables[t].insert,
                         loop->tables[t].update};
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
            free(texts[i]);
    }
    cache_free(&loop->cache);
    pthread_mutex_destroy(&loop->status_lock);
    pthread_mutex_destroy(&loop->wake_lock);
    pthread_cond_destroy(&loop->wake_cond);
    checks_free(&loop->status);
    free(loop->shards);
    free(loop->owner);
    free(loop);
}

static void init_waking(struct loop *loop) {
    pthread_mutex_init(&loop->wake_lock, NULL);
    thread_cond_init(&loop->wake_cond);
}

bool loop_start(const struct loop_config *config, struct loop **ret, struct err *err) {
    struct loop *loop = mem_zalloc(sizeof(*loop));
    struct id owner = id_random();
    loop->config = *config;
    loop->owner = mem_strdup(id_str(&owner));
    pthread_mutex_init(&loop->status_lock, NULL);
    init_waking(loop);
    for (size_t i = 0; i < config->decider_count; i++)
        checks_add(&loop->status, CHECK_FAILED, STR("waiting for its shards"), "decider %s",
                   config->deciders[i]->service);
    status_register(loop);
    if (config->call)
        loop->effects = effects_open(config->call, config->call_user,
                                     config->calls_at_once ? config->calls_at_once : LOOP_CALLERS, loop_wake, loop);
    if (!publisher_open(config->log, loop_wake, loop, &loop->publisher, err) || !open_services(loop, err)) {
        close_all(loop);
        return false;
    }
    if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0) {
        close_all(loop);
        return err_set(err, ERR_INTERNAL, "no thread can be started for %s", config->deciders[0]->service);
    }
    *ret = loop;
    return true;
}

void loop_stop(struct loop *loop) {
    if (!loop)
        return;
    atomic_store(&loop->stop, true);
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
    close_all(loop);
}
