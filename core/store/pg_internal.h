/* What the files of core/store/pg.h share; libpq stays within them. */
#ifndef ORDERLOG_STORE_PG_INTERNAL_H
#define ORDERLOG_STORE_PG_INTERNAL_H

#include <libpq-fe.h>

#include "core/store/pg.h"

/* PostgreSQL counts microseconds from 2000-01-01. */
#define PG_EPOCH_US INT64_C(946684800000000)

/* A struct pg_result is a PGresult by another name. */
static inline PGresult *pg_raw(const struct pg_result *result) {
    return (PGresult *)(uintptr_t)result;
}

/* Completes the arrays, so that values and lengths can be sent. */
void pg_params_finish(struct pg_params *params);

#endif
