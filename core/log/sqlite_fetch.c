/* How records get from the tail or the database into a consumer's poll, mostly without being copied: the commits that
 * they point into are held until the next poll. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/log/record_codec.h"

static void hold(struct sqlog_consumer *consumer, struct sqlog_commit *commit) {
    if (consumer->held_count == consumer->held_cap) {
        consumer->held_cap = consumer->held_cap ? consumer->held_cap * 2 : 16;
        consumer->held = mem_realloc(consumer->held, consumer->held_cap * sizeof consumer->held[0]);
    }
    consumer->held[consumer->held_count++] = commit;
}

/* The commit being read stays until the next poll, its records may have been handed out. */
void sqlog_read_stop(struct sqlog_consumer *consumer, struct sqlog_read *read) {
    if (read->commit)
        hold(consumer, read->commit);
    free(read->run);
    *read = (struct sqlog_read){.partition = read->partition, .high = read->high};
}

static bool where(const struct sqlog_read *read, struct err *err) {
    return err_wrap(err, "%s/%d offset %lld", read->partition->topic->info.name.ptr, read->partition->index,
                    (long long)read->offset);
}

/* ---- from the database ---- */

static bool statement(struct sqlog_consumer *consumer, const char *sql, sqlite3_stmt **stmt, struct err *err) {
    if (*stmt)
        return true;
    if (!consumer->db && !sqlog_db_open(sqlog_of(consumer->base.log), false, &consumer->db, err))
        return false;
    return sqlog_db_prepare(consumer->db, sql, stmt, err);
}

void sqlog_fetch_close(struct sqlog_consumer *consumer) {
    sqlog_commit_unref(consumer->row);
    sqlog_stmt_close(&consumer->select_commit);
    sqlog_stmt_close(&consumer->select_index);
    sqlite3_close_v2(consumer->db);
}

static bool row_read(struct sqlog_consumer *consumer, int64_t id, struct sqlog_commit **ret, struct err *err) {
    sqlite3_stmt *stmt = consumer->select_commit;
    sqlite3_bind_int64(stmt, 1, id);
    int rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_ROW;
    if (ok) {
        const void *bytes = sqlite3_column_blob(stmt, 1);
        ok = sqlog_commit_parse(id, sqlite3_column_int64(stmt, 0), bytes, (size_t)sqlite3_column_bytes(stmt, 1), ret,
                                err);
    } else if (rc == SQLITE_DONE) {
        err_set(err, ERR_LOST_RECORDS, "commit %lld is gone", (long long)id);
    } else {
        sqlog_db_err(consumer->db, err);
    }
    sqlite3_reset(stmt);
    return ok;
}

/* Answers a reference. */
static bool commit_fetch(struct sqlog_consumer *consumer, int64_t id, struct sqlog_commit **ret, struct err *err) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    pthread_mutex_lock(&log->mutex);
    *ret = sqlog_tail_find(log, id);
    pthread_mutex_unlock(&log->mutex);
    if (*ret)
        return true;
    if (!consumer->row || consumer->row->id != id) {
        struct sqlog_commit *row;
        if (!statement(consumer, "SELECT time, bytes FROM journal WHERE id = ?1", &consumer->select_commit, err) ||
            !row_read(consumer, id, &row, err))
            return false;
        sqlog_commit_unref(consumer->row);
        consumer->row = row;
    }
    *ret = sqlog_commit_ref(consumer->row);
    return true;
}

/* ---- which commit comes next ---- */

static bool run_fill(struct sqlog_consumer *consumer, struct sqlog_read *read, struct err *err) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    struct sqlog_entry run[SQLOG_RUN_MAX];
    size_t count = 0;
    if (!sqlog_index_recent(log, read->partition, read->offset, run, &count)) {
        if (!statement(consumer, sqlog_index_select, &consumer->select_index, err) ||
            !sqlog_index_read(consumer->select_index, read->partition, read->offset, run, &count, err))
            return false;
        if (!count)
            return err_set(err, ERR_LOST_RECORDS, "the record is gone, though the log ends at %lld",
                           (long long)read->high);
    }
    free(read->run);
    read->run = mem_alloc(count * sizeof run[0]);
    memcpy(read->run, run, count * sizeof run[0]);
    read->run_count = count;
    read->run_at = 0;
    return true;
}

