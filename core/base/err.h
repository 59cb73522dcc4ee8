/* Errors: one struct carries what went wrong from where it was seen to the one place that logs or answers it.
 *
 * Functions that can fail are `bool f(in…, out *ret, struct err *err)`: false means that `err` was filled and
 * `ret` was left alone. A refusal by the business (no stock, price changed) is not an error but a verdict, an
 * event; the kinds below that carry such a name exist because a problem response must speak of them. */
#ifndef ORDERLOG_BASE_ERR_H
#define ORDERLOG_BASE_ERR_H

#include "core/base/str.h"

/* X(kind, HTTP status, slug of the problem's type, title, log level) */
#define ERR_KINDS(X)                                                                                                   \
    X(NONE, 200, "none", "No error", DEBUG)                                                                            \
    /* the deployment */                                                                                               \
    X(INTERNAL, 500, "internal", "Something went wrong on our side", ERROR)                                            \
    X(CONFIG, 500, "config", "The configuration is not valid", ERROR)                                                  \
    X(USAGE, 400, "usage", "The command line is not valid", ERROR)                                                     \
    X(IO, 500, "io", "Reading or writing failed", ERROR)                                                               \
    X(CORRUPT, 500, "corrupt", "Stored bytes are damaged", ERROR)                                                      \
    X(LOG_UNAVAILABLE, 503, "log-unavailable", "The log cannot take writes now", WARN)                                 \
    X(OUTCOME_UNKNOWN, 503, "outcome-unknown", "It is not known whether the write was kept", WARN)                     \
    X(STORE_UNAVAILABLE, 503, "store-unavailable", "The database cannot be reached now", WARN)                         \
    X(PROVIDER_UNAVAILABLE, 503, "provider-unavailable", "The payment provider cannot be reached now", WARN)           \
    X(FENCED, 500, "fenced", "Another process owns this shard now", WARN)                                              \
    X(LOST_RECORDS, 500, "lost-records", "The log has lost records", ERROR)                                            \
    X(UNKNOWN_SCHEMA, 500, "unknown-schema", "A record of an unknown type or schema", ERROR)                           \
    X(POISON, 500, "poison", "A record that cannot be handled", ERROR)                                                 \
    X(TIMEOUT, 503, "timeout", "It took too long", WARN)                                                               \
    X(OVERLOADED, 503, "overloaded", "Too much is being asked at once", WARN)                                          \
    /* the request */                                                                                                  \
    X(INVALID_BODY, 400, "invalid-body", "The request is not valid", INFO)                                             \
    X(IDEMPOTENCY_KEY_MISSING, 400, "idempotency-key-missing", "An Idempotency-Key header is required", INFO)          \
    X(IDEMPOTENCY_KEY_REUSED, 422, "idempotency-key-reused", "This Idempotency-Key was used for another request",      \
      INFO)                                                                                                            \
    X(UNAUTHORIZED, 401, "unauthorized", "A valid bearer token is required", INFO)                                     \
    X(FORBIDDEN, 403, "forbidden", "This token does not allow that", INFO)                                             \
    X(NOT_FOUND, 404, "not-found", "There is no such thing", INFO)                                                     \
    X(METHOD_NOT_ALLOWED, 405, "method-not-allowed", "This method is not allowed here", INFO)                          \
    X(TOO_LARGE, 413, "too-large", "The request is too large", INFO)                                                   \
    X(UNSUPPORTED_MEDIA_TYPE, 415, "unsupported-media-type", "The body must be application/json", INFO)                \
    X(RATE_LIMITED, 429, "rate-limited", "Too many requests", INFO)                                                    \
    /* verdicts of the business, when a response speaks of them; see core/domain/reason.h for the whole list */        \
    X(TRANSITION_REFUSED, 409, "transition-refused", "This cannot be done in the present state", INFO)                 \
    X(QUANTITY_LIMIT, 422, "quantity-limit", "The quantity is over the limit", INFO)                                   \
    X(LINE_LIMIT, 422, "line-limit", "The cart has too many lines", INFO)                                              \
    X(WRONG_CURRENCY, 422, "wrong-currency", "This shop sells in another currency", INFO)                              \
    X(UNKNOWN_PRODUCT, 422, "unknown-product", "There is no such product", INFO)

enum err_kind {
#define X(kind, status, slug, title, level) ERR_##kind,
    ERR_KINDS(X)
#undef X
        ERR_KIND_COUNT
};

enum { ERR_FIELDS_MAX = 8 };

struct err_field {
    char pointer[96]; /* a JSON pointer into the request body, "" for the whole */
    char detail[128];
};

struct err {
    enum err_kind kind;
    char detail[512]; /* for people; names what is wrong, never holds personal data or secrets */
    size_t field_count;
    struct err_field fields[ERR_FIELDS_MAX];
};

/* Each fills *err (which may be NULL: then nothing is kept) and returns false, so that `return err_set(…)` reads well.
 */
bool err_set(struct err *err, enum err_kind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Puts context in front of what err already says: "context: detail". */
bool err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds one more field that is wrong; sets kind and detail when the error is new. */
bool err_field(struct err *err, enum err_kind kind, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

int err_http_status(enum err_kind kind);
const char *err_slug(enum err_kind kind);
const char *err_title(enum err_kind kind);
int err_log_level(enum err_kind kind); /* an enum log_level of logging.h */

#define CHECK_RESULT __attribute__((warn_unused_result))

#endif
