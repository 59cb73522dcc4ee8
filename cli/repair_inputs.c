/* Which of its inputs a shard has decided since the backup. The log does not say so of each, but it holds what was
 * decided:
 * - a command of the API is decided if a record of the shard's answers its id;
 * - a request of another decider, if with all that the shard has said since it would only be refused, or change
 * nothing;
 * - what orders reads of the others, if the order has no step before it with all that the log holds;
 * - what the notifier reads, always: what is left to be told is written down.
 * Of an origin's records all up to the first that may not have been decided are taken for decided, since they are known
 * by their number. What is after it is read again: deciders meet it as any repetition, by the state that they fold. */
#include "cli/repair.h"

#include "core/base/clock.h"
#include "core/codec/avro.h"
#include "core/domain/notices.h"
#include "core/log/envelope.h"

#include <stdlib.h>

/* Providers forget keys after a day (consumers/provider.h): a call whose key is older may be another one. */
static const int64_t key_lives_us = INT64_C(20) * 3600 * 1000000;

struct inputs {
    struct repair_fold *fold;
    struct map open_orders;
    bool carts_stand; /* a record of cart.events that was not decided: the position stays before it */
    struct arena arena;
};

static const char *service_of(const struct repair_fold *fold) {
    return fold->at->service->decider->service;
}

static bool is_answered(const struct repair_fold *fold, struct str id) {
    return id.len && map_get(&fold->at->answered, id);
}

/* ---- orders ---- */

static void open_orders_find(struct inputs *inputs) {
    struct repair_fold *fold = inputs->fold;
    const struct map *orders = &fold->shard.room.tables[0];
    if (strcmp(service_of(fold), "orders") != 0)
        return;
    for (struct map_entry *entry = NULL; (entry = map_next(orders, entry));)
        if (repair_order_has_step(fold, entry->key))
            *map_put(&inputs->open_orders, entry->key) = fold;
}

/* ---- carts: what has no origin, and no table of ids ---- */

static bool cart_shows_no_answer(const struct inputs *inputs, const struct envelope *envelope) {
    struct fold_room *room = &inputs->fold->shard.room;
    arena_reset(&room->arena);
    room->loaded = NULL;
    const struct state_cart *cart = room_row(&room->room, 0, envelope->key)->state;
    for (size_t i = 0; cart && i < cart->commands.count; i++)
        if (str_eq(cart->commands.items[i].command_id, envelope->id))
            return cart->commands.items[i].refusal.ptr && !cart->commands.items[i].answered;
    return false;
}

/* A checkout has an answer, and so has what was refused; all else is a fold only. */
static void cart_take(struct inputs *inputs, const struct envelope *envelope, const struct message *message) {
    struct repair_fold *fold = inputs->fold;
    bool open = message->type == MESSAGE_CART_CHECKOUT_REQUESTED || cart_shows_no_answer(inputs, envelope);
    if (inputs->carts_stand || (open && !is_answered(fold, envelope->id))) {
        inputs->carts_stand = true;
        return;
    }
    struct state_shard_input_list *list = &fold->at->now.inputs;
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i].topic, envelope->topic))
            list->items[i].next_offset = envelope->offset + 1;
    fold->at->count.decided++;
}

/* ---- the others ---- */

static bool moves_money(const struct message *message) {
    return message->type == MESSAGE_PAYMENT_CAPTURE_PAYMENT || message->type == MESSAGE_PAYMENT_VOID_PAYMENT ||
           message->type == MESSAGE_PAYMENT_REFUND_PAYMENT;
}

static bool authorizes(const struct message *message) {
    return message->type == MESSAGE_PAYMENT_AUTHORIZE_PAYMENT || message->type == MESSAGE_PAYMENT_SUBMIT_PAYMENT;
}

/* Only the log could tell that this was asked for before, and the call not made a second time. */
static bool check_key(const struct repair_fold *fold, const struct envelope *envelope, const struct message *message,
                      struct err *err) {
    if (!authorizes(message) || fold->repair->authorizations_checked ||
        envelope->timestamp_us > clock_now_us() - key_lives_us)
        return true;
    return err_set(
        err, ERR_CONFIG,
        "%.*s/%d offset %lld: the payment of order %.*s was to be authorised more than 20 hours ago, and the "
        "log does not say whether it was; the provider may have forgotten the key of the call. See there "
        "whether it holds money for this order and others as old, let it go, and give "
        "--authorizations-checked",
        STR_ARG(envelope->topic), envelope->partition, (long long)envelope->offset, STR_ARG(envelope->subject));
}

/* Moving money says nothing before there is an answer: the call is written down again with its own key and time, and so
 * it is made with the same key, or, after 20 hours, only looked up. */
static bool request_is_decided(struct repair_fold *fold, const struct envelope *envelope, const struct message *message,
                               bool *ret, struct err *err) {
    *ret = repair_probe(fold, envelope, message) && fold->emitted == 0;
    if (!*ret)
        return check_key(fold, envelope, message, err);
    if (!fold->call_id.ptr)
        return true;
    *ret = moves_money(message) && fold->call_row;
    return !*ret || repair_call_keep(fold, envelope, err);
}

