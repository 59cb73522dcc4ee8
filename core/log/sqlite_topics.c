/* Topics in memory: which there are, and where each partition ends. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"

struct sqlog_topic *sqlog_topic_find(struct sqlog *log, struct str name) {
    const struct sqlog_topics *topics = atomic_load_explicit(&log->topics, memory_order_acquire);
    for (size_t i = 0; i < topics->count; i++)
        if (str_eq(topics->items[i]->info.name, name))
            return topics->items[i];
    return NULL;
}

struct sqlog_partition *sqlog_partition_find(struct sqlog *log, struct str topic, int32_t partition, struct err *err) {
    struct sqlog_topic *found = sqlog_topic_find(log, topic);
    if (!found) {
        err_set(err, ERR_NOT_FOUND, "there is no topic %.*s", STR_ARG(topic));
        return NULL;
    }
    if (partition < 0 || partition >= found->info.partitions) {
        err_set(err, ERR_NOT_FOUND, "topic %.*s has no partition %d", STR_ARG(topic), partition);
        return NULL;
    }
    return &found->partitions[partition];
}

static struct sqlog_topic *topic_new(struct str name, struct str id, int32_t partitions, int64_t first_tp) {
    struct sqlog_topic *topic = mem_zalloc(sizeof *topic + (size_t)partitions * sizeof topic->partitions[0]);
    topic->info = (struct log_topic){{mem_strdup(name), name.len}, {mem_strdup(id), id.len}, partitions};
    for (int32_t i = 0; i < partitions; i++) {
        topic->partitions[i].topic = topic;
        topic->partitions[i].index = i;
        topic->partitions[i].tp = first_tp + i;
    }
    return topic;
}

static void topic_free(struct sqlog_topic *topic) {
    for (int32_t i = 0; i < topic->info.partitions; i++) {
        free(topic->partitions[i].tail);
        free(topic->partitions[i].watchers);
    }
    free((char *)topic->info.name.ptr);
    free((char *)topic->info.id.ptr);
    free(topic);
}

/* Only one thread adds at a time: the one that holds write_mutex, or read_mutex in a read-only log. */
static void topics_add(struct sqlog *log, struct sqlog_topic *topic) {
    struct sqlog_topics *old = atomic_load(&log->topics);
    size_t count = old ? old->count : 0;
    struct sqlog_topics *topics = mem_alloc(sizeof *topics + (count + 1) * sizeof topics->items[0]);
    size_t at = 0;
    for (; at < count && str_cmp(old->items[at]->info.name, topic->info.name) < 0; at++)
        topics->items[at] = old->items[at];
    topics->items[at] = topic;
    for (; at < count; at++)
        topics->items[at + 1] = old->items[at];
    topics->count = count + 1;
    topics->older = old;
    atomic_store_explicit(&log->topics, topics, memory_order_release);
}

void sqlog_topics_free(struct sqlog *log) {
    struct sqlog_topics *topics = atomic_load(&log->topics);
    for (size_t i = 0; topics && i < topics->count; i++)
        topic_free(topics->items[i]);
    while (topics) {
        struct sqlog_topics *older = topics->older;
        free(topics);
        topics = older;
    }
}

/* ---- loading ---- */

static struct str column_str(sqlite3_stmt *stmt, int column) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return (struct str){text ? text : "", (size_t)sqlite3_column_bytes(stmt, column)};
}

static bool topics_load_list(struct sqlog *log, sqlite3 *db, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db, "SELECT name, uuid, partitions, first_tp FROM topic ORDER BY id", &stmt, err))
        return false;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t partitions = sqlite3_column_int64(stmt, 2), first_tp = sqlite3_column_int64(stmt, 3);
        if (partitions < 1 || first_tp < 0 || partitions > SQLOG_TP_MAX || first_tp > SQLOG_TP_MAX - partitions)
            return err_set(err, ERR_CORRUPT, "%s: a topic's row makes no sense", log->path);
        if (!sqlog_topic_find(log, column_str(stmt, 0)))
            topics_add(log, topic_new(column_str(stmt, 0), column_str(stmt, 1), (int32_t)partitions, first_tp));
    }
    return rc == SQLITE_DONE || sqlog_db_err(db, err);
}

