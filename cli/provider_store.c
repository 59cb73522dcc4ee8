#include "cli/provider_store.h"

#include <sqlite3.h>
#include <stdlib.h>

struct provider_store {
    sqlite3 *db;
};

static const char schema[] = "PRAGMA journal_mode=WAL;"
                             "PRAGMA synchronous=FULL;"
                             "CREATE TABLE IF NOT EXISTS intents("
                             " seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, json TEXT NOT NULL);"
                             "CREATE TABLE IF NOT EXISTS refunds("
                             " seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, intent TEXT NOT NULL,"
                             " amount INTEGER NOT NULL, json TEXT NOT NULL);"
                             "CREATE INDEX IF NOT EXISTS refunds_intent ON refunds(intent);"
                             "CREATE TABLE IF NOT EXISTS answers("
                             " key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL,"
                             " body TEXT NOT NULL) WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS tries("
                             " what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS jobs("
                             " seq INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0,"
                             " body TEXT, intent TEXT, plan TEXT);"
                             "CREATE INDEX IF NOT EXISTS jobs_due ON jobs(due_ms);";

static bool db_err(const struct provider_store *store, struct err *err) {
    return err_set(err, ERR_STORE_UNAVAILABLE, "SQLite: %s", sqlite3_errmsg(store->db));
}

static bool db_exec(struct provider_store *store, const char *sql, struct err *err) {
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK || db_err(store, err);
}

static void stmt_close(sqlite3_stmt **stmt) {
    sqlite3_finalize(*stmt);
}
#define STMT_AUTO __attribute__((cleanup(stmt_close))) sqlite3_stmt

static bool db_prepare(struct provider_store *store, const char *sql, sqlite3_stmt **ret, struct err *err) {
    return sqlite3_prepare_v2(store->db, sql, -1, ret, NULL) == SQLITE_OK || db_err(store, err);
}

static void bind_str(sqlite3_stmt *stmt, int index, struct str value) {
    sqlite3_bind_text(stmt, index, value.ptr, (int)value.len, SQLITE_TRANSIENT); /* ptr NULL: null */
}

static struct str column_str(sqlite3_stmt *stmt, int column) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return (struct str){text ? text : "", (size_t)sqlite3_column_bytes(stmt, column)};
}

/* Takes a step: *ret_row tells whether it gave a row. */
static bool db_step(struct provider_store *store, sqlite3_stmt *stmt, bool *ret_row, struct err *err) {
    int result = sqlite3_step(stmt);
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        return db_err(store, err);
    *ret_row = result == SQLITE_ROW;
    return true;
}

bool provider_store_open(const char *path, struct provider_store **ret, struct err *err) {
    struct provider_store *store = mem_zalloc(sizeof *store);
    if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(store->db, 5000) != SQLITE_OK || !db_exec(store, schema, NULL)) {
        db_err(store, err);
        provider_store_close(store);
        return err_wrap(err, "%s", path);
    }
    *ret = store;
    return true;
}

void provider_store_close(struct provider_store *store) {
    if (!store)
        return;
    sqlite3_close(store->db);
    free(store);
}

bool provider_store_begin(struct provider_store *store, struct err *err) {
    return db_exec(store, "BEGIN IMMEDIATE", err);
}

bool provider_store_commit(struct provider_store *store, struct err *err) {
    return db_exec(store, "COMMIT", err);
}

void provider_store_rollback(struct provider_store *store) {
    sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

bool provider_store_intent(struct provider_store *store, struct str id, json_t **ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "SELECT json FROM intents WHERE id = ?", &stmt, err))
        return false;
    bind_str(stmt, 1, id);
    if (!db_step(store, stmt, &row, err))
        return false;
    *ret = NULL;
    if (!row)
        return true;
    struct str text = column_str(stmt, 0);
    *ret = json_loadb(text.ptr, text.len, 0, NULL);
    return *ret || err_set(err, ERR_CORRUPT, "intent %.*s is not JSON", STR_ARG(id));
}

