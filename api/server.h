/* The HTTP API (section 6 of docs/architecture.md; api/openapi.yaml says what it serves).
 *
 * Thin: authenticate, parse strictly, check shape, append to the log, answer once the log has acknowledged. It decides
 * nothing that needs state, and no database is on the way of a write. */
#ifndef ORDERLOG_API_SERVER_H
#define ORDERLOG_API_SERVER_H

#include "core/base/checks.h"
#include "core/base/ids.h"
#include "core/domain/room.h"
#include "core/log/log.h"
#include "producers/locations.h"

struct api;

/* All text is borrowed and must live until api_stop. Zero means the default where one is named. */
struct api_config {
    const char *listen; /* "127.0.0.1:8080", "[::1]:8080"; port 0 takes a free one */
    int32_t threads;    /* that serve connections; 2 */
    struct secret_pair session_secrets;
    struct secret_pair id_secrets;
    struct secret_pair personal_secrets;
    struct secret_pair webhook_secrets; /* current.ptr NULL: webhooks are not taken */
    const char *operator_tokens;        /* lines of name:token, NULL: no operators */
    struct shop shop;                   /* currency and quantity_max */
    const struct locations *locations;
    const char *redis_url;    /* NULL: this server answers no reads */
    const char *views_url;    /* of the views that are kept in DynamoDB; NULL: none is */
    const char *database_url; /* NULL: no lists */
    const char *sessions_url; /* where revoked sessions are kept; NULL: none can be */

    int32_t in_flight_max;       /* writes that wait for the log; 2,048. More are answered 503 overloaded */
    int32_t connections_max;     /* 8,192 */
    int64_t bodies_max_bytes;    /* of all requests that are being received; 32 MiB. More are answered 503 overloaded */
    int32_t waiters_max;         /* requests that wait to read their writes; 4,096. More do not wait */
    int32_t streams_max;         /* order streams; 4,096. More are answered 503 overloaded */
    int32_t streams_per_shopper; /* 16; more are answered 429 */
    int32_t rate_shopper;        /* requests a second of each shopper; 50. More are answered 429. -1: no limit */
    int32_t rate_shopper_burst;  /* that may come at once; 500 */
    int32_t rate_address;        /* the same by address, of all but operators; 200, and */
    int32_t rate_address_burst;  /* 1,000 */
    int32_t rate_operator;       /* the same by operator: 2,000, and */
    int32_t rate_operator_burst; /* 20,000 */
    int64_t shed_lag_records; /* that deciders may be behind; 200,000. More, and commands are answered 503. -1: any */
    int64_t shed_lag_s;       /* that the oldest record may wait to be decided; 30 */
    int64_t shed_interval_ms; /* between two looks at that; 1,000 */
    int32_t revoked_max;      /* sessions that are revoked; 1,000,000. More end by operators only: 503 overloaded */
    int64_t sessions_interval_ms; /* between two looks at what others revoked; 1,000 */
    int64_t stream_absent_ms;     /* so long may an order not be there yet; 5,000 */
    int64_t stream_beat_ms;       /* a stream without events says so often that it is alive; 15,000 */
    int64_t ack_timeout_ms;       /* a write not acknowledged by then is answered 503 outcome-unknown; 10,000 */
    int64_t delivery_timeout_ms;  /* the log gives an append up after it, give or take a second; 4,000 */
    int64_t receive_timeout_ms;   /* a request must have come by then, however steadily it drips; 30,000 */
    int64_t idle_timeout_ms;      /* between two requests of a connection; 60,000 */

    /* More checks for /readyz. Called on the server's threads, several at once; must not block. May be NULL.
     * False: not ready, and `why` says so. */
    bool (*ready)(void *user, struct buf *why);
    /* Adds what there is to say in detail, for /readyz?verbose. As `ready`; the two must agree. May be NULL. */
    void (*report)(void *user, struct checks *checks);
    void *ready_user;
};

/* Fills *ret from the settings: ORDERLOG_LISTEN (127.0.0.1:8080), ORDERLOG_API_THREADS, ORDERLOG_SESSION_SECRET,
 * ORDERLOG_ID_SECRET, ORDERLOG_PERSONAL_SECRET, ORDERLOG_WEBHOOK_SECRET (each with _PREVIOUS),
 * ORDERLOG_OPERATOR_TOKENS_FILE, REDIS_URL, DATABASE_URL, ORDERLOG_SESSIONS_URL, ORDERLOG_IN_FLIGHT,
 * ORDERLOG_CONNECTIONS, ORDERLOG_WAITERS, ORDERLOG_STREAMS, ORDERLOG_STREAMS_PER_SHOPPER, ORDERLOG_RATE_SHOPPER and
 * ORDERLOG_RATE_ADDRESS (each with _BURST), ORDERLOG_SHED_LAG_RECORDS, ORDERLOG_SHED_LAG_SECONDS; 0 turns the last four
 * kinds off. `shop` and `locations` are the caller's: other roles need them too.
 */
CHECK_RESULT bool api_config_load(const struct shop *shop, const struct locations *locations, struct api_config *ret,
                                  struct err *err);

/* Listens and serves on threads of its own. `log` must outlive the server, and its topics must be there. */
CHECK_RESULT bool api_start(const struct api_config *config, struct log *log, struct api **ret, struct err *err);
/* The port that it listens on. */
int api_port(const struct api *api);
/* Not ready from now on, no new connections, no new writes; what waits for the log is answered; then all is closed.
 * Blocks for as long as the log takes, at most about ack_timeout_ms + 5 s. NULL is fine. */
void api_stop(struct api *api);

#endif
