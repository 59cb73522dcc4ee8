#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/thread.h"

/* ---- opening and closing ---- */

static bool topics_resolve(struct sqlog_consumer *consumer, const struct str *topics, size_t count, struct err *err) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    if (!sqlog_refresh(log, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct sqlog_topic *topic = sqlog_topic_find(log, topics[i]);
        if (!topic)
            return err_set(err, ERR_NOT_FOUND, "there is no topic %.*s", STR_ARG(topics[i]));
        consumer->topics[consumer->topic_count++] = topic;
    }
    return true;
}

static void consumer_free(struct sqlog_consumer *consumer) {
    while (consumer->read_count)
        sqlog_read_remove(consumer, consumer->reads[0].partition);
    for (size_t i = 0; i < consumer->held_count; i++)
        sqlog_commit_unref(consumer->held[i]);
    sqlog_fetch_close(consumer);
    arena_free(&consumer->arena);
    pthread_cond_destroy(&consumer->wakeup);
    free(consumer->held);
    free(consumer->records);
    free(consumer->reads);
    free(consumer->topics);
    free(consumer);
}

bool sqlog_consumer_open(struct log *base, struct str group, const struct str *topics, size_t topic_count,
                         const struct log_listener *listener, struct log_consumer **ret, struct err *err) {
    struct sqlog_consumer *consumer = mem_zalloc(sizeof *consumer);
    consumer->base.log = base;
    consumer->topics = mem_alloc((topic_count + 1) * sizeof consumer->topics[0]);
    if (listener)
        consumer->listener = *listener;
    thread_cond_init(&consumer->wakeup);
    arena_init(&consumer->arena);
    if (!topics_resolve(consumer, topics, topic_count, err)) {
        consumer_free(consumer);
        return false;
    }
    if (group.ptr)
        sqlog_group_join(consumer, group);
    *ret = &consumer->base;
    return true;
}

void sqlog_consumer_close(struct log_consumer *base) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    if (consumer->group)
        sqlog_group_leave(consumer);
    consumer_free(consumer);
}

/* ---- what is read ---- */

static void watch(struct sqlog_consumer *consumer, struct sqlog_partition *partition) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    pthread_mutex_lock(&log->mutex);
    if (partition->watcher_count == partition->watcher_cap) {
        partition->watcher_cap += 4;
        partition->watchers = mem_realloc(partition->watchers, partition->watcher_cap * sizeof partition->watchers[0]);
    }
    partition->watchers[partition->watcher_count++] = consumer;
    pthread_mutex_unlock(&log->mutex);
}

static void unwatch(struct sqlog_consumer *consumer, struct sqlog_partition *partition) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < partition->watcher_count; i++)
        if (partition->watchers[i] == consumer) {
            partition->watchers[i] = partition->watchers[--partition->watcher_count];
            break;
        }
    pthread_mutex_unlock(&log->mutex);
}

static struct sqlog_read *read_find(struct sqlog_consumer *consumer, const struct sqlog_partition *partition) {
    for (size_t i = 0; i < consumer->read_count; i++)
        if (consumer->reads[i].partition == partition)
            return &consumer->reads[i];
    return NULL;
}

void sqlog_read_add(struct sqlog_consumer *consumer, struct sqlog_partition *partition) {
    if (consumer->read_count == consumer->read_cap) {
        consumer->read_cap = consumer->read_cap ? consumer->read_cap * 2 : 8;
        consumer->reads = mem_realloc(consumer->reads, consumer->read_cap * sizeof consumer->reads[0]);
    }
    consumer->reads[consumer->read_count++] = (struct sqlog_read){.partition = partition};
    watch(consumer, partition);
}

void sqlog_read_remove(struct sqlog_consumer *consumer, struct sqlog_partition *partition) {
    struct sqlog_read *read = read_find(consumer, partition);
    if (!read)
        return;
    unwatch(consumer, partition);
    sqlog_read_stop(consumer, read);
    *read = consumer->reads[--consumer->read_count];
}

