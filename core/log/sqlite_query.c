/* The questions that tools ask. */
#include "core/log/sqlite_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

bool sqlog_topic_info(struct log *base, struct str name, struct log_topic *ret, struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (!sqlog_refresh(log, err))
        return false;
    struct sqlog_topic *topic = sqlog_topic_find(log, name);
    if (!topic)
        return err_set(err, ERR_NOT_FOUND, "there is no topic %.*s", STR_ARG(name));
    *ret = topic->info;
    return true;
}

bool sqlog_topics_list(struct log *base, struct log_topic **ret, size_t *ret_count, struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (!sqlog_refresh(log, err))
        return false;
    const struct sqlog_topics *topics = atomic_load_explicit(&log->topics, memory_order_acquire);
    *ret = mem_alloc((topics->count + 1) * sizeof **ret);
    *ret_count = topics->count;
    for (size_t i = 0; i < topics->count; i++)
        (*ret)[i] = topics->items[i]->info;
    return true;
}

static int64_t partition_high(struct sqlog *log, struct sqlog_partition *partition) {
    pthread_mutex_lock(&log->mutex);
    int64_t high = partition->high;
    pthread_mutex_unlock(&log->mutex);
    return high;
}

bool sqlog_watermarks(struct log *base, struct str topic, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                      struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (!sqlog_refresh(log, err))
        return false;
    struct sqlog_partition *found = sqlog_partition_find(log, topic, partition, err);
    if (!found)
        return false;
    *ret_low = 0; /* nothing is ever deleted */
    *ret_high = partition_high(log, found);
    return true;
}

/* The first commit at or after a time, or the one after the last: by halves, times never decrease. */
static bool commit_search(sqlite3 *db, int64_t time_us, int64_t *ret, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, "SELECT time FROM journal WHERE id = ?1", &stmt, err))
        return false;
    int64_t from = 1, to = INT64_MAX / 2; /* beyond the last there is no row, and no row is late enough */
    while (from < to) {
        int64_t middle = from + (to - from) / 2;
        sqlite3_bind_int64(stmt, 1, middle);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW && sqlite3_column_int64(stmt, 0) < time_us)
            from = middle + 1;
        else
            to = middle;
        sqlite3_reset(stmt);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return sqlog_db_err(db, err);
    }
    *ret = from;
    return true;
}

bool sqlog_offset_at_time(struct log *base, struct str topic, int32_t partition, int64_t time_us, int64_t *ret,
                          struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (!sqlog_refresh(log, err))
        return false;
    struct sqlog_partition *found = sqlog_partition_find(log, topic, partition, err);
    if (!found)
        return false;
    int64_t high = partition_high(log, found);
    pthread_mutex_lock(&log->read_mutex);
    int64_t commit = 0;
    bool ok =
        commit_search(log->read_db, time_us, &commit, err) && sqlog_index_after(log, found, commit, high, ret, err);
    pthread_mutex_unlock(&log->read_mutex);
    return ok;
}

/* The write-ahead log counts too, and may be missing. */
bool sqlog_usage(struct log *base, struct log_usage *ret, struct err *err) {
    const struct sqlog *log = sqlog_of(base);
    BUF_AUTO wal = {0};
    struct stat file;
    struct statvfs disk;
    if (stat(log->path, &file) != 0 || statvfs(log->path, &disk) != 0)
        return err_set(err, ERR_IO, "cannot look at %s: %s", log->path, strerrordesc_np(errno));
    *ret = (struct log_usage){.used_bytes = file.st_size,
                              .free_bytes = (int64_t)(disk.f_bavail * disk.f_frsize),
                              .disk_bytes = (int64_t)(disk.f_blocks * disk.f_frsize)};
    buf_printf(&wal, "%s-wal", log->path);
    if (stat(wal.ptr, &file) == 0)
        ret->used_bytes += file.st_size;
    return true;
}
