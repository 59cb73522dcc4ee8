#include "consumers/batch.h"
#include "consumers/flush.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/codec/avro.h"

static const int64_t idle_save_every_us = 250 * 1000;

/* ---- loads ---- */

static bool adopt_state(struct batch *batch, struct batch_row *row, struct str bytes, struct err *err) {
    const struct table *table = &batch->loop->tables[row->table];
    void *state = arena_alloc(&batch->arena, table->spec->size);
    if (!state_decode(table->subject, arena_dup(&batch->arena, bytes), &batch->arena, state, err)) {
        batch->damaged = &batch->loop->shards[row->slot];
        return err_wrap(err, "decider.%s row %.*s", table->spec->name, STR_ARG(row->row.key));
    }
    row->row.state = state;
    row->loaded = true;
    return true;
}

static bool adopt_cached(struct batch *batch, struct batch_row *row, const struct cache_row *cached, struct err *err) {
    row->version = cached->version;
    row->closed = cached->closed;
    row->stored = cached->stored;
    return adopt_state(batch, row, (struct str){cached->state, cached->state_len}, err);
}

/* A row of the table, which goes into the cache as well. */
static bool adopt_row(struct batch *batch, struct batch_row *row, const struct pg_result *rows, int i,
                      struct err *err) {
    struct str bytes = pg_get_str(rows, i, 3);
    struct cache_row kept = {.hash = row->hash,
                             .table = row->table,
                             .slot = row->slot,
                             .key = row->row.key,
                             .version = pg_get_i64(rows, i, 1),
                             .closed = pg_get_bool(rows, i, 2),
                             .stored = true};
    row->version = kept.version;
    row->closed = kept.closed;
    row->stored = true;
    if (!adopt_state(batch, row, bytes, err))
        return false;
    cache_put(&batch->loop->cache, &kept, bytes);
    return true;
}

/* From memory, and from the table what is not there. */
static bool load_table(struct batch *batch, int table, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_TEXT);
    int count = 0;
    for (size_t i = 0; i < batch->wanted_count; i++) {
        struct batch_row *row = batch->wanted[i];
        if (row->table != table)
            continue;
        const struct cache_row *cached = cache_find(&batch->loop->cache, table, row->row.key, row->hash);
        if (cached && !adopt_cached(batch, row, cached, err))
            return false;
        if (cached)
            continue;
        pg_array_str(&params, 0, row->row.key);
        count++;
    }
    if (!count)
        return true;
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(batch->loop->pg, batch->loop->tables[table].load, &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct batch_row *row = batch_row_find(batch, table, pg_get_str(rows, i, 0), false);
        if (row && !adopt_row(batch, row, rows, i, err))
            return false;
    }
    return true;
}

