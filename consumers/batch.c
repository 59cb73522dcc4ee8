#include <stdio.h>
#include <stdlib.h>

#include "consumers/internal.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/map.h"
#include "core/codec/avro.h"
#include "core/log/record_codec.h"

/* How long a timer waits for its subject to be unparked. */
#define PARKED_WAIT_US (INT64_C(10) * 1000 * 1000)

static struct batch *batch_of(struct room *room) {
    return (struct batch *)room; /* the room is its first member */
}

/* ---- rows ---- */

static uint64_t hash_key(int table, struct str key) {
    uint64_t hash = UINT64_C(14695981039346656037) ^ (uint64_t)table; /* FNV-1a */
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.ptr[i]) * UINT64_C(1099511628211);
    return hash ^ hash >> 32;
}

static void rows_grow(struct batch *batch) {
    size_t capacity = batch->row_capacity ? batch->row_capacity * 2 : 256;
    struct batch_row **slots = arena_array(&batch->arena, struct batch_row *, capacity);
    struct batch_row **in_order = arena_array(&batch->arena, struct batch_row *, capacity);
    for (size_t i = 0; i < batch->row_count; i++) {
        struct batch_row *row = in_order[i] = batch->in_order[i];
        size_t at = row->hash & (capacity - 1);
        while (slots[at])
            at = (at + 1) & (capacity - 1);
        slots[at] = row;
    }
    batch->rows = slots;
    batch->in_order = in_order;
    batch->row_capacity = capacity;
}

struct batch_row *batch_row_find(struct batch *batch, int table, struct str key, bool make) {
    if (batch->row_count * 2 >= batch->row_capacity)
        rows_grow(batch);
    uint64_t hash = hash_key(table, key);
    size_t at = hash & (batch->row_capacity - 1);
    for (; batch->rows[at]; at = (at + 1) & (batch->row_capacity - 1)) {
        struct batch_row *row = batch->rows[at];
        if (row->hash == hash && row->table == table && str_eq(row->row.key, key))
            return row;
    }
    if (!make)
        return NULL;
    struct batch_row *row = arena_new(&batch->arena, struct batch_row);
    row->row.key = arena_dup(&batch->arena, key);
    row->hash = hash;
    row->table = table;
    row->shard = batch->shard ? batch->shard->index : -1;
    batch->rows[at] = row;
    batch->in_order[batch->row_count++] = row;
    return row;
}

static void op_want(struct room *room, int table, struct str key) {
    struct batch *batch = batch_of(room);
    size_t before = batch->row_count;
    struct batch_row *row = batch_row_find(batch, table, key, true);
    if (batch->row_count == before)
        return;
    if (batch->wanted_count == batch->wanted_capacity) {
        size_t capacity = batch->wanted_capacity ? batch->wanted_capacity * 2 : 256;
        struct batch_row **wanted = arena_array(&batch->arena, struct batch_row *, capacity);
        if (batch->wanted_count)
            memcpy(wanted, batch->wanted, batch->wanted_count * sizeof(struct batch_row *));
        batch->wanted = wanted;
        batch->wanted_capacity = capacity;
    }
    batch->wanted[batch->wanted_count++] = row;
}

static void op_want_open(struct room *room, int table) {
    batch_of(room)->want_open[table] = true;
}

static void op_want_catalogue(struct room *room) {
    batch_of(room)->want_catalogue = true;
}

static struct row *op_row(struct room *room, int table, struct str key) {
    struct batch *batch = batch_of(room);
    struct batch_row *row = batch_row_find(batch, table, key, false);
    if (row)
        return &row->row;
    /* In `want` a row that nobody asked for yet is simply not there; in `decide` it is a decider's bug. */
    if (batch->item && !batch->failure.kind)
        err_set(&batch->failure, ERR_INTERNAL, "%s asked for a row of %s that it did not want",
                batch->loop->config.decider->service, batch->loop->config.decider->tables[table].name);
    static _Thread_local struct row nothing;
    nothing = (struct row){.key = key};
    return &nothing;
}

