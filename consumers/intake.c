#include "consumers/batch.h"
#include "consumers/flush.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/logging.h"

enum { TIMERS_MAX = 200, SETTLE_ASK_MS = 100, FENCE_AGAIN_MS = 1000 };

/* ---- records ---- */

static size_t input_of(const struct service *service, struct str topic) {
    size_t i = 0;
    while (i < service->decider->input_count && !str_eq(service->inputs[i].name, topic))
        i++;
    return i;
}

enum next { NEXT_APPLY, NEXT_DROP, NEXT_LOST };

/* Applies exactly the next number of each origin (section 4 of the design). */
static enum next check_number(struct shard *shard, const struct envelope *envelope, struct err *err) {
    if (!envelope->origin.ptr || envelope->origin_seq < 1) /* without a number it is a poison, not a duplicate */
        return NEXT_APPLY;
    int64_t last = shard_last_seq(shard, envelope->topic, envelope->origin);
    if (envelope->origin_seq <= last) {
        metrics_add(shard->service->metrics.duplicates, 1);
        return NEXT_DROP;
    }
    if (envelope->origin_seq == last + 1)
        return NEXT_APPLY;
    err_set(err, ERR_LOST_RECORDS,
            "%.*s/%d offset %lld is number %lld of origin %.*s; numbers %lld to %lld are missing",
            STR_ARG(envelope->topic), envelope->partition, (long long)envelope->offset, (long long)envelope->origin_seq,
            STR_ARG(envelope->origin), (long long)last + 1, (long long)envelope->origin_seq - 1);
    return NEXT_LOST;
}

static char *timer_name(const struct item *item) {
    BUF_AUTO name = {0};
    buf_printf(&name, "%.*s %.*s", STR_ARG(item->envelope.key), STR_ARG(item->input.timer));
    return mem_strdup(buf_str(&name));
}

static void keep(char **place, char *text) {
    free(*place);
    *place = text;
}

void intake_set_aside(const struct item *item) {
    struct shard *shard = item->shard;
    if (item->source == ITEM_RECORD) {
        shard->force_park_offset = item->record->offset;
        shard->force_park_input = (int32_t)item->input_topic;
    } else if (item->source == ITEM_TIMER) {
        keep(&shard->put_off, timer_name(item));
    } else if (item->source == ITEM_RESULT) {
        keep(&shard->force_left, mem_strdup(item->result->effect.id));
    }
}

static void check_forced(struct shard *shard, struct item *item) {
    if (shard->force_park_offset != item->record->offset || shard->force_park_input != (int32_t)item->input_topic)
        return;
    err_set(&item->poison, ERR_POISON, REASON_CANNOT_BE_KEPT);
    item->command = false; /* its id may be what the database refuses */
    shard->force_park_offset = -1;
}

/* A copy of what was handed over in memory is dropped before its value is looked at. False: the shard must not move
 * past this record. */
static bool add_record(struct batch *batch, struct shard *shard, size_t input, const struct log_record *record,
                       struct err *err) {
    struct err poison = {0};
    struct envelope envelope;
    bool read = envelope_read(record, &envelope, &poison);
    enum next next = read ? check_number(shard, &envelope, err) : NEXT_APPLY;
    if (next == NEXT_DROP)
        shard->moved = true;
    if (next != NEXT_APPLY)
        return next == NEXT_DROP;
    struct item *item = batch_add_item(batch);
    *item = (struct item){.source = ITEM_RECORD,
                          .shard = shard,
                          .input_topic = input,
                          .record = record,
                          .envelope = envelope,
                          .poison = poison};
    if (!item_read(batch, item, err)) {
        batch->item_count--;
        return false;
    }
    if (read && envelope.origin.ptr && envelope.origin_seq > 0)
        shard_set_last_seq(shard, envelope.topic, envelope.origin, envelope.origin_seq);
    check_forced(shard, item);
    batch->touched[shard->slot] = true;
    return true;
}

static void intake_record(struct batch *batch, struct service *service, const struct log_record *record) {
    if (record->partition >= service->shard_count)
        return;
    struct shard *shard = &service->shards[record->partition];
    struct err err = {0};
    size_t input = input_of(service, record->topic);
    if (shard->status != SHARD_RUNNING || input == service->decider->input_count ||
        record->offset < shard->next_offsets[input])
        return;
    if (!add_record(batch, shard, input, record, &err)) {
        shard_halt(shard, &err);
        return;
    }
    shard->next_offsets[input] = record->offset + 1;
    metrics_add(service->metrics.records, 1);
}

void intake_records(struct batch *batch, struct service *service) {
    for (size_t i = 0; i < service->polled.count; i++)
        intake_record(batch, service, &service->polled.records[i]);
}

/* ---- timers ---- */

/* Whether what any decider had committed when the timer was found due is in the log, as far as the tables tell. */
static bool is_settled(struct loop *loop, struct shard *shard, bool *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_time(&params, shard->settling ? shard->settle_time_us : INT64_C(4102444800) * 1000000); /* 2100: now */
    if (!pg_exec(loop->pg,
                 "SELECT now(), EXISTS (SELECT 1 FROM decider.shard s JOIN LATERAL (SELECT 1 FROM decider.outbox o "
                 "WHERE o.service = s.service AND o.shard = s.shard AND o.id > s.done_through AND o.records > 0 "
                 "AND o.created_at <= least($1, now()) LIMIT 1) late ON true)",
                 &params, &rows, err))
        return false;
    if (!shard->settling)
        shard->settle_time_us = pg_get_time(rows, 0, 0);
    *ret = !pg_get_bool(rows, 0, 1);
    shard->settling = !*ret;
    shard->settle_asked_at_us = clock_monotonic_us();
    return true;
}

