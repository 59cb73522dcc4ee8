/* Making topics. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"

/* ---- how they are made ---- */

static int broker_count(struct kafka_log *log, struct err *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 0, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code) {
        kafka_err_set(err, code, "asking Kafka for its brokers");
        return 0;
    }
    int count = metadata->broker_cnt;
    rd_kafka_metadata_destroy(metadata);
    return count;
}

static rd_kafka_NewTopic_t *new_topic(const struct kafka_log *log, const struct log_topic_spec *spec,
                                      const struct kafka_replication *replication) {
    char why[256];
    struct kafka_setting settings[KAFKA_TOPIC_SETTINGS];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(spec->name, spec->partitions, (int)replication->factor, why, sizeof why);
    kafka_topic_settings(log, spec, replication, replication->factor, settings);
    for (size_t i = 0; i < KAFKA_TOPIC_SETTINGS; i++)
        rd_kafka_NewTopic_set_config(topic, settings[i].name, settings[i].value);
    return topic;
}

static bool created(const rd_kafka_event_t *event, struct err *err) {
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result((rd_kafka_event_t *)(uintptr_t)event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) /* another process was faster */
            return err_set(err, kafka_err_kind(code), "topic %s cannot be made: %s",
                           rd_kafka_topic_result_name(results[i]), rd_kafka_topic_result_error_string(results[i]));
    }
    return true;
}

static bool create(struct kafka_log *log, rd_kafka_NewTopic_t **topics, size_t count, struct err *err) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(log->admin);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(log->admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    rd_kafka_AdminOptions_set_operation_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    rd_kafka_CreateTopics(log->admin, topics, count, options, queue);
    rd_kafka_event_t *event = kafka_admin_wait(queue, "making topics", err);
    bool ok = event && created(event, err);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return ok;
}

/* ---- which are there ---- */

/* Brokers hear of a new topic a little after the controller: until then it cannot be written. */
static bool has_leaders(const struct rd_kafka_metadata_topic *topic) {
    for (int i = 0; i < topic->partition_cnt; i++)
        if (topic->partitions[i].err || topic->partitions[i].leader < 0)
            return false;
    return !topic->err && topic->partition_cnt > 0;
}

static const struct rd_kafka_metadata_topic *find(const struct rd_kafka_metadata *metadata, const char *name) {
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, name) == 0 &&
            metadata->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            return &metadata->topics[i];
    return NULL;
}

/* The broker that was asked knows the leaders, but each of those has to hear of it, too. */
static bool leaders_answer(struct kafka_log *log, const struct log_topic_spec *specs, size_t count, struct err *err) {
    size_t partitions = 0, k = 0;
    for (size_t i = 0; i < count; i++)
        partitions += (size_t)specs[i].partitions;
    struct log_position *ends = mem_alloc((partitions + 1) * sizeof *ends);
    for (size_t i = 0; i < count; i++)
        for (int32_t p = 0; p < specs[i].partitions; p++)
            ends[k++] = (struct log_position){.topic = str_from(specs[i].name), .partition = p};
    bool ok = kafka_ends(&log->base, ends, partitions, false, err);
    free(ends);
    return ok;
}

static bool all_have_leaders(struct kafka_log *log, const struct log_topic_spec *specs, size_t count, struct err *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 1, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code)
        return kafka_err_set(err, code, "asking Kafka for its topics");
    const char *waits_for = NULL;
    for (size_t i = 0; !waits_for && i < count; i++) {
        const struct rd_kafka_metadata_topic *topic = find(metadata, specs[i].name);
        if (!topic || !has_leaders(topic))
            waits_for = specs[i].name;
    }
    rd_kafka_metadata_destroy(metadata);
    return !waits_for ||
           err_set(err, ERR_LOG_UNAVAILABLE, "topic %s was made, but has no leader for each partition yet", waits_for);
}

static bool wait_until_usable(struct kafka_log *log, const struct log_topic_spec *specs, size_t count,
                              struct err *err) {
    int64_t until_us = clock_monotonic_us() + KAFKA_USABLE_TIMEOUT_MS * INT64_C(1000);
    struct err why = {0};
    while (!all_have_leaders(log, specs, count, &why) || !leaders_answer(log, specs, count, &why)) {
        if ((why.kind != ERR_LOG_UNAVAILABLE && why.kind != ERR_NOT_FOUND) || clock_monotonic_us() > until_us)
            return err_set(err, why.kind, "%s", why.detail);
        clock_sleep_ms(20);
    }
    return true;
}

/* Which of them are missing; none may be missing when another stands with other partitions. */
static bool missing_find(const struct rd_kafka_metadata *metadata, const struct log_topic_spec *specs, size_t count,
                         const struct log_topic_spec **ret, size_t *ret_count, struct err *err) {
    *ret_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct rd_kafka_metadata_topic *topic = find(metadata, specs[i].name);
        if (!topic)
            ret[(*ret_count)++] = &specs[i];
        else if (topic->partition_cnt != specs[i].partitions && !topic->err)
            return err_set(err, ERR_CONFIG, "topic %s has %d partitions, not %d; the number can never be changed",
                           specs[i].name, topic->partition_cnt, specs[i].partitions);
    }
    return true;
}

bool kafka_topics_create(struct log *base, const struct log_topic_spec *specs, size_t count, struct err *err) {
    struct kafka_log *log = kafka_of(base);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 1, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code)
        return kafka_err_set(err, code, "asking Kafka for its topics");
    const struct log_topic_spec **missing = mem_alloc((count + 1) * sizeof *missing);
    size_t missing_count = 0, made = 0;
    struct kafka_replication replication;
    int brokers = 0;
    bool ok = missing_find(metadata, specs, count, missing, &missing_count, err);
    rd_kafka_metadata_destroy(metadata);
    if (ok && missing_count && log->read_only)
        ok = err_set(err, ERR_USAGE, "the log was opened for reading only");
    if (ok && missing_count &&
        (ok = (brokers = broker_count(log, err)) && kafka_replication(brokers, &replication, err))) {
        rd_kafka_NewTopic_t **topics = mem_alloc(missing_count * sizeof *topics);
        while (made < missing_count) {
            topics[made] = new_topic(log, missing[made], &replication);
            made++;
        }
        ok = create(log, topics, made, err);
        rd_kafka_NewTopic_destroy_array(topics, made);
        free(topics);
    }
    free(missing);
    return ok && wait_until_usable(log, specs, count, err);
}
