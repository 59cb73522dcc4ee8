#include <stdlib.h>

#include "consumers/internal.h"
#include "core/base/logging.h"
#include "core/base/map.h"

/* How long a timer waits for its subject to be unparked. */
#define PARKED_WAIT_US (INT64_C(10) * 1000 * 1000)

void batch_init(struct batch *batch, struct loop *loop) {
    memset(batch, 0, sizeof(*batch));
    arena_init(&batch->arena);
    batch->loop = loop;
    batch->outboxes = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->outboxes));
    batch->outbox_records = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->outbox_records));
    batch->touched = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->touched));
    batch->scratches = mem_zalloc((size_t)loop->shard_count * sizeof(*batch->scratches));
    batch->intents_end = &batch->intents;
    batch->parked_end = &batch->parked;
}

void batch_reset(struct batch *batch) {
    struct loop *loop = batch->loop;
    for (size_t i = 0; i < batch->item_count; i++)
        effect_result_free(batch->items[i].result);
    for (int32_t i = 0; i < loop->shard_count; i++)
        buf_reset(&batch->outboxes[i]);
    memset(batch->outbox_records, 0, (size_t)loop->shard_count * sizeof(*batch->outbox_records));
    memset(batch->touched, 0, (size_t)loop->shard_count * sizeof(*batch->touched));
    memset(batch->scratches, 0, (size_t)loop->shard_count * sizeof(*batch->scratches));
    struct batch kept = {.loop = loop,
                         .arena = batch->arena,
                         .outboxes = batch->outboxes,
                         .outbox_records = batch->outbox_records,
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
    for (int32_t i = 0; i < batch->loop->shard_count; i++)
        buf_free(&batch->outboxes[i]);
    free(batch->outboxes);
    free(batch->outbox_records);
    free(batch->touched);
    free(batch->scratches);
    buf_free(&batch->scratch);
    arena_free(&batch->arena);
}

struct item *batch_add_item(struct batch *batch) {
    if (batch->item_count == batch->item_capacity) {
        size_t capacity = batch->item_capacity ? batch->item_capacity * 2 : 64;
        struct item *items = arena_array(&batch->arena, struct item, capacity);
        for (size_t i = 0; i < batch->item_count; i++)
            items[i] = batch->items[i];
        batch->items = items;
        batch->item_capacity = capacity;
    }
    return &batch->items[batch->item_count++];
}

/* Whether its rows are needed. A poison's message is not there, or only half. */
static bool decidable(const struct item *item) {
    return !item->poison.kind && !(item->result && item->result->err.kind) &&
           (item->source == ITEM_PARKED || !shard_is_parked(item->shard, item->envelope.subject));
}

/* Each shard of a batch has a scratch of its own. */
static void switch_shard(struct batch *batch, struct shard *shard) {
    if (batch->shard)
        batch->scratches[batch->shard->index] = batch->room.scratch;
    batch->shard = shard;
    batch->room.scratch = batch->scratches[shard->index];
}

static void enter(struct batch *batch, struct item *item) {
    item->input.envelope = &item->envelope; /* items may have moved since they were added */
    item->input.message = item->source == ITEM_TIMER ? NULL : &item->message;
    switch_shard(batch, item->shard);
    batch->room.now_us = item->envelope.timestamp_us;
    batch->room.call_over = false;
    batch->room.command_id = item->envelope.command_id;
}

static bool load_wanted(struct batch *batch, struct err *err) {
    const struct decider *decider = batch->loop->config.decider;
    bool more = true;
    while (more) {
        batch->wanted_count = 0;
        for (size_t i = 0; i < batch->item_count; i++)
            if (decidable(&batch->items[i])) {
                enter(batch, &batch->items[i]);
                decider->want(&batch->room, &batch->items[i].input);
            }
        more = batch->wanted_count > 0;
        for (size_t t = 0; t < decider->table_count; t++)
            more |= batch->want_open[t] && !batch->open_loaded[t];
        if (more && !batch_load(batch, err))
            return false;
    }
    return true;
}

/* A timer or an answer for a subject that is parked waits until the subject is not. */
static void postpone(struct batch *batch, struct item *item) {
    if (item->source == ITEM_TIMER)
        batch_set_timer(batch, item->envelope.key, item->input.timer, item->envelope.timestamp_us + PARKED_WAIT_US);
    else
        item->open_outcome = true;
}

static void decide_item(struct batch *batch, struct item *item) {
    const struct decider *decider = batch->loop->config.decider;
    const char *why = NULL;
    enter(batch, item);
    batch->item = item;
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
        if (item->source == ITEM_RECORD)
            batch_park(batch, item, "behind a parked record of the same subject", true);
        else
            postpone(batch, item);
    } else if (item->poison.kind) {
        batch_park(batch, item, item->poison.detail, false);
    } else if (!decider->decide(&batch->room, &item->input, &why)) {
        if (item->source == ITEM_TIMER)
            logging_write(LOG_ERROR, "timer.dropped", "service=%s key=%.*s timer=%.*s why=\"%s\"", decider->service,
                          STR_ARG(item->envelope.key), STR_ARG(item->input.timer), why ? why : "no reason given");
        else if (item->source == ITEM_RESULT)
            operators_leave(batch, item, why ? why : "the decider cannot handle it");
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
        struct item *item = &batch->items[i];
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

bool batch_decide(struct batch *batch, struct err *err) {
    const struct decider *decider = batch->loop->config.decider;
    batch->room.ops = &batch_room_ops;
    batch->room.shop = batch->loop->config.shop;
    batch->room.arena = &batch->arena;
    if (!load_wanted(batch, err) || !batch_load_commands(batch, err))
        return false;
    settle_repeated_in_batch(batch);
    if (batch->want_catalogue && !catalogue_catch_up(batch->loop->catalogue, err))
        return false;
    for (size_t i = 0; i < batch->item_count; i++) {
        struct item *item = &batch->items[i];
        batch->touched[item->shard->index] = true;
        if (item->repeated != ITEM_SAME)
            decide_item(batch, item);
    }
    batch->item = NULL;
    for (int32_t s = 0; decider->batch_end && s < batch->loop->shard_count; s++)
        if (batch->touched[s]) {
            switch_shard(batch, &batch->loop->shards[s]);
            decider->batch_end(&batch->room);
        }
    if (batch->failure.kind) {
        if (err)
            *err = batch->failure;
        return false;
    }
    return true;
}
