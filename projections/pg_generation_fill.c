/* Filling PostgreSQL's next generation: rows by COPY into tables without indexes, which are made when the rows are
 * there. What other views have is taken from the live generation. */
#include "core/codec/avro.h"
#include "core/store/pg_copy.h"
#include "projections/migrate.h"
#include "projections/pg_generation.h"
#include "projections/pg_view.h"

/* Which view's projector writes a table, and which rows of it if not all. */
static const struct {
    const char *table;
    const struct view *view;
    const char *rows;
} tables[] = {
    {"carts", &view_carts, NULL},
    {"cart_lines", &view_carts, NULL},
    {"orders", &view_orders, NULL},
    {"order_goods", &view_orders, NULL},
    {"payments", &view_orders, NULL},
    {"shipments", &view_orders, NULL},
    {"order_history", &view_orders, NULL},
    {"sales_by_hour", &view_orders, NULL},
    {"stock_records", &view_orders, "topic = '" TOPIC_RESERVATION_EVENTS "'"},
    {"products", &view_products, NULL},
    {"stock", &view_products, NULL},
    {"recommendations", &view_recommendations, NULL},
    {"stock_records", &view_products, "topic <> '" TOPIC_RESERVATION_EVENTS "'"},
};
enum { TABLE_COUNT = sizeof(tables) / sizeof(tables[0]) };

/* Filled by COPY; sales_by_hour is added up, so its statements are run. */
static const char *const copied[] = {
    "carts",         "cart_lines", "orders", "order_goods", "payments",        "shipments", "order_history",
    "stock_records", "products",   "stock",  "parked",      "recommendations", NULL};

static bool is_made(const struct generation *generation, const struct view *view) {
    for (size_t i = 0; i < generation->options.view_count; i++)
        if (generation->options.views[i] == view)
            return true;
    return false;
}

bool pg_generation_table_is_made(const struct generation *generation, struct str table, const char **ret_rows) {
    size_t made = 0, all = 0;
    *ret_rows = NULL;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (!str_eq(table, str_from(tables[i].table)))
            continue;
        all++;
        if (is_made(generation, tables[i].view)) {
            made++;
            *ret_rows = tables[i].rows;
        }
    }
    if (made == all)
        *ret_rows = NULL;
    return made > 0;
}

/* What indexes and keys there are is written down, to be made when the rows are there. Sales keep theirs: they are few,
 * and added up as they come. */
static const char without_indexes[] =
    "CREATE TABLE view_next.rebuild (made_by text NOT NULL, filled boolean NOT NULL);"
    "CREATE TABLE view_next.rebuild_index (place int PRIMARY KEY, ddl text NOT NULL);"
    "INSERT INTO view_next.rebuild_index SELECT row_number() OVER (ORDER BY keys DESC, relname, ddl), ddl FROM ("
    " SELECT 1 AS keys, c.relname, format('ALTER TABLE view_next.%I ADD CONSTRAINT %I %s', c.relname, k.conname,"
    "  pg_get_constraintdef(k.oid)) AS ddl FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
    "  WHERE c.relnamespace = 'view_next'::regnamespace AND k.contype IN ('p', 'u')"
    " UNION ALL SELECT 0, c.relname, pg_get_indexdef(x.indexrelid) FROM pg_index x"
    "  JOIN pg_class c ON c.oid = x.indrelid WHERE c.relnamespace = 'view_next'::regnamespace"
    "  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid)"
    ") d WHERE relname NOT IN ('positions', 'schema_version', 'rebuild', 'rebuild_index', 'sales_by_hour');"
    "DO $$ DECLARE d record; BEGIN"
    " FOR d IN SELECT format('ALTER TABLE view_next.%I DROP CONSTRAINT %I', c.relname, k.conname) AS sql"
    "  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
    "  WHERE c.relnamespace = 'view_next'::regnamespace AND k.contype IN ('p', 'u')"
    "  AND c.relname NOT IN ('positions', 'schema_version', 'rebuild', 'rebuild_index', 'sales_by_hour')"
    " LOOP EXECUTE d.sql; END LOOP;"
    " FOR d IN SELECT format('DROP INDEX view_next.%I', i.relname) AS sql FROM pg_index x"
    "  JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid"
    "  WHERE c.relnamespace = 'view_next'::regnamespace"
    "  AND c.relname NOT IN ('positions', 'schema_version', 'rebuild', 'rebuild_index', 'sales_by_hour')"
    " LOOP EXECUTE d.sql; END LOOP; END $$;"
    /* Whoever was given a right by hand, beyond what the migrations give, keeps it. */
    "DO $$ DECLARE g record; BEGIN"
    " FOR g IN SELECT format('GRANT %s ON view_next.%I TO %s', a.privilege_type, c.relname,"
    "  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END) AS sql"
    "  FROM pg_class c CROSS JOIN aclexplode(c.relacl) a WHERE c.relnamespace = 'view'::regnamespace"
    "  AND c.relkind IN ('r', 'v') AND a.grantee <> c.relowner"
    "  AND to_regclass(format('view_next.%I', c.relname)) IS NOT NULL"
    " UNION ALL SELECT format('GRANT %s ON SCHEMA view_next TO %s', a.privilege_type,"
    "  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)"
    "  FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a WHERE n.nspname = 'view' AND a.grantee <> n.nspowner"
    " LOOP EXECUTE g.sql; END LOOP; END $$;";

