#include <stdlib.h>

#include "consumers/batch.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/map.h"

/* How long a timer waits for its subject to be unparked. */
#define PARKED_WAIT_US (INT64_C(10) * 1000 * 1000)
/* How long one waits that fails each time: each of its tries has the shard taken over anew. */
#define FAILED_WAIT_US (INT64_C(300) * 1000 * 1000)

void batch_init(struct batch *batch, struct loop *loop) {
    memset(batch, 0, sizeof(*batch));
    arena_init(&batch->arena);
    batch->loop = loop;
    batch->outboxes = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->outboxes));
    batch->outbox_records = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->outbox_records));
    batch->changes = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->changes));
    batch->touched = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->touched));
    batch->scratches = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->scratches));
    batch->intents_end = &batch->intents;
    batch->parked_end = &batch->parked;
}

void batch_reset(struct batch *batch) {
    struct loop *loop = batch->loop;
    for (size_t i = 0; i < batch->item_count; i++)
        effect_result_free(batch->items[i]->result);
    for (int32_t i = 0; i < loop->shard_count; i++) {
        buf_reset(&batch->outboxes[i]);
        buf_reset(&batch->changes[i]);
    }
    memset(batch->outbox_records, 0, (size_t)loop->shard_count * sizeof(*batch->outbox_records));
    memset(batch->touched, 0, (size_t)loop->shard_count * sizeof(*batch->touched));
    memset(batch->scratches, 0, (size_t)loop->shard_count * sizeof(*batch->scratches));
    struct batch kept = {.loop = loop,
                         .arena = batch->arena,
                         .outboxes = batch->outboxes,
                         .outbox_records = batch->outbox_records,
                         .changes = batch->changes,
                         .touched = batch->touched,
                         .scratches = batch->scratches,
                         .scratch = batch->scratch};
    *batch = kept;
    arena_reset(&batch->arena);
    batch->intents_end = &batch->intents;
    batch->parked_end = &batch->parked;
}

void batch_free(struct batch *batch) {
    batch_reset(batch);
    for (int32_t i = 0; i < batch->loop->shard_count; i++) {
        buf_free(&batch->outboxes[i]);
        buf_free(&batch->changes[i]);
    }
    free(batch->outboxes);
    free(batch->changes);
    free(batch->outbox_records);
    free(batch->touched);
    free(batch->scratches);
    buf_free(&batch->scratch);
    arena_free(&batch->arena);
}

struct item *batch_add_item(struct batch *batch) {
    if (batch->item_count == batch->item_capacity) {
        size_t capacity = batch->item_capacity ? batch->item_capacity * 2 : 64;
        struct item **items = arena_array(&batch->arena, struct item *, capacity);
        if (batch->item_count)
            memcpy(items, batch->items, batch->item_count * sizeof(struct item *));
        batch->items = items;
        batch->item_capacity = capacity;
    }
    return batch->items[batch->item_count++] = arena_new(&batch->arena, struct item);
}

/* Whether its rows are needed. A poison's message is not there, or only half. */
static bool decidable(const struct item *item) {
    return !item->poison.kind && !(item->result && item->result->err.kind) &&
           (item->source == ITEM_PARKED || !shard_is_parked(item->shard, item->envelope.subject));
}

/* Each shard of a batch has a scratch of its own. */
static void switch_shard(struct batch *batch, struct shard *shard) {
    if (batch->shard)
        batch->scratches[batch->shard->slot] = batch->room.scratch;
    batch->shard = shard;
    batch->room.scratch = batch->scratches[shard->slot];
}

static void enter(struct batch *batch, struct item *item) {
    item->input.envelope = &item->envelope;
    item->input.message = item->source == ITEM_TIMER ? NULL : &item->message;
    switch_shard(batch, item->shard);
    batch->room.now_us = item->envelope.timestamp_us;
    batch->room.call_over = false;
    batch->room.command_id = item->envelope.command_id;
}

/* Items from `first` on. */
static bool load_wanted(struct batch *batch, size_t first, struct err *err) {
    bool more = true;
    while (more) {
        batch->wanted_count = 0;
        for (size_t i = first; i < batch->item_count; i++)
            if (decidable(batch->items[i])) {
                enter(batch, batch->items[i]);
                batch->shard->service->decider->want(&batch->room, &batch->items[i]->input);
            }
        more = batch->wanted_count > 0;
        for (int t = 0; t < batch->loop->table_count; t++)
            more |= batch->want_open[t] && !batch->open_loaded[t];
        if (more && !batch_load(batch, err))
            return false;
    }
    return true;
}

/* What was handed over and cannot be decided is to be parked, which takes its place in the log: all again, without
 * handing over. */
static void unfuse(struct batch *batch, const struct item *item, const char *why) {
    batch->unfuse = true;
    err_set(&batch->failure, ERR_INTERNAL, "%s cannot handle what it was handed in memory: %s",
            item->shard->service->decider->service, why);
}

/* A timer or an answer for a subject that is parked waits until the subject is not. */
static void postpone(struct batch *batch, struct item *item) {
    if (item->source == ITEM_TIMER)
        batch_set_timer(batch, item->envelope.key, item->input.timer, item->envelope.timestamp_us + PARKED_WAIT_US);
    else
        item->open_outcome = true;
}

