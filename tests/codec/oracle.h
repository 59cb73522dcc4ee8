/* avro-c, an implementation that shares nothing with ours, on the same schema and the same values. */
#ifndef ORDERLOG_TESTS_ORACLE_H
#define ORDERLOG_TESTS_ORACLE_H

#include "core/codec/avro.h"

#include <avro.h>
#include <inttypes.h>
#include <setjmp.h>
#include <cmocka.h>

/* One version's schema, and a value of its union. */
struct oracle {
    avro_schema_t schema;
    avro_value_iface_t *class;
    avro_value_t value;
};

static inline void oracle_open(struct oracle *oracle, const struct schema_version *version) {
    if (avro_schema_from_json_length(version->json, strlen(version->json), &oracle->schema) != 0)
        fail_msg("%s, version %d: %s", version->subject->name, version->id, avro_strerror());
    oracle->class = avro_generic_class_from_schema(oracle->schema);
    assert_non_null(oracle->class);
    assert_int_equal(avro_generic_value_new(oracle->class, &oracle->value), 0);
}

static inline void oracle_close(struct oracle *oracle) {
    avro_value_decref(&oracle->value);
    avro_value_iface_decref(oracle->class);
    avro_schema_decref(oracle->schema);
}

static inline bool oracle_is_text(const struct schema_type *type) {
    return type->kind == SCHEMA_STRING || type->kind == SCHEMA_BYTES;
}

/* An optional value's content, as if it were not optional; NULL: it is null. */
static inline const void *oracle_content(const struct schema_type *item, const void *value, int32_t *narrow) {
    const struct opt_long *opt = value;
    if (oracle_is_text(item))
        return ((const struct str *)value)->ptr ? value : NULL;
    if (item->kind == SCHEMA_RECORD)
        return *(const void *const *)value;
    if (!opt->has || item->kind == SCHEMA_LONG)
        return opt->has ? &opt->value : NULL;
    *narrow = (int32_t)opt->value;
    return narrow;
}

/* Our value into avro-c's, field by field. */
static inline void oracle_fill(avro_value_t *to, const struct schema_type *type, const void *value) {
    const struct str *text = value;
    const struct schema_list *list = value;
    avro_value_t child;
    int32_t narrow;
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        assert_int_equal(avro_value_set_boolean(to, *(const bool *)value), 0);
        break;
    case SCHEMA_INT:
        assert_int_equal(avro_value_set_int(to, *(const int32_t *)value), 0);
        break;
    case SCHEMA_LONG:
        assert_int_equal(avro_value_set_long(to, *(const int64_t *)value), 0);
        break;
    case SCHEMA_STRING: /* avro-c counts a zero byte at the end, which has to be there */
        assert_int_equal(avro_value_set_string_len(to, text->len ? text->ptr : "", text->len + 1), 0);
        break;
    case SCHEMA_BYTES:
        assert_int_equal(avro_value_set_bytes(to, (void *)(uintptr_t)text->ptr, text->len), 0);
        break;
    case SCHEMA_ENUM:
        narrow = avro_schema_enum_get_by_name(avro_value_get_schema(to), type->symbols[*(const int32_t *)value]);
        assert_int_equal(avro_value_set_enum(to, narrow), 0);
        break;
    case SCHEMA_RECORD:
        for (size_t i = 0; i < type->field_count; i++) {
            assert_int_equal(avro_value_get_by_name(to, type->fields[i].name, &child, NULL), 0);
            oracle_fill(&child, type->fields[i].type, (const char *)value + type->fields[i].offset);
        }
        break;
    case SCHEMA_ARRAY:
        for (size_t i = 0; i < list->count; i++) {
            assert_int_equal(avro_value_append(to, &child, NULL), 0);
            oracle_fill(&child, type->item, (const char *)list->items + i * type->item->size);
        }
        break;
    case SCHEMA_OPTION:
        value = oracle_content(type->item, value, &narrow);
        assert_int_equal(avro_value_set_branch(to, value != NULL, &child), 0);
        if (value)
            oracle_fill(&child, type->item, value);
        break;
    }
}