bool provider_store_intent_put(struct provider_store *store, const json_t *intent, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store,
                    "INSERT INTO intents(id, json) VALUES(?, ?)"
                    " ON CONFLICT(id) DO UPDATE SET json = excluded.json",
                    &stmt, err))
        return false;
    char *text = json_dumps(intent, JSON_COMPACT);
    bind_str(stmt, 1, str_from(json_string_value(json_object_get(intent, "id"))));
    bind_str(stmt, 2, str_from(text));
    free(text);
    return db_step(store, stmt, &row, err);
}

bool provider_store_refund_add(struct provider_store *store, const json_t *refund, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "INSERT INTO refunds(id, intent, amount, json) VALUES(?, ?, ?, ?)", &stmt, err))
        return false;
    char *text = json_dumps(refund, JSON_COMPACT);
    bind_str(stmt, 1, str_from(json_string_value(json_object_get(refund, "id"))));
    bind_str(stmt, 2, str_from(json_string_value(json_object_get(refund, "payment_intent"))));
    sqlite3_bind_int64(stmt, 3, json_integer_value(json_object_get(refund, "amount")));
    bind_str(stmt, 4, str_from(text));
    free(text);
    return db_step(store, stmt, &row, err);
}

bool provider_store_refunded(struct provider_store *store, struct str intent, int64_t *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "SELECT coalesce(sum(amount), 0) FROM refunds WHERE intent = ?", &stmt, err))
        return false;
    bind_str(stmt, 1, intent);
    if (!db_step(store, stmt, &row, err))
        return false;
    *ret = row ? sqlite3_column_int64(stmt, 0) : 0;
    return true;
}

/* The first column of each row, with commas between. */
static bool add_rows(struct provider_store *store, sqlite3_stmt *stmt, struct buf *ret, struct err *err) {
    bool row = false;
    for (const char *before = "";; before = ",") {
        if (!db_step(store, stmt, &row, err))
            return false;
        if (!row)
            return true;
        buf_printf(ret, "%s", before);
        buf_add_str(ret, column_str(stmt, 0));
    }
}

static bool add_objects(struct provider_store *store, const char *sql, struct buf *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    return db_prepare(store, sql, &stmt, err) && add_rows(store, stmt, ret, err);
}

bool provider_store_ledger(struct provider_store *store, struct buf *ret, struct err *err) {
    buf_printf(ret, "{\"payment_intents\":[");
    if (!add_objects(store, "SELECT json FROM intents ORDER BY seq", ret, err))
        return false;
    buf_printf(ret, "],\"refunds\":[");
    if (!add_objects(store, "SELECT json FROM refunds ORDER BY seq", ret, err))
        return false;
    buf_printf(ret, "]}");
    return true;
}

bool provider_store_search(struct provider_store *store, const struct provider_metadata *metadata, size_t count,
                           json_t **ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    BUF_AUTO sql = {0};
    BUF_AUTO found = {0};
    buf_printf(&sql, "SELECT json FROM intents WHERE true");
    for (size_t i = 0; i < count; i++)
        buf_printf(&sql, " AND json_extract(json, '$.metadata.\"' || ? || '\"') = ?");
    buf_printf(&sql, " ORDER BY seq");
    if (!db_prepare(store, sql.ptr, &stmt, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        bind_str(stmt, (int)i * 2 + 1, metadata[i].name);
        bind_str(stmt, (int)i * 2 + 2, metadata[i].value);
    }
    buf_add_char(&found, '[');
    if (!add_rows(store, stmt, &found, err))
        return false;
    buf_add_char(&found, ']');
    *ret = json_loadb(found.ptr, found.len, 0, NULL);
    return *ret || err_set(err, ERR_CORRUPT, "an intent is not JSON");
}

bool provider_store_try(struct provider_store *store, struct str what, int64_t *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store,
                    "INSERT INTO tries(what, count) VALUES(?, 1)"
                    " ON CONFLICT(what) DO UPDATE SET count = count + 1 RETURNING count",
                    &stmt, err))
        return false;
    bind_str(stmt, 1, what);
    if (!db_step(store, stmt, &row, err))
        return false;
    *ret = sqlite3_column_int64(stmt, 0);
    return true;
}

