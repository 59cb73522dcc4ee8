/* The positions that groups tell: kept in memory, written now and then. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"

static struct sqlog_position *position_of(struct sqlog_group *group, struct sqlog_partition *partition) {
    for (size_t i = 0; i < group->position_count; i++)
        if (group->positions[i].partition == partition)
            return &group->positions[i];
    group->positions = mem_realloc(group->positions, (group->position_count + 1) * sizeof group->positions[0]);
    struct sqlog_position *position = &group->positions[group->position_count++];
    *position = (struct sqlog_position){.partition = partition};
    return position;
}

/* With mutex held. */
static void positions_schedule(struct sqlog *log) {
    if (log->positions_due_us)
        return;
    log->positions_due_us = sqlog_deadline_us(SQLOG_POSITION_INTERVAL_MS);
    pthread_cond_signal(&log->work);
}

void sqlog_consumer_commit(struct log_consumer *base, const struct log_position *positions, size_t count) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    struct sqlog *log = sqlog_of(base->log);
    if (!consumer->group || log->read_only || !count)
        return;
    int64_t now_us = clock_now_us();
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < count; i++) {
        struct sqlog_partition *partition = sqlog_partition_find(log, positions[i].topic, positions[i].partition, NULL);
        if (!partition)
            continue;
        struct sqlog_position *position = position_of(consumer->group, partition);
        *position = (struct sqlog_position){partition, positions[i].offset, now_us, true};
        positions_schedule(log);
    }
    pthread_mutex_unlock(&log->mutex);
}

/* ---- writing ---- */

struct position_row {
    const char *group;
    struct sqlog_position position;
};

static size_t dirty_count(const struct sqlog *log) {
    size_t count = 0;
    for (const struct sqlog_group *group = log->groups; group; group = group->next)
        for (size_t i = 0; i < group->position_count; i++)
            count += group->positions[i].dirty;
    return count;
}

static struct position_row *dirty_take(struct sqlog *log, size_t *ret_count) {
    pthread_mutex_lock(&log->mutex);
    struct position_row *rows = mem_alloc((dirty_count(log) + 1) * sizeof *rows);
    *ret_count = 0;
    for (struct sqlog_group *group = log->groups; group; group = group->next)
        for (size_t i = 0; i < group->position_count; i++) {
            if (group->positions[i].dirty)
                rows[(*ret_count)++] = (struct position_row){group->name, group->positions[i]};
            group->positions[i].dirty = false;
        }
    log->positions_due_us = 0;
    pthread_mutex_unlock(&log->mutex);
    return rows;
}

bool sqlog_positions_write(struct sqlog *log, struct err *err) {
    size_t count;
    struct position_row *rows = dirty_take(log, &count);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct sqlog_position *position = &rows[i].position;
        const struct str topic = position->partition->topic->info.name;
        sqlite3_bind_text(log->insert_position, 1, rows[i].group, -1, SQLITE_STATIC);
        sqlite3_bind_text(log->insert_position, 2, topic.ptr, (int)topic.len, SQLITE_STATIC);
        sqlite3_bind_int(log->insert_position, 3, position->partition->index);
        sqlite3_bind_int64(log->insert_position, 4, position->offset);
        sqlite3_bind_int64(log->insert_position, 5, position->time_us);
        ok = sqlog_db_run(log->insert_position, err);
    }
    free(rows);
    return ok;
}

void sqlog_positions_retry(struct sqlog *log) {
    pthread_mutex_lock(&log->mutex);
    for (struct sqlog_group *group = log->groups; group; group = group->next)
        for (size_t i = 0; i < group->position_count; i++)
            group->positions[i].dirty = true;
    positions_schedule(log);
    pthread_mutex_unlock(&log->mutex);
}

/* ---- reading ---- */

/* One allocation: the array, and behind it the names, which are at first given by their place in `names`. */
static struct log_group_position *positions_pack(struct log_group_position *items, size_t count, struct buf *names) {
    struct log_group_position *packed = mem_alloc((count + 1) * sizeof *packed + names->len + 1);
    char *at = (char *)(packed + count + 1);
    if (names->len)
        memcpy(at, names->ptr, names->len);
    for (size_t i = 0; i < count; i++) {
        packed[i] = items[i];
        packed[i].group.ptr = at;
        at += packed[i].group.len;
        packed[i].position.topic.ptr = at;
        at += packed[i].position.topic.len;
    }
    return packed;
}

static bool positions_select(sqlite3 *db, struct log_group_position **ret, size_t *ret_count, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, "SELECT grp, topic, partition, offset, time FROM position ORDER BY 1, 2, 3", &stmt, err))
        return false;
    BUF_AUTO names = {0}, items = {0};
    size_t count = 0;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct log_group_position item = {
            .group.len = (size_t)sqlite3_column_bytes(stmt, 0),
            .position = {.topic.len = (size_t)sqlite3_column_bytes(stmt, 1),
                         .partition = sqlite3_column_int(stmt, 2),
                         .offset = sqlite3_column_int64(stmt, 3)},
            .committed_at_us = sqlite3_column_int64(stmt, 4),
        };
        buf_add(&names, sqlite3_column_text(stmt, 0), item.group.len);
        buf_add(&names, sqlite3_column_text(stmt, 1), item.position.topic.len);
        buf_add(&items, &item, sizeof item);
        count++;
    }
    if (rc != SQLITE_DONE)
        return sqlog_db_err(db, err);
    *ret = positions_pack((struct log_group_position *)(void *)items.ptr, count, &names);
    *ret_count = count;
    return true;
}

bool sqlog_group_positions(struct log *base, struct log_group_position **ret, size_t *ret_count, struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (!log->read_only)
        sqlog_writer_flush_positions(log);
    pthread_mutex_lock(&log->read_mutex);
    bool ok = positions_select(log->read_db, ret, ret_count, err);
    pthread_mutex_unlock(&log->read_mutex);
    return ok;
}
