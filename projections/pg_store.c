/* Read models in PostgreSQL: one transaction for all that a poll changed in all shards. It may be lost with the server
 * (synchronous_commit = off): rows and positions go together, and are then made again. */
#include <stdlib.h>

#include "core/base/map.h"
#include "core/codec/avro.h"
#include "core/store/pg_copy.h"
#include "projections/migrate.h"
#include "projections/pg_view.h"

struct projector_store {
    const struct pg_view *view;
    char *url;
    char *schema; /* a generation that is being built; NULL: the live one, view */
    char *service;
    struct pg *pg; /* NULL: not connected */
    struct pg_copy *copy;
};

/* Plans are made once, while tables may still be empty: without enable_seqscan = off they would scan for ever. */
static const char settings[] = "SET synchronous_commit = off; SET enable_seqscan = off; SET jit = off; "
                               "SET plan_cache_mode = force_generic_plan; SET lock_timeout = '10s'; "
                               "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '5s'";

const struct pg_view *pg_view_of(const struct view *view) {
    static const struct pg_view *const all[VIEW_COUNT] = {&pg_view_carts, &pg_view_orders, &pg_view_products,
                                                          &pg_view_recommendations};
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (all[i]->view == view)
            return all[i];
    abort(); /* a view of views_all without a part in PostgreSQL */
}

static const char *const *more_topics(const struct view *view) {
    return pg_view_of(view)->more_topics;
}

static bool store_open(const char *url, const struct view *view, struct projector_store **ret, struct err *err) {
    if (!url || !*url)
        return err_set(err, ERR_CONFIG, "no URL of a PostgreSQL database");
    BUF_AUTO service = {0};
    struct projector_store *store = mem_zalloc(sizeof(*store));
    buf_printf(&service, "view-%s", view->name);
    store->view = pg_view_of(view);
    store->url = mem_strdup(str_from(url));
    store->service = mem_strdup(buf_str(&service));
    *ret = store;
    return true;
}

bool projector_postgres_open_building(const char *url, const struct view *view, const char *schema,
                                      struct projector_store **ret, struct err *err) {
    if (!store_open(url, view, ret, err))
        return false;
    (*ret)->schema = mem_strdup(str_from(schema));
    return true;
}

static void disconnect(struct projector_store *store) {
    pg_copy_end(store->copy);
    store->copy = NULL;
    pg_close(store->pg);
    store->pg = NULL;
}

static void store_close(struct projector_store *store) {
    disconnect(store);
    free(store->url);
    free(store->schema);
    free(store->service);
    free(store);
}

/* Tables that a record adds to, and nothing changes: their rows are new, and come by COPY. */
static const char *const copied[] = {"order_history", "order_goods", "stock_records", NULL};

/* After any failure the next try begins with a new connection and a look at the schema: whatever was wrong with the old
 * one, or with tables that somebody dropped, is over then. */
static bool connected(struct projector_store *store, struct err *err) {
    if (store->pg)
        return true;
    if (!pg_open(store->url, settings, &store->pg, err))
        return false;
    const char *schema = store->schema ? store->schema : "view";
    if (store->schema)
        pg_alias_schema(store->pg, "view", schema);
    if (projections_migrate_schema(store->pg, schema, err) &&
        pg_copy_begin(store->pg, schema, copied, "", &store->copy, err)) {
        pg_copy_sort(store->copy);
        return true;
    }
    disconnect(store);
    return false;
}

/* ---- where a shard stands ---- */

static bool load_parked(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                        struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(store->service));
    pg_add_i64(&params, shard);
    if (!pg_exec(store->pg, "SELECT DISTINCT subject FROM view.parked WHERE service = $1 AND shard = $2", &params,
                 &rows, err))
        return false;
    ret->parked_count = (size_t)pg_rows(rows);
    ret->parked = arena_array(arena, struct str, ret->parked_count);
    for (int i = 0; i < pg_rows(rows); i++)
        ret->parked[i] = arena_dup(arena, pg_get_str(rows, i, 0));
    return true;
}

