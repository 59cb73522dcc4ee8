/* Reading: polls, seeks and pauses. What librdkafka is to read is told to it as a whole (kafka_reads_apply), at the
 * next poll: that works the same for what a group has assigned and for what a seek names, and what was fetched before
 * is thrown away by librdkafka. */
#include "core/log/kafka_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/clock.h"

enum { UNWANTED_MAX = 500, ASK_AGAIN_US = 1000 * 1000 };

static struct kafka_consumer *consumer_of(struct log_consumer *base) {
    return (struct kafka_consumer *)base;
}

/* ---- waking ---- */

/* There may be something for a poll to do. */
static void signal_ready(struct kafka_consumer *consumer, bool wake) {
    pthread_mutex_lock(&consumer->wake_lock);
    consumer->ready = true;
    consumer->woken |= wake;
    pthread_cond_signal(&consumer->wake_cond);
    if (consumer->notify)
        consumer->notify(consumer->notify_user);
    pthread_mutex_unlock(&consumer->wake_lock);
}

/* ---- partitions ---- */

static struct kafka_read *read_find(struct kafka_consumer *consumer, const char *topic, int32_t partition) {
    for (size_t i = 0; i < consumer->read_count; i++) {
        struct kafka_read *read = &consumer->reads[i];
        if (read->partition == partition && strcmp(read->topic->name, topic) == 0)
            return read;
    }
    return NULL;
}

struct kafka_read *kafka_read_add(struct kafka_consumer *consumer, const struct kafka_topic *topic, int32_t partition) {
    if (consumer->read_count == consumer->read_cap) {
        consumer->read_cap = consumer->read_cap ? 2 * consumer->read_cap : 16;
        consumer->reads = mem_realloc(consumer->reads, consumer->read_cap * sizeof *consumer->reads);
    }
    struct kafka_read *read = &consumer->reads[consumer->read_count++];
    *read = (struct kafka_read){.topic = topic, .partition = partition};
    return read;
}

void kafka_reads_clear(struct kafka_consumer *consumer) {
    for (size_t i = 0; i < consumer->read_count; i++)
        free(consumer->reads[i].failed);
    consumer->read_count = 0;
    consumer->changed = true;
}

/* librdkafka stops what it read before by messages to itself. Told again what to read before it has dealt with them, it
 * stops a partition twice, and an assertion ends the program. Requests wait in the same line: when some have been
 * answered, it is through. Not while it closes: nothing is
 * read after that, and a client that has left its group throws away requests without an answer, for which the asker
 * waits for ever. */
rd_kafka_resp_err_t kafka_assign(const struct kafka_consumer *consumer, const rd_kafka_topic_partition_list_t *list) {
    enum { ROUNDS = 4 };
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->rk, list);
    for (int i = 0; i < ROUNDS && !consumer->closing; i++) {
        rd_kafka_topic_partition_list_t *now;
        if (rd_kafka_assignment(consumer->rk, &now))
            break;
        rd_kafka_topic_partition_list_destroy(now);
    }
    return code;
}

bool kafka_reads_apply(struct kafka_consumer *consumer, struct err *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->read_count);
    for (size_t i = 0; i < consumer->read_count; i++) {
        struct kafka_read *read = &consumer->reads[i];
        if (read->active && !read->failed)
            rd_kafka_topic_partition_list_add(list, read->topic->name, read->partition)->offset = read->offset;
    }
    rd_kafka_resp_err_t code = kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return kafka_err_set(err, code, "telling Kafka's client what to read");
    consumer->changed = false;
    consumer->unwanted = 0;
    return true;
}

static void fail(struct kafka_read *read, enum err_kind kind, const char *why) {
    if (!read->failed)
        read->failed = mem_zalloc(sizeof *read->failed);
    err_set(read->failed, kind, "%s/%d offset %lld: %s", read->topic->name, read->partition, (long long)read->offset,
            why);
}

bool kafka_consumer_seek(struct log_consumer *base, struct str topic, int32_t partition, int64_t offset,
                         struct err *err) {
    struct kafka_consumer *consumer = consumer_of(base);
    const struct kafka_topic *known;
    if (!kafka_partition_check(kafka_of(base->log), topic, partition, &known, err))
        return false;
    struct kafka_read *read = read_find(consumer, known->name, partition);
    if (!read && consumer->grouped)
        return err_set(err, ERR_NOT_FOUND, "%.*s/%d is not assigned to this member", STR_ARG(topic), partition);
    if (!read)
        read = kafka_read_add(consumer, known, partition);
    if (read->active && !read->failed && !consumer->changed && read->offset == offset)
        return true; /* it reads on from there as it is */
    free(read->failed);
    read->failed = NULL;
    read->offset = offset;
    read->active = true;
    consumer->changed = true;
    signal_ready(consumer, false); /* the next poll tells librdkafka */
    if (offset < 0)                /* to librdkafka such numbers have meanings of their own */
        fail(read, ERR_LOST_RECORDS, "there is no such offset");
    return true;
}

