/* Inserts by COPY: what a connection's `INSERT INTO schema.table (columns) … UNNEST(arrays)` statements would insert is
 * kept as rows of COPY and sent in large parts. For filling tables that nobody reads yet and that have no such rows:
 * ON CONFLICT means nothing here.
 *
 * A statement is taken when its table is one of those named. Its last parameters must be the columns' values, in their
 * order: arrays of one length, or texts that go into each row. Belongs to its connection's thread. */
#ifndef ORDERLOG_STORE_PG_COPY_H
#define ORDERLOG_STORE_PG_COPY_H

#include "core/store/pg.h"

struct pg_copy;

/* Diverts the statements of `pg`; `tables` (NULL-terminated, without the schema) must outlive it. They are inserted
 * into schema `alias`, whatever schema the statements name. `options`: of COPY, as ", FREEZE". */
CHECK_RESULT bool pg_copy_begin(struct pg *pg, const char *alias, const char *const *tables, const char *options,
                                struct pg_copy **ret, struct err *err);
/* From now on rows are sent in the order of their columns: rows that are neighbours in a table's indexes come one after
 * the other, which costs it less. For tables that have indexes. */
void pg_copy_sort(struct pg_copy *copy);
/* Sends what is kept, or (not `all`) large parts only: to be called now and then, between statements. */
CHECK_RESULT bool pg_copy_flush(struct pg_copy *copy, bool all, struct err *err);
/* Rows taken so far. */
int64_t pg_copy_rows(const struct pg_copy *copy);
/* Without sending what is kept; statements are run again. NULL is fine. */
void pg_copy_end(struct pg_copy *copy);

#endif
