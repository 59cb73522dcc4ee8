/* Problem details for HTTP (RFC 9457), written from an error. */
#ifndef ORDERLOG_API_PROBLEM_H
#define ORDERLOG_API_PROBLEM_H

#include "core/base/err.h"

struct problem {
    const struct err *err;
    struct str traceparent;    /* its trace id is told */
    const char *resource_name; /* one more member, "order_id"; NULL: none */
    struct str resource;
};

/* What speaks of the request is told as it is; what went wrong on our side (5xx) only by its kind. */
void problem_write(const struct problem *problem, struct buf *ret);
/* Seconds for Retry-After, or NULL. */
const char *problem_retry_after(enum err_kind kind);

#endif
