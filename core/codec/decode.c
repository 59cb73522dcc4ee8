#include "core/codec/avro.h"

/* The types are not recursive (the generator refuses that), so the depth of the calls below is that of the schema,
 * whatever the bytes say. `ret` NULL means: check, and drop. */
struct reader {
    const char *at;
    const char *end;
    const char *begin;
    struct arena *arena;
    struct err *err;
};

static bool corrupt(const struct reader *reader, const char *what) {
    return err_set(reader->err, ERR_CORRUPT, "byte %zu: %s", (size_t)(reader->at - reader->begin), what);
}

static size_t left(const struct reader *reader) {
    return (size_t)(reader->end - reader->at);
}

static bool read_long_slow(struct reader *reader, int64_t *ret) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (reader->at + i == reader->end)
            return corrupt(reader, "a number is cut off");
        unsigned char byte = (unsigned char)reader->at[i];
        if (i == 9 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte & 0x80)
            continue;
        if (byte == 0 && i > 0)
            return corrupt(reader, "a number is longer than it need be");
        reader->at += i + 1;
        *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
        return true;
    }
    return corrupt(reader, "a number does not fit 64 bits");
}

static inline bool read_long(struct reader *reader, int64_t *ret) {
    if (reader->at < reader->end && (unsigned char)*reader->at < 0x80) {
        int value = (unsigned char)*reader->at++;
        *ret = (value >> 1) ^ -(value & 1);
        return true;
    }
    return read_long_slow(reader, ret);
}

static bool read_int(struct reader *reader, int32_t *ret) {
    int64_t value;
    if (!read_long(reader, &value))
        return false;
    if (value < INT32_MIN || value > INT32_MAX)
        return corrupt(reader, "an int does not fit 32 bits");
    *ret = (int32_t)value;
    return true;
}

static bool read_boolean(struct reader *reader, bool *ret) {
    if (reader->at == reader->end)
        return corrupt(reader, "a boolean is cut off");
    if ((unsigned char)*reader->at > 1)
        return corrupt(reader, "a boolean is neither 0 nor 1");
    *ret = *reader->at++ == 1;
    return true;
}

static bool read_str(struct reader *reader, bool text, struct str *ret) {
    int64_t len;
    if (!read_long(reader, &len))
        return false;
    if (len < 0 || (uint64_t)len > left(reader))
        return corrupt(reader, "a length is negative or more than there is");
    struct str s = {reader->at, (size_t)len};
    if (text && !str_is_utf8(s))
        return corrupt(reader, "a string is not UTF-8");
    reader->at += len;
    *ret = s;
    return true;
}

static bool read_enum(struct reader *reader, const struct schema_type *type, int32_t *ret) {
    int32_t symbol = -1;
    if (!read_int(reader, &symbol))
        return false;
    if (symbol < 0 || (size_t)symbol >= type->symbol_count)
        return corrupt(reader, "an enum has no such symbol");
    if (type->symbol_map)
        symbol = type->symbol_map[symbol];
    if (symbol < 0)
        return corrupt(reader, "a symbol of an enum is known no more");
    *ret = symbol;
    return true;
}

static bool read_value(struct reader *reader, const struct schema_type *type, char *ret);

static bool read_record(struct reader *reader, const struct schema_type *type, char *ret) {
    for (size_t i = 0; i < type->field_count; i++) {
        const struct schema_field *field = &type->fields[i];
        if (!read_value(reader, field->type, ret && field->offset != SCHEMA_SKIP ? ret + field->offset : NULL))
            return err_wrap(reader->err, "%s", field->name);
    }
    for (size_t i = 0; ret && i < type->default_count; i++) {
        const struct schema_default *absent = &type->defaults[i];
        struct reader own = {absent->bytes, absent->bytes + absent->len, absent->bytes, reader->arena, reader->err};
        if (!read_value(&own, absent->type, ret + absent->offset))
            return err_wrap(reader->err, "a default");
    }
    return true;
}

/* ["null", boolean|int|long|enum] */
static bool read_opt_long(struct reader *reader, const struct schema_type *item, struct opt_long *ret) {
    bool flag = false;
    int32_t narrow = 0;
    int64_t value = 0;
    bool ok;
    if (item->kind == SCHEMA_BOOLEAN) {
        ok = read_boolean(reader, &flag);
        value = flag;
    } else if (item->kind == SCHEMA_LONG) {
        ok = read_long(reader, &value);
    } else {
        ok = item->kind == SCHEMA_ENUM ? read_enum(reader, item, &narrow) : read_int(reader, &narrow);
        value = narrow;
    }
    if (ok && ret)
        *ret = (struct opt_long){true, value};
    return ok;
}

/* The place at `ret` is zeroed, which is what null looks like. */
static bool read_option(struct reader *reader, const struct schema_type *item, char *ret) {
    int64_t branch;
    if (!read_long(reader, &branch))
        return false;
    if (branch == 0)
        return true;
    if (branch != 1)
        return corrupt(reader, "an optional value is neither absent nor present");
    if (item->kind == SCHEMA_STRING || item->kind == SCHEMA_BYTES)
        return read_value(reader, item, ret);
    if (item->kind != SCHEMA_RECORD)
        return read_opt_long(reader, item, (struct opt_long *)ret);
    char *record = ret ? arena_alloc(reader->arena, item->size) : NULL;
    if (ret)
        *(char **)ret = record;
    return read_value(reader, item, record);
}

