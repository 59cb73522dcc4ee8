/* What the provider does that we did not ask for, as its webhooks hint: it is asked itself, and what it says is applied
 * by the table of states, so that hints may come twice, late, early or in any order. */
#include "core/domain/payments.h"

/* Stripe's statuses of a PaymentIntent, as far as they say what we hold already. */
static bool is_known(const struct state_payment *payment, struct str status) {
    switch (payment->status) {
    case STATE_PAYMENT_STATUS_AUTHORIZED:
        return str_eq(status, STR("requires_capture"));
    case STATE_PAYMENT_STATUS_DECLINED:
        return str_eq(status, STR("requires_payment_method")) || str_eq(status, STR("canceled"));
    case STATE_PAYMENT_STATUS_VOIDED:
    case STATE_PAYMENT_STATUS_EXPIRED:
        return str_eq(status, STR("requires_payment_method")) || str_eq(status, STR("canceled"));
    case STATE_PAYMENT_STATUS_CAPTURED:
    case STATE_PAYMENT_STATUS_REFUNDED:
        return str_eq(status, STR("succeeded"));
    case STATE_PAYMENT_STATUS_AUTHORIZING:
    case STATE_PAYMENT_STATUS_UNKNOWN:
        break;
    }
    return false;
}

void payments_notified(struct room *room, const struct payment_provider_notified *m) {
    const struct state_payment *payment = payments_payment(room, m->order_id);
    if (!payment) {
        room_emit(room, STR(TOPIC_PAYMENT_UNROUTED), m->object_id, m->object_id,
                  &(struct message){.type = MESSAGE_PAYMENT_PROVIDER_NOTIFIED, .payment_provider_notified = *m});
        return;
    }
    bool same = !payment->provider_ref.len || str_eq(payment->provider_ref, m->object_id);
    if (same && m->status.ptr && is_known(payment, m->status))
        return;
    struct str parts[] = {m->order_id, STR("look"), m->provider_event_id, m->object_id,
                          reason_number(room->arena, payment->attempt)};
    struct str id = room_id(room, parts, sizeof(parts) / sizeof(parts[0]));
    room_intent(room, id, m->order_id,
                &(struct message){.type = MESSAGE_INTENT_CALL_PROVIDER,
                                  .intent_call_provider = {.action = INTENT_PROVIDER_ACTION_LOOK,
                                                           .order_id = m->order_id,
                                                           .payment_id = payment->payment_id,
                                                           .attempt = payment->attempt,
                                                           .amount = payment->amount,
                                                           .provider_ref = m->object_id,
                                                           .idempotency_key = id}});
}

/* ---- what there is at the provider */

static bool found_of_open(struct room *room, const struct intent_provider_answered *answer, const char **why) {
    struct intent_provider_answered outcome = *answer;
    outcome.attempt = payments_payment(room, answer->order_id)->attempt;
    return payments_attempt_answered(room, &outcome, why);
}

static bool found_of_authorized(struct room *room, const struct intent_provider_answered *answer, const char **why) {
    switch (answer->outcome) {
    case INTENT_PROVIDER_OUTCOME_EXPIRED:
        return payments_call_found_gone(room, answer);
    case INTENT_PROVIDER_OUTCOME_CAPTURED:
        return payments_call_found_captured(room, answer, why);
    case INTENT_PROVIDER_OUTCOME_DECLINED:
    case INTENT_PROVIDER_OUTCOME_FAILED:
        *why = "what the provider had authorised it now calls declined";
        return false;
    case INTENT_PROVIDER_OUTCOME_SUCCEEDED:
    case INTENT_PROVIDER_OUTCOME_UNKNOWN:
    case INTENT_PROVIDER_OUTCOME_PENDING:
    case INTENT_PROVIDER_OUTCOME_MISSING:
        break;
    }
    return true;
}

/* Of an attempt that is over: nothing may be held or taken for it. What was captured may have been seen just before. */
static bool found_of_ended(struct room *room, const struct intent_provider_answered *answer, bool captured,
                           const char **why) {
    if (captured)
        return true;
    if (answer->outcome == INTENT_PROVIDER_OUTCOME_SUCCEEDED)
        payments_stray_void(room, answer);
    if (answer->outcome != INTENT_PROVIDER_OUTCOME_CAPTURED)
        return true;
    *why = "the provider has taken money for a payment that is over";
    return false;
}

bool payments_looked(struct room *room, const struct intent_provider_answered *answer, const char **why) {
    const struct state_payment *payment = payments_payment(room, answer->order_id);
    if (answer->outcome == INTENT_PROVIDER_OUTCOME_MISSING) {
        *why = "the provider has no such payment for this order";
        return false;
    }
    if (answer->outcome == INTENT_PROVIDER_OUTCOME_FAILED)
        return true; /* an operator has closed it */
    bool latest = str_eq(answer->payment_id, payment->payment_id);
    if (latest && payments_attempt_is_open(payment))
        return answer->outcome == INTENT_PROVIDER_OUTCOME_UNKNOWN || found_of_open(room, answer, why);
    if (latest && payment->status == STATE_PAYMENT_STATUS_AUTHORIZED)
        return found_of_authorized(room, answer, why);
    bool captured =
        payment->status == STATE_PAYMENT_STATUS_CAPTURED || payment->status == STATE_PAYMENT_STATUS_REFUNDED;
    return found_of_ended(room, answer, latest && captured, why);
}

/* ---- strays */

void payments_stray_void(struct room *room, const struct intent_provider_answered *answer) {
    struct str parts[] = {answer->order_id, STR("stray"), answer->payment_id, answer->provider_ref};
    struct str id = room_id(room, parts, sizeof(parts) / sizeof(parts[0]));
    room_intent(room, id, answer->order_id,
                &(struct message){.type = MESSAGE_INTENT_CALL_PROVIDER,
                                  .intent_call_provider = {.action = INTENT_PROVIDER_ACTION_VOID,
                                                           .order_id = answer->order_id,
                                                           .payment_id = answer->payment_id,
                                                           .attempt = PAYMENTS_STRAY_ATTEMPT,
                                                           .amount = payments_payment(room, answer->order_id)->amount,
                                                           .provider_ref = answer->provider_ref,
                                                           .idempotency_key = id}});
}

bool payments_stray_answered(const struct intent_provider_answered *answer, const char **why) {
    if (str_eq(answer->provider, PAYMENTS_BY_OPERATOR))
        return true; /* who has seen to it */
    switch (answer->outcome) {
    case INTENT_PROVIDER_OUTCOME_SUCCEEDED:
    case INTENT_PROVIDER_OUTCOME_EXPIRED:
    case INTENT_PROVIDER_OUTCOME_UNKNOWN:
    case INTENT_PROVIDER_OUTCOME_PENDING:
        return true;
    case INTENT_PROVIDER_OUTCOME_DECLINED:
    case INTENT_PROVIDER_OUTCOME_FAILED:
    case INTENT_PROVIDER_OUTCOME_CAPTURED:
    case INTENT_PROVIDER_OUTCOME_MISSING:
        break;
    }
    *why = "money that is held for no payment of ours could not be let go";
    return false;
}
