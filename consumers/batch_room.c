/* The room that a batch gives its deciders: rows that were loaded, and what is said about them. */
#include <stdio.h>

#include "consumers/batch.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "core/log/record_codec.h"

enum { BODY_HASH_MAX = 64 }; /* of the API's there are 32 characters */

static struct batch *batch_of(struct room *room) {
    return (struct batch *)room; /* the room is its first member */
}

/* ---- rows ---- */

/* Deciders number their own tables; the loop numbers those of all. */
static int table_of(const struct batch *batch, int table) {
    return batch->shard->service->first_table + table;
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
    uint64_t hash = cache_hash(table, key);
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
    row->slot = batch->shard->slot;
    batch->rows[at] = row;
    batch->in_order[batch->row_count++] = row;
    return row;
}

static void op_want(struct room *room, int table, struct str key) {
    struct batch *batch = batch_of(room);
    size_t before = batch->row_count;
    struct batch_row *row = batch_row_find(batch, table_of(batch, table), key, true);
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
    struct batch *batch = batch_of(room);
    batch->want_open[table_of(batch, table)] = true;
}

static void op_want_catalogue(struct room *room) {
    struct batch *batch = batch_of(room);
    batch->want_catalogue = batch->shard->service->catalogue;
}

static struct row *op_row(struct room *room, int table, struct str key) {
    struct batch *batch = batch_of(room);
    struct batch_row *row = batch_row_find(batch, table_of(batch, table), key, false);
    if (row)
        return &row->row;
    /* In `want` a row that nobody asked for yet is simply not there; in `decide` it is a decider's bug. */
    if (batch->item && !batch->failure.kind)
        err_set(&batch->failure, ERR_INTERNAL, "%s asked for a row of %s that it did not want",
                batch->shard->service->decider->service, batch->shard->service->decider->tables[table].name);
    static _Thread_local struct batch_row nothing; /* as large as what op_put takes it for */
    nothing = (struct batch_row){.row.key = key};
    return &nothing.row;
}

