#include <endian.h>
#include <stdlib.h>

#include "core/store/pg_internal.h"

void pg_params_free(struct pg_params *params) {
    for (int i = 0; i < params->count; i++)
        buf_free(&params->arrays[i]);
    params->count = 0;
}

static int add(struct pg_params *params, uint32_t type, const char *value, size_t len) {
    if (params->count == PG_PARAMS_MAX)
        abort(); /* a statement written in this program, with more parameters than PG_PARAMS_MAX */
    int i = params->count++;
    params->types[i] = type;
    params->values[i] = value;
    params->lengths[i] = (int)len;
    params->arrays[i] = (struct buf){0};
    return i;
}

void pg_add_text(struct pg_params *params, struct str value) {
    add(params, PG_TEXT, value.ptr, value.len);
}

void pg_add_bytes(struct pg_params *params, struct str value) {
    add(params, PG_BYTES, value.ptr, value.len);
}

static void add_number(struct pg_params *params, uint32_t type, int64_t value) {
    int i = add(params, type, NULL, sizeof(int64_t));
    params->numbers[i] = (int64_t)htobe64((uint64_t)value);
    params->values[i] = (const char *)&params->numbers[i];
}

void pg_add_i64(struct pg_params *params, int64_t value) {
    add_number(params, PG_I64, value);
}

void pg_add_time(struct pg_params *params, int64_t time_us) {
    add_number(params, PG_TIME, time_us - PG_EPOCH_US);
}

void pg_add_bool(struct pg_params *params, bool value) {
    add(params, PG_BOOL, value ? "\1" : "\0", 1);
}

/* The header of a one-dimensional array (src/backend/utils/adt/arrayfuncs.c, array_recv): dimensions, a flag for
 * nulls, the element's type, then length and lower bound. */
struct array_header {
    uint32_t dimensions;
    uint32_t has_nulls;
    uint32_t type;
    uint32_t count;
    uint32_t lower_bound;
};

static uint32_t array_type_of(enum pg_type type) {
    switch (type) {
    case PG_BOOL:
        return 1000;
    case PG_BYTES:
        return 1001;
    case PG_I64:
        return 1016;
    case PG_TEXT:
        return 1009;
    case PG_TIME:
        return 1185;
    }
    abort();
}

void pg_add_array(struct pg_params *params, enum pg_type type) {
    int i = add(params, array_type_of(type), NULL, 0);
    struct array_header header = {htobe32(1), htobe32(1), htobe32(type), 0, htobe32(1)};
    buf_add(&params->arrays[i], &header, sizeof(header));
    params->numbers[i] = 0;
}

static void array_add(struct pg_params *params, int index, const void *bytes, size_t len) {
    uint32_t size = htobe32((uint32_t)len);
    struct buf *array = &params->arrays[index];
    buf_add(array, &size, sizeof(size));
    buf_add(array, bytes, len);
    params->numbers[index]++;
}

void pg_array_null(struct pg_params *params, int index) {
    uint32_t size = htobe32(UINT32_MAX);
    buf_add(&params->arrays[index], &size, sizeof(size));
    params->numbers[index]++;
}

void pg_array_str(struct pg_params *params, int index, struct str value) {
    if (value.ptr)
        array_add(params, index, value.ptr, value.len);
    else
        pg_array_null(params, index);
}

void pg_array_i64(struct pg_params *params, int index, int64_t value) {
    if (params->types[index] == 1000) {
        array_add(params, index, value ? "\1" : "\0", 1);
        return;
    }
    int64_t shifted = params->types[index] == 1185 ? value - PG_EPOCH_US : value;
    uint64_t raw_value = htobe64((uint64_t)shifted);
    array_add(params, index, &raw_value, sizeof(raw_value));
}

void pg_array_move(struct pg_params *params, int index, struct pg_params *from, int inner) {
    struct buf *array = &from->arrays[inner];
    struct array_header *header = (struct array_header *)(void *)array->ptr;
    header->count = htobe32((uint32_t)from->numbers[inner]);
    array_add(params, index, array->ptr, array->len);
    array->len = sizeof(*header);
    from->numbers[inner] = 0;
}

size_t pg_array_count(const struct pg_params *params, int index) {
    return params->arrays[index].len ? (size_t)params->numbers[index] : 0;
}

size_t pg_array_begin(void) {
    return sizeof(struct array_header);
}

struct str pg_array_next(const struct pg_params *params, int index, size_t *at) {
    const char *ptr = params->arrays[index].ptr + *at;
    uint32_t size;
    memcpy(&size, ptr, sizeof(size));
    size = be32toh(size);
    *at += sizeof(size);
    if (size == UINT32_MAX)
        return STR_NULL;
    *at += size;
    return (struct str){ptr + sizeof(size), size};
}

void pg_params_finish(struct pg_params *params) {
    for (int i = 0; i < params->count; i++) {
        if (!params->arrays[i].len)
            continue;
        struct array_header *header = (struct array_header *)(void *)params->arrays[i].ptr;
        header->count = htobe32((uint32_t)params->numbers[i]);
        params->values[i] = params->arrays[i].ptr;
        params->lengths[i] = (int)params->arrays[i].len;
    }
}
