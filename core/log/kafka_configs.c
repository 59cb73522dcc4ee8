/* How topics are set, and where those that stand are set otherwise. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/config.h"

bool kafka_replication(int brokers, struct kafka_replication *ret, struct err *err) {
    int64_t factor = brokers < 3 ? brokers : 3;
    return config_int("ORDERLOG_KAFKA_REPLICATION", factor, 1, 32767, &ret->factor, err) &&
           config_int("ORDERLOG_KAFKA_MIN_INSYNC", ret->factor > 2 ? 2 : 1, 1, ret->factor, &ret->min_insync, err);
}

/* No topic is asked for more replicas in sync than it has. */
void kafka_topic_settings(const struct kafka_log *log, const struct log_topic_spec *spec,
                          const struct kafka_replication *replication, int64_t replicas, struct kafka_setting *ret) {
    const struct {
        const char *name;
        const char *text;
        int64_t number;
    } settings[KAFKA_TOPIC_SETTINGS] = {
        {"min.insync.replicas", NULL, replication->min_insync < replicas ? replication->min_insync : replicas},
        {"max.message.bytes", NULL, KAFKA_TOPIC_MESSAGE_MAX},
        {"retention.ms", NULL, spec->compacted || log->filling ? -1 : spec->retention_ms},
        {"cleanup.policy", spec->compacted ? "compact" : "delete", 0},
        {"message.timestamp.type", log->filling ? "CreateTime" : "LogAppendTime", 0},
        {"unclean.leader.election.enable", "false", 0},
    };
    for (size_t i = 0; i < KAFKA_TOPIC_SETTINGS; i++) {
        ret[i].name = settings[i].name;
        if (settings[i].text)
            snprintf(ret[i].value, sizeof ret[i].value, "%s", settings[i].text);
        else
            snprintf(ret[i].value, sizeof ret[i].value, "%lld", (long long)settings[i].number);
    }
}

/* ---- asking and telling ---- */

struct configs {
    rd_kafka_event_t *event; /* owns what `found` points to */
    const rd_kafka_ConfigResource_t **found;
    size_t count;
};

typedef void send_configs(rd_kafka_t *rk, rd_kafka_ConfigResource_t **resources, size_t count,
                          const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue);

static rd_kafka_event_t *ask_admin(struct kafka_log *log, rd_kafka_ConfigResource_t **resources, size_t count,
                                   rd_kafka_admin_op_t op, send_configs *request, const char *what, struct err *err) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(log->admin);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(log->admin, op);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    request(log->admin, resources, count, options, queue);
    rd_kafka_event_t *event = kafka_admin_wait(queue, what, err);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return event;
}

static bool resources_check(const rd_kafka_ConfigResource_t **resources, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_ConfigResource_error(resources[i]))
            return err_set(err, kafka_err_kind(rd_kafka_ConfigResource_error(resources[i])), "settings of topic %s: %s",
                           rd_kafka_ConfigResource_name(resources[i]),
                           rd_kafka_ConfigResource_error_string(resources[i]));
    return true;
}

static bool configs_ask(struct kafka_log *log, const struct log_topic_spec *specs, size_t count, struct configs *ret,
                        struct err *err) {
    rd_kafka_ConfigResource_t **wanted = mem_alloc((count + 1) * sizeof *wanted);
    for (size_t i = 0; i < count; i++)
        wanted[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, specs[i].name);
    ret->event = ask_admin(log, wanted, count, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, rd_kafka_DescribeConfigs,
                           "asking Kafka how topics are set", err);
    rd_kafka_ConfigResource_destroy_array(wanted, count);
    free(wanted);
    if (!ret->event)
        return false;
    ret->found =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ret->event), &ret->count);
    if (resources_check(ret->found, ret->count, err))
        return true;
    rd_kafka_event_destroy(ret->event);
    return false;
}

static const rd_kafka_ConfigEntry_t **entries_of(const struct configs *configs, const char *topic, size_t *ret_count) {
    *ret_count = 0;
    for (size_t i = 0; i < configs->count; i++)
        if (strcmp(rd_kafka_ConfigResource_name(configs->found[i]), topic) == 0)
            return rd_kafka_ConfigResource_configs(configs->found[i], ret_count);
    return NULL;
}

