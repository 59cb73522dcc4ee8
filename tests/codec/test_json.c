/* The JSON of every record, against jansson's reading of it; and its looks, once, to the letter. */
#include "tests/codec/every.h"

#include "core/base/clock.h"

#include <jansson.h>

static void check_json(const json_t *json, const struct schema_type *type, const void *value);

static void check_text(const json_t *json, struct str text) {
    assert_true(json_is_string(json));
    assert_true(str_eq((struct str){json_string_value(json), json_string_length(json)}, text));
}

static void check_bytes(const json_t *json, struct str bytes) {
    assert_int_equal(json_string_length(json), 2 * bytes.len);
    for (size_t i = 0; i < bytes.len; i++) {
        char byte[3] = {0};
        memcpy(byte, json_string_value(json) + 2 * i, 2);
        assert_int_equal(strtoul(byte, NULL, 16), (unsigned char)bytes.ptr[i]);
    }
}

static void check_scalar(const json_t *json, const struct schema_type *type, int64_t value) {
    int64_t time_us;
    if (type->kind == SCHEMA_BOOLEAN) {
        assert_true(json_is_boolean(json));
        assert_int_equal(json_is_true(json), value);
    } else if (type->kind == SCHEMA_ENUM) {
        check_text(json, str_from(type->symbols[value]));
    } else if (type->logical == SCHEMA_TIMESTAMP_MICROS) {
        assert_true(json_is_string(json));
        assert_true(clock_parse(str_from(json_string_value(json)), &time_us));
        assert_int_equal(time_us, value);
    } else {
        assert_true(json_is_integer(json));
        assert_true(json_integer_value(json) == value);
    }
}

static void check_option(const json_t *json, const struct schema_type *item, const void *value) {
    const struct opt_long *opt = value;
    bool is_text = item->kind == SCHEMA_STRING || item->kind == SCHEMA_BYTES;
    bool absent = is_text                       ? !((const struct str *)value)->ptr
                  : item->kind == SCHEMA_RECORD ? !*(const void *const *)value
                                                : !opt->has;
    if (absent)
        assert_null(json); /* left out */
    else if (is_text)
        check_json(json, item, value);
    else if (item->kind == SCHEMA_RECORD)
        check_json(json, item, *(const void *const *)value);
    else
        check_scalar(json, item, opt->value);
}

static void check_json(const json_t *json, const struct schema_type *type, const void *value) {
    const struct schema_list *list = value;
    size_t fields = 0;
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        check_scalar(json, type, *(const bool *)value);
        break;
    case SCHEMA_INT:
    case SCHEMA_ENUM:
        check_scalar(json, type, *(const int32_t *)value);
        break;
    case SCHEMA_LONG:
        check_scalar(json, type, *(const int64_t *)value);
        break;
    case SCHEMA_STRING:
        check_text(json, *(const struct str *)value);
        break;
    case SCHEMA_BYTES:
        check_bytes(json, *(const struct str *)value);
        break;
    case SCHEMA_RECORD:
        assert_true(json_is_object(json));
        for (size_t i = 0; i < type->field_count; i++) {
            const json_t *field = json_object_get(json, type->fields[i].name);
            check_json(field, type->fields[i].type, (const char *)value + type->fields[i].offset);
            fields += field != NULL;
        }
        assert_int_equal(json_object_size(json), fields);
        break;
    case SCHEMA_ARRAY:
        assert_int_equal(json_array_size(json), list->count);
        for (size_t i = 0; i < list->count; i++)
            check_json(json_array_get(json, i), type->item, (const char *)list->items + i * type->item->size);
        break;
    case SCHEMA_OPTION:
        check_option(json, type->item, value);
        break;
    }
}

static void check_sample(const struct sample *sample) {
    BUF_AUTO text = {0};
    json_error_t error;
    avro_to_json(sample->type, sample->value, &text);
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json)
        fail_msg("%s: %s", error.text, text.ptr);
    check_json(json, sample->type, sample->value);
    json_decref(json);
}