/* Telling librdkafka costs what it has fetched of the other partitions: it is told once too much comes in vain. */
void kafka_consumer_pause(struct log_consumer *base, struct str topic, int32_t partition) {
    struct kafka_consumer *consumer = consumer_of(base);
    const struct kafka_topic *known;
    struct kafka_read *read =
        kafka_topic_get(kafka_of(base->log), topic, &known, NULL) ? read_find(consumer, known->name, partition) : NULL;
    if (!read || !read->active)
        return;
    read->active = false; /* what still comes of it is thrown away */
}

/* ---- what comes ---- */

void kafka_batch_release(struct kafka_consumer *consumer) {
    for (size_t i = 0; i < consumer->message_count; i++)
        rd_kafka_message_destroy(consumer->messages[i]);
    consumer->message_count = 0;
    arena_reset(&consumer->arena);
}

static void make_room(struct kafka_consumer *consumer, size_t max) {
    if (consumer->cap >= max)
        return;
    consumer->cap = max;
    consumer->messages = mem_realloc(consumer->messages, max * sizeof *consumer->messages);
    consumer->records = mem_realloc(consumer->records, max * sizeof *consumer->records);
}

/* What is wrong with one partition is told when it is asked for; what librdkafka mends by itself is counted. */
static void take_error(struct kafka_consumer *consumer, const rd_kafka_message_t *message) {
    struct kafka_read *read =
        message->rkt ? read_find(consumer, rd_kafka_topic_name(message->rkt), message->partition) : NULL;
    enum err_kind kind = kafka_err_kind(message->err);
    kafka_count_error(message->err);
    /* A broker that has just come back may not know a topic yet: the client does not ask again by itself. */
    if (read && read->active && kind == ERR_NOT_FOUND)
        consumer->ask_again_at_us = clock_monotonic_us() + ASK_AGAIN_US;
    if (!read || !read->active || (kind != ERR_LOST_RECORDS && kind != ERR_CORRUPT))
        return;
    fail(read, kind, rd_kafka_message_errstr(message));
    consumer->changed = true;
}

static const struct log_header *take_headers(struct kafka_consumer *consumer, const rd_kafka_message_t *message,
                                             size_t *ret_count) {
    rd_kafka_headers_t *headers;
    *ret_count = 0;
    if (rd_kafka_message_headers(message, &headers))
        return NULL;
    size_t count = rd_kafka_header_cnt(headers);
    struct log_header *all = arena_alloc(&consumer->arena, count * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        size_t len;
        if (rd_kafka_header_get_all(headers, i, &name, &value, &len))
            break;
        all[(*ret_count)++] = (struct log_header){str_from(name), {value, len}};
    }
    return all;
}

static bool take(struct kafka_consumer *consumer, const rd_kafka_message_t *message, struct log_record *ret) {
    struct kafka_read *read = read_find(consumer, rd_kafka_topic_name(message->rkt), message->partition);
    if (!read || !read->active || read->failed || message->offset < read->offset) {
        consumer->changed |= ++consumer->unwanted > UNWANTED_MAX;
        return false;
    }
    rd_kafka_timestamp_type_t kind;
    *ret = (struct log_record){.topic = read->topic->info.name,
                               .partition = message->partition,
                               .offset = message->offset,
                               .timestamp_us = rd_kafka_message_timestamp(message, &kind) * 1000,
                               .key = {message->key, message->key_len},
                               .value = {message->payload, message->len}};
    ret->headers = take_headers(consumer, message, &ret->header_count);
    read->offset = message->offset + 1;
    return true;
}

/* What came before a rebalance in the same breath may be of partitions that are another's now, or have another
 * position: all of it is fetched again. */
static size_t take_all(struct kafka_consumer *consumer, size_t count) {
    size_t kept = 0, records = 0;
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_t *message = consumer->messages[i];
        bool good = false;
        consumer->run_bytes += message->len;
        if (message->err)
            take_error(consumer, message);
        else
            good = !consumer->rebalanced && take(consumer, message, &consumer->records[records]);
        if (good) {
            records++;
            consumer->messages[kept++] = message;
        } else {
            rd_kafka_message_destroy(message);
        }
    }
    consumer->message_count = kept;
    if (consumer->rebalanced)
        consumer->changed = consumer->read_count > 0;
    return records;
}

/* ---- fetching ---- */

/* Asks those who lead what is read where its end is: whatever is sent to a broker wakes the thread that fetches from
 * it. A seek would, too, and throw away what is on its way. The answer is of no interest, so it is not waited for when
 * it comes late (behind a fetch that waits at the broker), and neither is an error. */
static void fetch_on(const struct kafka_consumer *consumer) {
    enum { WAIT_MS = 10 };
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->read_count);
    for (size_t i = 0; i < consumer->read_count; i++) {
        const struct kafka_read *read = &consumer->reads[i];
        if (read->active && !read->failed)
            rd_kafka_topic_partition_list_add(list, read->topic->name, read->partition)->offset = RD_KAFKA_OFFSET_END;
    }
    if (list->cnt)
        (void)rd_kafka_offsets_for_times(consumer->rk, list, WAIT_MS);
    rd_kafka_topic_partition_list_destroy(list);
}

