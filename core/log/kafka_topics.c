/* Which topics there are, as the brokers' metadata say.
 *
 * A topic's identity: from librdkafka 2.3 on the brokers' topic id. Older ones cannot ask for it; there the id is made
 * of the cluster's id and the name (log_topic_id_fits): a topic that was deleted and made anew is then not told from
 * the old one by its id, but only by a position past its end. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"

/* ---- ids ---- */

#if RD_KAFKA_VERSION >= 0x020300ff
static char *id_of(struct kafka_log *log, const char *name) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(log->admin);
    rd_kafka_TopicCollection_t *names = rd_kafka_TopicCollection_of_topic_names(&name, 1);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(log->admin, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    rd_kafka_DescribeTopics(log->admin, names, options, queue);
    rd_kafka_event_t *event = kafka_admin_wait(queue, "describing a topic", NULL);
    char *id = NULL;
    size_t count = 0;
    const rd_kafka_TopicDescription_t **found =
        event ? rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &count) : NULL;
    if (count == 1 && !rd_kafka_error_code(rd_kafka_TopicDescription_error(found[0])))
        id = mem_strdup(str_from(rd_kafka_Uuid_base64str(rd_kafka_TopicDescription_topic_id(found[0]))));
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_TopicCollection_destroy(names);
    rd_kafka_queue_destroy(queue);
    return id;
}
#else
static char *id_of(struct kafka_log *log, const char *name) {
    BUF_AUTO id = {0};
    buf_printf(&id, LOG_TOPIC_ID_BY_NAME "%s/%s", log->cluster_id, name);
    return mem_strdup(buf_str(&id));
}
#endif

/* ---- what is known ---- */

static struct kafka_topic *known(struct kafka_log *log, struct str name) {
    pthread_mutex_lock(&log->topics_lock);
    struct kafka_topic *topic = map_get(&log->topics, name);
    pthread_mutex_unlock(&log->topics_lock);
    return topic;
}

static void topic_free(void *value) {
    struct kafka_topic *topic = value;
    free(topic->name);
    free(topic->id);
    free(topic);
}

void kafka_topics_free(struct kafka_log *log) {
    map_free(&log->topics, topic_free);
}

/* Two threads may ask at once: the first one's answer stays. */
static struct kafka_topic *learn(struct kafka_log *log, const struct rd_kafka_metadata_topic *found, struct err *err) {
    struct kafka_topic *topic = known(log, str_from(found->topic));
    if (topic)
        return topic;
    char *id = id_of(log, found->topic);
    if (!id) {
        err_set(err, ERR_LOG_UNAVAILABLE, "the id of topic %s cannot be had from the brokers", found->topic);
        return NULL;
    }
    topic = mem_zalloc(sizeof *topic);
    topic->name = mem_strdup(str_from(found->topic));
    topic->id = id;
    topic->info = (struct log_topic){
        .name = str_from(topic->name), .id = str_from(topic->id), .partitions = found->partition_cnt};
    pthread_mutex_lock(&log->topics_lock);
    void **slot = map_put(&log->topics, topic->info.name);
    if (*slot)
        topic_free(topic);
    else
        *slot = topic;
    topic = *slot;
    pthread_mutex_unlock(&log->topics_lock);
    return topic;
}

/* ---- asking ---- */

static bool ask_for(struct kafka_log *log, struct str name, struct kafka_topic **ret, struct err *err) {
    BUF_AUTO text = {0};
    buf_add_str(&text, name);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(log->admin, text.ptr, NULL);
    if (!handle)
        return err_set(err, ERR_NOT_FOUND, "there is no topic %.*s", STR_ARG(name));
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 0, handle, &metadata, KAFKA_CALL_TIMEOUT_MS);
    rd_kafka_topic_destroy(handle);
    if (code)
        return kafka_err_set(err, code, "asking Kafka for a topic");
    code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    *ret = NULL;
    if (!code)
        *ret = learn(log, &metadata->topics[0], err);
    else if (kafka_err_kind(code) == ERR_NOT_FOUND)
        err_set(err, ERR_NOT_FOUND, "there is no topic %.*s", STR_ARG(name));
    else
        kafka_err_set(err, code, text.ptr);
    rd_kafka_metadata_destroy(metadata);
    return *ret != NULL;
}

bool kafka_topic_get(struct kafka_log *log, struct str name, const struct kafka_topic **ret, struct err *err) {
    struct kafka_topic *topic = known(log, name);
    if (!topic && !ask_for(log, name, &topic, err))
        return false;
    *ret = topic;
    return true;
}

bool kafka_partition_check(struct kafka_log *log, struct str name, int32_t partition, const struct kafka_topic **ret,
                           struct err *err) {
    if (!kafka_topic_get(log, name, ret, err))
        return false;
    if (partition < 0 || partition >= (*ret)->info.partitions)
        return err_set(err, ERR_NOT_FOUND, "topic %.*s has no partition %d", STR_ARG(name), partition);
    return true;
}

bool kafka_topic_find(struct log *base, struct str name, struct log_topic *ret, struct err *err) {
    const struct kafka_topic *topic;
    if (!kafka_topic_get(kafka_of(base), name, &topic, err))
        return false;
    *ret = topic->info;
    return true;
}

static int compare_names(const void *left, const void *right) {
    const struct log_topic *a = left, *b = right;
    return str_cmp(a->name, b->name);
}

/* Kafka's own topics (__consumer_offsets) are none of ours. */
bool kafka_topics_list(struct log *base, struct log_topic **ret, size_t *ret_count, struct err *err) {
    struct kafka_log *log = kafka_of(base);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 1, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code)
        return kafka_err_set(err, code, "asking Kafka for its topics");
    struct log_topic *list = mem_alloc(((size_t)metadata->topic_cnt + 1) * sizeof *list);
    size_t count = 0;
    bool ok = true;
    for (int i = 0; ok && i < metadata->topic_cnt; i++) {
        if (strncmp(metadata->topics[i].topic, "__", 2) == 0 || metadata->topics[i].err)
            continue;
        struct kafka_topic *topic = learn(log, &metadata->topics[i], err);
        ok = topic != NULL;
        if (ok)
            list[count++] = topic->info;
    }
    rd_kafka_metadata_destroy(metadata);
    if (!ok) {
        free(list);
        return false;
    }
    qsort(list, count, sizeof *list, compare_names);
    *ret = list;
    *ret_count = count;
    return true;
}
