#include "projections/views_pg.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "core/store/pg.h"

enum { AWAY_US = 1000 * 1000 };

static const char settings[] = "SET default_transaction_read_only = on; SET statement_timeout = '2s'; "
                               "SET enable_seqscan = off; SET jit = off";

struct views_pg {
    char *url;
    struct pg *pg;         /* NULL: not connected */
    int64_t away_until_us; /* not tried before */
};

struct views_pg *views_pg_new(const char *database_url) {
    struct views_pg *pg = mem_zalloc(sizeof(*pg));
    pg->url = mem_strdup(str_from(database_url));
    return pg;
}

void views_pg_free(struct views_pg *pg) {
    if (!pg)
        return;
    pg_close(pg->pg);
    free(pg->url);
    free(pg);
}

static bool connected(struct views_pg *pg, struct err *err) {
    if (pg->pg)
        return true;
    if (clock_monotonic_us() < pg->away_until_us)
        return err_set(err, ERR_STORE_UNAVAILABLE, "PostgreSQL did not answer a moment ago");
    if (pg_open(pg->url, settings, &pg->pg, err))
        return true;
    pg->away_until_us = clock_monotonic_us() + AWAY_US;
    return false;
}

static bool query(struct views_pg *pg, const char *sql, struct pg_params *params, struct pg_result **ret,
                  struct err *err) {
    if (!connected(pg, err))
        return false;
    if (pg_exec(pg->pg, sql, params, ret, err))
        return true;
    /* Tables may have been dropped for a rebuild, plans with them: begin anew. */
    pg_close(pg->pg);
    pg->pg = NULL;
    return false;
}

bool views_pg_ping(struct views_pg *pg, struct err *err) {
    return query(pg, "SELECT", NULL, NULL, err);
}

static bool row_decode(const struct view *view, struct str bytes, struct arena *arena, void **ret, struct err *err) {
    void *row = arena_alloc(arena, view->row_size);
    if (!state_decode(schema_subject_find(str_from(view->subject)), arena_dup(arena, bytes), arena, row, err))
        return err_wrap(err, "a row of view %s", view->name);
    *ret = row;
    return true;
}

/* ---- single rows ---- */

static bool key_valid(const struct view *view, struct str key) {
    if (view != &view_products && view != &view_recommendations)
        return id_valid(key);
    return key.len && str_is_utf8(key) && !memchr(key.ptr, '\0', key.len);
}

static const char *rows_sql(const struct view *view) {
    if (view == &view_orders)
        return "SELECT k.n, r.\"row\" FROM UNNEST($1::bigint[], $2::uuid[]) AS k(n, key) "
               "JOIN view.orders r ON r.order_id = k.key";
    if (view == &view_carts)
        return "SELECT k.n, r.\"row\" FROM UNNEST($1::bigint[], $2::uuid[]) AS k(n, key) "
               "JOIN view.carts r ON r.cart_id = k.key";
    if (view == &view_recommendations)
        return "SELECT k.n, r.\"row\" FROM UNNEST($1::bigint[], $2::text[]) AS k(n, key) "
               "JOIN view.recommendations r ON r.key = k.key";
    return "SELECT k.n, r.\"row\" FROM UNNEST($1::bigint[], $2::text[]) AS k(n, key) "
           "JOIN view.products r ON r.sku = k.key";
}

