#include "tests/support/random_value.h"

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t random_next(struct random_source *source) {
    uint64_t z = source->state += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

uint64_t random_below(struct random_source *source, uint64_t limit) {
    return random_next(source) % limit;
}

static int64_t random_long(struct random_source *source) {
    static const int64_t extremes[] = {0, 1, -1, 63, 64, -64, -65, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    if (random_below(source, 4) == 0)
        return extremes[random_below(source, sizeof extremes / sizeof *extremes)];
    return (int64_t)random_next(source) >> random_below(source, 64);
}

static struct str random_uuid(struct random_source *source, struct arena *arena) {
    uint64_t a = random_next(source), b = random_next(source);
    return arena_printf(arena, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xFFFF),
                        (unsigned)(a & 0xFFF), (unsigned)(b >> 48 & 0xFFF), (unsigned long long)(b & 0xFFFFFFFFFFFF));
}

static struct str random_text(struct random_source *source, struct arena *arena) {
    static const char *const pieces[] = {"a", "Z",  "9", " ", "\"",  "\\",  "\n",   "\x7F",
                                         "é", "߿", "ࠀ", "€", "퟿", "￿", "🛒", "\U0010FFFF"};
    BUF_AUTO text = {0};
    uint64_t count = random_below(source, random_below(source, 50) ? 20 : 400);
    for (uint64_t i = 0; i < count; i++)
        buf_add_str(&text, str_from(pieces[random_below(source, sizeof pieces / sizeof *pieces)]));
    return arena_dup(arena, buf_str(&text));
}

static struct str random_bytes_of(struct random_source *source, struct arena *arena) {
    size_t len = random_below(source, 40);
    char *bytes = arena_alloc(arena, len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)random_below(source, 256);
    return (struct str){bytes, len};
}

static int64_t random_scalar(struct random_source *source, const struct schema_type *type) {
    if (type->kind == SCHEMA_BOOLEAN)
        return (int64_t)random_below(source, 2);
    if (type->kind == SCHEMA_ENUM)
        return (int64_t)random_below(source, type->symbol_count);
    if (type->logical == SCHEMA_TIMESTAMP_MICROS)
        return (int64_t)random_below(source, 4102444800000000); /* until 2100 */
    int64_t value = random_long(source);
    return type->kind == SCHEMA_INT ? (int32_t)(uint32_t)value : value;
}

static void random_option(struct random_source *source, const struct schema_type *item, struct arena *arena,
                          void *ret) {
    bool present = random_below(source, 2);
    if (item->kind == SCHEMA_STRING || item->kind == SCHEMA_BYTES) {
        *(struct str *)ret = STR_NULL;
        if (present)
            random_value(source, item, arena, ret);
    } else if (item->kind == SCHEMA_RECORD) {
        void *record = present ? arena_alloc(arena, item->size) : NULL;
        if (record)
            random_value(source, item, arena, record);
        *(void **)ret = record;
    } else {
        *(struct opt_long *)ret = (struct opt_long){present, present ? random_scalar(source, item) : 0};
    }
}

static void random_list(struct random_source *source, const struct schema_type *item, struct arena *arena,
                        struct schema_list *ret) {
    size_t count = random_below(source, 100) ? random_below(source, 4) : 100;
    char *items = count ? arena_alloc(arena, arena_array_size(item->size, count)) : NULL;
    for (size_t i = 0; i < count; i++)
        random_value(source, item, arena, items + i * item->size);
    *ret = (struct schema_list){items, count};
}

void random_value(struct random_source *source, const struct schema_type *type, struct arena *arena, void *ret) {
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        *(bool *)ret = random_scalar(source, type);
        break;
    case SCHEMA_INT:
    case SCHEMA_ENUM:
        *(int32_t *)ret = (int32_t)random_scalar(source, type);
        break;
    case SCHEMA_LONG:
        *(int64_t *)ret = random_scalar(source, type);
        break;
    case SCHEMA_STRING:
        *(struct str *)ret = type->logical == SCHEMA_UUID ? random_uuid(source, arena) : random_text(source, arena);
        break;
    case SCHEMA_BYTES:
        *(struct str *)ret = random_bytes_of(source, arena);
        break;
    case SCHEMA_RECORD:
        for (size_t i = 0; i < type->field_count; i++)
            random_value(source, type->fields[i].type, arena, (char *)ret + type->fields[i].offset);
        break;
    case SCHEMA_ARRAY:
        random_list(source, type->item, arena, ret);
        break;
    case SCHEMA_OPTION:
        random_option(source, type->item, arena, ret);
        break;
    }
}
