#include "core/codec/avro.h"

#include "core/base/clock.h"
#include "core/base/ids.h"

static void add_integer(struct buf *ret, int64_t value) {
    char text[20];
    char *at = text + sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        *--at = '-';
    buf_add(ret, at, (size_t)(text + sizeof text - at));
}

static void add_time(struct buf *ret, int64_t time_us) {
    char text[CLOCK_TEXT_SIZE];
    size_t len = clock_format(time_us, text);
    buf_add_char(ret, '"');
    buf_add(ret, text, len);
    buf_add_char(ret, '"');
}

static void add_bytes(struct buf *ret, struct str bytes) {
    buf_add_char(ret, '"');
    buf_add_hex(ret, (const uint8_t *)bytes.ptr, bytes.len);
    buf_add_char(ret, '"');
}

/* Boolean, int, long and enum, whose C values have different sizes, once they are all int64_t. */
static void add_scalar(struct buf *ret, const struct schema_type *type, int64_t value) {
    if (type->kind == SCHEMA_BOOLEAN)
        buf_add_str(ret, value ? STR("true") : STR("false"));
    else if (type->kind == SCHEMA_ENUM)
        buf_add_json_string(ret, str_from(type->symbols[value]));
    else if (type->logical == SCHEMA_TIMESTAMP_MICROS)
        add_time(ret, value);
    else
        add_integer(ret, value);
}

static bool is_null(const struct schema_type *type, const char *value) {
    if (type->kind != SCHEMA_OPTION)
        return false;
    switch (type->item->kind) {
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
        return !((const struct str *)value)->ptr;
    case SCHEMA_RECORD:
        return !*(const void *const *)value;
    default:
        return !((const struct opt_long *)value)->has;
    }
}

static void add_record(struct buf *ret, const struct schema_type *type, const char *value) {
    char before = '{';
    for (size_t i = 0; i < type->field_count; i++) {
        const struct schema_field *field = &type->fields[i];
        if (is_null(field->type, value + field->offset))
            continue;
        buf_add(ret, (const char[]){before, '"'}, 2);
        buf_add_str(ret, str_from(field->name));
        buf_add(ret, "\":", 2);
        avro_to_json(field->type, value + field->offset, ret);
        before = ',';
    }
    if (before == '{')
        buf_add_char(ret, '{');
    buf_add_char(ret, '}');
}

static void add_list(struct buf *ret, const struct schema_type *item, const struct schema_list *list) {
    buf_add_char(ret, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            buf_add_char(ret, ',');
        avro_to_json(item, (const char *)list->items + i * item->size, ret);
    }
    buf_add_char(ret, ']');
}

static void add_option(struct buf *ret, const struct schema_type *type, const void *value) {
    if (is_null(type, value))
        buf_add_str(ret, STR("null"));
    else if (type->item->kind == SCHEMA_STRING || type->item->kind == SCHEMA_BYTES)
        avro_to_json(type->item, value, ret);
    else if (type->item->kind == SCHEMA_RECORD)
        add_record(ret, type->item, *(const char *const *)value);
    else
        add_scalar(ret, type->item, ((const struct opt_long *)value)->value);
}

void avro_to_json(const struct schema_type *type, const void *value, struct buf *ret) {
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        add_scalar(ret, type, *(const bool *)value);
        break;
    case SCHEMA_INT:
    case SCHEMA_ENUM:
        add_scalar(ret, type, *(const int32_t *)value);
        break;
    case SCHEMA_LONG:
        add_scalar(ret, type, *(const int64_t *)value);
        break;
    case SCHEMA_STRING:
        buf_add_json_string(ret, *(const struct str *)value);
        break;
    case SCHEMA_BYTES:
        add_bytes(ret, *(const struct str *)value);
        break;
    case SCHEMA_RECORD:
        add_record(ret, type, value);
        break;
    case SCHEMA_ARRAY:
        add_list(ret, type->item, value);
        break;
    case SCHEMA_OPTION:
        add_option(ret, type, value);
        break;
    }
}