static void put_off(struct batch *batch, struct item *item) {
    batch_set_timer(batch, item->envelope.key, item->input.timer, clock_now_us() + FAILED_WAIT_US);
    metrics_add(item->shard->service->metrics.put_off, 1);
    logging_write(LOG_ERROR, "timer.put_off", "service=%s key=%.*s timer=%.*s why=\"%s\"",
                  item->shard->service->decider->service, STR_ARG(item->envelope.key), STR_ARG(item->input.timer),
                  item->poison.detail);
}

static void decide_behind_parked(struct batch *batch, struct item *item) {
    if (item->source == ITEM_RECORD)
        batch_park(batch, item, "behind a parked record of the same subject", true);
    else if (item->source == ITEM_HANDED)
        unfuse(batch, item, "its subject is parked");
    else
        postpone(batch, item);
}

static void decide_item(struct batch *batch, struct item *item) {
    const struct decider *decider = item->shard->service->decider;
    const char *why = NULL;
    enter(batch, item);
    batch->item = item;
    batch_begin_span(batch, item);
    if (item->source == ITEM_PARKED && !batch_marked_is_due(batch, item))
        return;
    if (item->source == ITEM_TIMER)
        batch_set_timer(batch, item->envelope.key, item->input.timer, -1);
    if (item->result && item->result->err.kind) {
        operators_leave(batch, item, item->result->err.detail);
        return;
    }
    if (item->repeated == ITEM_OTHER_BODY) {
        decider->refuse_reused(&batch->room, &item->input);
    } else if (item->source != ITEM_PARKED && shard_is_parked(item->shard, item->envelope.subject)) {
        decide_behind_parked(batch, item);
    } else if (item->poison.kind && item->source == ITEM_TIMER) {
        put_off(batch, item);
    } else if (item->poison.kind) {
        batch_park(batch, item, item->poison.detail, false);
    } else if (!decider->decide(&batch->room, &item->input, &why)) {
        if (item->source == ITEM_TIMER)
            logging_write(LOG_ERROR, "timer.dropped", "service=%s key=%.*s timer=%.*s why=\"%s\"", decider->service,
                          STR_ARG(item->envelope.key), STR_ARG(item->input.timer), why ? why : "no reason given");
        else if (item->source == ITEM_RESULT)
            operators_leave(batch, item, why ? why : "the decider cannot handle it");
        else if (item->source == ITEM_HANDED)
            unfuse(batch, item, why ? why : "no reason given");
        else
            batch_park(batch, item, why ? why : "the decider cannot handle it", false);
    } else if (item->source == ITEM_PARKED) {
        batch_marked_done(batch, item);
    } else if (batch->room.call_over) {
        item->open_outcome = false;
    }
}

/* Two records of the API with one id: the first in the log counts. */
static void settle_repeated_in_batch(struct batch *batch) {
    struct map seen = {0};
    for (size_t i = 0; i < batch->item_count; i++) {
        struct item *item = batch->items[i];
        if (!item->command || item->repeated != ITEM_NEW)
            continue;
        void **slot = map_put(&seen, item->envelope.id);
        const struct item *first = *slot;
        if (first)
            item->repeated = str_eq(first->body_hash, item->body_hash) ? ITEM_SAME : ITEM_OTHER_BODY;
        else
            *slot = item;
    }
    map_free(&seen, NULL);
}

/* The items from `first` on, which is all that is there when it begins; what they hand over comes behind them. */
static bool decide_wave(struct batch *batch, size_t first, struct err *err) {
    size_t end = batch->item_count;
    if (!load_wanted(batch, first, err) || (!first && !batch_load_commands(batch, err)))
        return false;
    if (!first)
        settle_repeated_in_batch(batch);
    if (batch->want_catalogue && !catalogue_catch_up(batch->want_catalogue, err))
        return false;
    batch->want_catalogue = NULL;
    for (size_t i = first; i < end && !batch->failure.kind; i++) {
        struct item *item = batch->items[i];
        batch->touched[item->shard->slot] = true;
        if (item->repeated != ITEM_SAME)
            decide_item(batch, item);
    }
    batch->item = NULL;
    batch->traceparent = STR_NULL;
    return true;
}

static void end_batch(struct batch *batch) {
    for (int32_t s = 0; s < batch->loop->shard_count; s++) {
        struct shard *shard = &batch->loop->shards[s];
        if (!batch->touched[s] || !shard->service->decider->batch_end)
            continue;
        switch_shard(batch, shard);
        batch->room.command_id = STR_NULL; /* of several causes */
        batch->room.now_us = batch->now_us;
        shard->service->decider->batch_end(&batch->room);
        batch->room.scratch = NULL;
    }
}

bool batch_decide(struct batch *batch, struct err *err) {
    size_t decided = 0;
    batch->room.ops = &batch_room_ops;
    batch->room.shop = batch->loop->config.shop;
    batch->room.arena = &batch->arena;
    batch->now_us = clock_now_us();
    do {
        while (decided < batch->item_count && !batch->failure.kind) {
            size_t first = decided;
            decided = batch->item_count;
            if (!decide_wave(batch, first, err))
                return false;
        }
        if (!batch->failure.kind)
            end_batch(batch);
    } while (decided < batch->item_count && !batch->failure.kind);
    if (batch->failure.kind && err)
        *err = batch->failure;
    return !batch->failure.kind;
}
