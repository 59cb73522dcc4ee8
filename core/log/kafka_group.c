/* Membership of a group: opening, rebalances, what is told to the group, leaving. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/thread.h"

/* ---- rebalances ---- */

static size_t partitions_of(const struct kafka_consumer *consumer, struct log_partition *ret) {
    for (size_t i = 0; i < consumer->read_count; i++)
        ret[i] = (struct log_partition){consumer->reads[i].topic->info.name, consumer->reads[i].partition};
    return consumer->read_count;
}

static void add_assigned(struct kafka_consumer *consumer, const rd_kafka_topic_partition_list_t *list) {
    kafka_reads_clear(consumer);
    for (int i = 0; i < list->cnt; i++) {
        const struct kafka_topic *topic;
        struct err err = {0};
        if (kafka_partition_check(kafka_of(consumer->base.log), str_from(list->elems[i].topic),
                                  list->elems[i].partition, &topic, &err))
            kafka_read_add(consumer, topic, list->elems[i].partition);
        else
            logging_err(&err, "kafka.assigned_unknown", "topic=%s partition=%d", list->elems[i].topic,
                        list->elems[i].partition);
    }
}

static void tell_assigned(struct kafka_consumer *consumer) {
    struct log_partition *all = mem_alloc((consumer->read_count + 1) * sizeof *all);
    size_t count = partitions_of(consumer, all);
    if (consumer->listener.assigned)
        consumer->listener.assigned(consumer->listener.user, all, count);
    free(all);
}

static void tell_revoked(struct kafka_consumer *consumer, bool lost) {
    struct log_partition *all = mem_alloc((consumer->read_count + 1) * sizeof *all);
    size_t count = partitions_of(consumer, all);
    if (count && consumer->listener.revoked)
        consumer->listener.revoked(consumer->listener.user, all, count, lost);
    free(all);
}

/* On the thread that polls or closes. Only once partitions were given back (the assign at the end) can the group give
 * them to another member, and by then `revoked` has returned. */
void kafka_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct kafka_consumer *consumer = opaque;
    struct err err = {0};
    kafka_count_rebalance();
    consumer->rebalanced = true;
    if (consumer->closing && what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        kafka_assign(consumer, NULL); /* came while it left: nobody would take it back */
        return;
    }
    if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        add_assigned(consumer, list);
        tell_assigned(consumer);
        if (!kafka_reads_apply(consumer, &err))
            logging_err(&err, "kafka.assign_failed", " ");
        return;
    }
    bool lost = rd_kafka_assignment_lost(rk);
    if (!lost)
        kafka_commit_now(consumer);
    tell_revoked(consumer, lost);
    kafka_reads_clear(consumer);
    consumer->changed = false;
    rd_kafka_topic_partition_list_destroy(consumer->committed);
    consumer->committed = rd_kafka_topic_partition_list_new(8);
    kafka_assign(consumer, NULL);
}

/* ---- what the group is told ---- */

/* Each commit is a write of the broker's, and serves nobody but people's tools: not more than one a second. */
enum { COMMIT_INTERVAL_US = 1000 * 1000 };

void kafka_commit_now(struct kafka_consumer *consumer) {
    if (!consumer->committed->cnt)
        return;
    rd_kafka_resp_err_t code = rd_kafka_commit(consumer->rk, consumer->committed, 1);
    if (code)
        kafka_count_error(code);
    rd_kafka_topic_partition_list_destroy(consumer->committed);
    consumer->committed = rd_kafka_topic_partition_list_new(8);
    consumer->commit_at_us = clock_monotonic_us() + COMMIT_INTERVAL_US;
}

void kafka_commit_if_due(struct kafka_consumer *consumer) {
    if (consumer->committed->cnt && clock_monotonic_us() >= consumer->commit_at_us)
        kafka_commit_now(consumer);
}

void kafka_consumer_commit(struct log_consumer *base, const struct log_position *positions, size_t count) {
    struct kafka_consumer *consumer = (struct kafka_consumer *)base;
    for (size_t i = 0; consumer->grouped && i < count; i++) {
        const struct kafka_topic *topic;
        if (!kafka_topic_get(kafka_of(base->log), positions[i].topic, &topic, NULL))
            continue;
        rd_kafka_topic_partition_t *told =
            rd_kafka_topic_partition_list_find(consumer->committed, topic->name, positions[i].partition);
        if (!told)
            told = rd_kafka_topic_partition_list_add(consumer->committed, topic->name, positions[i].partition);
        told->offset = positions[i].offset;
    }
    kafka_commit_if_due(consumer);
}

