/* What the sandbox payment provider remembers, in an SQLite file: payment intents, refunds, and the answers given
 * under idempotency keys. What was committed survives a crash (WAL, synchronous=FULL).
 *
 * One thread at a time. Every call blocks on the disk. */
#ifndef ORDERLOG_CLI_PROVIDER_STORE_H
#define ORDERLOG_CLI_PROVIDER_STORE_H

#include <jansson.h>

#include "core/base/err.h"

struct provider_store;

CHECK_RESULT bool provider_store_open(const char *path, struct provider_store **ret, struct err *err);
void provider_store_close(struct provider_store *store); /* NULL is fine */

CHECK_RESULT bool provider_store_begin(struct provider_store *store, struct err *err);
CHECK_RESULT bool provider_store_commit(struct provider_store *store, struct err *err);
void provider_store_rollback(struct provider_store *store);

/* Objects as the API shows them. *ret is the caller's to json_decref(), NULL when there is none. */
CHECK_RESULT bool provider_store_intent(struct provider_store *store, struct str id, json_t **ret, struct err *err);
CHECK_RESULT bool provider_store_intent_put(struct provider_store *store, const json_t *intent, struct err *err);
CHECK_RESULT bool provider_store_refund_add(struct provider_store *store, const json_t *refund, struct err *err);
/* What was given back of an intent, in minor units. */
CHECK_RESULT bool provider_store_refunded(struct provider_store *store, struct str intent, int64_t *ret,
                                          struct err *err);
/* {"payment_intents":[...],"refunds":[...]}, oldest first. */
CHECK_RESULT bool provider_store_ledger(struct provider_store *store, struct buf *ret, struct err *err);

/* Those whose metadata have all these values, oldest first; an array, the caller's. */
struct provider_metadata {
    struct str name;
    struct str value;
};
CHECK_RESULT bool provider_store_search(struct provider_store *store, const struct provider_metadata *metadata,
                                        size_t count, json_t **ret, struct err *err);

/* How often this was asked for, this time included. */
CHECK_RESULT bool provider_store_try(struct provider_store *store, struct str what, int64_t *ret, struct err *err);

/* ---- what is to be done later: send a webhook (`body`), or change an intent (`plan`) ---- */

struct provider_job {
    bool found;
    int64_t seq;
    int64_t due_ms; /* wall clock; of the next one, when none is due: found false */
    int64_t tries;
    struct buf body;   /* of a webhook; empty: */
    struct buf intent; /* the intent that is to change, */
    struct buf plan;   /* and how */
};

CHECK_RESULT bool provider_store_webhook_add(struct provider_store *store, struct str body, int64_t due_ms,
                                             struct err *err);
CHECK_RESULT bool provider_store_plan_add(struct provider_store *store, struct str intent, const char *plan,
                                          int64_t due_ms, struct err *err);
/* The earliest one that is due; webhooks before it that failed wait for theirs. */
CHECK_RESULT bool provider_store_job(struct provider_store *store, int64_t now_ms, struct provider_job *ret,
                                     struct err *err);
CHECK_RESULT bool provider_store_job_done(struct provider_store *store, int64_t seq, struct err *err);
CHECK_RESULT bool provider_store_job_again(struct provider_store *store, int64_t seq, int64_t due_ms, struct err *err);

struct provider_answer {
    bool found;
    int status;
    struct buf body;
    struct buf request; /* what was asked, to be compared */
};

/* Fills the answer given under this key, if there is one. */
CHECK_RESULT bool provider_store_answer(struct provider_store *store, struct str key, struct provider_answer *ret,
                                        struct err *err);
CHECK_RESULT bool provider_store_answer_add(struct provider_store *store, struct str key, struct str request,
                                            int status, struct str body, struct err *err);

#endif
