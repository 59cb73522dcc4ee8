/* The next generation of PostgreSQL's views: the schema view_next, filled by COPY without indexes, indexed, compared in
 * one snapshot with the live one, and renamed to view, in one transaction. What was live is view_old until it is
 * dropped.
 *
 * Renaming a schema takes no lock on its tables: whoever reads goes on, in the old tables or in the new ones, and
 * statements that were prepared find the new ones by themselves. The projectors are kept out for that moment by a lock
 * on the table of positions, which each of their transactions begins with; then they find other positions than they
 * expect, and read anew. */
#include "projections/pg_generation.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/codec/avro.h"
#include "core/store/pg_copy.h"
#include "projections/migrate.h"
#include "projections/pg_view.h"

enum { LOCK_PATIENCE_US = 3 * 1000 * 1000, FILL_ROWS = 1000 };

static const char settings[] =
    "SET synchronous_commit = off; SET jit = off; SET lock_timeout = '10s'; "
    "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET work_mem = '64MB'; "
    "SET maintenance_work_mem = '256MB'; SET client_min_messages = error";

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

/* ---- statements made here: the connection knows them by their address, so they live as long ---- */

const char *pg_generation_sql(struct generation *generation, const char *format, ...) {
    BUF_AUTO text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    struct pg_text *made = mem_alloc(sizeof(*made) + text.len + 1);
    memcpy(made->text, text.ptr, text.len + 1);
    made->next = generation->texts;
    generation->texts = made;
    return made->text;
}

