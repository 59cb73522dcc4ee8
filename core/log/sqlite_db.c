#include "core/log/sqlite_internal.h"

enum { BUSY_TIMEOUT_MS = 2000 };

static enum err_kind kind_of(int rc) {
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_FULL:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_LOG_UNAVAILABLE;
    default:
        return ERR_IO;
    }
}

bool sqlog_db_err(sqlite3 *db, struct err *err) {
    int rc = sqlite3_extended_errcode(db);
    return err_set(err, kind_of(rc), "the log's database: %s (%d)", sqlite3_errmsg(db), rc);
}

bool sqlog_db_exec(sqlite3 *db, const char *sql, struct err *err) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || sqlog_db_err(db, err);
}

bool sqlog_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct err *err) {
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) == SQLITE_OK || sqlog_db_err(db, err);
}

bool sqlog_db_run(sqlite3_stmt *stmt, struct err *err) {
    int rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW || sqlog_db_err(sqlite3_db_handle(stmt), err);
    sqlite3_reset(stmt);
    return ok;
}

bool sqlog_db_read_i64(sqlite3 *db, const char *sql, int64_t *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, sql, &stmt, err))
        return false;
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlog_db_err(db, err);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    return true;
}

void sqlog_stmt_close(sqlite3_stmt **stmt) {
    sqlite3_finalize(*stmt);
    *stmt = NULL;
}

/* The page size counts only for a new file. The writer checkpoints by itself, when no one waits for it. */
static const char write_pragmas[] = "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                    "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;"
                                    "PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY;";
static const char read_pragmas[] = "PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;";

bool sqlog_db_open(const struct sqlog *log, bool write, sqlite3 **ret, struct err *err) {
    int flags = SQLITE_OPEN_NOMUTEX | (write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    sqlite3 *db = NULL;
    bool ok = sqlite3_open_v2(log->path, &db, flags, NULL) == SQLITE_OK || sqlog_db_err(db, err);
    if (ok) {
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
        ok = sqlog_schema_check(log, db, write, err) && sqlog_db_exec(db, write ? write_pragmas : read_pragmas, err);
    }
    if (!ok) {
        sqlite3_close_v2(db);
        return err_wrap(err, "%s", log->path);
    }
    *ret = db;
    return true;
}