/* librdkafka stops fetching while it holds as much as it may, and older ones then look only once a second whether there
 * is room: nothing that is taken wakes the thread that fetches. So that is done here, when all was taken. What was
 * there counts, also where less was given: librdkafka throws away what came before it was told what to read. */
static void fetch_on_if_full(struct kafka_consumer *consumer, size_t held, size_t taken, size_t room) {
    bool emptied = taken < room;
    consumer->run_records += emptied && held > taken ? held : taken;
    if (!emptied || kafka_looks_for_room())
        return;
    bool was_full = consumer->run_records >= KAFKA_QUEUED_RECORDS || consumer->run_bytes >= KAFKA_QUEUED_KBYTES * 1000;
    consumer->run_records = consumer->run_bytes = 0;
    if (was_full && !consumer->changed)
        fetch_on(consumer);
}

/* ---- polling ---- */

/* An error is told by every other poll: the one between waits its time out, so that the other partitions go on. */
static bool tell_failure(struct kafka_consumer *consumer, bool quiet, struct err *err) {
    for (size_t i = 0; i < consumer->read_count && !quiet; i++) {
        const struct kafka_read *read = &consumer->reads[i];
        if (!read->active || !read->failed)
            continue;
        err_set(err, read->failed->kind, "%s", read->failed->detail);
        consumer->told_failure = true;
        return true;
    }
    return false;
}

/* Until there may be something to do. */
static void wait_for_work(struct kafka_consumer *consumer, int64_t until_us) {
    const struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&consumer->wake_lock);
    while (!consumer->ready && !consumer->woken && rc == 0)
        rc = pthread_cond_timedwait(&consumer->wake_cond, &consumer->wake_lock, &until);
    pthread_mutex_unlock(&consumer->wake_lock);
}

static bool take_signals(struct kafka_consumer *consumer) {
    pthread_mutex_lock(&consumer->wake_lock);
    bool woken = consumer->woken;
    consumer->ready = consumer->woken = false;
    pthread_mutex_unlock(&consumer->wake_lock);
    return woken;
}

/* librdkafka calls this when its queue is no longer empty. */
void kafka_on_event(rd_kafka_t *rk, void *opaque) {
    (void)rk;
    signal_ready(opaque, false);
}

bool kafka_consumer_poll(struct log_consumer *base, size_t max, int64_t timeout_ms, struct log_batch *ret,
                         struct err *err) {
    struct kafka_consumer *consumer = consumer_of(base);
    int64_t until_us = clock_monotonic_us() + timeout_ms * 1000;
    size_t records = 0, room = max ? max : 1;
    bool quiet = consumer->told_failure;
    consumer->told_failure = false;
    kafka_batch_release(consumer);
    make_room(consumer, room);
    consumer->rebalanced = false;
    if (consumer->ask_again_at_us && clock_monotonic_us() >= consumer->ask_again_at_us) {
        consumer->ask_again_at_us = 0;
        consumer->changed = consumer->read_count > 0;
    }
    if (tell_failure(consumer, quiet, err))
        return false;
    for (;;) {
        /* In the middle of a rebalance it may be refused: what is on the queue goes on with that. */
        bool applied = !consumer->changed || kafka_reads_apply(consumer, err);
        bool woken = take_signals(consumer);
        size_t held = rd_kafka_queue_length(consumer->queue);
        ssize_t count = rd_kafka_consume_batch_queue(consumer->queue, 0, consumer->messages, room);
        if (count < 0)
            return kafka_err_set(err, rd_kafka_last_error(), "reading from Kafka");
        records = take_all(consumer, (size_t)count);
        fetch_on_if_full(consumer, held, (size_t)count, room);
        if ((size_t)count == room)
            signal_ready(consumer, false); /* there may be more, of which we are not told again */
        if (records || woken || consumer->rebalanced)
            break;
        if (tell_failure(consumer, quiet, err))
            return false;
        if (count == 0 && (!applied || !consumer->changed))
            wait_for_work(consumer, until_us);
        if (clock_monotonic_us() < until_us)
            continue;
        if (!applied)
            return false;
        break;
    }
    kafka_commit_if_due(consumer);
    *ret = (struct log_batch){consumer->records, records};
    return true;
}

void kafka_consumer_wake(struct log_consumer *base) {
    signal_ready(consumer_of(base), true);
}

void kafka_consumer_notify(struct log_consumer *base, void (*notify)(void *user), void *user) {
    struct kafka_consumer *consumer = consumer_of(base);
    pthread_mutex_lock(&consumer->wake_lock);
    consumer->notify = notify;
    consumer->notify_user = user;
    pthread_mutex_unlock(&consumer->wake_lock);
    signal_ready(consumer, false); /* for what was asked for before */
}