static bool load_open_shard(struct batch *batch, int table, const struct shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_i64(&params, shard->index);
    if (!pg_exec(batch->loop->pg, batch->loop->tables[table].load_open, &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct batch_row *row = batch_row_find(batch, table, pg_get_str(rows, i, 0), true);
        row->slot = shard->slot;
        if (row->loaded)
            continue;
        const struct cache_row *cached = cache_find(&batch->loop->cache, table, row->row.key, row->hash);
        if (!(cached ? adopt_cached(batch, row, cached, err) : adopt_row(batch, row, rows, i, err)))
            return false;
    }
    return true;
}

/* The table must have what was committed first: it alone knows all rows. */
static bool load_open(struct batch *batch, int table, struct err *err) {
    const struct service *service = batch->loop->tables[table].service;
    if (!flush_now(batch->loop->flush, err))
        return false;
    for (int32_t s = 0; s < service->shard_count; s++)
        if (service->shards[s].status == SHARD_RUNNING && !load_open_shard(batch, table, &service->shards[s], err))
            return false;
    batch->open_loaded[table] = true;
    return true;
}

bool batch_load(struct batch *batch, struct err *err) {
    for (int t = 0; t < batch->loop->table_count; t++) {
        if (batch->wanted_count && !load_table(batch, t, err))
            return false;
        if (batch->want_open[t] && !batch->open_loaded[t] && !load_open(batch, t, err))
            return false;
    }
    return true;
}

/* ---- commands ---- */

/* An id in the table with the same body is a repetition: nothing more comes of it. With another body it is refused. */
static void settle_repeated(struct batch *batch, const struct service *service, const struct pg_result *rows) {
    for (int r = 0; r < pg_rows(rows); r++)
        for (size_t i = 0; i < batch->item_count; i++) {
            struct item *item = batch->items[i];
            if (!item->command || item->shard->service != service || !str_eq(item->envelope.id, pg_get_str(rows, r, 0)))
                continue;
            item->repeated = str_eq(item->body_hash, pg_get_str(rows, r, 1)) ? ITEM_SAME : ITEM_OTHER_BODY;
        }
}

static bool load_commands(struct batch *batch, const struct service *service, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, str_from(service->decider->service));
    pg_add_array(&params, PG_TEXT);
    int count = 0;
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct item *item = batch->items[i];
        if (!item->command || item->source != ITEM_RECORD || item->shard->service != service)
            continue;
        pg_array_str(&params, 1, item->envelope.id);
        count++;
    }
    if (!count)
        return true;
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(batch->loop->pg,
                 "SELECT command_id, body_hash FROM decider.command WHERE service = $1 AND command_id = ANY($2)",
                 &params, &rows, err))
        return false;
    settle_repeated(batch, service, rows);
    return true;
}

bool batch_load_commands(struct batch *batch, struct err *err) {
    for (size_t i = 0; i < batch->loop->service_count; i++)
        if (batch->loop->services[i].decider->remembers_commands &&
            !load_commands(batch, &batch->loop->services[i], err))
            return false;
    return true;
}

/* ---- the transaction ---- */

static void add_place(struct pg_params *params, const struct shard *shard) {
    pg_array_str(params, 0, str_from(shard->service->decider->service));
    pg_array_i64(params, 1, shard->index);
}

static void start_places(struct pg_params *params) {
    pg_add_array(params, PG_TEXT);
    pg_add_array(params, PG_I64);
}

/* What the row will say: nothing is late once nothing is changed. */
static int64_t flushed_after(const struct batch *batch, const struct shard *shard, int64_t raise) {
    bool clean = shard->flushed_through == shard->version && !batch->changes[shard->slot].len;
    return clean ? shard->version + raise : shard->flushed_through;
}

/* First of all: are these shards still ours, and as we left them? The rows that were loaded before this are of the
 * same version then, for nobody changes a shard's rows without raising it. */
static void send_shards(struct batch *batch, int64_t raise) {
    struct loop *loop = batch->loop;
    int64_t expected = 0;
    PG_PARAMS_AUTO params = {0};
    start_places(&params);
    for (int i = 0; i < 4; i++)
        pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_BYTES);
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        if (!batch->touched[s])
            continue;
        int64_t done = publisher_done_through(loop->publisher, s);
        if (done > shard->done_saved)
            shard->done_saved = done;
        add_place(&params, shard);
        pg_array_i64(&params, 2, shard->epoch);
        pg_array_i64(&params, 3, shard->version);
        pg_array_i64(&params, 4, shard->done_saved);
        shard->flushed_saved = flushed_after(batch, shard, raise);
        pg_array_i64(&params, 5, shard->flushed_saved);
        buf_reset(&batch->scratch);
        shard_encode(loop, shard, &batch->arena, &batch->scratch);
        pg_array_str(&params, 6, buf_str(&batch->scratch));
        expected++;
    }
    pg_add_text(&params, str_from(loop->owner));
    pg_add_i64(&params, raise);
    pg_add_i64(&params, expected);
    pg_send(
        loop->pg,
        "WITH moved AS (UPDATE decider.shard s SET version = s.version + $9, done_through = u.done, "
        "flushed_through = u.flushed, state = u.state "
        "FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[]) "
        "AS u(service, shard, epoch, version, done, flushed, state) "
        "WHERE s.service = u.service AND s.shard = u.shard AND s.epoch = u.epoch AND s.owner = $8 "
        "AND s.version = u.version RETURNING 1) SELECT decider.require((SELECT count(*) FROM moved), $10)",
        &params);
}

