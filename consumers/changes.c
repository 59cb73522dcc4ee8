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

/* ---- on take-over ---- */

struct replay {
    struct loop *loop;
    const struct shard *shard;
    struct cache rows;
    struct late late;
};

static bool replay_row(struct replay *replay, const struct state_changed_row *row, struct err *err) {
    const struct service *service = replay->shard->service;
    for (int t = 0; t < (int)service->decider->table_count; t++) {
        int table = service->first_table + t;
        if (!str_eq(row->table, str_from(service->decider->tables[t].name)))
            continue;
        struct cache_row kept = {.hash = cache_hash(table, row->key),
                                 .table = table,
                                 .slot = replay->shard->slot,
                                 .key = row->key,
                                 .version = row->version,
                                 .guard = row->guard,
                                 .closed = row->closed,
                                 .dirty = true};
        cache_put(&replay->rows, &kept, row->state);
        return true;
    }
    return err_set(err, ERR_UNKNOWN_SCHEMA, "the outbox has a change of a table %.*s, which this program does not know",
                   STR_ARG(row->table));
}

static bool replay_changes(struct replay *replay, struct str bytes, struct arena *arena, struct err *err) {
    struct state_changes changes = {0};
    int32_t slot = replay->shard->slot;
    if (!state_decode(schema_subject_find(STR("state/changes")), bytes, arena, &changes, err))
        return err_wrap(err, "what a batch changed");
    for (size_t i = 0; i < changes.rows.count; i++)
        if (!replay_row(replay, &changes.rows.items[i], err))
            return false;
    for (size_t i = 0; i < changes.timers.count; i++)
        late_timer_set(&replay->late, slot, changes.timers.items[i].key, changes.timers.items[i].name,
                       changes.timers.items[i].due_us);
    for (size_t i = 0; i < changes.intents.count; i++) {
        const struct state_changed_intent *intent = &changes.intents.items[i];
        late_intent_set(&replay->late, &(struct effect){.shard = slot,
                                                        .id = intent->id,
                                                        .key = intent->key,
                                                        .command_id = intent->command_id,
                                                        .traceparent = intent->traceparent,
                                                        .request = intent->request,
                                                        .created_us = intent->created_us});
    }
    for (size_t i = 0; i < changes.answered.count; i++)
        late_intent_answered(&replay->late, slot, changes.answered.items[i]);
    return true;
}

static bool replay_rows(struct replay *replay, const struct pg_result *rows, struct err *err) {
    struct arena arena;
    bool ok = true;
    arena_init(&arena);
    for (int i = 0; ok && i < pg_rows(rows); i++) {
        ok = replay_changes(replay, pg_get_str(rows, i, 0), &arena, err);
        arena_reset(&arena);
    }
    arena_free(&arena);
    return ok;
}

bool shard_replay_changes(struct loop *loop, struct shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(shard->service->decider->service));
    pg_add_i64(&params, shard->index);
    pg_add_i64(&params, shard->flushed_through);
    if (!pg_exec(loop->pg,
                 "SELECT changes FROM decider.outbox WHERE service = $1 AND shard = $2::bigint AND id > $3 "
                 "AND changes IS NOT NULL ORDER BY id",
                 &params, &rows, err))
        return false;
    if (!pg_rows(rows)) {
        shard->flushed_through = shard->version;
        return true;
    }
    struct replay replay = {.loop = loop, .shard = shard};
    bool ok = replay_rows(&replay, rows, err);
    if (ok) {
        late_send_rows(loop, loop->pg, cache_begin_flush(&replay.rows), WRITE_ANY);
        late_send(loop, loop->pg, &replay.late);
        ok = pg_sync(loop->pg, err);
    }
    cache_free(&replay.rows);
    late_free(&replay.late);
    shard->flushed_through = shard->version;
    return ok;
}
