#include "core/domain/notices.h"

#include "core/domain/reason.h"

enum { TABLE_NOTICE };

bool notice_of(const struct message *message, struct notice *ret) {
    *ret = (struct notice){.reason = STR("")};
    switch (message->type) {
    case MESSAGE_ORDER_CONFIRMED:
        ret->template = STR(NOTICE_CONFIRMED);
        ret->order_id = message->order_confirmed.order_id;
        return true;
    case MESSAGE_ORDER_REJECTED:
        ret->template = STR(NOTICE_REFUSED);
        ret->order_id = message->order_rejected.order_id;
        ret->reason = message->order_rejected.reason;
        return true;
    case MESSAGE_ORDER_SHIPPED:
        ret->template = STR(NOTICE_SHIPPED);
        ret->order_id = message->order_shipped.order_id;
        return true;
    case MESSAGE_ORDER_DELIVERED:
        ret->template = STR(NOTICE_DELIVERED);
        ret->order_id = message->order_delivered.order_id;
        return true;
    case MESSAGE_ORDER_CANCELLED:
        ret->template = STR(NOTICE_CANCELLED);
        ret->order_id = message->order_cancelled.order_id;
        ret->reason = message->order_cancelled.reason;
        return true;
    case MESSAGE_ORDER_EXPIRED: /* to a shopper, an order that was not paid in time is a cancelled one */
        ret->template = STR(NOTICE_CANCELLED);
        ret->order_id = message->order_expired.order_id;
        ret->reason = message->order_expired.reason;
        return true;
    case MESSAGE_PAYMENT_REFUNDED:
        ret->template = STR(NOTICE_REFUNDED);
        ret->order_id = message->payment_refunded.order_id;
        ret->refunded_minor = message->payment_refunded.amount.minor;
        return true;
    default:
        return false;
    }
}

static struct money copy_money(struct arena *arena, struct money money) {
    return (struct money){money.minor, arena_dup(arena, money.currency)};
}

struct notice_order *notice_order_copy(struct arena *arena, const struct order_placed *placed) {
    struct notice_order *order = arena_new(arena, struct notice_order);
    order->shopper_id = arena_dup(arena, placed->shopper_id);
    order->personal_ref = arena_dup(arena, placed->personal_ref);
    order->placed_at = placed->placed_at;
    order->lines.items = arena_array(arena, struct line, placed->lines.count);
    order->lines.count = placed->lines.count;
    for (size_t i = 0; i < placed->lines.count; i++) {
        const struct line *line = &placed->lines.items[i];
        order->lines.items[i] = (struct line){.sku = arena_dup(arena, line->sku),
                                              .name = arena_dup(arena, line->name),
                                              .quantity = line->quantity,
                                              .unit_price = copy_money(arena, line->unit_price),
                                              .line_total = copy_money(arena, line->line_total),
                                              .revision = line->revision};
    }
    order->totals = (struct totals){.items = copy_money(arena, placed->totals.items),
                                    .discount = copy_money(arena, placed->totals.discount),
                                    .shipping = copy_money(arena, placed->totals.shipping),
                                    .tax = copy_money(arena, placed->totals.tax),
                                    .total = copy_money(arena, placed->totals.total)};
    return order;
}

/* ---- the fold: an order's snapshot, and refunds that were heard of before it. The two topics come in any order. */

static struct str order_of(const struct message *message) {
    struct notice notice;
    if (message->type == MESSAGE_ORDER_PLACED)
        return message->order_placed.order_id;
    return notice_of(message, &notice) ? notice.order_id : STR_NULL;
}

static const struct state_notice *known(struct room *room, struct str order_id) {
    return (const struct state_notice *)room_row(room, TABLE_NOTICE, order_id)->state;
}

static void keep_refund(struct room *room, struct state_notice *state, const struct input *input) {
    size_t count = state->waiting.count;
    struct state_notice_refund *waiting = arena_array(room->arena, struct state_notice_refund, count + 1);
    if (count)
        memcpy(waiting, state->waiting.items, count * sizeof *waiting);
    waiting[count] = (struct state_notice_refund){.cause = arena_dup(room->arena, input->envelope->id),
                                                  .caused_at = room->now_us,
                                                  .minor = input->message->payment_refunded.amount.minor};
    state->waiting = (struct state_notice_refund_list){waiting, count + 1};
}

static void notices_evolve(struct room *room, const struct input *input) {
    const struct message *message = input->message;
    bool placed = message->type == MESSAGE_ORDER_PLACED;
    if (!placed && message->type != MESSAGE_PAYMENT_REFUNDED)
        return;
    struct row *row = room_row(room, TABLE_NOTICE, order_of(message));
    struct state_notice *after = arena_new(room->arena, struct state_notice);
    if (row->state)
        *after = *(const struct state_notice *)row->state;
    if (after->order)
        return; /* a repetition, or a refund that need not wait */
    if (placed) {
        after->order = notice_order_copy(room->arena, &message->order_placed);
        after->waiting = (struct state_notice_refund_list){0};
    } else {
        keep_refund(room, after, input);
    }
    row->state = after;
    room_put(room, TABLE_NOTICE, row, 0, false);
}