static bool schema_exists(struct generation *generation, const char *schema, bool *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    pg_add_text(&params, str_from(schema));
    if (!pg_exec(generation->pg, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", &params, &row, err))
        return false;
    *ret = pg_get_bool(row, 0, 0);
    return true;
}

/* ---- opening: one rebuild at a time, and what an earlier one left ---- */

/* A rebuild that was killed holds the lock until the server has noticed. */
static bool lock(struct generation *generation, struct err *err) {
    for (int64_t give_up_us = clock_monotonic_us() + LOCK_PATIENCE_US;; clock_sleep_ms(50)) {
        PG_RESULT_AUTO *row = NULL;
        if (!pg_exec(generation->pg, "SELECT pg_try_advisory_lock(4242010)", NULL, &row, err))
            return false;
        if (pg_get_bool(row, 0, 0))
            return true;
        if (clock_monotonic_us() > give_up_us)
            return err_set(err, ERR_FENCED, "another rebuild of PostgreSQL's views is at work");
    }
}

static bool drop_schema(struct generation *generation, const char *schema, struct err *err) {
    BUF_AUTO sql = {0};
    buf_printf(&sql, "DROP SCHEMA IF EXISTS %s CASCADE", schema);
    return pg_script(generation->pg, sql.ptr, err);
}

/* Filled to the end, by the same program, for the same views. */
static bool is_usable(struct generation *generation, bool *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *exists = NULL, *row = NULL;
    *ret = false;
    if (!pg_exec(generation->pg, "SELECT to_regclass('view_next.rebuild') IS NOT NULL", NULL, &exists, err))
        return false;
    if (!pg_get_bool(exists, 0, 0))
        return true;
    pg_add_text(&params, generation->made_by);
    if (!pg_exec(generation->pg, "SELECT count(*) FROM view_next.rebuild WHERE made_by = $1 AND filled", &params, &row,
                 err))
        return false;
    *ret = pg_get_i64(row, 0, 0) == 1;
    return true;
}

static bool look_for_leftovers(struct generation *generation, bool *ret_filled, struct buf *note, struct err *err) {
    bool old = false, next = false;
    *ret_filled = false;
    if (!schema_exists(generation, "view_old", &old, err) || !schema_exists(generation, "view_next", &next, err))
        return false;
    if (old) {
        buf_printf(note, "dropping view_old, which an earlier rebuild left; ");
        if (!drop_schema(generation, "view_old", err))
            return err_wrap(err, "dropping the schema view_old, which somebody still reads");
    }
    if (!next)
        return true;
    if (!is_usable(generation, ret_filled, err))
        return false;
    buf_printf(note, *ret_filled ? "going on with what an interrupted rebuild had filled; "
                                 : "an interrupted rebuild left view_next unfinished: beginning anew; ");
    return *ret_filled || drop_schema(generation, "view_next", err);
}

/* The highest of the live shards', and one. */
static bool next_number(struct generation *generation, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    struct arena arena;
    arena_init(&arena);
    generation->number = 2;
    bool ok = pg_exec(generation->pg, "SELECT positions FROM view.positions", NULL, &rows, err);
    for (int i = 0; ok && i < pg_rows(rows); i++) {
        struct state_positions positions;
        struct err ignored;
        if (state_decode(schema_subject_find(STR("state/positions")), pg_get_str(rows, i, 0), &arena, &positions,
                         &ignored) &&
            positions.generation >= generation->number)
            generation->number = positions.generation + 1;
    }
    arena_free(&arena);
    return ok;
}

static void generation_close(struct generation *generation) {
    if (!generation)
        return;
    pg_copy_end(generation->copy);
    pg_close(generation->fill);
    pg_close(generation->pg);
    while (generation->texts) {
        struct pg_text *text = generation->texts;
        generation->texts = text->next;
        free(text);
    }
    buf_free(&generation->made_by_text);
    arena_free(&generation->arena);
    free(generation);
}

static bool generation_open(const struct generation_options *options, struct generation **ret, bool *ret_filled,
                            struct buf *note, struct err *err) {
    struct generation *generation = mem_zalloc(sizeof(*generation));
    generation->options = *options;
    arena_init(&generation->arena);
    buf_printf(&generation->made_by_text, "%.*s", STR_ARG(options->made_by));
    for (size_t i = 0; i < options->view_count; i++)
        buf_printf(&generation->made_by_text, " %s", options->views[i]->name);
    generation->made_by = buf_str(&generation->made_by_text);
    if (!pg_open(options->url, settings, &generation->pg, err) || !projections_migrate(generation->pg, err) ||
        !lock(generation, err) || !look_for_leftovers(generation, ret_filled, note, err) ||
        !next_number(generation, err)) {
        generation_close(generation);
        return false;
    }
    *ret = generation;
    return true;
}

static int32_t generation_number(const struct generation *generation) {
    return generation->number;
}

static bool generation_live(struct generation *generation, const struct view *view, int32_t shard, struct arena *arena,
                            struct str *ret_positions, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    struct str service = arena_printf(arena, "view-%s", view->name);
    pg_add_text(&params, service);
    pg_add_i64(&params, shard);
    if (!pg_exec(generation->pg, "SELECT positions FROM view.positions WHERE service = $1 AND shard = $2", &params,
                 &rows, err))
        return false;
    *ret_positions = pg_rows(rows) ? arena_dup(arena, pg_get_str(rows, 0, 0)) : STR_NULL;
    return true;
}

/* ---- filling ---- */

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
    if (!pg_open(generation->options.url, settings, &generation->fill, err))
        return false;
    pg_alias_schema(generation->fill, "view", "view_next");
    buf_printf(&truncate, "TRUNCATE ");
    for (const char *const *table = copied; *table; table++)
        buf_printf(&truncate, "%sview_next.%s", table == copied ? "" : ", ", *table);
    return pg_begin(generation->fill, err) && (!all || pg_script(generation->fill, truncate.ptr, err)) &&
           pg_copy_begin(generation->fill, "view_next", copied, all ? ", FREEZE" : "", &generation->copy, err);
}

static bool fill_begin(struct generation *generation, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, generation->made_by);
    return projections_migrate_schema(generation->pg, "view_next", err) &&
           pg_script(generation->pg, without_indexes, err) && every_table_is_known(generation, err) &&
           pg_exec(generation->pg, "INSERT INTO view_next.rebuild (made_by, filled) VALUES ($1, false)", &params, NULL,
                   err) &&
           (generation->options.view_count == VIEW_COUNT || carry_over(generation, err)) && begin_copy(generation, err);
}

