/* What is Kafka's own about the log port: where tokens come from, and what only tests may do. */
#ifndef ORDERLOG_LOG_KAFKA_H
#define ORDERLOG_LOG_KAFKA_H

#include "core/log/append.h"

/* A token for SASL/OAUTHBEARER. */
struct kafka_token {
    struct buf text;
    struct buf principal;  /* who it names; may stay empty */
    int64_t expires_at_us; /* wall clock; a new one is asked for after four fifths of the time left */
};
/* Called on a thread of librdkafka's, by each client for itself, so by several at once; may block for some seconds. An
 * error is logged and counted, and asked again after ten seconds: it must not hold a secret. */
typedef bool kafka_token_source(void *user, struct kafka_token *ret, struct err *err);
/* To be set before the first kafka:// log is opened, from where core/log may not reach (the cli); it is asked when
 * ORDERLOG_KAFKA_SASL_MECHANISM is OAUTHBEARER. Without one such a log is refused (ERR_CONFIG). */
void kafka_token_source_set(kafka_token_source *source, void *user);

/* The version of librdkafka that this program runs with, as "2.0.2". */
const char *kafka_library_version(void);

/* ---- for tests ---- */

/* The producer dies as of a fatal error of the broker's. */
void log_kafka_fail_producer(struct log_producer *producer);

#endif