static bool load_positions(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                           struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(store->service));
    pg_add_i64(&params, shard);
    if (!pg_exec(store->pg, "SELECT positions FROM view.positions WHERE service = $1 AND shard = $2", &params, &rows,
                 err))
        return false;
    if (pg_rows(rows))
        ret->positions = arena_dup(arena, pg_get_str(rows, 0, 0));
    return true;
}

/* The positions first: what changes in between changes them too, and then the first save finds out. */
static bool store_load(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                       struct err *err) {
    if (!connected(store, err))
        return false;
    if (load_positions(store, shard, arena, ret, err) &&
        (!ret->positions.ptr || load_parked(store, shard, arena, ret, err)))
        return true;
    disconnect(store);
    return false;
}

/* ---- rows ---- */

static bool row_decode(const struct view *view, struct map *by_key, const struct pg_result *rows, int i,
                       struct arena *arena, struct err *err) {
    struct str key = pg_get_str(rows, i, 0), bytes = arena_dup(arena, pg_get_str(rows, i, 1));
    struct view_row *row = map_get(by_key, key);
    void *value = arena_alloc(arena, view->row_size);
    if (!state_decode(schema_subject_find(str_from(view->subject)), bytes, arena, value, err))
        return err_wrap(err, "the row of %s %.*s", view->key_name, STR_ARG(key));
    if (row)
        row->value = value;
    return true;
}

static bool load_rows(struct projector_store *store, struct map *by_key, struct pg_params *params, struct arena *arena,
                      struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(store->pg, store->view->load_sql, params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        if (!row_decode(store->view->view, by_key, rows, i, arena, err))
            return false;
    return true;
}

static bool store_load_rows(struct projector_store *store, struct view_row *const *rows, size_t count,
                            struct arena *arena, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    struct map by_key = {0};
    if (!connected(store, err))
        return false;
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < count; i++) {
        pg_array_str(&params, 0, rows[i]->key);
        *map_put(&by_key, rows[i]->key) = rows[i];
    }
    bool ok = load_rows(store, &by_key, &params, arena, err);
    map_free(&by_key, NULL);
    if (!ok)
        disconnect(store);
    return ok;
}

/* ---- saving ---- */

/* Moves the shards on that have positions, or (begins) those that have none yet. *ret_moved: how many it was. */
static bool move_on(struct projector_store *store, const struct shard_save *shards, size_t count, bool begins,
                    const char *sql, int64_t *ret_moved, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *result = NULL;
    size_t wanted = 0;
    pg_add_text(&params, str_from(store->service));
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_BYTES);
    pg_add_array(&params, PG_BYTES);
    for (size_t i = 0; i < count; i++) {
        if ((shards[i].expected.ptr == NULL) != begins)
            continue;
        pg_array_i64(&params, 1, shards[i].shard);
        pg_array_str(&params, 2, shards[i].positions);
        pg_array_str(&params, 3, shards[i].expected);
        wanted++;
    }
    if (!wanted)
        return true;
    if (!pg_exec(store->pg, sql, &params, &result, err))
        return false;
    *ret_moved += pg_affected(result);
    return true;
}

static bool save_positions(struct projector_store *store, const struct shard_save *shards, size_t count,
                           bool *ret_conflict, struct err *err) {
    int64_t moved = 0;
    if (!move_on(store, shards, count, false,
                 "UPDATE view.positions p SET positions = n.positions FROM UNNEST($2::int[], $3::bytea[], $4::bytea[]) "
                 "AS n(shard, positions, expected) "
                 "WHERE p.service = $1 AND p.shard = n.shard AND p.positions = n.expected",
                 &moved, err) ||
        !move_on(store, shards, count, true,
                 "INSERT INTO view.positions (service, shard, positions) SELECT $1, n.shard, n.positions "
                 "FROM UNNEST($2::int[], $3::bytea[], $4::bytea[]) AS n(shard, positions, expected) "
                 "ON CONFLICT DO NOTHING",
                 &moved, err))
        return false;
    *ret_conflict = moved != (int64_t)count;
    return true;
}

