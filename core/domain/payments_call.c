/* Capture, void and refund. One call at a time per order. A time-out is the caller's to try again, with the same key;
 * a definite no is tried again from here, later and as a new call, a few times; then it is left to operators. */
#include "core/domain/payments.h"

static const int64_t retry_delays_us[] = {60000000, 300000000, 1800000000, 7200000000};
enum { RETRIES_MAX = sizeof(retry_delays_us) / sizeof(retry_delays_us[0]) };

static const struct state_payment_call *call_of(struct room *room, struct str order_id) {
    return (const struct state_payment_call *)room_row(room, PAYMENTS_CALL, order_id)->state;
}

static void call_put(struct room *room, struct str order_id, struct state_payment_call call) {
    struct row *row = room_row(room, PAYMENTS_CALL, order_id);
    struct state_payment_call *kept = arena_new(room->arena, struct state_payment_call);
    *kept = call;
    kept->amount.currency = arena_dup(room->arena, call.amount.currency);
    kept->reason = arena_dup(room->arena, call.reason);
    row->state = kept;
    room_put(room, PAYMENTS_CALL, row, 0, call.status == STATE_PAYMENT_CALL_STATUS_IDLE);
}

static struct str action_text(enum intent_provider_action action) {
    switch (action) {
    case INTENT_PROVIDER_ACTION_CAPTURE:
        return STR("capture");
    case INTENT_PROVIDER_ACTION_VOID:
        return STR("void");
    case INTENT_PROVIDER_ACTION_REFUND:
        return STR("refund");
    case INTENT_PROVIDER_ACTION_LOOK:
        return STR("look");
    case INTENT_PROVIDER_ACTION_AUTHORIZE:
        break;
    }
    return STR("authorize");
}

static void waits_no_more(struct room *room, struct str order_id) {
    const struct state_payment_call *call = call_of(room, order_id);
    if (call && call->status == STATE_PAYMENT_CALL_STATUS_WAITING)
        room_timer_clear(room, order_id, PAYMENTS_TIMER_RETRY);
    if (call && call->status == STATE_PAYMENT_CALL_STATUS_GIVEN_UP)
        room_timer_clear(room, order_id, PAYMENTS_TIMER_GIVEN_UP);
}

/* Makes the next call: a new serial, so a new key. */
static void call_make(struct room *room, struct str order_id, struct state_payment_call call) {
    const struct state_payment *payment = payments_payment(room, order_id);
    waits_no_more(room, order_id);
    call.status = STATE_PAYMENT_CALL_STATUS_CALLING;
    call.serial++;
    call_put(room, order_id, call);
    struct str parts[] = {order_id, action_text(call.action), reason_number(room->arena, call.serial)};
    struct str key = room_id(room, parts, sizeof(parts) / sizeof(parts[0]));
    room_intent(room, key, order_id,
                &(struct message){.type = MESSAGE_INTENT_CALL_PROVIDER,
                                  .intent_call_provider = {.action = call.action,
                                                           .order_id = order_id,
                                                           .payment_id = payment->payment_id,
                                                           .attempt = payment->attempt,
                                                           .amount = call.amount,
                                                           .provider_ref = payment->provider_ref,
                                                           .idempotency_key = key}});
}

bool payments_call_free(struct room *room, struct str order_id, enum intent_provider_action action) {
    const struct state_payment_call *call = call_of(room, order_id);
    if (!call || call->status == STATE_PAYMENT_CALL_STATUS_IDLE)
        return true;
    return call->status == STATE_PAYMENT_CALL_STATUS_GIVEN_UP &&
           (call->action != INTENT_PROVIDER_ACTION_VOID || action == INTENT_PROVIDER_ACTION_VOID);
}

void payments_call_begin(struct room *room, struct str order_id, enum intent_provider_action action,
                         struct money amount, struct str reason) {
    const struct state_payment_call *before = call_of(room, order_id);
    call_make(room, order_id,
              (struct state_payment_call){
                  .action = action, .amount = amount, .reason = reason, .serial = before ? before->serial : 0});
}

static void call_end(struct room *room, struct str order_id, struct state_payment_call call) {
    waits_no_more(room, order_id);
    call.status = STATE_PAYMENT_CALL_STATUS_IDLE;
    call_put(room, order_id, call);
}

static void call_succeeded(struct room *room, const struct state_payment *payment,
                           const struct state_payment_call *call, const struct intent_provider_answered *answer) {
    struct message message = {0};
    if (call->action == INTENT_PROVIDER_ACTION_VOID) {
        payments_voided(room, answer->order_id, call->reason);
    } else if (call->action == INTENT_PROVIDER_ACTION_CAPTURE) {
        message.type = MESSAGE_PAYMENT_CAPTURED;
        message.payment_captured = (struct payment_captured){answer->order_id, payment->payment_id, payment->attempt,
                                                             call->amount, answer->provider_ref};
        payments_record(room, &message);
    } else {
        message.type = MESSAGE_PAYMENT_REFUNDED;
        message.payment_refunded = (struct payment_refunded){answer->order_id, payment->payment_id, payment->attempt,
                                                             call->amount, answer->provider_ref};
        payments_record(room, &message);
    }
    call_end(room, answer->order_id, *call);
}

