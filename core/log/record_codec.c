#include "core/log/record_codec.h"

#include "core/base/envelope.h"
#include "core/log/record_words.h"

enum {
    HAS_TOPIC = 1,
    HAS_PARTITION = 2,
    HAS_TIME = 4,
    HAS_KEY = 8,
    HAS_VALUE = 16,
    HAS_HEADERS = 32,
    HAS_SHORT_HEADERS = 64,  /* instead of HAS_HEADERS */
    HAS_NUMBERED_TOPIC = 128 /* instead of HAS_TOPIC */
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

/* ---- headers: the names that we write ourselves are one byte, as are values that follow from them ---- */

enum short_form {
    SPELLED,  /* the value follows */
    CONSTANT, /* it is this one */
    AS_KEY,   /* it is the record's key */
    NUMBERED, /* the number of a word (record_words.h) follows */
};

/* Their places are stored in logs and outboxes for ever: add at the end, change and remove nothing. */
static const struct {
    struct str name;
    enum short_form form;
    struct str value;
} shorts[] = {
    {STR_NULL, SPELLED, STR_NULL}, /* the name follows, too */
    {STR(HEADER_SPECVERSION), CONSTANT, STR("1.0")},
    {STR(HEADER_ID), SPELLED, STR_NULL},
    {STR(HEADER_SOURCE), SPELLED, STR_NULL},
    {STR(HEADER_TYPE), NUMBERED, STR_NULL},
    {STR(HEADER_TIME), SPELLED, STR_NULL},
    {STR(HEADER_SUBJECT), AS_KEY, STR_NULL},
    {STR(HEADER_SUBJECT), SPELLED, STR_NULL},
    {STR(HEADER_CONTENT_TYPE), CONSTANT, STR("application/avro")},
    {STR(HEADER_ORIGIN), SPELLED, STR_NULL},
    {STR(HEADER_ORIGIN_SEQ), SPELLED, STR_NULL},
    {STR(HEADER_COMMAND_ID), SPELLED, STR_NULL},
    {STR(HEADER_TRACEPARENT), SPELLED, STR_NULL},
    {STR(HEADER_BODY_HASH), SPELLED, STR_NULL},
};
enum { SHORT_COUNT = sizeof(shorts) / sizeof(shorts[0]), SHORTENED_MAX = 32 /* of more headers, none is */ };

/* How a record is written. */
struct shape {
    int flags;
    uint32_t topic; /* its number */
    size_t size;    /* in all but the length in front */
    uint8_t codes[SHORTENED_MAX];
    uint32_t words[SHORTENED_MAX]; /* of those that are NUMBERED */
};

static bool is_short(uint8_t code, const struct log_record *record, struct log_header header, uint32_t *ret_word) {
    if (!str_eq(shorts[code].name, header.name))
        return false;
    switch (shorts[code].form) {
    case SPELLED:
        return true;
    case CONSTANT:
        return header.value.ptr && str_eq(shorts[code].value, header.value);
    case AS_KEY:
        return header.value.ptr && record->key.ptr && str_eq(record->key, header.value);
    case NUMBERED:
        return header.value.ptr && (*ret_word = record_word_find(header.value));
    }
    return false;
}

/* The place in `shorts`, looked for from that of the header before on: records have them in this order. */
static uint8_t code_of(const struct log_record *record, size_t i, uint8_t last, uint32_t *ret_word) {
    for (uint8_t n = 1; n < SHORT_COUNT; n++) {
        uint8_t code = (uint8_t)(last + n < SHORT_COUNT ? last + n : last + n + 1 - SHORT_COUNT);
        if (is_short(code, record, record->headers[i], ret_word))
            return code;
    }
    return 0;
}

/* A header's value has its length one up: 0 says that there is none. */
static size_t value_size(struct str value) {
    return value.ptr ? varint_size(value.len + 1) + value.len : 1;
}

static char *value_encode(char *at, struct str value) {
    if (!value.ptr)
        return varint_encode(at, 0);
    at = varint_encode(at, value.len + 1);
    if (value.len)
        memcpy(at, value.ptr, value.len);
    return at + value.len;
}

static size_t header_size(const struct shape *shape, const struct log_record *record, size_t i) {
    const struct log_header *header = &record->headers[i];
    bool shortened = shape->flags & HAS_SHORT_HEADERS;
    uint8_t code = shortened ? shape->codes[i] : 0;
    if (!code)
        return shortened + str_size(header->name) + value_size(header->value);
    switch (shorts[code].form) {
    case SPELLED:
        return 1 + value_size(header->value);
    case NUMBERED:
        return 1 + varint_size(shape->words[i]);
    default:
        return 1;
    }
}

static char *header_encode(char *at, const struct shape *shape, const struct log_record *record, size_t i) {
    const struct log_header *header = &record->headers[i];
    bool shortened = shape->flags & HAS_SHORT_HEADERS;
    uint8_t code = shortened ? shape->codes[i] : 0;
    if (shortened)
        *at++ = (char)code;
    if (!code)
        at = str_encode(at, header->name);
    if (shorts[code].form == SPELLED)
        return value_encode(at, header->value);
    return shorts[code].form == NUMBERED ? varint_encode(at, shape->words[i]) : at;
}

/* ---- records ---- */

static int flags_of(const struct log_record *record, struct shape *shape) {
    uint8_t last = 0;
    shape->topic = record->topic.ptr ? record_word_find(record->topic) : 0;
    for (size_t i = 0; i < record->header_count && record->header_count <= SHORTENED_MAX; i++) {
        shape->codes[i] = code_of(record, i, last, &shape->words[i]);
        last = shape->codes[i] ? shape->codes[i] : last;
    }
    return (!record->topic.ptr ? 0
            : shape->topic     ? HAS_NUMBERED_TOPIC
                               : HAS_TOPIC) |
           (record->partition >= 0 ? HAS_PARTITION : 0) | (record->timestamp_us ? HAS_TIME : 0) |
           (record->key.ptr ? HAS_KEY : 0) | (record->value.ptr ? HAS_VALUE : 0) |
           (!record->header_count ? 0
            : last                ? HAS_SHORT_HEADERS
                                  : HAS_HEADERS);
}

static void shape_find(const struct log_record *record, struct shape *ret) {
    int flags = ret->flags = flags_of(record, ret);
    size_t size = 1;
    if (flags & HAS_TOPIC)
        size += str_size(record->topic);
    if (flags & HAS_NUMBERED_TOPIC)
        size += varint_size(ret->topic);
    if (flags & HAS_PARTITION)
        size += varint_size((uint64_t)record->partition);
    if (flags & HAS_TIME)
        size += varint_size(zigzag(record->timestamp_us));
    if (flags & HAS_KEY)
        size += str_size(record->key);
    if (flags & HAS_VALUE)
        size += str_size(record->value);
    if (record->header_count)
        size += varint_size(record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        size += header_size(ret, record, i);
    ret->size = size;
}

static char *shape_encode(char *at, const struct shape *shape, const struct log_record *record) {
    int flags = shape->flags;
    at = varint_encode(at, shape->size);
    *at++ = (char)flags;
    if (flags & HAS_TOPIC)
        at = str_encode(at, record->topic);
    if (flags & HAS_NUMBERED_TOPIC)
        at = varint_encode(at, shape->topic);
    if (flags & HAS_PARTITION)
        at = varint_encode(at, (uint64_t)record->partition);
    if (flags & HAS_TIME)
        at = varint_encode(at, zigzag(record->timestamp_us));
    if (flags & HAS_KEY)
        at = str_encode(at, record->key);
    if (flags & HAS_VALUE)
        at = str_encode(at, record->value);
    if (record->header_count)
        at = varint_encode(at, record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        at = header_encode(at, shape, record, i);
    return at;
}

void *record_encode_behind(size_t head, const struct log_record *record, size_t *ret_len) {
    struct shape shape;
    shape_find(record, &shape);
    *ret_len = varint_size(shape.size) + shape.size;
    char *made = mem_alloc(head + *ret_len);
    shape_encode(made + head, &shape, record);
    return made;
}

void record_encode(struct buf *buf, const struct log_record *record) {
    struct shape shape;
    shape_find(record, &shape);
    buf_reserve(buf, varint_size(shape.size) + shape.size);
    buf->len = (size_t)(shape_encode(buf->ptr + buf->len, &shape, record) - buf->ptr);
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

static bool value_decode(struct str *rest, struct str *ret) {
    uint64_t len;
    return varint_decode(rest, &len) && (!len || take(rest, len - 1, ret));
}

static bool short_header_decode(struct str *rest, const struct log_record *record, struct log_header *ret) {
    uint64_t number;
    uint8_t code;
    if (!rest->len || (code = (uint8_t)rest->ptr[0]) >= SHORT_COUNT)
        return false;
    take(rest, 1, &(struct str){0});
    if (!code)
        return str_decode(rest, &ret->name) && value_decode(rest, &ret->value);
    ret->name = shorts[code].name;
    switch (shorts[code].form) {
    case SPELLED:
        return value_decode(rest, &ret->value);
    case CONSTANT:
        ret->value = shorts[code].value;
        return true;
    case AS_KEY:
        ret->value = record->key;
        return record->key.ptr;
    case NUMBERED:
        return varint_decode(rest, &number) && record_word_get(number, &ret->value);
    }
    return false;
}

static bool headers_decode(struct str *rest, bool shortened, struct arena *arena, struct log_record *ret) {
    uint64_t count;
    /* A header is a byte at least, or two: a hostile count cannot make us allocate much. */
    if (!varint_decode(rest, &count) || count == 0 || count > (shortened ? rest->len : rest->len / 2))
        return false;
    struct log_header *headers = arena_array(arena, struct log_header, count);
    for (size_t i = 0; i < count; i++)
        if (shortened ? !short_header_decode(rest, ret, &headers[i])
                      : !str_decode(rest, &headers[i].name) || !value_decode(rest, &headers[i].value))
            return false;
    ret->headers = headers;
    ret->header_count = (size_t)count;
    return true;
}

static bool topic_decode(struct str *rest, int flags, struct str *ret) {
    uint64_t number;
    if (flags & HAS_NUMBERED_TOPIC)
        return !(flags & HAS_TOPIC) && varint_decode(rest, &number) && record_word_get(number, ret);
    return !(flags & HAS_TOPIC) || str_decode(rest, ret);
}

static bool body_decode(struct str body, struct arena *arena, struct log_record *ret) {
    if (!body.len)
        return false;
    int flags = (uint8_t)body.ptr[0];
    uint64_t number;
    take(&body, 1, &(struct str){0});
    if (!topic_decode(&body, flags, &ret->topic))
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
    if (flags & HAS_HEADERS && flags & HAS_SHORT_HEADERS)
        return false;
    if (flags & (HAS_HEADERS | HAS_SHORT_HEADERS) && !headers_decode(&body, flags & HAS_SHORT_HEADERS, arena, ret))
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
