#include "consumers/internal.h"

#include "core/codec/avro.h"

static void add_service(const struct batch *batch, struct pg_params *params) {
    pg_add_text(params, str_from(batch->loop->config.decider->service));
}

/* ---- loads ---- */

static bool adopt_row(struct batch *batch, struct batch_row *row, const struct pg_result *rows, int i,
                      struct err *err) {
    const struct decider_table *table = &batch->loop->config.decider->tables[row->table];
    struct str stored = arena_dup(&batch->arena, pg_get_str(rows, i, 3));
    void *state = arena_alloc(&batch->arena, table->size);
    if (!state_decode(schema_subject_find(str_from(table->subject)), stored, &batch->arena, state, err))
        return err_wrap(err, "decider.%s row %.*s", table->name, STR_ARG(row->row.key));
    row->row.state = state;
    row->version = pg_get_i64(rows, i, 1);
    row->closed = pg_get_bool(rows, i, 2);
    row->loaded = true;
    return true;
}

static bool load_table(struct batch *batch, int table, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_TEXT);
    int count = 0;
    for (size_t i = 0; i < batch->wanted_count; i++)
        if (batch->wanted[i]->table == table) {
            pg_array_str(&params, 0, batch->wanted[i]->row.key);
            count++;
        }
    if (!count)
        return true;
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(batch->loop->pg, batch->loop->sql.load[table], &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct batch_row *row = batch_row_find(batch, table, pg_get_str(rows, i, 0), false);
        if (row && !adopt_row(batch, row, rows, i, err))
            return false;
    }
    return true;
}

static bool load_open(struct batch *batch, int table, struct err *err) {
    for (int32_t s = 0; s < batch->loop->shard_count; s++) {
        if (batch->loop->shards[s].status != SHARD_RUNNING)
            continue;
        PG_PARAMS_AUTO params = {0};
        PG_RESULT_AUTO *rows = NULL;
        pg_add_i64(&params, s);
        if (!pg_exec(batch->loop->pg, batch->loop->sql.load_open[table], &params, &rows, err))
            return false;
        for (int i = 0; i < pg_rows(rows); i++) {
            struct batch_row *row = batch_row_find(batch, table, pg_get_str(rows, i, 0), true);
            row->shard = s;
            if (!row->loaded && !adopt_row(batch, row, rows, i, err))
                return false;
        }
    }
    batch->open_loaded[table] = true;
    return true;
}

bool batch_load(struct batch *batch, struct err *err) {
    for (int t = 0; t < (int)batch->loop->config.decider->table_count; t++) {
        if (!load_table(batch, t, err))
            return false;
        if (batch->want_open[t] && !batch->open_loaded[t] && !load_open(batch, t, err))
            return false;
    }
    return true;
}

/* An id in the table with the same body is a repetition: nothing more comes of it. With another body it is refused. */
static void settle_repeated(struct batch *batch, const struct pg_result *rows) {
    for (int r = 0; r < pg_rows(rows); r++)
        for (size_t i = 0; i < batch->item_count; i++) {
            struct item *item = &batch->items[i];
            if (!item->command || !str_eq(item->envelope.id, pg_get_str(rows, r, 0)))
                continue;
            item->repeated = str_eq(item->body_hash, pg_get_str(rows, r, 1)) ? ITEM_SAME : ITEM_OTHER_BODY;
        }
}

bool batch_load_commands(struct batch *batch, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_service(batch, &params);
    pg_add_array(&params, PG_TEXT);
    int count = 0;
    for (size_t i = 0; i < batch->item_count; i++)
        if (batch->items[i].command && batch->items[i].source == ITEM_RECORD) {
            pg_array_str(&params, 1, batch->items[i].envelope.id);
            count++;
        }
    if (!count)
        return true;
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(batch->loop->pg,
                 "SELECT command_id, body_hash FROM decider.command WHERE service = $1 AND command_id = ANY($2)",
                 &params, &rows, err))
        return false;
    settle_repeated(batch, rows);
    return true;
}

/* ---- the transaction ---- */

/* First of all: are these shards still ours, and as we left them? The rows that were loaded before this are of the
 * same version then, for nobody changes a shard's rows without raising it. */
