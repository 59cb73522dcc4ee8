#include "consumers/replay.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/base/map.h"
#include "core/codec/avro.h"

enum { REPLAY_TABLES_MAX = 4 };

/* The newest of each, by key; all of it in `arena`. */
struct replay {
    const struct decider *decider;
    struct arena arena;
    struct map rows[REPLAY_TABLES_MAX];
    struct map timers;  /* by key and name */
    struct map intents; /* by id; an empty one: it was answered */
};

/* ---- statements ---- */

/* One text a table, for as long as the program runs: connections know their statements by address. */
static const char *upsert_of(const char *table) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct map texts;
    pthread_mutex_lock(&lock);
    void **text = map_put(&texts, str_from(table));
    if (!*text) {
        BUF_AUTO sql = {0};
        buf_printf(
            &sql,
            "INSERT INTO decider.%s AS t (shard, key, version, guard, closed, state) "
            "SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bytea[]) "
            "ON CONFLICT (key) DO UPDATE SET version = EXCLUDED.version, guard = EXCLUDED.guard, "
            "closed = EXCLUDED.closed, state = EXCLUDED.state WHERE t.version < EXCLUDED.version",
            table);
        *text = mem_strdup(buf_str(&sql));
    }
    const char *ret = *text;
    pthread_mutex_unlock(&lock);
    return ret;
}

