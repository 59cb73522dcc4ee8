/* The youngest batches of all partitions, bounded together: a reader that keeps up never asks SQLite. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

/* A partition's batches lie in a row in `tail`, from tail_first on; the oldest leave at the front. */
static void tail_push(struct sqlog_partition *partition, struct sqlog_batch *batch) {
    size_t end = partition->tail_first + partition->tail_count;
    if (end == partition->tail_cap && partition->tail_first > partition->tail_cap / 2) {
        memmove(partition->tail, partition->tail + partition->tail_first,
                partition->tail_count * sizeof partition->tail[0]);
        partition->tail_first = 0;
        end = partition->tail_count;
    } else if (end == partition->tail_cap) {
        partition->tail_cap = partition->tail_cap ? partition->tail_cap * 2 : 16;
        partition->tail = mem_realloc(partition->tail, partition->tail_cap * sizeof partition->tail[0]);
    }
    partition->tail[end] = batch;
    partition->tail_count++;
}

static void tail_drop_oldest(struct sqlog *log) {
    struct sqlog_batch *batch = log->tail_oldest;
    log->tail_oldest = batch->next;
    if (!log->tail_oldest)
        log->tail_end = &log->tail_oldest;
    log->tail_bytes -= sizeof *batch + batch->len;
    batch->partition->tail_first++;
    batch->partition->tail_count--;
    sqlog_batch_unref(batch);
}

void sqlog_tail_add(struct sqlog *log, struct sqlog_batch *batch) {
    tail_push(batch->partition, batch);
    batch->next = NULL;
    *log->tail_end = batch;
    log->tail_end = &batch->next;
    log->tail_bytes += sizeof *batch + batch->len;
    while (log->tail_bytes > SQLOG_TAIL_BYTES)
        tail_drop_oldest(log);
}

struct sqlog_batch *sqlog_tail_find(struct sqlog_partition *partition, int64_t offset) {
    struct sqlog_batch **tail = partition->tail + partition->tail_first;
    size_t from = 0, to = partition->tail_count;
    if (!to || offset < tail[0]->base)
        return NULL;
    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;
        if (tail[middle]->base <= offset)
            from = middle;
        else
            to = middle;
    }
    struct sqlog_batch *batch = tail[from];
    return offset < batch->base + batch->count ? sqlog_batch_ref(batch) : NULL;
}

void sqlog_tail_free(struct sqlog *log) {
    while (log->tail_oldest)
        tail_drop_oldest(log);
}

void sqlog_partition_wake(struct sqlog_partition *partition) {
    for (size_t i = 0; i < partition->watcher_count; i++) {
        partition->watchers[i]->ready = true;
        pthread_cond_signal(&partition->watchers[i]->wakeup);
    }
}