static bool save_shards(struct batch *batch, struct err *err) {
    struct loop *loop = batch->loop;
    int64_t expected = 0;
    PG_PARAMS_AUTO params = {0};
    add_service(batch, &params);
    pg_add_text(&params, str_from(loop->owner));
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_BYTES);
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        if (!batch->touched[s])
            continue;
        int64_t done = publisher_done_through(loop->publisher, s);
        if (done > shard->done_saved)
            shard->done_saved = done;
        pg_array_i64(&params, 2, s);
        pg_array_i64(&params, 3, shard->epoch);
        pg_array_i64(&params, 4, shard->version);
        pg_array_i64(&params, 5, shard->done_saved);
        buf_reset(&batch->scratch);
        shard_encode(loop, shard, &batch->arena, &batch->scratch);
        pg_array_str(&params, 6, buf_str(&batch->scratch));
        expected++;
    }
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(loop->pg,
                 "UPDATE decider.shard s SET version = s.version + 1, done_through = u.done, state = u.state "
                 "FROM UNNEST($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[]) "
                 "AS u(shard, epoch, version, done, state) "
                 "WHERE s.service = $1 AND s.shard = u.shard AND s.epoch = u.epoch AND s.owner = $2 "
                 "AND s.version = u.version",
                 &params, &rows, err))
        return false;
    if (pg_affected(rows) != expected)
        return err_set(err, ERR_FENCED, "%lld of %lld shards were taken over by another owner",
                       (long long)(expected - pg_affected(rows)), (long long)expected);
    return true;
}

static int add_rows(struct batch *batch, int table, bool new_rows, struct pg_params *params) {
    const struct schema_subject *subject =
        schema_subject_find(str_from(batch->loop->config.decider->tables[table].subject));
    int count = 0;
    pg_add_array(params, PG_I64);
    pg_add_array(params, PG_TEXT);
    pg_add_array(params, PG_I64);
    pg_add_array(params, PG_I64);
    pg_add_array(params, PG_BOOL);
    pg_add_array(params, PG_BYTES);
    for (size_t i = 0; i < batch->row_count; i++) {
        struct batch_row *row = batch->in_order[i];
        if (!row->put || row->table != table || (row->version == 0) != new_rows)
            continue;
        buf_reset(&batch->scratch);
        state_encode(subject, row->row.state, &batch->scratch);
        pg_array_i64(params, 0, row->shard);
        pg_array_str(params, 1, row->row.key);
        pg_array_i64(params, 2, row->version + 1);
        pg_array_i64(params, 3, row->guard);
        pg_array_i64(params, 4, row->closed);
        pg_array_str(params, 5, buf_str(&batch->scratch));
        count++;
    }
    return count;
}

/* An update that misses a row would lose it: somebody has deleted it since it was loaded. */
static bool update_rows(struct batch *batch, int table, struct err *err) {
    PG_PARAMS_AUTO updates = {0};
    PG_RESULT_AUTO *rows = NULL;
    int count = add_rows(batch, table, false, &updates);
    if (!count)
        return true;
    if (!pg_exec(batch->loop->pg, batch->loop->sql.update[table], &updates, &rows, err))
        return false;
    return pg_affected(rows) == count ||
           err_set(err, ERR_FENCED, "decider.%s: %lld of %d rows are gone",
                   batch->loop->config.decider->tables[table].name, count - (long long)pg_affected(rows), count);
}

static bool save_table(struct batch *batch, int table, struct err *err) {
    PG_PARAMS_AUTO inserts = {0};
    return (!add_rows(batch, table, true, &inserts) ||
            pg_exec(batch->loop->pg, batch->loop->sql.insert[table], &inserts, NULL, err)) &&
           update_rows(batch, table, err);
}

static bool save_outboxes(struct batch *batch, struct err *err) {
    struct loop *loop = batch->loop;
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    add_service(batch, &params);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_BYTES);
    for (int32_t s = 0; s < loop->shard_count; s++) {
        if (!batch->outbox_records[s])
            continue;
        pg_array_i64(&params, 1, s);
        pg_array_i64(&params, 2, loop->shards[s].version + 1);
        pg_array_i64(&params, 3, batch->outbox_records[s]);
        pg_array_str(&params, 4, buf_str(&batch->outboxes[s]));
        count++;
    }
    return !count || pg_exec(loop->pg,
                             "INSERT INTO decider.outbox (service, shard, id, records, bytes) "
                             "SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])",
                             &params, NULL, err);
}

static bool save_commands(struct batch *batch, struct err *err) {
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    add_service(batch, &params);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct item *item = &batch->items[i];
        if (!item->command || item->source != ITEM_RECORD || item->repeated != ITEM_NEW)
            continue;
        pg_array_i64(&params, 1, item->shard->index);
        pg_array_str(&params, 2, item->envelope.id);
        pg_array_str(&params, 3, item->body_hash);
        count++;
    }
    return !count || pg_exec(batch->loop->pg,
                             "INSERT INTO decider.command (service, shard, command_id, body_hash) "
                             "SELECT $1, * FROM UNNEST($2::bigint[], $3::text[], $4::text[])",
                             &params, NULL, err);
}

