#include "producers/publisher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/arena.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/log/envelope.h"
#include "core/log/record_codec.h"
#include "core/trace/trace.h"

enum { PUBLISHER_FLUSH_MS = 10000 };

struct entry; /* one record of a row, while it is in flight */

struct row {
    struct row *next;
    struct shard_queue *queue;
    int64_t id;
    size_t bytes;
    struct arena arena;         /* the decoded records; they point into `text` */
    struct log_record *records; /* in order */
    struct entry *entries;      /* one per record: what its delivery needs */
    size_t count;
    size_t appended;            /* records given to the producer since it was opened */
    atomic_size_t acknowledged; /* records acknowledged since then */
    char *text;
};

struct entry {
    struct publisher *publisher;
    struct row *row;
    int64_t offset;      /* as acknowledged; written before `acknowledged` is counted up */
    int64_t appended_us; /* with tracing on */
};

struct acknowledged {
    struct str topic; /* owned */
    int32_t partition;
    int64_t offset;
};

struct shard_queue {
    struct shard_queue *next;
    int32_t shard;
    struct row *first;
    struct row *last;
    struct row *resume; /* the first row that is not appended as a whole */
    int64_t done_through;
    struct acknowledged *acknowledged;
    size_t acknowledged_count;
};

struct publisher {
    struct log *log;
    struct log_producer *producer;
    publisher_wake *wake;
    void *user;
    struct shard_queue *queues;
    struct row *dropped; /* of dropped shards, with records in flight: freed once those are answered */
    size_t backlog_bytes;
    atomic_bool failed;
    atomic_size_t in_flight;
    pthread_mutex_t lock; /* guards `failure` */
    struct err failure;
    struct metric *published;
    struct metric *restarts;
};

static bool open_producer(struct publisher *publisher, struct err *err) {
    struct log_producer_options options = {.delivery_timeout_ms = 0};
    return log_producer_open(publisher->log, &options, &publisher->producer, err);
}

bool publisher_open(struct log *log, publisher_wake *wake, void *user, struct publisher **ret, struct err *err) {
    struct publisher *publisher = mem_zalloc(sizeof(*publisher));
    publisher->log = log;
    publisher->wake = wake;
    publisher->user = user;
    pthread_mutex_init(&publisher->lock, NULL);
    publisher->published =
        metrics_counter("orderlog_outbox_records_published_total", "Outbox records acknowledged by the log.", "");
    publisher->restarts = metrics_counter("orderlog_outbox_producer_restarts_total",
                                          "Producers opened anew after a failed delivery.", "");
    if (!open_producer(publisher, err)) {
        publisher_close(publisher, 0);
        return false;
    }
    *ret = publisher;
    return true;
}

static void free_row(struct publisher *publisher, struct row *row) {
    publisher->backlog_bytes -= row->bytes;
    arena_free(&row->arena);
    free(row->text);
    free(row);
}

static void free_rows(struct publisher *publisher, struct row *row) {
    while (row) {
        struct row *next = row->next;
        free_row(publisher, row);
        row = next;
    }
}

void publisher_close(struct publisher *publisher, int64_t timeout_ms) {
    if (!publisher)
        return;
    if (publisher->producer)
        log_flush(publisher->producer, timeout_ms);
    log_producer_close(publisher->producer); /* every append has its delivery after this */
    while (publisher->queues) {
        struct shard_queue *queue = publisher->queues;
        publisher->queues = queue->next;
        free_rows(publisher, queue->first);
        for (size_t i = 0; i < queue->acknowledged_count; i++)
            free((void *)(uintptr_t)queue->acknowledged[i].topic.ptr);
        free(queue->acknowledged);
        free(queue);
    }
    free_rows(publisher, publisher->dropped);
    pthread_mutex_destroy(&publisher->lock);
    free(publisher);
}

static struct shard_queue *queue_of(struct publisher *publisher, int32_t shard) {
    struct shard_queue *queue = publisher->queues;
    while (queue && queue->shard != shard)
        queue = queue->next;
    if (!queue) {
        queue = mem_zalloc(sizeof(*queue));
        queue->shard = shard;
        queue->next = publisher->queues;
        publisher->queues = queue;
    }
    return queue;
}

