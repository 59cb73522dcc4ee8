/* The port itself: picks the adapter by the URL, checks what every adapter would have to check. */
#include "core/log/adapter.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/thread.h"

static const struct {
    struct str scheme;
    bool (*open)(const char *rest, const struct log_options *options, struct log **ret, struct err *err);
} adapters[] = {
    {{"sqlite://", 9}, log_sqlite_open},
    {{"kafka://", 8}, log_kafka_open},
};

bool log_open(const char *url, const struct log_options *options, struct log **ret, struct err *err) {
    static const struct log_options none;
    for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
        if (str_starts_with(str_from(url), adapters[i].scheme))
            return adapters[i].open(url + adapters[i].scheme.len, options ? options : &none, ret, err);
    /* The URL is not repeated: one of another kind may hold a password. */
    return err_set(err, ERR_CONFIG,
                   "the log's URL has an unknown scheme; known: sqlite:///path/log.db, kafka://host:9092");
}

void log_close(struct log *log) {
    if (log)
        log->ops->close(log);
}

struct str log_id(const struct log *log) {
    return log->ops->id(log);
}

static bool topic_name_valid(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return name.len > 0 && name.len <= 249 && !str_eq(name, STR(".")) && !str_eq(name, STR(".."));
}

bool log_topics_create(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++) {
        if (!topic_name_valid(str_from(specs[i].name)))
            return err_set(err, ERR_CONFIG, "\"%s\" is not a topic name (1-249 of a-z A-Z 0-9 . _ -)", specs[i].name);
        if (specs[i].partitions < 1)
            return err_set(err, ERR_CONFIG, "topic %s needs at least one partition", specs[i].name);
    }
    return log->ops->topics_create(log, specs, count, err);
}

bool log_topics_diff(struct log *log, const struct log_topic_spec *specs, size_t count, log_drift *each, void *user,
                     struct err *err) {
    struct log_topic_spec *standing = mem_alloc((count + 1) * sizeof *standing);
    size_t standing_count = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        struct log_topic topic;
        struct err why = {0};
        char wanted[16], found[16];
        snprintf(wanted, sizeof wanted, "%d", specs[i].partitions);
        if (log->ops->topic_find(log, str_from(specs[i].name), &topic, &why)) {
            standing[standing_count++] = specs[i];
            snprintf(found, sizeof found, "%d", topic.partitions);
            if (topic.partitions != specs[i].partitions)
                each(user, specs[i].name, "partitions", wanted, found, false);
        } else if (why.kind == ERR_NOT_FOUND) {
            each(user, specs[i].name, "topic", specs[i].name, "", true);
        } else {
            ok = err_set(err, why.kind, "%s", why.detail);
        }
    }
    if (ok && log->ops->topics_compare)
        ok = log->ops->topics_compare(log, standing, standing_count, each, user, err);
    free(standing);
    return ok;
}

bool log_topics_apply(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err) {
    return log_topics_create(log, specs, count, err) &&
           (!log->ops->topics_mend || log->ops->topics_mend(log, specs, count, err));
}

bool log_topic_find(struct log *log, struct str name, struct log_topic *ret, struct err *err) {
    return log->ops->topic_find(log, name, ret, err);
}

bool log_topics_list(struct log *log, struct log_topic **ret, size_t *ret_count, struct err *err) {
    return log->ops->topics_list(log, ret, ret_count, err);
}

bool log_watermarks(struct log *log, struct str topic, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                    struct err *err) {
    return log->ops->watermarks(log, topic, partition, ret_low, ret_high, err);
}

bool log_ends(struct log *log, struct log_position *positions, size_t count, bool low, struct err *err) {
    if (log->ops->ends)
        return !count || log->ops->ends(log, positions, count, low, err);
    for (size_t i = 0; i < count; i++) {
        int64_t first, next;
        if (!log->ops->watermarks(log, positions[i].topic, positions[i].partition, &first, &next, err))
            return false;
        positions[i].offset = low ? first : next;
    }
    return true;
}

bool log_offset_at_time(struct log *log, struct str topic, int32_t partition, int64_t time_us, int64_t *ret,
                        struct err *err) {
    return log->ops->offset_at_time(log, topic, partition, time_us, ret, err);
}

bool log_usage_read(struct log *log, struct log_usage *ret, struct err *err) {
    return log->ops->usage && log->ops->usage(log, ret, err);
}

bool log_group_positions(struct log *log, struct log_group_position **ret, size_t *ret_count, struct err *err) {
    return log->ops->group_positions(log, ret, ret_count, err);
}

bool log_topic_id_fits(struct str id, struct str stored) {
    const struct str by_name = STR(LOG_TOPIC_ID_BY_NAME);
    return str_eq(id, stored) || str_starts_with(id, by_name) || str_starts_with(stored, by_name);
}

/* ---- producers ---- */

bool log_producer_open(struct log *log, const struct log_producer_options *options, struct log_producer **ret,
                       struct err *err) {
    struct log_producer_options full = options ? *options : (struct log_producer_options){0};
    if (!full.max_queued_bytes)
        full.max_queued_bytes = 32 << 20;
    return log->ops->producer_open(log, &full, ret, err);
}

void log_producer_close(struct log_producer *producer) {
    if (producer)
        producer->log->ops->producer_close(producer);
}

