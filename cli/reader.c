#include "cli/reader.h"

#include "core/base/clock.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    READER_BATCH = 1000,
    READER_AHEAD = 2000, /* records of a partition that are held before it is paused */
    READER_POLL_MS = 500,
    READER_PATIENCE_US = 10 * 1000 * 1000,
};

/* A record with all that it points to, in one allocation. */
struct held {
    struct held *next;
    struct log_record record;
    char bytes[];
};

struct queue {
    struct reader_range range;
    int64_t next; /* the offset that comes next from the log */
    struct held *first, *last;
    size_t count;
    bool paused;
};

struct reader {
    struct log_consumer *consumer;
    struct queue *queues;
    size_t count;
    struct held *current; /* given out by reader_next */
};

/* ---- copies of records ---- */

static char *copy_str(char *at, struct str s, struct str *ret) {
    *ret = (struct str){s.ptr ? at : NULL, s.len};
    return s.len ? (char *)memcpy(at, s.ptr, s.len) + s.len : at;
}

static struct held *record_copy(const struct log_record *record) {
    size_t bytes =
        record->header_count * sizeof *record->headers + record->topic.len + record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        bytes += record->headers[i].name.len + record->headers[i].value.len;
    struct held *held = mem_alloc(sizeof *held + bytes);
    held->next = NULL;
    held->record = *record;
    struct log_header *headers = (struct log_header *)(void *)held->bytes;
    char *at = held->bytes + record->header_count * sizeof *headers;
    at = copy_str(at, record->topic, &held->record.topic);
    at = copy_str(at, record->key, &held->record.key);
    at = copy_str(at, record->value, &held->record.value);
    for (size_t i = 0; i < record->header_count; i++) {
        at = copy_str(at, record->headers[i].name, &headers[i].name);
        at = copy_str(at, record->headers[i].value, &headers[i].value);
    }
    held->record.headers = headers;
    return held;
}

/* ---- queues ---- */

static bool queue_is_read(const struct queue *queue) {
    return queue->next >= queue->range.to;
}

static void queue_push(struct queue *queue, const struct log_record *record) {
    queue->next = record->offset + 1;
    if (record->offset >= queue->range.to)
        return;
    struct held *held = record_copy(record);
    if (queue->last)
        queue->last->next = held;
    else
        queue->first = held;
    queue->last = held;
    queue->count++;
}

static struct held *queue_pop(struct queue *queue) {
    struct held *held = queue->first;
    queue->first = held->next;
    if (!queue->first)
        queue->last = NULL;
    queue->count--;
    return held;
}

static struct queue *queue_find(struct reader *reader, const struct log_record *record) {
    for (size_t i = 0; i < reader->count; i++) {
        struct queue *queue = &reader->queues[i];
        if (queue->range.partition == record->partition && str_eq(queue->range.topic, record->topic))
            return queue;
    }
    return NULL;
}

/* The queue whose first record is the oldest; NULL: none holds any. *ret_wait: one that may yet bring an older one. */
static struct queue *queue_oldest(struct reader *reader, struct queue **ret_wait) {
    struct queue *oldest = NULL;
    *ret_wait = NULL;
    for (size_t i = 0; i < reader->count; i++) {
        struct queue *queue = &reader->queues[i];
        if (!queue->first) {
            if (!queue_is_read(queue))
                *ret_wait = queue;
        } else if (!oldest || queue->first->record.timestamp_us < oldest->first->record.timestamp_us) {
            oldest = queue;
        }
    }
    return oldest;
}

/* ---- the reader ---- */

bool reader_open(struct log *log, const struct reader_range *ranges, size_t count, struct reader **ret,
                 struct err *err) {
    struct reader *reader = mem_zalloc(sizeof *reader);
    reader->queues = mem_zalloc(count * sizeof *reader->queues);
    reader->count = count;
    bool ok = log_consumer_open_manual(log, &reader->consumer, err);
    for (size_t i = 0; ok && i < count; i++) {
        reader->queues[i] = (struct queue){.range = ranges[i], .next = ranges[i].from};
        if (ranges[i].from < ranges[i].to)
            ok = log_consumer_seek(reader->consumer, ranges[i].topic, ranges[i].partition, ranges[i].from, err);
    }
    if (!ok) {
        reader_close(reader);
        return false;
    }
    *ret = reader;
    return true;
}

