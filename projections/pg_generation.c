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

enum { LOCK_PATIENCE_US = 3 * 1000 * 1000 };

const char pg_generation_settings[] =
    "SET synchronous_commit = off; SET jit = off; SET lock_timeout = '10s'; "
    "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET work_mem = '64MB'; "
    "SET maintenance_work_mem = '256MB'; SET client_min_messages = error";

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
    if (!pg_open(options->url, pg_generation_settings, &generation->pg, err) ||
        !projections_migrate(generation->pg, err) || !lock(generation, err) ||
        !look_for_leftovers(generation, ret_filled, note, err) || !next_number(generation, err)) {
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
                                                   .fill_begin = pg_generation_fill_begin,
                                                   .fill_facts = pg_generation_fill_facts,
                                                   .fill_row = pg_generation_fill_row,
                                                   .fill_positions = pg_generation_fill_positions,
                                                   .fill_end = pg_generation_fill_end,
                                                   .finish = pg_generation_finish,
                                                   .store_open = generation_store_open,
                                                   .compare = pg_generation_compare,
                                                   .swap = generation_swap,
                                                   .discard = generation_discard};
