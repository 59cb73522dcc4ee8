/* The last commits in memory: a reader that keeps up never asks SQLite. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

static size_t tail_cost(const struct sqlog_commit *commit) {
    return sizeof *commit + commit->part_count * sizeof commit->parts[0] + commit->len;
}

static void tail_drop_oldest(struct sqlog *log) {
    struct sqlog_commit *commit = log->tail[log->tail_first++];
    log->tail_count--;
    log->tail_bytes -= tail_cost(commit);
    sqlog_commit_unref(commit);
}

void sqlog_tail_clear(struct sqlog *log) {
    while (log->tail_count)
        tail_drop_oldest(log);
}

/* Makes room behind the last: what has left at the front is used again. */
static void tail_reserve(struct sqlog *log) {
    if (log->tail_first + log->tail_count < log->tail_cap)
        return;
    if (log->tail_first > log->tail_cap / 2) {
        memmove(log->tail, log->tail + log->tail_first, log->tail_count * sizeof log->tail[0]);
        log->tail_first = 0;
        return;
    }
    log->tail_cap = log->tail_cap ? log->tail_cap * 2 : 64;
    log->tail = mem_realloc(log->tail, log->tail_cap * sizeof log->tail[0]);
}

void sqlog_tail_add(struct sqlog *log, struct sqlog_commit *commit) {
    if (log->tail_count && log->tail[log->tail_first + log->tail_count - 1]->id + 1 != commit->id)
        sqlog_tail_clear(log);
    tail_reserve(log);
    log->tail[log->tail_first + log->tail_count++] = commit;
    log->tail_bytes += tail_cost(commit);
    while (log->tail_bytes > SQLOG_TAIL_BYTES)
        tail_drop_oldest(log);
}

struct sqlog_commit *sqlog_tail_find(const struct sqlog *log, int64_t id) {
    if (!log->tail_count)
        return NULL;
    int64_t first = log->tail[log->tail_first]->id;
    if (id < first || id >= first + (int64_t)log->tail_count)
        return NULL;
    return sqlog_commit_ref(log->tail[log->tail_first + (size_t)(id - first)]);
}

/* ---- publishing ---- */

static void partition_wake(struct sqlog_partition *partition) {
    for (size_t i = 0; i < partition->watcher_count; i++) {
        if (!partition->watchers[i]->ready)
            sqlog_consumer_signal(partition->watchers[i]);
        partition->watchers[i]->ready = true;
    }
}

/* With mutex held. */
static bool part_publish(struct sqlog *log, const struct sqlog_part *part, int64_t commit, struct err *err) {
    struct sqlog_partition *partition = sqlog_partition_by_tp(log, part->tp);
    if (!partition)
        return err_set(err, ERR_CORRUPT, "commit %lld holds a partition that no topic has", (long long)commit);
    if (part->base != partition->high)
        return err_set(err, ERR_CORRUPT, "commit %lld: %s/%d goes on at offset %lld instead of %lld", (long long)commit,
                       partition->topic->info.name.ptr, partition->index, (long long)part->base,
                       (long long)partition->high);
    partition->high = part->base + part->count;
    sqlog_index_add(partition, part->base, commit);
    partition_wake(partition);
    return true;
}

bool sqlog_commit_publish(struct sqlog *log, struct sqlog_commit *commit, struct err *err) {
    bool ok = true;
    log->last_commit = commit->id;
    log->last_time_us = commit->time_us;
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; ok && i < commit->part_count; i++)
        ok = part_publish(log, &commit->parts[i], commit->id, err);
    sqlog_tail_add(log, commit);
    pthread_mutex_unlock(&log->mutex);
    return ok;
}
