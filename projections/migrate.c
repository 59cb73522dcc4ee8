#include "projections/migrate.h"

#include "projections/sql/001_views.h"

static const char *const scripts[] = {sql_001_views}; /* version 1, 2, … */
enum { VERSION = sizeof(scripts) / sizeof(scripts[0]) };

static bool version_now(struct pg *pg, int64_t *ret, struct err *err) {
    PG_RESULT_AUTO *exists = NULL, *version = NULL;
    if (!pg_exec(pg, "SELECT to_regclass('view.schema_version') IS NOT NULL", NULL, &exists, err))
        return false;
    if (!pg_get_bool(exists, 0, 0)) {
        *ret = 0;
        return true;
    }
    if (!pg_exec(pg, "SELECT coalesce(max(version), 0) FROM view.schema_version", NULL, &version, err))
        return false;
    *ret = pg_get_i64(version, 0, 0);
    return true;
}

static bool run_scripts(struct pg *pg, struct err *err) {
    int64_t version = 0;
    if (!version_now(pg, &version, err))
        return false;
    for (; version < VERSION; version++) {
        PG_PARAMS_AUTO params = {0};
        pg_add_i64(&params, version + 1);
        if (!pg_script(pg, scripts[version], err) ||
            !pg_exec(pg, "INSERT INTO view.schema_version (version) VALUES ($1)", &params, NULL, err))
            return err_wrap(err, "migrating schema view to version %lld", (long long)version + 1);
    }
    return true;
}

static bool migrate(struct pg *pg, struct err *err) {
    if (!pg_begin(pg, err))
        return false;
    if (run_scripts(pg, err))
        return pg_commit(pg, err);
    pg_rollback(pg);
    return false;
}

bool projections_migrate(struct pg *pg, struct err *err) {
    int64_t version = 0;
    if (!version_now(pg, &version, err))
        return false;
    if (version > VERSION)
        return err_set(err, ERR_CONFIG, "schema view has version %lld, this program knows %d", (long long)version,
                       (int)VERSION);
    if (version == VERSION)
        return true;
    /* Several that start at once take turns. The lock is taken before the transaction begins: within one, a session
     * goes on believing that there is no such schema, although it waited until another had made it. */
    if (!pg_script(pg, "SELECT pg_advisory_lock(4242002)", err))
        return false;
    bool ok = migrate(pg, err);
    return pg_script(pg, "SELECT pg_advisory_unlock(4242002)", ok ? err : NULL) && ok;
}
