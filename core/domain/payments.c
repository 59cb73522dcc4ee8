/* payments moves money: it asks the provider by intents and records what came of it.
 *
 * created (no row) -> authorizing | voided; authorizing -> authorized | declined | unknown; unknown -> authorized |
 * declined; declined -> authorizing (the next attempt) | voided; authorized -> captured | voided | expired;
 * captured -> refunded. */
#include "core/domain/payments.h"

static void authorize(struct room *room, const struct payment_authorize_payment *m) {
    if (payments_payment(room, m->order_id)) {
        payments_refuse(room, m->order_id, REASON_TRANSITION_REFUSED, STR("payment was asked for before, or voided"));
        return;
    }
    payments_attempt_begin(room, m->order_id, m->shopper_id, m->amount, 1, m->payment_method);
    payments_held_answer(room, m->order_id);
}

static void submit(struct room *room, const struct payment_submit_payment *m) {
    if (payments_payment(room, m->order_id))
        payments_submit(room, m->order_id, m->shopper_id, m->payment_method);
    else
        payments_held_add(room, m);
}

static void void_open(struct room *room, const struct state_payment *payment, const struct payment_void_payment *m) {
    if (payment->void_reason.ptr) {
        payments_refuse(room, m->order_id, REASON_TRANSITION_REFUSED, STR("it will be voided already"));
        return;
    }
    payments_record(room, &(struct message){.type = MESSAGE_PAYMENT_VOID_REQUESTED,
                                            .payment_void_requested = {.order_id = m->order_id,
                                                                       .payment_id = payment->payment_id,
                                                                       .attempt = payment->attempt,
                                                                       .reason = m->reason}});
}

static void void_payment(struct room *room, const struct payment_void_payment *m) {
    const struct state_payment *payment = payments_payment(room, m->order_id);
    if (!payment) {
        /* Requests of an order come in order, so this should not be; but if, nothing may be authorised later. */
        payments_voided(room, m->order_id, m->reason);
        payments_held_answer(room, m->order_id);
        return;
    }
    switch (payment->status) {
    case STATE_PAYMENT_STATUS_AUTHORIZING:
    case STATE_PAYMENT_STATUS_UNKNOWN:
        void_open(room, payment, m);
        return;
    case STATE_PAYMENT_STATUS_DECLINED:
        payments_voided(room, m->order_id, m->reason);
        return;
    case STATE_PAYMENT_STATUS_AUTHORIZED:
        if (payments_call_free(room, m->order_id, INTENT_PROVIDER_ACTION_VOID))
            payments_call_begin(room, m->order_id, INTENT_PROVIDER_ACTION_VOID, payment->amount, m->reason);
        else
            payments_refuse(room, m->order_id, REASON_TRANSITION_REFUSED, STR("it is being captured or voided"));
        return;
    case STATE_PAYMENT_STATUS_VOIDED:
    case STATE_PAYMENT_STATUS_EXPIRED:
    case STATE_PAYMENT_STATUS_CAPTURED:
    case STATE_PAYMENT_STATUS_REFUNDED:
        break;
    }
    payments_refuse(room, m->order_id, REASON_TRANSITION_REFUSED, STR("nothing is authorised any more"));
}

/* Captured is never more than authorised, refunded never more than captured. */
static void move_money(struct room *room, struct str order_id, enum intent_provider_action action, struct money amount,
                       struct str reason) {
    const struct state_payment *payment = payments_payment(room, order_id);
    bool capture = action == INTENT_PROVIDER_ACTION_CAPTURE;
    if (!payment) {
        payments_refuse(room, order_id, REASON_NOT_FOUND, STR("there is no such order"));
        return;
    }
    if (payment->status != (capture ? STATE_PAYMENT_STATUS_AUTHORIZED : STATE_PAYMENT_STATUS_CAPTURED)) {
        payments_refuse(room, order_id, REASON_TRANSITION_REFUSED,
                        capture ? STR("nothing is authorised") : STR("nothing is captured"));
        return;
    }
    if (!payments_call_free(room, order_id, action)) {
        payments_refuse(room, order_id, REASON_TRANSITION_REFUSED, STR("it is being captured, voided or refunded"));
        return;
    }
    int64_t left_minor = capture ? payment->amount.minor : payment->captured_minor - payment->refunded_minor;
    if (!str_eq(amount.currency, payment->amount.currency))
        payments_refuse(room, order_id, REASON_WRONG_CURRENCY, STR("it was authorised in another currency"));
    else if (amount.minor < 1 || amount.minor > left_minor)
        payments_refuse(room, order_id, REASON_TRANSITION_REFUSED,
                        capture ? STR("it is not an amount that is authorised")
                                : STR("it is not an amount that is captured and not refunded"));
    else
        payments_call_begin(room, order_id, action, amount, reason);
}

/* ---- the decider */

static struct str order_of(const struct message *message) {
    switch (message->type) {
    case MESSAGE_PAYMENT_AUTHORIZE_PAYMENT:
        return message->payment_authorize_payment.order_id;
    case MESSAGE_PAYMENT_SUBMIT_PAYMENT:
        return message->payment_submit_payment.order_id;
    case MESSAGE_PAYMENT_VOID_PAYMENT:
        return message->payment_void_payment.order_id;
    case MESSAGE_PAYMENT_CAPTURE_PAYMENT:
        return message->payment_capture_payment.order_id;
    case MESSAGE_PAYMENT_REFUND_PAYMENT:
        return message->payment_refund_payment.order_id;
    case MESSAGE_PAYMENT_PROVIDER_NOTIFIED:
        return message->payment_provider_notified.order_id;
    case MESSAGE_INTENT_PROVIDER_ANSWERED:
        return message->intent_provider_answered.order_id;
    default:
        return STR_NULL;
    }
}

