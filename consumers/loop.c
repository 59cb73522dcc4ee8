#include <stdlib.h>

#include "consumers/batch.h"
#include "consumers/flush.h"
#include "core/base/clock.h"
#include "core/base/logging.h"

enum {
    LOOP_WAIT_MS = 1000,
    LOOP_BUSY_WAIT_MS = 5, /* while the log is behind, or PostgreSQL away */
    LOOP_UNSAVED_WAIT_MS = 100,
    LOOP_PUBLISHED_WAIT_MS = 100,
    LOOP_PROBE_MS = 500, /* that a record which should be there may take to come */
    LOOP_ISOLATED_BATCHES = 2 * LOOP_BATCH_MAX,
    LOOP_UNFUSED_BATCHES = 50,
    LOOP_CACHE_BYTES = 32 << 20,
    LOOP_DIRTY_MAX_BYTES = 64 << 20, /* while the flush has no connection */
};

static const int64_t second_us = 1000 * 1000;

/* ---- failures ---- */

bool err_must_halt(enum err_kind kind) {
    return kind == ERR_LOST_RECORDS || kind == ERR_UNKNOWN_SCHEMA || kind == ERR_CORRUPT;
}

/* A batch that PostgreSQL refuses, or that is a decider's bug, would fail each time: the record that is to blame is
 * looked for by deciding one at a time, and set aside when it fails alone. */
static void look_for_culprit(struct loop *loop, const struct batch *batch) {
    const struct item *first = batch->item_count ? batch->items[0] : NULL;
    bool alone = batch->item_count == 1;
    if (first && first->source == ITEM_PARKED) {
        first->shard->marked_alone = true;
        loop->unfused = LOOP_UNFUSED_BATCHES; /* what it hands over may be to blame */
        if (alone)
            first->shard->force_kept_id = first->parked_id;
    } else if (alone) {
        intake_set_aside(first);
    } else {
        loop->isolate = LOOP_ISOLATED_BATCHES;
    }
}

/* After any doubt about a batch, every shard in it is read again before anything else. */
static void fail_batch(struct loop *loop, struct batch *batch, const struct err *why) {
    if (batch->unfuse)
        loop->unfused = LOOP_UNFUSED_BATCHES;
    else if (why->kind == ERR_INTERNAL)
        look_for_culprit(loop, batch);
    if (batch->damaged) {
        free(batch->damaged->halt_next);
        batch->damaged->halt_next = mem_strdup(str_from(why->detail));
    }
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (batch->touched[s] && loop->shards[s].status != SHARD_AWAY)
            shard_retry(loop, &loop->shards[s], why);
}

/* So that fail_batch takes all of them over anew. */
static void touch_running(struct batch *batch) {
    for (int32_t s = 0; s < batch->loop->shard_count; s++)
        batch->touched[s] |= batch->loop->shards[s].status == SHARD_RUNNING;
}

/* Whether the log keeps nothing any more, or not yet, at a position. */
static bool is_outside(struct loop *loop, struct str topic, int32_t partition, int64_t offset, int64_t *ret_end,
                       struct err *why) {
    int64_t low;
    struct err unknown = {0}; /* asked again with the next poll that fails */
    if (!log_watermarks(loop->config.log, topic, partition, &low, ret_end, &unknown)) {
        *ret_end = offset;
        return false;
    }
    if (offset >= low && offset <= *ret_end)
        return false;
    err_set(why, ERR_LOST_RECORDS, "%.*s/%d is to be read from offset %lld, and holds %lld to %lld", STR_ARG(topic),
            partition, (long long)offset, (long long)low, (long long)*ret_end);
    return true;
}

/* Whether the log cannot give the record that comes next: it is damaged, or no longer kept. */
static bool stands_before_damage(struct loop *loop, const struct shard *shard, size_t input, struct err *why) {
    struct str topic = shard->service->inputs[input].name;
    int64_t offset = shard->next_offsets[input], end;
    struct log_consumer *probe;
    struct log_batch batch;
    struct err err = {0};
    if (is_outside(loop, topic, shard->index, offset, &end, why))
        return true;
    if (offset == end || !log_consumer_open_manual(loop->config.log, &probe, &err))
        return false;
    bool ok = log_consumer_seek(probe, topic, shard->index, offset, &err) &&
              log_consumer_poll(probe, 1, LOOP_PROBE_MS, &batch, &err);
    log_consumer_close(probe);
    if (ok || !err_must_halt(err.kind))
        return false;
    *why = err;
    return true;
}