static bool write_rows(struct replay *replay, struct pg *pg, int table, int32_t shard, struct err *err) {
    static const enum pg_type types[] = {PG_I64, PG_TEXT, PG_I64, PG_I64, PG_BOOL, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        pg_add_array(&params, types[i]);
    for (struct map_entry *at = NULL; (at = map_next(&replay->rows[table], at));) {
        const struct state_changed_row *row = at->value;
        pg_array_i64(&params, 0, shard);
        pg_array_str(&params, 1, row->key);
        pg_array_i64(&params, 2, row->version);
        pg_array_i64(&params, 3, row->guard);
        pg_array_i64(&params, 4, row->closed);
        pg_array_str(&params, 5, row->state);
    }
    return !replay->rows[table].count ||
           pg_exec(pg, upsert_of(replay->decider->tables[table].name), &params, NULL, err);
}

static void start(struct pg_params *params, const struct replay *replay, int32_t shard, int texts) {
    pg_add_text(params, str_from(replay->decider->service));
    pg_add_i64(params, shard);
    for (int i = 0; i < texts; i++)
        pg_add_array(params, PG_TEXT);
}

static bool write_timers(struct replay *replay, struct pg *pg, int32_t shard, struct err *err) {
    PG_PARAMS_AUTO sets = {0};
    PG_PARAMS_AUTO clears = {0};
    start(&sets, replay, shard, 2);
    pg_add_array(&sets, PG_I64);
    start(&clears, replay, shard, 2);
    for (struct map_entry *at = NULL; (at = map_next(&replay->timers, at));) {
        const struct state_changed_timer *timer = at->value;
        struct pg_params *params = timer->due_us < 0 ? &clears : &sets;
        pg_array_str(params, 2, timer->key);
        pg_array_str(params, 3, timer->name);
        if (timer->due_us >= 0)
            pg_array_i64(params, 4, timer->due_us);
    }
    if (!replay->timers.count)
        return true;
    return pg_exec(pg,
                   "DELETE FROM decider.timer t USING UNNEST($3::text[], $4::text[]) AS u(key, name) "
                   "WHERE t.service = $1 AND t.shard = $2::bigint AND t.key = u.key AND t.name = u.name",
                   &clears, NULL, err) &&
           pg_exec(pg,
                   "INSERT INTO decider.timer (service, shard, key, name, due_us) "
                   "SELECT $1, $2::bigint, * FROM UNNEST($3::text[], $4::text[], $5::bigint[]) "
                   "ON CONFLICT (service, shard, key, name) DO UPDATE SET due_us = EXCLUDED.due_us",
                   &sets, NULL, err);
}

static bool write_intents(struct replay *replay, struct pg *pg, int32_t shard, struct err *err) {
    PG_PARAMS_AUTO made = {0};
    PG_PARAMS_AUTO gone = {0};
    start(&made, replay, shard, 4);
    pg_add_array(&made, PG_BYTES);
    pg_add_array(&made, PG_I64);
    start(&gone, replay, shard, 1);
    for (struct map_entry *at = NULL; (at = map_next(&replay->intents, at));) {
        const struct state_changed_intent *intent = at->value;
        if (!intent->request.ptr) {
            pg_array_str(&gone, 2, at->key);
            continue;
        }
        pg_array_str(&made, 2, intent->id);
        pg_array_str(&made, 3, intent->key);
        pg_array_str(&made, 4, intent->command_id);
        pg_array_str(&made, 5, intent->traceparent);
        pg_array_str(&made, 6, intent->request);
        pg_array_i64(&made, 7, intent->created_us);
    }
    if (!replay->intents.count)
        return true;
    return pg_exec(pg, "DELETE FROM decider.intent WHERE service = $1 AND shard = $2::bigint AND id = ANY($3::text[])",
                   &gone, NULL, err) &&
           pg_exec(pg,
                   "INSERT INTO decider.intent (service, shard, id, key, command_id, traceparent, request, created_us) "
                   "SELECT $1, $2::bigint, * FROM UNNEST($3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], "
                   "$8::bigint[]) ON CONFLICT (service, shard, id) DO NOTHING",
                   &made, NULL, err);
}

/* ---- what the outbox says ---- */

static bool take_row(struct replay *replay, struct state_changed_row *row, struct err *err) {
    for (size_t t = 0; t < replay->decider->table_count; t++)
        if (str_eq(row->table, str_from(replay->decider->tables[t].name))) {
            *map_put(&replay->rows[t], row->key) = row;
            return true;
        }
    return err_set(err, ERR_UNKNOWN_SCHEMA, "the outbox has a change of a table %.*s, which this program does not know",
                   STR_ARG(row->table));
}

static bool take(struct replay *replay, struct str bytes, struct err *err) {
    static struct state_changed_intent answered;
    struct state_changes *changes = arena_new(&replay->arena, struct state_changes);
    if (!state_decode(schema_subject_find(STR("state/changes")), bytes, &replay->arena, changes, err))
        return err_wrap(err, "what a batch changed");
    for (size_t i = 0; i < changes->rows.count; i++)
        if (!take_row(replay, &changes->rows.items[i], err))
            return false;
    for (size_t i = 0; i < changes->timers.count; i++) {
        struct state_changed_timer *timer = &changes->timers.items[i];
        struct str name = arena_printf(&replay->arena, "%.*s %.*s", STR_ARG(timer->key), STR_ARG(timer->name));
        *map_put(&replay->timers, name) = timer;
    }
    for (size_t i = 0; i < changes->intents.count; i++)
        *map_put(&replay->intents, changes->intents.items[i].id) = &changes->intents.items[i];
    for (size_t i = 0; i < changes->answered.count; i++)
        *map_put(&replay->intents, changes->answered.items[i]) = &answered;
    return true;
}

static bool write_all(struct replay *replay, struct pg *pg, int32_t shard, struct err *err) {
    for (int t = 0; t < (int)replay->decider->table_count; t++)
        if (!write_rows(replay, pg, t, shard, err))
            return false;
    return write_timers(replay, pg, shard, err) && write_intents(replay, pg, shard, err);
}

bool replay_changes(struct pg *pg, const struct decider *decider, int32_t shard, struct err *err) {
    struct replay replay = {.decider = decider};
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    start(&params, &replay, shard, 0);
    if (!pg_exec(pg,
                 "SELECT o.changes FROM decider.outbox o JOIN decider.shard s ON s.service = o.service "
                 "AND s.shard = o.shard WHERE o.service = $1 AND o.shard = $2::bigint AND o.id > s.flushed_through "
                 "AND o.changes IS NOT NULL ORDER BY o.id",
                 &params, &rows, err))
        return false;
    arena_init(&replay.arena);
    bool ok = true;
    for (int i = 0; ok && i < pg_rows(rows); i++)
        ok = take(&replay, pg_get_str(rows, i, 0), err);
    ok = ok && write_all(&replay, pg, shard, err) &&
         pg_exec(pg, "UPDATE decider.shard SET flushed_through = version WHERE service = $1 AND shard = $2::bigint",
                 &params, NULL, err);
    for (int t = 0; t < REPLAY_TABLES_MAX; t++)
        map_free(&replay.rows[t], NULL);
    map_free(&replay.timers, NULL);
    map_free(&replay.intents, NULL);
    arena_free(&replay.arena);
    return ok;
}