static void notices_want(struct room *room, const struct input *input) {
    struct str order_id = input->kind == INPUT_RECORD ? order_of(input->message) : STR_NULL;
    if (order_id.len)
        room_want(room, TABLE_NOTICE, order_id);
}

/* ---- what is to be sent, and what came of it */

static void send(struct room *room, const struct notice *notice, struct str cause, int64_t caused_at,
                 const struct notice_order *order) {
    struct str id = REASON_TEXT(room->arena, notice->order_id, STR("/"), notice->template, STR("/"), cause);
    room_intent(room, id, notice->order_id,
                &(struct message){.type = MESSAGE_INTENT_SEND_NOTICE,
                                  .intent_send_notice = {.order_id = notice->order_id,
                                                         .template = notice->template,
                                                         .cause = cause,
                                                         .caused_at = caused_at,
                                                         .reason = notice->reason,
                                                         .refunded_minor = notice->refunded_minor,
                                                         .order = *order}});
}

static void emit(struct room *room, struct str order_id, const struct message *message) {
    room_emit(room, STR(TOPIC_NOTIFICATION_EVENTS), order_id, order_id, message);
}

static void take_event(struct room *room, const struct input *input) {
    const struct message *message = input->message;
    struct str order_id = order_of(message);
    struct notice notice;
    if (!order_id.len)
        return;
    const struct state_notice *before = known(room, order_id);
    notices_evolve(room, input);
    const struct state_notice *after = known(room, order_id);
    if (notice_of(message, &notice)) {
        if (after && after->order)
            send(room, &notice, input->envelope->id, room->now_us, after->order);
        else if (message->type != MESSAGE_PAYMENT_REFUNDED)
            /* Refused at the checkout itself: the shopper was there, and no event says which address was given. */
            emit(room, order_id,
                 &(struct message){.type = MESSAGE_NOTIFICATION_SUPPRESSED,
                                   .notification_suppressed = {.order_id = order_id,
                                                               .template = notice.template,
                                                               .channel = STR(NOTICE_CHANNEL),
                                                               .cause = input->envelope->id,
                                                               .reason = STR(NOTICE_NOT_PLACED)}});
        return;
    }
    for (size_t i = 0; before && i < before->waiting.count; i++) {
        const struct state_notice_refund *refund = &before->waiting.items[i];
        notice = (struct notice){STR(NOTICE_REFUNDED), order_id, STR(""), refund->minor};
        send(room, &notice, refund->cause, refund->caused_at, after->order);
    }
}

static bool take_answer(struct room *room, const struct intent_notice_answered *m) {
    switch (m->outcome) {
    case INTENT_NOTICE_OUTCOME_SENT:
        emit(room, m->order_id,
             &(struct message){.type = MESSAGE_NOTIFICATION_SENT,
                               .notification_sent = {m->order_id, m->template, m->channel, m->cause}});
        return true;
    case INTENT_NOTICE_OUTCOME_SUPPRESSED:
        emit(room, m->order_id,
             &(struct message){.type = MESSAGE_NOTIFICATION_SUPPRESSED,
                               .notification_suppressed = {m->order_id, m->template, m->channel, m->cause, m->reason}});
        return true;
    case INTENT_NOTICE_OUTCOME_FAILED:
        emit(room, m->order_id,
             &(struct message){.type = MESSAGE_NOTIFICATION_FAILED,
                               .notification_failed = {m->order_id, m->template, m->channel, m->cause, m->reason}});
        return true;
    case INTENT_NOTICE_OUTCOME_UNKNOWN:
        return true; /* it is tried again */
    }
    return false;
}

static bool notices_decide(struct room *room, const struct input *input, const char **why) {
    if (input->kind == INPUT_RECORD) {
        take_event(room, input);
        return true;
    }
    if (input->kind == INPUT_RESULT && input->message->type == MESSAGE_INTENT_NOTICE_ANSWERED)
        return take_answer(room, &input->message->intent_notice_answered);
    *why = "neither an event nor what came of a message";
    return false;
}

/* Nobody commands it. */
static void notices_refuse_reused(struct room *room, const struct input *input) {
    (void)room;
    (void)input;
}

const struct decider notifier_decider = {
    .service = "notifier",
    .inputs = (const char *const[]){TOPIC_ORDER_EVENTS, TOPIC_PAYMENT_EVENTS},
    .input_count = 2,
    .events = (const char *const[]){TOPIC_NOTIFICATION_EVENTS, NULL},
    .tables =
        (const struct decider_table[]){
            [TABLE_NOTICE] = {.name = "notice", .subject = "state/notice", .size = sizeof(struct state_notice)}},
    .table_count = 1,
    .want = notices_want,
    .decide = notices_decide,
    .evolve_want = notices_want,
    .evolve = notices_evolve,
    .refuse_reused = notices_refuse_reused,
};