/* ---- jobs ---- */

static bool job_add(struct provider_store *store, struct str body, struct str intent, struct str plan, int64_t due_ms,
                    struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "INSERT INTO jobs(due_ms, body, intent, plan) VALUES(?, ?, ?, ?)", &stmt, err))
        return false;
    sqlite3_bind_int64(stmt, 1, due_ms);
    bind_str(stmt, 2, body);
    bind_str(stmt, 3, intent);
    bind_str(stmt, 4, plan);
    return db_step(store, stmt, &row, err);
}

bool provider_store_webhook_add(struct provider_store *store, struct str body, int64_t due_ms, struct err *err) {
    return job_add(store, body, STR_NULL, STR_NULL, due_ms, err);
}

bool provider_store_plan_add(struct provider_store *store, struct str intent, const char *plan, int64_t due_ms,
                             struct err *err) {
    return job_add(store, STR_NULL, intent, str_from(plan), due_ms, err);
}

bool provider_store_job(struct provider_store *store, int64_t now_ms, struct provider_job *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "SELECT seq, due_ms, tries, body, intent, plan FROM jobs ORDER BY due_ms, seq LIMIT 1",
                    &stmt, err) ||
        !db_step(store, stmt, &row, err))
        return false;
    ret->due_ms = row ? sqlite3_column_int64(stmt, 1) : INT64_MAX;
    ret->found = ret->due_ms <= now_ms;
    if (!ret->found)
        return true;
    ret->seq = sqlite3_column_int64(stmt, 0);
    ret->tries = sqlite3_column_int64(stmt, 2);
    buf_add_str(&ret->body, column_str(stmt, 3));
    buf_add_str(&ret->intent, column_str(stmt, 4));
    buf_add_str(&ret->plan, column_str(stmt, 5));
    return true;
}

bool provider_store_job_done(struct provider_store *store, int64_t seq, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "DELETE FROM jobs WHERE seq = ?", &stmt, err))
        return false;
    sqlite3_bind_int64(stmt, 1, seq);
    return db_step(store, stmt, &row, err);
}

bool provider_store_job_again(struct provider_store *store, int64_t seq, int64_t due_ms, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "UPDATE jobs SET tries = tries + 1, due_ms = ? WHERE seq = ?", &stmt, err))
        return false;
    sqlite3_bind_int64(stmt, 1, due_ms);
    sqlite3_bind_int64(stmt, 2, seq);
    return db_step(store, stmt, &row, err);
}

bool provider_store_answer(struct provider_store *store, struct str key, struct provider_answer *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!db_prepare(store, "SELECT request, status, body FROM answers WHERE key = ?", &stmt, err))
        return false;
    bind_str(stmt, 1, key);
    if (!db_step(store, stmt, &ret->found, err))
        return false;
    if (!ret->found)
        return true;
    buf_add_str(&ret->request, column_str(stmt, 0));
    ret->status = sqlite3_column_int(stmt, 1);
    buf_add_str(&ret->body, column_str(stmt, 2));
    return true;
}

bool provider_store_answer_add(struct provider_store *store, struct str key, struct str request, int status,
                               struct str body, struct err *err) {
    STMT_AUTO *stmt = NULL;
    bool row = false;
    if (!db_prepare(store, "INSERT INTO answers(key, request, status, body) VALUES(?, ?, ?, ?)", &stmt, err))
        return false;
    bind_str(stmt, 1, key);
    bind_str(stmt, 2, request);
    sqlite3_bind_int(stmt, 3, status);
    bind_str(stmt, 4, body);
    return db_step(store, stmt, &row, err);
}
