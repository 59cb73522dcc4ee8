/* The decider loop: poll -> load -> decide (pure) -> save + outbox in one PostgreSQL transaction -> publish
 * (section 4 of the design; docs/architecture.md). Written once; a `struct decider` says what is decided.
 *
 * A loop runs one decider or several. Those of one loop are fused: what one says to another goes to it in memory, and
 * is committed with it; the log's copy is dropped by its number. */
#ifndef ORDERLOG_CONSUMERS_LOOP_H
#define ORDERLOG_CONSUMERS_LOOP_H

#include <stdatomic.h>

#include "consumers/effects.h"
#include "core/base/checks.h"
#include "core/domain/room.h"
#include "core/log/log.h"
#include "producers/locations.h"

struct loop;

enum { LOOP_DECIDERS_MAX = 8 };

struct loop_config {
    const struct decider *const *deciders; /* at most LOOP_DECIDERS_MAX, the services all different; borrowed */
    size_t decider_count;
    struct log *log;          /* must outlive the loop */
    const char *database_url; /* borrowed */
    const struct shop *shop;
    const struct locations *locations;
    /* Calls to the outside; NULL when no decider makes any. */
    effect_call *call;
    void *call_user;
    int calls_at_once; /* 0: 16 */
};

/* Makes the tables of these deciders, and what all share, where they are missing. Idempotent; safe to run twice at
 * once. */
CHECK_RESULT bool loop_migrate(const char *database_url, const struct decider *const *deciders, size_t count,
                               struct err *err);

/* Starts a thread that runs until loop_stop. PostgreSQL need not be there yet. */
CHECK_RESULT bool loop_start(const struct loop_config *config, struct loop **ret, struct err *err);
/* Finishes the batch, waits for the log's acknowledgement of what was committed, gives the shards back. */
void loop_stop(struct loop *loop);

/* For readiness: whether every shard given to this loop runs; if not, why the first does not is appended. */
bool loop_ready(struct loop *loop, struct buf *why);
/* Adds a line for each shard given to this loop, or one that says why there is none. Any thread; does not block. */
void loop_check(struct loop *loop, struct checks *checks);

#endif
