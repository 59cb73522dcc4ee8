/* Where a partition's records are. An entry (first offset, commit) for each commit that holds some: the young ones in
 * memory, the older ones in rows of the table `part`, each of which covers some hundred commits:
 *
 *   id         tp << 40 | first offset
 *   bytes      CRC-32C of (id, rest) | varint first commit | for each entry: varint records, varint commits to the next
 *
 * On opening, only the commits since the last such row are read. Entries stay in memory for a while after they were
 * written, because the tail holds their commits. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/log/crc32c.h"
#include "core/log/record_codec.h"

enum { SUM_SIZE = 4, MEMORY_RUN = 64 };

/* ---- in memory ---- */

void sqlog_index_add(struct sqlog_partition *partition, int64_t base, int64_t commit) {
    if (partition->entry_first + partition->entry_count == partition->entry_cap) {
        if (partition->entry_first > partition->entry_cap / 2) {
            memmove(partition->entries, partition->entries + partition->entry_first,
                    partition->entry_count * sizeof partition->entries[0]);
            partition->entry_first = 0;
        } else {
            partition->entry_cap = partition->entry_cap ? partition->entry_cap * 2 : 16;
            partition->entries = mem_realloc(partition->entries, partition->entry_cap * sizeof partition->entries[0]);
        }
    }
    partition->entries[partition->entry_first + partition->entry_count++] = (struct sqlog_entry){base, commit};
}

static void partition_trim(struct sqlog_partition *partition, int64_t commit) {
    while (partition->entry_count && partition->entries[partition->entry_first].commit <= commit) {
        partition->entry_first++;
        partition->entry_count--;
    }
}

void sqlog_index_written(struct sqlog *log, int64_t commit) {
    if (commit == log->indexed)
        return;
    const struct sqlog_topics *topics = atomic_load(&log->topics);
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < topics->count; i++)
        for (int32_t p = 0; p < topics->items[i]->info.partitions; p++)
            partition_trim(&topics->items[i]->partitions[p], log->indexed);
    pthread_mutex_unlock(&log->mutex);
    log->indexed = commit;
}

/* How many of the entries come before: by offset (those that begin at or before it), or by commit (earlier ones). */
static size_t entries_before(const struct sqlog_entry *entries, size_t count, int64_t offset, int64_t commit) {
    size_t from = 0;
    while (count) {
        size_t half = count / 2;
        if (entries[from + half].base <= offset && entries[from + half].commit < commit) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return from;
}

bool sqlog_index_recent(struct sqlog *log, const struct sqlog_partition *partition, int64_t offset,
                        struct sqlog_entry *ret, size_t *ret_count) {
    pthread_mutex_lock(&log->mutex);
    const struct sqlog_entry *entries = partition->entries + partition->entry_first;
    size_t before = entries_before(entries, partition->entry_count, offset, INT64_MAX);
    if (before) {
        size_t left = partition->entry_count - (before - 1);
        *ret_count = left < MEMORY_RUN ? left : MEMORY_RUN;
        memcpy(ret, entries + before - 1, *ret_count * sizeof *ret);
    }
    pthread_mutex_unlock(&log->mutex);
    return before > 0;
}

/* ---- a row ---- */

static uint32_t row_sum(int64_t id, const char *bytes, size_t len) {
    char text[8];
    for (int i = 0; i < 8; i++)
        text[i] = (char)((uint64_t)id >> (8 * i));
    return crc32c(crc32c(0, text, sizeof text), bytes, len);
}

static void varint_add(struct buf *buf, int64_t value) {
    buf_reserve(buf, VARINT_MAX_SIZE);
    buf->len = (size_t)(varint_encode(buf->ptr + buf->len, (uint64_t)value) - buf->ptr);
}

static void row_encode(struct buf *buf, int64_t id, const struct sqlog_entry *entries, size_t count, int64_t end) {
    buf_reset(buf);
    buf_add(buf, "\0\0\0\0", SUM_SIZE);
    varint_add(buf, entries[0].commit);
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        varint_add(buf, (last ? end : entries[i + 1].base) - entries[i].base);
        varint_add(buf, last ? 0 : entries[i + 1].commit - entries[i].commit);
    }
    uint32_t sum = row_sum(id, buf->ptr + SUM_SIZE, buf->len - SUM_SIZE);
    for (int i = 0; i < SUM_SIZE; i++)
        buf->ptr[i] = (char)(sum >> (8 * i));
}

