/* The subset of Stripe's API that the sandbox payment provider speaks: PaymentIntents with manual capture, refunds,
 * idempotency keys, errors of Stripe's shape.
 *
 * Source: Stripe API reference (PaymentIntents, Refunds, Errors, Idempotent requests). */
#ifndef ORDERLOG_CLI_PROVIDER_STRIPE_H
#define ORDERLOG_CLI_PROVIDER_STRIPE_H

#include "cli/provider_store.h"

struct stripe_request {
    struct str method;
    struct str path;
    struct str body;
    struct str idempotency_key; /* ptr NULL: none */
};

struct stripe_response {
    int status;
    struct buf body; /* JSON */
    bool replayed;   /* the answer of an earlier request with the same key */
};

/* Answers a request whose sender is known. The answer is durable before this returns. One thread at a time. False:
 * nothing was done. */
CHECK_RESULT bool stripe_answer(struct provider_store *store, const struct stripe_request *request,
                                struct stripe_response *ret, struct err *err);
/* An error of Stripe's shape; code and param may be NULL. */
void stripe_error(struct stripe_response *ret, int status, const char *type, const char *code, const char *param,
                  const char *format, ...) __attribute__((format(printf, 6, 7)));

#endif
