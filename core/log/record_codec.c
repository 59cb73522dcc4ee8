#include "core/log/record_codec.h"

enum {
    HAS_TOPIC = 1,
    HAS_PARTITION = 2,
    HAS_TIME = 4,
    HAS_KEY = 8,
    HAS_VALUE = 16,
    HAS_HEADERS = 32,
    KNOWN_FLAGS = 63,
};

size_t varint_size(uint64_t value) {
    size_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

char *varint_encode(char *at, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        *at++ = (char)(value | 0x80);
    *at++ = (char)value;
    return at;
}

bool varint_decode(struct str *rest, uint64_t *ret) {
    uint64_t value = 0;
    for (size_t i = 0; i < rest->len && i < VARINT_MAX_SIZE; i++) {
        uint8_t byte = (uint8_t)rest->ptr[i];
        if (i == VARINT_MAX_SIZE - 1 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            rest->ptr += i + 1;
            rest->len -= i + 1;
            *ret = value;
            return true;
        }
    }
    return false;
}

static uint64_t zigzag(int64_t value) {
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t value) {
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static size_t str_size(struct str s) {
    return varint_size(s.len) + s.len;
}

static char *str_encode(char *at, struct str s) {
    at = varint_encode(at, s.len);
    if (s.len)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

/* A header's value has its length one up: 0 says that there is none. */
static size_t header_size(const struct log_header *header) {
    size_t value = header->value.ptr ? varint_size(header->value.len + 1) + header->value.len : 1;
    return str_size(header->name) + value;
}

static char *header_encode(char *at, const struct log_header *header) {
    at = str_encode(at, header->name);
    if (!header->value.ptr)
        return varint_encode(at, 0);
    at = varint_encode(at, header->value.len + 1);
    if (header->value.len)
        memcpy(at, header->value.ptr, header->value.len);
    return at + header->value.len;
}

static int flags_of(const struct log_record *record) {
    return (record->topic.ptr ? HAS_TOPIC : 0) | (record->partition >= 0 ? HAS_PARTITION : 0) |
           (record->timestamp_us ? HAS_TIME : 0) | (record->key.ptr ? HAS_KEY : 0) |
           (record->value.ptr ? HAS_VALUE : 0) | (record->header_count ? HAS_HEADERS : 0);
}

static size_t body_size(const struct log_record *record, int flags) {
    size_t size = 1;
    if (flags & HAS_TOPIC)
        size += str_size(record->topic);
    if (flags & HAS_PARTITION)
        size += varint_size((uint64_t)record->partition);
    if (flags & HAS_TIME)
        size += varint_size(zigzag(record->timestamp_us));
    if (flags & HAS_KEY)
        size += str_size(record->key);
    if (flags & HAS_VALUE)
        size += str_size(record->value);
    if (flags & HAS_HEADERS)
        size += varint_size(record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        size += header_size(&record->headers[i]);
    return size;
}

size_t record_encoded_size(const struct log_record *record) {
    size_t body = body_size(record, flags_of(record));
    return varint_size(body) + body;
}

char *record_encode_to(char *at, const struct log_record *record) {
    int flags = flags_of(record);
    at = varint_encode(at, body_size(record, flags));
    *at++ = (char)flags;
    if (flags & HAS_TOPIC)
        at = str_encode(at, record->topic);
    if (flags & HAS_PARTITION)
        at = varint_encode(at, (uint64_t)record->partition);
    if (flags & HAS_TIME)
        at = varint_encode(at, zigzag(record->timestamp_us));
    if (flags & HAS_KEY)
        at = str_encode(at, record->key);
    if (flags & HAS_VALUE)
        at = str_encode(at, record->value);
    if (flags & HAS_HEADERS)
        at = varint_encode(at, record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        at = header_encode(at, &record->headers[i]);
    return at;
}

void record_encode(struct buf *buf, const struct log_record *record) {
    size_t size = record_encoded_size(record);
    buf_reserve(buf, size);
    record_encode_to(buf->ptr + buf->len, record);
    buf->len += size;
    buf->ptr[buf->len] = '\0';
}

static bool take(struct str *rest, uint64_t len, struct str *ret) {
    if (len > rest->len)
        return false;
    *ret = (struct str){rest->ptr, (size_t)len};
    rest->ptr += len;
    rest->len -= (size_t)len;
    return true;
}

static bool str_decode(struct str *rest, struct str *ret) {
    uint64_t len;
    return varint_decode(rest, &len) && take(rest, len, ret);
}

static bool headers_decode(struct str *rest, struct arena *arena, struct log_record *ret) {
    uint64_t count;
    /* A header is two bytes at least: a hostile count cannot make us allocate much. */
    if (!varint_decode(rest, &count) || count == 0 || count > rest->len / 2)
        return false;
    struct log_header *headers = arena_array(arena, struct log_header, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t len;
        if (!str_decode(rest, &headers[i].name) || !varint_decode(rest, &len))
            return false;
        if (len && !take(rest, len - 1, &headers[i].value))
            return false;
    }
    ret->headers = headers;
    ret->header_count = (size_t)count;
    return true;
}

static bool body_decode(struct str body, struct arena *arena, struct log_record *ret) {
    if (!body.len)
        return false;
    int flags = (uint8_t)body.ptr[0];
    uint64_t number;
    take(&body, 1, &(struct str){0});
    if (flags & ~KNOWN_FLAGS)
        return false;
    if (flags & HAS_TOPIC && !str_decode(&body, &ret->topic))
        return false;
    if (flags & HAS_PARTITION) {
        if (!varint_decode(&body, &number) || number > INT32_MAX)
            return false;
        ret->partition = (int32_t)number;
    }
    if (flags & HAS_TIME) {
        if (!varint_decode(&body, &number))
            return false;
        ret->timestamp_us = unzigzag(number);
    }
    if (flags & HAS_KEY && !str_decode(&body, &ret->key))
        return false;
    if (flags & HAS_VALUE && !str_decode(&body, &ret->value))
        return false;
    if (flags & HAS_HEADERS && !headers_decode(&body, arena, ret))
        return false;
    return body.len == 0;
}

bool record_decode(struct str *rest, struct arena *arena, struct log_record *ret, struct err *err) {
    struct str after = *rest, body;
    struct log_record record = {.partition = -1};
    if (!str_decode(&after, &body) || !body_decode(body, arena, &record))
        return err_set(err, ERR_CORRUPT, "these bytes are not an encoded record");
    *rest = after;
    *ret = record;
    return true;
}

bool record_skip(struct str *rest, struct err *err) {
    struct str after = *rest, body;
    if (!str_decode(&after, &body))
        return err_set(err, ERR_CORRUPT, "these bytes are not an encoded record");
    *rest = after;
    return true;
}