bool sqlog_read_next(struct sqlog_consumer *consumer, struct sqlog_read *read, int64_t *ret_commit, struct err *err) {
    if (read->offset < 0 || read->offset > read->high) {
        err_set(err, ERR_LOST_RECORDS, "there is no such offset: the partition holds 0 to %lld", (long long)read->high);
        return where(read, err);
    }
    if (read->run_at == read->run_count && !run_fill(consumer, read, err))
        return where(read, err);
    *ret_commit = read->run[read->run_at].commit;
    return true;
}

/* ---- records ---- */

static const struct sqlog_part *part_find(const struct sqlog_commit *commit, const struct sqlog_read *read) {
    for (size_t i = 0; i < commit->part_count; i++) {
        const struct sqlog_part *part = &commit->parts[i];
        if (part->tp == read->partition->tp)
            return read->offset >= part->base && read->offset < part->base + part->count ? part : NULL;
    }
    return NULL;
}

/* A commit that has left the tail may be held by this reader alone, for the sake of a few of its records. */
static bool copied(const struct sqlog_consumer *consumer, const struct sqlog_commit *commit,
                   const struct sqlog_part *part) {
    return commit == consumer->row && part->records.len < commit->len / 2;
}

/* Takes the reference over, but when it fails. */
static bool part_enter(struct sqlog_consumer *consumer, struct sqlog_read *read, struct sqlog_commit *commit,
                       struct err *err) {
    const struct sqlog_part *part = part_find(commit, read);
    if (!part)
        return err_set(err, ERR_CORRUPT, "commit %lld does not hold it", (long long)commit->id);
    if (!commit->made_here && !sqlog_part_check(part, err))
        return false;
    struct str rest = part->records;
    for (int64_t offset = part->base; offset < read->offset; offset++)
        if (!record_skip(&rest, err))
            return false;
    read->left = part->base + part->count - read->offset;
    if (copied(consumer, commit, part)) {
        struct sqlog_commit *whole = commit;
        commit = sqlog_commit_of_part(whole, part);
        rest.ptr = commit->parts[0].records.ptr + (rest.ptr - part->records.ptr);
        sqlog_commit_unref(whole);
    }
    read->rest = rest;
    read->commit = commit;
    return true;
}

static bool commit_enter(struct sqlog_consumer *consumer, struct sqlog_read *read, struct err *err) {
    struct sqlog_commit *commit;
    if (!commit_fetch(consumer, read->run[read->run_at].commit, &commit, err))
        return false;
    if (part_enter(consumer, read, commit, err))
        return true;
    sqlog_commit_unref(commit);
    return false;
}

static struct log_record *record_add(struct sqlog_consumer *consumer) {
    if (consumer->record_count == consumer->record_cap) {
        consumer->record_cap = consumer->record_cap ? consumer->record_cap * 2 : 64;
        consumer->records = mem_realloc(consumer->records, consumer->record_cap * sizeof consumer->records[0]);
    }
    return &consumer->records[consumer->record_count];
}

static bool record_take(struct sqlog_consumer *consumer, struct sqlog_read *read, struct err *err) {
    struct log_record *record = record_add(consumer);
    size_t before = read->rest.len;
    if (!record_decode(&read->rest, &consumer->arena, record, err))
        return false;
    record->topic = read->partition->topic->info.name;
    record->partition = read->partition->index;
    record->offset = read->offset++;
    record->timestamp_us = read->commit->time_us;
    consumer->record_bytes += before - read->rest.len;
    consumer->record_count++;
    if (--read->left == 0) {
        hold(consumer, read->commit);
        read->commit = NULL;
        read->run_at++;
    }
    return true;
}

bool sqlog_read_take(struct sqlog_consumer *consumer, struct sqlog_read *read, size_t max, struct err *err) {
    if (!read->commit && !commit_enter(consumer, read, err))
        return where(read, err);
    for (size_t i = 0; i < max && read->commit && consumer->record_bytes < SQLOG_POLL_BYTES; i++)
        if (!record_take(consumer, read, err))
            return where(read, err);
    return true;
}
