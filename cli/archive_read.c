#include "cli/archive.h"
#include "core/base/map.h"
#include "core/log/crc32c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    PIECE_BYTES = 1 << 20,
    METADATA_MAX = 4 << 20,
    BLOCK_MAX = 64 << 20, /* unpacked: a record of LOG_RECORD_MAX, told twice and once more as JSON, fits */
};

struct archive_reader {
    const struct archive_place *place;
    struct str key;
    int64_t bytes, fetched; /* of the object */
    struct buf window;      /* what was fetched and not yet used, from `at` on */
    size_t at;

    struct archive_range range;
    const struct schema_version *schema; /* NULL: its topic has none */
    uint8_t sync[AVRO_SYNC_SIZE];
    uint32_t sum, expected_sum; /* CRC-32C of what follows the header */
    struct arena kept;          /* texts of the range */

    struct buf block;
    struct str rest; /* of the block */
    int64_t left;    /* records in it */
    int64_t next;    /* the offset to come */
    int64_t time_us; /* of the record before */
    struct arena arena;
    struct log_record record;
};

static bool damaged(struct err *err, const char *what) {
    return err_set(err, ERR_CORRUPT, "%s", what);
}

/* ---- bytes of the object ---- */

static struct str unread(const struct archive_reader *reader) {
    return (struct str){reader->window.ptr + reader->at, reader->window.len - reader->at};
}

static bool fetch(struct archive_reader *reader, size_t count, struct err *err) {
    if (reader->at) {
        struct str rest = unread(reader);
        memmove(reader->window.ptr, rest.ptr, rest.len);
        reader->window.len = rest.len;
        reader->at = 0;
    }
    while (reader->window.len < count) {
        size_t before = reader->window.len;
        int64_t left = reader->bytes - reader->fetched;
        if (left && !s3_get(reader->place->s3, reader->key, reader->fetched, left < PIECE_BYTES ? left : PIECE_BYTES,
                            &reader->window, err))
            return false;
        if (reader->window.len == before)
            return err_set(err, ERR_CORRUPT, "it is cut off at byte %" PRId64, reader->fetched);
        reader->fetched += (int64_t)(reader->window.len - before);
    }
    return true;
}

static bool take(struct archive_reader *reader, size_t count, struct str *ret, struct err *err) {
    if (reader->window.len - reader->at < count && !fetch(reader, count, err))
        return false;
    *ret = (struct str){reader->window.ptr + reader->at, count};
    reader->at += count;
    reader->sum = crc32c(reader->sum, ret->ptr, count);
    return true;
}

static bool at_end(const struct archive_reader *reader) {
    return reader->at == reader->window.len && reader->fetched == reader->bytes;
}

static bool take_long(struct archive_reader *reader, int64_t *ret, struct err *err) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        struct str byte;
        if (!take(reader, 1, &byte, err))
            return false;
        value |= (uint64_t)(*byte.ptr & 0x7f) << shift;
        if (!(*byte.ptr & 0x80)) {
            *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return true;
        }
    }
    return damaged(err, "a number that does not end");
}

static bool take_text(struct archive_reader *reader, struct str *ret, struct err *err) {
    int64_t len;
    if (!take_long(reader, &len, err))
        return false;
    if (len < 0 || len > METADATA_MAX)
        return damaged(err, "metadata that are too long");
    return take(reader, (size_t)len, ret, err);
}

/* ---- the header ---- */

static bool metadata_read(struct archive_reader *reader, struct map *ret, struct err *err) {
    for (int64_t count = 1; count;) {
        if (!take_long(reader, &count, err))
            return false;
        if (count < 0 || count > 100)
            return damaged(err, "metadata that are not ours");
        for (int64_t i = 0; i < count; i++) {
            struct str name, value;
            if (!take_text(reader, &name, err))
                return false;
            name = arena_dup(&reader->arena, name);
            if (!take_text(reader, &value, err))
                return false;
            struct str *kept = arena_new(&reader->arena, struct str);
            *kept = arena_dup(&reader->arena, value);
            *map_put(ret, name) = kept;
        }
    }
    return true;
}

static struct str metadata_text(const struct map *metadata, const char *name) {
    const struct str *found = map_get(metadata, str_from(name));
    return found ? *found : STR_NULL;
}

