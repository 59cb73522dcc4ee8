#include "projections/loop.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "projections/projector.h"

enum {
    BATCH_MAX = 1000,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 5000,
    CALM_US = 10 * 1000 * 1000,
    NAP_MS = 50,
    LOOK_MS = 5000
};

void projector_wake(struct projector_waker *waker) {
    pthread_mutex_lock(&waker->mutex);
    if (waker->consumer)
        log_consumer_wake(waker->consumer);
    pthread_mutex_unlock(&waker->mutex);
}

static void waker_set(struct projector_waker *waker, struct log_consumer *consumer) {
    if (!waker)
        return;
    pthread_mutex_lock(&waker->mutex);
    waker->consumer = consumer;
    pthread_mutex_unlock(&waker->mutex);
}

/* ---- trouble ---- */

static bool stopping(const struct projector *projector) {
    return atomic_load_explicit(projector->stop, memory_order_relaxed);
}

/* Twice as long as the last time, until something was saved or it has been calm for a while: reading alone is no sign
 * that what was wrong is over. */
static void back_off(struct projector *projector, const struct err *err, const char *event) {
    int64_t now_us = clock_monotonic_us();
    if (now_us > projector->retry_at_us + CALM_US)
        projector->backoff_ms = 0;
    projector->backoff_ms = projector->backoff_ms ? projector->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (projector->backoff_ms > BACKOFF_MAX_MS)
        projector->backoff_ms = BACKOFF_MAX_MS;
    projector->retry_at_us = now_us + projector->backoff_ms * 1000;
    projector->trouble = err->kind;
    logging_err(err, event, "service=%s retry_ms=%lld", projector->service, (long long)projector->backoff_ms);
}

static void wait_for_retry(const struct projector *projector) {
    while (!stopping(projector) && clock_monotonic_us() < projector->retry_at_us)
        clock_sleep_ms(NAP_MS);
}

static void shard_stop_reading(struct projector *projector, struct shard *shard) {
    for (size_t i = 0; i < projector->topic_count; i++)
        log_consumer_pause(projector->consumer, projector->topics[i].name, shard->index);
}

static void shard_halt(struct projector *projector, struct shard *shard, const struct err *why) {
    shard_stop_reading(projector, shard);
    shard->state = SHARD_HALTED;
    free(shard->halted_why);
    shard->halted_why = mem_strdup(str_from(why->detail));
    logging_err(why, "projector.halted", "service=%s shard=%d", projector->service, shard->index);
    if (projector->config->shard_changed)
        projector->config->shard_changed(projector->config->user, shard->index, false, why);
}

/* Whatever is held of it may be wrong: it is read again before it goes on. */
static void shard_forget(struct projector *projector, struct shard *shard) {
    shard_stop_reading(projector, shard);
    shard->state = SHARD_UNREAD;
}

/* ---- whose shards are whose ---- */

static void assigned(void *user, const struct log_partition *partitions, size_t count) {
    struct projector *projector = user;
    for (size_t i = 0; i < count; i++) {
        struct shard *shard = &projector->shards[partitions[i].partition];
        if (++shard->assigned == projector->topic_count)
            shard->state = SHARD_UNREAD;
    }
}

static void revoked(void *user, const struct log_partition *partitions, size_t count, bool lost) {
    struct projector *projector = user;
    (void)lost; /* nothing is done for a shard on the way out: what is not saved is read again by the next owner */
    for (size_t i = 0; i < count; i++) {
        struct shard *shard = &projector->shards[partitions[i].partition];
        shard->assigned--;
        shard->state = SHARD_OFF;
    }
}

/* ---- reading where a shard stands ---- */

static bool shard_seek(struct projector *projector, struct shard *shard, struct err *err) {
    for (size_t i = 0; i < projector->topic_count; i++) {
        const struct state_position_topic *at = &shard->positions.state.topics.items[i];
        if (!log_consumer_seek(projector->consumer, at->topic, shard->index, at->next_offset, err))
            return false;
    }
    return true;
}

static bool shard_look_ahead(struct projector *projector, struct shard *shard, struct err *err) {
    for (size_t i = 0; i < projector->topic_count; i++) {
        int64_t low;
        if (!log_watermarks(projector->log, projector->topics[i].name, shard->index, &low, &shard->whole_at[i], err))
            return false;
    }
    return true;
}

static void tell_group(struct projector *projector, const struct shard *shard) {
    struct log_position told[VIEW_TOPICS_MAX];
    for (size_t i = 0; i < projector->topic_count; i++)
        told[i] = (struct log_position){projector->topics[i].name, shard->index,
                                        shard->positions.state.topics.items[i].next_offset};
    log_consumer_commit(projector->consumer, told, projector->topic_count);
}

