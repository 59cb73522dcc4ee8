/* The writer thread: all that waits becomes one transaction, one fsync acknowledges it all. */
#include "core/log/sqlite_internal.h"

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/thread.h"

enum { CHECKPOINT_PAGES = 512 /* 8 MiB */, RESTART_PAGES = 4096 /* 64 MiB */ };

static const struct err expired = {.kind = ERR_TIMEOUT, .detail = "the log did not take it in time"};
static const struct err follows_failed = {.kind = ERR_LOG_UNAVAILABLE,
                                          .detail = "an earlier append of this producer has failed"};

static int wal_grew(void *user, sqlite3 *db, const char *name, int pages) {
    (void)db;
    (void)name;
    struct sqlog *log = user;
    log->wal_pages = pages;
    if (pages < CHECKPOINT_PAGES)
        log->checkpoint_at = CHECKPOINT_PAGES;
    return SQLITE_OK;
}

bool sqlog_writer_prepare(struct sqlog *log, struct err *err) {
    sqlite3 *db = log->write_db;
    log->commit_seconds = metrics_histogram("orderlog_log_commit_seconds",
                                            "Time of a commit of the embedded log, its fsync included.", "");
    log->checkpoint_at = CHECKPOINT_PAGES;
    sqlite3_wal_hook(db, wal_grew, log);
    return sqlog_db_prepare(db, "BEGIN IMMEDIATE", &log->begin, err) &&
           sqlog_db_prepare(db, "COMMIT", &log->commit, err) &&
           sqlog_db_prepare(db, "INSERT INTO journal VALUES (?1, ?2, ?3)", &log->insert, err) &&
           sqlog_db_prepare(db, "INSERT INTO part VALUES (?1, ?2, ?3, ?4)", &log->insert_index, err) &&
           sqlog_db_prepare(db, "UPDATE meta SET value = ?1 WHERE key = 'indexed'", &log->set_indexed, err) &&
           sqlog_db_prepare(db, "INSERT OR REPLACE INTO position VALUES (?1, ?2, ?3, ?4, ?5)", &log->insert_position,
                            err);
}

/* ---- what goes into one commit ---- */

/* With mutex held: takes the oldest of the queue, up to the bounds of one commit. */
static struct sqlog_append *group_take(struct sqlog *log) {
    struct sqlog_append *group = log->queue, **end = &log->queue;
    size_t records = 0, bytes = 0;
    int64_t now_us = clock_monotonic_us();
    for (struct sqlog_append *append; (append = *end); end = &append->next) {
        if (records == SQLOG_GROUP_RECORDS || (records && bytes + append->len > SQLOG_GROUP_BYTES))
            break;
        records++;
        bytes += append->len;
        if (append->producer->broken)
            append->failed = &follows_failed;
        else if (append->deadline_us && append->deadline_us < now_us)
            append->failed = &expired;
    }
    log->queue = *end;
    if (!log->queue)
        log->queue_end = &log->queue;
    if (end != &log->queue)
        *end = NULL;
    return group;
}

/* By partition; those that have failed already are left out. */
static struct sqlog_partition *group_sort(struct sqlog_append *group, size_t *ret_parts, size_t *ret_bytes) {
    struct sqlog_partition *touched = NULL, **end = &touched;
    *ret_parts = *ret_bytes = 0;
    for (; group; group = group->next) {
        struct sqlog_partition *partition = group->partition;
        if (group->failed)
            continue;
        if (!partition->group_count) {
            partition->group_end = &partition->group_first;
            partition->group_bytes = 0;
            partition->group_next = NULL;
            *end = partition;
            end = &partition->group_next;
            ++*ret_parts;
        }
        *partition->group_end = group;
        partition->group_end = &group->next_in_partition;
        partition->group_count++;
        partition->group_bytes += group->len;
        *ret_bytes += group->len;
    }
    return touched;
}

