/* The questions that tools ask. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

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

/* The first batch that begins at or after `from`; none: one at `high`, at the end of time. */
static bool batch_after(sqlite3_stmt *stmt, struct sqlog_partition *partition, int64_t from, int64_t high,
                        int64_t *ret_base, int64_t *ret_time_us, struct err *err) {
    sqlite3_bind_int64(stmt, 1, sqlog_row_id(partition, from));
    sqlite3_bind_int64(stmt, 2, sqlog_row_id(partition, high));
    int rc = sqlite3_step(stmt);
    *ret_base = rc == SQLITE_ROW ? sqlog_row_offset(sqlite3_column_int64(stmt, 0)) : high;
    *ret_time_us = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 1) : INT64_MAX;
    bool ok = rc == SQLITE_ROW || rc == SQLITE_DONE || sqlog_db_err(sqlite3_db_handle(stmt), err);
    sqlite3_reset(stmt);
    return ok;
}

/* By halves: times never decrease within a partition, and all records of a batch have the same. */
static bool offset_search(sqlite3 *db, struct sqlog_partition *partition, int64_t high, int64_t time_us, int64_t *ret,
                          struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, "SELECT id, max_time FROM batch WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1", &stmt,
                          err))
        return false;
    int64_t from = 0, to = high, base, time_of; /* batches before `from` are too early, those after `to` are not */
    while (from < to) {
        int64_t middle = from + (to - from) / 2;
        if (!batch_after(stmt, partition, middle, high, &base, &time_of, err))
            return false;
        if (time_of < time_us)
            from = base + 1;
        else
            to = middle;
    }
    if (!batch_after(stmt, partition, from, high, &base, &time_of, err))
        return false;
    *ret = base;
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
    bool ok = offset_search(log->read_db, found, high, time_us, ret, err);
    pthread_mutex_unlock(&log->read_mutex);
    return ok;
}
