/* Appending. A producer's deliveries come on a thread of its own, which also replaces a client that has died, where the
 * producer goes on (the API's); the outbox publisher's is left broken: it opens another, and appends again from the
 * first record that was not acknowledged. */
#include "core/log/kafka_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/base/thread.h"

enum { SERVE_MS = 100, CLOSE_WAIT_MS = 5000, REPLACE_WAIT_MS = 1000, APPEND_OVERHEAD = 512 };

struct producer {
    struct log_producer base;
    struct log_producer_options options;
    pthread_rwlock_t client_lock; /* held for writing while `rk` is replaced */
    rd_kafka_t *rk;
    pthread_mutex_t lock;
    pthread_cond_t delivered;
    size_t queued_bytes;
    size_t queued_count;
    bool broken;
    atomic_bool closing;
    pthread_t thread;
};

struct append {
    struct producer *producer;
    log_delivery *delivery;
    void *user;
    size_t cost;
};

static struct producer *producer_of(struct log_producer *base) {
    return (struct producer *)base;
}

static struct kafka_log *log_of(struct producer *producer) {
    return kafka_of(producer->base.log);
}

/* ---- deliveries ---- */

static void account(struct producer *producer, size_t cost, bool ok) {
    pthread_mutex_lock(&producer->lock);
    producer->queued_bytes -= cost;
    if (!ok && !producer->options.delivery_timeout_ms)
        producer->broken = true;
    if (--producer->queued_count == 0)
        pthread_cond_broadcast(&producer->delivered);
    pthread_mutex_unlock(&producer->lock);
}

static void mark_broken(struct producer *producer) {
    pthread_mutex_lock(&producer->lock);
    producer->broken = true;
    pthread_mutex_unlock(&producer->lock);
}

/* librdkafka's own account of what may have become of it. */
static enum log_outcome outcome_of(const rd_kafka_message_t *message) {
    switch (rd_kafka_message_status(message)) {
    case RD_KAFKA_MSG_STATUS_PERSISTED:
        return message->err ? LOG_OUTCOME_UNKNOWN : LOG_PERSISTED;
    case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
        return LOG_NOT_PERSISTED;
    case RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED:
    default:
        return LOG_OUTCOME_UNKNOWN;
    }
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    (void)rk, (void)opaque;
    struct append *append = message->_private;
    struct producer *producer = append->producer;
    enum log_outcome outcome = outcome_of(message);
    struct err err = {0};
    if (outcome != LOG_PERSISTED) {
        kafka_count_error(message->err);
        err_set(&err, outcome == LOG_OUTCOME_UNKNOWN ? ERR_OUTCOME_UNKNOWN : ERR_LOG_UNAVAILABLE,
                "%s/%d: Kafka has not acknowledged a record: %s", rd_kafka_topic_name(message->rkt), message->partition,
                rd_kafka_err2str(message->err));
        if (!producer->options.delivery_timeout_ms)
            mark_broken(producer); /* before its user hears of it, and appends more */
    }
    if (append->delivery)
        append->delivery(append->user, outcome, message->partition, outcome == LOG_PERSISTED ? message->offset : -1,
                         outcome == LOG_PERSISTED ? NULL : &err);
    account(producer, append->cost, outcome == LOG_PERSISTED);
    free(append);
}

/* ---- the client ---- */

