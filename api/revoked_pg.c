/* Revoked sessions in PostgreSQL. Times are its own clock's. */
#include "api/revoked_store.h"

#include "core/base/clock.h"
#include "core/store/pg.h"

#include <stdlib.h>

enum { HOUSEKEEPING_US = 600 * 1000 * 1000 };

/* What is answered must be durable, whatever the server's default is. */
static const char settings[] = "SET synchronous_commit = on; SET statement_timeout = '5s'; SET jit = off";

static const char schema[] =
    "BEGIN; SELECT pg_advisory_xact_lock(4242003);"
    "CREATE SCHEMA IF NOT EXISTS sessions;"
    "COMMENT ON SCHEMA sessions IS 'Shoppers'' sessions that are good no more; written by the API';"
    "CREATE TABLE IF NOT EXISTS sessions.revoked ("
    " id bytea PRIMARY KEY, expires_at timestamptz NOT NULL, revoked_at timestamptz NOT NULL);"
    "COMMENT ON TABLE sessions.revoked IS 'A hash of the session, or of the shopper whose sessions all were; until "
    "expires_at, when the tokens end by themselves';"
    "CREATE INDEX IF NOT EXISTS revoked_at ON sessions.revoked (revoked_at);"
    "CREATE INDEX IF NOT EXISTS revoked_expires_at ON sessions.revoked (expires_at);"
    "COMMIT;";

struct revoked_pg {
    struct revoked_store base;
    char *url;
    struct pg *pg;    /* NULL: not connected */
    int64_t since_us; /* what was added earlier is known */
    int64_t housekeeping_us;
};

static void disconnect(struct revoked_pg *store) {
    pg_close(store->pg);
    store->pg = NULL;
}

/* Who may only write rows needs no right to make tables, once they are there. */
static bool prepare(struct pg *pg, struct err *err) {
    PG_RESULT_AUTO *there = NULL;
    return pg_exec(pg, "SELECT to_regclass('sessions.revoked') IS NOT NULL", NULL, &there, err) &&
           (pg_get_bool(there, 0, 0) || pg_script(pg, schema, err) || err_wrap(err, "making sessions.revoked"));
}

static bool connect(struct revoked_pg *store, struct err *err) {
    if (store->pg)
        return true;
    if (!pg_open(store->url, settings, &store->pg, err))
        return false;
    if (prepare(store->pg, err))
        return true;
    disconnect(store);
    return false;
}

/* The next call begins anew, tables included. */
static bool failed(struct revoked_pg *store, struct err *err) {
    disconnect(store);
    err->kind = ERR_STORE_UNAVAILABLE;
    return false;
}

static bool add(struct revoked_store *base, const struct revoked_id *ids, size_t count, struct err *err) {
    struct revoked_pg *store = (struct revoked_pg *)base;
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_BYTES);
    for (size_t i = 0; i < count; i++)
        pg_array_str(&params, 0, (struct str){(const char *)ids[i].bytes, REVOKED_ID_SIZE});
    pg_add_array(&params, PG_TIME);
    for (size_t i = 0; i < count; i++)
        pg_array_i64(&params, 1, ids[i].expires_s * 1000000);
    /* One id may be there several times, and a statement changes no row twice. */
    return (connect(store, err) &&
            pg_exec(store->pg,
                    "INSERT INTO sessions.revoked AS r (id, expires_at, revoked_at) "
                    "SELECT id, max(expires_at), clock_timestamp() "
                    "FROM UNNEST($1::bytea[], $2::timestamptz[]) AS n(id, expires_at) GROUP BY id "
                    "ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at, revoked_at = EXCLUDED.revoked_at "
                    "WHERE r.expires_at < EXCLUDED.expires_at",
                    &params, NULL, err)) ||
           failed(store, err);
}

static bool keep_house(struct revoked_pg *store, struct err *err) {
    int64_t now_us = clock_monotonic_us();
    if (now_us < store->housekeeping_us)
        return true;
    store->housekeeping_us = now_us + HOUSEKEEPING_US;
    return pg_exec(store->pg, "DELETE FROM sessions.revoked WHERE expires_at < now()", NULL, NULL, err);
}

static bool read_since(struct revoked_pg *store, struct revoked_list *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_time(&params, store->since_us);
    if (!pg_exec(store->pg,
                 "SELECT t.now, r.id, r.expires_at FROM (SELECT now()) AS t(now) "
                 "LEFT JOIN sessions.revoked AS r ON r.revoked_at >= $1 AND r.expires_at > t.now",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct str id = pg_get_str(rows, i, 1);
        if (id.len == REVOKED_ID_SIZE)
            revoked_list_add(ret, id.ptr, pg_get_time(rows, i, 2) / 1000000);
    }
    store->since_us = pg_get_time(rows, 0, 0) - REVOKED_OVERLAP_S * INT64_C(1000000);
    return true;
}

static bool read_new(struct revoked_store *base, struct revoked_list *ret, struct err *err) {
    struct revoked_pg *store = (struct revoked_pg *)base;
    return (connect(store, err) && keep_house(store, err) && read_since(store, ret, err)) || failed(store, err);
}

static void close_store(struct revoked_store *base) {
    struct revoked_pg *store = (struct revoked_pg *)base;
    disconnect(store);
    free(store->url);
    free(store);
}

static const struct revoked_store_ops ops = {
    .batch_max = REVOKED_BATCH_MAX, .add = add, .read = read_new, .close = close_store};

bool revoked_pg_open(const char *url, struct revoked_store **ret, struct err *err) {
    (void)err;
    struct revoked_pg *store = mem_zalloc(sizeof *store);
    store->base.ops = &ops;
    store->url = mem_strdup(str_from(url));
    *ret = &store->base;
    return true;
}