/* What was kept for these shards beside rows, before they lost their positions, will be made again. It may be much. */
static bool forget_begun(struct projector_store *store, const struct shard_save *shards, size_t count,
                         struct err *err) {
    PG_PARAMS_AUTO begins = {0}, parked = {0};
    size_t begun = 0;
    pg_add_array(&begins, PG_I64);
    pg_add_array(&parked, PG_I64);
    pg_add_text(&parked, str_from(store->service));
    for (size_t i = 0; i < count; i++)
        if (!shards[i].expected.ptr) {
            pg_array_i64(&begins, 0, shards[i].shard);
            pg_array_i64(&parked, 0, shards[i].shard);
            begun++;
        }
    if (!begun)
        return true;
    bool ok = pg_script(store->pg, "SET LOCAL statement_timeout = 0", err);
    for (const char *const *sql = store->view->begin_sql; ok && *sql; sql++)
        ok = pg_exec(store->pg, *sql, &begins, NULL, err);
    return ok && pg_exec(store->pg, "DELETE FROM view.parked WHERE shard = ANY($1::int[]) AND service = $2", &parked,
                         NULL, err);
}

static void add_parked(struct pg_params *params, int32_t shard, const struct state_parked *parked) {
    pg_array_i64(params, 1, shard);
    pg_array_str(params, 2, parked->topic);
    pg_array_i64(params, 3, parked->partition);
    pg_array_i64(params, 4, parked->offset);
    pg_array_i64(params, 5, parked->time);
    pg_array_str(params, 6, parked->subject);
    pg_array_str(params, 7, parked->id);
    pg_array_str(params, 8, parked->type);
    pg_array_str(params, 9, parked->reason);
    pg_array_str(params, 10, parked->record);
}

bool pg_parked_save(struct pg *pg, const struct view *view, const struct shard_save *shards, size_t count,
                    struct err *err) {
    static const enum pg_type types[] = {PG_I64,  PG_TEXT, PG_I64,  PG_I64,  PG_TIME,
                                         PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO service = {0};
    size_t records = 0;
    buf_printf(&service, "view-%s", view->name);
    pg_add_text(&params, buf_str(&service));
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < shards[i].parked_count; k++, records++)
            add_parked(&params, shards[i].shard, &shards[i].parked[k]);
    return !records ||
           pg_exec(pg,
                   "INSERT INTO view.parked (service, shard, topic, partition, \"offset\", at, subject, id, type, "
                   "reason, record) SELECT $1, n.* FROM UNNEST($2::int[], $3::text[], $4::int[], $5::bigint[], "
                   "$6::timestamptz[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[]) AS n",
                   &params, NULL, err);
}

static bool save_all(struct projector_store *store, const struct shard_save *shards, size_t count, bool *ret_conflict,
                     struct err *err) {
    if (!pg_begin(store->pg, err) || !save_positions(store, shards, count, ret_conflict, err))
        return false;
    if (*ret_conflict) {
        pg_rollback(store->pg);
        return true;
    }
    return forget_begun(store, shards, count, err) &&
           pg_parked_save(store->pg, store->view->view, shards, count, err) &&
           store->view->save(store->pg, shards, count, err) && pg_copy_flush(store->copy, true, err) &&
           pg_commit(store->pg, err);
}

static bool store_save(struct projector_store *store, struct shard_save *shards, size_t count, struct arena *arena,
                       struct err *err) {
    (void)arena;
    bool conflict = false;
    if (!connected(store, err))
        return false;
    if (!save_all(store, shards, count, &conflict, err)) {
        disconnect(store);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        shards[i].conflict = conflict;
    return true;
}

const struct projector_store_ops projector_postgres = {.name = "postgres",
                                                       .more_topics = more_topics,
                                                       .open = store_open,
                                                       .close = store_close,
                                                       .load = store_load,
                                                       .load_rows = store_load_rows,
                                                       .save = store_save};