static bool metadata_number(const struct map *metadata, const char *name, int64_t high, int64_t *ret, struct err *err) {
    struct str text = metadata_text(metadata, name);
    return (text.ptr && str_to_i64(text, ret) && *ret >= 0 && *ret <= high) ||
           err_set(err, ERR_CORRUPT, "no %s that could be", name);
}

static bool schema_find(struct archive_reader *reader, int64_t id, struct err *err) {
    const struct schema_subject *subject = avro_subject_of(reader->range.topic);
    reader->schema = id ? schema_version_find((int32_t)id) : NULL;
    if (id && !reader->schema)
        return err_set(err, ERR_UNKNOWN_SCHEMA,
                       "its events are of schema %" PRId64 ", which this program does not know", id);
    return !reader->schema || reader->schema->subject == subject ||
           err_set(err, ERR_CORRUPT, "its events are of schema %" PRId64 ", which is another topic's", id);
}

static bool range_read(struct archive_reader *reader, const struct map *metadata, struct err *err) {
    struct archive_range *range = &reader->range;
    int64_t partition, partitions, id, sum;
    struct str format = metadata_text(metadata, "orderlog.format"), codec = metadata_text(metadata, "avro.codec");
    if (!format.ptr)
        return damaged(err, "it is no file of an archive's");
    if (!str_eq(format, STR(ARCHIVE_FORMAT)))
        return err_set(err, ERR_CONFIG, "it has the format %.*s; this program knows " ARCHIVE_FORMAT, STR_ARG(format));
    if (!str_eq(codec, STR("deflate")))
        return damaged(err, "it is packed in a way that is not ours");
    if (!metadata_number(metadata, "orderlog.first", INT64_MAX, &range->first, err) ||
        !metadata_number(metadata, "orderlog.end", INT64_MAX, &range->end, err) ||
        !metadata_number(metadata, "orderlog.partition", INT32_MAX, &partition, err) ||
        !metadata_number(metadata, "orderlog.partitions", INT32_MAX, &partitions, err) ||
        !metadata_number(metadata, "orderlog.schema_id", INT32_MAX, &id, err) ||
        !metadata_number(metadata, "orderlog.crc32c", UINT32_MAX, &sum, err))
        return false;
    reader->expected_sum = (uint32_t)sum;
    range->topic = arena_dup(&reader->kept, metadata_text(metadata, "orderlog.topic"));
    range->partition = (int32_t)partition;
    range->partitions = (int32_t)partitions;
    if (!range->topic.ptr || range->end <= range->first || partition >= partitions)
        return damaged(err, "its range cannot be");
    return schema_find(reader, id, err);
}

static bool header_read(struct archive_reader *reader, struct err *err) {
    struct map metadata = {0};
    struct str bytes;
    if (!take(reader, 4, &bytes, err))
        return false;
    if (!str_eq(bytes, STR("Obj\1")))
        return damaged(err, "it is no Avro file");
    bool ok = metadata_read(reader, &metadata, err) && range_read(reader, &metadata, err) &&
              take(reader, AVRO_SYNC_SIZE, &bytes, err);
    map_free(&metadata, NULL);
    if (ok)
        memcpy(reader->sync, bytes.ptr, AVRO_SYNC_SIZE);
    reader->next = reader->range.first;
    reader->sum = 0;
    return ok;
}

bool archive_reader_open(const struct archive_place *place, struct str key, int64_t bytes, struct archive_reader **ret,
                         struct err *err) {
    struct archive_reader *reader = mem_zalloc(sizeof *reader);
    *reader = (struct archive_reader){.place = place, .key = key, .bytes = bytes, .time_us = INT64_MIN};
    arena_init(&reader->arena);
    arena_init(&reader->kept);
    if (!header_read(reader, err)) {
        archive_reader_close(reader);
        return err_wrap(err, "%.*s", STR_ARG(key));
    }
    *ret = reader;
    return true;
}

void archive_reader_close(struct archive_reader *reader) {
    if (!reader)
        return;
    buf_free(&reader->window);
    buf_free(&reader->block);
    arena_free(&reader->arena);
    arena_free(&reader->kept);
    free(reader);
}

const struct archive_range *archive_reader_range(const struct archive_reader *reader) {
    return &reader->range;
}