static struct row *op_next_open(struct room *room, int table, struct row *after) {
    struct batch *batch = batch_of(room);
    size_t i = 0;
    if (after)
        while (&batch->in_order[i++]->row != after)
            ;
    for (; i < batch->row_count; i++) {
        struct batch_row *row = batch->in_order[i];
        if (row->table == table_of(batch, table) && row->row.state && !row->closed && row->slot == batch->shard->slot)
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
    kept->slot = batch->shard->slot;
    batch->touched[batch->shard->slot] = true;
}

/* ---- what is said ---- */

static int32_t output_partition(struct batch *batch, struct str topic, struct str key) {
    int32_t partition = 0;
    if (str_eq(topic, STR(TOPIC_INVENTORY_REQUESTS))) {
        if (!locations_partition(batch->loop->config.locations, key, &partition))
            err_set(&batch->failure, ERR_CONFIG, "ORDERLOG_LOCATIONS has no location %.*s", STR_ARG(key));
        return partition;
    }
    return log_partition_of(key, batch->shard->service->shard_count);
}

static size_t size_of(const struct log_record *record) {
    size_t size = record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        size += record->headers[i].name.len + record->headers[i].value.len;
    return size;
}

void batch_emit_raw(struct batch *batch, struct str topic, struct str key, struct str subject, struct str type,
                    struct str value, const struct log_header *extra, size_t extra_count) {
    const struct decider *decider = batch->shard->service->decider;
    int32_t slot = batch->shard->slot;
    int32_t partition = output_partition(batch, topic, key);
    int64_t number = shard_next_seq(batch->shard, topic, partition);
    char origin[64], seq[24], source[80], time[CLOCK_TEXT_SIZE], place[16];
    snprintf(origin, sizeof(origin), "%s/%d", decider->service, batch->shard->index);
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
    if (batch->traceparent.ptr)
        headers[count++] = (struct log_header){STR(HEADER_TRACEPARENT), batch->traceparent};
    if (batch->item && batch->item->envelope.tracestate.ptr)
        headers[count++] = (struct log_header){STR(HEADER_TRACESTATE), batch->item->envelope.tracestate};
    for (size_t i = 0; i < extra_count && count < sizeof(headers) / sizeof(headers[0]); i++)
        headers[count++] = extra[i];
    struct log_record record = {
        .topic = topic, .partition = partition, .key = key, .value = value, .headers = headers, .header_count = count};
    if (size_of(&record) > LOG_RECORD_MAX && !batch->failure.kind) /* committed, it would stand before all others */
        err_set(&batch->failure, ERR_INTERNAL, "%s decided a record of %zu bytes for %.*s, which the log does not take",
                decider->service, size_of(&record), STR_ARG(topic));
    record_encode(&batch->outboxes[slot], &record);
    batch->outbox_records[slot]++;
    batch->touched[slot] = true;
    batch_hand_over(batch, &record, number);
}

/* Who sent a command tells its outcome from that of another body with the same key by this. */
static bool answers_command(const struct batch *batch) {
    const struct item *item = batch->item;
    return item && item->body_hash.ptr && item->body_hash.len <= BODY_HASH_MAX &&
           str_eq(batch->room.command_id, item->envelope.command_id);
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
    const struct log_header body = {STR(HEADER_BODY_HASH), batch->item ? batch->item->body_hash : STR_NULL};
    if (message_encode(schema, message, &batch->scratch, &batch->failure))
        batch_emit_raw(batch, topic, key, subject, message_name(message->type), buf_str(&batch->scratch), &body,
                       answers_command(batch));
}

void batch_set_timer(struct batch *batch, struct str key, struct str name, int64_t due_us) {
    struct timer_op **bucket = &batch->timer_buckets[cache_hash(batch->shard->slot, key) % TIMER_BUCKETS];
    struct timer_op *op = *bucket;
    while (op && !(op->slot == batch->shard->slot && str_eq(op->key, key) && str_eq(op->name, name)))
        op = op->chain;
    if (!op) {
        op = arena_new(&batch->arena, struct timer_op);
        op->next = batch->timers;
        op->chain = *bucket;
        *bucket = op;
        op->slot = batch->shard->slot;
        op->key = arena_dup(&batch->arena, key);
        op->name = arena_dup(&batch->arena, name);
        batch->timers = op;
    }
    op->due_us = due_us;
    batch->touched[batch->shard->slot] = true;
}

static void op_timer_set(struct room *room, struct str key, struct str name, int64_t due_us) {
    batch_set_timer(batch_of(room), key, name, due_us);
}

static void op_timer_clear(struct room *room, struct str key, struct str name) {
    batch_set_timer(batch_of(room), key, name, -1);
}

static void op_intent(struct room *room, struct str id, struct str key, const struct message *message) {
    struct batch *batch = batch_of(room);
    BUF_AUTO request = {0};
    if (!message_encode(effect_subject(message->type), message, &request, &batch->failure))
        return;
    struct intent_op *op = arena_new(&batch->arena, struct intent_op);
    op->effect = (struct effect){.created_us = clock_now_us(),
                                 .shard = batch->shard->slot,
                                 .epoch = batch->shard->epoch,
                                 .id = arena_dup(&batch->arena, id),
                                 .key = arena_dup(&batch->arena, key),
                                 .command_id = arena_dup(&batch->arena, room->command_id),
                                 .traceparent = arena_dup(&batch->arena, batch->traceparent),
                                 .request = arena_dup(&batch->arena, buf_str(&request))};
    *batch->intents_end = op;
    batch->intents_end = &op->next;
    batch->touched[batch->shard->slot] = true;
}

static bool op_product(struct room *room, struct str sku, struct product *ret) {
    struct catalogue *catalogue = batch_of(room)->shard->service->catalogue;
    return catalogue && catalogue_find(catalogue, sku, ret);
}

static struct str op_id(struct room *room, const struct str *parts, size_t count) {
    struct id id = id_derive(parts, count);
    return arena_dup(room->arena, id_str(&id));
}

const struct room_ops batch_room_ops = {
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
