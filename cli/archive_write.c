/* The records of an archive's object. Every record can be told again bit by bit from what is written here:
 *
 *   value    as `raw_value`; without one, as the event's own bytes behind a zero byte and the schema's id (of the
 * file's metadata); with neither, there is none key      as `raw_key`, or else `key` headers  as `raw_headers`, or else
 * `headers`, in their order */
#include "cli/archive.h"

#include "core/base/envelope.h"
#include "core/log/crc32c.h"

#include <inttypes.h>
#include <stdlib.h>

struct archive_writer {
    char *topic;
    const struct schema_subject *subject; /* NULL: no schema is known for the topic */
    struct buf schema;
    struct avro_block block;
    struct buf blocks; /* those that are ended */
    struct buf again, json;
    struct arena scratch;
};

static const char schema_begin[] = R"json({"type": "record", "name": "Record", "namespace": "orderlog.archive",
 "doc": "A record of the log",
 "fields": [
  {"name": "topic", "type": "string"},
  {"name": "partition", "type": "int"},
  {"name": "offset", "type": "long"},
  {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "When the log took it"},
  {"name": "key", "type": ["null", "string"], "doc": "null: none, or it is no text (raw_key)"},
  {"name": "type", "type": ["null", "string"], "doc": "The event's full name (ce_type)"},
  {"name": "headers", "doc": "In their order; a value is null, too, where it is no text (raw_headers)",
   "type": {"type": "array", "items": {"type": "record", "name": "Header", "fields": [
    {"name": "name", "type": "string"}, {"name": "value", "type": ["null", "string"]}]}}},
  {"name": "event", "doc": "As the schema of the file's day has it; null: a tombstone, or it cannot be decoded",
   "type": [)json";
static const char schema_end[] = R"json("null"]},
  {"name": "json", "type": ["null", "string"], "doc": "The event once more, for tools that know no unions"},
  {"name": "error", "type": ["null", "string"], "doc": "Why it cannot be decoded"},
  {"name": "raw_key", "type": ["null", "bytes"], "doc": "Where the key is no text"},
  {"name": "raw_value", "type": ["null", "bytes"],
   "doc": "Where the value is not a zero byte, the schema's id and the event's bytes"},
  {"name": "raw_headers", "doc": "All of them, where a name or a value is no text",
   "type": ["null", {"type": "array", "items": {"type": "record", "name": "RawHeader", "fields": [
    {"name": "name", "type": "bytes"}, {"name": "value", "type": ["null", "bytes"]}]}}]}
 ]})json";

struct archive_writer *archive_writer_open(struct str topic) {
    struct archive_writer *writer = mem_zalloc(sizeof *writer);
    writer->topic = mem_strdup(topic);
    writer->subject = avro_subject_of(topic);
    arena_init(&writer->scratch);
    buf_printf(&writer->schema, "%s", schema_begin);
    avro_add_branches(writer->subject, &writer->schema);
    buf_printf(&writer->schema, "%s", schema_end);
    return writer;
}

void archive_writer_close(struct archive_writer *writer) {
    if (!writer)
        return;
    free(writer->topic);
    buf_free(&writer->schema);
    avro_block_free(&writer->block);
    buf_free(&writer->blocks);
    buf_free(&writer->again);
    buf_free(&writer->json);
    arena_free(&writer->scratch);
    free(writer);
}

void archive_writer_begin(struct archive_writer *writer, int32_t partition, int64_t first) {
    BUF_AUTO own = {0};
    buf_printf(&own, "orderlog.archive %s %d %" PRId64, writer->topic, partition, first);
    avro_block_begin(&writer->block, true, buf_str(&own));
    buf_reset(&writer->blocks);
}

/* ---- records ---- */

static void add_raw(struct buf *ret, struct str bytes) {
    avro_add_long(ret, bytes.ptr != NULL);
    if (bytes.ptr)
        avro_add_text(ret, bytes);
}

static bool is_text(struct str bytes) {
    return !bytes.ptr || str_is_utf8(bytes);
}

static struct str header_of(const struct log_record *record, struct str name) {
    for (size_t i = 0; i < record->header_count; i++)
        if (str_eq(record->headers[i].name, name))
            return record->headers[i].value;
    return STR_NULL;
}