bool views_pg_rows(struct views_pg *pg, const struct view *view, const struct str *keys, size_t count,
                   struct arena *arena, void **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < count; i++) {
        ret[i] = NULL;
        if (!key_valid(view, keys[i]))
            continue;
        pg_array_i64(&params, 0, (int64_t)i);
        pg_array_str(&params, 1, keys[i]);
    }
    if (!query(pg, rows_sql(view), &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        if (!row_decode(view, pg_get_str(rows, i, 1), arena, &ret[pg_get_i64(rows, i, 0)], err))
            return false;
    return true;
}

/* ---- pages: one row more than asked for shows whether there is another page ---- */

static bool page_take(const struct view *view, const struct pg_result *rows, int32_t limit, struct arena *arena,
                      struct views_page *ret, struct err *err) {
    struct views_page page = {.count = (size_t)(pg_rows(rows) < limit ? pg_rows(rows) : limit)};
    page.rows = arena_array(arena, void *, page.count);
    for (size_t i = 0; i < page.count; i++)
        if (!row_decode(view, pg_get_str(rows, (int)i, 1), arena, &page.rows[i], err))
            return false;
    if (pg_rows(rows) > limit && page.count)
        page.next = arena_dup(arena, pg_get_str(rows, (int)page.count - 1, 0));
    *ret = page;
    return true;
}

bool views_pg_products(struct views_pg *pg, struct str after, int32_t limit, struct arena *arena,
                       struct views_page *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    bool valid = key_valid(&view_products, after);
    pg_add_text(&params, valid ? after : STR(""));
    pg_add_i64(&params, (int64_t)limit + 1);
    if (!query(pg, "SELECT sku, \"row\" FROM view.products WHERE sku > $1 AND for_sale ORDER BY sku LIMIT $2", &params,
               &rows, err))
        return false;
    return page_take(&view_products, rows, limit, arena, ret, err);
}

/* Behind the order `after`, newest first; nothing behind one that is not the shopper's. */
static const char next_orders_sql[] =
    "SELECT order_id::text, \"row\" FROM view.orders WHERE shopper_id = $1::uuid AND (placed_at, order_id) < "
    "(SELECT placed_at, order_id FROM view.orders WHERE order_id = $3::uuid AND shopper_id = $1::uuid) "
    "ORDER BY placed_at DESC, order_id DESC LIMIT $2";

bool views_pg_orders(struct views_pg *pg, struct str shopper_id, struct str after, int32_t limit, struct arena *arena,
                     struct views_page *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    if (!id_valid(shopper_id) || (after.ptr && !id_valid(after))) {
        *ret = (struct views_page){0};
        return true;
    }
    pg_add_text(&params, shopper_id);
    pg_add_i64(&params, (int64_t)limit + 1);
    if (after.ptr)
        pg_add_text(&params, after);
    if (!query(pg,
               after.ptr ? next_orders_sql
                         : "SELECT order_id::text, \"row\" FROM view.orders WHERE shopper_id = $1::uuid "
                           "ORDER BY placed_at DESC, order_id DESC LIMIT $2",
               &params, &rows, err))
        return false;
    return page_take(&view_orders, rows, limit, arena, ret, err);
}

/* ---- the history of an order ---- */

static void add_event(struct buf *ret, const struct pg_result *rows, int i) {
    char time[CLOCK_TEXT_SIZE];
    buf_add_str(ret, i ? STR(",{\"id\":") : STR("{\"id\":"));
    buf_add_json_string(ret, pg_get_str(rows, i, 0));
    buf_add_str(ret, STR(",\"type\":"));
    buf_add_json_string(ret, pg_get_str(rows, i, 1));
    clock_format(pg_get_time(rows, i, 2), time);
    buf_printf(ret, ",\"time\":\"%s\",\"topic\":", time);
    buf_add_json_string(ret, pg_get_str(rows, i, 3));
    buf_printf(ret, ",\"partition\":%lld,\"offset\":%lld,\"event\":", (long long)pg_get_i64(rows, i, 4),
               (long long)pg_get_i64(rows, i, 5));
    buf_add_str(ret, pg_get_str(rows, i, 6));
    buf_add_char(ret, '}');
}

bool views_pg_order_events(struct views_pg *pg, struct str order_id, struct buf *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    if (!id_valid(order_id)) {
        buf_add_str(ret, STR("[]"));
        return true;
    }
    pg_add_text(&params, order_id);
    if (!query(pg,
               "SELECT id, type, time, topic, partition, \"offset\", event FROM view.order_events "
               "WHERE order_id = $1::uuid ORDER BY time, topic COLLATE \"C\", partition, \"offset\"",
               &params, &rows, err))
        return false;
    buf_add_char(ret, '[');
    for (int i = 0; i < pg_rows(rows); i++)
        add_event(ret, rows, i);
    buf_add_char(ret, ']');
    return true;
}
