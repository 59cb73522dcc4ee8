#include "core/log/sqlite_internal.h"

#include <stdio.h>

enum { APPLICATION_ID = 0x6f4c6f67 /* "oLog" */, FORMAT = 1 };

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE topic(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, uuid TEXT NOT NULL,"
    " partitions INTEGER NOT NULL, retention_ms INTEGER NOT NULL, compacted INTEGER NOT NULL,"
    " first_tp INTEGER NOT NULL);"
    /* A commit's records: see sqlite_commit.c. */
    "CREATE TABLE journal(id INTEGER PRIMARY KEY, time INTEGER NOT NULL, bytes BLOB NOT NULL);"
    /* id = (topic.first_tp + partition) << 40 | first offset: see sqlite_index.c. */
    "CREATE TABLE part(id INTEGER PRIMARY KEY, end INTEGER NOT NULL, last_commit INTEGER NOT NULL,"
    " bytes BLOB NOT NULL);"
    "CREATE TABLE position(grp TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY(grp, topic, partition)) WITHOUT ROWID;";

static bool schema_make(sqlite3 *db, struct err *err) {
    struct id id = id_random();
    char sql[256];
    snprintf(sql, sizeof sql,
             "INSERT INTO meta VALUES ('format', %d), ('id', '%s'), ('indexed', 0), ('barrier', 0); PRAGMA "
             "application_id=%d;",
             FORMAT, id.text, APPLICATION_ID);
    return sqlog_db_exec(db, schema, err) && sqlog_db_exec(db, sql, err);
}

/* Before anything is changed: a database of someone else's stays as it is. A new one is empty. */
bool sqlog_schema_check(const struct sqlog *log, sqlite3 *db, bool write, struct err *err) {
    int64_t application, tables;
    if (!sqlog_db_read_i64(db, "PRAGMA application_id", &application, err) ||
        !sqlog_db_read_i64(db, "SELECT count(*) FROM sqlite_schema", &tables, err))
        return false;
    if (application != APPLICATION_ID && (tables || !write))
        return err_set(err, ERR_CONFIG, "%s is a database, but no log of ours", log->path);
    return true;
}

/* All in one transaction: killed half-way, there is no schema yet. */
bool sqlog_schema_prepare(struct sqlog *log, struct err *err) {
    sqlite3 *db = log->write_db;
    int64_t tables;
    if (!sqlog_db_exec(db, "BEGIN IMMEDIATE", err))
        return false;
    if (!sqlog_db_read_i64(db, "SELECT count(*) FROM sqlite_schema", &tables, err) ||
        (!tables && !schema_make(db, err)) || !sqlog_db_exec(db, "COMMIT", err)) {
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    return true;
}

bool sqlog_schema_read(struct sqlog *log, struct err *err) {
    int64_t format, restoring;
    if (!sqlog_db_read_i64(log->read_db, "SELECT value FROM meta WHERE key = 'format'", &format, err))
        return false;
    if (format != FORMAT)
        return err_set(err, ERR_CONFIG, "%s has the format %lld; this program knows %d", log->path, (long long)format,
                       FORMAT);
    if (!sqlog_db_read_i64(log->read_db, "SELECT count(*) FROM meta WHERE key = '" SQLOG_RESTORING "'", &restoring,
                           err))
        return false;
    if (restoring)
        return err_set(err, ERR_CONFIG,
                       "a restore into %s has not finished; if it runs no more, remove the log and "
                       "restore again",
                       log->path);
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(log->read_db, "SELECT value FROM meta WHERE key = 'id'", &stmt, err))
        return false;
    if (sqlite3_step(stmt) != SQLITE_ROW || sqlite3_column_bytes(stmt, 0) != ID_TEXT_SIZE - 1)
        return err_set(err, ERR_CORRUPT, "%s has no id", log->path);
    memcpy(log->id.text, sqlite3_column_text(stmt, 0), ID_TEXT_SIZE);
    return true;
}
