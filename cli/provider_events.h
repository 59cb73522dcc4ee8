/* What the sandbox payment provider does of its own accord: it sends webhooks, and changes payments when their time has
 * come. Both are kept in its store and done by a thread, so that they survive a kill. */
#ifndef ORDERLOG_CLI_PROVIDER_EVENTS_H
#define ORDERLOG_CLI_PROVIDER_EVENTS_H

#include <pthread.h>

#include "cli/provider_faults.h"
#include "cli/provider_store.h"

struct provider_events;

struct provider_events_config {
    struct provider_store *store;
    pthread_mutex_t *lock; /* of the store */
    const char *url;       /* that webhooks go to; NULL: none are sent */
    struct str secret;     /* they are signed with */
};

CHECK_RESULT bool provider_events_start(const struct provider_events_config *config, struct provider_events **ret,
                                        struct err *err);
void provider_events_stop(struct provider_events *events); /* NULL is fine */
/* There may be something new to do. */
void provider_events_wake(struct provider_events *events);

/* Within a transaction of the store: */

/* A webhook that says how the intent is now: payment_intent.<what>. */
CHECK_RESULT bool provider_event_add(struct provider_store *store, const json_t *intent, const char *what,
                                     provider_faults faults, int64_t after_ms, struct err *err);

#endif
