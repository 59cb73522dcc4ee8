/* What the views' readers ask of PostgreSQL: pages, histories, and single rows while Redis is away. For views.c only.
 */
#ifndef ORDERLOG_PROJECTIONS_VIEWS_PG_H
#define ORDERLOG_PROJECTIONS_VIEWS_PG_H

#include "core/base/err.h"
#include "projections/view.h"

struct views_pg;

/* Does not connect yet. After a failure, ERR_STORE_UNAVAILABLE comes at once for a second. */
struct views_pg *views_pg_new(const char *database_url);
void views_pg_free(struct views_pg *pg);
CHECK_RESULT bool views_pg_ping(struct views_pg *pg, struct err *err);

/* ret[i] is a row of the view, decoded into the arena, or NULL. Keys that cannot be are not found. */
CHECK_RESULT bool views_pg_rows(struct views_pg *pg, const struct view *view, const struct str *keys, size_t count,
                                struct arena *arena, void **ret, struct err *err);

struct views_page {
    void **rows;
    size_t count;
    struct str next; /* ptr NULL: the last page */
};
CHECK_RESULT bool views_pg_products(struct views_pg *pg, struct str after, int32_t limit, struct arena *arena,
                                    struct views_page *ret, struct err *err);
CHECK_RESULT bool views_pg_orders(struct views_pg *pg, struct str shopper_id, struct str after, int32_t limit,
                                  struct arena *arena, struct views_page *ret, struct err *err);
CHECK_RESULT bool views_pg_order_events(struct views_pg *pg, struct str order_id, struct buf *ret, struct err *err);

#endif
