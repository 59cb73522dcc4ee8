#include "consumers/batch.h"
#include "consumers/flush.h"
#include "consumers/late.h"
#include "core/codec/avro.h"

/* ---- of a batch ---- */

static size_t count_timers(const struct batch *batch, int32_t slot) {
    size_t count = 0;
    for (const struct timer_op *op = batch->timers; op; op = op->next)
        count += op->slot == slot;
    return count;
}

static size_t count_intents(const struct batch *batch, int32_t slot) {
    size_t count = 0;
    for (const struct intent_op *op = batch->intents; op; op = op->next)
        count += op->effect.shard == slot;
    return count;
}

static bool is_answered(const struct item *item) {
    return item->source == ITEM_RESULT && !item->open_outcome;
}

static void add_timers(struct batch *batch, int32_t slot, struct state_changes *changes) {
    changes->timers.items = arena_array(&batch->arena, struct state_changed_timer, count_timers(batch, slot));
    for (const struct timer_op *op = batch->timers; op; op = op->next)
        if (op->slot == slot)
            changes->timers.items[changes->timers.count++] =
                (struct state_changed_timer){op->key, op->name, op->due_us};
}

static void add_intents(struct batch *batch, int32_t slot, struct state_changes *changes) {
    changes->intents.items = arena_array(&batch->arena, struct state_changed_intent, count_intents(batch, slot));
    for (const struct intent_op *op = batch->intents; op; op = op->next)
        if (op->effect.shard == slot)
            changes->intents.items[changes->intents.count++] =
                (struct state_changed_intent){.id = op->effect.id,
                                              .key = op->effect.key,
                                              .command_id = op->effect.command_id,
                                              .traceparent = op->effect.traceparent,
                                              .request = op->effect.request,
                                              .created_us = op->effect.created_us};
}

static void add_answered(struct batch *batch, int32_t slot, struct state_changes *changes) {
    size_t count = 0;
    for (size_t i = 0; i < batch->item_count; i++)
        count += batch->items[i]->shard->slot == slot && is_answered(batch->items[i]);
    changes->answered.items = arena_array(&batch->arena, struct str, count);
    for (size_t i = 0; i < batch->item_count; i++)
        if (batch->items[i]->shard->slot == slot && is_answered(batch->items[i]))
            changes->answered.items[changes->answered.count++] = batch->items[i]->result->effect.id;
}

/* The table's own check would come too late: by then the decision is in the log. */
static bool encode_row(struct batch *batch, struct batch_row *row, struct err *err) {
    const struct table *table = &batch->loop->tables[row->table];
    if (row->guard < 0)
        return err_set(err, ERR_INTERNAL, "the guard of decider.%s row %.*s would be %lld", table->spec->name,
                       STR_ARG(row->row.key), (long long)row->guard);
    buf_reset(&batch->scratch);
    state_encode(table->subject, row->row.state, &batch->scratch);
    row->image = arena_dup(&batch->arena, buf_str(&batch->scratch));
    return true;
}

static bool add_rows(struct batch *batch, int32_t slot, struct state_changes *changes, struct err *err) {
    size_t count = 0;
    for (size_t i = 0; i < batch->row_count; i++)
        count += batch->in_order[i]->put && batch->in_order[i]->slot == slot;
    changes->rows.items = arena_array(&batch->arena, struct state_changed_row, count);
    for (size_t i = 0; i < batch->row_count; i++) {
        struct batch_row *row = batch->in_order[i];
        if (!row->put || row->slot != slot)
            continue;
        if (!encode_row(batch, row, err))
            return false;
        changes->rows.items[changes->rows.count++] =
            (struct state_changed_row){.table = str_from(batch->loop->tables[row->table].spec->name),
                                       .key = row->row.key,
                                       .version = row->version + 1,
                                       .guard = row->guard,
                                       .closed = row->closed,
                                       .state = row->image};
    }
    return true;
}

bool batch_encode_changes(struct batch *batch, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(STR("state/changes"));
    for (int32_t s = 0; s < batch->loop->shard_count; s++) {
        struct state_changes changes = {0};
        if (!batch->touched[s])
            continue;
        if (!add_rows(batch, s, &changes, err))
            return false;
        add_timers(batch, s, &changes);
        add_intents(batch, s, &changes);
        add_answered(batch, s, &changes);
        if (changes.rows.count || changes.timers.count || changes.intents.count || changes.answered.count)
            state_encode(subject, &changes, &batch->changes[s]);
    }
    return true;
}

void batch_keep_changes(struct batch *batch) {
    struct loop *loop = batch->loop;
    for (size_t i = 0; i < batch->row_count; i++) {
        const struct batch_row *row = batch->in_order[i];
        if (!row->put)
            continue;
        struct cache_row kept = {.hash = row->hash,
                                 .table = row->table,
                                 .slot = row->slot,
                                 .key = row->row.key,
                                 .version = row->version + 1,
                                 .guard = row->guard,
                                 .closed = row->closed,
                                 .stored = row->stored,
                                 .dirty = true};
        cache_put(&loop->cache, &kept, row->image);
    }
    for (const struct timer_op *op = batch->timers; op; op = op->next)
        flush_timer(loop->flush, op->slot, op->key, op->name, op->due_us);
    for (const struct intent_op *op = batch->intents; op; op = op->next)
        flush_intent(loop->flush, &op->effect);
    for (size_t i = 0; i < batch->item_count; i++)
        if (is_answered(batch->items[i]))
            flush_answered(loop->flush, batch->items[i]->shard->slot, batch->items[i]->result->effect.id);
}