/* An authorisation that already waits in the log must beat the deadline: everything that was there when the timer was
 * found due is consumed first. So must one that is committed and on its way there. */
/* False: the log does not say where it ends; the shard is none the worse, and its timers wait. */
static bool set_fence(struct loop *loop, struct shard *shard, int64_t now_us) {
    const struct service *service = shard->service;
    struct log_position ends[LOOP_INPUTS_MAX];
    struct err err = {0};
    if (clock_monotonic_us() < loop->fence_at_us)
        return false;
    for (size_t i = 0; i < service->decider->input_count; i++)
        ends[i] = (struct log_position){.topic = service->inputs[i].name, .partition = shard->index};
    if (!log_ends(loop->config.log, ends, service->decider->input_count, false, &err)) {
        loop->fence_at_us = clock_monotonic_us() + FENCE_AGAIN_MS * 1000;
        logging_err(&err, "loop.timers_wait", "service=%s shard=%d", SHARD_ARG(shard));
        return false;
    }
    for (size_t i = 0; i < service->decider->input_count; i++)
        shard->fence[i] = ends[i].offset;
    shard->fenced = true;
    shard->fence_time_us = now_us;
    return true;
}

static bool past_fence(struct loop *loop, struct shard *shard, int64_t now_us, bool *ret, struct err *err) {
    const struct service *service = shard->service;
    bool settled = shard->fenced;
    *ret = false;
    if (shard->next_due_us > now_us ||
        (shard->settling && clock_monotonic_us() < shard->settle_asked_at_us + SETTLE_ASK_MS * 1000))
        return true;
    if (!settled && !is_settled(loop, shard, &settled, err))
        return false;
    if (!settled)
        return true;
    if (!shard->fenced && !set_fence(loop, shard, now_us))
        return true;
    for (size_t i = 0; i < service->decider->input_count; i++)
        if (shard->next_offsets[i] < shard->fence[i])
            return true;
    *ret = true;
    return true;
}

static void check_put_off(struct shard *shard, struct item *item) {
    char *name = shard->put_off ? timer_name(item) : NULL;
    if (name && !strcmp(name, shard->put_off)) {
        err_set(&item->poison, ERR_POISON, "what comes of it cannot be kept");
        keep(&shard->put_off, NULL);
    }
    free(name);
}

static bool add_due(struct batch *batch, struct shard *shard, int64_t max, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    if (flush_has_timers(batch->loop->flush, shard->slot) && !flush_now(batch->loop->flush, err))
        return false;
    pg_add_text(&params, str_from(shard->service->decider->service));
    pg_add_i64(&params, shard->index);
    pg_add_i64(&params, shard->fence_time_us);
    pg_add_i64(&params, max);
    if (!pg_exec(batch->loop->pg,
                 "SELECT key, name FROM decider.timer WHERE service = $1 AND shard = $2::bigint AND due_us <= $3 "
                 "ORDER BY due_us, key, name LIMIT $4",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct item *item = batch_add_item(batch);
        struct str key = arena_dup(&batch->arena, pg_get_str(rows, i, 0));
        *item = (struct item){.source = ITEM_TIMER, .shard = shard};
        item->envelope = (struct envelope){.key = key, .subject = key, .timestamp_us = shard->fence_time_us};
        item->input.kind = INPUT_TIMER;
        item->input.timer = arena_dup(&batch->arena, pg_get_str(rows, i, 1));
        check_put_off(shard, item);
        batch->touched[shard->slot] = true;
    }
    shard->timers_fired = true;
    return true;
}

bool intake_timers(struct batch *batch, bool one, struct err *err) {
    struct loop *loop = batch->loop;
    int64_t now_us = clock_now_us();
    for (int32_t s = 0; s < loop->shard_count && !(one && batch->item_count); s++) {
        struct shard *shard = &loop->shards[s];
        bool due;
        if (shard->status != SHARD_RUNNING)
            continue;
        if (!past_fence(loop, shard, now_us, &due, err) || (due && !add_due(batch, shard, one ? 1 : TIMERS_MAX, err)))
            return false;
    }
    return true;
}

/* ---- answers ---- */

static void check_left(struct shard *shard, struct effect_result *result) {
    if (!shard->force_left || !str_eq(result->effect.id, str_from(shard->force_left)))
        return;
    err_set(&result->err, ERR_INTERNAL, "%s", REASON_ANSWER_CANNOT_BE_KEPT);
    keep(&shard->force_left, NULL);
}

void intake_results(struct batch *batch, size_t max) {
    struct loop *loop = batch->loop;
    struct effect_result *result;
    size_t taken = 0;
    while (loop->effects && taken < max && (result = effects_take(loop->effects))) {
        taken++;
        struct shard *shard = &loop->shards[result->effect.shard];
        if (shard->status != SHARD_RUNNING || shard->epoch != result->effect.epoch) {
            effect_result_free(result);
            continue;
        }
        check_left(shard, result);
        struct item *item = batch_add_item(batch);
        *item = (struct item){.source = ITEM_RESULT, .shard = shard, .message = result->answer, .result = result};
        item->envelope = (struct envelope){.key = result->effect.key,
                                           .subject = result->effect.key,
                                           .command_id = result->effect.command_id,
                                           .traceparent = result->effect.traceparent,
                                           .timestamp_us = result->at_us};
        item->input.kind = INPUT_RESULT;
        item->open_outcome = effect_is_open(&result->answer);
        batch->touched[shard->slot] = true;
    }
    if (taken == max)
        loop_wake(loop); /* there may be more: what woke us for those is used up */
}
