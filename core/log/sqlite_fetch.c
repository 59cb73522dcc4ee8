/* How records get from the tail or the database into a consumer's poll, without being copied: the batches that they
 * point into are held until the next poll. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/log/record_codec.h"

enum { AHEAD_ROWS = 64, AHEAD_BYTES = 256 * 1024 };

static void hold(struct sqlog_consumer *consumer, struct sqlog_batch *batch) {
    if (consumer->held_count == consumer->held_cap) {
        consumer->held_cap = consumer->held_cap ? consumer->held_cap * 2 : 16;
        consumer->held = mem_realloc(consumer->held, consumer->held_cap * sizeof consumer->held[0]);
    }
    consumer->held[consumer->held_count++] = batch;
}

/* The batch being read stays until the next poll, its records may have been handed out. */
void sqlog_read_stop(struct sqlog_consumer *consumer, struct sqlog_read *read) {
    if (read->batch)
        hold(consumer, read->batch);
    read->batch = NULL;
    while (read->ahead) {
        struct sqlog_batch *batch = read->ahead;
        read->ahead = batch->next;
        sqlog_batch_unref(batch);
    }
    read->active = false;
}

/* ---- from the database ---- */

static bool fetch_prepare(struct sqlog_consumer *consumer, struct err *err) {
    if (consumer->select)
        return true;
    if (!consumer->db && !sqlog_db_open(sqlog_of(consumer->base.log), false, &consumer->db, err))
        return false;
    return sqlog_db_prepare(consumer->db,
                            "SELECT id, bytes FROM batch WHERE id <= ?2 AND id >="
                            " (SELECT id FROM batch WHERE id <= ?1 ORDER BY id DESC LIMIT 1) ORDER BY id",
                            &consumer->select, err);
}

void sqlog_fetch_close(struct sqlog_consumer *consumer) {
    sqlog_stmt_close(&consumer->select);
    sqlite3_close_v2(consumer->db);
    consumer->db = NULL;
}

/* Appends rows to read->ahead while they go on at `offset` without a gap; false is for errors only. */
static bool rows_take(struct sqlog_consumer *consumer, struct sqlog_read *read, struct err *err) {
    struct sqlog_batch **end = &read->ahead;
    int64_t offset = read->offset;
    size_t rows = 0, bytes = 0;
    int rc;
    while (rows < AHEAD_ROWS && bytes < AHEAD_BYTES && (rc = sqlite3_step(consumer->select)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(consumer->select, 0);
        if (id >> SQLOG_OFFSET_BITS != read->partition->tp)
            return true; /* the partition has no batch at or before the offset */
        size_t len = (size_t)sqlite3_column_bytes(consumer->select, 1);
        struct sqlog_batch *batch;
        if (!sqlog_batch_from_row(read->partition, id, sqlite3_column_blob(consumer->select, 1), len, &batch, err))
            return rows > 0; /* hand out what comes before the damage first */
        bool goes_on = rows ? batch->base == offset : batch->base <= offset && offset < batch->base + batch->count;
        if (!goes_on) {
            sqlog_batch_unref(batch);
            return true;
        }
        *end = batch;
        end = &batch->next;
        offset = batch->base + batch->count;
        bytes += len;
        rows++;
    }
    return rows || rc == SQLITE_DONE || sqlog_db_err(consumer->db, err);
}

static bool rows_fetch(struct sqlog_consumer *consumer, struct sqlog_read *read, struct err *err) {
    if (!fetch_prepare(consumer, err))
        return false;
    sqlite3_bind_int64(consumer->select, 1, sqlog_row_id(read->partition, read->offset));
    sqlite3_bind_int64(consumer->select, 2, sqlog_row_id(read->partition, read->high - 1));
    bool ok = rows_take(consumer, read, err);
    sqlite3_reset(consumer->select);
    return ok;
}

/* ---- the next batch ---- */

static const char *topic_name(const struct sqlog_read *read) {
    return read->partition->topic->info.name.ptr;
}

static bool batch_enter(struct sqlog_read *read, struct sqlog_batch *batch, struct err *err) {
    struct str rest;
    if (!sqlog_batch_open(batch, &rest, &read->time_us, err))
        return false;
    for (int64_t offset = batch->base; offset < read->offset; offset++)
        if (!record_skip(&rest, err))
            return err_wrap(err, "%s/%d offset %lld", topic_name(read), read->partition->index, (long long)offset);
    read->rest = rest;
    read->left = batch->base + batch->count - read->offset;
    return true;
}

static struct sqlog_batch *tail_find(struct sqlog *log, struct sqlog_read *read) {
    pthread_mutex_lock(&log->mutex);
    struct sqlog_batch *batch = sqlog_tail_find(read->partition, read->offset);
    pthread_mutex_unlock(&log->mutex);
    return batch;
}

static bool batch_next(struct sqlog_consumer *consumer, struct sqlog_read *read, struct err *err) {
    struct sqlog_batch *batch = read->ahead ? NULL : tail_find(sqlog_of(consumer->base.log), read);
    if (!batch) {
        if (!read->ahead && !rows_fetch(consumer, read, err))
            return err_wrap(err, "%s/%d offset %lld", topic_name(read), read->partition->index,
                            (long long)read->offset);
        batch = read->ahead;
        if (!batch)
            return err_set(err, ERR_LOST_RECORDS,
                           "%s/%d: the record at offset %lld is gone, though the log ends at %lld", topic_name(read),
                           read->partition->index, (long long)read->offset, (long long)read->high);
        read->ahead = batch->next;
    }
    if (!batch_enter(read, batch, err)) {
        sqlog_batch_unref(batch);
        return false;
    }
    read->batch = batch;
    return true;
}

/* ---- records ---- */

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
        return err_wrap(err, "%s/%d offset %lld", topic_name(read), read->partition->index, (long long)read->offset);
    record->topic = read->partition->topic->info.name;
    record->partition = read->partition->index;
    record->offset = read->offset++;
    record->timestamp_us = read->time_us;
    consumer->record_bytes += before - read->rest.len;
    consumer->record_count++;
    if (--read->left == 0) {
        hold(consumer, read->batch);
        read->batch = NULL;
    }
    return true;
}

bool sqlog_read_take(struct sqlog_consumer *consumer, struct sqlog_read *read, size_t max, struct err *err) {
    if (read->offset < 0 || read->offset > read->high)
        return err_set(err, ERR_LOST_RECORDS, "%s/%d has no offset %lld: it holds 0 to %lld", topic_name(read),
                       read->partition->index, (long long)read->offset, (long long)read->high);
    for (size_t i = 0; i < max && read->offset < read->high && consumer->record_bytes < SQLOG_POLL_BYTES; i++)
        if ((!read->batch && !batch_next(consumer, read, err)) || !record_take(consumer, read, err))
            return false;
    return true;
}
