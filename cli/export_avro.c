#include "cli/export.h"

#include "core/base/ids.h"
#include "core/codec/avro.h"

#include <stdlib.h>
#include <zlib.h>

enum {
    BLOCK_BYTES = 256 * 1024, /* before compression */
    SYNC_SIZE = 16,
    FRAME_SIZE = 5,    /* the schema id in front of a value */
    DEFLATE_LEVEL = 4, /* 6 takes twice as long for 5 % less */
};

struct export_avro {
    struct export_file *file;
    const struct schema_subject *subject; /* NULL: no schema is known for the topic */
    bool deflate;
    struct buf block;
    int64_t count; /* records in it */
    uint8_t sync[SYNC_SIZE];
    struct buf packed;
    struct buf event;
    struct arena scratch;
};

/* ---- Avro's binary encoding ---- */

static void add_long(struct buf *ret, int64_t value) {
    char bytes[10];
    size_t count = 0;
    uint64_t rest = ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
    for (; rest > 0x7f; rest >>= 7)
        bytes[count++] = (char)(unsigned char)((rest & 0x7f) | 0x80);
    bytes[count++] = (char)rest;
    buf_add(ret, bytes, count);
}

static void add_text(struct buf *ret, struct str text) {
    add_long(ret, (int64_t)text.len);
    buf_add_str(ret, text);
}

/* ["null", "string"]: null, too, for what is not UTF-8 (see add_raw). */
static void add_optional(struct buf *ret, struct str text) {
    bool is_text = text.ptr && str_is_utf8(text);
    add_long(ret, is_text);
    if (is_text)
        add_text(ret, text);
}

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
    if (subject) {
        struct str union_ = str_from(subject->current->json); /* "[…]" */
        buf_add(ret, union_.ptr + 1, union_.len - 2);
        buf_add_char(ret, ',');
    }
    buf_printf(ret, "%s", schema_end);
}

/* Dead letters are another topic's records. */
static const struct schema_subject *subject_of(struct str topic) {
    const struct str suffix = STR(".dlq");
    if (str_ends_with(topic, suffix))
        topic.len -= suffix.len;
    return schema_subject_find(topic);
}

static bool write_header(struct export_avro *avro, struct str topic, struct str range, struct err *err) {
    BUF_AUTO schema = {0}, header = {0}, seed = {0};
    uint8_t digest[SHA256_SIZE];
    add_schema(avro->subject, &schema);
    const struct str metadata[][2] = {{STR("avro.codec"), avro->deflate ? STR("deflate") : STR("null")},
                                      {STR("avro.schema"), buf_str(&schema)},
                                      {STR("orderlog.range"), range},
                                      {STR("orderlog.topic"), topic}};
    buf_add(&header, "Obj\1", 4);
    add_long(&header, 4);
    for (size_t i = 0; i < 4; i++) {
        add_text(&header, metadata[i][0]);
        add_text(&header, metadata[i][1]);
    }
    add_long(&header, 0);
    /* What separates the blocks need not be random, only unlike anything in them. */
    sha256(buf_str(&header), digest);
    memcpy(avro->sync, digest, SYNC_SIZE);
    buf_add(&header, avro->sync, SYNC_SIZE);
    return export_file_write(avro->file, buf_str(&header), err);
}

bool export_avro_open(struct export_file *file, struct str topic, struct str range, bool deflate,
                      struct export_avro **ret, struct err *err) {
    struct export_avro *avro = mem_zalloc(sizeof *avro);
    avro->file = file;
    avro->subject = subject_of(topic);
    avro->deflate = deflate;
    arena_init(&avro->scratch);
    if (!write_header(avro, topic, range, err)) {
        export_avro_close(avro);
        return false;
    }
    *ret = avro;
    return true;
}

void export_avro_close(struct export_avro *avro) {
    if (!avro)
        return;
    buf_free(&avro->block);
    buf_free(&avro->packed);
    buf_free(&avro->event);
    arena_free(&avro->scratch);
    free(avro);
}

/* ---- blocks ---- */

