/* What the database holds, into memory: on opening, after a failed commit, and (read-only) whenever it has changed. */
#include "core/log/sqlite_internal.h"

/* Where the partitions end by the index on disk; the commits after it are loaded next. */
static bool ends_load(struct sqlog *log, sqlite3 *db, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, sqlog_index_select, &stmt, err))
        return false;
    const struct sqlog_topics *topics = atomic_load(&log->topics);
    for (size_t i = 0; i < topics->count; i++)
        for (int32_t p = 0; p < topics->items[i]->info.partitions; p++) {
            struct sqlog_partition *partition = &topics->items[i]->partitions[p];
            if (!sqlog_index_end(stmt, partition, &partition->high, err))
                return false;
        }
    log->last_commit = log->indexed;
    return sqlog_db_read_i64(db, "SELECT time FROM journal WHERE id = (SELECT value FROM meta WHERE key = 'indexed')",
                             &log->last_time_us, err);
}

static bool commits_load(struct sqlog *log, sqlite3 *db, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, "SELECT id, time, bytes FROM journal WHERE id > ?1 ORDER BY id", &stmt, err))
        return false;
    sqlite3_bind_int64(stmt, 1, log->last_commit);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(stmt, 0);
        const void *bytes = sqlite3_column_blob(stmt, 2);
        struct sqlog_commit *commit;
        if (id != log->last_commit + 1)
            return err_set(err, ERR_LOST_RECORDS, "%s: commit %lld is gone", log->path,
                           (long long)log->last_commit + 1);
        if (!sqlog_commit_parse(id, sqlite3_column_int64(stmt, 1), bytes, (size_t)sqlite3_column_bytes(stmt, 2),
                                &commit, err) ||
            !sqlog_commit_publish(log, commit, err))
            return err_wrap(err, "%s", log->path);
    }
    return rc == SQLITE_DONE || sqlog_db_err(db, err);
}

static bool load_snapshot(struct sqlog *log, sqlite3 *db, struct err *err) {
    int64_t indexed;
    if (!sqlog_topics_load(log, db, err) ||
        !sqlog_db_read_i64(db, "SELECT value FROM meta WHERE key = 'indexed'", &indexed, err))
        return false;
    if (!log->loaded) {
        log->indexed = indexed;
        if (!ends_load(log, db, err))
            return false;
        log->loaded = true;
    }
    if (!commits_load(log, db, err))
        return false;
    sqlog_index_written(log, indexed);
    return true;
}

bool sqlog_load(struct sqlog *log, sqlite3 *db, struct err *err) {
    if (!sqlog_db_exec(db, "BEGIN", err))
        return false;
    bool ok = load_snapshot(log, db, err);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
    return ok;
}

bool sqlog_refresh(struct sqlog *log, struct err *err) {
    if (!log->read_only)
        return true;
    pthread_mutex_lock(&log->read_mutex);
    int64_t version;
    bool ok = sqlog_db_read_i64(log->read_db, "PRAGMA data_version", &version, err);
    if (ok && version != log->data_version) {
        ok = sqlog_load(log, log->read_db, err);
        if (ok)
            log->data_version = version;
    }
    pthread_mutex_unlock(&log->read_mutex);
    return ok;
}