static bool fill_facts(struct generation *generation, const struct view *view, const struct shard_save *shards,
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

static bool fill_row(struct generation *generation, const struct view *view, int32_t shard, struct str key,
                     struct str bytes, struct err *err) {
    struct arena *arena = &generation->arena;
    if ((generation->rows_of != view || generation->row_count == FILL_ROWS) && !flush_rows(generation, err))
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

static bool fill_positions(struct generation *generation, const struct view *view, int32_t shard, struct str positions,
                           struct err *err) {
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO service = {0};
    buf_printf(&service, "view-%s", view->name);
    pg_add_text(&params, buf_str(&service));
    pg_add_i64(&params, shard);
    pg_add_bytes(&params, positions);
    return pg_exec(generation->fill, "INSERT INTO view.positions (service, shard, positions) VALUES ($1, $2, $3)",
                   &params, NULL, err);
}

static bool fill_end(struct generation *generation, struct err *err) {
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
static bool finish(struct generation *generation, const struct generation_host *host, struct err *err) {
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

static bool generation_store_open(struct generation *generation, const struct view *view, struct projector_store **ret,
                                  struct err *err) {
    return projector_postgres_open_building(generation->options.url, view, "view_next", ret, err);
}

/* ---- holding the live one where it is, for a moment ---- */

/* Should this process be stopped meanwhile, the server takes the lock away. */
static const char hold_sql[] = "SET LOCAL idle_in_transaction_session_timeout = '10s'; "
                               "LOCK TABLE view.positions IN EXCLUSIVE MODE";

bool pg_generation_hold(struct generation *generation, struct err *err) {
    return pg_begin(generation->pg, err) &&
           (pg_script(generation->pg, hold_sql, err) || (pg_rollback(generation->pg), false));
}

void pg_generation_release(struct generation *generation) {
    pg_rollback(generation->pg);
}

static bool rename_schemas(struct generation *generation, struct err *err) {
    return pg_script(generation->pg,
                     "SET LOCAL synchronous_commit = on; DROP TABLE view_next.rebuild, view_next.rebuild_index;"
                     "ALTER SCHEMA view RENAME TO view_old; ALTER SCHEMA view_next RENAME TO view",
                     err) &&
           pg_commit(generation->pg, err);
}

static bool generation_swap(struct generation *generation, const struct generation_host *host, struct err *err) {
    if (!pg_generation_hold(generation, err))
        return false;
    if (host->advance(host->user, err) && rename_schemas(generation, err)) {
        generation->swapped = true;
        return true;
    }
    pg_generation_release(generation);
    return false;
}

/* Somebody who still reads the old tables is waited for, ten seconds. */
static bool generation_discard(struct generation *generation, const struct generation_host *host, struct buf *note,
                               struct err *err) {
    (void)host;
    struct err why = {0};
    if (!generation->swapped)
        return drop_schema(generation, "view_next", err);
    if (!drop_schema(generation, "view_old", &why))
        buf_printf(note, "schema view_old is still in use (%s): the next rebuild drops it; ", why.detail);
    return true;
}

const struct generation_ops generation_postgres = {.name = "postgres",
                                                   .store = &projector_postgres,
                                                   .swaps_all = true,
                                                   .open = generation_open,
                                                   .close = generation_close,
                                                   .number = generation_number,
                                                   .live = generation_live,
                                                   .fill_begin = fill_begin,
                                                   .fill_facts = fill_facts,
                                                   .fill_row = fill_row,
                                                   .fill_positions = fill_positions,
                                                   .fill_end = fill_end,
                                                   .finish = finish,
                                                   .store_open = generation_store_open,
                                                   .compare = pg_generation_compare,
                                                   .swap = generation_swap,
                                                   .discard = generation_discard};
