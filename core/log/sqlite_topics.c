/* The topics: an immutable list in memory, and their table. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

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

struct sqlog_partition *sqlog_partition_by_tp(struct sqlog *log, int64_t tp) {
    const struct sqlog_topics *topics = atomic_load_explicit(&log->topics, memory_order_acquire);
    for (size_t i = 0; i < topics->count; i++) {
        struct sqlog_topic *topic = topics->items[i];
        int64_t first = topic->partitions[0].tp;
        if (tp >= first && tp < first + topic->info.partitions)
            return &topic->partitions[tp - first];
    }
    return NULL;
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
        free(topic->partitions[i].entries);
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

bool sqlog_topics_load(struct sqlog *log, sqlite3 *db, struct err *err) {
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
        ok = topics_insert(log->write_db, missing, missing_count, err) && sqlog_topics_load(log, log->write_db, err);
    pthread_mutex_unlock(&log->write_mutex);
    free(missing);
    return ok;
}