bool sqlog_consumer_seek(struct log_consumer *base, struct str topic, int32_t partition, int64_t offset,
                         struct err *err) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    struct sqlog *log = sqlog_of(base->log);
    if (!sqlog_topic_find(log, topic) && !sqlog_refresh(log, err))
        return false;
    struct sqlog_partition *found = sqlog_partition_find(log, topic, partition, err);
    if (!found)
        return false;
    if (!read_find(consumer, found)) {
        if (consumer->group)
            return err_set(err, ERR_NOT_FOUND, "%.*s/%d is not assigned to this member", STR_ARG(topic), partition);
        sqlog_read_add(consumer, found);
    }
    struct sqlog_read *read = read_find(consumer, found);
    sqlog_read_stop(consumer, read);
    read->offset = offset;
    read->active = true;
    return true;
}

void sqlog_consumer_pause(struct log_consumer *base, struct str topic, int32_t partition) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    struct sqlog_partition *found = sqlog_partition_find(sqlog_of(base->log), topic, partition, NULL);
    struct sqlog_read *read = found ? read_find(consumer, found) : NULL;
    if (read)
        sqlog_read_stop(consumer, read);
}

/* ---- polling ---- */

enum { WINDOW_COMMITS = 64, PATIENT_POLLS = 4 };
static const int64_t NO_COMMIT = INT64_MAX;

static bool read_pending(const struct sqlog_read *read) {
    return read->active && read->offset != read->high;
}

static void release(struct sqlog_consumer *consumer) {
    for (size_t i = 0; i < consumer->held_count; i++)
        sqlog_commit_unref(consumer->held[i]);
    consumer->held_count = consumer->record_count = consumer->record_bytes = 0;
    arena_reset(&consumer->arena);
}

/* Sees how far each partition goes now; how many have something for us, be it an error. */
static size_t look(struct sqlog_consumer *consumer, bool *woken) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    size_t count = 0;
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < consumer->read_count; i++) {
        struct sqlog_read *read = &consumer->reads[i];
        read->high = read->partition->high;
        count += read_pending(read);
    }
    *woken |= consumer->woken;
    consumer->ready = consumer->woken = false;
    pthread_mutex_unlock(&log->mutex);
    return count;
}

/* An error is told at once if nothing was taken yet, else by the next poll. */
static bool read_failed(struct sqlog_consumer *consumer, struct sqlog_read *read) {
    read->suspect = consumer->record_count > 0;
    read->failed = !read->suspect;
    return read->suspect;
}

/* Which commit each goes on in; the first of them. A partition whose error was told by the last poll is left out once,
 * so that the others are not held up by it. */
static bool plan(struct sqlog_consumer *consumer, size_t ready, int64_t *ret_first, struct err *err) {
    *ret_first = NO_COMMIT;
    for (size_t i = 0; i < consumer->read_count; i++) {
        struct sqlog_read *read = &consumer->reads[i];
        bool skip = read->failed && ready > 1;
        read->polls_without = read_pending(read) ? read->polls_without + 1 : 0;
        read->failed = false;
        read->next_commit = NO_COMMIT;
        if (skip || !read_pending(read))
            continue;
        bool ok = sqlog_read_next(consumer, read, &read->next_commit, err);
        if (ok && read->suspect)
            ok = sqlog_read_take(consumer, read, 0, err);
        if (!ok)
            return read_failed(consumer, read);
        read->suspect = false;
        if (read->next_commit < *ret_first)
            *ret_first = read->next_commit;
    }
    return true;
}

/* Takes from one partition's commit; then finds the next one. */
static bool take(struct sqlog_consumer *consumer, struct sqlog_read *read, size_t max, struct err *err) {
    if (!sqlog_read_take(consumer, read, max, err))
        return false;
    read->polls_without = 0;
    if (!read_pending(read))
        read->next_commit = NO_COMMIT;
    else if (!read->commit)
        return sqlog_read_next(consumer, read, &read->next_commit, err);
    return true;
}

static bool full(const struct sqlog_consumer *consumer, size_t max) {
    return consumer->record_count >= max || consumer->record_bytes >= SQLOG_POLL_BYTES;
}

/* Reading in the order of the commits alone, a partition that lags would hold up all others. */
static bool kept_waiting(const struct sqlog_read *read, int64_t first) {
    return read->next_commit != NO_COMMIT &&
           (read->next_commit > first + WINDOW_COMMITS || read->polls_without >= PATIENT_POLLS);
}

