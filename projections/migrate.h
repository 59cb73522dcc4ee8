/* The schema `view` in PostgreSQL. */
#ifndef ORDERLOG_PROJECTIONS_MIGRATE_H
#define ORDERLOG_PROJECTIONS_MIGRATE_H

#include "core/store/pg.h"

/* Brings the schema to what this program needs. Asks for nothing but to read when it is so already; several may call at
 * once. ERR_CONFIG when it was made by a newer program. Blocks. */
CHECK_RESULT bool projections_migrate(struct pg *pg, struct err *err);

#endif
