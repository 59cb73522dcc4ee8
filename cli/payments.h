/* What `orderlog payments` reads of decider.intent and decider.payment_call, and marks. */
#ifndef ORDERLOG_CLI_PAYMENTS_H
#define ORDERLOG_CLI_PAYMENTS_H

#include "cli/cli.h"
#include "core/base/arena.h"
#include "core/store/pg.h"
#include "gen/types.h"

enum payments_state {
    PAYMENTS_OPEN,     /* it is called again by itself */
    PAYMENTS_LEFT,     /* only people can settle it */
    PAYMENTS_WAITING,  /* the provider has refused; it is tried again at its time */
    PAYMENTS_GIVEN_UP, /* the provider has refused so often that it is left to people */
};

/* A call without an outcome. Text is in the arena. */
struct payments_row {
    struct str id; /* of the intent; the order's, for a call that was refused */
    struct str order_id;
    int64_t shard;
    enum payments_state state;
    enum intent_provider_action action;
    struct money amount;
    int64_t since_us; /* when it was decided; 0: not known */
    int64_t tried_us; /* 0: not yet, or not known */
    int64_t tries;
    int64_t due_us; /* of the next try of a call that waits */
    struct str why; /* the last error, or why it is left; "": not known */
};

struct payments_rows {
    struct payments_row *rows;
    size_t count;
};

/* ---- payments_store.c; each blocks on PostgreSQL */

CHECK_RESULT bool payments_open(struct pg **ret, struct err *err);
/* All of them, or the one of this id (ptr NULL: all). `fresh` ones too, that may well be answered any moment. */
CHECK_RESULT bool payments_find(struct pg *pg, struct str id, bool fresh, struct arena *arena,
                                struct payments_rows *ret, struct err *err);
/* For the owner of the shard: to be tried again, or closed. */
CHECK_RESULT bool payments_mark(struct pg *pg, const struct payments_row *row, bool closes, struct err *err);
CHECK_RESULT bool payments_is_marked(struct pg *pg, const struct payments_row *row, bool *ret, struct err *err);

/* ---- payments_print.c */

const char *payments_state_name(enum payments_state state);
void payments_print(const struct payments_rows *rows, enum cli_output output);
/* The webhooks that were set aside. */
CHECK_RESULT bool payments_print_unrouted(struct log *log, enum cli_output output, struct err *err);

#endif
