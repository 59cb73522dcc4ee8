/* Bringing a PostgreSQL that was put back alone up to its log (docs/operations.md, "When only PostgreSQL was put
 * back").
 *
 * The shards' rows stand where the backup was made; the log holds what was decided since. One transaction, in which all
 * shards' rows are locked, gives each shard
 * - its outputs' numbers as the log has them, so that it numbers on behind them;
 * - of its inputs, what it has decided already, as its own records tell (repair_inputs.c), so that this is not decided
 *   a second time; the rest is left for the deciders to read again;
 * - its tables as the fold of all that (cli/rebuild_decider.h), and what is no fold, derived (repair_rest.c): command
 *   ids, timers, calls to the provider.
 * Nothing is kept unless all of it is. */
#ifndef ORDERLOG_CLI_REPAIR_H
#define ORDERLOG_CLI_REPAIR_H

#include "cli/rebuild_decider.h"

/* A payment that was asked for since the backup. Texts are the repair's. */
struct repair_request {
    int64_t time_us; /* when the log took PaymentRequested */
    int32_t attempt;
    struct str command_id, traceparent, key, payment_id;
    struct money amount;
};

/* Of a message to a shopper that was settled since the backup. */
struct repair_notice {
    const char *outcome;
    struct str reason;
    int64_t time_us;
};

struct repair_shard {
    const struct fold_service *service;
    int32_t index;
    char origin[64];
    struct state_shard was, now;
    struct map answered; /* command ids of what it has decided since */
    struct {
        int64_t ahead; /* its records that its row did not know of */
        int64_t decided;
        int64_t commands;
        int64_t rows;
        int64_t timers;
        int64_t calls_made, calls_dropped;
    } count;
};

struct repair {
    struct log *log;
    struct pg *pg;
    struct shop shop;
    bool dry_run;
    bool authorizations_checked;
    struct arena arena; /* as long as the repair */
    struct repair_shard *shards;
    size_t shard_count;
    struct decider_sql *sql; /* the connection knows statements by their addresses, so they live as long as it */
    struct map origins;      /* "orders/3": its shard */
    struct map requested;    /* by order: a struct repair_request */
    struct map methods;      /* by order (AuthorizePayment) or command id (SubmitPayment): a struct str */
    struct map notices;      /* what came since the backup of messages to shoppers, by claim: a struct repair_notice */
    int64_t ahead;
    int64_t parked; /* subjects */
};

/* A shard while it is repaired: its fold, in which a decider can also be asked what it would say. */
struct repair_fold {
    struct repair *repair;
    struct repair_shard *at;
    struct rebuild_decider_config config;
    struct rebuild_report report;
    struct decider_shard shard;
    /* of what was asked last */
    int emitted; /* records that are no refusals */
    struct row *call_row;
    bool call_closed;
    struct buf call; /* the request of an intent */
    struct str call_id, call_key;
};

/* Everything within the transaction that the caller has begun on repair->pg. */
CHECK_RESULT bool repair_shards(struct repair *repair, struct err *err);

/* ---- inside ---- */

/* repair_log.c: what the log holds of each origin, and of the payments. */
CHECK_RESULT bool repair_log_scan(struct repair *repair, struct err *err);
/* The last number of this origin that was received; `raise` to it. */
int64_t repair_received(const struct state_shard *state, struct str topic, struct str origin);
void repair_received_set(struct repair *repair, struct state_shard *state, struct str topic, struct str origin,
                         int64_t seq);

/* The name of a message's claim (consumers/claims.h), as its intent's. In the arena. */
struct str repair_notice_id(struct arena *arena, struct str order_id, struct str template, struct str cause);

/* repair_inputs.c: from at->was to at->now, by what the shard has said since. `fold` has everything in it. Keeps ids of
 * commands, and calls that were decided without a word. */
CHECK_RESULT bool repair_inputs(struct repair_fold *fold, struct err *err);

/* repair_probe.c: the fold as a room in which `decide` can be asked. Nothing that it says is kept. */
void repair_probe_init(struct repair_fold *fold);
void repair_probe_free(struct repair_fold *fold);
/* False: it cannot be decided. */
bool repair_probe(struct repair_fold *fold, const struct envelope *envelope, const struct message *message);
/* Whether an order, with all that the log holds, has a step before it that it has not taken. */
bool repair_order_has_step(struct repair_fold *fold, struct str key);
/* Keeps the row and writes the call down that repair_probe has come to, as of `time_us`. */
CHECK_RESULT bool repair_call_keep(struct repair_fold *fold, const struct envelope *envelope, struct err *err);

/* repair_rest.c: what is no fold. */
CHECK_RESULT bool repair_apart_load(struct repair_fold *fold, struct err *err);
CHECK_RESULT bool repair_held(struct repair_fold *fold, struct err *err);
CHECK_RESULT bool repair_command_keep(struct repair_fold *fold, struct str id, struct str body_hash, int64_t time_us,
                                      struct err *err);
CHECK_RESULT bool repair_timers(struct repair_fold *fold, struct err *err);
CHECK_RESULT bool repair_call_write(struct repair_fold *fold, struct str id, struct str key, struct str command_id,
                                    struct str traceparent, struct str request, int64_t time_us, struct err *err);
/* `fold` has what the shard has decided and read. */
CHECK_RESULT bool repair_calls(struct repair_fold *fold, struct err *err);
/* Messages that were settled are claimed, so that they are not sent again, and are not asked for any more. */
CHECK_RESULT bool repair_notices(struct repair *repair, struct err *err);
/* A row of a table that is no fold. */
CHECK_RESULT bool repair_apart_write(struct repair_fold *fold, int table, struct str key, bool closed, struct str state,
                                     struct err *err);

#endif
