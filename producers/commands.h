/* What the API appends: the one place that knows which topic, key and subject a message of the API's has, and that
 * builds its record with its headers (CloudEvents, Kafka binding). Deciders' records are built by the outbox instead:
 * only those carry origin headers.
 *
 * No state; any thread. Does not block. */
#ifndef ORDERLOG_PRODUCERS_COMMANDS_H
#define ORDERLOG_PRODUCERS_COMMANDS_H

#include "core/log/append.h"
#include "gen/types.h"
#include "producers/locations.h"

#define COMMAND_SOURCE "/orderlog/api"

struct command {
    struct str id;          /* ce_id */
    struct str command_id;  /* ptr NULL: the same as `id` */
    struct str traceparent; /* W3C trace context */
    struct str tracestate;  /* ptr NULL: none */
    int64_t time_us;        /* ce_time */
    const struct message *message;
};

/* Everything is copied before it returns. Errors are those of log_append, ERR_INTERNAL for a message that the API does
 * not write, and ERR_INVALID_BODY for a location that is not in the table. */
CHECK_RESULT bool command_append(struct log_producer *producer, const struct locations *locations,
                                 const struct command *command, log_delivery *delivery, void *user, struct err *err);

/* Where a message of the API's goes; ptr NULL: it is none. */
struct str command_topic(const struct message *message);

/* The topics that command_append writes, so that a server can check at its start that they are there. */
extern const char *const command_topics[];
extern const size_t command_topic_count;

#endif