static void call_failed(struct room *room, const struct state_payment *payment, const struct state_payment_call *call,
                        const struct intent_provider_answered *answer) {
    struct message message = {0};
    if (call->action == INTENT_PROVIDER_ACTION_VOID) {
        message.type = MESSAGE_PAYMENT_VOID_FAILED;
        message.payment_void_failed =
            (struct payment_void_failed){answer->order_id, payment->payment_id, payment->attempt, answer->code};
    } else if (call->action == INTENT_PROVIDER_ACTION_CAPTURE) {
        message.type = MESSAGE_PAYMENT_CAPTURE_FAILED;
        message.payment_capture_failed =
            (struct payment_capture_failed){answer->order_id, payment->payment_id, payment->attempt, answer->code};
    } else {
        message.type = MESSAGE_PAYMENT_REFUND_FAILED;
        message.payment_refund_failed =
            (struct payment_refund_failed){answer->order_id, payment->payment_id, payment->attempt, answer->code};
    }
    payments_record(room, &message);
    struct state_payment_call after = *call;
    if (after.tries++ < RETRIES_MAX) {
        after.status = STATE_PAYMENT_CALL_STATUS_WAITING;
        room_timer_set(room, answer->order_id, PAYMENTS_TIMER_RETRY, room->now_us + retry_delays_us[call->tries]);
    } else {
        after.status = STATE_PAYMENT_CALL_STATUS_GIVEN_UP;
        room_timer_set(room, answer->order_id, PAYMENTS_TIMER_GIVEN_UP, INT64_MAX);
    }
    call_put(room, answer->order_id, after);
}

/* The authorisation was gone before the call came: for a void that is as good as done. */
static void call_expired(struct room *room, const struct state_payment *payment, const struct state_payment_call *call,
                         const struct intent_provider_answered *answer) {
    if (call->action == INTENT_PROVIDER_ACTION_REFUND) {
        call_failed(room, payment, call, answer);
        return;
    }
    if (call->action == INTENT_PROVIDER_ACTION_VOID)
        payments_voided(room, answer->order_id, call->reason);
    else
        payments_record(room, &(struct message){.type = MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED,
                                                .payment_authorization_expired = {.order_id = answer->order_id,
                                                                                  .payment_id = payment->payment_id,
                                                                                  .attempt = payment->attempt}});
    call_end(room, answer->order_id, *call);
}

bool payments_call_answered(struct room *room, const struct intent_provider_answered *answer, const char **why) {
    const struct state_payment *payment = payments_payment(room, answer->order_id);
    const struct state_payment_call *call = call_of(room, answer->order_id);
    if (!call || call->status != STATE_PAYMENT_CALL_STATUS_CALLING || call->action != answer->action ||
        answer->attempt != payment->attempt) {
        room->call_over = true;
        return true;
    }
    switch (answer->outcome) {
    case INTENT_PROVIDER_OUTCOME_SUCCEEDED:
        if (call->action != INTENT_PROVIDER_ACTION_VOID &&
            (answer->amount.minor != call->amount.minor || !str_eq(answer->amount.currency, call->amount.currency))) {
            *why = "the provider moved another amount than was asked for";
            return false;
        }
        call_succeeded(room, payment, call, answer);
        break;
    case INTENT_PROVIDER_OUTCOME_DECLINED:
    case INTENT_PROVIDER_OUTCOME_FAILED:
        call_failed(room, payment, call, answer);
        break;
    case INTENT_PROVIDER_OUTCOME_EXPIRED:
        call_expired(room, payment, call, answer);
        break;
    case INTENT_PROVIDER_OUTCOME_UNKNOWN:
    case INTENT_PROVIDER_OUTCOME_PENDING:
        break;
    case INTENT_PROVIDER_OUTCOME_CAPTURED:
        *why = "the provider has taken the money, and that was not asked for";
        return false;
    case INTENT_PROVIDER_OUTCOME_MISSING:
        *why = "the provider does not know what came of it";
        return false;
    }
    return true;
}

/* ---- what a look at the provider has shown, of a payment that we hold for authorised */

bool payments_call_found_gone(struct room *room, const struct intent_provider_answered *answer) {
    const struct state_payment *payment = payments_payment(room, answer->order_id);
    const struct state_payment_call *call = call_of(room, answer->order_id);
    if (call && call->status == STATE_PAYMENT_CALL_STATUS_CALLING)
        return true; /* its own answer will say so */
    struct state_payment_call none = {.action = INTENT_PROVIDER_ACTION_CAPTURE, .amount = payment->amount};
    call_expired(room, payment, call && call->status != STATE_PAYMENT_CALL_STATUS_IDLE ? call : &none, answer);
    return true;
}

bool payments_call_found_captured(struct room *room, const struct intent_provider_answered *answer, const char **why) {
    const struct state_payment *payment = payments_payment(room, answer->order_id);
    const struct state_payment_call *call = call_of(room, answer->order_id);
    bool asked =
        call && call->status != STATE_PAYMENT_CALL_STATUS_IDLE && call->action == INTENT_PROVIDER_ACTION_CAPTURE;
    if (asked && call->status == STATE_PAYMENT_CALL_STATUS_CALLING)
        return true;
    if (!asked || call->amount.minor != answer->amount.minor ||
        !str_eq(call->amount.currency, answer->amount.currency)) {
        *why = "the provider has taken money that was not asked for";
        return false;
    }
    call_succeeded(room, payment, call, answer);
    return true;
}

void payments_call_retry(struct room *room, struct str order_id) {
    const struct state_payment_call *call = call_of(room, order_id);
    if (call &&
        (call->status == STATE_PAYMENT_CALL_STATUS_WAITING || call->status == STATE_PAYMENT_CALL_STATUS_GIVEN_UP))
        call_make(room, order_id, *call);
}
