/* Claims: who sends a notice takes it first, so that it is sent once, whoever else has the same event in hand.
 *
 * A claim is of (order, template, causing event). It is held for CLAIM_HOLD_MS; whoever held it and did not say what
 * came of it may have died in the middle of sending, and then another try is right. Claims that are over are kept 90
 * days.
 *
 *   dynamodb://TABLE    a table whose key is `id`, and whose time to live is `expires_at`
 *   else                PostgreSQL, as DATABASE_URL names it: the table notifier.claim
 *
 * Any thread; every call blocks. */
#ifndef ORDERLOG_CONSUMERS_CLAIMS_H
#define ORDERLOG_CONSUMERS_CLAIMS_H

#include "core/base/arena.h"
#include "core/base/err.h"
#include "gen/types.h"

struct claims;

/* Longer than a try to send can last (MAILER_TIMEOUT_MS, and the look for an address). */
enum { CLAIM_HOLD_MS = 30000, CLAIM_KEPT_DAYS = 90 };

enum claim_state {
    CLAIM_TAKEN, /* ours to send */
    CLAIM_HELD,  /* another one is sending it */
    CLAIM_OVER,  /* it was settled */
};

struct claim {
    enum claim_state state;
    int64_t tries;                      /* of CLAIM_TAKEN: how often it was, this time included */
    enum intent_notice_outcome outcome; /* of CLAIM_OVER, as is the next; in the arena */
    struct str reason;
    bool told; /* claims_told was called */
};

CHECK_RESULT bool claims_open(const char *url, struct claims **ret, struct err *err);
void claims_close(struct claims *claims); /* NULL is fine */
CHECK_RESULT bool claims_take(struct claims *claims, struct str id, struct arena *arena, struct claim *ret,
                              struct err *err);
/* It is over: sent, suppressed or failed. */
CHECK_RESULT bool claims_settle(struct claims *claims, struct str id, enum intent_notice_outcome outcome,
                                struct str reason, struct err *err);
/* It was not sent, and may be taken again at once. `tries` as claims_take said: when it is another's by now, nothing is
 * changed. */
CHECK_RESULT bool claims_give_back(struct claims *claims, struct str id, int64_t tries, struct err *err);
/* The log has what came of it. claims_take says so the next time. */
CHECK_RESULT bool claims_told(struct claims *claims, struct str id, struct err *err);

/* "sent", "suppressed", "failed". */
const char *claim_outcome_name(enum intent_notice_outcome outcome);
enum intent_notice_outcome claim_outcome_of(struct str name);

struct dynamodb;
/* The table's connection, for what else is kept there; NULL: they are in PostgreSQL. */
struct dynamodb *claims_dynamodb(struct claims *claims, const char **ret_table);

#endif