static size_t record_payload(const struct log_record *record) {
    size_t size = record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        size += record->headers[i].name.len + record->headers[i].value.len;
    return size;
}

bool log_append(struct log_producer *producer, const struct log_record *record, log_delivery *delivery, void *user,
                struct err *err) {
    size_t size = record_payload(record);
    if (size > LOG_RECORD_MAX)
        return err_set(err, ERR_TOO_LARGE, "a record of %zu bytes for %.*s; at most %d are allowed", size,
                       STR_ARG(record->topic), LOG_RECORD_MAX);
    return producer->log->ops->append(producer, record, delivery, user, err);
}

bool log_flush(struct log_producer *producer, int64_t timeout_ms) {
    return producer->log->ops->flush(producer, timeout_ms);
}

/* Shared by the caller that waits and the delivery, whoever comes last frees it: the caller may give up first. */
struct append_wait {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    int users;
    bool delivered;
    enum log_outcome outcome;
    int32_t partition;
    int64_t offset;
    struct err err;
};

static struct append_wait *append_wait_new(void) {
    struct append_wait *wait = mem_zalloc(sizeof *wait);
    thread_cond_init(&wait->done);
    pthread_mutex_init(&wait->mutex, NULL);
    wait->users = 2;
    return wait;
}

/* Called with the mutex held, which it gives back. */
static void append_wait_leave(struct append_wait *wait) {
    bool last = --wait->users == 0;
    pthread_mutex_unlock(&wait->mutex);
    if (!last)
        return;
    pthread_cond_destroy(&wait->done);
    pthread_mutex_destroy(&wait->mutex);
    free(wait);
}

static void append_wait_delivered(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                                  const struct err *err) {
    struct append_wait *wait = user;
    pthread_mutex_lock(&wait->mutex);
    wait->delivered = true;
    wait->outcome = outcome;
    wait->partition = partition;
    wait->offset = offset;
    if (err)
        wait->err = *err;
    pthread_cond_signal(&wait->done);
    append_wait_leave(wait);
}

static bool append_wait_result(const struct append_wait *wait, int32_t *ret_partition, int64_t *ret_offset,
                               struct err *err) {
    if (!wait->delivered)
        return err_set(err, ERR_OUTCOME_UNKNOWN, "the log did not answer in time");
    if (wait->outcome != LOG_PERSISTED) {
        if (err)
            *err = wait->err;
        return false;
    }
    if (ret_partition)
        *ret_partition = wait->partition;
    if (ret_offset)
        *ret_offset = wait->offset;
    return true;
}

bool log_append_wait(struct log_producer *producer, const struct log_record *record, int64_t timeout_ms,
                     int32_t *ret_partition, int64_t *ret_offset, struct err *err) {
    struct append_wait *wait = append_wait_new();
    bool accepted = log_append(producer, record, append_wait_delivered, wait, err);
    pthread_mutex_lock(&wait->mutex);
    if (!accepted) {
        wait->users = 1;
        append_wait_leave(wait);
        return false;
    }
    int64_t until_us = clock_monotonic_us() + timeout_ms * 1000;
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    int rc = 0;
    while (!wait->delivered && rc == 0)
        rc = pthread_cond_timedwait(&wait->done, &wait->mutex, &until);
    bool ok = append_wait_result(wait, ret_partition, ret_offset, err);
    append_wait_leave(wait);
    return ok;
}

/* ---- consumers ---- */

bool log_consumer_open(struct log *log, struct str group, const struct str *topics, size_t topic_count,
                       const struct log_listener *listener, struct log_consumer **ret, struct err *err) {
    if (!group.len || !topic_count)
        return err_set(err, ERR_USAGE, "a group consumer needs a group and at least one topic");
    return log->ops->consumer_open(log, group, topics, topic_count, listener, ret, err);
}

bool log_consumer_open_manual(struct log *log, struct log_consumer **ret, struct err *err) {
    return log->ops->consumer_open(log, STR_NULL, NULL, 0, NULL, ret, err);
}

void log_consumer_close(struct log_consumer *consumer) {
    if (consumer)
        consumer->log->ops->consumer_close(consumer);
}

bool log_consumer_seek(struct log_consumer *consumer, struct str topic, int32_t partition, int64_t offset,
                       struct err *err) {
    return consumer->log->ops->consumer_seek(consumer, topic, partition, offset, err);
}

void log_consumer_pause(struct log_consumer *consumer, struct str topic, int32_t partition) {
    consumer->log->ops->consumer_pause(consumer, topic, partition);
}

bool log_consumer_poll(struct log_consumer *consumer, size_t max, int64_t timeout_ms, struct log_batch *ret,
                       struct err *err) {
    return consumer->log->ops->consumer_poll(consumer, max, timeout_ms, ret, err);
}

void log_consumer_wake(struct log_consumer *consumer) {
    consumer->log->ops->consumer_wake(consumer);
}

void log_consumer_notify(struct log_consumer *consumer, void (*notify)(void *user), void *user) {
    consumer->log->ops->consumer_notify(consumer, notify, user);
}

void log_consumer_commit(struct log_consumer *consumer, const struct log_position *positions, size_t count) {
    consumer->log->ops->consumer_commit(consumer, positions, count);
}
