/* The schema `view` in PostgreSQL. */
#ifndef ORDERLOG_PROJECTIONS_MIGRATE_H
#define ORDERLOG_PROJECTIONS_MIGRATE_H

#include "core/store/pg.h"

/* Brings the schema to what this program needs. Asks for nothing but to read when it is so already; several may call at
 * once. ERR_CONFIG when it was made by a newer program. Not within a transaction. Blocks. */
CHECK_RESULT bool projections_migrate(struct pg *pg, struct err *err);
/* The same for another generation of it, beside the live one. All that is made (tables, views, grants) is in the schema
 * and follows it when it is renamed. `name`: a plain identifier of the program's own. */
CHECK_RESULT bool projections_migrate_schema(struct pg *pg, const char *name, struct err *err);

#endif
