#include "core/domain/payments.h"

static struct str order_of(const struct message *message) {
    switch (message->type) {
    case MESSAGE_PAYMENT_REQUESTED:
        return message->payment_requested.order_id;
    case MESSAGE_PAYMENT_AUTHORIZED:
        return message->payment_authorized.order_id;
    case MESSAGE_PAYMENT_DECLINED:
        return message->payment_declined.order_id;
    case MESSAGE_PAYMENT_OUTCOME_UNKNOWN:
        return message->payment_outcome_unknown.order_id;
    case MESSAGE_PAYMENT_CAPTURED:
        return message->payment_captured.order_id;
    case MESSAGE_PAYMENT_CAPTURE_FAILED:
        return message->payment_capture_failed.order_id;
    case MESSAGE_PAYMENT_VOID_REQUESTED:
        return message->payment_void_requested.order_id;
    case MESSAGE_PAYMENT_VOIDED:
        return message->payment_voided.order_id;
    case MESSAGE_PAYMENT_VOID_FAILED:
        return message->payment_void_failed.order_id;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        return message->payment_authorization_expired.order_id;
    case MESSAGE_PAYMENT_REFUNDED:
        return message->payment_refunded.order_id;
    case MESSAGE_PAYMENT_REFUND_FAILED:
        return message->payment_refund_failed.order_id;
    case MESSAGE_PAYMENT_COMMAND_REFUSED:
        return message->payment_command_refused.order_id;
    default:
        return STR_NULL;
    }
}

/* False: the record changes nothing. */
static bool payment_fold(struct arena *arena, struct state_payment *payment, const struct message *message) {
    switch (message->type) {
    case MESSAGE_PAYMENT_REQUESTED: {
        const struct payment_requested *m = &message->payment_requested;
        payment->status = STATE_PAYMENT_STATUS_AUTHORIZING;
        payment->shopper_id = arena_dup(arena, m->shopper_id);
        payment->amount = (struct money){m->amount.minor, arena_dup(arena, m->amount.currency)};
        payment->attempt = m->attempt;
        payment->payment_id = arena_dup(arena, m->payment_id);
        return true;
    }
    case MESSAGE_PAYMENT_AUTHORIZED:
        payment->status = STATE_PAYMENT_STATUS_AUTHORIZED;
        payment->provider_ref = arena_dup(arena, message->payment_authorized.provider_ref);
        return true;
    case MESSAGE_PAYMENT_DECLINED:
        payment->status = STATE_PAYMENT_STATUS_DECLINED;
        return true;
    case MESSAGE_PAYMENT_OUTCOME_UNKNOWN:
        payment->status = STATE_PAYMENT_STATUS_UNKNOWN;
        return true;
    case MESSAGE_PAYMENT_CAPTURED:
        payment->status = STATE_PAYMENT_STATUS_CAPTURED;
        payment->captured_minor = message->payment_captured.amount.minor;
        return true;
    case MESSAGE_PAYMENT_VOID_REQUESTED:
        payment->void_reason = arena_dup(arena, message->payment_void_requested.reason);
        return true;
    case MESSAGE_PAYMENT_VOIDED:
        payment->status = STATE_PAYMENT_STATUS_VOIDED;
        payment->payment_id = arena_dup(arena, message->payment_voided.payment_id);
        return true;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        payment->status = STATE_PAYMENT_STATUS_EXPIRED;
        return true;
    case MESSAGE_PAYMENT_REFUNDED:
        payment->refunded_minor += message->payment_refunded.amount.minor;
        if (payment->refunded_minor >= payment->captured_minor)
            payment->status = STATE_PAYMENT_STATUS_REFUNDED;
        return true;
    default:
        return false;
    }
}

static bool payment_closed(const struct state_payment *payment) {
    return payment->status == STATE_PAYMENT_STATUS_VOIDED || payment->status == STATE_PAYMENT_STATUS_EXPIRED ||
           payment->status == STATE_PAYMENT_STATUS_REFUNDED;
}

static void payment_evolve(struct room *room, const struct message *message) {
    if (message->type == MESSAGE_PAYMENT_COMMAND_REFUSED)
        return;
    struct row *row = room_row(room, PAYMENTS_PAYMENT, order_of(message));
    struct state_payment *after = arena_new(room->arena, struct state_payment);
    if (row->state)
        *after = *(const struct state_payment *)row->state;
    else
        after->shopper_id = after->amount.currency = after->payment_id = after->provider_ref = STR("");
    if (!payment_fold(room->arena, after, message))
        return;
    row->state = after;
    room_put(room, PAYMENTS_PAYMENT, row, 0, payment_closed(after));
}

void payments_evolve(struct room *room, const struct input *input) {
    if (order_of(input->message).ptr)
        payment_evolve(room, input->message);
}

void payments_evolve_want(struct room *room, const struct input *input) {
    struct str order_id = order_of(input->message);
    if (order_id.ptr)
        room_want(room, PAYMENTS_PAYMENT, order_id);
}

void payments_record(struct room *room, const struct message *message) {
    payment_evolve(room, message);
    struct str order_id = order_of(message);
    room_emit(room, STR(TOPIC_PAYMENT_EVENTS), order_id, order_id, message);
}

void payments_refuse(struct room *room, struct str order_id, enum reason reason, struct str detail) {
    payments_record(
        room, &(struct message){
                  .type = MESSAGE_PAYMENT_COMMAND_REFUSED,
                  .payment_command_refused = {.order_id = order_id, .reason = reason_slug(reason), .detail = detail}});
}
