/* Filling empty topics with the records that other ones had. An offset is what the broker counts, so records are
 * appended in their order from 0 on, and each acknowledgement is compared with the offset that it must be. While it
 * goes on topic KAFKA_RESTORING is there, topics take the records' own times, and nothing is deleted. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"

enum { PATIENCE_MS = 60000 };

struct fill {
    struct kafka_restore *restore;
    const struct kafka_topic *topic;
    int32_t partition;
    int64_t next;         /* to be appended; the restore's thread */
    int64_t acknowledged; /* the next to be: under the restore's lock */
};

/* All partitions of a topic; never moved, since deliveries point to them. */
struct fill_topic {
    int32_t partitions;
    struct fill fills[];
};

struct kafka_restore {
    struct log_restore base;
    struct kafka_log *log;
    struct log_producer *producer;
    struct map topics; /* name -> struct fill_topic */
    pthread_mutex_t lock;
    struct err failed; /* the first failure of a delivery */
};

static struct kafka_restore *restore_of(struct log_restore *base) {
    return (struct kafka_restore *)base;
}

/* ---- the mark ---- */

bool kafka_restoring(struct kafka_log *log, bool *ret, struct err *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 1, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code)
        return kafka_err_set(err, code, "asking Kafka for its topics");
    *ret = false;
    for (int i = 0; i < metadata->topic_cnt; i++)
        *ret |= strcmp(metadata->topics[i].topic, KAFKA_RESTORING) == 0 &&
                metadata->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

static bool mark_set(struct kafka_log *log, struct err *err) {
    const struct log_topic_spec spec = {KAFKA_RESTORING, 1, -1, false};
    return kafka_topics_create(&log->base, &spec, 1, err);
}

static bool mark_delete(struct kafka_log *log, struct err *err) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(log->admin);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(log->admin, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(KAFKA_RESTORING);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    rd_kafka_DeleteTopics(log->admin, &topic, 1, options, queue);
    rd_kafka_event_t *event = kafka_admin_wait(queue, "deleting topic " KAFKA_RESTORING, err);
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        event ? rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count) : NULL;
    rd_kafka_resp_err_t code = count ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_NO_ERROR;
    bool ok = event && (!code || kafka_err_set(err, code, "deleting topic " KAFKA_RESTORING));
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return ok;
}

/* Brokers hear of it a little later than the controller. */
static bool mark_remove(struct kafka_log *log, struct err *err) {
    int64_t until_us = clock_monotonic_us() + KAFKA_USABLE_TIMEOUT_MS * INT64_C(1000);
    if (!mark_delete(log, err))
        return false;
    for (bool there = true; there;) {
        if (!kafka_restoring(log, &there, err))
            return false;
        if (there && clock_monotonic_us() > until_us)
            return err_set(err, ERR_LOG_UNAVAILABLE, "topic " KAFKA_RESTORING " was deleted, and is still there");
        if (there)
            clock_sleep_ms(20);
    }
    return true;
}

/* ---- what is there before ---- */

static void time_type_compare(void *user, const char *topic, const char *what, const char *wanted, const char *found,
                              bool mendable) {
    (void)mendable;
    struct err *err = user;
    if (strcmp(what, "message.timestamp.type") == 0 && !err->kind)
        err_set(err, ERR_CONFIG,
                "topic %s has %s=%s, and needs %s while it is filled: delete the topic, which is empty; restore makes "
                "it again, and sets it as it should be at the end",
                topic, what, found, wanted);
}

/* A topic that stands must be empty, and take the records' times: a setting that is changed now would reach the brokers
 * at a time that nobody knows. */
static bool is_fillable(struct kafka_log *log, const struct log_topic *topic, struct err *err) {
    const struct log_topic_spec spec = {topic->name.ptr, topic->partitions, -1, false};
    struct err found = {0};
    for (int32_t p = 0; p < topic->partitions; p++) {
        struct log_position end = {topic->name, p, 0};
        if (!kafka_ends(&log->base, &end, 1, false, err))
            return false;
        if (end.offset)
            return err_set(err, ERR_CONFIG,
                           "topic %s is not empty: its partition %d goes to offset %lld. Restore into a cluster that "
                           "has no such topics",
                           topic->name.ptr, p, (long long)end.offset);
    }
    if (!kafka_topics_compare(&log->base, &spec, 1, time_type_compare, &found, err))
        return false;
    return !found.kind || err_set(err, found.kind, "%s", found.detail);
}