/* The fewest bytes that a value takes: what bounds how many items a list can claim to have. */
static size_t least_size(const struct schema_type *type) {
    if (type->kind != SCHEMA_RECORD)
        return 1;
    size_t sum = 0;
    for (size_t i = 0; i < type->field_count; i++)
        sum += least_size(type->fields[i].type);
    return sum;
}

/* The head of a block: *ret_count items, 0 at the end of the list; *ret_end is where the block says that it ends, or
 * NULL. An item without any bytes counts as one: the generator refuses lists of such. */
static bool read_block(struct reader *reader, const struct schema_type *item, size_t *ret_count, const char **ret_end) {
    int64_t count, size;
    if (!read_long(reader, &count))
        return false;
    *ret_end = NULL;
    if (count < 0) {
        if (!read_long(reader, &size))
            return false;
        if (count == INT64_MIN || size < 0 || (uint64_t)size > left(reader))
            return corrupt(reader, "a block's size is negative or more than there is");
        *ret_end = reader->at + size;
        count = -count;
    }
    size_t least = count ? least_size(item) : 1;
    if ((uint64_t)count > left(reader) / (least ? least : 1))
        return corrupt(reader, "a list claims more items than there are bytes for");
    *ret_count = (size_t)count;
    return true;
}

/* Room for `more` items; doubles, so that a list in many small blocks costs no more than twice its size. */
static void list_reserve(struct arena *arena, struct schema_list *list, size_t *cap, size_t more, size_t item_size) {
    size_t need = list->count + more;
    if (need <= *cap)
        return;
    *cap = need < 2 * *cap ? 2 * *cap : need;
    void *items = arena_alloc(arena, arena_array_size(item_size, *cap));
    if (list->count)
        memcpy(items, list->items, list->count * item_size);
    list->items = items;
}

static bool read_array(struct reader *reader, const struct schema_type *item, struct schema_list *ret) {
    struct schema_list list = {0};
    size_t cap = 0, count = 0;
    const char *block_end;
    while (true) {
        if (!read_block(reader, item, &count, &block_end))
            return false;
        if (count == 0)
            break;
        if (ret)
            list_reserve(reader->arena, &list, &cap, count, item->size);
        for (size_t i = 0; i < count; i++) {
            if (!read_value(reader, item, ret ? (char *)list.items + (list.count + i) * item->size : NULL))
                return false;
        }
        list.count += count;
        if (block_end && block_end != reader->at)
            return corrupt(reader, "a block is not as long as it says");
    }
    if (ret)
        *ret = list;
    return true;
}

static bool read_value(struct reader *reader, const struct schema_type *type, char *ret) {
    union {
        bool boolean;
        int32_t narrow;
        int64_t wide;
        struct str str;
    } dropped;
    void *place = ret ? (void *)ret : (void *)&dropped;
    switch (type->kind) {
    case SCHEMA_BOOLEAN:
        return read_boolean(reader, place);
    case SCHEMA_INT:
        return read_int(reader, place);
    case SCHEMA_LONG:
        return read_long(reader, place);
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
        return read_str(reader, type->kind == SCHEMA_STRING, place);
    case SCHEMA_ENUM:
        return read_enum(reader, type, place);
    case SCHEMA_RECORD:
        return read_record(reader, type, ret);
    case SCHEMA_ARRAY:
        return read_array(reader, type->item, (struct schema_list *)ret);
    case SCHEMA_OPTION:
        return read_option(reader, type->item, ret);
    }
    return corrupt(reader, "a type that is none");
}

/* Aside first, so that what fails half way leaves *ret alone. A record that is known no more has no size: *ret_aside is
 * NULL then, and the bytes are only checked. */
static bool read_aside(struct reader *reader, const struct schema_type *type, void **ret_aside) {
    char *aside = type->size ? arena_alloc(reader->arena, type->size) : NULL;
    *ret_aside = aside;
    return read_value(reader, type, aside) || (type->name && err_wrap(reader->err, "%s", type->name));
}

static struct reader reader_of(struct str bytes, struct arena *arena, struct err *err) {
    const char *begin = bytes.ptr ? bytes.ptr : "";
    return (struct reader){begin, begin + bytes.len, begin, arena, err};
}

bool avro_decode(const struct schema_type *type, struct str *rest, struct arena *arena, void *ret, struct err *err) {
    struct reader reader = reader_of(*rest, arena, err);
    void *aside;
    if (!read_aside(&reader, type, &aside))
        return false;
    if (aside)
        memcpy(ret, aside, type->size);
    *rest = (struct str){reader.at, left(&reader)};
    return true;
}

bool avro_decode_whole(const struct schema_type *type, struct str bytes, struct arena *arena, void *ret,
                       struct err *err) {
    struct reader reader = reader_of(bytes, arena, err);
    void *aside;
    if (!read_aside(&reader, type, &aside))
        return false;
    if (left(&reader))
        return corrupt(&reader, "there is more behind the value");
    if (aside)
        memcpy(ret, aside, type->size);
    return true;
}
