/* The part of PostgreSQL's store that differs per view: which tables a batch changes. One statement per table and
 * batch. */
#ifndef ORDERLOG_PROJECTIONS_PG_VIEW_H
#define ORDERLOG_PROJECTIONS_PG_VIEW_H

#include "core/store/pg.h"
#include "projections/store.h"

struct pg_view {
    const struct view *view;
    const char *const *more_topics; /* NULL-terminated */
    const char *load_sql;           /* keys as text[] -> key as text, row */
    /* Shards that begin: what was added up or written down for them before is void, so that what a record adds is new.
     * NULL-terminated; shards as bigint[]. */
    const char *const *begin_sql;
    /* Inside the transaction, after the positions were moved on. */
    bool (*save)(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err);
    /* The same in two parts, for a rebuild: what records add, as they come; and what rows say, each given once at the
     * end and without the records that made it. */
    bool (*add_facts)(struct pg *pg, const struct shard_save *shards, size_t count,
                      struct err *err); /* NULL: nothing */
    bool (*fill_rows)(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err);
};

extern const struct pg_view pg_view_carts, pg_view_orders, pg_view_products, pg_view_recommendations;
const struct pg_view *pg_view_of(const struct view *view);

/* Into view.parked. */
CHECK_RESULT bool pg_parked_save(struct pg *pg, const struct view *view, const struct shard_save *shards, size_t count,
                                 struct err *err);

/* Tables that several topics write to; see the files of these names. Nothing is done when there is nothing to write. */
CHECK_RESULT bool pg_stock_ledger_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err);
CHECK_RESULT bool pg_order_events_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err);
CHECK_RESULT bool pg_sales_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err);

/* Which rows a statement is for: ON CONFLICT costs half as much again for rows that are known to be new, and nearly
 * as much for those known to be there. */
enum pg_which { PG_NEW, PG_HELD, PG_ALL_NEW /* whatever is held elsewhere */ };
static inline bool pg_is_for(enum pg_which which, const struct view_row *row) {
    return which == PG_ALL_NEW || row->held == (which == PG_HELD);
}

/* All rows, or facts, of all shards: for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));) */
struct pg_cursor {
    size_t shard;
    size_t index;
};
const struct view_row *pg_next_row(struct pg_cursor *at, const struct shard_save *shards, size_t count);
const struct view_fact *pg_next_fact(struct pg_cursor *at, const struct shard_save *shards, size_t count);

/* Array parameters, one per type. */
void pg_add_arrays(struct pg_params *params, const enum pg_type *types, int count);
/* An element: null when empty (a UUID that is not known) or when there is none. */
void pg_array_filled(struct pg_params *params, int index, struct str value);
void pg_array_time(struct pg_params *params, int index, bool known, int64_t time_us);
/* An element: a row's bytes. `scratch` is overwritten. */
void pg_array_state(struct pg_params *params, int index, const struct view *view, const void *value,
                    struct buf *scratch);

#endif