static bool is_named(struct str name, const struct str *topics, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(topics[i], name))
            return true;
    return false;
}

static bool all_fillable(struct kafka_log *log, const struct str *topics, size_t count, struct err *err) {
    struct log_topic *standing;
    size_t standing_count;
    if (!kafka_topics_list(&log->base, &standing, &standing_count, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < standing_count; i++)
        ok = !is_named(standing[i].name, topics, count) || is_fillable(log, &standing[i], err);
    free(standing);
    return ok;
}

/* ---- topics ---- */

/* Partitions that have records already are gone on with: whose they are, the caller has to compare. */
static bool topic_add(struct kafka_restore *restore, const struct kafka_topic *topic, struct err *err) {
    size_t count = (size_t)topic->info.partitions;
    struct fill_topic *fill = mem_zalloc(sizeof *fill + count * sizeof fill->fills[0]);
    struct log_position *ends = mem_alloc(count * sizeof *ends);
    fill->partitions = topic->info.partitions;
    for (size_t i = 0; i < count; i++)
        ends[i] = (struct log_position){topic->info.name, (int32_t)i, 0};
    bool ok = kafka_ends(&restore->log->base, ends, count, false, err);
    for (size_t i = 0; i < count; i++)
        fill->fills[i] = (struct fill){restore, topic, (int32_t)i, ends[i].offset, ends[i].offset};
    free(ends);
    if (ok)
        *map_put(&restore->topics, topic->info.name) = fill;
    else
        free(fill);
    return ok;
}

static bool log_id_compare(struct log_restore *base, struct str id, bool *ret_kept, struct err *err) {
    (void)err;
    *ret_kept = str_eq(id, log_id(base->log));
    return true;
}

static bool topic_id_compare(struct log_restore *base, struct str name, struct str id, bool *ret_kept,
                             struct err *err) {
    struct kafka_restore *restore = restore_of(base);
    const struct kafka_topic *topic;
    if (!kafka_topic_get(restore->log, name, &topic, err))
        return false;
    *ret_kept = log_topic_id_fits(topic->info.id, id);
    return map_get(&restore->topics, name) || topic_add(restore, topic, err);
}

/* ---- records ---- */

bool log_kafka_restore_check(const struct log_record *record, struct err *err) {
    if (record->timestamp_us > 0 && record->timestamp_us % 1000 == 0)
        return true;
    return err_set(
        err, ERR_CONFIG,
        "%.*s/%d: the record of offset %lld has a time to the microsecond, which only an embedded log keeps: "
        "Kafka's are whole milliseconds",
        STR_ARG(record->topic), record->partition, (long long)record->offset);
}

static void on_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                        const struct err *err) {
    struct fill *fill = user;
    struct kafka_restore *restore = fill->restore;
    pthread_mutex_lock(&restore->lock);
    int64_t expected = fill->acknowledged++;
    if (restore->failed.kind == ERR_NONE && outcome != LOG_PERSISTED)
        err_set(&restore->failed, err->kind, "%s", err->detail);
    else if (restore->failed.kind == ERR_NONE && offset >= 0 && offset != expected)
        err_set(&restore->failed, ERR_CORRUPT,
                "%s/%d: a record came to offset %lld instead of %lld: somebody else writes to the topic. Delete the "
                "topics, and begin again",
                fill->topic->name, partition, (long long)offset, (long long)expected);
    pthread_mutex_unlock(&restore->lock);
}

static bool no_failure(struct kafka_restore *restore, struct err *err) {
    pthread_mutex_lock(&restore->lock);
    bool ok = restore->failed.kind == ERR_NONE || err_set(err, restore->failed.kind, "%s", restore->failed.detail);
    pthread_mutex_unlock(&restore->lock);
    return ok;
}

static bool await_acknowledgements(struct kafka_restore *restore, struct err *err) {
    bool done = log_flush(restore->producer, PATIENCE_MS);
    if (!no_failure(restore, err))
        return false;
    return done ||
           err_set(err, ERR_LOG_UNAVAILABLE,
                   "Kafka has not acknowledged what was appended a minute ago; begin again, and it is gone on with");
}