/* False: the store or the log is away. A shard that cannot go on is halted, which is true. */
static bool shard_read(struct projector *projector, struct shard *shard, struct err *err) {
    struct shard_held held = {0};
    struct err why = {0};
    arena_reset(&projector->arena);
    if (!projector->config->store->load(projector->store, shard->index, &projector->arena, &held, err))
        return false;
    if (!positions_read(&shard->positions, log_id(projector->log), projector->topics, projector->topic_count,
                        held.positions, &why)) {
        shard_halt(projector, shard, &why);
        return true;
    }
    buf_reset(&shard->expected);
    buf_add_str(&shard->expected, held.positions);
    map_free(&shard->parked, NULL);
    for (size_t i = 0; i < held.parked_count; i++)
        *map_put(&shard->parked, held.parked[i]) = shard;
    if (!shard_look_ahead(projector, shard, err) || !shard_seek(projector, shard, err))
        return false;
    shard->state = SHARD_RUNNING;
    tell_group(projector, shard); /* an earlier owner may not have told all that it saved, and nothing may follow */
    logging_write(LOG_INFO, "projector.shard.ready", "service=%s shard=%d from=%s parked=%zu", projector->service,
                  shard->index, held.positions.ptr ? "stored" : "beginning", held.parked_count);
    if (projector->config->shard_changed)
        projector->config->shard_changed(projector->config->user, shard->index, true, NULL);
    return true;
}

static bool read_is_due(const struct projector *projector) {
    return clock_monotonic_us() >= projector->retry_at_us;
}

/* A store that lost its data (a Redis that was started again, say) would otherwise be found out by the next record
 * only, and of a shard that gets none, never. */
static void look_at_store(struct projector *projector) {
    int64_t now_us = clock_monotonic_us();
    struct err err = {0};
    if (now_us < projector->look_at_us)
        return;
    projector->look_at_us = now_us + (projector->config->look_ms ? projector->config->look_ms : LOOK_MS) * 1000;
    for (int32_t i = 0; i < projector->shard_count; i++) {
        struct shard *shard = &projector->shards[i];
        struct shard_held held = {0};
        if (shard->state != SHARD_RUNNING)
            continue;
        arena_reset(&projector->arena);
        if (!projector->config->store->load(projector->store, i, &projector->arena, &held, &err)) {
            projector_store_failed(projector, &err, "projector.read_failed");
            return;
        }
        if (str_eq(held.positions, buf_str(&shard->expected)))
            continue;
        logging_write(LOG_WARN, "projector.store_changed", "service=%s shard=%d", projector->service, i);
        shard_forget(projector, shard);
    }
}

bool projector_read_shards(struct projector *projector) {
    bool all = true;
    look_at_store(projector);
    for (int32_t i = 0; i < projector->shard_count && !stopping(projector); i++) {
        struct err err = {0};
        struct shard *shard = &projector->shards[i];
        if (shard->state != SHARD_UNREAD)
            continue;
        if (read_is_due(projector) && shard_read(projector, shard, &err))
            continue;
        all = false;
        if (err.kind == ERR_NONE)
            continue;
        shard_forget(projector, shard);
        back_off(projector, &err, "projector.read_failed");
    }
    return all;
}

/* ---- polling ---- */

size_t projector_batch_max(const struct projector *projector) {
    size_t max = projector->config->batch_max ? projector->config->batch_max : BATCH_MAX;
    size_t store_max = projector->config->store->batch_max;
    return store_max && store_max < max ? store_max : max;
}

int64_t projector_timeout_ms(const struct projector *projector, bool all_read) {
    int64_t left_ms = (projector->retry_at_us - clock_monotonic_us()) / 1000 + 1;
    if (all_read || left_ms > PROJECTOR_POLL_MS)
        return PROJECTOR_POLL_MS;
    return left_ms < 0 ? 0 : left_ms;
}

/* The log keeps nothing any more at this position, or not yet: records are lost. */
static bool position_is_lost(struct projector *projector, const struct shard *shard, struct err *ret) {
    for (size_t i = 0; i < projector->topic_count; i++) {
        const struct state_position_topic *at = &shard->positions.state.topics.items[i];
        int64_t low, high;
        struct err err = {0};
        if (log_watermarks(projector->log, at->topic, shard->index, &low, &high, &err) &&
            (at->next_offset < low || at->next_offset > high)) {
            err_set(ret, ERR_LOST_RECORDS, "%.*s/%d is to be read from offset %lld, and holds %lld to %lld",
                    STR_ARG(at->topic), shard->index, (long long)at->next_offset, (long long)low, (long long)high);
            return true;
        }
    }
    return false;
}

bool projector_poll_failed(struct projector *projector, const struct err *err) {
    bool found = false;
    for (int32_t i = 0; i < projector->shard_count && err->kind == ERR_LOST_RECORDS; i++) {
        struct shard *shard = &projector->shards[i];
        struct err why = {0};
        if (shard->state == SHARD_RUNNING && position_is_lost(projector, shard, &why)) {
            shard_halt(projector, shard, &why);
            found = true;
        }
    }
    if (!found)
        back_off(projector, err, "projector.poll_failed");
    return found;
}