/* What somebody is to be told of, and the log does not say that it was, is written down to be sent. */
static bool notice_is_decided(struct inputs *inputs, const struct envelope *envelope, const struct message *message,
                              bool *ret, struct err *err) {
    struct repair_fold *fold = inputs->fold;
    struct notice notice;
    *ret = !notice_of(message, &notice) ||
           map_get(&fold->repair->notices,
                   repair_notice_id(&inputs->arena, notice.order_id, notice.template, envelope->id));
    if (*ret)
        return true;
    *ret = repair_probe(fold, envelope, message) && fold->emitted == 0 && fold->call_id.ptr;
    return !*ret || repair_call_write(fold, fold->call_id, fold->call_key, envelope->command_id, envelope->traceparent,
                                      buf_str(&fold->call), envelope->timestamp_us, err);
}

static bool is_decided(struct inputs *inputs, const struct log_record *record, const struct envelope *envelope,
                       const struct message *message, bool *ret, struct err *err) {
    const struct fold_service *service = inputs->fold->at->service;
    if (service->decider == &notifier_decider)
        return notice_is_decided(inputs, envelope, message, ret, err);
    if (!fold_service_reads(service, schema_subject_find(record->topic)->name))
        return request_is_decided(inputs->fold, envelope, message, ret, err);
    *ret = !map_get(&inputs->open_orders, envelope->key);
    return true;
}

static bool origin_take(struct inputs *inputs, const struct log_record *record, const struct envelope *envelope,
                        const struct message *message, struct err *err) {
    struct repair_fold *fold = inputs->fold;
    struct state_shard *now = &fold->at->now;
    bool decided = false;
    if (envelope->origin_seq != repair_received(now, envelope->topic, envelope->origin) + 1)
        return true; /* read before the backup, or behind one that stays */
    if (!is_decided(inputs, record, envelope, message, &decided, err))
        return false;
    if (decided) {
        repair_received_set(fold->repair, now, envelope->topic, envelope->origin, envelope->origin_seq);
        fold->at->count.decided++;
    }
    return true;
}

static bool record_take(struct inputs *inputs, const struct log_record *record, struct err *err) {
    struct repair_fold *fold = inputs->fold;
    const struct decider *decider = fold->at->service->decider;
    struct envelope envelope;
    struct message message;
    struct err ignored = {0};
    arena_reset(&inputs->arena);
    if (!envelope_read(record, &envelope, &ignored) || !record->value.ptr ||
        !message_decode(schema_subject_find(record->topic), record->value, &inputs->arena, &message, &ignored) ||
        message.type == MESSAGE_UNKNOWN) {
        inputs->carts_stand |= !envelope.origin.ptr;
        return true; /* the decider sets it aside again, or halts before it */
    }
    if (envelope.origin.ptr)
        return origin_take(inputs, record, &envelope, &message, err);
    if (decider->reads_catalogue) {
        cart_take(inputs, &envelope, &message);
        return true;
    }
    if (!is_answered(fold, envelope.id))
        return check_key(fold, &envelope, &message, err);
    fold->at->count.decided++;
    return repair_command_keep(fold, envelope.id, envelope.body_hash, envelope.timestamp_us, err);
}

static bool ranges_read(struct inputs *inputs, const struct reader_range *ranges, size_t count, struct err *err) {
    const struct log_record *record = NULL;
    struct reader *reader;
    bool ok;
    if (!reader_open(inputs->fold->repair->log, ranges, count, &reader, err))
        return false;
    while ((ok = reader_next(reader, &record, err)) && record && (ok = record_take(inputs, record, err)))
        continue;
    reader_close(reader);
    return ok;
}

bool repair_inputs(struct repair_fold *fold, struct err *err) {
    const struct state_shard *was = &fold->at->was;
    struct inputs inputs = {.fold = fold};
    struct reader_range *ranges = arena_array(&fold->repair->arena, struct reader_range, was->inputs.count);
    bool ok = true;
    for (size_t i = 0; ok && i < was->inputs.count; i++) {
        int64_t low;
        ranges[i] =
            (struct reader_range){was->inputs.items[i].topic, fold->at->index, was->inputs.items[i].next_offset, 0};
        ok = log_watermarks(fold->repair->log, ranges[i].topic, ranges[i].partition, &low, &ranges[i].to, err);
        if (ok && low > ranges[i].from)
            ok = err_set(err, ERR_LOST_RECORDS, "%.*s/%d begins at offset %lld, and the backup stands at %lld",
                         STR_ARG(ranges[i].topic), ranges[i].partition, (long long)low, (long long)ranges[i].from);
    }
    arena_init(&inputs.arena);
    if (ok)
        open_orders_find(&inputs);
    ok = ok && ranges_read(&inputs, ranges, was->inputs.count, err);
    map_free(&inputs.open_orders, NULL);
    arena_free(&inputs.arena);
    return ok;
}