static bool every_table_is_known(struct generation *generation, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(generation->pg,
                 "SELECT relname::text FROM pg_class WHERE relnamespace = 'view_next'::regnamespace AND relkind = 'r' "
                 "AND relname NOT IN ('positions', 'parked', 'schema_version', 'rebuild', 'rebuild_index')",
                 NULL, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        bool known = false;
        for (size_t k = 0; k < TABLE_COUNT; k++)
            known |= str_eq(pg_get_str(rows, i, 0), str_from(tables[k].table));
        if (!known)
            return err_set(err, ERR_INTERNAL, "a rebuild does not know how table view.%.*s is made",
                           STR_ARG(pg_get_str(rows, i, 0)));
    }
    return true;
}

/* Views that are not made anew are taken as they are, all as of one moment. */
static bool carry_over(struct generation *generation, struct err *err) {
    BUF_AUTO sql = {0};
    buf_printf(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ;");
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (!is_made(generation, tables[i].view))
            buf_printf(&sql, "INSERT INTO view_next.%s SELECT * FROM view.%s%s%s;", tables[i].table, tables[i].table,
                       tables[i].rows ? " WHERE " : "", tables[i].rows ? tables[i].rows : "");
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (!is_made(generation, views_all[i]))
            buf_printf(&sql,
                       "INSERT INTO view_next.parked SELECT * FROM view.parked WHERE service = 'view-%s';"
                       "INSERT INTO view_next.positions SELECT * FROM view.positions WHERE service = 'view-%s';",
                       views_all[i]->name, views_all[i]->name);
    buf_printf(&sql, "COMMIT;");
    if (pg_script(generation->pg, sql.ptr, err))
        return true;
    pg_rollback(generation->pg);
    return false;
}

/* COPY FREEZE: rows need no later visit. It asks for a table that was truncated in the same transaction. */
static bool begin_copy(struct generation *generation, struct err *err) {
    bool all = generation->options.view_count == VIEW_COUNT;
    BUF_AUTO truncate = {0};
    if (!pg_open(generation->options.url, pg_generation_settings, &generation->fill, err))
        return false;
    pg_alias_schema(generation->fill, "view", "view_next");
    buf_printf(&truncate, "TRUNCATE ");
    for (const char *const *table = copied; *table; table++)
        buf_printf(&truncate, "%sview_next.%s", table == copied ? "" : ", ", *table);
    return pg_begin(generation->fill, err) && (!all || pg_script(generation->fill, truncate.ptr, err)) &&
           pg_copy_begin(generation->fill, "view_next", copied, all ? ", FREEZE" : "", &generation->copy, err);
}

bool pg_generation_fill_begin(struct generation *generation, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, generation->made_by);
    return projections_migrate_schema(generation->pg, "view_next", err) &&
           pg_script(generation->pg, without_indexes, err) && every_table_is_known(generation, err) &&
           pg_exec(generation->pg, "INSERT INTO view_next.rebuild (made_by, filled) VALUES ($1, false)", &params, NULL,
                   err) &&
           (generation->options.view_count == VIEW_COUNT || carry_over(generation, err)) && begin_copy(generation, err);
}

