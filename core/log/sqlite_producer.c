/* The way of an append into the queue, and of its delivery back. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/log/record_codec.h"

bool sqlog_producer_open(struct log *base, const struct log_producer_options *options, struct log_producer **ret,
                         struct err *err) {
    struct sqlog *log = sqlog_of(base);
    if (log->read_only)
        return err_set(err, ERR_LOG_UNAVAILABLE, "%s was opened for reading only", log->path);
    struct sqlog_producer *producer = mem_zalloc(sizeof *producer);
    producer->base.log = base;
    producer->options = *options;
    *ret = &producer->base;
    return true;
}

static bool wait_until_delivered(struct sqlog_producer *producer, int64_t until_us) {
    struct sqlog *log = sqlog_of(producer->base.log);
    pthread_mutex_lock(&log->mutex);
    bool in_time = true;
    while (producer->queued_count && in_time)
        in_time = sqlog_cond_wait_until(&log->delivered, &log->mutex, until_us);
    bool done = producer->queued_count == 0;
    pthread_mutex_unlock(&log->mutex);
    return done;
}

bool sqlog_flush(struct log_producer *base, int64_t timeout_ms) {
    return wait_until_delivered((struct sqlog_producer *)base, sqlog_deadline_us(timeout_ms));
}

void sqlog_producer_close(struct log_producer *base) {
    wait_until_delivered((struct sqlog_producer *)base, INT64_MAX);
    free(base);
}

static struct sqlog_append *append_new(const struct log_record *record) {
    struct log_record stored = *record;
    stored.topic = STR_NULL;
    stored.partition = LOG_BY_KEY;
    stored.timestamp_us = 0;
    size_t len;
    struct sqlog_append *append = record_encode_behind(sizeof *append, &stored, &len);
    *append = (struct sqlog_append){.len = len, .offset = -1};
    return append;
}

static size_t append_cost(const struct sqlog_append *append) {
    return sizeof *append + append->len;
}

/* With mutex held. A record larger than the bound still goes in when it is alone. */
static bool append_enqueue(struct sqlog *log, struct sqlog_producer *producer, struct sqlog_append *append,
                           struct err *err) {
    if (producer->broken)
        return err_set(err, ERR_LOG_UNAVAILABLE, "an earlier append of this producer has failed: open a new one");
    if (producer->queued_count && producer->queued_bytes + append_cost(append) > producer->options.max_queued_bytes)
        return err_set(err, ERR_OVERLOADED, "%zu bytes wait for the log already", producer->queued_bytes);
    producer->queued_bytes += append_cost(append);
    producer->queued_count++;
    *log->queue_end = append;
    log->queue_end = &append->next;
    pthread_cond_signal(&log->work);
    return true;
}

bool sqlog_append(struct log_producer *base, const struct log_record *record, log_delivery *delivery, void *user,
                  struct err *err) {
    struct sqlog *log = sqlog_of(base->log);
    struct sqlog_producer *producer = (struct sqlog_producer *)base;
    struct sqlog_topic *topic = sqlog_topic_find(log, record->topic);
    int32_t partition = record->partition;
    if (topic && partition == LOG_BY_KEY)
        partition = log_partition_of(record->key, topic->info.partitions);
    struct sqlog_partition *found = sqlog_partition_find(log, record->topic, partition, err);
    if (!found)
        return false;
    struct sqlog_append *append = append_new(record);
    append->producer = producer;
    append->partition = found;
    append->delivery = delivery;
    append->user = user;
    if (producer->options.delivery_timeout_ms)
        append->deadline_us = sqlog_deadline_us(producer->options.delivery_timeout_ms);
    pthread_mutex_lock(&log->mutex);
    bool ok = append_enqueue(log, producer, append, err);
    pthread_mutex_unlock(&log->mutex);
    if (!ok)
        free(append);
    return ok;
}

static void group_break_producers(struct sqlog *log, struct sqlog_append *group) {
    pthread_mutex_lock(&log->mutex);
    for (; group; group = group->next)
        if (!group->producer->options.delivery_timeout_ms)
            group->producer->broken = true;
    pthread_mutex_unlock(&log->mutex);
}

void sqlog_deliver(struct sqlog *log, struct sqlog_append *group, enum log_outcome outcome, const struct err *err) {
    if (outcome != LOG_PERSISTED)
        group_break_producers(log, group);
    for (struct sqlog_append *append = group; append; append = append->next) {
        if (!append->delivery)
            continue;
        int32_t partition = append->partition->index;
        if (append->failed)
            append->delivery(append->user, LOG_NOT_PERSISTED, partition, -1, append->failed);
        else if (outcome != LOG_PERSISTED)
            append->delivery(append->user, outcome, partition, -1, err);
        else
            append->delivery(append->user, LOG_PERSISTED, partition, append->offset, NULL);
    }
    bool emptied = false;
    pthread_mutex_lock(&log->mutex);
    for (struct sqlog_append *append = group; append; append = append->next) {
        append->producer->queued_bytes -= append_cost(append);
        emptied |= --append->producer->queued_count == 0;
    }
    if (emptied)
        pthread_cond_broadcast(&log->delivered);
    pthread_mutex_unlock(&log->mutex);
    while (group) {
        struct sqlog_append *append = group;
        group = append->next;
        free(append);
    }
}
