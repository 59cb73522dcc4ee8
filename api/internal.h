/* What the files of api/ share: the server, and a request on its way through it.
 *
 * A request belongs to the thread of its connection. Handlers either answer it (answer.h), or start a write
 * (flights.h), which suspends the connection until the log has answered and then goes on with the step that was
 * given, on the same thread. */
#ifndef ORDERLOG_API_INTERNAL_H
#define ORDERLOG_API_INTERNAL_H

#include "api/server.h"
#include "core/base/arena.h"
#include "core/log/append.h"
#include "core/trace/trace.h"

#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>

struct auth;
struct connections;
struct flight;
struct flights;
struct lag_watch;
struct limits;
struct metric;
struct reads;
struct request;
struct revoked;
struct route;
struct streams;
struct wait;
struct watch;

struct api {
    struct api_config config;
    struct log *log;
    struct log_producer *producer;
    struct auth *auth;
    struct connections *connections;
    struct flights *flights;
    struct reads *reads;
    atomic_int_least64_t redis_away_until_us; /* shared by all that read the views */
    struct watch *watch;                      /* NULL: this server answers no reads */
    struct streams *streams;
    struct limits *limits;
    struct revoked *revoked;           /* NULL: no session can be revoked */
    struct lag_watch *lag;             /* NULL: it does not matter */
    atomic_int_least64_t bodies_bytes; /* of all requests that are being received */
    struct MHD_Daemon *daemon;
    int port;
    atomic_bool stopping;
    atomic_int waiters; /* requests that wait for a command to show (waits.h) */
    struct metric *waiters_metric;
    struct metric *bodies_metric;
};

enum {
    BODY_MAX = 64 * 1024,
    BODY_DRAINED_MAX = 1024 * 1024, /* so much more is read and dropped, so that the client gets to read the refusal */
    BODY_DEPTH_MAX = 16,
    PARAMS_MAX = 2,
    EXTRA_HEADERS_MAX = 4,
};

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_COUNT };

enum principal_kind { PRINCIPAL_NONE, PRINCIPAL_SHOPPER, PRINCIPAL_OPERATOR };

struct principal {
    enum principal_kind kind;
    struct str id; /* the shopper's id, or the operator's name */

    /* a shopper's */
    struct str session; /* what of the token is signed */
    int64_t expires_s;
};

/* An error is large; clearing all of it several times a request would show. */
static inline struct err *err_none(struct err *err) {
    err->kind = ERR_NONE;
    err->detail[0] = '\0';
    err->field_count = 0;
    return err;
}

typedef void request_step(struct request *request);

enum request_phase { PHASE_HEADERS, PHASE_BODY, PHASE_HANDLED };

struct header_pair {
    const char *name;
    struct str value;
};

struct query_item {
    struct str name;
    struct str value;
};

struct request {
    struct api *api;
    struct MHD_Connection *connection;
    struct arena arena;
    enum request_phase phase;
    int64_t began_us; /* monotonic */

    /* from the request line and the headers */
    struct str uri;   /* as it came; ptr NULL: there was none */
    const char *line; /* where the server has it; only to be compared */
    struct str path;
    struct str query;
    struct query_item *query_items;
    size_t query_count;
    enum method method;
    const struct route *route; /* NULL: none */
    unsigned allowed;          /* methods of this path, bit by bit */
    struct str params[PARAMS_MAX];
    struct principal principal;
    struct str authorization;
    struct str idempotency_key;
    struct str last_event_id;
    struct str prefer;
    struct str after;       /* Orderlog-After: a command's id; ptr NULL: none */
    struct str traceparent; /* to be passed on: given, a new one, or with tracing on that of `span` */
    struct str tracestate;  /* ptr NULL: none */
    struct span span;
    struct str content_type_given;
    uint64_t content_length;
    bool has_body;
    struct buf body;
    uint64_t body_bytes;   /* that came, kept or not */
    uint64_t body_counted; /* in bodies_bytes */
    json_t *json;
    bool answer_early; /* see err */

    /* a write */
    struct id command_id; /* empty until it is known */
    char body_hash[33];
    const char *resource_name; /* "order_id": told also when the outcome is not known; NULL: none */
    struct id resource;
    request_step *next; /* after the log's answer */
    struct flight *flight;

    /* Suspended until something else is there: what to go on with, and what to do instead if it never does. */
    request_step *resumed; /* NULL: it is not suspended for that */
    request_step *abandoned;

    void *context; /* the handler's */

    /* waiting for a command to show */
    int64_t wait_s; /* that the client asked for; 0: it did not */
    struct wait *wait;
    const struct view *waited; /* for a row of this view, when it last did */
    bool wait_over;            /* no use in waiting any more */
    bool wait_applied;
    bool stale; /* what is answered does not show the command of Orderlog-After */

    /* the answer */
    int status; /* 0: none yet */
    const char *content_type;
    struct buf reply;
    struct MHD_Response *response; /* instead of `reply`: made by the handler */
    const char *reply_static;      /* the same: bytes that need not be freed */
    size_t reply_static_len;
    int32_t retry_after_s; /* with ERR_RATE_LIMITED; 0: as ever */
    struct header_pair extra[EXTRA_HEADERS_MAX];
    size_t extra_count;

    /* The last member: a new request is cleared up to here. What speaks against it so far. It is answered once the body
     * has come, but for a request whose end cannot be told, or is too far: that is answered at once, and the connection
     * closed. */
    struct err err;
};

#endif
