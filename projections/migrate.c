#include "projections/migrate.h"

#include "projections/sql/001_views.h"
#include "projections/sql/002_analysts.h"
#include "projections/sql/003_history.h"
#include "projections/sql/004_sets.h"
#include "projections/sql/005_recommendations.h"

static const char *const scripts[] = {sql_001_views, sql_002_analysts, sql_003_history, sql_004_sets,
                                      sql_005_recommendations}; /* version 1, 2, … */
enum { VERSION = sizeof(scripts) / sizeof(scripts[0]) };

/* For the rest of the transaction every name means the one in this schema. */
static bool enter_schema(struct pg *pg, struct str schema, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, schema);
    return pg_exec(pg, "SELECT set_config('search_path', quote_ident($1), true)", &params, NULL, err);
}

static bool version_now(struct pg *pg, int64_t *ret, struct err *err) {
    PG_RESULT_AUTO *exists = NULL, *version = NULL;
    if (!pg_exec(pg, "SELECT to_regclass('schema_version') IS NOT NULL", NULL, &exists, err))
        return false;
    if (!pg_get_bool(exists, 0, 0)) {
        *ret = 0;
        return true;
    }
    if (!pg_exec(pg, "SELECT coalesce(max(version), 0) FROM schema_version", NULL, &version, err))
        return false;
    *ret = pg_get_i64(version, 0, 0);
    return true;
}

static bool version_read(struct pg *pg, struct str schema, int64_t *ret, struct err *err) {
    if (!pg_begin(pg, err))
        return false;
    bool ok = enter_schema(pg, schema, err) && version_now(pg, ret, err);
    pg_rollback(pg);
    return ok;
}

static bool make_schema(struct pg *pg, struct str schema, struct err *err) {
    BUF_AUTO sql = {0};
    buf_printf(&sql,
               "CREATE SCHEMA IF NOT EXISTS \"%.*s\"; COMMENT ON SCHEMA \"%.*s\" IS 'Read models: what the log comes "
               "to. Written by the projectors only; may be thrown away, and is then folded again'",
               STR_ARG(schema), STR_ARG(schema));
    return pg_script(pg, sql.ptr, err);
}

/* Scripts that are run again over what they made: the first ones make tables under names that are views since
 * version 4. What stands on those is made again as well. */
static const char clear_names[] = R"sql(
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['order_lines', 'stock_ledger'] LOOP
        IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(name) AND relkind = 'v') THEN
            EXECUTE format('DROP VIEW %I CASCADE', name);
        END IF;
    END LOOP;
END $$;
)sql";

static bool run_scripts(struct pg *pg, struct str schema, struct err *err) {
    int64_t version = 0;
    if (!enter_schema(pg, schema, err) || !version_now(pg, &version, err) ||
        (!version && (!make_schema(pg, schema, err) || !pg_script(pg, clear_names, err))))
        return false;
    for (; version < VERSION; version++) {
        PG_PARAMS_AUTO params = {0};
        pg_add_i64(&params, version + 1);
        if (!pg_script(pg, scripts[version], err) ||
            !pg_exec(pg, "INSERT INTO schema_version (version) VALUES ($1)", &params, NULL, err))
            return err_wrap(err, "migrating schema %.*s to version %lld", STR_ARG(schema), (long long)version + 1);
    }
    return true;
}

static bool migrate(struct pg *pg, struct str schema, struct err *err) {
    if (!pg_begin(pg, err))
        return false;
    if (run_scripts(pg, schema, err))
        return pg_commit(pg, err);
    pg_rollback(pg);
    return false;
}

bool projections_migrate_schema(struct pg *pg, const char *name, struct err *err) {
    struct str schema = str_from(name);
    int64_t version = 0;
    if (!version_read(pg, schema, &version, err))
        return false;
    if (version > VERSION)
        return err_set(err, ERR_CONFIG, "schema %s has version %lld, this program knows %d", name, (long long)version,
                       (int)VERSION);
    if (version == VERSION)
        return true;
    /* Several that start at once take turns. The lock is taken before the transaction begins: within one, a session
     * goes on believing that there is no such schema, although it waited until another had made it. */
    if (!pg_script(pg, "SELECT pg_advisory_lock(4242002)", err))
        return false;
    bool ok = migrate(pg, schema, err);
    return pg_script(pg, "SELECT pg_advisory_unlock(4242002)", ok ? err : NULL) && ok;
}

bool projections_migrate(struct pg *pg, struct err *err) {
    return projections_migrate_schema(pg, "view", err);
}
