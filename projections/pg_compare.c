/* The live generation and the next one, row for row, in one snapshot in which both stand at the same place of the log.
 */
#include <inttypes.h>

#include "core/codec/avro.h"
#include "projections/pg_generation.h"

enum { PAGE = 1000 };

/* A row of these holds several facts, as they came together: what a view shows of them is compared. */
static const struct {
    const char *table, *view, *keys;
} folded[] = {{"order_history", "order_events", "order_id,topic,partition,offset"},
              {"order_goods", "order_lines", "order_id,line_no"},
              {"stock_records", "stock_ledger", "location,sku,version"}};

struct comparison {
    struct generation *generation;
    const struct generation_host *host;
    struct pg *pg;
    struct arena arena; /* of a page */
    struct str table;
    const struct view *view; /* the table holds its rows' bytes; NULL: of none */
};

/* A session whose snapshot shows both where the hold brought them; they may move on after that. */
static bool snapshot(struct comparison *c, struct err *err) {
    if (!pg_open(c->generation->options.url, "SET jit = off; SET work_mem = '128MB'; SET enable_nestloop = off", &c->pg,
                 err))
        return false;
    if (!pg_generation_hold(c->generation, err))
        return false;
    bool ok = c->host->advance(c->host->user, err) &&
              pg_script(c->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", err) &&
              pg_script(c->pg, "SELECT 1", err);
    pg_generation_release(c->generation);
    return ok;
}

/* ---- rows ---- */

/* Bytes may differ though they say the same: an earlier version of the schema wrote them. */
static bool bytes_differ(struct comparison *c, struct str live, struct str next, struct buf *what) {
    const struct schema_subject *subject = schema_subject_find(str_from(c->view->subject));
    const struct schema_type *type = subject->current->branches[0].type;
    void *a = arena_alloc(&c->arena, c->view->row_size), *b = arena_alloc(&c->arena, c->view->row_size);
    struct err err = {0};
    if (str_eq(live, next))
        return false;
    if (!state_decode(subject, live, &c->arena, a, &err) || !state_decode(subject, next, &c->arena, b, &err)) {
        buf_printf(what, "the row's bytes: %s", err.detail);
        return true;
    }
    if (avro_equal(type, a, b))
        return false;
    BUF_AUTO path = {0};
    avro_difference(type, a, b, &path);
    buf_printf(what, "%s differs in the row's bytes", path.ptr ? path.ptr : "something");
    return true;
}

static void row_differs(struct comparison *c, const struct pg_result *page, int i) {
    BUF_AUTO what = {0};
    struct str columns = pg_get_str(page, i, 2);
    bool both = !pg_get_bool(page, i, 1) && !pg_get_bool(page, i, 5);
    buf_add_str(&what, columns);
    if (pg_get_bool(page, i, 1))
        buf_printf(&what, "is missing in the live one");
    else if (pg_get_bool(page, i, 5))
        buf_printf(&what, "is in the live one, and the log knows nothing of it");
    else if (c->view && !columns.len && !bytes_differ(c, pg_get_str(page, i, 3), pg_get_str(page, i, 4), &what))
        return;
    if (both && !what.len)
        buf_printf(&what, "differs");
    BUF_AUTO table = {0};
    buf_add_str(&table, c->table);
    c->host->differs(c->host->user, &(struct generation_difference){table.ptr, pg_get_str(page, i, 0), buf_str(&what)});
}

static bool pages_read(struct comparison *c, const char *fetch, struct err *err) {
    for (int count = PAGE; count == PAGE;) {
        PG_RESULT_AUTO *page = NULL;
        arena_reset(&c->arena);
        if (!pg_exec(c->pg, fetch, NULL, &page, err))
            return false;
        count = pg_rows(page);
        for (int i = 0; i < count; i++)
            row_differs(c, page, i);
        if (!c->host->tick(c->host->user, err))
            return false;
    }
    return true;
}

/* ---- tables ---- */

static bool key_columns(struct comparison *c, const char *known, struct pg_result **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    if (known) {
        pg_add_text(&params, str_from(known));
        return pg_exec(c->pg, "SELECT quote_ident(k) FROM unnest(string_to_array($1, ',')) k", &params, ret, err);
    }
    pg_add_text(&params, c->table);
    return pg_exec(c->pg,
                   "SELECT quote_ident(a.attname) FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid "
                   "AND a.attnum = ANY(x.indkey) WHERE x.indrelid = to_regclass('view.' || quote_ident($1)) "
                   "AND x.indisprimary ORDER BY array_position(x.indkey::int[], a.attnum::int)",
                   &params, ret, err);
}

/* Columns: the key, missing in the live one, what differs by column, both rows' bytes, missing in the next one. */
static const char *cursor_sql(struct comparison *c, const struct pg_result *keys, const char *rows) {
    BUF_AUTO key = {0}, join = {0};
    struct str first = pg_get_str(keys, 0, 0);
    for (int i = 0; i < pg_rows(keys); i++) {
        struct str name = pg_get_str(keys, i, 0);
        buf_printf(&key, "%scoalesce(l.%.*s, n.%.*s)::text", i ? ", " : "", STR_ARG(name), STR_ARG(name));
        buf_printf(&join, "%sl.%.*s = n.%.*s", i ? " AND " : "", STR_ARG(name), STR_ARG(name));
    }
    const char *where = rows ? " WHERE " : "";
    return pg_generation_sql(
        c->generation,
        "DECLARE c_%.*s NO SCROLL CURSOR FOR SELECT concat_ws('/', %s), l.%.*s IS NULL, "
        "(SELECT string_agg(format('%%s is %%s, by the log %%s', a.key, coalesce(left(a.value, 60), 'null'), "
        "coalesce(left(b.value, 60), 'null')), '; ' ORDER BY a.key) FROM jsonb_each_text(to_jsonb(l) - 'row') a "
        "JOIN jsonb_each_text(to_jsonb(n) - 'row') b ON a.key = b.key WHERE a.value IS DISTINCT FROM b.value), "
        "%s, n.%.*s IS NULL FROM (SELECT * FROM view.%.*s%s%s) l FULL JOIN (SELECT * FROM view_next.%.*s%s%s) n ON %s "
        "WHERE l.%.*s IS NULL OR n.%.*s IS NULL OR l *<> n",
        STR_ARG(c->table), key.ptr, STR_ARG(first), c->view ? "l.\"row\", n.\"row\"" : "NULL::bytea, NULL::bytea",
        STR_ARG(first), STR_ARG(c->table), where, rows ? rows : "", STR_ARG(c->table), where, rows ? rows : "",
        join.ptr, STR_ARG(first), STR_ARG(first));
}

static bool table_compare(struct comparison *c, const char *rows, const char *known, struct err *err) {
    PG_RESULT_AUTO *keys = NULL, *count = NULL;
    if (!key_columns(c, known, &keys, err))
        return false;
    if (!pg_rows(keys))
        return err_set(err, ERR_INTERNAL, "table view.%.*s has no primary key", STR_ARG(c->table));
    if (!pg_exec(c->pg,
                 pg_generation_sql(c->generation, "SELECT count(*) FROM view_next.%.*s%s%s", STR_ARG(c->table),
                                   rows ? " WHERE " : "", rows ? rows : ""),
                 NULL, &count, err))
        return false;
    c->host->compared(c->host->user, pg_get_i64(count, 0, 0));
    return pg_script(c->pg, cursor_sql(c, keys, rows), err) &&
           pages_read(c, pg_generation_sql(c->generation, "FETCH %d FROM c_%.*s", PAGE, STR_ARG(c->table)), err);
}

static bool is_comparable(const struct comparison *c) {
    bool all = true;
    for (size_t i = 0; i < c->generation->options.view_count; i++)
        all = all && c->host->comparable(c->host->user, c->generation->options.views[i]);
    return all;
}

static bool tables_compare(struct comparison *c, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(c->pg,
                 "SELECT tablename::text FROM pg_tables WHERE schemaname = 'view_next' AND tablename NOT IN "
                 "('positions', 'parked', 'schema_version', 'rebuild', 'rebuild_index') ORDER BY 1",
                 NULL, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        const char *part, *keys = NULL;
        c->table = pg_get_str(rows, i, 0);
        c->view = view_find(c->table);
        if (!pg_generation_table_is_made(c->generation, c->table, &part))
            continue;
        for (size_t f = 0; f < sizeof(folded) / sizeof(folded[0]); f++)
            if (str_eq(c->table, str_from(folded[f].table))) {
                c->table = str_from(folded[f].view);
                keys = folded[f].keys;
            }
        if (!table_compare(c, part, keys, err))
            return err_wrap(err, "comparing table %.*s", STR_ARG(c->table));
    }
    return true;
}

bool pg_generation_compare(struct generation *generation, const struct generation_host *host, struct err *err) {
    struct comparison c = {.generation = generation, .host = host};
    arena_init(&c.arena);
    bool ok = snapshot(&c, err) && (!is_comparable(&c) || tables_compare(&c, err));
    pg_close(c.pg);
    arena_free(&c.arena);
    return ok;
}
