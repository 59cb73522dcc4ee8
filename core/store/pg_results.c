#include <endian.h>
#include <stdlib.h>

#include "core/store/pg_internal.h"

void pg_result_free(struct pg_result *result) {
    PQclear(pg_raw(result));
}

void pg_result_clear(struct pg_result **result) {
    pg_result_free(*result);
    *result = NULL;
}

int pg_rows(const struct pg_result *result) {
    return PQntuples(pg_raw(result));
}

int64_t pg_affected(const struct pg_result *result) {
    return strtoll(PQcmdTuples(pg_raw(result)), NULL, 10);
}

bool pg_is_null(const struct pg_result *result, int row, int column) {
    return PQgetisnull(pg_raw(result), row, column);
}

int64_t pg_get_i64(const struct pg_result *result, int row, int column) {
    const char *value = PQgetvalue(pg_raw(result), row, column);
    uint64_t wide;
    uint32_t word;
    uint16_t half;
    switch (PQgetlength(pg_raw(result), row, column)) {
    case 8:
        memcpy(&wide, value, 8);
        return (int64_t)be64toh(wide);
    case 4:
        memcpy(&word, value, 4);
        return (int32_t)be32toh(word);
    case 2:
        memcpy(&half, value, 2);
        return (int16_t)be16toh(half);
    default:
        return 0;
    }
}

bool pg_get_bool(const struct pg_result *result, int row, int column) {
    return PQgetlength(pg_raw(result), row, column) == 1 && *PQgetvalue(pg_raw(result), row, column) != 0;
}

struct str pg_get_str(const struct pg_result *result, int row, int column) {
    if (PQgetisnull(pg_raw(result), row, column))
        return STR_NULL;
    return (struct str){PQgetvalue(pg_raw(result), row, column), (size_t)PQgetlength(pg_raw(result), row, column)};
}

int64_t pg_get_time(const struct pg_result *result, int row, int column) {
    return pg_get_i64(result, row, column) + PG_EPOCH_US;
}