/* A poll failed for good, of which partition it does not say in a way that a program can read. That shard stands still
 * and says so; the others go on. */
static void halt_damaged(struct service *service) {
    for (int32_t s = 0; s < service->shard_count; s++)
        for (size_t i = 0; i < service->decider->input_count && service->shards[s].status == SHARD_RUNNING; i++) {
            struct err why;
            if (stands_before_damage(service->loop, &service->shards[s], i, &why))
                shard_halt(&service->shards[s], &why);
        }
}

/* ---- a batch ---- */

/* Only what was committed is ever published or called. What was encoded just now can be read. */
static void hand_on(struct batch *batch) {
    struct loop *loop = batch->loop;
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (batch->outbox_records[s]) {
            metrics_add(loop->shards[s].service->metrics.emitted, batch->outbox_records[s]);
            struct err err = {0};
            if (!publisher_add(loop->publisher, s, loop->shards[s].version, buf_str(&batch->outboxes[s]), &err))
                abort();
        }
    for (const struct intent_op *op = batch->intents; op; op = op->next)
        effects_add(loop->effects, &op->effect);
    for (size_t i = 0; i < batch->item_count; i++)
        if (batch->items[i]->open_outcome && !batch->items[i]->left)
            effects_again(loop->effects, &batch->items[i]->result->effect);
    for (const struct timer_op *op = batch->timers; op; op = op->next)
        if (op->due_us >= 0 && op->due_us < loop->shards[op->slot].next_due_us)
            loop->shards[op->slot].next_due_us = op->due_us;
}

static void observe(const struct batch *batch, int64_t started_us) {
    int64_t now_us = clock_now_us();
    metrics_add(batch->loop->metrics.batches, 1);
    metrics_observe(batch->loop->metrics.batch_seconds, (double)(clock_monotonic_us() - started_us) / 1e6);
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct item *item = batch->items[i];
        if (item->source == ITEM_RECORD || item->source == ITEM_HANDED)
            metrics_observe(item->shard->service->metrics.stage, (double)(now_us - item->envelope.timestamp_us) / 1e6);
    }
}

static bool look_up_next_timers(struct loop *loop, struct err *err) {
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        if (!shard->timers_fired)
            continue;
        shard->timers_fired = shard->fenced = shard->settling = false;
        if (!flush_now(loop->flush, err) || !shard_load_next_due(loop, shard, err))
            return false;
    }
    return true;
}

/* For the tools of others; the position that counts is in the shard's row. */
static void commit_positions(struct loop *loop) {
    if (clock_monotonic_us() < loop->positions_at_us)
        return;
    loop->positions_at_us = clock_monotonic_us() + second_us / 4;
    for (size_t i = 0; i < loop->service_count; i++) {
        const struct service *service = &loop->services[i];
        struct log_position *positions =
            mem_alloc((size_t)service->shard_count * LOOP_INPUTS_MAX * sizeof(struct log_position));
        size_t count = 0;
        for (int32_t s = 0; s < service->shard_count; s++)
            for (size_t t = 0; service->shards[s].status == SHARD_RUNNING && t < service->decider->input_count; t++)
                positions[count++] =
                    (struct log_position){service->inputs[t].name, s, service->shards[s].next_offsets[t]};
        log_consumer_commit(service->consumer, positions, count);
        free(positions);
    }
}

static bool batch_touches(const struct batch *batch) {
    for (int32_t s = 0; s < batch->loop->shard_count; s++)
        if (batch->touched[s])
            return true;
    return false;
}