/* ---- blocks ---- */

static bool inflate_into(struct str packed, struct buf *ret, struct err *err) {
    z_stream stream = {0};
    int status = inflateInit2(&stream, -MAX_WBITS);
    if (status != Z_OK)
        return err_set(err, ERR_INTERNAL, "zlib: status %d", status);
    buf_reset(ret);
    stream.next_in = (unsigned char *)packed.ptr;
    stream.avail_in = (unsigned)packed.len;
    while (status == Z_OK && ret->len <= BLOCK_MAX) {
        buf_reserve(ret, AVRO_BLOCK_BYTES);
        stream.next_out = (unsigned char *)ret->ptr + ret->len;
        stream.avail_out = AVRO_BLOCK_BYTES;
        status = inflate(&stream, Z_NO_FLUSH);
        ret->len += AVRO_BLOCK_BYTES - stream.avail_out;
    }
    bool whole = status == Z_STREAM_END && !stream.avail_in;
    inflateEnd(&stream);
    return whole || damaged(err, "a block that does not unpack");
}

static bool block_read(struct archive_reader *reader, struct err *err) {
    int64_t count, size;
    struct str bytes;
    if (!take_long(reader, &count, err) || !take_long(reader, &size, err))
        return false;
    if (count <= 0 || size <= 0 || size > BLOCK_MAX)
        return damaged(err, "a block that cannot be");
    if (!take(reader, (size_t)size + AVRO_SYNC_SIZE, &bytes, err))
        return false;
    if (memcmp(bytes.ptr + size, reader->sync, AVRO_SYNC_SIZE) != 0)
        return damaged(err, "a block without its mark");
    if (!inflate_into((struct str){bytes.ptr, (size_t)size}, &reader->block, err))
        return false;
    reader->rest = buf_str(&reader->block);
    reader->left = count;
    return true;
}

/* ---- records ---- */

static bool get_long(struct str *rest, int64_t *ret) {
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < rest->len; i++) {
        value |= (uint64_t)(rest->ptr[i] & 0x7f) << (7 * i);
        if (rest->ptr[i] & 0x80)
            continue;
        *rest = (struct str){rest->ptr + i + 1, rest->len - i - 1};
        *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
        return true;
    }
    return false;
}

static bool get_text(struct str *rest, struct str *ret) {
    int64_t len;
    if (!get_long(rest, &len) || len < 0 || (uint64_t)len > rest->len)
        return false;
    *ret = (struct str){rest->ptr, (size_t)len};
    *rest = (struct str){rest->ptr + len, rest->len - (size_t)len};
    return true;
}

/* ["null", "string"] and ["null", "bytes"] */
static bool get_optional(struct str *rest, struct str *ret) {
    int64_t branch;
    *ret = STR_NULL;
    return get_long(rest, &branch) && (branch == 0 || (branch == 1 && get_text(rest, ret)));
}

static bool get_headers(struct archive_reader *reader, const struct log_header **ret, size_t *ret_count) {
    struct log_header *headers = NULL;
    size_t total = 0;
    for (int64_t count = 1; count;) {
        if (!get_long(&reader->rest, &count) || count < 0 || (uint64_t)count > reader->rest.len || (total && count))
            return false;
        if (count)
            headers = arena_array(&reader->arena, struct log_header, count);
        for (int64_t i = 0; i < count; i++, total++)
            if (!get_text(&reader->rest, &headers[i].name) || !get_optional(&reader->rest, &headers[i].value))
                return false;
    }
    *ret = headers;
    *ret_count = total;
    return true;
}

/* The event's bytes, behind what stood in front of them in the log. */
static bool get_event(struct archive_reader *reader, struct str *ret, struct err *err) {
    struct str begin = reader->rest;
    int64_t branch, branches = reader->schema ? (int64_t)reader->schema->branch_count : 0;
    *ret = STR_NULL;
    if (!get_long(&reader->rest, &branch) || branch < 0 || branch > branches)
        return damaged(err, "an event of no type");
    if (branch == branches)
        return true;
    const struct schema_type *type = reader->schema->branches[branch].type;
    if (!avro_decode(type, &reader->rest, &reader->arena, arena_alloc(&reader->arena, type->size), err))
        return false;
    size_t len = begin.len - reader->rest.len;
    char *value = arena_alloc(&reader->arena, AVRO_FRAME_SIZE + len);
    uint32_t id = (uint32_t)reader->schema->id;
    for (int i = 0; i < 4; i++)
        value[1 + i] = (char)(unsigned char)(id >> (24 - 8 * i) & 0xff);
    memcpy(value + AVRO_FRAME_SIZE, begin.ptr, len);
    *ret = (struct str){value, AVRO_FRAME_SIZE + len};
    return true;
}