bool pg_generation_fill_facts(struct generation *generation, const struct view *view, const struct shard_save *shards,
                              size_t count, struct err *err) {
    const struct pg_view *pg_view = pg_view_of(view);
    return (!pg_view->add_facts || pg_view->add_facts(generation->fill, shards, count, err)) &&
           pg_parked_save(generation->fill, view, shards, count, err) && pg_copy_flush(generation->copy, false, err);
}

/* Rows that wait, of one view: a statement's worth. */
static bool flush_rows(struct generation *generation, struct err *err) {
    struct shard_save save = {.rows = generation->rows, .row_count = generation->row_count};
    if (!generation->row_count)
        return true;
    generation->row_count = 0;
    bool ok = pg_view_of(generation->rows_of)->fill_rows(generation->fill, &save, 1, err) &&
              pg_copy_flush(generation->copy, false, err);
    arena_reset(&generation->arena);
    return ok;
}

bool pg_generation_fill_row(struct generation *generation, const struct view *view, int32_t shard, struct str key,
                            struct str bytes, struct err *err) {
    struct arena *arena = &generation->arena;
    if ((generation->rows_of != view || generation->row_count == GENERATION_ROWS_MAX) && !flush_rows(generation, err))
        return false;
    struct view_row *row = arena_new(arena, struct view_row);
    *row = (struct view_row){.key = arena_dup(arena, key), .shard = shard, .changed = UINT32_MAX};
    row->value = arena_alloc(arena, view->row_size);
    if (!state_decode(schema_subject_find(str_from(view->subject)), arena_dup(arena, bytes), arena, row->value, err))
        return false;
    generation->rows_of = view;
    generation->rows[generation->row_count++] = row;
    return true;
}

bool pg_generation_fill_positions(struct generation *generation, const struct view *view, int32_t shard,
                                  struct str positions, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO service = {0};
    buf_printf(&service, "view-%s", view->name);
    pg_add_text(&params, buf_str(&service));
    pg_add_i64(&params, shard);
    pg_add_bytes(&params, positions);
    return pg_exec(generation->fill, "INSERT INTO view.positions (service, shard, positions) VALUES ($1, $2, $3)",
                   &params, NULL, err);
}

bool pg_generation_fill_end(struct generation *generation, struct err *err) {
    bool ok = flush_rows(generation, err) && pg_copy_flush(generation->copy, true, err) &&
              pg_script(generation->fill, "UPDATE view_next.rebuild SET filled = true", err) &&
              pg_commit(generation->fill, err);
    pg_copy_end(generation->copy);
    pg_close(generation->fill);
    generation->copy = NULL;
    generation->fill = NULL;
    return ok;
}

/* Each with the word that it is done, so that it can be gone on with. */
bool pg_generation_finish(struct generation *generation, const struct generation_host *host, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(generation->pg, "SELECT place, ddl FROM view_next.rebuild_index ORDER BY place", NULL, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        BUF_AUTO sql = {0};
        buf_printf(&sql, "BEGIN; %.*s; DELETE FROM view_next.rebuild_index WHERE place = %lld; COMMIT",
                   STR_ARG(pg_get_str(rows, i, 1)), (long long)pg_get_i64(rows, i, 0));
        if (!pg_script(generation->pg, sql.ptr, err)) {
            pg_rollback(generation->pg);
            return err_wrap(err, "%.*s", STR_ARG(pg_get_str(rows, i, 1)));
        }
        if (!host->tick(host->user, err))
            return false;
    }
    BUF_AUTO analyze = {0};
    for (const char *const *table = copied; *table; table++)
        buf_printf(&analyze, "ANALYZE view_next.%s;", *table);
    return !pg_rows(rows) || pg_script(generation->pg, analyze.ptr, err);
}