static bool row_damaged(const struct sqlog_partition *partition, int64_t id, struct err *err) {
    return err_set(err, ERR_CORRUPT, "the index of %s/%d from offset %lld on is damaged",
                   partition->topic->info.name.ptr, partition->index, (long long)sqlog_row_offset(id));
}

static bool row_decode(const struct sqlog_partition *partition, int64_t id, struct str bytes, struct sqlog_entry *ret,
                       size_t *ret_count, struct err *err) {
    uint64_t commit, records, commits;
    uint32_t sum = bytes.len > SUM_SIZE ? row_sum(id, bytes.ptr + SUM_SIZE, bytes.len - SUM_SIZE) : 0;
    for (int i = 0; i < SUM_SIZE; i++)
        if (bytes.len <= SUM_SIZE || bytes.ptr[i] != (char)(sum >> (8 * i)))
            return row_damaged(partition, id, err);
    struct str rest = {bytes.ptr + SUM_SIZE, bytes.len - SUM_SIZE};
    int64_t base = sqlog_row_offset(id);
    size_t count = 0;
    bool ok = varint_decode(&rest, &commit);
    while (ok && rest.len && count < SQLOG_RUN_MAX) {
        ok = varint_decode(&rest, &records) && varint_decode(&rest, &commits);
        ret[count++] = (struct sqlog_entry){base, (int64_t)commit};
        base += ok ? (int64_t)records : 0;
        commit += ok ? commits : 0;
    }
    if (!ok || rest.len)
        return row_damaged(partition, id, err);
    *ret_count = count;
    return true;
}

/* ---- writing ---- */

static bool row_write(struct sqlog *log, const struct sqlog_partition *partition, const struct sqlog_entry *entries,
                      size_t count, int64_t end, struct err *err) {
    BUF_AUTO bytes = {0};
    int64_t id = sqlog_row_id(partition, entries[0].base);
    row_encode(&bytes, id, entries, count, end);
    sqlite3_bind_int64(log->insert_index, 1, id);
    sqlite3_bind_int64(log->insert_index, 2, end);
    sqlite3_bind_int64(log->insert_index, 3, entries[count - 1].commit);
    sqlite3_bind_blob64(log->insert_index, 4, bytes.ptr, bytes.len, SQLITE_STATIC);
    return sqlog_db_run(log->insert_index, err);
}

/* The writer alone changes the entries, so that it may look at them without the mutex. */
static bool partition_write(struct sqlog *log, const struct sqlog_partition *partition, struct err *err) {
    const struct sqlog_entry *entries = partition->entries + partition->entry_first;
    size_t at = entries_before(entries, partition->entry_count, INT64_MAX, log->indexed + 1);
    while (at < partition->entry_count) {
        size_t count = partition->entry_count - at;
        count = count < SQLOG_RUN_MAX ? count : SQLOG_RUN_MAX;
        int64_t end = at + count < partition->entry_count ? entries[at + count].base : partition->high;
        if (!row_write(log, partition, entries + at, count, end, err))
            return false;
        at += count;
    }
    return true;
}

bool sqlog_index_write(struct sqlog *log, struct err *err) {
    const struct sqlog_topics *topics = atomic_load(&log->topics);
    for (size_t i = 0; i < topics->count; i++)
        for (int32_t p = 0; p < topics->items[i]->info.partitions; p++)
            if (!partition_write(log, &topics->items[i]->partitions[p], err))
                return false;
    sqlite3_bind_int64(log->set_indexed, 1, log->last_commit);
    return sqlog_db_run(log->set_indexed, err);
}

/* ---- reading ---- */

const char sqlog_index_select[] = "SELECT id, end, bytes FROM part WHERE id <= ?1 ORDER BY id DESC LIMIT 1";

static struct str column_blob(sqlite3_stmt *stmt, int column) {
    const char *bytes = sqlite3_column_blob(stmt, column);
    return (struct str){bytes ? bytes : "", (size_t)sqlite3_column_bytes(stmt, column)};
}

