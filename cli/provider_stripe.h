/* The subset of Stripe's API that the sandbox payment provider speaks: PaymentIntents with manual capture, refunds,
 * idempotency keys, errors of Stripe's shape.
 *
 * Source: Stripe API reference (PaymentIntents, Refunds, Errors, Idempotent requests). */
#ifndef ORDERLOG_CLI_PROVIDER_STRIPE_H
#define ORDERLOG_CLI_PROVIDER_STRIPE_H

#include "cli/provider_faults.h"
#include "cli/provider_store.h"

struct stripe_request {
    struct str method;
    struct str path;
    struct str body;
    struct str query;           /* the parameter of that name, of a GET; ptr NULL: none */
    struct str idempotency_key; /* ptr NULL: none */
    provider_faults faults;
    int64_t after_ms; /* until what these do later */
    bool webhooks;    /* are sent */
};

/* What goes wrong with this request: by rate, or because its payment method says so. A request that is made again may
 * fare better. */
CHECK_RESULT bool stripe_faults_find(struct provider_store *store, const struct provider_rates *rates,
                                     const struct stripe_request *request, provider_faults *ret, struct err *err);

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