static void payments_want(struct room *room, const struct input *input) {
    bool timer = input->kind == INPUT_TIMER;
    struct str order_id = timer ? input->envelope->key : order_of(input->message);
    enum message_type type = timer ? MESSAGE_UNKNOWN : input->message->type;
    if (!order_id.len)
        return;
    room_want(room, PAYMENTS_PAYMENT, order_id);
    if (timer || type == MESSAGE_PAYMENT_VOID_PAYMENT || type == MESSAGE_PAYMENT_CAPTURE_PAYMENT ||
        type == MESSAGE_PAYMENT_REFUND_PAYMENT || type == MESSAGE_INTENT_PROVIDER_ANSWERED)
        room_want(room, PAYMENTS_CALL, order_id);
    if (timer || type == MESSAGE_PAYMENT_VOID_PAYMENT || type == MESSAGE_PAYMENT_AUTHORIZE_PAYMENT ||
        type == MESSAGE_PAYMENT_SUBMIT_PAYMENT)
        room_want(room, PAYMENTS_HELD, order_id);
}

static bool decide_request(struct room *room, const struct message *message, const char **why) {
    switch (message->type) {
    case MESSAGE_PAYMENT_AUTHORIZE_PAYMENT:
        if (message->payment_authorize_payment.amount.minor < 0) {
            *why = "AuthorizePayment of a negative amount";
            return false;
        }
        authorize(room, &message->payment_authorize_payment);
        return true;
    case MESSAGE_PAYMENT_SUBMIT_PAYMENT:
        submit(room, &message->payment_submit_payment);
        return true;
    case MESSAGE_PAYMENT_VOID_PAYMENT:
        void_payment(room, &message->payment_void_payment);
        return true;
    case MESSAGE_PAYMENT_CAPTURE_PAYMENT:
        move_money(room, message->payment_capture_payment.order_id, INTENT_PROVIDER_ACTION_CAPTURE,
                   message->payment_capture_payment.amount, STR(""));
        return true;
    case MESSAGE_PAYMENT_REFUND_PAYMENT:
        move_money(room, message->payment_refund_payment.order_id, INTENT_PROVIDER_ACTION_REFUND,
                   message->payment_refund_payment.amount, message->payment_refund_payment.reason);
        return true;
    case MESSAGE_PAYMENT_PROVIDER_NOTIFIED:
        payments_notified(room, &message->payment_provider_notified);
        return true;
    default:
        *why = "not a request to payments";
        return false;
    }
}

static bool decide_answer(struct room *room, const struct message *message, const char **why) {
    if (message->type != MESSAGE_INTENT_PROVIDER_ANSWERED ||
        !payments_payment(room, message->intent_provider_answered.order_id)) {
        *why = "not an answer to a call of payments";
        return false;
    }
    const struct intent_provider_answered *answer = &message->intent_provider_answered;
    if (answer->action == INTENT_PROVIDER_ACTION_AUTHORIZE)
        return payments_attempt_answered(room, answer, why);
    if (answer->action == INTENT_PROVIDER_ACTION_LOOK)
        return payments_looked(room, answer, why);
    if (answer->action == INTENT_PROVIDER_ACTION_VOID && answer->attempt == PAYMENTS_STRAY_ATTEMPT)
        return payments_stray_answered(answer, why);
    return payments_call_answered(room, answer, why);
}

static bool decide_timer(struct room *room, const struct input *input, const char **why) {
    if (str_eq(input->timer, PAYMENTS_TIMER_RETRY)) {
        payments_call_retry(room, input->envelope->key);
    } else if (str_eq(input->timer, PAYMENTS_TIMER_HELD)) {
        payments_held_expire(room, input->envelope->key);
    } else {
        *why = "not a timer of payments";
        return false;
    }
    return true;
}

static bool payments_decide(struct room *room, const struct input *input, const char **why) {
    if (input->kind == INPUT_TIMER)
        return decide_timer(room, input, why);
    if (!order_of(input->message).len) {
        *why = "not a request to payments, or one without an order";
        return false;
    }
    if (input->kind == INPUT_RESULT)
        return decide_answer(room, input->message, why);
    return decide_request(room, input->message, why);
}

static void payments_refuse_reused(struct room *room, const struct input *input) {
    struct str order_id = order_of(input->message);
    if (order_id.len)
        payments_refuse(room, order_id, REASON_IDEMPOTENCY_KEY_REUSED,
                        STR("this idempotency key was used for another request"));
}

const struct decider payments_decider = {
    .service = "payments",
    .inputs = (const char *const[]){TOPIC_PAYMENT_REQUESTS},
    .input_count = 1,
    .events = (const char *const[]){TOPIC_PAYMENT_EVENTS, NULL},
    .tables =
        (const struct decider_table[]){
            [PAYMENTS_PAYMENT] = {.name = "payment", .subject = "state/payment", .size = sizeof(struct state_payment)},
            [PAYMENTS_CALL] = {.name = "payment_call",
                               .subject = "state/payment_call",
                               .size = sizeof(struct state_payment_call),
                               .apart = true},
            [PAYMENTS_HELD] = {.name = "held_payment",
                               .subject = "state/held_payment",
                               .size = sizeof(struct state_held_payment),
                               .apart = true}},
    .table_count = 3,
    .remembers_commands = true,
    .want = payments_want,
    .decide = payments_decide,
    .evolve_want = payments_evolve_want,
    .evolve = payments_evolve,
    .refuse_reused = payments_refuse_reused,
};