/* Those kept waiting get half of the room, in equal shares. */
static bool collect_shares(struct sqlog_consumer *consumer, size_t ready, size_t max, int64_t first, struct err *err) {
    size_t share = max / 2 / ready + 1, start = consumer->turn++;
    for (size_t i = 0; i < consumer->read_count && !full(consumer, max); i++) {
        struct sqlog_read *read = &consumer->reads[(start + i) % consumer->read_count];
        size_t left = max - consumer->record_count, end = consumer->record_count + (share < left ? share : left);
        bool waited = kept_waiting(read, first);
        while (waited && read->next_commit != NO_COMMIT && !full(consumer, end))
            if (!take(consumer, read, end - consumer->record_count, err))
                return read_failed(consumer, read);
    }
    return true;
}

/* The others go on in the order of the commits, so that each row is read once, however many partitions it serves. */
static bool collect_in_order(struct sqlog_consumer *consumer, size_t max, int64_t commit, struct err *err) {
    while (commit != NO_COMMIT && !full(consumer, max)) {
        int64_t next = NO_COMMIT;
        for (size_t i = 0; i < consumer->read_count; i++) {
            struct sqlog_read *read = &consumer->reads[i];
            if (read->next_commit == commit && !full(consumer, max) &&
                !take(consumer, read, max - consumer->record_count, err))
                return read_failed(consumer, read);
            if (read->next_commit < next)
                next = read->next_commit;
        }
        commit = next;
    }
    return true;
}

static bool collect(struct sqlog_consumer *consumer, size_t ready, size_t max, struct err *err) {
    int64_t first;
    return plan(consumer, ready, &first, err) && collect_shares(consumer, ready, max, first, err) &&
           collect_in_order(consumer, max, first, err);
}

/* Until there may be something to do; a read-only log has no one who would say so. */
static void wait_for_work(struct sqlog_consumer *consumer, int64_t until_us) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    if (log->read_only) {
        int64_t look_again_us = sqlog_deadline_us(SQLOG_FOREIGN_POLL_MS);
        until_us = until_us < look_again_us ? until_us : look_again_us;
    }
    pthread_mutex_lock(&log->mutex);
    bool in_time = true;
    while (!consumer->ready && !consumer->woken && !consumer->rebalance && in_time)
        in_time = sqlog_cond_wait_until(&consumer->wakeup, &log->mutex, until_us);
    pthread_mutex_unlock(&log->mutex);
}

bool sqlog_consumer_poll(struct log_consumer *base, size_t max, int64_t timeout_ms, struct log_batch *ret,
                         struct err *err) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    int64_t until_us = sqlog_deadline_us(timeout_ms);
    bool woken = false;
    release(consumer);
    for (;;) {
        if (consumer->group && sqlog_group_step(consumer))
            break;
        if (!sqlog_refresh(sqlog_of(base->log), err))
            return false;
        size_t ready = look(consumer, &woken);
        if (ready && max && !collect(consumer, ready, max, err))
            return false;
        if (consumer->record_count || woken || clock_monotonic_us() >= until_us)
            break;
        wait_for_work(consumer, until_us);
    }
    *ret = (struct log_batch){consumer->records, consumer->record_count};
    return true;
}

void sqlog_consumer_wake(struct log_consumer *base) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    struct sqlog *log = sqlog_of(base->log);
    pthread_mutex_lock(&log->mutex);
    consumer->woken = true;
    sqlog_consumer_signal(consumer);
    pthread_mutex_unlock(&log->mutex);
}

void sqlog_consumer_signal(struct sqlog_consumer *consumer) {
    pthread_cond_signal(&consumer->wakeup);
    if (consumer->notify)
        consumer->notify(consumer->notify_user);
}

void sqlog_consumer_notify(struct log_consumer *base, void (*notify)(void *user), void *user) {
    struct sqlog_consumer *consumer = (struct sqlog_consumer *)base;
    struct sqlog *log = sqlog_of(base->log);
    pthread_mutex_lock(&log->mutex);
    consumer->notify = notify;
    consumer->notify_user = user;
    pthread_mutex_unlock(&log->mutex);
}