static bool record_read(struct archive_reader *reader, struct err *err) {
    struct log_record *record = &reader->record;
    struct str *rest = &reader->rest, skipped, raw;
    int64_t partition, branch;
    *record = (struct log_record){0};
    if (!get_text(rest, &record->topic) || !get_long(rest, &partition) || !get_long(rest, &record->offset) ||
        !get_long(rest, &record->timestamp_us) || !get_optional(rest, &record->key) || !get_optional(rest, &skipped) ||
        !get_headers(reader, &record->headers, &record->header_count))
        return damaged(err, "its bytes cannot be read");
    record->partition = (int32_t)partition;
    if (!get_event(reader, &record->value, err))
        return false;
    if (!get_optional(rest, &skipped) || !get_optional(rest, &skipped) || !get_optional(rest, &raw))
        return damaged(err, "its bytes cannot be read");
    if (raw.ptr)
        record->key = raw;
    if (!get_optional(rest, &raw) || !get_long(rest, &branch) || branch < 0 || branch > 1 ||
        (branch && !get_headers(reader, &record->headers, &record->header_count)))
        return damaged(err, "its bytes cannot be read");
    if (raw.ptr)
        record->value = raw;
    return true;
}

static bool record_fits(struct archive_reader *reader, struct err *err) {
    const struct log_record *record = &reader->record;
    if (!str_eq(record->topic, reader->range.topic) || record->partition != reader->range.partition)
        return err_set(err, ERR_CORRUPT, "it is of %.*s/%d", STR_ARG(record->topic), record->partition);
    if (record->offset != reader->next)
        return err_set(err, ERR_CORRUPT, "it is that of offset %" PRId64, record->offset);
    return record->timestamp_us >= reader->time_us || damaged(err, "it is older than the one before");
}

static bool record_next(struct archive_reader *reader, const struct log_record **ret, struct err *err) {
    arena_reset(&reader->arena);
    *ret = NULL;
    if (reader->next == reader->range.end)
        return reader->left || !at_end(reader)       ? damaged(err, "it goes on behind its end")
               : reader->sum != reader->expected_sum ? damaged(err, "its bytes were altered (CRC-32C)")
                                                     : true;
    if (!reader->left && (at_end(reader) ? !err_set(err, ERR_CORRUPT, "it ends before offset %" PRId64, reader->next)
                                         : !block_read(reader, err)))
        return false;
    if (!record_read(reader, err) || !record_fits(reader, err))
        return err_wrap(err, "the record of offset %" PRId64, reader->next);
    reader->left--;
    if (!reader->left && reader->rest.len)
        return damaged(err, "a block that goes on behind its records");
    reader->next++;
    reader->time_us = reader->record.timestamp_us;
    *ret = &reader->record;
    return true;
}

bool archive_reader_next(struct archive_reader *reader, const struct log_record **ret, struct err *err) {
    return record_next(reader, ret, err) || err_wrap(err, "%.*s", STR_ARG(reader->key));
}

/* ---- comparing ---- */

static bool same(struct str a, struct str b) {
    return (a.ptr != NULL) == (b.ptr != NULL) && str_eq(a, b);
}

bool archive_record_equal(const struct log_record *a, const struct log_record *b, const char **ret) {
    *ret = a->offset != b->offset               ? "offset"
           : a->timestamp_us != b->timestamp_us ? "timestamp"
           : !same(a->key, b->key)              ? "key"
           : !same(a->value, b->value)          ? "value"
                                                : NULL;
    if (!*ret && a->header_count != b->header_count)
        *ret = "number of headers";
    for (size_t i = 0; !*ret && i < a->header_count; i++)
        if (!str_eq(a->headers[i].name, b->headers[i].name) || !same(a->headers[i].value, b->headers[i].value))
            *ret = "headers";
    return !*ret;
}
