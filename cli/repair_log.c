#include "cli/repair.h"

#include "core/codec/avro.h"
#include "core/log/envelope.h"

#include <stdlib.h>

int64_t repair_received(const struct state_shard *state, struct str topic, struct str origin) {
    for (size_t i = 0; i < state->received.count; i++)
        if (str_eq(state->received.items[i].topic, topic) && str_eq(state->received.items[i].origin, origin))
            return state->received.items[i].last_seq;
    return 0;
}

void repair_received_set(struct repair *repair, struct state_shard *state, struct str topic, struct str origin,
                         int64_t seq) {
    struct state_shard_origin_list *list = &state->received;
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i].topic, topic) && str_eq(list->items[i].origin, origin)) {
            list->items[i].last_seq = seq;
            return;
        }
    struct state_shard_origin *items = arena_array(&repair->arena, struct state_shard_origin, list->count + 1);
    if (list->count)
        memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] =
        (struct state_shard_origin){arena_dup(&repair->arena, topic), arena_dup(&repair->arena, origin), seq};
    *list = (struct state_shard_origin_list){items, list->count + 1};
}

static struct state_shard_output *output_find(const struct state_shard *state, struct str topic, int32_t partition) {
    for (size_t i = 0; i < state->produced.count; i++)
        if (state->produced.items[i].partition == partition && str_eq(state->produced.items[i].topic, topic))
            return &state->produced.items[i];
    return NULL;
}

static struct state_shard_output *output_make(struct repair *repair, struct state_shard *state, struct str topic,
                                              int32_t partition) {
    struct state_shard_output *known = output_find(state, topic, partition);
    struct state_shard_output_list *list = &state->produced;
    if (known)
        return known;
    struct state_shard_output *items = arena_array(&repair->arena, struct state_shard_output, list->count + 1);
    if (list->count)
        memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] = (struct state_shard_output){arena_dup(&repair->arena, topic), partition, 0, -1};
    *list = (struct state_shard_output_list){items, list->count + 1};
    return &items[list->count - 1];
}

/* ---- payments ---- */

static void method_keep(struct repair *repair, struct str by, struct str method) {
    struct str *kept = arena_new(&repair->arena, struct str);
    *kept = arena_dup(&repair->arena, method);
    *map_put(&repair->methods, by) = kept;
}

static void request_keep(struct repair *repair, const struct envelope *envelope, const struct payment_requested *m) {
    struct repair_request *kept = arena_new(&repair->arena, struct repair_request);
    struct arena *arena = &repair->arena;
    *kept = (struct repair_request){.time_us = envelope->timestamp_us,
                                    .attempt = m->attempt,
                                    .command_id = arena_dup(arena, envelope->command_id),
                                    .traceparent = arena_dup(arena, envelope->traceparent),
                                    .key = arena_dup(arena, m->idempotency_key),
                                    .payment_id = arena_dup(arena, m->payment_id),
                                    .amount = {m->amount.minor, arena_dup(arena, m->amount.currency)}};
    *map_put(&repair->requested, m->order_id) = kept;
}

/* What a call that was made since the backup was made with. */
static void payment_take(struct repair *repair, const struct log_record *record, const struct envelope *envelope,
                         struct arena *arena) {
    struct message message;
    struct err ignored = {0};
    bool events = str_eq(envelope->topic, STR(TOPIC_PAYMENT_EVENTS));
    if (!events && !str_eq(envelope->topic, STR(TOPIC_PAYMENT_REQUESTS)))
        return;
    arena_reset(arena);
    if (!record->value.ptr ||
        !message_decode(schema_subject_find(envelope->topic), record->value, arena, &message, &ignored))
        return; /* it is for the fold to complain of */
    if (message.type == MESSAGE_PAYMENT_REQUESTED)
        request_keep(repair, envelope, &message.payment_requested);
    else if (message.type == MESSAGE_PAYMENT_AUTHORIZE_PAYMENT)
        method_keep(repair, message.payment_authorize_payment.order_id,
                    message.payment_authorize_payment.payment_method);
    else if (message.type == MESSAGE_PAYMENT_SUBMIT_PAYMENT)
        method_keep(repair, envelope->id, message.payment_submit_payment.payment_method);
}

/* ---- messages to shoppers ---- */

struct str repair_notice_id(struct arena *arena, struct str order_id, struct str template, struct str cause) {
    return arena_printf(arena, "%.*s/%.*s/%.*s", STR_ARG(order_id), STR_ARG(template), STR_ARG(cause));
}

