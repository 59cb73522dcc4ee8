/* A decider, asked what it would say to a record now that all which it has said since the backup is folded. */
#include "cli/repair.h"

#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "core/domain/orders_internal.h"
#include "core/domain/payments.h"

static struct repair_fold *fold_of(struct room *room) {
    return (struct repair_fold *)((char *)room - offsetof(struct repair_fold, shard.room.room));
}

static void probe_emit(struct room *room, struct str topic, struct str key, struct str subject,
                       const struct message *message) {
    (void)topic, (void)key, (void)subject;
    fold_of(room)->emitted += !str_ends_with(message_name(message->type), STR("CommandRefused"));
}

static void probe_put(struct room *room, int table, struct row *row, int64_t guard, bool closed) {
    (void)guard;
    struct repair_fold *fold = fold_of(room);
    if (fold->shard.room.decider != &payments_decider || table != PAYMENTS_CALL)
        return;
    fold->call_row = row;
    fold->call_closed = closed;
}

static void probe_intent(struct room *room, struct str id, struct str key, const struct message *message) {
    struct repair_fold *fold = fold_of(room);
    struct err ignored = {0};
    buf_reset(&fold->call);
    struct str subject = message->type == MESSAGE_INTENT_SEND_NOTICE ? STR("intent/notice") : STR("intent/payment");
    if (!message_encode(schema_subject_find(subject), message, &fold->call, &ignored))
        buf_reset(&fold->call);
    fold->call_id = id;
    fold->call_key = key;
}

static struct str probe_id(struct room *room, const struct str *parts, size_t count) {
    struct id id = id_derive(parts, count);
    return arena_dup(room->arena, id_str(&id));
}

static void begin(struct repair_fold *fold) {
    struct fold_room *room = &fold->shard.room;
    arena_reset(&room->arena);
    room->loaded = NULL;
    room->room.scratch = NULL;
    room->room.call_over = false;
    fold->emitted = 0;
    fold->call_row = NULL;
    fold->call_id = STR_NULL;
}

/* The room with other ears: what is said is counted, and what is put stays with the record. */
static bool asking(struct repair_fold *fold, bool (*ask)(struct repair_fold *fold, const void *about),
                   const void *about) {
    struct room *room = &fold->shard.room.room;
    const struct room_ops *before = room->ops;
    struct room_ops ops = *before;
    ops.emit = probe_emit;
    ops.put = probe_put;
    ops.intent = probe_intent;
    ops.id = probe_id;
    begin(fold);
    room->ops = &ops;
    bool ret = ask(fold, about);
    room->ops = before;
    return ret;
}

static bool ask_record(struct repair_fold *fold, const void *about) {
    const struct input *input = about;
    const char *why = NULL;
    fold->shard.room.room.now_us = input->envelope->timestamp_us;
    fold->shard.room.room.command_id = input->envelope->command_id;
    return fold->shard.room.decider->decide(&fold->shard.room.room, input, &why);
}

bool repair_probe(struct repair_fold *fold, const struct envelope *envelope, const struct message *message) {
    struct input input = {.kind = INPUT_RECORD, .envelope = envelope, .message = message};
    return asking(fold, ask_record, &input);
}

/* What a fact sets off by coming (core/domain/orders_facts.c) and has not yet, besides the steps. */
static bool would_react(const struct state_order *order) {
    bool out =
        order->fulfilment >= STATE_ORDER_FULFILMENT_PICKED && order->fulfilment != STATE_ORDER_FULFILMENT_CANCELLED;
    if (order->status == ORDER_STATUS_CONFIRMED)
        return order->reservation == STATE_ORDER_RESERVATION_RELEASED || order->payment == STATE_ORDER_PAYMENT_EXPIRED;
    if (order->status == ORDER_STATUS_CANCELLING)
        return out;
    return order_has_ended(order->status) && !order->deadline.has && order->payment == STATE_ORDER_PAYMENT_AUTHORIZED;
}

static bool ask_order(struct repair_fold *fold, const void *about) {
    struct room *room = &fold->shard.room.room;
    struct state_order *order = room_row(room, ORDERS_ORDER, *(const struct str *)about)->state;
    const struct message nothing = {.type = MESSAGE_UNKNOWN};
    if (!order_is_known(order))
        return true; /* what was heard of it waits for it */
    if (would_react(order))
        return true;
    orders_settle(room, order, &nothing);
    return fold->emitted > 0;
}

bool repair_order_has_step(struct repair_fold *fold, struct str key) {
    return asking(fold, ask_order, &key);
}

bool repair_call_keep(struct repair_fold *fold, const struct envelope *envelope, struct err *err) {
    struct fold_room *room = &fold->shard.room;
    const struct decider_table *table = &payments_decider.tables[PAYMENTS_CALL];
    BUF_AUTO state = {0};
    state_encode(schema_subject_find(str_from(table->subject)), fold->call_row->state, &state);
    room_put(&room->room, PAYMENTS_CALL, fold->call_row, 0, fold->call_closed);
    return repair_apart_write(fold, PAYMENTS_CALL, fold->call_row->key, fold->call_closed, buf_str(&state), err) &&
           repair_call_write(fold, fold->call_id, fold->call_key, envelope->command_id, envelope->traceparent,
                             buf_str(&fold->call), envelope->timestamp_us, err);
}

void repair_probe_init(struct repair_fold *fold) {
    fold_room_init(&fold->shard.room, fold->at->service->decider, &fold->repair->shop);
    arena_init(&fold->shard.arena);
    fold->shard.sql = fold->repair->sql;
}

void repair_probe_free(struct repair_fold *fold) {
    fold->repair->sql = fold->shard.sql;
    fold->shard.sql = NULL;
    decider_shard_free(&fold->shard);
    buf_free(&fold->call);
}