static bool append(struct kafka_restore *restore, struct fill *fill, const struct log_record *record, struct err *err) {
    struct err why = {0};
    while (!log_append(restore->producer, record, on_delivery, fill, &why)) {
        if (why.kind != ERR_OVERLOADED)
            return no_failure(restore, err) && err_set(err, why.kind, "%s", why.detail);
        if (!await_acknowledgements(restore, err))
            return false;
    }
    return true;
}

static bool record_add(struct log_restore *base, const struct log_record *record, struct err *err) {
    struct kafka_restore *restore = restore_of(base);
    struct fill_topic *topic = map_get(&restore->topics, record->topic);
    if (!topic || record->partition < 0 || record->partition >= topic->partitions)
        return err_set(err, ERR_NOT_FOUND, "there is no partition %.*s/%d", STR_ARG(record->topic), record->partition);
    struct fill *fill = &topic->fills[record->partition];
    if (record->offset != fill->next)
        return err_set(err, ERR_CORRUPT, "%.*s/%d: offset %lld comes where %lld should", STR_ARG(record->topic),
                       record->partition, (long long)record->offset, (long long)fill->next);
    if (!log_kafka_restore_check(record, err) || !append(restore, fill, record, err))
        return false;
    fill->next++;
    return no_failure(restore, err);
}

/* ---- the end ---- */

static bool ends_check(struct kafka_restore *restore, const struct fill_topic *topic, struct err *err) {
    for (int32_t p = 0; p < topic->partitions; p++) {
        const struct fill *fill = &topic->fills[p];
        struct log_position end = {fill->topic->info.name, p, 0};
        if (!kafka_ends(&restore->log->base, &end, 1, false, err))
            return false;
        if (end.offset != fill->next)
            return err_set(err, ERR_CORRUPT,
                           "%s/%d ends at offset %lld instead of %lld: somebody else writes to the topic. Delete the "
                           "topics, and begin again",
                           fill->topic->name, p, (long long)end.offset, (long long)fill->next);
    }
    return true;
}

static bool settle(struct log_restore *base, struct err *err) {
    struct kafka_restore *restore = restore_of(base);
    if (!await_acknowledgements(restore, err))
        return false;
    for (const struct map_entry *entry = NULL; (entry = map_next(&restore->topics, entry));)
        if (!ends_check(restore, entry->value, err))
            return false;
    restore->log->filling = false;
    return true;
}

static bool finish(struct log_restore *base, struct err *err) {
    return mark_remove(restore_of(base)->log, err);
}

static void close_restore(struct log_restore *base) {
    struct kafka_restore *restore = restore_of(base);
    log_producer_close(restore->producer);
    log_close(base->log);
    map_free(&restore->topics, free);
    pthread_mutex_destroy(&restore->lock);
    free(restore);
}

static const struct log_restore_ops ops = {.id = log_id_compare,
                                           .topic_id = topic_id_compare,
                                           .add = record_add,
                                           .settle = settle,
                                           .finish = finish,
                                           .close = close_restore};

/* The mark is set once nothing stands against it: a shop that runs on these topics is not touched. */
bool log_kafka_restore_open(const char *rest, const struct str *topics, size_t count, struct log_restore **ret,
                            struct err *err) {
    static const struct log_options options;
    static const struct log_producer_options as_ever;
    struct kafka_log *log;
    struct log_producer *producer;
    bool begun;
    if (!kafka_open(rest, &options, true, &log, err))
        return false;
    if (!kafka_restoring(log, &begun, err) ||
        (!begun && (!all_fillable(log, topics, count, err) || !mark_set(log, err))) ||
        !log_producer_open(&log->base, &as_ever, &producer, err)) {
        log_close(&log->base);
        return false;
    }
    struct kafka_restore *restore = mem_zalloc(sizeof *restore);
    *restore = (struct kafka_restore){.base = {&ops, &log->base}, .log = log, .producer = producer};
    pthread_mutex_init(&restore->lock, NULL);
    *ret = &restore->base;
    return true;
}