static bool notice_outcome(const struct message *message, struct arena *arena, struct str *ret_id,
                           struct repair_notice *ret) {
    const struct notification_sent *sent = &message->notification_sent;
    const struct notification_suppressed *suppressed = &message->notification_suppressed;
    const struct notification_failed *failed = &message->notification_failed;
    switch (message->type) {
    case MESSAGE_NOTIFICATION_SENT:
        *ret = (struct repair_notice){.outcome = "sent", .reason = STR("")};
        *ret_id = repair_notice_id(arena, sent->order_id, sent->template, sent->cause);
        return true;
    case MESSAGE_NOTIFICATION_SUPPRESSED:
        *ret = (struct repair_notice){.outcome = "suppressed", .reason = suppressed->reason};
        *ret_id = repair_notice_id(arena, suppressed->order_id, suppressed->template, suppressed->cause);
        return true;
    case MESSAGE_NOTIFICATION_FAILED:
        *ret = (struct repair_notice){.outcome = "failed", .reason = failed->reason};
        *ret_id = repair_notice_id(arena, failed->order_id, failed->template, failed->cause);
        return true;
    default:
        return false;
    }
}

static void notice_take(struct repair *repair, const struct log_record *record, const struct envelope *envelope,
                        struct arena *arena) {
    struct message message;
    struct err ignored = {0};
    struct str id;
    struct repair_notice notice;
    if (!str_eq(envelope->topic, STR(TOPIC_NOTIFICATION_EVENTS)))
        return;
    arena_reset(arena);
    if (!record->value.ptr ||
        !message_decode(schema_subject_find(envelope->topic), record->value, arena, &message, &ignored) ||
        !notice_outcome(&message, arena, &id, &notice))
        return;
    struct repair_notice *kept = arena_new(&repair->arena, struct repair_notice);
    *kept = (struct repair_notice){notice.outcome, arena_dup(&repair->arena, notice.reason), envelope->timestamp_us};
    *map_put(&repair->notices, id) = kept;
}

/* ---- numbers ---- */

static void record_take(struct repair *repair, const struct log_record *record, struct arena *arena) {
    struct envelope envelope;
    struct err ignored = {0};
    bool readable = envelope_read(record, &envelope, &ignored);
    if (readable)
        payment_take(repair, record, &envelope, arena);
    struct repair_shard *shard = readable && envelope.origin.ptr ? map_get(&repair->origins, envelope.origin) : NULL;
    if (!shard || envelope.origin_seq < 1)
        return;
    const struct state_shard_output *was = output_find(&shard->was, envelope.topic, envelope.partition);
    struct state_shard_output *now = output_make(repair, &shard->now, envelope.topic, envelope.partition);
    if (envelope.origin_seq > now->last_seq) {
        shard->count.ahead += envelope.origin_seq - now->last_seq;
        now->last_seq = envelope.origin_seq;
    }
    if (envelope.offset > now->acknowledged_offset)
        now->acknowledged_offset = envelope.offset;
    if (was && envelope.offset <= was->acknowledged_offset)
        return;
    if (envelope.command_id.len)
        *map_put(&shard->answered, envelope.command_id) = shard;
    notice_take(repair, record, &envelope, arena);
}

static bool tail_is_there(struct repair *repair, const struct repair_shard *shard, struct err *err) {
    for (size_t i = 0; i < shard->was.produced.count; i++) {
        const struct state_shard_output *output = &shard->was.produced.items[i];
        int64_t low, high;
        if (!log_watermarks(repair->log, output->topic, output->partition, &low, &high, err))
            return false;
        if (high <= output->acknowledged_offset)
            return err_set(err, ERR_LOST_RECORDS,
                           "%.*s/%d ends at %lld, but offset %lld was acknowledged to %s: it is the log that has lost "
                           "records, or is another one",
                           STR_ARG(output->topic), output->partition, (long long)high,
                           (long long)output->acknowledged_offset, shard->origin);
    }
    return true;
}

bool repair_log_scan(struct repair *repair, struct err *err) {
    struct reader_range *ranges;
    const struct log_record *record = NULL;
    struct reader *reader;
    struct arena arena;
    size_t count;
    for (size_t i = 0; i < repair->shard_count; i++)
        if (!tail_is_there(repair, &repair->shards[i], err))
            return false;
    if (!reader_ranges(repair->log, NULL, 0, &ranges, &count, err))
        return false;
    bool ok = reader_open(repair->log, ranges, count, &reader, err);
    free(ranges);
    if (!ok)
        return false;
    arena_init(&arena);
    while ((ok = reader_next(reader, &record, err)) && record)
        record_take(repair, record, &arena);
    arena_free(&arena);
    reader_close(reader);
    for (size_t i = 0; i < repair->shard_count; i++)
        repair->ahead += repair->shards[i].count.ahead;
    return ok;
}