static void part_fill(const struct sqlog_part *part, struct sqlog_partition *partition) {
    char *at = (char *)part->records.ptr;
    int64_t offset = part->base;
    for (struct sqlog_append *append = partition->group_first; append; append = append->next_in_partition) {
        memcpy(at, append->bytes, append->len);
        at += append->len;
        append->offset = offset++;
    }
    partition->group_count = 0;
}

/* NULL when there is nothing to be written. */
static struct sqlog_commit *group_encode(const struct sqlog *log, struct sqlog_append *group) {
    size_t part_count, bytes;
    struct sqlog_partition *first = group_sort(group, &part_count, &bytes);
    if (!first)
        return NULL;
    struct sqlog_commit *commit = sqlog_commit_new(part_count, bytes);
    int64_t now_us = clock_now_us();
    commit->id = log->last_commit + 1;
    commit->time_us = now_us > log->last_time_us ? now_us : log->last_time_us;
    struct sqlog_part *part = commit->parts;
    for (struct sqlog_partition *at = first; at; at = at->group_next, part++)
        *part = (struct sqlog_part){at->tp, at->high, at->group_count, 0, {NULL, at->group_bytes}};
    sqlog_commit_place(commit);
    part = commit->parts;
    for (struct sqlog_partition *at = first; at; at = at->group_next)
        part_fill(part++, at);
    sqlog_commit_seal(commit);
    return commit;
}

/* ---- the transaction ---- */

static bool commit_insert(struct sqlog *log, const struct sqlog_commit *commit, struct err *err) {
    sqlite3_bind_int64(log->insert, 1, commit->id);
    sqlite3_bind_int64(log->insert, 2, commit->time_us);
    sqlite3_bind_blob64(log->insert, 3, commit->bytes, commit->len, SQLITE_STATIC);
    return sqlog_db_run(log->insert, err);
}

/* Was the transaction that failed at its COMMIT kept? Only a failed fsync leaves that open: what was written may be
 * there after a crash. A later commit that succeeds takes its place, and then it is certainly gone. */
static enum log_outcome commit_outcome(struct sqlog *log, int rc) {
    if (rc == SQLITE_FULL)
        return LOG_NOT_PERSISTED;
    bool replaced = sqlog_db_exec(log->write_db, "UPDATE meta SET value = value + 1 WHERE key = 'barrier'", NULL);
    return replaced ? LOG_NOT_PERSISTED : LOG_OUTCOME_UNKNOWN;
}

/* What goes along with the records, now and then. */
struct extras {
    bool positions;
    bool index;
};

static enum log_outcome transaction_run(struct sqlog *log, const struct sqlog_commit *commit, struct extras extras,
                                        struct err *err) {
    bool ok = sqlog_db_run(log->begin, err) && (!commit || commit_insert(log, commit, err)) &&
              (!extras.index || sqlog_index_write(log, err)) && (!extras.positions || sqlog_positions_write(log, err));
    int64_t began_us = clock_monotonic_us();
    if (ok && sqlog_db_run(log->commit, err)) {
        metrics_observe(log->commit_seconds, (double)(clock_monotonic_us() - began_us) / 1e6);
        if (extras.index)
            sqlog_index_written(log, log->last_commit);
        return LOG_PERSISTED;
    }
    int rc = sqlite3_errcode(log->write_db);
    if (!sqlite3_get_autocommit(log->write_db))
        sqlite3_exec(log->write_db, "ROLLBACK", NULL, NULL, NULL);
    log->doubt = true;
    if (extras.positions)
        sqlog_positions_retry(log);
    return ok ? commit_outcome(log, rc) : LOG_NOT_PERSISTED;
}