static void send_outboxes(struct batch *batch) {
    struct loop *loop = batch->loop;
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    start_places(&params);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_BYTES);
    pg_add_array(&params, PG_BYTES);
    for (int32_t s = 0; s < loop->shard_count; s++) {
        if (!batch->outbox_records[s] && !batch->changes[s].len)
            continue;
        add_place(&params, &loop->shards[s]);
        pg_array_i64(&params, 2, loop->shards[s].version + 1);
        pg_array_i64(&params, 3, batch->outbox_records[s]);
        pg_array_str(&params, 4, buf_str(&batch->outboxes[s]));
        pg_array_str(&params, 5, batch->changes[s].len ? buf_str(&batch->changes[s]) : STR_NULL);
        count++;
    }
    if (count)
        pg_send(loop->pg,
                "INSERT INTO decider.outbox (service, shard, id, records, bytes, changes) "
                "SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])",
                &params);
}

static void send_commands(struct batch *batch) {
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    start_places(&params);
    pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct item *item = batch->items[i];
        if (!item->command || item->source != ITEM_RECORD || item->repeated != ITEM_NEW)
            continue;
        add_place(&params, item->shard);
        pg_array_str(&params, 2, item->envelope.id);
        pg_array_str(&params, 3, item->body_hash);
        count++;
    }
    if (count)
        pg_send(batch->loop->pg,
                "INSERT INTO decider.command (service, shard, command_id, body_hash) "
                "SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[])",
                &params);
}

bool batch_save(struct batch *batch, struct err *err) {
    struct loop *loop = batch->loop;
    if (flush_is_broken(loop->flush, err) || !batch_encode_changes(batch, err) || !operators_prepare(batch, err))
        return false;
    send_shards(batch, 1);
    send_outboxes(batch);
    send_commands(batch);
    operators_send(batch);
    batch_send_parked(batch);
    if (!pg_sync(loop->pg, err))
        return false;
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        if (!batch->touched[s])
            continue;
        shard->flushed_through = flushed_after(batch, shard, 1);
        shard->version++;
        shard->moved = false;
        shard->retry_delay_us = 0;
    }
    batch_keep_changes(batch);
    return true;
}

/* ---- without a batch ---- */

/* A halted one publishes what it had decided. */
static bool is_ours(const struct shard *shard) {
    return shard->status == SHARD_RUNNING || (shard->status == SHARD_HALTED && shard->epoch);
}

static bool has_news(const struct shard *shard) {
    return shard->moved || shard->flushed_through > shard->flushed_saved ||
           publisher_done_through(shard->service->loop->publisher, shard->slot) > shard->done_saved;
}

void loop_save_idle(struct loop *loop, struct batch *batch) {
    struct err err = {0};
    bool any = false;
    if (clock_monotonic_us() < loop->idle_save_at_us || !loop->pg || !pg_connected(loop->pg))
        return;
    loop->idle_save_at_us = clock_monotonic_us() + idle_save_every_us;
    for (int32_t s = 0; s < loop->shard_count; s++)
        any |= batch->touched[s] = is_ours(&loop->shards[s]) && has_news(&loop->shards[s]);
    if (any) {
        send_shards(batch, 0);
        if (!pg_sync(loop->pg, &err))
            logging_err(&err, "loop.idle_save_failed", "service=%s", loop->services[0].decider->service);
    }
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (batch->touched[s] && err.kind)
            shard_retry(loop, &loop->shards[s], &err);
        else if (batch->touched[s])
            loop->shards[s].moved = false;
    batch_reset(batch);
}
