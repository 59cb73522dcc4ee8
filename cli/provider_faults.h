/* What goes wrong in the sandbox payment provider: by rate, or because the payment method asks for it. */
#ifndef ORDERLOG_CLI_PROVIDER_FAULTS_H
#define ORDERLOG_CLI_PROVIDER_FAULTS_H

#include "core/base/err.h"

/* X(constant, name in --fault, name in a payment method, what happens) */
#define PROVIDER_FAULTS(X)                                                                                             \
    X(ERROR, "errors", "error", "500, and nothing was done")                                                           \
    X(ERROR_AFTER, "errors-after", "errorAfter", "500, and yet it was done")                                           \
    X(UNHEARD, "unheard", "unheard", "500, and yet it was done, and no webhook tells of it")                           \
    X(TIMEOUT_BEFORE, "timeouts-before", "timeoutBefore", "no answer, and nothing was done")                           \
    X(TIMEOUT_AFTER, "timeouts-after", "timeoutAfter", "no answer, and yet it was done")                               \
    X(SLOW, "slow", "slow", "the answer takes a second and a half")                                                    \
    X(DECLINE, "declines", "decline", "the card is declined")                                                          \
    X(AMOUNT, "wrong-amounts", "wrongAmount", "another amount is authorised than was asked for")                       \
    X(EXPIRE, "expiries", "expires", "the authorisation expires, --after seconds later")                               \
    X(PROCESSING, "processing", "processing", "the answer is processing; authorised --after seconds later")            \
    X(ACTION, "actions", "action", "the answer is requires_action; authorised --after seconds later")                  \
    X(CAPTURE_FAILS, "failing-captures", "captureFails", "capturing it is refused")                                    \
    X(VOID_FAILS, "failing-cancels", "cancelFails", "cancelling it is refused")                                        \
    X(DUPLICATE, "duplicate-webhooks", "duplicate", "the webhook comes twice")                                         \
    X(LATE, "late-webhooks", "late", "the webhook comes --after seconds late")                                         \
    X(EARLY, "early-webhooks", "early", "the webhook comes before the answer")                                         \
    X(REORDER, "reordered-webhooks", "reorder", "the webhook comes two seconds late: what follows overtakes it")

enum provider_fault {
    PROVIDER_FAULT_NONE,
#define X(constant, rate, token, what) PROVIDER_FAULT_##constant,
    PROVIDER_FAULTS(X)
#undef X
        PROVIDER_FAULT_COUNT
};

/* A set of them. */
typedef uint32_t provider_faults;

static inline bool provider_has(provider_faults faults, enum provider_fault fault) {
    return faults & UINT32_C(1) << fault;
}

struct provider_rates {
    double of[PROVIDER_FAULT_COUNT]; /* 0 to 1 */
    int64_t seed;
};

/* "declines=1%,timeouts=0.5%": adds to *ret. `timeouts` is both kinds of them. */
CHECK_RESULT bool provider_rates_parse(const char *text, struct provider_rates *ret, struct err *err);
/* What is rolled for this request, `what` naming it: the same whenever it is asked again. */
provider_faults provider_rates_roll(const struct provider_rates *rates, struct str what);

/* "pm_sandbox_FAULT[_N]": *ret_times is N, or 1: so many requests go wrong. False: it is none such. */
bool provider_token_parse(struct str token, enum provider_fault *ret, int64_t *ret_times);

#endif