/* ---- joining and leaving ---- */

static bool subscribe(struct kafka_consumer *consumer, const struct str *topics, size_t count, struct err *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const struct kafka_topic *topic;
        ok = kafka_topic_get(kafka_of(consumer->base.log), topics[i], &topic, err);
        if (ok)
            rd_kafka_topic_partition_list_add(list, topic->name, RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = ok ? rd_kafka_subscribe(consumer->rk, list) : RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(list);
    return ok && (!code || kafka_err_set(err, code, "joining a group of Kafka's"));
}

/* A short wait would be asked for again and again while nothing comes, which costs more than it saves. */
enum { LINGER_LEAST_MS = 100, LINGER_MOST_MS = 5000 };

static bool set_linger(rd_kafka_conf_t *conf, int64_t linger_ms, struct err *err) {
    if (linger_ms < LINGER_LEAST_MS)
        return true;
    return kafka_conf_set(conf, "fetch.min.bytes", "65536", err) &&
           kafka_conf_set_number(conf, "fetch.wait.max.ms", linger_ms < LINGER_MOST_MS ? linger_ms : LINGER_MOST_MS,
                                 err);
}

static bool connect_consumer(struct kafka_consumer *consumer, struct str group, struct err *err) {
    rd_kafka_conf_t *conf;
    if (!kafka_conf_new(kafka_of(consumer->base.log), KAFKA_CONSUMER, &conf, err))
        return false;
    if (group.ptr) {
        BUF_AUTO name = {0};
        buf_add_str(&name, group);
        if (!kafka_conf_set(conf, "group.id", name.ptr, err)) {
            rd_kafka_conf_destroy(conf);
            return false;
        }
        rd_kafka_conf_set_rebalance_cb(conf, kafka_on_rebalance);
    }
    if (!set_linger(conf, consumer->listener.linger_ms, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_error_cb(conf, kafka_on_error);
    if (!kafka_client_new(RD_KAFKA_CONSUMER, conf, &consumer->rk, err))
        return false;
    rd_kafka_poll_set_consumer(consumer->rk);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    rd_kafka_queue_cb_event_enable(consumer->queue, kafka_on_event, consumer);
    return true;
}

static void consumer_free(struct kafka_consumer *consumer) {
    if (consumer->queue) {
        rd_kafka_queue_cb_event_enable(consumer->queue, NULL, NULL);
        rd_kafka_queue_destroy(consumer->queue);
    }
    if (consumer->rk)
        rd_kafka_destroy(consumer->rk);
    kafka_reads_clear(consumer);
    rd_kafka_topic_partition_list_destroy(consumer->committed);
    free(consumer->reads);
    free(consumer->messages);
    free(consumer->records);
    arena_free(&consumer->arena);
    pthread_cond_destroy(&consumer->wake_cond);
    pthread_mutex_destroy(&consumer->wake_lock);
    free(consumer);
}

bool kafka_consumer_open(struct log *base, struct str group, const struct str *topics, size_t topic_count,
                         const struct log_listener *listener, struct log_consumer **ret, struct err *err) {
    struct kafka_consumer *consumer = mem_zalloc(sizeof *consumer);
    consumer->base.log = base;
    consumer->grouped = group.ptr != NULL;
    if (listener)
        consumer->listener = *listener;
    consumer->committed = rd_kafka_topic_partition_list_new(8);
    arena_init(&consumer->arena);
    thread_cond_init(&consumer->wake_cond);
    pthread_mutex_init(&consumer->wake_lock, NULL);
    if (!connect_consumer(consumer, group, err) ||
        (consumer->grouped && !subscribe(consumer, topics, topic_count, err))) {
        consumer_free(consumer);
        return false;
    }
    *ret = &consumer->base;
    return true;
}

void kafka_consumer_close(struct log_consumer *base) {
    struct kafka_consumer *consumer = (struct kafka_consumer *)base;
    kafka_batch_release(consumer);
    if (consumer->grouped) {
        kafka_commit_now(consumer);
        consumer->closing = true;
        rd_kafka_consumer_close(consumer->rk);
    }
    consumer_free(consumer);
}