static bool decode_row(struct row *row, struct str records, struct err *err) {
    struct str rest = records;
    while (rest.len) {
        if (!record_skip(&rest, err))
            return false;
        row->count++;
    }
    row->records = arena_array(&row->arena, struct log_record, row->count);
    row->entries = arena_array(&row->arena, struct entry, row->count);
    rest = records;
    for (size_t i = 0; i < row->count; i++)
        if (!record_decode(&rest, &row->arena, &row->records[i], err))
            return false;
    return true;
}

bool publisher_add(struct publisher *publisher, int32_t shard, int64_t id, struct str records, struct err *err) {
    struct shard_queue *queue = queue_of(publisher, shard);
    struct row *row = mem_zalloc(sizeof(*row));
    row->queue = queue;
    row->id = id;
    row->text = mem_strdup(records);
    row->bytes = records.len + sizeof(*row);
    arena_init(&row->arena);
    publisher->backlog_bytes += row->bytes;
    if (!decode_row(row, (struct str){row->text, records.len}, err)) {
        free_row(publisher, row);
        return false;
    }
    for (size_t i = 0; i < row->count; i++)
        row->entries[i] = (struct entry){.publisher = publisher, .row = row};
    if (queue->last)
        queue->last->next = row;
    else
        queue->first = row;
    queue->last = row;
    if (!queue->resume)
        queue->resume = row;
    return true;
}

void publisher_drop(struct publisher *publisher, int32_t shard) {
    struct shard_queue *queue = queue_of(publisher, shard);
    if (queue->last) {
        queue->last->next = publisher->dropped;
        publisher->dropped = queue->first;
    }
    queue->first = queue->last = queue->resume = NULL;
    queue->done_through = 0;
}

static void trace_delivery(const struct entry *entry) {
    struct envelope envelope;
    struct span span;
    struct err ignored = {0};
    if (!envelope_read(&entry->row->records[entry - entry->row->entries], &envelope, &ignored) ||
        !span_begin(&span, envelope.traceparent))
        return;
    span.start_us = entry->appended_us;
    envelope.offset = entry->offset;
    span_end_record(&span, SPAN_PRODUCER, "send", &envelope, STR_NULL, false);
}

static void on_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                        const struct err *err) {
    struct entry *entry = user;
    struct publisher *publisher = entry->publisher;
    (void)partition;
    bool wake = false;
    if (outcome == LOG_PERSISTED) {
        entry->offset = offset;
        if (trace_on())
            trace_delivery(entry);
        size_t count = entry->row->count;
        wake = atomic_fetch_add(&entry->row->acknowledged, 1) + 1 == count;
    } else {
        pthread_mutex_lock(&publisher->lock);
        if (!atomic_load(&publisher->failed) && err)
            publisher->failure = *err;
        pthread_mutex_unlock(&publisher->lock);
        wake = !atomic_exchange(&publisher->failed, true);
    }
    /* After the last one, the loop may free the row: nothing of it is touched below. */
    atomic_fetch_sub(&publisher->in_flight, 1);
    if (wake)
        publisher->wake(publisher->user);
}

static void note_acknowledged(struct shard_queue *queue, const struct log_record *record, int64_t offset) {
    for (size_t i = 0; i < queue->acknowledged_count; i++) {
        struct acknowledged *known = &queue->acknowledged[i];
        if (known->partition == record->partition && str_eq(known->topic, record->topic)) {
            if (offset > known->offset)
                known->offset = offset;
            return;
        }
    }
    queue->acknowledged =
        mem_realloc(queue->acknowledged, (queue->acknowledged_count + 1) * sizeof(*queue->acknowledged));
    queue->acknowledged[queue->acknowledged_count++] = (struct acknowledged){
        .topic = {mem_strdup(record->topic), record->topic.len}, .partition = record->partition, .offset = offset};
}

static bool row_done(const struct row *row) {
    return atomic_load(&((struct row *)(uintptr_t)row)->acknowledged) == row->count && row->appended == row->count;
}

/* A delivery counts down `in_flight` after it counted up `acknowledged`, so a done row could be freed under the feet of
 * a delivery that has yet to leave; on_delivery touches only the publisher after that point. */
