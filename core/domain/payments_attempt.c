/* Authorising: one attempt at a time, each with an id and an idempotency key of its own. */
#include "core/domain/payments.h"

static struct str attempt_id(struct room *room, struct str order_id, struct str what, int32_t attempt) {
    struct str parts[] = {order_id, what, reason_number(room->arena, attempt)};
    return room_id(room, parts, sizeof(parts) / sizeof(parts[0]));
}

void payments_attempt_begin(struct room *room, struct str order_id, struct str shopper_id, struct money amount,
                            int32_t attempt, struct str payment_method) {
    struct str payment_id = attempt_id(room, order_id, STR("payment"), attempt);
    struct str key = attempt_id(room, order_id, STR("authorize"), attempt);
    payments_record(room, &(struct message){.type = MESSAGE_PAYMENT_REQUESTED,
                                            .payment_requested = {.order_id = order_id,
                                                                  .shopper_id = shopper_id,
                                                                  .payment_id = payment_id,
                                                                  .attempt = attempt,
                                                                  .amount = amount,
                                                                  .idempotency_key = key}});
    room_intent(room, key, order_id,
                &(struct message){.type = MESSAGE_INTENT_CALL_PROVIDER,
                                  .intent_call_provider = {.action = INTENT_PROVIDER_ACTION_AUTHORIZE,
                                                           .order_id = order_id,
                                                           .payment_id = payment_id,
                                                           .attempt = attempt,
                                                           .amount = amount,
                                                           .payment_method = payment_method,
                                                           .idempotency_key = key}});
}

void payments_voided(struct room *room, struct str order_id, struct str reason) {
    const struct state_payment *payment = payments_payment(room, order_id);
    struct message message = {.type = MESSAGE_PAYMENT_VOIDED};
    struct payment_voided *m = &message.payment_voided;
    m->order_id = order_id;
    m->attempt = payment ? payment->attempt : 0;
    m->payment_id = payment ? payment->payment_id : attempt_id(room, order_id, STR("payment"), 0);
    m->reason = reason;
    payments_record(room, &message);
}

static void authorized(struct room *room, const struct state_payment *payment,
                       const struct intent_provider_answered *answer) {
    payments_record(room, &(struct message){.type = MESSAGE_PAYMENT_AUTHORIZED,
                                            .payment_authorized = {.order_id = answer->order_id,
                                                                   .payment_id = payment->payment_id,
                                                                   .attempt = payment->attempt,
                                                                   .amount = payment->amount,
                                                                   .provider = answer->provider,
                                                                   .provider_ref = answer->provider_ref}});
    if (payment->void_reason.ptr)
        payments_call_begin(room, answer->order_id, INTENT_PROVIDER_ACTION_VOID, payment->amount, payment->void_reason);
}

static void declined(struct room *room, const struct state_payment *payment,
                     const struct intent_provider_answered *answer) {
    payments_record(room, &(struct message){.type = MESSAGE_PAYMENT_DECLINED,
                                            .payment_declined = {.order_id = answer->order_id,
                                                                 .payment_id = payment->payment_id,
                                                                 .attempt = payment->attempt,
                                                                 .code = answer->code}});
    if (payment->void_reason.ptr)
        payments_voided(room, answer->order_id, payment->void_reason);
}

/* Money is held that is not what was asked for: it is let go, and the attempt has failed. */
static void authorized_otherwise(struct room *room, const struct state_payment *payment,
                                 const struct intent_provider_answered *answer) {
    struct intent_provider_answered refused = *answer;
    refused.code = STR("amount-mismatch");
    payments_stray_void(room, answer);
    declined(room, payment, &refused);
}

bool payments_attempt_is_open(const struct state_payment *payment) {
    return payment->status == STATE_PAYMENT_STATUS_AUTHORIZING || payment->status == STATE_PAYMENT_STATUS_UNKNOWN;
}

bool payments_attempt_answered(struct room *room, const struct intent_provider_answered *answer, const char **why) {
    const struct state_payment *payment = payments_payment(room, answer->order_id);
    if (!payments_attempt_is_open(payment) || answer->attempt != payment->attempt) {
        room->call_over = true; /* a look at the provider was faster */
        return true;
    }
    switch (answer->outcome) {
    case INTENT_PROVIDER_OUTCOME_SUCCEEDED:
        if (answer->amount.minor == payment->amount.minor && str_eq(answer->amount.currency, payment->amount.currency))
            authorized(room, payment, answer);
        else
            authorized_otherwise(room, payment, answer);
        break;
    case INTENT_PROVIDER_OUTCOME_DECLINED:
    case INTENT_PROVIDER_OUTCOME_FAILED:
    case INTENT_PROVIDER_OUTCOME_EXPIRED:
        declined(room, payment, answer);
        break;
    case INTENT_PROVIDER_OUTCOME_UNKNOWN:
        if (payment->status == STATE_PAYMENT_STATUS_AUTHORIZING)
            payments_record(room, &(struct message){.type = MESSAGE_PAYMENT_OUTCOME_UNKNOWN,
                                                    .payment_outcome_unknown = {.order_id = answer->order_id,
                                                                                .payment_id = payment->payment_id,
                                                                                .attempt = payment->attempt,
                                                                                .detail = answer->code}});
        break;
    case INTENT_PROVIDER_OUTCOME_PENDING:
        break;
    case INTENT_PROVIDER_OUTCOME_CAPTURED:
        *why = "the provider has taken the money, and nobody asked for it";
        return false;
    case INTENT_PROVIDER_OUTCOME_MISSING:
        *why = "the provider has no such payment";
        return false;
    }
    return true;
}

static struct str submit_refusal(const struct room *room, const struct state_payment *payment) {
    switch (payment->status) {
    case STATE_PAYMENT_STATUS_AUTHORIZING:
        return STR("a payment is being authorised");
    case STATE_PAYMENT_STATUS_UNKNOWN:
        return STR("the outcome of a payment is being found out");
    case STATE_PAYMENT_STATUS_DECLINED:
        return payment->attempt >= room->shop->payment_attempts ? STR("there have been too many attempts") : STR_NULL;
    case STATE_PAYMENT_STATUS_AUTHORIZED:
    case STATE_PAYMENT_STATUS_CAPTURED:
    case STATE_PAYMENT_STATUS_REFUNDED:
        return STR("this order was paid");
    case STATE_PAYMENT_STATUS_VOIDED:
    case STATE_PAYMENT_STATUS_EXPIRED:
        break;
    }
    return STR("this order takes no payment any more");
}

void payments_submit(struct room *room, struct str order_id, struct str shopper_id, struct str payment_method) {
    const struct state_payment *payment = payments_payment(room, order_id);
    if (!str_eq(payment->shopper_id, shopper_id)) {
        payments_refuse(room, order_id, REASON_NOT_FOUND, STR("there is no such order"));
        return;
    }
    struct str refusal = submit_refusal(room, payment);
    if (refusal.ptr)
        payments_refuse(room, order_id, REASON_TRANSITION_REFUSED, refusal);
    else
        payments_attempt_begin(room, order_id, shopper_id, payment->amount, payment->attempt + 1, payment_method);
}
