/* Restoring into the embedded log: all records of one time are one commit again. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/log/append.h"
#include "core/log/record_codec.h"

enum { TRANSACTION_BYTES = 16 << 20 };

/* What the next commit holds of a partition. */
struct restore_part {
    struct sqlog_partition *partition;
    struct buf records;
    int64_t count;
};

struct sqlite_restore {
    struct log_restore base;
    struct sqlog *log;
    struct restore_part *parts; /* the first `used` of the next commit; the others lend their memory */
    size_t used, cap;
    int64_t count; /* of its records */
    size_t bytes;
    int64_t time_us;
    bool begun; /* a transaction */
    size_t written;
};

static struct sqlite_restore *restore_of(struct log_restore *base) {
    return (struct sqlite_restore *)base;
}

static bool is_empty(struct sqlog *log, struct err *err) {
    const struct sqlog_topics *topics = atomic_load(&log->topics);
    for (size_t i = 0; i < topics->count; i++)
        for (int32_t p = 0; p < topics->items[i]->info.partitions; p++)
            if (topics->items[i]->partitions[p].high)
                return err_set(err, ERR_CONFIG, "%s is not empty: %s has records. Restore into a log that has none",
                               log->path, topics->items[i]->info.name.ptr);
    return true;
}

/* ---- ids ---- */

static bool id_write(struct sqlite_restore *restore, const char *sql, struct str id, struct str of, struct err *err) {
    sqlite3 *db = restore->log->write_db;
    STMT_AUTO *stmt = NULL;
    if (!id_valid(id))
        return true;
    pthread_mutex_lock(&restore->log->write_mutex);
    bool ok = sqlog_db_prepare(db, sql, &stmt, err);
    if (ok) {
        sqlite3_bind_text(stmt, 1, id.ptr, (int)id.len, SQLITE_STATIC);
        if (of.ptr)
            sqlite3_bind_text(stmt, 2, of.ptr, (int)of.len, SQLITE_STATIC);
        ok = sqlog_db_run(stmt, err) &&
             (sqlite3_changes(db) == 1 || err_set(err, ERR_NOT_FOUND, "there is no topic %.*s", STR_ARG(of)));
    }
    pthread_mutex_unlock(&restore->log->write_mutex);
    return ok;
}

static bool log_id_write(struct log_restore *base, struct str id, bool *ret_kept, struct err *err) {
    *ret_kept = id_valid(id);
    return id_write(restore_of(base), "UPDATE meta SET value = ?1 WHERE key = 'id'", id, STR_NULL, err);
}

static bool topic_id_write(struct log_restore *base, struct str topic, struct str id, bool *ret_kept, struct err *err) {
    *ret_kept = id_valid(id);
    return id_write(restore_of(base), "UPDATE topic SET uuid = ?1 WHERE name = ?2", id, topic, err);
}

/* ---- the next commit ---- */

static struct sqlog_commit *commit_make(struct sqlite_restore *restore) {
    struct sqlog_commit *commit = sqlog_commit_new(restore->used, restore->bytes);
    commit->id = restore->log->last_commit + 1;
    commit->time_us = restore->time_us;
    for (size_t i = 0; i < restore->used; i++) {
        const struct restore_part *part = &restore->parts[i];
        commit->parts[i] =
            (struct sqlog_part){part->partition->tp, part->partition->high, part->count, 0, {NULL, part->records.len}};
    }
    sqlog_commit_place(commit);
    for (size_t i = 0; i < restore->used; i++)
        memcpy((char *)commit->parts[i].records.ptr, restore->parts[i].records.ptr, restore->parts[i].records.len);
    sqlog_commit_seal(commit);
    return commit;
}