static void settle_done(struct publisher *publisher) {
    for (struct shard_queue *queue = publisher->queues; queue; queue = queue->next)
        while (queue->first && queue->first != queue->resume && row_done(queue->first)) {
            struct row *row = queue->first;
            for (size_t i = 0; i < row->count; i++)
                note_acknowledged(queue, &row->records[i], row->entries[i].offset);
            metrics_add(publisher->published, (int64_t)row->count);
            queue->done_through = row->id;
            queue->first = row->next;
            if (!queue->first)
                queue->last = NULL;
            free_row(publisher, row);
        }
    if (publisher->dropped && atomic_load(&publisher->in_flight) == 0) {
        free_rows(publisher, publisher->dropped);
        publisher->dropped = NULL;
    }
}

static bool start_anew(struct publisher *publisher, struct err *err) {
    /* Closing answers everything in flight, so that no late delivery is counted for what is appended again. */
    if (publisher->producer) {
        log_flush(publisher->producer, PUBLISHER_FLUSH_MS);
        log_producer_close(publisher->producer);
        publisher->producer = NULL;
        pthread_mutex_lock(&publisher->lock);
        struct err failure = publisher->failure;
        pthread_mutex_unlock(&publisher->lock);
        metrics_add(publisher->restarts, 1);
        logging_err(&failure, "publisher.restarted", " ");
    }
    settle_done(publisher);
    for (struct shard_queue *queue = publisher->queues; queue; queue = queue->next) {
        queue->resume = queue->first;
        for (struct row *row = queue->first; row; row = row->next) {
            row->appended = 0;
            atomic_store(&row->acknowledged, 0);
        }
    }
    if (!open_producer(publisher, err))
        return false;
    atomic_store(&publisher->failed, false);
    return true;
}

/* False without an error: the queue is full; later. */
static bool append_row(struct publisher *publisher, struct row *row, struct err *err) {
    while (row->appended < row->count) {
        size_t i = row->appended;
        atomic_fetch_add(&publisher->in_flight, 1);
        if (trace_on())
            row->entries[i].appended_us = clock_now_us();
        if (!log_append(publisher->producer, &row->records[i], on_delivery, &row->entries[i], err)) {
            atomic_fetch_sub(&publisher->in_flight, 1);
            return false;
        }
        row->appended++;
    }
    return true;
}

static bool append_waiting(struct publisher *publisher, struct err *err) {
    for (struct shard_queue *queue = publisher->queues; queue; queue = queue->next)
        while (queue->resume) {
            if (!append_row(publisher, queue->resume, err))
                return false;
            queue->resume = queue->resume->next;
        }
    return true;
}

bool publisher_pump(struct publisher *publisher, struct err *err) {
    if (atomic_load(&publisher->failed) || !publisher->producer) {
        if (!start_anew(publisher, err))
            return false;
    }
    struct err refused = {0};
    if (!append_waiting(publisher, &refused) && refused.kind != ERR_OVERLOADED) {
        /* A producer that takes nothing more is as good as a failed delivery. */
        pthread_mutex_lock(&publisher->lock);
        publisher->failure = refused;
        pthread_mutex_unlock(&publisher->lock);
        atomic_store(&publisher->failed, true);
        if (err)
            *err = refused;
        return false;
    }
    settle_done(publisher);
    return true;
}

int64_t publisher_done_through(const struct publisher *publisher, int32_t shard) {
    for (const struct shard_queue *queue = publisher->queues; queue; queue = queue->next)
        if (queue->shard == shard)
            return queue->done_through;
    return 0;
}

size_t publisher_backlog_bytes(const struct publisher *publisher) {
    return publisher->backlog_bytes;
}

void publisher_take_acknowledged(struct publisher *publisher, int32_t shard, publisher_acknowledged *each, void *user) {
    struct shard_queue *queue = queue_of(publisher, shard);
    for (size_t i = 0; i < queue->acknowledged_count; i++) {
        each(user, queue->acknowledged[i].topic, queue->acknowledged[i].partition, queue->acknowledged[i].offset);
        free((void *)(uintptr_t)queue->acknowledged[i].topic.ptr);
    }
    queue->acknowledged_count = 0;
}
