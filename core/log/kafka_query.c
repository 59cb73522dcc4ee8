/* Ends, times, and the positions of groups. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/logging.h"

rd_kafka_event_t *kafka_admin_wait(rd_kafka_queue_t *queue, const char *what, struct err *err) {
    /* The request has its own time-out; this is for a client that does not keep to it. */
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2 * KAFKA_CALL_TIMEOUT_MS);
    if (!event) {
        kafka_err_set(err, RD_KAFKA_RESP_ERR__TIMED_OUT, what);
        return NULL;
    }
    if (!rd_kafka_event_error(event))
        return event;
    err_set(err, kafka_err_kind(rd_kafka_event_error(event)), "%s: %s", what, rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return NULL;
}

/* ---- offsets ---- */

enum { TIME_LATEST = -1, TIME_EARLIEST = -2 }; /* of the protocol's ListOffsets */

/* Of all topics: that is what librdkafka keeps of it, besides. */
static void learn_leaders(struct kafka_log *log) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(log->admin, 1, NULL, &metadata, KAFKA_CALL_TIMEOUT_MS);
    if (code)
        kafka_count_error(code); /* who asks again is told */
    else
        rd_kafka_metadata_destroy(metadata);
}

/* Of all partitions the first error, if any. */
static rd_kafka_resp_err_t ask_once(struct kafka_log *log, const rd_kafka_topic_partition_list_t *wanted,
                                    rd_kafka_topic_partition_list_t **ret) {
    *ret = rd_kafka_topic_partition_list_copy(wanted);
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(log->admin, *ret, KAFKA_CALL_TIMEOUT_MS);
    for (int i = 0; !code && i < (*ret)->cnt; i++)
        code = (*ret)->elems[i].err;
    return code;
}

/* One question to each leader. (rd_kafka_query_watermark_offsets does the same twice, and has hung.) Who leads is asked
 * anew after a failure: this client reads no topic, and so keeps for many minutes what it knew before a broker died. */
static rd_kafka_resp_err_t ask_leaders(struct kafka_log *log, const rd_kafka_topic_partition_list_t *wanted,
                                       rd_kafka_topic_partition_list_t **ret) {
    rd_kafka_resp_err_t code = ask_once(log, wanted, ret);
    if (!code)
        return code;
    learn_leaders(log);
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || kafka_err_kind(code) != ERR_LOG_UNAVAILABLE)
        return code;
    rd_kafka_topic_partition_list_destroy(*ret);
    return ask_once(log, wanted, ret);
}

static bool ask_offset(struct kafka_log *log, const struct kafka_topic *topic, int32_t partition, int64_t time_ms,
                       int64_t *ret, struct err *err) {
    rd_kafka_topic_partition_list_t *wanted = rd_kafka_topic_partition_list_new(1), *found;
    rd_kafka_topic_partition_list_add(wanted, topic->name, partition)->offset = time_ms;
    rd_kafka_resp_err_t code = ask_leaders(log, wanted, &found);
    *ret = found->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(found);
    rd_kafka_topic_partition_list_destroy(wanted);
    return !code || kafka_err_set(err, code, "asking Kafka for an offset");
}

bool kafka_watermarks(struct log *base, struct str name, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                      struct err *err) {
    struct kafka_log *log = kafka_of(base);
    const struct kafka_topic *topic;
    int64_t low, high;
    if (!kafka_partition_check(log, name, partition, &topic, err) ||
        !ask_offset(log, topic, partition, TIME_EARLIEST, &low, err) ||
        !ask_offset(log, topic, partition, TIME_LATEST, &high, err))
        return false;
    *ret_low = low;
    *ret_high = high;
    return true;
}

static void take_ends(const rd_kafka_topic_partition_list_t *found, struct log_position *positions, size_t count) {
    for (size_t i = 0; i < count; i++) {
        BUF_AUTO name = {0};
        buf_add_str(&name, positions[i].topic);
        buf_add_char(&name, '\0');
        const rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_find(
            (rd_kafka_topic_partition_list_t *)(uintptr_t)found, name.ptr, positions[i].partition);
        positions[i].offset = one->offset; /* they may have been sorted, but none is missing */
    }
}

bool kafka_ends(struct log *base, struct log_position *positions, size_t count, bool low, struct err *err) {
    struct kafka_log *log = kafka_of(base);
    rd_kafka_topic_partition_list_t *wanted = rd_kafka_topic_partition_list_new((int)count), *found = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct kafka_topic *topic;
        ok = kafka_partition_check(log, positions[i].topic, positions[i].partition, &topic, err);
        if (ok)
            rd_kafka_topic_partition_list_add(wanted, topic->name, positions[i].partition)->offset =
                low ? TIME_EARLIEST : TIME_LATEST;
    }
    rd_kafka_resp_err_t code = ok ? ask_leaders(log, wanted, &found) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (ok && !code)
        take_ends(found, positions, count);
    if (found)
        rd_kafka_topic_partition_list_destroy(found);
    rd_kafka_topic_partition_list_destroy(wanted);
    return ok && (!code || kafka_err_set(err, code, "asking Kafka for the ends of its partitions"));
}

bool kafka_offset_at_time(struct log *base, struct str name, int32_t partition, int64_t time_us, int64_t *ret,
                          struct err *err) {
    struct kafka_log *log = kafka_of(base);
    const struct kafka_topic *topic;
    int64_t offset, time_ms = time_us > 0 ? (time_us + 999) / 1000 : 0;
    if (!kafka_partition_check(log, name, partition, &topic, err) ||
        !ask_offset(log, topic, partition, time_ms, &offset, err))
        return false;
    if (offset < 0 && !ask_offset(log, topic, partition, TIME_LATEST, &offset, err)) /* none so late */
        return false;
    *ret = offset;
    return true;
}

