/* Inside of the provider's client: requests and answers of Stripe's PaymentIntents API. */
#ifndef ORDERLOG_CONSUMERS_PROVIDER_INTERNAL_H
#define ORDERLOG_CONSUMERS_PROVIDER_INTERNAL_H

#include "core/base/arena.h"
#include "gen/types.h"

/* ---- provider_request.c */

struct provider_request {
    bool post;
    bool none;            /* there is no way to ask for this */
    struct buf path;      /* and query */
    const char *template; /* of the path: without what it is about */
    struct buf form;
};

void provider_request_build(const struct intent_call_provider *call, struct provider_request *ret);
void provider_request_free(struct provider_request *request);

/* ---- provider_answer.c */

/* Takes what the provider says, and nothing else, for the outcome: see provider.h. `text` is the body. */
void provider_answer_read(const struct intent_call_provider *call, long status, struct str text, struct arena *arena,
                          struct intent_provider_answered *ret);

#endif
