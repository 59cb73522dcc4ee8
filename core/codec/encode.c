#include "core/codec/avro.h"

enum { VARINT_MAX = 10 };

/* What avro_encode writes is not terminated before its end, so this reserves and leaves the zero byte for later. */
static void put_long(struct buf *ret, int64_t value) {
    if (ret->cap - ret->len <= VARINT_MAX)
        buf_reserve(ret, VARINT_MAX);
    uint64_t rest = ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
    char *at = ret->ptr + ret->len;
    while (rest > 0x7F) {
        *at++ = (char)(unsigned char)((rest & 0x7F) | 0x80);
        rest >>= 7;
    }
    *at++ = (char)rest;
    ret->len = (size_t)(at - ret->ptr);
}

static void put_str(struct buf *ret, struct str s) {
    put_long(ret, (int64_t)s.len);
    if (s.len == 0)
        return;
    if (ret->cap - ret->len <= s.len)
        buf_reserve(ret, s.len);
    memcpy(ret->ptr + ret->len, s.ptr, s.len);
    ret->len += s.len;
}

static void put_value(const struct schema_type *type, const char *value, struct buf *ret);

static void put_option(const struct schema_type *item, const char *value, struct buf *ret) {
    if (item->kind == SCHEMA_STRING || item->kind == SCHEMA_BYTES) {
        const struct str *s = (const struct str *)value;
        put_long(ret, s->ptr != NULL);
        if (s->ptr)
            put_str(ret, *s);
    } else if (item->kind == SCHEMA_RECORD) {
        const char *record = *(const char *const *)value;
        put_long(ret, record != NULL);
        if (record)
            put_value(item, record, ret);
    } else {
        const struct opt_long *opt = (const struct opt_long *)value;
        put_long(ret, opt->has);
        if (opt->has && item->kind == SCHEMA_BOOLEAN)
            buf_add_char(ret, opt->value != 0);
        else if (opt->has)
            put_long(ret, opt->value);
    }
}

static void put_array(const struct schema_type *item, const struct schema_list *list, struct buf *ret) {
    if (list->count) {
        put_long(ret, (int64_t)list->count);
        for (size_t i = 0; i < list->count; i++)
            put_value(item, (const char *)list->items + i * item->size, ret);
    }
    put_long(ret, 0);
}

static void put_value(const struct schema_type *type, const char *value, struct buf *ret) {
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        buf_add_char(ret, *(const bool *)value);
        break;
    case SCHEMA_INT:
    case SCHEMA_ENUM:
        put_long(ret, *(const int32_t *)value);
        break;
    case SCHEMA_LONG:
        put_long(ret, *(const int64_t *)value);
        break;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
        put_str(ret, *(const struct str *)value);
        break;
    case SCHEMA_RECORD:
        for (size_t i = 0; i < type->field_count; i++)
            put_value(type->fields[i].type, value + type->fields[i].offset, ret);
        break;
    case SCHEMA_ARRAY:
        put_array(type->item, (const struct schema_list *)value, ret);
        break;
    case SCHEMA_OPTION:
        put_option(type->item, value, ret);
        break;
    }
}

void avro_encode(const struct schema_type *type, const void *value, struct buf *ret) {
    buf_reserve(ret, 0);
    put_value(type, value, ret);
    ret->ptr[ret->len] = '\0'; /* put_long and put_str always leave room for it */
}
