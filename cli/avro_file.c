#include "cli/avro_file.h"

#include "producers/topics.h"

#include <zlib.h>

enum { DEFLATE_LEVEL = 4 /* 6 takes twice as long for 5 % less */ };

/* ---- values ---- */

void avro_add_long(struct buf *ret, int64_t value) {
    char bytes[10];
    size_t count = 0;
    uint64_t rest = ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
    for (; rest > 0x7f; rest >>= 7)
        bytes[count++] = (char)(unsigned char)((rest & 0x7f) | 0x80);
    bytes[count++] = (char)rest;
    buf_add(ret, bytes, count);
}

void avro_add_text(struct buf *ret, struct str text) {
    avro_add_long(ret, (int64_t)text.len);
    buf_add_str(ret, text);
}

void avro_add_optional(struct buf *ret, struct str text) {
    bool is_text = text.ptr && str_is_utf8(text);
    avro_add_long(ret, is_text);
    if (is_text)
        avro_add_text(ret, text);
}

/* ---- headers and blocks ---- */

void avro_add_header(struct buf *ret, const struct avro_metadata *metadata, size_t count) {
    buf_add(ret, "Obj\1", 4);
    avro_add_long(ret, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        avro_add_text(ret, metadata[i].name);
        avro_add_text(ret, metadata[i].value);
    }
    avro_add_long(ret, 0);
}

void avro_block_begin(struct avro_block *block, bool deflate, struct str own) {
    uint8_t digest[SHA256_SIZE];
    sha256(own, digest);
    memcpy(block->sync, digest, AVRO_SYNC_SIZE);
    block->deflate = deflate;
    buf_reset(&block->records);
    block->count = 0;
}

static bool pack(struct avro_block *block, struct err *err) {
    z_stream stream = {0};
    if (deflateInit2(&stream, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return err_set(err, ERR_INTERNAL, "zlib does not start");
    size_t bound = deflateBound(&stream, block->records.len);
    buf_reset(&block->packed);
    buf_reserve(&block->packed, bound);
    stream.next_in = (unsigned char *)block->records.ptr;
    stream.avail_in = (unsigned)block->records.len;
    stream.next_out = (unsigned char *)block->packed.ptr;
    stream.avail_out = (unsigned)bound;
    int status = deflate(&stream, Z_FINISH);
    block->packed.len = stream.total_out;
    deflateEnd(&stream);
    return status == Z_STREAM_END || err_set(err, ERR_INTERNAL, "zlib: status %d", status);
}

bool avro_block_end(struct avro_block *block, struct buf *ret, struct err *err) {
    if (!block->count)
        return true;
    if (block->deflate && !pack(block, err))
        return false;
    struct str data = buf_str(block->deflate ? &block->packed : &block->records);
    avro_add_long(ret, block->count);
    avro_add_long(ret, (int64_t)data.len);
    buf_add_str(ret, data);
    buf_add(ret, block->sync, AVRO_SYNC_SIZE);
    buf_reset(&block->records);
    block->count = 0;
    return true;
}

void avro_block_free(struct avro_block *block) {
    buf_free(&block->records);
    buf_free(&block->packed);
}

/* ---- events ---- */

const struct schema_subject *avro_subject_of(struct str topic) {
    const struct str suffix = STR(TOPIC_DEAD_LETTER_SUFFIX);
    if (str_ends_with(topic, suffix))
        topic.len -= suffix.len;
    return schema_subject_find(topic);
}

void avro_add_branches(const struct schema_subject *subject, struct buf *ret) {
    if (!subject)
        return;
    struct str union_ = str_from(subject->current->json); /* "[…]" */
    buf_add(ret, union_.ptr + 1, union_.len - 2);
    buf_add_char(ret, ',');
}

bool avro_event_of(const struct schema_subject *subject, struct str value, struct arena *arena, struct buf *scratch,
                   struct message *ret_message, struct str *ret, struct err *err) {
    if (!subject)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "no schema is known for it");
    if (!message_decode(subject, value, arena, ret_message, err))
        return false;
    if (ret_message->type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "a record that is known no more");
    const unsigned char *id = (const unsigned char *)value.ptr + 1;
    if (((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]) !=
        (uint32_t)subject->current->id) {
        buf_reset(scratch);
        if (!message_encode(subject, ret_message, scratch, err))
            return false;
        value = buf_str(scratch);
    }
    *ret = (struct str){value.ptr + AVRO_FRAME_SIZE, value.len - AVRO_FRAME_SIZE};
    return true;
}