static void run_batch(struct batch *batch) {
    struct loop *loop = batch->loop;
    struct err err = {0};
    int64_t started_us = clock_monotonic_us();
    bool ok = true;
    if (batch_touches(batch)) {
        ok = batch_decide(batch, &err) && batch_save(batch, &err);
        if (ok) {
            hand_on(batch);
            observe(batch, started_us);
            batch_end_spans(batch);
        }
    }
    /* Also when the timer that was due turned out to be cleared, and there was nothing to decide. */
    if (ok && !look_up_next_timers(loop, &err)) {
        touch_running(batch);
        ok = false;
    }
    if (!ok)
        fail_batch(loop, batch, &err);
    cache_trim(&loop->cache, LOOP_CACHE_BYTES);
}

static void run_marked_of(struct batch *batch, struct shard *shard, int64_t now_us) {
    struct loop *loop = batch->loop;
    struct err err = {0};
    shard->parked_check_at_us = now_us + second_us;
    if (!batch_add_marked(batch, shard, &err)) {
        batch->touched[shard->slot] = true;
        fail_batch(loop, batch, &err);
    } else if (batch->item_count) {
        batch->touched[shard->slot] = true;
        if (shard->marked_alone)
            shard->parked_check_at_us = now_us; /* the next one at once */
        run_batch(batch);
        if (shard->status == SHARD_RUNNING && !shard_load_parked(loop, shard, &err))
            shard_retry(loop, shard, &err);
    }
}

/* Parked records that an operator marked are a batch of their own, between batches, as timers are. */
static void run_marked(struct batch *batch) {
    struct loop *loop = batch->loop;
    int64_t now_us = clock_monotonic_us();
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        if (shard->status != SHARD_RUNNING || !shard->parked_count || shard->parked_check_at_us > now_us)
            continue;
        run_marked_of(batch, shard, now_us);
        batch_reset(batch);
    }
}

/* ---- polling ---- */

/* False: all shards are to be taken over anew. */
static bool poll_service(struct service *service, struct batch *batch, size_t max) {
    struct err err = {0};
    service->polled = (struct log_batch){0};
    if (!log_consumer_poll(service->consumer, max, 0, &service->polled, &err)) {
        logging_err(&err, "loop.poll_failed", "service=%s", service->decider->service);
        if (err_must_halt(err.kind))
            halt_damaged(service);
        clock_sleep_ms(LOOP_BUSY_WAIT_MS * 20);
        service->polled = (struct log_batch){0};
        return true; /* what the others have polled comes only once */
    }
    if (service->catalogue && !catalogue_poll(service->catalogue, &err)) {
        logging_err(&err, "loop.catalogue_failed", "service=%s", service->decider->service);
        touch_running(batch);
        fail_batch(service->loop, batch, &err);
        clock_sleep_ms(LOOP_BUSY_WAIT_MS * 20);
        return false;
    }
    return true;
}

/* Of whichever service is next. */
static bool take_one_record(struct loop *loop, struct batch *batch) {
    for (size_t i = 0; i < loop->service_count && !batch->item_count; i++) {
        struct service *service = &loop->services[(loop->poll_first + i) % loop->service_count];
        if (!poll_service(service, batch, 1))
            return false;
        intake_records(batch, service);
    }
    loop->poll_first++;
    return true;
}

static bool take_records(struct loop *loop, struct batch *batch) {
    for (size_t i = 0; i < loop->service_count; i++)
        if (!poll_service(&loop->services[i], batch, LOOP_BATCH_MAX))
            return false;
    for (size_t i = 0; i < loop->service_count; i++)
        intake_records(batch, &loop->services[i]);
    if (loop->unfused && batch->item_count)
        loop->unfused--;
    return true;
}

/* While what the database refuses is looked for, everything has a batch of its own: what else there is to decide would
 * fail with it, again and again. Records come last, since there may always be one. */
static bool take_one(struct loop *loop, struct batch *batch) {
    struct err err = {0};
    loop->isolate--;
    intake_results(batch, 1);
    if (!batch->item_count && !intake_timers(batch, true, &err)) {
        touch_running(batch);
        fail_batch(loop, batch, &err);
        return false;
    }
    return batch->item_count || take_one_record(loop, batch);
}