/* ---- groups ---- */

struct told {
    struct log_group_position *items; /* group: an offset into `texts`, until all is there */
    size_t count;
    size_t cap;
    struct arena arena;
};

static void told_add(struct told *told, struct str group, const struct log_topic *topic, int32_t partition,
                     int64_t offset) {
    if (told->count == told->cap) {
        told->cap = told->cap ? told->cap * 2 : 64;
        told->items = mem_realloc(told->items, told->cap * sizeof *told->items);
    }
    told->items[told->count++] =
        (struct log_group_position){.group = group, .position = {topic->name, partition, offset}};
}

/* Each broker is asked for its groups, and what one of them does not answer is missing in the list. */
static bool group_names_take(const rd_kafka_ListConsumerGroups_result_t *result, struct arena *arena, struct str **ret,
                             size_t *ret_count, struct err *err) {
    size_t count, failed;
    const rd_kafka_error_t **errors = rd_kafka_ListConsumerGroups_result_errors(result, &failed);
    if (failed)
        return err_set(err, kafka_err_kind(rd_kafka_error_code(errors[0])), "asking Kafka for its groups: %s",
                       rd_kafka_error_string(errors[0]));
    const rd_kafka_ConsumerGroupListing_t **valid = rd_kafka_ListConsumerGroups_result_valid(result, &count);
    *ret = arena_array(arena, struct str, count);
    *ret_count = count;
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = arena_dup(arena, str_from(rd_kafka_ConsumerGroupListing_group_id(valid[i])));
    return true;
}

static bool group_names(rd_kafka_t *rk, struct arena *arena, struct str **ret, size_t *ret_count, struct err *err) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    rd_kafka_ListConsumerGroups(rk, options, queue);
    rd_kafka_event_t *event = kafka_admin_wait(queue, "asking Kafka for its groups", err);
    bool ok = event && group_names_take(rd_kafka_event_ListConsumerGroups_result(event), arena, ret, ret_count, err);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return ok;
}

/* Positions in topics that are gone are left out. */
static bool told_take(struct kafka_log *log, struct told *told, struct str group, const rd_kafka_event_t *event,
                      struct err *err) {
    size_t count;
    const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
        rd_kafka_event_ListConsumerGroupOffsets_result((rd_kafka_event_t *)(uintptr_t)event), &count);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(groups[i]);
        for (int p = 0; list && p < list->cnt; p++) {
            const struct kafka_topic *topic;
            struct err unknown = {0};
            if (list->elems[p].err)
                return kafka_err_set(err, list->elems[p].err, "asking Kafka for a group's positions");
            if (list->elems[p].offset < 0) /* none was told */
                continue;
            if (kafka_topic_get(log, str_from(list->elems[p].topic), &topic, &unknown))
                told_add(told, group, &topic->info, list->elems[p].partition, list->elems[p].offset);
            else if (unknown.kind != ERR_NOT_FOUND)
                return err_set(err, unknown.kind, "%s", unknown.detail);
        }
    }
    return true;
}

static bool told_ask(struct kafka_log *log, rd_kafka_t *rk, struct told *told, struct str group, struct err *err) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(group.ptr, NULL);
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, NULL, 0);
    rd_kafka_ListConsumerGroupOffsets(rk, &request, 1, options, queue);
    rd_kafka_event_t *event = kafka_admin_wait(queue, "asking Kafka for a group's positions", err);
    bool ok = event && told_take(log, told, group, event, err);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return ok;
}

/* One allocation: the array, and the groups' names behind it. */
static struct log_group_position *told_pack(const struct told *told) {
    size_t texts = 0;
    for (size_t i = 0; i < told->count; i++)
        texts += told->items[i].group.len;
    struct log_group_position *all = mem_alloc(told->count * sizeof *all + texts + 1);
    char *text = (char *)(all + told->count);
    for (size_t i = 0; i < told->count; i++) {
        all[i] = told->items[i];
        memcpy(text, all[i].group.ptr, all[i].group.len);
        all[i].group.ptr = text;
        text += all[i].group.len;
    }
    return all;
}

static bool told_ask_all(struct kafka_log *log, rd_kafka_t *rk, struct told *told, struct err *err) {
    struct str *groups = NULL;
    size_t count = 0;
    bool ok = group_names(rk, &told->arena, &groups, &count, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = told_ask(log, rk, told, groups[i], err);
    return ok;
}

/* A client goes on asking the broker that once was a group's coordinator, for as long as it is asked: after a failure
 * the next question gets one that knows nothing yet. */
static void groups_client_renew(struct kafka_log *log) {
    rd_kafka_conf_t *conf;
    struct err err = {0};
    if (log->groups)
        rd_kafka_destroy(log->groups);
    log->groups = NULL;
    if (!kafka_conf_new(log, KAFKA_ADMIN, &conf, &err) ||
        !kafka_client_new(RD_KAFKA_CONSUMER, conf, &log->groups, &err))
        logging_err(&err, "kafka.client_not_renewed", " ");
}

bool kafka_group_positions(struct log *base, struct log_group_position **ret, size_t *ret_count, struct err *err) {
    struct kafka_log *log = kafka_of(base);
    struct told told = {0};
    arena_init(&told.arena);
    pthread_mutex_lock(&log->groups_lock);
    bool ok = told_ask_all(log, log->groups ? log->groups : log->admin, &told, err);
    if (!ok)
        groups_client_renew(log);
    pthread_mutex_unlock(&log->groups_lock);
    if (ok) {
        *ret = told_pack(&told);
        *ret_count = told.count;
    }
    free(told.items);
    arena_free(&told.arena);
    return ok;
}
