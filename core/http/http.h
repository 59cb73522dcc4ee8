/* One HTTP call, for what calls a service now and then (credentials, the schema registry): over libcurl, blocking, on
 * the caller's thread, without redirects. Any thread. */
#ifndef ORDERLOG_HTTP_HTTP_H
#define ORDERLOG_HTTP_HTTP_H

#include <stdatomic.h>

#include "core/base/err.h"

enum { HTTP_ANSWER_MAX = 8 << 20 };

struct http_request {
    const char *method; /* NULL: GET */
    const char *url;    /* http:// or https:// */
    struct str headers; /* lines "Name: value\n" */
    struct str body;    /* ptr NULL: none */
    int64_t connect_ms; /* until a connection stands; 0: timeout_ms */
    int64_t timeout_ms; /* for all of it */
    const atomic_int_least64_t
        *until_us;       /* monotonic: given up within a second of it; may change meanwhile; NULL: none */
    const char *ca_file; /* PEM; NULL: the system's */
    bool direct;         /* past any proxy, for addresses that mean this machine */
    bool keep;           /* this thread's connections stay open for its next calls that say so, too */
};

struct http_answer {
    long status;
    struct buf body;    /* owned */
    struct buf headers; /* owned: the lines as they came, the status line first */
};

/* Any answer is a success, whatever its status. ERR_TIMEOUT, ERR_IO: there was none; ERR_CONFIG: the URL or the CA file
 * cannot be used. *ret is all-zero at first; its body is replaced. */
CHECK_RESULT bool http_call(const struct http_request *request, struct http_answer *ret, struct err *err);
void http_answer_free(struct http_answer *answer);
/* A header's value, borrowed from the answer; ptr NULL when it has none of that name (in any case). */
struct str http_answer_header(const struct http_answer *answer, struct str name);
#define HTTP_ANSWER_AUTO __attribute__((cleanup(http_answer_free))) struct http_answer

#endif