static bool partition_load_end(struct sqlog *log, struct sqlog_partition *partition, sqlite3_stmt *last,
                               struct err *err) {
    sqlite3_bind_int64(last, 1, sqlog_row_id(partition, 0));
    sqlite3_bind_int64(last, 2, sqlog_row_id(partition, 0) + (((int64_t)1 << SQLOG_OFFSET_BITS) - 1));
    int64_t high = 0, time_us = 0;
    int rc = sqlite3_step(last);
    if (rc == SQLITE_ROW) {
        high = sqlite3_column_int64(last, 0) + 1;
        time_us = sqlite3_column_int64(last, 1);
    }
    sqlite3_reset(last);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlog_db_err(sqlite3_db_handle(last), err);
    partition->next_offset = high;
    partition->last_time_us = time_us;
    pthread_mutex_lock(&log->mutex);
    if (high > partition->high)
        sqlog_partition_wake(partition);
    partition->high = high;
    pthread_mutex_unlock(&log->mutex);
    return true;
}

bool sqlog_topics_load(struct sqlog *log, sqlite3 *db, struct err *err) {
    if (!topics_load_list(log, db, err))
        return false;
    STMT_AUTO *last = NULL;
    if (!sqlog_db_prepare(
            db, "SELECT last_offset, max_time FROM batch WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1", &last,
            err))
        return false;
    const struct sqlog_topics *topics = atomic_load(&log->topics);
    for (size_t i = 0; i < topics->count; i++)
        for (int32_t p = 0; p < topics->items[i]->info.partitions; p++)
            if (!partition_load_end(log, &topics->items[i]->partitions[p], last, err))
                return false;
    return true;
}

bool sqlog_refresh(struct sqlog *log, struct err *err) {
    if (!log->read_only)
        return true;
    pthread_mutex_lock(&log->read_mutex);
    STMT_AUTO *stmt = NULL;
    bool ok = sqlog_db_prepare(log->read_db, "PRAGMA data_version", &stmt, err);
    if (ok && sqlite3_step(stmt) != SQLITE_ROW)
        ok = sqlog_db_err(log->read_db, err);
    if (ok && sqlite3_column_int64(stmt, 0) != log->data_version) {
        int64_t version = sqlite3_column_int64(stmt, 0);
        ok = sqlog_topics_load(log, log->read_db, err);
        if (ok)
            log->data_version = version;
    }
    pthread_mutex_unlock(&log->read_mutex);
    return ok;
}

/* ---- creating ---- */

static bool topic_insert(sqlite3 *db, const struct log_topic_spec *spec, struct err *err) {
    STMT_AUTO *stmt = NULL;
    if (!sqlog_db_prepare(db,
                          "INSERT INTO topic(name, uuid, partitions, retention_ms, compacted, first_tp) SELECT ?1, ?2,"
                          " ?3, ?4, ?5, coalesce(max(first_tp + partitions), 0) FROM topic",
                          &stmt, err))
        return false;
    struct id id = id_random();
    sqlite3_bind_text(stmt, 1, spec->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, id.text, -1, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 3, spec->partitions);
    sqlite3_bind_int64(stmt, 4, spec->retention_ms);
    sqlite3_bind_int(stmt, 5, spec->compacted);
    return sqlog_db_run(stmt, err);
}

/* One transaction: all or none. */
static bool topics_insert(sqlite3 *db, const struct log_topic_spec *const *specs, size_t count, struct err *err) {
    bool ok = sqlog_db_exec(db, "BEGIN IMMEDIATE", err);
    for (size_t i = 0; ok && i < count; i++)
        ok = topic_insert(db, specs[i], err);
    ok = ok && sqlog_db_exec(db, "COMMIT", err);
    if (!ok && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

static bool topic_spec_missing(struct sqlog *log, const struct log_topic_spec *spec, bool *ret, struct err *err) {
    struct sqlog_topic *topic = sqlog_topic_find(log, str_from(spec->name));
    if (topic && topic->info.partitions != spec->partitions)
        return err_set(err, ERR_CONFIG, "topic %s has %d partitions, not %d; that can never change", spec->name,
                       topic->info.partitions, spec->partitions);
    *ret = !topic;
    return true;
}

bool sqlog_topics_create(struct log *base, const struct log_topic_spec *specs, size_t count, struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (log->read_only)
        return err_set(err, ERR_LOG_UNAVAILABLE, "%s was opened for reading only", log->path);
    const struct log_topic_spec **missing = mem_alloc((count + 1) * sizeof *missing);
    size_t missing_count = 0;
    bool ok = true;
    pthread_mutex_lock(&log->write_mutex);
    for (size_t i = 0; ok && i < count; i++) {
        bool is_missing = false;
        ok = topic_spec_missing(log, &specs[i], &is_missing, err);
        if (ok && is_missing)
            missing[missing_count++] = &specs[i];
    }
    if (ok && missing_count)
        ok = topics_insert(log->write_db, missing, missing_count, err) && topics_load_list(log, log->write_db, err);
    pthread_mutex_unlock(&log->write_mutex);
    free(missing);
    return ok;
}