static bool take_all(struct loop *loop, struct batch *batch) {
    struct err err = {0};
    if (!take_records(loop, batch))
        return false;
    intake_results(batch, LOOP_BATCH_MAX);
    if (intake_timers(batch, false, &err))
        return true;
    touch_running(batch);
    fail_batch(loop, batch, &err);
    return false;
}

static bool polled_any(const struct loop *loop) {
    for (size_t i = 0; i < loop->service_count; i++)
        if (loop->services[i].polled.count)
            return true;
    return false;
}

/* ---- a turn ---- */

static int64_t wait_ms(const struct loop *loop) {
    int64_t wait = LOOP_WAIT_MS, now_us = clock_now_us(), monotonic_us = clock_monotonic_us();
    for (int32_t s = 0; s < loop->shard_count; s++) {
        const struct shard *shard = &loop->shards[s];
        int64_t until_us = wait * 1000;
        if (shard->status == SHARD_RUNNING && shard->next_due_us != INT64_MAX)
            until_us = shard->fenced || shard->settling ? LOOP_BUSY_WAIT_MS * 1000 : shard->next_due_us - now_us;
        if (shard->status == SHARD_WAITING)
            until_us = shard->retry_at_us - monotonic_us;
        if (shard->status == SHARD_RUNNING && (shard->moved || shard->flushed_saved < shard->version))
            until_us = until_us < LOOP_UNSAVED_WAIT_MS * 1000 ? until_us : LOOP_UNSAVED_WAIT_MS * 1000;
        if (until_us < wait * 1000)
            wait = until_us < 0 ? 0 : until_us / 1000 + 1;
    }
    return wait;
}

static void publish(struct loop *loop) {
    struct err err = {0};
    if (!publisher_pump(loop->publisher, &err)) {
        logging_err(&err, "loop.publisher_waits", "service=%s", loop->services[0].decider->service);
        clock_sleep_ms(LOOP_BUSY_WAIT_MS * 20);
    }
    metrics_set(loop->metrics.backlog, (double)publisher_backlog_bytes(loop->publisher));
}

/* What was left to the log comes back with the next poll once it is there: then the receiver has all that comes before,
 * and what is decided next can be handed to it. */
static void await_published(struct loop *loop) {
    int64_t until_us = clock_monotonic_us() + LOOP_PUBLISHED_WAIT_MS * INT64_C(1000);
    publish(loop);
    while (publisher_backlog_bytes(loop->publisher) && clock_monotonic_us() < until_us) {
        clock_sleep_ms(1);
        publish(loop);
    }
}

static void flush(struct loop *loop) {
    struct err err = {0};
    if (flush_turn(loop->flush, &err))
        return;
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (loop->shards[s].status == SHARD_RUNNING || loop->shards[s].status == SHARD_HALTED)
            shard_retry(loop, &loop->shards[s], &err);
}

static void decide(struct loop *loop, struct batch *batch) {
    for (size_t i = 0; i < loop->service_count; i++)
        loop->services[i].polled.count = 0;
    if (loop->isolate ? take_one(loop, batch) : take_all(loop, batch))
        run_batch(batch);
}

void loop_turn(struct loop *loop, struct batch *batch) {
    publish(loop);
    loop_take_over_waiting(loop);
    status_write(loop);
    flush(loop);
    if (publisher_backlog_bytes(loop->publisher) > LOOP_BACKLOG_MAX_BYTES ||
        loop->cache.dirty_bytes > LOOP_DIRTY_MAX_BYTES) {
        clock_sleep_ms(LOOP_BUSY_WAIT_MS);
        return;
    }
    run_marked(batch);
    operators_turn(loop);
    decide(loop, batch);
    bool idle = !batch->item_count && !polled_any(loop), left_to_log = batch->left_to_log;
    batch_reset(batch);
    commit_positions(loop);
    loop_keep_house(loop);
    if (left_to_log)
        await_published(loop);
    if (!idle)
        return;
    loop_save_idle(loop, batch);
    loop_wait(loop, wait_ms(loop));
}