/* With write_mutex held. The index may not lack more commits than a log that is opened reads. */
static bool transaction_end(struct sqlite_restore *restore, struct err *err) {
    struct sqlog *log = restore->log;
    if (!restore->begun)
        return true;
    bool index = log->last_commit > log->indexed;
    if ((index && !sqlog_index_write(log, err)) || !sqlog_db_run(log->commit, err))
        return false;
    if (index)
        sqlog_index_written(log, log->last_commit);
    restore->begun = false;
    restore->written = 0;
    /* A failure is no loss: the next one does it. */
    sqlite3_wal_checkpoint_v2(log->write_db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return true;
}

static bool commit_insert(struct sqlite_restore *restore, struct sqlog_commit *commit, struct err *err) {
    struct sqlog *log = restore->log;
    if (!restore->begun && !sqlog_db_run(log->begin, err))
        return false;
    restore->begun = true;
    sqlite3_bind_int64(log->insert, 1, commit->id);
    sqlite3_bind_int64(log->insert, 2, commit->time_us);
    sqlite3_bind_blob64(log->insert, 3, commit->bytes, commit->len, SQLITE_STATIC);
    restore->written += commit->len;
    return sqlog_db_run(log->insert, err);
}

static bool commit_write(struct sqlite_restore *restore, struct err *err) {
    if (!restore->used)
        return true;
    struct sqlog *log = restore->log;
    struct sqlog_commit *commit = commit_make(restore);
    pthread_mutex_lock(&log->write_mutex);
    bool ok = commit_insert(restore, commit, err);
    if (!ok)
        sqlog_commit_unref(commit);
    ok = ok && sqlog_commit_publish(log, commit, err) &&
         ((restore->written < TRANSACTION_BYTES && log->last_commit - log->indexed < SQLOG_INDEX_COMMITS) ||
          transaction_end(restore, err));
    pthread_mutex_unlock(&log->write_mutex);
    for (size_t i = 0; i < restore->used; i++) {
        buf_reset(&restore->parts[i].records);
        restore->parts[i].count = 0;
    }
    restore->used = 0;
    restore->count = 0;
    restore->bytes = 0;
    return ok;
}

/* ---- records ---- */

static struct restore_part *part_of(struct sqlite_restore *restore, struct sqlog_partition *partition) {
    for (size_t i = restore->used; i-- > 0;)
        if (restore->parts[i].partition == partition)
            return &restore->parts[i];
    if (restore->used == restore->cap) {
        size_t cap = restore->cap ? 2 * restore->cap : 16;
        restore->parts = mem_realloc(restore->parts, cap * sizeof *restore->parts);
        memset(restore->parts + restore->cap, 0, (cap - restore->cap) * sizeof *restore->parts);
        restore->cap = cap;
    }
    restore->parts[restore->used].partition = partition;
    return &restore->parts[restore->used++];
}

static bool record_add(struct log_restore *base, const struct log_record *record, struct err *err) {
    struct sqlite_restore *restore = restore_of(base);
    struct sqlog_partition *partition = sqlog_partition_find(restore->log, record->topic, record->partition, err);
    if (!partition)
        return false;
    if (record->timestamp_us < restore->time_us)
        return err_set(err, ERR_CORRUPT, "%.*s/%d: offset %lld is older than what came before", STR_ARG(record->topic),
                       record->partition, (long long)record->offset);
    if ((record->timestamp_us > restore->time_us || restore->count == SQLOG_GROUP_RECORDS ||
         restore->bytes > SQLOG_GROUP_BYTES) &&
        !commit_write(restore, err))
        return false;
    restore->time_us = record->timestamp_us;
    struct restore_part *part = part_of(restore, partition);
    if (record->offset != partition->high + part->count)
        return err_set(err, ERR_CORRUPT, "%.*s/%d: offset %lld comes where %lld should", STR_ARG(record->topic),
                       record->partition, (long long)record->offset, (long long)(partition->high + part->count));
    struct log_record stored = *record;
    stored.topic = STR_NULL;
    stored.partition = LOG_BY_KEY;
    stored.timestamp_us = 0;
    size_t before = part->records.len;
    record_encode(&part->records, &stored);
    restore->bytes += part->records.len - before;
    restore->count++;
    part->count++;
    return true;
}

static bool settle(struct log_restore *base, struct err *err) {
    struct sqlite_restore *restore = restore_of(base);
    if (!commit_write(restore, err))
        return false;
    pthread_mutex_lock(&restore->log->write_mutex);
    bool ok = transaction_end(restore, err);
    pthread_mutex_unlock(&restore->log->write_mutex);
    return ok;
}

static bool finish(struct log_restore *base, struct err *err) {
    struct sqlog *log = restore_of(base)->log;
    pthread_mutex_lock(&log->write_mutex);
    bool ok = sqlog_db_exec(log->write_db, "DELETE FROM meta WHERE key = '" SQLOG_RESTORING "'", err);
    pthread_mutex_unlock(&log->write_mutex);
    return ok;
}

static void close_restore(struct log_restore *base) {
    struct sqlite_restore *restore = restore_of(base);
    if (restore->begun)
        sqlite3_exec(restore->log->write_db, "ROLLBACK", NULL, NULL, NULL);
    for (size_t i = 0; i < restore->cap; i++)
        buf_free(&restore->parts[i].records);
    free(restore->parts);
    log_close(base->log);
    free(restore);
}

static const struct log_restore_ops ops = {.id = log_id_write,
                                           .topic_id = topic_id_write,
                                           .add = record_add,
                                           .settle = settle,
                                           .finish = finish,
                                           .close = close_restore};

bool log_sqlite_restore_open(const char *url, struct log_restore **ret, struct err *err) {
    struct log *log;
    if (!log_open(url, NULL, &log, err))
        return false;
    struct sqlog *sqlog = sqlog_of(log);
    pthread_mutex_lock(&sqlog->write_mutex);
    bool ok = is_empty(sqlog, err) &&
              sqlog_db_exec(sqlog->write_db, "INSERT OR REPLACE INTO meta VALUES ('" SQLOG_RESTORING "', 1)", err);
    pthread_mutex_unlock(&sqlog->write_mutex);
    if (!ok) {
        log_close(log);
        return false;
    }
    struct sqlite_restore *restore = mem_zalloc(sizeof *restore);
    *restore = (struct sqlite_restore){.base = {&ops, log}, .log = sqlog, .time_us = INT64_MIN};
    *ret = &restore->base;
    return true;
}
