/* Why something was refused, rejected or cancelled: the slugs that events and problems carry, in one list, and the
 * text that goes with them. Pure; any thread. */
#ifndef ORDERLOG_DOMAIN_REASON_H
#define ORDERLOG_DOMAIN_REASON_H

#include "core/base/arena.h"

#define REASONS(X)                                                                                                     \
    /* verdicts of the deciders */                                                                                     \
    X(EMPTY_CART, "empty-cart")                                                                                        \
    X(UNKNOWN_PRODUCT, "unknown-product")                                                                              \
    X(PRICE_CHANGED, "price-changed")                                                                                  \
    X(OUT_OF_STOCK, "out-of-stock")                                                                                    \
    X(CART_ALREADY_CHECKED_OUT, "cart-already-checked-out")                                                            \
    X(PAYMENT_DECLINED, "payment-declined")                                                                            \
    X(PAYMENT_EXPIRED, "payment-expired")                                                                              \
    X(CANCELLED_BY_SHOPPER, "cancelled-by-shopper")                                                                    \
    X(CANCELLED_BY_OPERATOR, "cancelled-by-operator")                                                                  \
    X(STOCK_SHORT, "stock-short")                                                                                      \
    X(AUTHORIZATION_EXPIRED, "authorization-expired")                                                                  \
    X(QUANTITY_LIMIT, "quantity-limit")                                                                                \
    X(LINE_LIMIT, "line-limit")                                                                                        \
    X(WRONG_CURRENCY, "wrong-currency")                                                                                \
    X(NOT_FOUND, "not-found")                                                                                          \
    X(IDEMPOTENCY_KEY_REUSED, "idempotency-key-reused")                                                                \
    X(TRANSITION_REFUSED, "transition-refused")                                                                        \
    /* of the API alone */                                                                                             \
    X(UNAUTHORIZED, "unauthorized")                                                                                    \
    X(FORBIDDEN, "forbidden")                                                                                          \
    X(INVALID_BODY, "invalid-body")                                                                                    \
    X(IDEMPOTENCY_KEY_MISSING, "idempotency-key-missing")                                                              \
    X(RATE_LIMITED, "rate-limited")                                                                                    \
    X(LOG_UNAVAILABLE, "log-unavailable")                                                                              \
    X(OUTCOME_UNKNOWN, "outcome-unknown")                                                                              \
    X(TOO_LARGE, "too-large")

enum reason {
    REASON_NONE, /* without a slug: not refused */
#define X(name, slug) REASON_##name,
    REASONS(X)
#undef X
        REASON_COUNT
};

struct str reason_slug(enum reason reason);

/* The parts one after the other; in the arena. */
struct str reason_text(struct arena *arena, const struct str *parts, size_t count);
#define REASON_TEXT(arena, ...)                                                                                        \
    reason_text((arena), (const struct str[]){__VA_ARGS__},                                                            \
                sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))
struct str reason_number(struct arena *arena, int64_t number);

#endif
