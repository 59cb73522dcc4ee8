/* Rows while a log is folded from its beginning: a projector's store in memory, written out once at the end.
 *
 * What bounds it: rows that are at work are kept decoded, up to `memory_bytes`; then all of them are put into a
 * temporary file (in TMPDIR or /tmp, without a name) and come back when they are asked for. Of each row an entry of
 * about 150 bytes stays in memory. Belongs to one thread. */
#ifndef ORDERLOG_PROJECTIONS_KEPT_ROWS_H
#define ORDERLOG_PROJECTIONS_KEPT_ROWS_H

#include "projections/store.h"

CHECK_RESULT bool kept_rows_open(const struct view *view, size_t memory_bytes, struct projector_store **ret,
                                 struct err *err);
void kept_rows_close(struct projector_store *rows); /* NULL is fine */
/* Where the projector must fold rows: they live on from batch to batch. */
struct arena *kept_rows_arena(struct projector_store *rows);

/* As of projector_store_ops. Positions, facts and parked records are not kept. */
CHECK_RESULT bool kept_rows_load(struct projector_store *rows, struct view_row *const *wanted, size_t count,
                                 struct arena *arena, struct err *err);
CHECK_RESULT bool kept_rows_save(struct projector_store *rows, struct shard_save *shards, size_t count,
                                 struct arena *arena, struct err *err);

size_t kept_rows_count(const struct projector_store *rows);
/* All rows, in no order that means anything. What `each` is given is borrowed for the call; false ends it. */
typedef bool kept_rows_each_fn(void *user, int32_t shard, struct str key, struct str bytes, struct err *err);
CHECK_RESULT bool kept_rows_each(struct projector_store *rows, kept_rows_each_fn *each, void *user, struct err *err);

#endif