static const char *value_of(const struct configs *configs, const char *topic, const char *name) {
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = entries_of(configs, topic, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    return NULL;
}

/* ---- comparing ---- */

/* How many brokers there are, and how many replicas each topic has. */
static bool replicas_ask(struct kafka_log *log, const struct log_topic_spec *specs, size_t count, int *ret_brokers,
                         int64_t *ret, struct err *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 1, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code)
        return kafka_err_set(err, code, "asking Kafka for its topics");
    *ret_brokers = metadata->broker_cnt;
    for (size_t i = 0; i < count; i++)
        for (int t = 0; t < metadata->topic_cnt; t++)
            if (strcmp(metadata->topics[t].topic, specs[i].name) == 0 && metadata->topics[t].partition_cnt)
                ret[i] = metadata->topics[t].partitions[0].replica_cnt;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

static void settings_compare(const struct kafka_log *log, const struct configs *configs,
                             const struct log_topic_spec *spec, const struct kafka_replication *replication,
                             int64_t replicas, log_drift *each, void *user) {
    struct kafka_setting wanted[KAFKA_TOPIC_SETTINGS];
    kafka_topic_settings(log, spec, replication, replicas, wanted);
    for (size_t i = 0; i < KAFKA_TOPIC_SETTINGS; i++) {
        const char *found = value_of(configs, spec->name, wanted[i].name);
        if (!found || strcmp(found, wanted[i].value) != 0)
            each(user, spec->name, wanted[i].name, wanted[i].value, found ? found : "", true);
    }
    char want[24], have[24];
    snprintf(want, sizeof want, "%lld", (long long)replication->factor);
    snprintf(have, sizeof have, "%lld", (long long)replicas);
    if (replicas != replication->factor)
        each(user, spec->name, "replication", want, have, false);
}

bool kafka_topics_compare(struct log *base, const struct log_topic_spec *specs, size_t count, log_drift *each,
                          void *user, struct err *err) {
    struct kafka_log *log = kafka_of(base);
    struct kafka_replication replication;
    struct configs configs = {0};
    int brokers = 0;
    if (!count)
        return true;
    int64_t *replicas = mem_zalloc(count * sizeof *replicas);
    bool ok = replicas_ask(log, specs, count, &brokers, replicas, err) &&
              kafka_replication(brokers, &replication, err) && configs_ask(log, specs, count, &configs, err);
    for (size_t i = 0; ok && i < count; i++)
        settings_compare(log, &configs, &specs[i], &replication, replicas[i], each, user);
    if (ok)
        rd_kafka_event_destroy(configs.event);
    free(replicas);
    return ok;
}

/* ---- mending ---- */

/* The topics are there; the broker that is asked may not have heard of all yet, if they were only just made. */
static bool configs_await(struct kafka_log *log, const struct log_topic_spec *specs, size_t count, struct configs *ret,
                          struct err *err) {
    int64_t until_us = clock_monotonic_us() + KAFKA_USABLE_TIMEOUT_MS * INT64_C(1000);
    struct err why = {0};
    while (!configs_ask(log, specs, count, ret, &why)) {
        if (why.kind != ERR_NOT_FOUND || clock_monotonic_us() > until_us)
            return err_set(err, why.kind, "%s", why.detail);
        clock_sleep_ms(20);
    }
    return true;
}

static bool is_ours(const struct kafka_setting *wanted, const char *name) {
    for (size_t i = 0; i < KAFKA_TOPIC_SETTINGS; i++)
        if (strcmp(wanted[i].name, name) == 0)
            return true;
    return false;
}

/* Whether what is wanted differs from what is there. */
static bool resource_mend(const struct configs *configs, const char *topic, const struct kafka_setting *wanted,
                          rd_kafka_ConfigResource_t *ret) {
    bool differs = false;
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = entries_of(configs, topic, &count);
    /* The request sets all of a topic's settings: what somebody else has set stays. */
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_ConfigEntry_source(entries[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG &&
            rd_kafka_ConfigEntry_value(entries[i]) && !is_ours(wanted, rd_kafka_ConfigEntry_name(entries[i])))
            rd_kafka_ConfigResource_set_config(ret, rd_kafka_ConfigEntry_name(entries[i]),
                                               rd_kafka_ConfigEntry_value(entries[i]));
    for (size_t i = 0; i < KAFKA_TOPIC_SETTINGS; i++) {
        const char *found = value_of(configs, topic, wanted[i].name);
        differs |= !found || strcmp(found, wanted[i].value) != 0;
        rd_kafka_ConfigResource_set_config(ret, wanted[i].name, wanted[i].value);
    }
    return differs;
}

static bool alter(struct kafka_log *log, rd_kafka_ConfigResource_t **resources, size_t count, struct err *err) {
    rd_kafka_event_t *event = ask_admin(log, resources, count, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, rd_kafka_AlterConfigs,
                                        "changing how topics are set", err);
    if (!event)
        return false;
    size_t found;
    const rd_kafka_ConfigResource_t **results =
        rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &found);
    bool ok = resources_check(results, found, err);
    rd_kafka_event_destroy(event);
    return ok;
}

bool kafka_topics_mend(struct log *base, const struct log_topic_spec *specs, size_t count, struct err *err) {
    struct kafka_log *log = kafka_of(base);
    struct kafka_replication replication;
    struct configs configs = {0};
    int brokers = 0;
    size_t differing = 0;
    if (!count)
        return true;
    int64_t *replicas = mem_zalloc(count * sizeof *replicas);
    rd_kafka_ConfigResource_t **resources = mem_alloc(count * sizeof *resources);
    bool ok = replicas_ask(log, specs, count, &brokers, replicas, err) &&
              kafka_replication(brokers, &replication, err) && configs_await(log, specs, count, &configs, err);
    for (size_t i = 0; ok && i < count; i++) {
        struct kafka_setting wanted[KAFKA_TOPIC_SETTINGS];
        kafka_topic_settings(log, &specs[i], &replication, replicas[i], wanted);
        resources[differing] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, specs[i].name);
        if (resource_mend(&configs, specs[i].name, wanted, resources[differing]))
            differing++;
        else
            rd_kafka_ConfigResource_destroy(resources[differing]);
    }
    if (configs.event && ok)
        rd_kafka_event_destroy(configs.event);
    ok = ok && (!differing || alter(log, resources, differing, err));
    rd_kafka_ConfigResource_destroy_array(resources, differing);
    free(resources);
    free(replicas);
    return ok;
}
