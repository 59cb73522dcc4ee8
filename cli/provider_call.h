/* Inside of the sandbox payment provider: one request on its way to an answer, its parameters, and its endpoints. */
#ifndef ORDERLOG_CLI_PROVIDER_CALL_H
#define ORDERLOG_CLI_PROVIDER_CALL_H

#include "cli/provider_form.h"
#include "cli/provider_stripe.h"

struct stripe_call {
    struct provider_store *store;
    const struct stripe_request *request;
    struct form form;
    struct stripe_response *response;
    bool keep; /* the endpoint began its work, so that the answer belongs to the idempotency key */
};

/* ---- provider_call.c: answers and parameters ---- */

void stripe_answer_json(struct stripe_response *ret, int status, json_t *body);
/* Steals `intent`, which may be NULL. */
void stripe_answer_error(struct stripe_response *ret, int status, const char *type, const char *code, const char *param,
                         json_t *intent, const char *message);
#define stripe_invalid(call, code, param, ...)                                                                         \
    stripe_error((call)->response, 400, "invalid_request_error", (code), (param), __VA_ARGS__)

/* Each says what is wrong and returns false. `known` ends with NULL. */
bool stripe_params_check(struct stripe_call *call, const char *const *known);
/* An amount from 1 to `max`; `fallback` when it is not given, unless that is negative: then it must be. */
bool stripe_param_amount(struct stripe_call *call, const char *name, int64_t fallback, int64_t max, int64_t *ret);
bool stripe_param_choice(struct stripe_call *call, const char *name, const char *const *choices, const char *fallback,
                         const char **ret);
bool stripe_param_currency(struct stripe_call *call, char ret[4]);
/* metadata[name]=value; an empty value sets nothing, as with Stripe. */
json_t *stripe_param_metadata(const struct stripe_call *call);

/* ---- provider_intents.c: endpoints. What they refuse is answered; false: it could not be kept. ---- */

CHECK_RESULT bool stripe_intent_create(struct stripe_call *call, struct err *err);
/* GET /v1/payment_intents/search?query=metadata['a']:'b' AND metadata['c']:'d' */
CHECK_RESULT bool stripe_intent_search(struct stripe_call *call, struct err *err);
/* What follows /v1/payment_intents/: ID[/capture|/cancel]. *ret_found false: there is no such endpoint. */
CHECK_RESULT bool stripe_intent_route(struct stripe_call *call, struct str rest, bool *ret_found, struct err *err);
CHECK_RESULT bool stripe_refund_create(struct stripe_call *call, struct err *err);

#endif