/* ---- saving ---- */

static void log_parked(const struct projector *projector, const struct shard_save *save) {
    for (size_t i = 0; i < save->parked_count; i++) {
        const struct state_parked *parked = &save->parked[i];
        struct err err = {0};
        err_set(&err, ERR_POISON, "%.*s", STR_ARG(parked->reason));
        /* Those behind it are counted: there may be very many. */
        if (!str_eq(parked->reason, STR(PARKED_BEHIND)))
            logging_err(&err, "projector.parked", "service=%s topic=%.*s partition=%d offset=%lld subject=\"%.*s\"",
                        projector->service, STR_ARG(parked->topic), parked->partition, (long long)parked->offset,
                        STR_ARG(parked->subject));
    }
    metrics_add(projector->parked, (int64_t)save->parked_count);
}

static void shard_saved(struct projector *projector, struct shard *shard) {
    struct buf held = shard->expected;
    shard->expected = shard->next;
    shard->next = held;
    tell_group(projector, shard);
    log_parked(projector, &shard->save);
}

struct shard_save *projector_saves(struct projector *projector, size_t *ret_count) {
    struct shard_save *saves = arena_array(&projector->arena, struct shard_save, projector->shard_count);
    *ret_count = 0;
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (projector->shards[i].touched)
            saves[(*ret_count)++] = projector->shards[i].save;
    return saves;
}

static void settle(struct projector *projector, const struct shard_save *saves, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct shard *shard = &projector->shards[saves[i].shard];
        if (!saves[i].conflict) {
            shard_saved(projector, shard);
            continue;
        }
        shard->halt = NULL;
        logging_write(LOG_WARN, "projector.overtaken", "service=%s shard=%d", projector->service, shard->index);
        shard_forget(projector, shard);
    }
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (projector->shards[i].halt)
            shard_halt(projector, &projector->shards[i], projector->shards[i].halt);
}

static void forget_running(struct projector *projector) {
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (projector->shards[i].state == SHARD_RUNNING)
            shard_forget(projector, &projector->shards[i]);
}

void projector_store_failed(struct projector *projector, const struct err *err, const char *event) {
    forget_running(projector);
    back_off(projector, err, event);
}

void projector_saved(struct projector *projector, const struct log_batch *records, const struct shard_save *saves,
                     size_t count, int64_t begun_us) {
    projector->backoff_ms = 0;
    metrics_observe(projector->save_seconds, (double)(clock_monotonic_us() - begun_us) / 1e6);
    projector_trace(projector, saves, count);
    settle(projector, saves, count);
    projector_observe(projector, records);
}

/* ---- from start to stop ---- */

static bool await_topics(struct projector *projector, struct err *err) {
    while (!stopping(projector)) {
        if (projector_find_topics(projector, err))
            break;
        if (err->kind == ERR_CONFIG)
            return false;
        back_off(projector, err, "projector.topics_missing");
        wait_for_retry(projector);
    }
    return true;
}

static bool open_consumer(struct projector *projector, struct err *err) {
    struct str names[VIEW_TOPICS_MAX];
    const struct log_listener listener = {projector, assigned, revoked, projector->config->linger_ms};
    for (size_t i = 0; i < projector->topic_count; i++)
        names[i] = projector->topics[i].name;
    return log_consumer_open(projector->log, str_from(projector->service), names, projector->topic_count, &listener,
                             &projector->consumer, err);
}

bool projector_join(struct projector *projector, void (*notify)(void *user), void *user) {
    struct err err = {0};
    while (!stopping(projector) && !open_consumer(projector, &err)) {
        back_off(projector, &err, "projector.join_failed");
        wait_for_retry(projector);
    }
    if (!projector->consumer)
        return false;
    if (notify)
        log_consumer_notify(projector->consumer, notify, user);
    waker_set(projector->config->waker, projector->consumer);
    return true;
}

void projector_leave(struct projector *projector) {
    waker_set(projector->config->waker, NULL);
    log_consumer_close(projector->consumer);
    projector->consumer = NULL;
}

bool projector_init(struct projector *projector, struct log *log, const struct projector_config *config,
                    const atomic_bool *stop, struct err *err) {
    *projector = (struct projector){.log = log, .config = config, .stop = stop};
    projector_group_name(config->store->name, config->view, projector->service);
    if (!config->store->open(config->url, config->view, &projector->store, err))
        return false;
    arena_init(&projector->arena);
    projector->rows = &projector->arena;
    projector_open_metrics(projector);
    if (!await_topics(projector, err)) {
        projector_free(projector);
        return false;
    }
    if (!stopping(projector))
        projector_open_shards(projector);
    return true;
}

void projector_free(struct projector *projector) {
    if (projector->shards)
        projector_close_shards(projector);
    arena_free(&projector->arena);
    projector->config->store->close(projector->store);
}
