/* Inside of payments: its tables, its fold, the calls to the provider and the requests that wait for their order. */
#ifndef ORDERLOG_DOMAIN_PAYMENTS_H
#define ORDERLOG_DOMAIN_PAYMENTS_H

#include "core/domain/reason.h"
#include "core/domain/room.h"

enum { PAYMENTS_PAYMENT, PAYMENTS_CALL, PAYMENTS_HELD };

#define PAYMENTS_TIMER_RETRY STR("retry")
#define PAYMENTS_TIMER_HELD STR("held")
/* Never due: a call that was given up, for operators to see (consumers/operators.h). */
#define PAYMENTS_TIMER_GIVEN_UP STR("given-up")

/* ---- payments_evolve.c: the fold of payment.events */

void payments_evolve(struct room *room, const struct input *input);
void payments_evolve_want(struct room *room, const struct input *input);
/* Folds a record of payments' own and emits it. */
void payments_record(struct room *room, const struct message *message);
void payments_refuse(struct room *room, struct str order_id, enum reason reason, struct str detail);

static inline const struct state_payment *payments_payment(struct room *room, struct str order_id) {
    return (const struct state_payment *)room_row(room, PAYMENTS_PAYMENT, order_id)->state;
}

/* ---- payments_attempt.c: authorising */

/* PaymentRequested, and the call. */
void payments_attempt_begin(struct room *room, struct str order_id, struct str shopper_id, struct money amount,
                            int32_t attempt, struct str payment_method);
bool payments_attempt_is_open(const struct state_payment *payment);
/* What came of the latest attempt, if its outcome is open; else it was heard before, and nothing is done. An amount
 * that is not the one asked for is never taken for authorised: it is voided, and the attempt has failed. False: it is
 * for people to settle. */
bool payments_attempt_answered(struct room *room, const struct intent_provider_answered *answer, const char **why);
/* SubmitPayment for an order that is known: another attempt, or a refusal. */
void payments_submit(struct room *room, struct str order_id, struct str shopper_id, struct str payment_method);
void payments_voided(struct room *room, struct str order_id, struct str reason);

/* ---- payments_call.c: capture, void and refund of what is authorised or captured */

/* Whether another call may begin: none is being made or will be tried again, and no void was given up. */
bool payments_call_free(struct room *room, struct str order_id, enum intent_provider_action action);
void payments_call_begin(struct room *room, struct str order_id, enum intent_provider_action action,
                         struct money amount, struct str reason);
/* As payments_attempt_answered; another amount than asked for is for people to settle. */
bool payments_call_answered(struct room *room, const struct intent_provider_answered *answer, const char **why);
/* A look has shown that nothing is held any more, or that it was captured. */
bool payments_call_found_gone(struct room *room, const struct intent_provider_answered *answer);
bool payments_call_found_captured(struct room *room, const struct intent_provider_answered *answer, const char **why);
/* The time for the next try has come, or an operator wants another. */
void payments_call_retry(struct room *room, struct str order_id);

/* ---- payments_look.c: what the provider does that we did not ask for */

/* A webhook is a hint: the provider is asked, unless the hint is what we know already. */
void payments_notified(struct room *room, const struct payment_provider_notified *m);
/* What the provider holds. False: it is for people to settle. */
bool payments_looked(struct room *room, const struct intent_provider_answered *answer, const char **why);
/* Lets money go that is held for no payment of ours (answer->provider_ref). */
void payments_stray_void(struct room *room, const struct intent_provider_answered *answer);
bool payments_stray_answered(const struct intent_provider_answered *answer, const char **why);
/* In place of the provider: what an operator closed, knowing that the provider did not do it. */
#define PAYMENTS_BY_OPERATOR STR("operator")
/* The attempt that such a void is of. */
enum { PAYMENTS_STRAY_ATTEMPT = -1 };

/* ---- payments_held.c: SubmitPayment for an order that is not known yet */

void payments_held_add(struct room *room, const struct payment_submit_payment *m);
/* The order is known now: each is answered, under its own command id. */
void payments_held_answer(struct room *room, struct str order_id);
/* Refuses those whose time is up. */
void payments_held_expire(struct room *room, struct str order_id);

#endif