static void add_headers(struct buf *ret, const struct log_record *record) {
    if (record->header_count)
        avro_add_long(ret, (int64_t)record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        avro_add_text(ret, str_is_utf8(record->headers[i].name) ? record->headers[i].name : STR("?"));
        avro_add_optional(ret, record->headers[i].value);
    }
    avro_add_long(ret, 0);
}

static void add_raw_headers(struct buf *ret, const struct log_record *record) {
    bool odd = false;
    for (size_t i = 0; i < record->header_count; i++)
        odd |= !str_is_utf8(record->headers[i].name) || !is_text(record->headers[i].value);
    avro_add_long(ret, odd);
    if (!odd)
        return;
    avro_add_long(ret, (int64_t)record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        avro_add_text(ret, record->headers[i].name);
        add_raw(ret, record->headers[i].value);
    }
    avro_add_long(ret, 0);
}

/* Event, json and error. Returns the value, where it is not told by the event's bytes. */
static struct str add_event(struct archive_writer *writer, struct str value) {
    struct buf *ret = &writer->block.records;
    struct err err = {0};
    struct message message;
    struct str event;
    arena_reset(&writer->scratch);
    if (!value.ptr ||
        !avro_event_of(writer->subject, value, &writer->scratch, &writer->again, &message, &event, &err)) {
        avro_add_long(ret, writer->subject ? (int64_t)writer->subject->current->branch_count : 0);
        avro_add_long(ret, 0);
        avro_add_optional(ret, err.kind ? str_from(err.detail) : STR_NULL);
        return value;
    }
    buf_add_str(ret, event);
    buf_reset(&writer->json);
    avro_to_json(schema_messages[message.type], message_body(&message), &writer->json);
    avro_add_optional(ret, buf_str(&writer->json));
    avro_add_long(ret, 0);
    return event.ptr == value.ptr + AVRO_FRAME_SIZE ? STR_NULL : value;
}

bool archive_writer_add(struct archive_writer *writer, const struct log_record *record, struct err *err) {
    struct buf *ret = &writer->block.records;
    avro_add_text(ret, str_from(writer->topic));
    avro_add_long(ret, record->partition);
    avro_add_long(ret, record->offset);
    avro_add_long(ret, record->timestamp_us);
    avro_add_optional(ret, record->key);
    avro_add_optional(ret, header_of(record, STR(HEADER_TYPE)));
    add_headers(ret, record);
    struct str raw_value = add_event(writer, record->value);
    add_raw(ret, is_text(record->key) ? STR_NULL : record->key);
    add_raw(ret, raw_value);
    add_raw_headers(ret, record);
    writer->block.count++;
    return ret->len < AVRO_BLOCK_BYTES || avro_block_end(&writer->block, &writer->blocks, err);
}

/* ---- the file ---- */

static struct str number_text(struct arena *arena, int64_t number) {
    return arena_printf(arena, "%" PRId64, number);
}

bool archive_writer_finish(struct archive_writer *writer, const struct archive_range *range, struct buf *ret,
                           struct err *err) {
    if (!avro_block_end(&writer->block, &writer->blocks, err))
        return false;
    struct arena *arena = &writer->scratch;
    arena_reset(arena);
    const struct avro_metadata metadata[] = {
        {STR("avro.codec"), STR("deflate")},
        {STR("avro.schema"), buf_str(&writer->schema)},
        {STR("orderlog.crc32c"), number_text(arena, crc32c(0, writer->blocks.ptr, writer->blocks.len))},
        {STR("orderlog.end"), number_text(arena, range->end)},
        {STR("orderlog.first"), number_text(arena, range->first)},
        {STR("orderlog.format"), STR(ARCHIVE_FORMAT)},
        {STR("orderlog.partition"), number_text(arena, range->partition)},
        {STR("orderlog.partitions"), number_text(arena, range->partitions)},
        {STR("orderlog.schema_id"), number_text(arena, writer->subject ? writer->subject->current->id : 0)},
        {STR("orderlog.topic"), range->topic}};
    buf_reset(ret);
    avro_add_header(ret, metadata, sizeof metadata / sizeof metadata[0]);
    buf_add(ret, writer->block.sync, AVRO_SYNC_SIZE);
    buf_add_str(ret, buf_str(&writer->blocks));
    return true;
}