static struct row *op_next_open(struct room *room, int table, struct row *after) {
    struct batch *batch = batch_of(room);
    size_t i = 0;
    if (after)
        while (&batch->in_order[i++]->row != after)
            ;
    for (; i < batch->row_count; i++) {
        struct batch_row *row = batch->in_order[i];
        if (row->table == table && row->row.state && !row->closed && row->shard == batch->shard->index)
            return &row->row;
    }
    return NULL;
}

static void op_put(struct room *room, int table, struct row *row, int64_t guard, bool closed) {
    (void)table;
    struct batch *batch = batch_of(room);
    struct batch_row *kept = (struct batch_row *)row; /* `row` is its first member */
    kept->guard = guard;
    kept->closed = closed;
    kept->put = true;
    kept->shard = batch->shard->index;
    batch->touched[batch->shard->index] = true;
}

/* ---- what is said ---- */

static int32_t output_partition(struct batch *batch, struct str topic, struct str key) {
    int32_t partition = 0;
    if (str_eq(topic, STR(TOPIC_INVENTORY_REQUESTS))) {
        if (!locations_partition(batch->loop->config.locations, key, &partition))
            err_set(&batch->failure, ERR_CONFIG, "ORDERLOG_LOCATIONS has no location %.*s", STR_ARG(key));
        return partition;
    }
    return log_partition_of(key, batch->loop->shard_count);
}

void batch_emit_raw(struct batch *batch, struct str topic, struct str key, struct str subject, struct str type,
                    struct str value, const struct log_header *extra, size_t extra_count) {
    const struct decider *decider = batch->loop->config.decider;
    int32_t shard = batch->shard->index;
    int32_t partition = output_partition(batch, topic, key);
    int64_t number = shard_next_seq(batch->shard, topic, partition);
    char origin[64], seq[24], source[80], time[CLOCK_TEXT_SIZE], place[16];
    snprintf(origin, sizeof(origin), "%s/%d", decider->service, shard);
    snprintf(source, sizeof(source), "/orderlog/%s", origin);
    snprintf(seq, sizeof(seq), "%lld", (long long)number);
    snprintf(place, sizeof(place), "%d", partition);
    clock_format(batch->room.now_us, time);
    struct id id = id_derive((struct str[]){str_from(origin), topic, str_from(place), str_from(seq)}, 4);
    struct log_header headers[24] = {
        {STR(HEADER_SPECVERSION), STR("1.0")},
        {STR(HEADER_ID), id_str(&id)},
        {STR(HEADER_SOURCE), str_from(source)},
        {STR(HEADER_TYPE), type},
        {STR(HEADER_TIME), str_from(time)},
        {STR(HEADER_SUBJECT), subject},
        {STR(HEADER_CONTENT_TYPE), STR("application/avro")},
        {STR(HEADER_ORIGIN), str_from(origin)},
        {STR(HEADER_ORIGIN_SEQ), str_from(seq)},
    };
    size_t count = 9;
    if (batch->room.command_id.ptr)
        headers[count++] = (struct log_header){STR(HEADER_COMMAND_ID), batch->room.command_id};
    if (batch->item && batch->item->envelope.traceparent.ptr)
        headers[count++] = (struct log_header){STR(HEADER_TRACEPARENT), batch->item->envelope.traceparent};
    for (size_t i = 0; i < extra_count && count < sizeof(headers) / sizeof(headers[0]); i++)
        headers[count++] = extra[i];
    struct log_record record = {
        .topic = topic, .partition = partition, .key = key, .value = value, .headers = headers, .header_count = count};
    record_encode(&batch->outboxes[shard], &record);
    batch->outbox_records[shard]++;
    batch->touched[shard] = true;
}

static void op_emit(struct room *room, struct str topic, struct str key, struct str subject,
                    const struct message *message) {
    struct batch *batch = batch_of(room);
    const struct schema_subject *schema = schema_subject_find(topic);
    buf_reset(&batch->scratch);
    if (!schema) {
        err_set(&batch->failure, ERR_INTERNAL, "no schema for topic %.*s", STR_ARG(topic));
        return;
    }
    if (message_encode(schema, message, &batch->scratch, &batch->failure))
        batch_emit_raw(batch, topic, key, subject, message_name(message->type), buf_str(&batch->scratch), NULL, 0);
}