static bool block_pack(struct export_avro *avro, struct err *err) {
    z_stream stream = {0};
    if (deflateInit2(&stream, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return err_set(err, ERR_INTERNAL, "zlib does not start");
    size_t bound = deflateBound(&stream, avro->block.len);
    buf_reset(&avro->packed);
    buf_reserve(&avro->packed, bound);
    stream.next_in = (unsigned char *)avro->block.ptr;
    stream.avail_in = (unsigned)avro->block.len;
    stream.next_out = (unsigned char *)avro->packed.ptr;
    stream.avail_out = (unsigned)bound;
    int status = deflate(&stream, Z_FINISH);
    avro->packed.len = stream.total_out;
    deflateEnd(&stream);
    return status == Z_STREAM_END || err_set(err, ERR_INTERNAL, "zlib: status %d", status);
}

static bool block_write(struct export_avro *avro, struct err *err) {
    BUF_AUTO head = {0};
    if (!avro->count)
        return true;
    if (avro->deflate && !block_pack(avro, err))
        return false;
    struct str data = buf_str(avro->deflate ? &avro->packed : &avro->block);
    add_long(&head, avro->count);
    add_long(&head, (int64_t)data.len);
    if (!export_file_write(avro->file, buf_str(&head), err) || !export_file_write(avro->file, data, err) ||
        !export_file_write(avro->file, (struct str){(const char *)avro->sync, SYNC_SIZE}, err))
        return false;
    buf_reset(&avro->block);
    avro->count = 0;
    return true;
}

bool export_avro_finish(struct export_avro *avro, struct err *err) {
    return block_write(avro, err);
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
        add_long(ret, count);
        for (size_t i = 0; i < record->header_count; i++)
            if (!header_comes_again(record, i)) {
                add_text(ret, record->headers[i].name);
                add_optional(ret, record->headers[i].value);
            }
    }
    add_long(ret, 0);
}

/* The event in today's schema, branch first, without the schema id. Bytes of an earlier version are made anew. */
static bool event_of(struct export_avro *avro, struct str value, struct str *ret, struct err *err) {
    struct message message;
    arena_reset(&avro->scratch);
    if (!avro->subject)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "no schema is known for it");
    if (!message_decode(avro->subject, value, &avro->scratch, &message, err))
        return false;
    if (message.type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "a record that is known no more");
    const unsigned char *id = (const unsigned char *)value.ptr + 1;
    if (((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]) !=
        (uint32_t)avro->subject->current->id) {
        buf_reset(&avro->event);
        if (!message_encode(avro->subject, &message, &avro->event, err))
            return false;
        value = buf_str(&avro->event);
    }
    *ret = (struct str){value.ptr + FRAME_SIZE, value.len - FRAME_SIZE};
    return true;
}

/* Event and error. *ret_undecoded is the value, when it cannot be decoded. */
static void add_event(struct export_avro *avro, struct str value, struct str *ret_undecoded) {
    struct err err = {0};
    struct str event;
    bool decoded = value.ptr && event_of(avro, value, &event, &err);
    if (decoded)
        buf_add_str(&avro->block, event);
    else
        add_long(&avro->block, avro->subject ? (int64_t)avro->subject->current->branch_count : 0);
    add_optional(&avro->block, err.kind ? str_from(err.detail) : STR_NULL);
    *ret_undecoded = decoded ? STR_NULL : value;
}

/* An entry of a map, in a block of its own. */
static void add_entry(struct buf *ret, const char *prefix, struct str name, struct str bytes) {
    BUF_AUTO key = {0};
    buf_printf(&key, "%s", prefix);
    buf_add_str(&key, name);
    add_long(ret, 1);
    add_text(ret, buf_str(&key));
    add_text(ret, bytes);
}

static void add_raw(struct buf *ret, const struct log_record *record, struct str undecoded) {
    size_t odd = undecoded.ptr != NULL || !str_is_utf8(record->key);
    for (size_t i = 0; i < record->header_count; i++)
        odd += !str_is_utf8(record->headers[i].value);
    add_long(ret, odd > 0);
    if (!odd)
        return;
    if (undecoded.ptr)
        add_entry(ret, "value", STR(""), undecoded);
    if (!str_is_utf8(record->key))
        add_entry(ret, "key", STR(""), record->key);
    for (size_t i = 0; i < record->header_count; i++)
        if (!str_is_utf8(record->headers[i].value) && !header_comes_again(record, i))
            add_entry(ret, "header ", record->headers[i].name, record->headers[i].value);
    add_long(ret, 0);
}

bool export_avro_add(struct export_avro *avro, const struct log_record *record, const struct envelope *envelope,
                     struct err *err) {
    struct buf *block = &avro->block;
    add_text(block, record->topic);
    add_long(block, record->partition);
    add_long(block, record->offset);
    add_long(block, record->timestamp_us);
    add_optional(block, record->key);
    add_optional(block, envelope->type);
    add_headers(block, record);
    struct str undecoded;
    add_event(avro, record->value, &undecoded);
    add_raw(block, record, undecoded);
    avro->count++;
    return block->len < BLOCK_BYTES || block_write(avro, err);
}
