/* The contract, on a Kafka broker (ORDERLOG_TEST_KAFKA: host:port), whose topics it deletes. */
#include "tests/log/contract.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>

#include "core/base/clock.h"

static char url[256];
static rd_kafka_t *admin;

static rd_kafka_event_t *wait_for(rd_kafka_queue_t *queue) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    if (!event || rd_kafka_event_error(event))
        fail_msg("the broker does not do it: %s", event ? rd_kafka_event_error_string(event) : "no answer");
    return event;
}

static size_t topics_delete(void) {
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(admin, 1, NULL, &metadata, PATIENCE_MS))
        fail_msg("the broker at %s does not answer", url);
    rd_kafka_DeleteTopic_t *topics[64];
    size_t count = 0;
    for (int i = 0; i < metadata->topic_cnt && count < sizeof topics / sizeof topics[0]; i++)
        if (strncmp(metadata->topics[i].topic, "__", 2) != 0)
            topics[count++] = rd_kafka_DeleteTopic_new(metadata->topics[i].topic);
    rd_kafka_metadata_destroy(metadata);
    if (count) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        rd_kafka_DeleteTopics(admin, topics, count, NULL, queue);
        rd_kafka_event_destroy(wait_for(queue));
        rd_kafka_queue_destroy(queue);
        rd_kafka_DeleteTopic_destroy_array(topics, count);
    }
    return count;
}

/* What groups have said of topics that are gone would hold for those of the same names. */
static void groups_delete(void) {
    const struct rd_kafka_group_list *groups;
    if (rd_kafka_list_groups(admin, NULL, &groups, PATIENCE_MS))
        fail_msg("the broker does not list its groups");
    for (int i = 0; i < groups->group_cnt; i++) {
        rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(groups->groups[i].group);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
        rd_kafka_DeleteGroups(admin, &group, 1, NULL, queue);
        rd_kafka_event_destroy(wait_for(queue));
        rd_kafka_queue_destroy(queue);
        rd_kafka_DeleteGroup_destroy(group);
    }
    rd_kafka_group_list_destroy(groups);
}

static const char *fresh(void) {
    groups_delete();
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    while (topics_delete() && clock_monotonic_us() < until_us)
        clock_sleep_ms(50);
    return url;
}

static void discard(void) {
}

static int setup(void **state) {
    static const struct contract adapter = {fresh, discard};
    return contract_setup(state, &adapter);
}

int main(void) {
    const char *broker = getenv("ORDERLOG_TEST_KAFKA");
    if (!broker || !broker[0]) {
        puts("skipped: ORDERLOG_TEST_KAFKA names no broker");
        return getenv("CI") ? 1 : 77;
    }
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", broker, NULL, 0);
    admin = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    snprintf(url, sizeof url, "kafka://%s", broker);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, contract_teardown),
    const struct CMUnitTest tests[] = {CONTRACT_TESTS(TEST)};
    int failed = cmocka_run_group_tests_name("contract on Kafka", tests, NULL, NULL);
    rd_kafka_destroy(admin);
    return failed;
}
