#include "core/codec/avro.h"

static bool is_text(const struct schema_type *type) {
    return type->kind == SCHEMA_STRING || type->kind == SCHEMA_BYTES;
}

/* The bytes of the value are in place already; what they point to is still the original's. */
static void own_value(const struct schema_type *type, char *value, struct arena *arena) {
    if (is_text(type) || (type->kind == SCHEMA_OPTION && is_text(type->item))) {
        struct str *s = (struct str *)value;
        *s = arena_dup(arena, *s);
    } else if (type->kind == SCHEMA_RECORD) {
        for (size_t i = 0; i < type->field_count; i++)
            own_value(type->fields[i].type, value + type->fields[i].offset, arena);
    } else if (type->kind == SCHEMA_OPTION && type->item->kind == SCHEMA_RECORD) {
        char **record = (char **)value;
        if (!*record)
            return;
        char *own = arena_alloc(arena, type->item->size);
        avro_copy(type->item, *record, arena, own);
        *record = own;
    } else if (type->kind == SCHEMA_ARRAY) {
        struct schema_list *list = (struct schema_list *)value;
        size_t size = type->item->size;
        char *own = list->count ? arena_alloc(arena, arena_array_size(size, list->count)) : NULL;
        for (size_t i = 0; i < list->count; i++)
            avro_copy(type->item, (const char *)list->items + i * size, arena, own + i * size);
        list->items = own;
    }
}

void avro_copy(const struct schema_type *type, const void *value, struct arena *arena, void *ret) {
    memmove(ret, value, type->size);
    own_value(type, ret, arena);
}

static bool option_equal(const struct schema_type *item, const char *a, const char *b) {
    if (is_text(item)) {
        const struct str *x = (const struct str *)a, *y = (const struct str *)b;
        return !x->ptr == !y->ptr && (!x->ptr || str_eq(*x, *y));
    }
    if (item->kind == SCHEMA_RECORD) {
        const void *x = *(const void *const *)a, *y = *(const void *const *)b;
        return x && y ? avro_equal(item, x, y) : x == y;
    }
    const struct opt_long *x = (const struct opt_long *)a, *y = (const struct opt_long *)b;
    return x->has == y->has && (!x->has || x->value == y->value);
}

static bool list_equal(const struct schema_type *item, const struct schema_list *a, const struct schema_list *b) {
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!avro_equal(item, (const char *)a->items + i * item->size, (const char *)b->items + i * item->size))
            return false;
    }
    return true;
}

bool avro_equal(const struct schema_type *type, const void *a, const void *b) {
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        return *(const bool *)a == *(const bool *)b;
    case SCHEMA_INT:
    case SCHEMA_ENUM:
        return *(const int32_t *)a == *(const int32_t *)b;
    case SCHEMA_LONG:
        return *(const int64_t *)a == *(const int64_t *)b;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
        return str_eq(*(const struct str *)a, *(const struct str *)b);
    case SCHEMA_RECORD:
        for (size_t i = 0; i < type->field_count; i++) {
            int32_t offset = type->fields[i].offset;
            if (!avro_equal(type->fields[i].type, (const char *)a + offset, (const char *)b + offset))
                return false;
        }
        return true;
    case SCHEMA_ARRAY:
        return list_equal(type->item, a, b);
    case SCHEMA_OPTION:
        return option_equal(type->item, a, b);
    }
    return false;
}

void avro_difference(const struct schema_type *type, const void *a, const void *b, struct buf *ret) {
    for (size_t i = 0; i < type->field_count; i++) {
        const struct schema_field *field = &type->fields[i];
        const char *in_a = (const char *)a + field->offset, *in_b = (const char *)b + field->offset;
        if (avro_equal(field->type, in_a, in_b))
            continue;
        buf_printf(ret, "%s%s", ret->len ? "." : "", field->name);
        if (field->type->kind == SCHEMA_RECORD)
            avro_difference(field->type, in_a, in_b, ret);
        return;
    }
}