static inline void oracle_check_text(const avro_value_t *of, const struct schema_type *type, const struct str *text) {
    const void *bytes = NULL;
    const char *string = NULL;
    size_t len;
    if (type->kind == SCHEMA_BYTES) {
        assert_int_equal(avro_value_get_bytes(of, &bytes, &len), 0);
    } else {
        assert_int_equal(avro_value_get_string(of, &string, &len), 0);
        bytes = string;
        len--;
    }
    assert_non_null(text->ptr);
    assert_int_equal(len, text->len);
    if (len)
        assert_memory_equal(bytes, text->ptr, len);
}

/* What avro-c read by the writer's schema against what we made of it: `type` may be an earlier version's, whose fields
 * need not all be in the struct. */
static inline void oracle_check(const avro_value_t *of, const struct schema_type *type, const void *value) {
    const struct schema_list *list = value;
    avro_value_t child;
    int narrow, boolean;
    int32_t content;
    int64_t wide;
    size_t count;
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        assert_int_equal(avro_value_get_boolean(of, &boolean), 0);
        assert_int_equal(boolean, *(const bool *)value);
        break;
    case SCHEMA_INT:
        assert_int_equal(avro_value_get_int(of, &narrow), 0);
        assert_int_equal(narrow, *(const int32_t *)value);
        break;
    case SCHEMA_LONG:
        assert_int_equal(avro_value_get_long(of, &wide), 0);
        assert_true(wide == *(const int64_t *)value);
        break;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
        oracle_check_text(of, type, value);
        break;
    case SCHEMA_ENUM:
        assert_int_equal(avro_value_get_enum(of, &narrow), 0);
        assert_string_equal(avro_schema_enum_get(avro_value_get_schema(of), narrow),
                            type->symbols[*(const int32_t *)value]);
        break;
    case SCHEMA_RECORD:
        for (size_t i = 0; i < type->field_count; i++) {
            const struct schema_field *field = &type->fields[i];
            assert_int_equal(avro_value_get_by_name(of, field->name, &child, NULL), 0);
            if (field->offset != SCHEMA_SKIP)
                oracle_check(&child, field->type, (const char *)value + field->offset);
        }
        break;
    case SCHEMA_ARRAY:
        assert_int_equal(avro_value_get_size(of, &count), 0);
        assert_int_equal(count, list->count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(avro_value_get_by_index(of, i, &child, NULL), 0);
            oracle_check(&child, type->item, (const char *)list->items + i * type->item->size);
        }
        break;
    case SCHEMA_OPTION:
        value = oracle_content(type->item, value, &content);
        assert_int_equal(avro_value_get_discriminant(of, &narrow), 0);
        assert_int_equal(narrow, value != NULL);
        assert_int_equal(avro_value_get_current_branch(of, &child), 0);
        if (value)
            oracle_check(&child, type->item, value);
        break;
    }
}

/* The union's bytes, without Confluent's header. */
static inline void oracle_write(struct oracle *oracle, struct buf *ret) {
    size_t size;
    assert_int_equal(avro_value_sizeof(&oracle->value, &size), 0);
    buf_reserve(ret, size);
    avro_writer_t writer = avro_writer_memory(ret->ptr + ret->len, (int64_t)size);
    assert_int_equal(avro_value_write(writer, &oracle->value), 0);
    assert_int_equal(avro_writer_tell(writer), size);
    avro_writer_free(writer);
    ret->len += size;
}

/* All of `bytes`; the branch of the union that they are is set as the value's current one. */
static inline void oracle_read(struct oracle *oracle, struct str bytes) {
    avro_reader_t reader = avro_reader_memory(bytes.ptr, (int64_t)bytes.len);
    avro_value_reset(&oracle->value);
    assert_int_equal(avro_value_read(reader, &oracle->value), 0);
    assert_int_not_equal(avro_skip(reader, 1), 0); /* nothing is left; avro_reader_is_eof does not say it of memory */
    avro_reader_free(reader);
}

#endif