static bool client_open(struct producer *producer, rd_kafka_t **ret, struct err *err) {
    rd_kafka_conf_t *conf;
    if (!kafka_conf_new(log_of(producer), KAFKA_PRODUCER, &conf, err))
        return false;
    /* For who appends again in order after a failure, nothing may have been kept behind what failed. */
    bool ordered = !producer->options.delivery_timeout_ms;
    if (!kafka_conf_set_number(conf, "message.timeout.ms", producer->options.delivery_timeout_ms, err) ||
        !kafka_conf_set(conf, "enable.gapless.guarantee", ordered ? "true" : "false", err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, kafka_on_error);
    return kafka_client_new(RD_KAFKA_PRODUCER, conf, ret, err);
}

static bool is_dead(rd_kafka_t *rk) {
    char why[8];
    return rd_kafka_fatal_error(rk, why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What waits in a client is given up; each gets its delivery. */
static void client_give_up(rd_kafka_t *rk) {
    do { /* again and again: what is between two of the client's threads escapes a single one */
        rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_poll(rk, rd_kafka_outq_len(rk) > 0 ? SERVE_MS : 0);
    } while (rd_kafka_outq_len(rk) > 0);
}

static struct metric *producers_replaced(void) {
    return metrics_counter("orderlog_kafka_producers_replaced_total",
                           "Producers that began anew by themselves after a fatal error of Kafka's client.", "");
}

/* With client_lock held for writing nobody appends, so that the order of the deliveries is that of the appends. */
static void client_replace(struct producer *producer) {
    struct err err = {0};
    rd_kafka_t *fresh = NULL;
    pthread_rwlock_wrlock(&producer->client_lock);
    client_give_up(producer->rk);
    if (!producer->options.delivery_timeout_ms) {
        mark_broken(producer);
    } else if (client_open(producer, &fresh, &err)) {
        rd_kafka_destroy(producer->rk);
        producer->rk = fresh;
        metrics_add(producers_replaced(), 1);
    }
    pthread_rwlock_unlock(&producer->client_lock);
    if (err.kind) {
        logging_err(&err, "kafka.producer_not_replaced", " ");
        clock_sleep_ms(REPLACE_WAIT_MS); /* and again */
    }
}

static void *serve(void *user) {
    struct producer *producer = user;
    thread_name("kafka-acks");
    while (!atomic_load(&producer->closing)) {
        rd_kafka_poll(producer->rk, SERVE_MS);
        pthread_mutex_lock(&producer->lock);
        bool broken = producer->broken;
        pthread_mutex_unlock(&producer->lock);
        if (is_dead(producer->rk) && !(broken && rd_kafka_outq_len(producer->rk) == 0))
            client_replace(producer);
    }
    return NULL;
}

/* ---- the port ---- */

bool kafka_producer_open(struct log *base, const struct log_producer_options *options, struct log_producer **ret,
                         struct err *err) {
    struct kafka_log *log = kafka_of(base);
    if (log->read_only)
        return err_set(err, ERR_LOG_UNAVAILABLE, "the log was opened for reading only");
    struct producer *producer = mem_zalloc(sizeof *producer);
    producer->base.log = base;
    producer->options = *options;
    if (!client_open(producer, &producer->rk, err)) {
        free(producer);
        return false;
    }
    thread_cond_init(&producer->delivered);
    pthread_mutex_init(&producer->lock, NULL);
    pthread_rwlock_init(&producer->client_lock, NULL);
    if (pthread_create(&producer->thread, NULL, serve, producer) != 0) {
        rd_kafka_destroy(producer->rk);
        free(producer);
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    }
    *ret = &producer->base;
    return true;
}

bool kafka_flush(struct log_producer *base, int64_t timeout_ms) {
    struct producer *producer = producer_of(base);
    int64_t until_us = clock_monotonic_us() + timeout_ms * 1000;
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&producer->lock);
    while (producer->queued_count && rc == 0)
        rc = pthread_cond_timedwait(&producer->delivered, &producer->lock, &until);
    bool done = producer->queued_count == 0;
    pthread_mutex_unlock(&producer->lock);
    return done;
}

/* A broker that is away may stay away: what it has not acknowledged within some seconds is given up. */
void kafka_producer_close(struct log_producer *base) {
    struct producer *producer = producer_of(base);
    int64_t patience_ms = producer->options.delivery_timeout_ms;
    kafka_flush(base, patience_ms > 0 && patience_ms < CLOSE_WAIT_MS ? patience_ms : CLOSE_WAIT_MS);
    atomic_store(&producer->closing, true);
    pthread_join(producer->thread, NULL);
    client_give_up(producer->rk);
    rd_kafka_destroy(producer->rk);
    pthread_rwlock_destroy(&producer->client_lock);
    pthread_cond_destroy(&producer->delivered);
    pthread_mutex_destroy(&producer->lock);
    free(producer);
}

static size_t cost_of(const struct log_record *record) {
    size_t cost = APPEND_OVERHEAD + record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        cost += record->headers[i].name.len + record->headers[i].value.len;
    return cost;
}

/* A record larger than the bound still goes in when it is alone. */
static bool admit(struct producer *producer, size_t cost, struct err *err) {
    bool ok = false;
    pthread_mutex_lock(&producer->lock);
    if (producer->broken)
        err_set(err, ERR_LOG_UNAVAILABLE, "an earlier append of this producer has failed: open a new one");
    else if (producer->queued_count && producer->queued_bytes + cost > producer->options.max_queued_bytes)
        err_set(err, ERR_OVERLOADED, "%zu bytes wait for the log already", producer->queued_bytes);
    else
        ok = true;
    if (ok) {
        producer->queued_bytes += cost;
        producer->queued_count++;
    }
    pthread_mutex_unlock(&producer->lock);
    return ok;
}

static void unadmit(struct producer *producer, size_t cost) {
    account(producer, cost, true);
}

static rd_kafka_headers_t *headers_of(const struct log_record *record) {
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        rd_kafka_header_add(headers, record->headers[i].name.ptr, (ssize_t)record->headers[i].name.len,
                            record->headers[i].value.ptr, (ssize_t)record->headers[i].value.len);
    return headers;
}

static bool produce(struct producer *producer, const struct kafka_topic *topic, int32_t partition,
                    const struct log_record *record, struct append *append, struct err *err) {
    rd_kafka_headers_t *headers = headers_of(record);
    int64_t time_ms = log_of(producer)->filling ? record->timestamp_us / 1000 : 0; /* 0: now */
    pthread_rwlock_rdlock(&producer->client_lock);
    rd_kafka_resp_err_t code =
        rd_kafka_producev(producer->rk, RD_KAFKA_V_TOPIC(topic->name), RD_KAFKA_V_PARTITION(partition),
                          RD_KAFKA_V_KEY(record->key.ptr, record->key.len),
                          RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.ptr, record->value.len),
                          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_TIMESTAMP(time_ms),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(append), RD_KAFKA_V_END);
    pthread_rwlock_unlock(&producer->client_lock);
    if (!code)
        return true;
    rd_kafka_headers_destroy(headers);
    return kafka_err_set(err, code, topic->name);
}

bool kafka_append(struct log_producer *base, const struct log_record *record, log_delivery *delivery, void *user,
                  struct err *err) {
    struct producer *producer = producer_of(base);
    const struct kafka_topic *topic;
    int32_t partition = record->partition;
    if (!kafka_topic_get(kafka_of(base->log), record->topic, &topic, err))
        return false;
    if (partition == LOG_BY_KEY)
        partition = log_partition_of(record->key, topic->info.partitions);
    if (!kafka_partition_check(kafka_of(base->log), record->topic, partition, &topic, err))
        return false;
    struct append *append = mem_alloc(sizeof *append);
    *append = (struct append){.producer = producer, .delivery = delivery, .user = user, .cost = cost_of(record)};
    if (!admit(producer, append->cost, err)) {
        free(append);
        return false;
    }
    if (produce(producer, topic, partition, record, append, err))
        return true;
    unadmit(producer, append->cost);
    free(append);
    return false;
}

/* ---- for tests ---- */

void log_kafka_fail_producer(struct log_producer *base) {
    rd_kafka_test_fatal_error(producer_of(base)->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "as a test wants");
}
