#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/codec/avro.h"
#include "core/log/envelope.h"
#include "core/log/record_codec.h"
#include "core/trace/trace.h"
#include "projections/projector.h"

struct item {
    const struct log_record *record;
    struct shard *shard;
    size_t topic;
    struct envelope envelope;
    struct message message;
    enum err_kind kind; /* ERR_NONE, or why it cannot be folded */
    struct str why;
    struct str key; /* of the record: checked */
    struct str *keys;
    struct view_row **rows; /* that it changes: by these keys */
    size_t row_count;
};

struct batch {
    struct projector *projector;
    struct item *items;
    size_t item_count;
    size_t change_count; /* how many rows its items change, one that several change as often */
    struct view_row **rows;
    size_t row_count;
};

/* ---- what each record is, before anything is decided about it ---- */

static bool poison(struct err *err, const char *why, struct str what) {
    return err_set(err, ERR_POISON, "%s: %.*s", why, STR_ARG(what));
}

static bool header_valid(struct str text) {
    return str_is_utf8(text) && !(text.len && memchr(text.ptr, '\0', text.len));
}

static bool check_envelope(const struct envelope *envelope, struct err *err) {
    if (!header_valid(envelope->id) || !header_valid(envelope->subject) || !header_valid(envelope->command_id))
        return poison(err, "a header is not text", STR(HEADER_ID ", " HEADER_SUBJECT " or " HEADER_COMMAND_ID));
    return true;
}

/* Rows of a shard are the keys of its partition, or its own: else two shards could write the same row. */
static bool check_key(const struct projector *projector, const struct item *item, struct err *err) {
    if (!item->key.len)
        return poison(err, "it lacks a value", str_from(projector->config->view->key_field));
    if (!str_eq(item->key, item->record->key))
        return poison(err, "its key is not its", str_from(projector->config->view->key_field));
    if (log_partition_of(item->key, projector->shard_count) != item->record->partition)
        return poison(err, "it is not in the partition of its key", item->key);
    return true;
}

static bool item_decode(struct projector *projector, struct item *item, struct err *err) {
    const char *field = "";
    if (!envelope_read(item->record, &item->envelope, err) || !check_envelope(&item->envelope, err))
        return false;
    if (!item->record->value.ptr)
        return poison(err, "it has no value", item->envelope.id);
    if (!message_decode(projector->subjects[item->topic], item->record->value, &projector->arena, &item->message, err))
        return false;
    if (item->message.type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "records of type %.*s are known no more", STR_ARG(item->envelope.type));
    if (!view_text_valid(&item->message, &field))
        return poison(err, "a text is not what it must be", str_from(field));
    item->key = view_key(projector->config->view, &item->message);
    return check_key(projector, item, err);
}

static bool topic_index(const struct projector *projector, struct str name, size_t *ret) {
    for (*ret = 0; *ret < projector->topic_count; ++*ret)
        if (str_eq(projector->topics[*ret].name, name))
            return true;
    return false;
}

static void decode(struct batch *batch, const struct log_batch *records) {
    struct projector *projector = batch->projector;
    batch->items = arena_array(&projector->arena, struct item, records->count);
    for (size_t i = 0; i < records->count; i++) {
        const struct log_record *record = &records->records[i];
        struct item *item = &batch->items[batch->item_count];
        struct err err = {0};
        if (!topic_index(projector, record->topic, &item->topic) || record->partition >= projector->shard_count ||
            projector->shards[record->partition].state != SHARD_RUNNING)
            continue;
        item->record = record;
        item->shard = &projector->shards[record->partition];
        if (!item_decode(projector, item, &err)) {
            item->kind = err.kind;
            item->why = arena_dup(&projector->arena, str_from(err.detail));
        }
        batch->item_count++;
    }
}

/* ---- rows ---- */

static bool makes_rows(const struct projector *projector, const struct item *item) {
    return item->topic < projector->config->view->topic_count;
}

static void find_keys(struct batch *batch) {
    struct projector *projector = batch->projector;
    for (size_t i = 0; i < batch->item_count; i++) {
        struct item *item = &batch->items[i];
        if (item->kind == ERR_NONE && makes_rows(projector, item))
            item->row_count = view_row_keys(projector->config->view, &projector->arena, item->shard->index,
                                            &item->message, &item->keys);
        batch->change_count += item->row_count;
    }
}

