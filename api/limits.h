/* What this server will not carry: how often somebody may ask, and what was turned away.
 *
 * Who asks is limited by shopper, by operator and by address, as a bucket that `rate` tokens a second flow into and
 * `burst` fit in. The buckets take a fixed amount of memory, whoever asks; where there are too many askers at once,
 * some get a full one. */
#ifndef ORDERLOG_API_LIMITS_H
#define ORDERLOG_API_LIMITS_H

#include "api/internal.h"

enum shed_reason {
    SHED_RATE_SHOPPER,  /* 429 */
    SHED_RATE_ADDRESS,  /* 429 */
    SHED_RATE_OPERATOR, /* 429 */
    SHED_STREAMS,       /* 503, or 429 for a shopper's own */
    SHED_IN_FLIGHT,     /* 503 from here on */
    SHED_LOG_QUEUE,
    SHED_BODIES,
    SHED_LAG,
    SHED_SESSIONS,
    SHED_REASON_COUNT,
};

struct limits *limits_open(const struct api_config *config);
void limits_close(struct limits *limits); /* NULL is fine */

/* Takes a token for the request's shopper and its address, or its operator (whose address does not count). False:
 * ERR_RATE_LIMITED, and request->retry_after_s is set. */
CHECK_RESULT bool limits_rate_check(struct request *request, struct err *err);
/* The same without taking one, for what only costs one when it turns out to be worth nothing. */
CHECK_RESULT bool limits_rate_look(struct request *request, struct err *err);

/* Counts one that was turned away. */
void limits_count_shed(struct limits *limits, enum shed_reason reason);

#endif
