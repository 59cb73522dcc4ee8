#include "consumers/batch.h"

#include "core/codec/avro.h"

/* The shard of this loop that reads this partition; NULL: none, or not now. */
static struct shard *receiver_of(struct loop *loop, const struct log_record *record, size_t *ret_input) {
    for (size_t i = 0; i < loop->service_count; i++) {
        struct service *service = &loop->services[i];
        for (size_t t = 0; t < service->decider->input_count; t++) {
            if (!str_eq(service->inputs[t].name, record->topic) || record->partition >= service->shard_count)
                continue;
            struct shard *shard = &service->shards[record->partition];
            *ret_input = t;
            return shard->status == SHARD_RUNNING ? shard : NULL; /* a topic of numbered records has one reader */
        }
    }
    return NULL;
}

static void read_envelope(struct batch *batch, const struct log_record *record, struct envelope *envelope) {
    struct log_record *copy = arena_new(&batch->arena, struct log_record);
    struct log_header *headers = arena_array(&batch->arena, struct log_header, record->header_count);
    *copy = *record;
    copy->key = arena_dup(&batch->arena, record->key);
    copy->headers = headers;
    copy->timestamp_us = batch->now_us;
    copy->offset = -1;
    for (size_t i = 0; i < record->header_count; i++)
        headers[i] = (struct log_header){record->headers[i].name, arena_dup(&batch->arena, record->headers[i].value)};
    struct err err = {0};
    if (!envelope_read(copy, envelope, &err) && !batch->failure.kind)
        batch->failure = err; /* headers that this program wrote itself */
}

void batch_hand_over(struct batch *batch, const struct log_record *record, int64_t number) {
    struct loop *loop = batch->loop;
    struct envelope envelope;
    size_t input;
    struct shard *shard = loop->isolate || loop->unfused ? NULL : receiver_of(loop, record, &input);
    if (!shard)
        return;
    read_envelope(batch, record, &envelope);
    if (shard_is_parked(shard, envelope.subject))
        return;
    if (shard_last_seq(shard, envelope.topic, envelope.origin) != number - 1) {
        batch->left_to_log = true;
        return;
    }
    struct item *item = batch_add_item(batch);
    *item = (struct item){.source = ITEM_HANDED, .shard = shard, .input_topic = input, .envelope = envelope};
    item->input.kind = INPUT_RECORD;
    struct str value = arena_dup(&batch->arena, record->value);
    if (!message_decode(schema_subject_find(record->topic), value, &batch->arena, &item->message, &batch->failure))
        return;
    shard_set_last_seq(shard, envelope.topic, envelope.origin, number);
    batch->touched[shard->slot] = true; /* from here on: should the batch fail, this must be forgotten, too */
    metrics_add(loop->metrics.handed, 1);
}
