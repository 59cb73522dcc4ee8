/* The broker that tests of the Kafka adapter use: ORDERLOG_TEST_KAFKA=host:port. Without it they are skipped; with
 * CI=true that is a failure. */
#ifndef ORDERLOG_TESTS_LOG_KAFKA_BROKER_H
#define ORDERLOG_TESTS_LOG_KAFKA_BROKER_H

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "core/base/clock.h"

static inline const char *kafka_broker_address(void) {
    return getenv("ORDERLOG_TEST_KAFKA");
}

static inline void kafka_broker_need(void) {
    const char *ci = getenv("CI");
    if (kafka_broker_address() && *kafka_broker_address())
        return;
    printf("skipped: there is no broker (ORDERLOG_TEST_KAFKA=host:port)\n");
    exit(ci && *ci ? 1 : 77);
}

static inline void kafka_broker_must(int ok, const char *what) {
    if (ok)
        return;
    printf("the broker does not do what the tests need: %s\n", what);
    exit(1);
}

/* The names of all topics but Kafka's own; each is the caller's, as the array is. */
static inline char **kafka_broker_topics(rd_kafka_t *rk, size_t *ret_count) {
    const struct rd_kafka_metadata *metadata;
    kafka_broker_must(rd_kafka_metadata(rk, 1, NULL, &metadata, 30000) == RD_KAFKA_RESP_ERR_NO_ERROR, "no metadata");
    char **names = calloc((size_t)metadata->topic_cnt + 1, sizeof *names);
    *ret_count = 0;
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strncmp(metadata->topics[i].topic, "__", 2) != 0)
            names[(*ret_count)++] = strdup(metadata->topics[i].topic);
    rd_kafka_metadata_destroy(metadata);
    return names;
}

static inline void kafka_broker_delete_topics(rd_kafka_t *rk, char **names, size_t count) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t **topics = calloc(count + 1, sizeof *topics);
    for (size_t i = 0; i < count; i++)
        topics[i] = rd_kafka_DeleteTopic_new(names[i]);
    rd_kafka_DeleteTopics(rk, topics, count, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 60000);
    kafka_broker_must(event && !rd_kafka_event_error(event), "topics are not deleted");
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy_array(topics, count);
    rd_kafka_queue_destroy(queue);
    free(topics);
}

/* A group that is still ending cannot be deleted yet: asked again. */
static inline size_t kafka_broker_delete_groups(rd_kafka_t *rk) {
    const struct rd_kafka_group_list *list;
    size_t left = 0;
    if (rd_kafka_list_groups(rk, NULL, &list, 30000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 1;
    for (int i = 0; i < list->group_cnt; i++) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(list->groups[i].group);
        rd_kafka_DeleteGroups(rk, &group, 1, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
        if (event)
            rd_kafka_event_destroy(event);
        rd_kafka_DeleteGroup_destroy(group);
        rd_kafka_queue_destroy(queue);
        left++;
    }
    rd_kafka_group_list_destroy(list);
    return left;
}

static inline rd_kafka_t *kafka_broker_client(void) {
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kafka_broker_address(), NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    kafka_broker_must(rk != NULL, why);
    return rk;
}

/* Of the broker that tests/support/kafka_broker started (it starts again by itself); 0 when it is somebody else's. */
static inline pid_t kafka_broker_pid(void) {
    const char *source = getenv("ORDERLOG_SOURCE"), *port = strrchr(kafka_broker_address(), ':');
    char path[4096];
    int pid = 0;
    if (!source || !port)
        return 0;
    snprintf(path, sizeof path, "%s/var/test-kafka-%s/run/kafka.pid", source, port + 1);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return pid;
}

static inline bool kafka_broker_has_topic(rd_kafka_t *rk, const char *name) {
    size_t count;
    bool found = false;
    char **names = kafka_broker_topics(rk, &count);
    for (size_t i = 0; i < count; i++) {
        found = found || strcmp(names[i], name) == 0;
        free(names[i]);
    }
    free(names);
    return found;
}

/* A topic with one partition and one setting. A broker that has said that it is made may not know of it yet. */
static inline void kafka_broker_make_topic(const char *name, const char *setting, const char *value) {
    rd_kafka_t *rk = kafka_broker_client();
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, 1, 1, NULL, 0);
    rd_kafka_NewTopic_set_config(topic, setting, value);
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 60000);
    kafka_broker_must(event && !rd_kafka_event_error(event), "a topic is not made");
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    int64_t until_us = clock_monotonic_us() + 60000 * INT64_C(1000);
    while (!kafka_broker_has_topic(rk, name)) {
        kafka_broker_must(clock_monotonic_us() < until_us, "a topic that was made is not there");
        clock_sleep_ms(10);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static inline void kafka_broker_delete_records(const char *topic, int32_t partition, int64_t before) {
    rd_kafka_t *rk = kafka_broker_client();
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before;
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 60000);
    kafka_broker_must(event && !rd_kafka_event_error(event), "records are not deleted");
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

/* Deletes all topics and groups, and waits until they are gone. */
static inline void kafka_broker_empty(void) {
    rd_kafka_t *rk = kafka_broker_client();
    int64_t until_us = clock_monotonic_us() + 60000 * INT64_C(1000);
    for (size_t count = 1, deleted = 0; count;) {
        char **names = kafka_broker_topics(rk, &count);
        if (count && !deleted++)
            kafka_broker_delete_topics(rk, names, count);
        for (size_t i = 0; i < count; i++)
            free(names[i]);
        free(names);
        kafka_broker_must(clock_monotonic_us() < until_us, "topics stay");
        if (count)
            clock_sleep_ms(10);
    }
    while (kafka_broker_delete_groups(rk)) {
        kafka_broker_must(clock_monotonic_us() < until_us, "groups stay");
        clock_sleep_ms(50);
    }
    rd_kafka_destroy(rk);
}

#endif
