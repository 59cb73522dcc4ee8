/* The writing half of the log port. What is acknowledged is durable: Kafka by acks=all and an idempotent producer,
 * the embedded log by fsync. Projections may not include this header. */
#ifndef ORDERLOG_LOG_APPEND_H
#define ORDERLOG_LOG_APPEND_H

#include "core/log/log.h"

struct log_producer;

enum log_outcome {
    LOG_PERSISTED,
    LOG_NOT_PERSISTED, /* certainly not in the log, nor will it be */
    LOG_OUTCOME_UNKNOWN,
};

/* Called exactly once for each accepted append, on a thread of the log's: be short, do not block, do not append from
 * inside. Per partition in the order of the appends. `err` is NULL when persisted. `offset` is -1 when it is not, or
 * when the log did not say where (Kafka, when an answer was lost and the append was tried again). */
typedef void log_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                          const struct err *err);

struct log_producer_options {
    size_t max_queued_bytes;     /* 0: 32 MiB. Bounds what waits to be acknowledged. */
    int64_t delivery_timeout_ms; /* 0: never given up (the outbox publisher); else NOT_PERSISTED or OUTCOME_UNKNOWN
                                    after it */
};

/* Records of one producer keep their order per partition. Without a delivery_timeout_ms nothing is persisted behind a
 * record that failed: all that waits fails with it, and what comes is refused (ERR_LOG_UNAVAILABLE). With one the
 * producer goes on by itself, also after an error that is fatal to Kafka's client. After a failed delivery the caller
 * that needs order (the outbox publisher) opens a new producer and appends again from the first record not
 * acknowledged. */
CHECK_RESULT bool log_producer_open(struct log *log, const struct log_producer_options *options,
                                    struct log_producer **ret, struct err *err);
/* Waits for what is queued (see log_flush), then closes; each append gets its delivery. NULL is fine. */
void log_producer_close(struct log_producer *producer);

enum {
    LOG_BY_KEY = -1,
    LOG_RECORD_MAX = 1 << 20, /* bytes of key, value, and the headers' names and values together */
};

/* Asynchronous; everything is copied. `record->offset` and `timestamp_us` are ignored; partition LOG_BY_KEY lets the
 * key choose (log_partition_of). Any thread. False: not accepted, no delivery will come: ERR_OVERLOADED (queue full),
 * ERR_NOT_FOUND (no such topic or partition), ERR_TOO_LARGE (over LOG_RECORD_MAX), ERR_LOG_UNAVAILABLE (closing). */
CHECK_RESULT bool log_append(struct log_producer *producer, const struct log_record *record, log_delivery *delivery,
                             void *user, struct err *err);
/* Waits until every accepted append had its delivery; false on time-out. */
bool log_flush(struct log_producer *producer, int64_t timeout_ms);

/* For callers that have nothing else to do: appends one record and waits. */
CHECK_RESULT bool log_append_wait(struct log_producer *producer, const struct log_record *record, int64_t timeout_ms,
                                  int32_t *ret_partition, int64_t *ret_offset, struct err *err);

#endif