static enum log_outcome group_commit(struct sqlog *log, struct sqlog_append *group, struct extras extras,
                                     struct err *err) {
    if (log->doubt) {
        if (!sqlog_load(log, log->write_db, err))
            return LOG_NOT_PERSISTED;
        log->doubt = false;
    }
    struct sqlog_commit *commit = group_encode(log, group);
    if (!commit && !extras.positions && !extras.index)
        return LOG_PERSISTED;
    enum log_outcome outcome = transaction_run(log, commit, extras, err);
    if (outcome != LOG_PERSISTED)
        sqlog_commit_unref(commit);
    else if (commit && !sqlog_commit_publish(log, commit, err))
        logging_err(err, "log.index_wrong", "path=%s", log->path);
    return outcome;
}

/* ---- the thread ---- */

/* Moves the write-ahead log into the database, after the deliveries. A failure is no loss: the next one does it. If
 * readers have kept the file from starting over for long, wait for them: their transactions are short. */
static void checkpoint(struct sqlog *log) {
    if (log->wal_pages < log->checkpoint_at)
        return;
    int mode = log->wal_pages < RESTART_PAGES ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
    sqlite3_wal_checkpoint_v2(log->write_db, NULL, mode, NULL, NULL);
    log->checkpoint_at = log->wal_pages + CHECKPOINT_PAGES;
}

static void group_write(struct sqlog *log, struct sqlog_append *group, bool positions, bool closing) {
    struct err err = {0};
    pthread_mutex_lock(&log->write_mutex);
    int64_t unindexed = log->last_commit - log->indexed;
    struct extras extras = {positions, unindexed >= SQLOG_INDEX_COMMITS || (closing && unindexed)};
    enum log_outcome outcome = group_commit(log, group, extras, &err);
    pthread_mutex_unlock(&log->write_mutex);
    if (outcome != LOG_PERSISTED) {
        logging_err(&err, "log.commit_failed", "path=%s", log->path);
        err.kind = outcome == LOG_OUTCOME_UNKNOWN ? ERR_OUTCOME_UNKNOWN : ERR_LOG_UNAVAILABLE;
    }
    sqlog_deliver(log, group, outcome, &err);
    pthread_mutex_lock(&log->write_mutex);
    checkpoint(log);
    pthread_mutex_unlock(&log->write_mutex);
}

/* With mutex held. */
static bool positions_due(const struct sqlog *log) {
    return log->positions_due_us && (log->closing || clock_monotonic_us() >= log->positions_due_us);
}

/* A commit costs much the same whatever it holds, and most of it is the fsync: under load those that come close
 * together share one. With mutex held. */
static void wait_for_more(struct sqlog *log, int64_t last_us) {
    int64_t until_us = last_us + SQLOG_COMMIT_INTERVAL_US;
    if (!log->closing && clock_monotonic_us() < until_us) {
        pthread_mutex_unlock(&log->mutex);
        clock_sleep_us(until_us - clock_monotonic_us());
        pthread_mutex_lock(&log->mutex);
    }
}

void *sqlog_writer_main(void *user) {
    struct sqlog *log = user;
    int64_t last_us = 0;
    thread_name("log-writer");
    pthread_mutex_lock(&log->mutex);
    for (;;) {
        while (!log->queue && !log->closing && !positions_due(log))
            sqlog_cond_wait_until(&log->work, &log->mutex, log->positions_due_us ? log->positions_due_us : INT64_MAX);
        if (!log->queue && log->closing)
            break;
        wait_for_more(log, last_us);
        last_us = clock_monotonic_us();
        struct sqlog_append *group = group_take(log);
        bool positions = positions_due(log);
        pthread_mutex_unlock(&log->mutex);
        group_write(log, group, positions, false);
        pthread_mutex_lock(&log->mutex);
    }
    bool positions = log->positions_due_us != 0;
    pthread_mutex_unlock(&log->mutex);
    group_write(log, NULL, positions, true);
    return NULL;
}

void sqlog_writer_flush_positions(struct sqlog *log) {
    pthread_mutex_lock(&log->mutex);
    bool positions = log->positions_due_us != 0;
    pthread_mutex_unlock(&log->mutex);
    if (positions)
        group_write(log, NULL, true, false);
}
