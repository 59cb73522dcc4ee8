/* PostgreSQL's tables beside the rows' bytes: lines, payments, shipments, sales, stock and its ledger must say the same
 * as the rows, and as each other. */
#include "cli/cli.h"
#include "cli/verify_views.h"
#include "core/store/pg.h"

/* Each answers one row: how many were looked at, how many are wrong, and the first of those. */
struct table_check {
    const char *what;
    const char *sql;
};

#define CHECK(from_where, wrong, first)                                                                                \
    "SELECT count(*), count(*) FILTER (WHERE " wrong "), min(" first ") FILTER (WHERE " wrong ") FROM " from_where

static const struct table_check table_checks[] = {
    {"an order's lines do not add up to its items",
     CHECK("view.orders o LEFT JOIN (SELECT order_id, sum(line_total_minor) AS items FROM view.order_lines"
           " GROUP BY order_id) l USING (order_id) WHERE o.status IS NOT NULL AND (o.status <> 'rejected' OR l.items"
           " IS NOT NULL)",
           "o.items_minor IS DISTINCT FROM l.items", "o.order_id::text")},
    {"an order's events are not as many as its version",
     CHECK("view.orders o LEFT JOIN (SELECT order_id, count(*) AS events FROM view.order_events"
           " WHERE topic = 'shop.order.events.v1' AND type <> 'shop.order.v1.CommandRefused' GROUP BY order_id) e"
           " USING (order_id)",
           "o.version <> coalesce(e.events, 0)", "o.order_id::text")},
    {"a completed order was not charged its total, once",
     CHECK("view.orders o LEFT JOIN (SELECT order_id, count(*) AS charges, sum(amount_minor) AS charged"
           " FROM view.payments WHERE status = 'captured' GROUP BY order_id) p USING (order_id)"
           " WHERE o.status = 'completed'",
           "p.charges IS DISTINCT FROM 1 OR p.charged IS DISTINCT FROM o.total_minor", "o.order_id::text")},
    {"a completed order has not one shipment",
     CHECK("view.orders o LEFT JOIN (SELECT order_id, count(*) AS shipments FROM view.shipments GROUP BY order_id) s"
           " USING (order_id) WHERE o.status = 'completed'",
           "s.shipments IS DISTINCT FROM 1", "o.order_id::text")},
    {"an hour's sales are not those of its orders",
     CHECK("(SELECT hour, currency, sum(orders) AS orders, sum(revenue_minor) AS revenue FROM view.sales_by_hour"
           " GROUP BY hour, currency HAVING sum(orders) <> 0) s FULL JOIN"
           " (SELECT to_timestamp(floor(extract(epoch FROM confirmed_at) / 3600) * 3600) AS hour, currency,"
           " count(*) AS orders, sum(total_minor) AS revenue FROM view.orders WHERE confirmed_at IS NOT NULL"
           " GROUP BY 1, 2) o USING (hour, currency)",
           "s.orders IS DISTINCT FROM o.orders OR s.revenue IS DISTINCT FROM o.revenue", "hour::text")},
    {"a stock row's ledger has holes",
     CHECK("(SELECT location, sku, count(*) AS entries, min(version) AS low, max(version) AS high FROM"
           " view.stock_ledger GROUP BY location, sku) l",
           "low <> 1 OR high <> entries", "location || '/' || sku")},
    {"a stock row is not the last of its ledger",
     CHECK("view.stock s LEFT JOIN view.stock_ledger l USING (location, sku, version)",
           "(l.received, l.adjusted, l.restocked, l.held, l.committed, l.consumed, l.available) IS DISTINCT FROM"
           " (s.received, s.adjusted, s.restocked, s.held, s.committed, s.consumed, s.available)",
           "location || '/' || sku")},
    {"what is available of a product is not what its stock rows add up to",
     CHECK("view.products p LEFT JOIN (SELECT sku, sum(available) AS available FROM view.stock GROUP BY sku) s"
           " USING (sku)",
           "p.available <> coalesce(s.available, 0)", "sku")},
};

static bool table_check_run(struct pg *pg, const struct table_check *check, struct verify_result *result,
                            struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    PG_PARAMS_AUTO none = {0};
    if (!pg_exec(pg, check->sql, &none, &rows, err))
        return err_wrap(err, "%s", check->what);
    result->count += pg_get_i64(rows, 0, 0);
    int64_t wrong = pg_get_i64(rows, 0, 1);
    if (!wrong)
        return true;
    verify_violation(result, NULL, "postgres: %s: %.*s", check->what, STR_ARG(pg_get_str(rows, 0, 2)));
    result->violations += wrong - 1;
    return true;
}

/* What was set aside is missing from the tables, by right. */
static bool nothing_is_parked(struct pg *pg, bool *ret, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    PG_PARAMS_AUTO none = {0};
    if (!pg_exec(pg, "SELECT count(*) FROM view.parked", &none, &rows, err))
        return false;
    *ret = pg_get_i64(rows, 0, 0) == 0;
    if (!*ret)
        cli_note("records are parked in view.parked: PostgreSQL's tables are not compared with each other");
    return true;
}

bool verify_postgres_tables(const char *url, struct verify_result *result, struct err *err) {
    struct pg *pg;
    bool comparable = false;
    if (!pg_open(url, NULL, &pg, err))
        return false;
    bool ok = nothing_is_parked(pg, &comparable, err);
    for (size_t i = 0; ok && comparable && i < sizeof table_checks / sizeof table_checks[0]; i++)
        ok = table_check_run(pg, &table_checks[i], result, err);
    pg_close(pg);
    return ok;
}