/* Less what comes before the offset. */
static bool row_read(sqlite3_stmt *stmt, const struct sqlog_partition *partition, int64_t offset,
                     struct sqlog_entry *ret, size_t *ret_count, struct err *err) {
    int64_t id = sqlite3_column_int64(stmt, 0);
    *ret_count = 0;
    if (id >> SQLOG_OFFSET_BITS != partition->tp || sqlite3_column_int64(stmt, 1) <= offset)
        return true;
    if (!row_decode(partition, id, column_blob(stmt, 2), ret, ret_count, err))
        return false;
    size_t before = entries_before(ret, *ret_count, offset, INT64_MAX) - 1;
    *ret_count -= before;
    memmove(ret, ret + before, *ret_count * sizeof *ret);
    return true;
}

bool sqlog_index_read(sqlite3_stmt *stmt, const struct sqlog_partition *partition, int64_t offset,
                      struct sqlog_entry *ret, size_t *ret_count, struct err *err) {
    sqlite3_bind_int64(stmt, 1, sqlog_row_id(partition, offset));
    int rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_ROW || rc == SQLITE_DONE || sqlog_db_err(sqlite3_db_handle(stmt), err);
    *ret_count = 0;
    if (rc == SQLITE_ROW)
        ok = row_read(stmt, partition, offset, ret, ret_count, err);
    sqlite3_reset(stmt);
    return ok;
}

bool sqlog_index_end(sqlite3_stmt *stmt, const struct sqlog_partition *partition, int64_t *ret, struct err *err) {
    sqlite3_bind_int64(stmt, 1, sqlog_row_id(partition, ((int64_t)1 << SQLOG_OFFSET_BITS) - 1));
    int rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_ROW || rc == SQLITE_DONE || sqlog_db_err(sqlite3_db_handle(stmt), err);
    bool found = rc == SQLITE_ROW && sqlite3_column_int64(stmt, 0) >> SQLOG_OFFSET_BITS == partition->tp;
    if (ok)
        *ret = found ? sqlite3_column_int64(stmt, 1) : 0;
    sqlite3_reset(stmt);
    return ok;
}

/* The first row that reaches as far as this commit. */
static bool row_after(sqlite3 *db, const struct sqlog_partition *partition, int64_t commit, struct sqlog_entry *ret,
                      size_t *ret_count, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(
            db, "SELECT id, bytes FROM part WHERE id >= ?1 AND id < ?2 AND last_commit >= ?3 ORDER BY id LIMIT 1",
            &stmt, err))
        return false;
    int64_t first = sqlog_row_id(partition, 0);
    sqlite3_bind_int64(stmt, 1, first);
    sqlite3_bind_int64(stmt, 2, first + ((int64_t)1 << SQLOG_OFFSET_BITS));
    sqlite3_bind_int64(stmt, 3, commit);
    int rc = sqlite3_step(stmt);
    *ret_count = 0;
    if (rc == SQLITE_ROW)
        return row_decode(partition, sqlite3_column_int64(stmt, 0), column_blob(stmt, 1), ret, ret_count, err);
    return rc == SQLITE_DONE || sqlog_db_err(db, err);
}

bool sqlog_index_after(struct sqlog *log, const struct sqlog_partition *partition, int64_t commit, int64_t high,
                       int64_t *ret, struct err *err) {
    pthread_mutex_lock(&log->mutex);
    const struct sqlog_entry *entries = partition->entries + partition->entry_first;
    size_t before = entries_before(entries, partition->entry_count, INT64_MAX, commit);
    int64_t offset = before < partition->entry_count ? entries[before].base : high;
    pthread_mutex_unlock(&log->mutex);
    if (!before) { /* there may be earlier ones on disk */
        struct sqlog_entry run[SQLOG_RUN_MAX];
        size_t count;
        if (!row_after(log->read_db, partition, commit, run, &count, err))
            return false;
        if (count)
            offset = run[entries_before(run, count, INT64_MAX, commit)].base;
    }
    *ret = offset < high ? offset : high;
    return true;
}