static void every_record_is_json(void **state) {
    (void)state;
    every_record(12, 50, check_sample);
}

struct looks {
    struct str text;
    struct str bytes;
    int64_t time_us;
    struct opt_long flag;
    struct opt_long absent;
    struct opt_long symbol;
    struct str no_bytes;
    bool plain;
    int64_t least;
    struct schema_list list;
    struct str nothing; /* where a record without fields is */
};

static void the_looks_of_it(void **state) {
    (void)state;
    static const struct schema_type boolean_type = {.kind = SCHEMA_BOOLEAN, .size = sizeof(bool)};
    static const struct schema_type long_type = {.kind = SCHEMA_LONG, .size = sizeof(int64_t)};
    static const struct schema_type time_type = {
        .kind = SCHEMA_LONG, .logical = SCHEMA_TIMESTAMP_MICROS, .size = sizeof(int64_t)};
    static const struct schema_type string_type = {.kind = SCHEMA_STRING, .size = sizeof(struct str)};
    static const struct schema_type bytes_type = {.kind = SCHEMA_BYTES, .size = sizeof(struct str)};
    static const char *const symbols[] = {"a", "b"};
    static const struct schema_type enum_type = {
        .kind = SCHEMA_ENUM, .size = sizeof(int32_t), .symbols = symbols, .symbol_count = 2};
    static const struct schema_type opt_boolean = {.kind = SCHEMA_OPTION, .item = &boolean_type};
    static const struct schema_type opt_time = {.kind = SCHEMA_OPTION, .item = &time_type};
    static const struct schema_type opt_enum = {.kind = SCHEMA_OPTION, .item = &enum_type};
    static const struct schema_type opt_bytes = {.kind = SCHEMA_OPTION, .item = &bytes_type};
    static const struct schema_type list_type = {.kind = SCHEMA_ARRAY, .item = &time_type};
    static const struct schema_type nothing_type = {.kind = SCHEMA_RECORD};
    static const struct schema_field fields[] = {
        {"absent", &opt_time, offsetof(struct looks, absent)},
        {"text", &string_type, offsetof(struct looks, text)},
        {"bytes", &bytes_type, offsetof(struct looks, bytes)},
        {"time", &time_type, offsetof(struct looks, time_us)},
        {"flag", &opt_boolean, offsetof(struct looks, flag)},
        {"symbol", &opt_enum, offsetof(struct looks, symbol)},
        {"no_bytes", &opt_bytes, offsetof(struct looks, no_bytes)},
        {"plain", &boolean_type, offsetof(struct looks, plain)},
        {"least", &long_type, offsetof(struct looks, least)},
        {"list", &list_type, offsetof(struct looks, list)},
        {"nothing", &nothing_type, offsetof(struct looks, nothing)},
    };
    static const struct schema_type type = {.kind = SCHEMA_RECORD, .fields = fields, .field_count = 11};
    int64_t times[] = {0, 1500000};
    struct looks looks = {.text = STR("a\"\n\xC3\xA9"),
                          .bytes = STR("\x00\xFE"),
                          .time_us = 1706745599123456,
                          .flag = {true, 0},
                          .symbol = {true, 1},
                          .plain = true,
                          .least = INT64_MIN,
                          .list = {times, 2}};
    BUF_AUTO text = {0};
    avro_to_json(&type, &looks, &text);
    assert_string_equal(text.ptr,
                        "{\"text\":\"a\\\"\\n\xC3\xA9\",\"bytes\":\"00fe\",\"time\":\"2024-01-31T23:59:59.123456Z\","
                        "\"flag\":false,\"symbol\":\"b\",\"plain\":true,\"least\":-9223372036854775808,"
                        "\"list\":[\"1970-01-01T00:00:00Z\",\"1970-01-01T00:00:01.500000Z\"],\"nothing\":{}}");
    buf_reset(&text);
    avro_to_json(&opt_time, &looks.absent, &text); /* by itself, not left out of anything */
    assert_string_equal(text.ptr, "null");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_json),
        cmocka_unit_test(the_looks_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