static void timer_op(struct room *room, struct str key, struct str name, int64_t due_us) {
    struct batch *batch = batch_of(room);
    struct timer_op *op = batch->timers;
    while (op && !(op->shard == batch->shard->index && str_eq(op->key, key) && str_eq(op->name, name)))
        op = op->next;
    if (!op) {
        op = arena_new(&batch->arena, struct timer_op);
        op->next = batch->timers;
        op->shard = batch->shard->index;
        op->key = arena_dup(&batch->arena, key);
        op->name = arena_dup(&batch->arena, name);
        batch->timers = op;
    }
    op->due_us = due_us;
    batch->touched[batch->shard->index] = true;
}

static void op_timer_set(struct room *room, struct str key, struct str name, int64_t due_us) {
    timer_op(room, key, name, due_us);
}

static void op_timer_clear(struct room *room, struct str key, struct str name) {
    timer_op(room, key, name, -1);
}

static void op_intent(struct room *room, struct str id, struct str key, const struct message *message) {
    struct batch *batch = batch_of(room);
    BUF_AUTO request = {0};
    if (!message_encode(schema_subject_find(STR("intent/payment")), message, &request, &batch->failure))
        return;
    struct intent_op *op = arena_new(&batch->arena, struct intent_op);
    op->effect = (struct effect){.shard = batch->shard->index,
                                 .epoch = batch->shard->epoch,
                                 .id = arena_dup(&batch->arena, id),
                                 .key = arena_dup(&batch->arena, key),
                                 .command_id = arena_dup(&batch->arena, room->command_id),
                                 .traceparent = arena_dup(&batch->arena, batch->item->envelope.traceparent),
                                 .request = arena_dup(&batch->arena, buf_str(&request))};
    *batch->intents_end = op;
    batch->intents_end = &op->next;
    batch->touched[batch->shard->index] = true;
}

static bool op_product(struct room *room, struct str sku, struct product *ret) {
    struct catalogue *catalogue = batch_of(room)->loop->catalogue;
    return catalogue && catalogue_find(catalogue, sku, ret);
}

static struct str op_id(struct room *room, const struct str *parts, size_t count) {
    struct id id = id_derive(parts, count);
    return arena_dup(room->arena, id_str(&id));
}

static const struct room_ops batch_ops = {
    .row = op_row,
    .want = op_want,
    .want_open = op_want_open,
    .want_catalogue = op_want_catalogue,
    .put = op_put,
    .next_open = op_next_open,
    .emit = op_emit,
    .timer_set = op_timer_set,
    .timer_clear = op_timer_clear,
    .intent = op_intent,
    .product = op_product,
    .id = op_id,
};

/* ---- the batch ---- */

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

static bool decidable(const struct item *item) {
    return !item->poison.kind && !shard_is_parked(item->shard, item->envelope.subject);
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
    batch->room.command_id = item->envelope.command_id;
}

static bool load_wanted(struct batch *batch, struct err *err) {
    const struct decider *decider = batch->loop->config.decider;
    bool more = true;
    while (more) {
        batch->wanted_count = 0;
        for (size_t i = 0; i < batch->item_count; i++)
            if (decidable(&batch->items[i]) || batch->items[i].source == ITEM_PARKED) {
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
        timer_op(&batch->room, item->envelope.key, item->input.timer, item->envelope.timestamp_us + PARKED_WAIT_US);
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
        timer_op(&batch->room, item->envelope.key, item->input.timer, -1);
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
        if (item->source == ITEM_TIMER || item->source == ITEM_RESULT)
            err_set(&batch->failure, ERR_INTERNAL, "%s cannot handle its own timer or answer: %s", decider->service,
                    why ? why : "no reason given");
        else
            batch_park(batch, item, why ? why : "the decider cannot handle it", false);
    } else if (item->source == ITEM_PARKED) {
        batch_marked_done(batch, item);
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
    batch->room.ops = &batch_ops;
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