static void add_timer(struct pg_params *params, int32_t shard, struct str key, struct str name) {
    pg_array_i64(params, 1, shard);
    pg_array_str(params, 2, key);
    pg_array_str(params, 3, name);
}

static bool save_timers(struct batch *batch, struct err *err) {
    int set = 0, gone = 0;
    PG_PARAMS_AUTO sets = {0};
    PG_PARAMS_AUTO deletes = {0};
    struct pg_params *both[] = {&sets, &deletes};
    for (int i = 0; i < 2; i++) {
        add_service(batch, both[i]);
        pg_add_array(both[i], PG_I64);
        pg_add_array(both[i], PG_TEXT);
        pg_add_array(both[i], PG_TEXT);
    }
    pg_add_array(&sets, PG_I64);
    for (const struct timer_op *op = batch->timers; op; op = op->next) {
        if (op->due_us >= 0) {
            add_timer(&sets, op->shard, op->key, op->name);
            pg_array_i64(&sets, 4, op->due_us);
            set++;
        } else {
            add_timer(&deletes, op->shard, op->key, op->name);
            gone++;
        }
    }
    return (!gone || pg_exec(batch->loop->pg,
                             "DELETE FROM decider.timer t USING UNNEST($2::bigint[], $3::text[], $4::text[]) "
                             "AS u(shard, key, name) "
                             "WHERE t.service = $1 AND t.shard = u.shard AND t.key = u.key AND t.name = u.name",
                             &deletes, NULL, err)) &&
           (!set || pg_exec(batch->loop->pg,
                            "INSERT INTO decider.timer (service, shard, key, name, due_us) "
                            "SELECT $1, * FROM UNNEST($2::bigint[], $3::text[], $4::text[], $5::bigint[]) "
                            "ON CONFLICT (service, shard, key, name) DO UPDATE SET due_us = EXCLUDED.due_us",
                            &sets, NULL, err));
}

static bool save_intents(struct batch *batch, struct err *err) {
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    add_service(batch, &params);
    pg_add_array(&params, PG_I64);
    for (int i = 0; i < 4; i++)
        pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_BYTES);
    pg_add_array(&params, PG_I64);
    for (const struct intent_op *op = batch->intents; op; op = op->next) {
        pg_array_i64(&params, 1, op->effect.shard);
        pg_array_str(&params, 2, op->effect.id);
        pg_array_str(&params, 3, op->effect.key);
        pg_array_str(&params, 4, op->effect.command_id);
        pg_array_str(&params, 5, op->effect.traceparent);
        pg_array_str(&params, 6, op->effect.request);
        pg_array_i64(&params, 7, op->effect.created_us);
        count++;
    }
    return !count ||
           pg_exec(batch->loop->pg,
                   "INSERT INTO decider.intent (service, shard, id, key, command_id, traceparent, request, created_us) "
                   "SELECT $1, * FROM "
                   "UNNEST($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bigint[]) "
                   "ON CONFLICT DO NOTHING",
                   &params, NULL, err);
}

/* An intent whose outcome was decided is gone; one whose outcome is not known stays, and is called again. */
static bool delete_answered_intents(struct batch *batch, struct err *err) {
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    add_service(batch, &params);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct item *item = &batch->items[i];
        if (item->source != ITEM_RESULT || item->open_outcome)
            continue;
        pg_array_i64(&params, 1, item->shard->index);
        pg_array_str(&params, 2, item->result->effect.id);
        count++;
    }
    return !count || pg_exec(batch->loop->pg,
                             "DELETE FROM decider.intent i USING UNNEST($2::bigint[], $3::text[]) AS u(shard, id) "
                             "WHERE i.service = $1 AND i.shard = u.shard AND i.id = u.id",
                             &params, NULL, err);
}

static bool save_all(struct batch *batch, struct err *err) {
    if (!save_shards(batch, err))
        return false;
    for (int t = 0; t < (int)batch->loop->config.decider->table_count; t++)
        if (!save_table(batch, t, err))
            return false;
    return save_outboxes(batch, err) && save_commands(batch, err) && save_timers(batch, err) &&
           delete_answered_intents(batch, err) && operators_save(batch, err) && save_intents(batch, err) &&
           batch_save_parked(batch, err);
}

bool batch_save(struct batch *batch, struct err *err) {
    struct loop *loop = batch->loop;
    if (!pg_begin(loop->pg, err))
        return false;
    if (!save_all(batch, err)) {
        pg_rollback(loop->pg);
        return false;
    }
    if (!pg_commit(loop->pg, err))
        return false;
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (batch->touched[s]) {
            loop->shards[s].version++;
            loop->shards[s].retry_delay_us = 0;
        }
    return true;
}