static void find_rows(struct batch *batch) {
    struct arena *arena = &batch->projector->arena;
    struct map by_key = {0};
    batch->rows = arena_array(arena, struct view_row *, batch->change_count);
    for (size_t i = 0; i < batch->item_count; i++) {
        struct item *item = &batch->items[i];
        item->rows = arena_array(arena, struct view_row *, item->row_count);
        for (size_t k = 0; k < item->row_count; k++) {
            void **place = map_put(&by_key, item->keys[k]);
            if (!*place) {
                struct view_row *row = arena_new(arena, struct view_row);
                *row = (struct view_row){.key = item->keys[k], .shard = item->shard->index};
                batch->rows[batch->row_count++] = row;
                *place = row;
            }
            item->rows[k] = *place;
        }
    }
    map_free(&by_key, NULL);
}

/* ---- one record after the other ---- */

static void halt(struct projector *projector, const struct item *item, enum err_kind kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void halt(struct projector *projector, const struct item *item, enum err_kind kind, const char *format, ...) {
    char why[256];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    item->shard->halt = arena_new(&projector->arena, struct err);
    err_set(item->shard->halt, kind, "%.*s/%d offset %lld: %s", STR_ARG(item->record->topic), item->record->partition,
            (long long)item->record->offset, why);
}

static struct str subject_of(struct projector *projector, const struct item *item) {
    if (item->envelope.subject.len)
        return item->envelope.subject;
    if (item->record->key.len)
        return item->record->key;
    return arena_printf(&projector->arena, "%.*s/%d/%lld", STR_ARG(item->record->topic), item->record->partition,
                        (long long)item->record->offset);
}

/* What is parked is shown to people, whatever its headers hold. */
static struct str shown(struct projector *projector, struct str text) {
    if (!text.ptr || !header_valid(text)) {
        BUF_AUTO plain = {0};
        for (size_t i = 0; i < text.len; i++)
            buf_add_char(&plain, text.ptr[i] > ' ' && text.ptr[i] < 127 ? text.ptr[i] : '?');
        return arena_dup(&projector->arena, buf_str(&plain));
    }
    return text;
}

static void park(struct projector *projector, const struct item *item, struct str subject) {
    struct shard_save *save = &item->shard->save;
    BUF_AUTO bytes = {0};
    record_encode(&bytes, item->record);
    subject = shown(projector, subject);
    save->parked[save->parked_count++] = (struct state_parked){.topic = item->record->topic,
                                                               .partition = item->record->partition,
                                                               .offset = item->record->offset,
                                                               .time = item->record->timestamp_us,
                                                               .subject = subject,
                                                               .id = shown(projector, item->envelope.id),
                                                               .type = shown(projector, item->envelope.type),
                                                               .reason = item->kind ? item->why : STR(PARKED_BEHIND),
                                                               .record = arena_dup(&projector->arena, buf_str(&bytes))};
    *map_put(&item->shard->parked, subject) = item->shard;
}

static bool apply(struct projector *projector, struct item *item) {
    const struct view *view = projector->config->view;
    struct shard_save *save = &item->shard->save;
    for (size_t i = 0; i < item->row_count; i++) {
        struct view_row *row = item->rows[i];
        if (!view->fold(projector->config->shop, projector->rows, row->key, &row->value, &item->envelope,
                        &item->message)) {
            halt(projector, item, ERR_UNKNOWN_SCHEMA, "view %s does not know what a %.*s means", view->name,
                 STR_ARG(message_name(item->message.type)));
            return false;
        }
        row->changed |= UINT32_C(1) << item->topic;
    }
    save->facts[save->fact_count++] =
        (struct view_fact){&item->envelope, &item->message, item->row_count && !view->keys ? item->rows[0] : NULL};
    return true;
}

/* Parked, applied, or in the way (false). */
static bool take(struct projector *projector, struct item *item) {
    if (item->kind != ERR_NONE && item->kind != ERR_POISON) {
        halt(projector, item, item->kind, "%.*s", STR_ARG(item->why));
        return false;
    }
    struct str subject = subject_of(projector, item);
    if (item->kind == ERR_NONE && !map_get(&item->shard->parked, shown(projector, subject)))
        return apply(projector, item);
    park(projector, item, subject);
    return true;
}

static void item_fold(struct projector *projector, struct item *item) {
    struct shard *shard = item->shard;
    int64_t last, offset = item->record->offset, seq = item->envelope.origin_seq;
    struct str origin = seq > 0 ? item->envelope.origin : STR_NULL;
    if (shard->halt || offset < shard->positions.state.topics.items[item->topic].next_offset)
        return;
    enum positions_verdict verdict = positions_check(&shard->positions, item->topic, origin, seq, &last);
    if (verdict == POSITIONS_GAP)
        halt(projector, item, ERR_LOST_RECORDS, "number %lld of origin %.*s follows %lld", (long long)seq,
             STR_ARG(origin), (long long)last);
    else if (verdict == POSITIONS_AGAIN)
        metrics_add(projector->duplicates, 1);
    else if (take(projector, item))
        metrics_add(projector->applied, 1);
    if (shard->halt)
        return;
    positions_advance(&shard->positions, item->topic, offset, origin, seq);
    shard->touched = true;
}

/* ---- per shard ---- */

static void shards_prepare(struct batch *batch) {
    struct projector *projector = batch->projector;
    for (int32_t i = 0; i < projector->shard_count; i++) {
        struct shard *shard = &projector->shards[i];
        shard->touched = false;
        shard->halt = NULL;
        shard->save = (struct shard_save){.shard = i};
    }
    for (size_t i = 0; i < batch->item_count; i++) {
        struct shard_save *save = &batch->items[i].shard->save;
        save->fact_count++;
        save->row_count += batch->items[i].row_count;
    }
    for (int32_t i = 0; i < projector->shard_count; i++) {
        struct shard_save *save = &projector->shards[i].save;
        save->facts = arena_array(&projector->arena, struct view_fact, save->fact_count);
        save->parked = arena_array(&projector->arena, struct state_parked, save->fact_count);
        save->rows = arena_array(&projector->arena, struct view_row *, save->row_count);
        save->fact_count = save->row_count = 0;
    }
}

static bool shard_is_whole(const struct projector *projector, const struct shard *shard) {
    for (size_t i = 0; i < projector->topic_count; i++)
        if (shard->positions.state.topics.items[i].next_offset < shard->whole_at[i])
            return false;
    return true;
}

static void shards_finish(struct batch *batch) {
    struct projector *projector = batch->projector;
    for (size_t i = 0; i < batch->row_count; i++) {
        struct shard_save *save = &projector->shards[batch->rows[i]->shard].save;
        if (batch->rows[i]->changed)
            save->rows[save->row_count++] = batch->rows[i];
    }
    for (int32_t i = 0; i < projector->shard_count; i++) {
        struct shard *shard = &projector->shards[i];
        if (!shard->touched)
            continue;
        buf_reset(&shard->next);
        positions_write(&shard->positions, &shard->next);
        shard->save.positions = buf_str(&shard->next);
        shard->save.expected = shard->expected.len ? buf_str(&shard->expected) : STR_NULL;
        shard->save.whole = shard_is_whole(projector, shard);
    }
}

struct batch *batch_begin(struct projector *projector, const struct log_batch *records) {
    struct batch *batch = arena_new(&projector->arena, struct batch);
    batch->projector = projector;
    if (trace_on())
        projector->batch_at_us = clock_now_us();
    decode(batch, records);
    find_keys(batch);
    shards_prepare(batch);
    find_rows(batch);
    return batch;
}

struct view_row *const *batch_rows(const struct batch *batch, size_t *ret_count) {
    *ret_count = batch->row_count;
    return batch->rows;
}

void batch_end(struct batch *batch) {
    for (size_t i = 0; i < batch->row_count; i++)
        batch->rows[i]->held = batch->rows[i]->value != NULL;
    for (size_t i = 0; i < batch->item_count; i++)
        item_fold(batch->projector, &batch->items[i]);
    shards_finish(batch);
}

bool batch_fold(struct projector *projector, const struct log_batch *records, struct err *err) {
    struct batch *batch = batch_begin(projector, records);
    if (batch->row_count &&
        !projector->config->store->load_rows(projector->store, batch->rows, batch->row_count, &projector->arena, err))
        return false;
    batch_end(batch);
    return true;
}