void reader_close(struct reader *reader) {
    if (!reader)
        return;
    for (size_t i = 0; i < reader->count; i++)
        while (reader->queues[i].first)
            free(queue_pop(&reader->queues[i]));
    free(reader->current);
    free(reader->queues);
    log_consumer_close(reader->consumer);
    free(reader);
}

/* Stops partitions that are ahead or done, lets the others go on. */
static bool queues_steer(struct reader *reader, struct err *err) {
    for (size_t i = 0; i < reader->count; i++) {
        struct queue *queue = &reader->queues[i];
        bool wanted = !queue_is_read(queue) && queue->count < READER_AHEAD;
        if (queue->paused && wanted && !queue->first) {
            if (!log_consumer_seek(reader->consumer, queue->range.topic, queue->range.partition, queue->next, err))
                return false;
            queue->paused = false;
        } else if (!queue->paused && !wanted) {
            log_consumer_pause(reader->consumer, queue->range.topic, queue->range.partition);
            queue->paused = true;
        }
    }
    return true;
}

/* Until `wait` has a record or is known to have no more. */
static bool queue_fill(struct reader *reader, const struct queue *wait, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + READER_PATIENCE_US;
    while (!wait->first && !queue_is_read(wait)) {
        struct log_batch batch;
        if (!queues_steer(reader, err) ||
            !log_consumer_poll(reader->consumer, READER_BATCH, READER_POLL_MS, &batch, err))
            return false;
        for (size_t i = 0; i < batch.count; i++) {
            struct queue *queue = queue_find(reader, &batch.records[i]);
            if (queue)
                queue_push(queue, &batch.records[i]);
        }
        if (batch.count)
            give_up_us = clock_monotonic_us() + READER_PATIENCE_US;
        else if (clock_monotonic_us() > give_up_us)
            return err_set(err, ERR_TIMEOUT,
                           "%.*s, partition %d: no record came from offset %" PRId64
                           " on, although the end is %" PRId64,
                           STR_ARG(wait->range.topic), wait->range.partition, wait->next, wait->range.to);
    }
    return true;
}

bool reader_next(struct reader *reader, const struct log_record **ret, struct err *err) {
    free(reader->current);
    reader->current = NULL;
    struct queue *wait, *oldest = queue_oldest(reader, &wait);
    while (wait) {
        if (!queue_fill(reader, wait, err))
            return false;
        oldest = queue_oldest(reader, &wait);
    }
    if (oldest)
        reader->current = queue_pop(oldest);
    *ret = reader->current ? &reader->current->record : NULL;
    return true;
}

/* ---- ranges ---- */

static bool topic_ranges(struct log *log, const struct log_topic *topic, struct reader_range **ranges, size_t *count,
                         struct err *err) {
    *ranges = mem_realloc(*ranges, (*count + (size_t)topic->partitions) * sizeof **ranges);
    for (int32_t i = 0; i < topic->partitions; i++) {
        struct reader_range *range = &(*ranges)[*count];
        *range = (struct reader_range){.topic = topic->name, .partition = i};
        if (!log_watermarks(log, topic->name, i, &range->from, &range->to, err))
            return false;
        (*count)++;
    }
    return true;
}

bool reader_ranges(struct log *log, const struct str *topics, size_t count, struct reader_range **ret,
                   size_t *ret_count, struct err *err) {
    struct log_topic *list = NULL;
    struct reader_range *ranges = NULL;
    size_t range_count = 0, list_count = count;
    bool ok = true;
    if (count)
        list = mem_zalloc(count * sizeof *list);
    else
        ok = log_topics_list(log, &list, &list_count, err);
    for (size_t i = 0; ok && i < list_count; i++)
        ok = (!count || log_topic_find(log, topics[i], &list[i], err)) &&
             topic_ranges(log, &list[i], &ranges, &range_count, err);
    free(list);
    if (!ok) {
        free(ranges);
        return false;
    }
    *ret = ranges;
    *ret_count = range_count;
    return true;
}
