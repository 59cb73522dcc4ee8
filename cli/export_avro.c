#include "cli/avro_file.h"
#include "cli/export.h"

#include <stdlib.h>

struct export_avro {
    struct export_file *file;
    const struct schema_subject *subject; /* NULL: no schema is known for the topic */
    struct avro_block block;
    struct buf out;
    struct buf event;
    struct arena scratch;
};

/* ---- the file's schema ---- */

static const char schema_begin[] = R"json({"type": "record", "name": "Record", "namespace": "orderlog.export",
 "doc": "A record of the log",
 "fields": [
  {"name": "topic", "type": "string"},
  {"name": "partition", "type": "int"},
  {"name": "offset", "type": "long"},
  {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "When the log took it"},
  {"name": "key", "type": ["null", "string"]},
  {"name": "type", "type": ["null", "string"], "doc": "The event's full name (ce_type)"},
  {"name": "headers", "type": {"type": "map", "values": ["null", "string"]}},
  {"name": "event", "doc": "As today's schema has it; null: a tombstone, or it cannot be decoded",
   "type": [)json";
static const char schema_end[] = R"json("null"]},
  {"name": "error", "type": ["null", "string"], "doc": "Why it cannot be decoded"},
  {"name": "raw", "type": ["null", {"type": "map", "values": "bytes"}],
   "doc": "What cannot be decoded (value), or is no text (key, header NAME); there is null in its place"}
 ]})json";

/* The records of the topic's union keep their places; null comes behind them. So an event's bytes are those in the log,
 * without the schema id. */
static void add_schema(const struct schema_subject *subject, struct buf *ret) {
    buf_printf(ret, "%s", schema_begin);
    avro_add_branches(subject, ret);
    buf_printf(ret, "%s", schema_end);
}

static bool write_header(struct export_avro *avro, struct str topic, struct str range, bool deflate, struct err *err) {
    BUF_AUTO schema = {0}, header = {0};
    add_schema(avro->subject, &schema);
    const struct avro_metadata metadata[] = {{STR("avro.codec"), deflate ? STR("deflate") : STR("null")},
                                             {STR("avro.schema"), buf_str(&schema)},
                                             {STR("orderlog.range"), range},
                                             {STR("orderlog.topic"), topic}};
    avro_add_header(&header, metadata, sizeof metadata / sizeof metadata[0]);
    avro_block_begin(&avro->block, deflate, buf_str(&header));
    buf_add(&header, avro->block.sync, AVRO_SYNC_SIZE);
    return export_file_write(avro->file, buf_str(&header), err);
}

bool export_avro_open(struct export_file *file, struct str topic, struct str range, bool deflate,
                      struct export_avro **ret, struct err *err) {
    struct export_avro *avro = mem_zalloc(sizeof *avro);
    avro->file = file;
    avro->subject = avro_subject_of(topic);
    arena_init(&avro->scratch);
    if (!write_header(avro, topic, range, deflate, err)) {
        export_avro_close(avro);
        return false;
    }
    *ret = avro;
    return true;
}

void export_avro_close(struct export_avro *avro) {
    if (!avro)
        return;
    avro_block_free(&avro->block);
    buf_free(&avro->out);
    buf_free(&avro->event);
    arena_free(&avro->scratch);
    free(avro);
}

bool export_avro_finish(struct export_avro *avro, struct err *err) {
    buf_reset(&avro->out);
    return avro_block_end(&avro->block, &avro->out, err) &&
           (!avro->out.len || export_file_write(avro->file, buf_str(&avro->out), err));
}

/* ---- records ---- */

/* Of headers with the same name the last one counts. */
static bool header_comes_again(const struct log_record *record, size_t index) {
    for (size_t i = index + 1; i < record->header_count; i++)
        if (str_eq(record->headers[i].name, record->headers[index].name))
            return true;
    return false;
}

static void add_headers(struct buf *ret, const struct log_record *record) {
    int64_t count = 0;
    for (size_t i = 0; i < record->header_count; i++)
        count += !header_comes_again(record, i);
    if (count) {
        avro_add_long(ret, count);
        for (size_t i = 0; i < record->header_count; i++)
            if (!header_comes_again(record, i)) {
                avro_add_text(ret, record->headers[i].name);
                avro_add_optional(ret, record->headers[i].value);
            }
    }
    avro_add_long(ret, 0);
}

/* Event and error. *ret_undecoded is the value, when it cannot be decoded. */
static void add_event(struct export_avro *avro, struct str value, struct str *ret_undecoded) {
    struct err err = {0};
    struct message message;
    struct str event;
    struct buf *block = &avro->block.records;
    arena_reset(&avro->scratch);
    bool decoded =
        value.ptr && avro_event_of(avro->subject, value, &avro->scratch, &avro->event, &message, &event, &err);
    if (decoded)
        buf_add_str(block, event);
    else
        avro_add_long(block, avro->subject ? (int64_t)avro->subject->current->branch_count : 0);
    avro_add_optional(block, err.kind ? str_from(err.detail) : STR_NULL);
    *ret_undecoded = decoded ? STR_NULL : value;
}

/* An entry of a map, in a block of its own. */
static void add_entry(struct buf *ret, const char *prefix, struct str name, struct str bytes) {
    BUF_AUTO key = {0};
    buf_printf(&key, "%s", prefix);
    buf_add_str(&key, name);
    avro_add_long(ret, 1);
    avro_add_text(ret, buf_str(&key));
    avro_add_text(ret, bytes);
}

static void add_raw(struct buf *ret, const struct log_record *record, struct str undecoded) {
    size_t odd = undecoded.ptr != NULL || !str_is_utf8(record->key);
    for (size_t i = 0; i < record->header_count; i++)
        odd += !str_is_utf8(record->headers[i].value);
    avro_add_long(ret, odd > 0);
    if (!odd)
        return;
    if (undecoded.ptr)
        add_entry(ret, "value", STR(""), undecoded);
    if (!str_is_utf8(record->key))
        add_entry(ret, "key", STR(""), record->key);
    for (size_t i = 0; i < record->header_count; i++)
        if (!str_is_utf8(record->headers[i].value) && !header_comes_again(record, i))
            add_entry(ret, "header ", record->headers[i].name, record->headers[i].value);
    avro_add_long(ret, 0);
}

bool export_avro_add(struct export_avro *avro, const struct log_record *record, const struct envelope *envelope,
                     struct err *err) {
    struct buf *block = &avro->block.records;
    avro_add_text(block, record->topic);
    avro_add_long(block, record->partition);
    avro_add_long(block, record->offset);
    avro_add_long(block, record->timestamp_us);
    avro_add_optional(block, record->key);
    avro_add_optional(block, envelope->type);
    add_headers(block, record);
    struct str undecoded;
    add_event(avro, record->value, &undecoded);
    add_raw(block, record, undecoded);
    avro->block.count++;
    return block->len < AVRO_BLOCK_BYTES || export_avro_finish(avro, err);
}
