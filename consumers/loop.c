#include "consumers/internal.h"
#include "core/base/clock.h"
#include "core/base/logging.h"

enum {
    LOOP_WAIT_MS = 1000,
    LOOP_BUSY_WAIT_MS = 5, /* while the log is behind, or PostgreSQL away */
    LOOP_ISOLATED_BATCHES = 2 * LOOP_BATCH_MAX,
};

static const int64_t second_us = 1000 * 1000;

/* A decider's session: commits are durable; a frozen owner's locks are freed; plans made on empty tables must not scan
 * them when they are full. */
static const char session_settings[] = "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '2s'; "
                                       "SET statement_timeout = '20s'; SET enable_seqscan = off; SET jit = off; "
                                       "SET application_name = 'orderlog-decider'";

/* ---- failures ---- */

static bool must_halt(enum err_kind kind) {
    return kind == ERR_LOST_RECORDS || kind == ERR_UNKNOWN_SCHEMA || kind == ERR_CORRUPT;
}

/* A batch that PostgreSQL refuses, or that is a decider's bug, would fail each time: the record that is to blame is
 * looked for by deciding one at a time, and parked when it fails alone. */
static void look_for_culprit(struct loop *loop, const struct batch *batch) {
    const struct item *first = batch->item_count ? &batch->items[0] : NULL;
    bool alone = batch->item_count == 1;
    if (first && first->source == ITEM_PARKED) {
        first->shard->marked_alone = true;
        if (alone)
            first->shard->force_kept_id = first->parked_id;
    } else if (alone && first->source == ITEM_RECORD) {
        first->shard->force_park_offset = first->record->offset;
        first->shard->force_park_input = (int32_t)first->input_topic;
    } else {
        loop->isolate = LOOP_ISOLATED_BATCHES;
    }
}

/* After any doubt about a batch, every shard in it is read again before anything else. */
static void fail_batch(struct loop *loop, struct batch *batch, const struct err *why) {
    if (why->kind == ERR_INTERNAL)
        look_for_culprit(loop, batch);
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (batch->touched[s] && loop->shards[s].status != SHARD_AWAY)
            shard_retry(loop, &loop->shards[s], why);
}

/* Whether the log cannot give the record that comes next: it is damaged, or no longer kept. */
static bool stands_before_damage(struct loop *loop, struct shard *shard, size_t input, struct err *why) {
    struct log_consumer *probe;
    struct log_batch batch;
    struct err err = {0};
    if (!log_consumer_open_manual(loop->config.log, &probe, &err))
        return false;
    bool ok = log_consumer_seek(probe, loop->inputs[input].name, shard->index, shard->next_offsets[input], &err) &&
              log_consumer_poll(probe, 1, 0, &batch, &err);
    log_consumer_close(probe);
    if (ok || !must_halt(err.kind))
        return false;
    *why = err;
    return true;
}

/* A poll failed for good, of which partition it does not say in a way that a program can read. That shard stands still
 * and says so; the others go on. */
static void halt_damaged(struct loop *loop) {
    for (int32_t s = 0; s < loop->shard_count; s++)
        for (size_t i = 0; i < loop->config.decider->input_count && loop->shards[s].status == SHARD_RUNNING; i++) {
            struct err why;
            if (stands_before_damage(loop, &loop->shards[s], i, &why))
                shard_halt(loop, &loop->shards[s], &why);
        }
}

/* ---- between batches ---- */

static bool have_database(struct loop *loop) {
    struct err err = {0};
    if (loop->pg && pg_connected(loop->pg))
        return true;
    if (loop->pg ? pg_reset(loop->pg, &err) : pg_open(loop->config.database_url, session_settings, &loop->pg, &err))
        return true;
    logging_err(&err, "loop.database_away", "service=%s", loop->config.decider->service);
    return false;
}

static void take_over_waiting(struct loop *loop) {
    int64_t now_us = clock_monotonic_us();
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        struct err err = {0};
        if (shard->status != SHARD_WAITING || shard->retry_at_us > now_us)
            continue;
        if (!have_database(loop)) {
            shard->retry_at_us = now_us + second_us / 2;
            continue;
        }
        if (shard_take_over(loop, shard, &err))
            continue;
        if (must_halt(err.kind))
            shard_halt(loop, shard, &err);
        else
            shard_retry(loop, shard, &err);
    }
}

static bool run_statement(struct loop *loop, const char *sql, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, str_from(loop->config.decider->service));
    pg_add_text(&params, str_from(loop->owner));
    return pg_exec(loop->pg, sql, &params, NULL, err);
}

/* Done rows are kept for a day, so that a log that lost its tail can be given it again; commands for as long as a
 * client may retry them. A bounded number at once, the oldest first: the rows of a whole day are not looked through.
 * By ctid, so that no plan that was made while the table was small can join it with itself row by row. */
static const char delete_old_rows[] =
    "DELETE FROM decider.outbox WHERE ctid = ANY (ARRAY(SELECT oldest.ctid FROM decider.shard s CROSS JOIN LATERAL "
    "(SELECT k.ctid, k.id, k.created_at FROM decider.outbox k WHERE k.service = s.service AND k.shard = s.shard "
    "ORDER BY k.id LIMIT 10000) oldest WHERE s.service = $1 AND s.owner = $2 AND oldest.id <= s.done_through "
    "AND oldest.created_at < now() - interval '1 day'))";
static const char delete_old_commands[] =
    "DELETE FROM decider.command WHERE ctid = ANY (ARRAY(SELECT c.ctid FROM decider.command c JOIN decider.shard s "
    "ON s.service = c.service AND s.shard = c.shard "
    "WHERE c.service = $1 AND s.owner = $2 AND c.at < now() - interval '30 days' LIMIT 10000))";

static void keep_house(struct loop *loop) {
    struct err err = {0};
    if (clock_monotonic_us() < loop->housekeeping_at_us || !loop->pg || !pg_connected(loop->pg))
        return;
    loop->housekeeping_at_us = clock_monotonic_us() + 10 * second_us;
    if (!run_statement(loop, delete_old_rows, &err) || !run_statement(loop, delete_old_commands, &err))
        logging_err(&err, "loop.housekeeping_failed", "service=%s", loop->config.decider->service);
}

/* What was acknowledged since the last commit is told the table when there is nothing else to do, so that a restart
 * does not publish it again. Only a saving: duplicates are dropped by their numbers. */
void loop_save_done(struct loop *loop) {
    if (!loop->pg || !pg_connected(loop->pg))
        return;
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        int64_t done = publisher_done_through(loop->publisher, s);
        struct err err = {0};
        if (shard->status != SHARD_RUNNING || done <= shard->done_saved)
            continue;
        PG_PARAMS_AUTO params = {0};
        pg_add_text(&params, str_from(loop->config.decider->service));
        pg_add_i64(&params, s);
        pg_add_i64(&params, done);
        pg_add_i64(&params, shard->epoch);
        if (!pg_exec(
                loop->pg,
                "UPDATE decider.shard SET done_through = $3 WHERE service = $1 AND shard = $2::bigint AND epoch = $4",
                &params, NULL, &err)) {
            logging_err(&err, "loop.done_not_saved", "service=%s shard=%d", loop->config.decider->service, s);
            return;
        }
        shard->done_saved = done;
    }
}

/* ---- how it stands, for probes and metrics ---- */

static bool status_changed(const struct loop *loop) {
    bool changed = loop->assigned_once != loop->assigned_told;
    for (int32_t s = 0; s < loop->shard_count; s++)
        changed |= loop->shards[s].status != loop->shards[s].told;
    return changed;
}

static void add_shard_status(struct loop *loop, struct shard *shard) {
    const char *service = loop->config.decider->service;
    BUF_AUTO why = {0};
    shard->told = shard->status;
    metrics_set(shard->halted_gauge, shard->status == SHARD_HALTED);
    if (shard->status == SHARD_HALTED)
        buf_printf(&why, "halted: %s", shard->halted_why);
    if (shard->status == SHARD_WAITING)
        buf_printf(&why, "being taken over");
    if (shard->status != SHARD_AWAY)
        checks_add(&loop->status, shard->status == SHARD_RUNNING ? CHECK_OK : CHECK_FAILED, buf_str(&why),
                   "decider %s/%d", service, shard->index);
}

static void write_status(struct loop *loop) {
    if (!status_changed(loop))
        return;
    pthread_mutex_lock(&loop->status_lock);
    checks_free(&loop->status);
    for (int32_t s = 0; s < loop->shard_count; s++)
        add_shard_status(loop, &loop->shards[s]);
    pthread_mutex_unlock(&loop->status_lock);
    loop->assigned_told = loop->assigned_once;
}

bool loop_ready(struct loop *loop, struct buf *why) {
    bool ready = true;
    pthread_mutex_lock(&loop->status_lock);
    for (size_t i = 0; i < loop->status.count && ready; i++) {
        const struct check *check = &loop->status.items[i];
        ready = check->state != CHECK_FAILED;
        if (!ready && why)
            buf_printf(why, "%s: %s", check->name, check->why);
    }
    pthread_mutex_unlock(&loop->status_lock);
    return ready;
}

void loop_check(struct loop *loop, struct checks *checks) {
    pthread_mutex_lock(&loop->status_lock);
    checks_copy(checks, &loop->status);
    pthread_mutex_unlock(&loop->status_lock);
}

/* ---- a batch ---- */

/* Only what was committed is ever published or called. */
static void hand_on(struct batch *batch) {
    struct loop *loop = batch->loop;
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (batch->outbox_records[s]) {
            metrics_add(loop->metrics.emitted, batch->outbox_records[s]);
            publisher_add(loop->publisher, s, loop->shards[s].version, buf_str(&batch->outboxes[s]));
        }
    for (const struct intent_op *op = batch->intents; op; op = op->next)
        effects_add(loop->effects, &op->effect);
    for (size_t i = 0; i < batch->item_count; i++)
        if (batch->items[i].open_outcome && !batch->items[i].left)
            effects_again(loop->effects, &batch->items[i].result->effect);
    for (const struct timer_op *op = batch->timers; op; op = op->next)
        if (op->due_us >= 0 && op->due_us < loop->shards[op->shard].next_due_us)
            loop->shards[op->shard].next_due_us = op->due_us;
}

static bool look_up_next_timers(struct loop *loop, struct err *err) {
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        if (!shard->timers_fired)
            continue;
        shard->timers_fired = shard->fenced = false;
        if (!shard_load_next_due(loop, shard, err))
            return false;
    }
    return true;
}

/* For the tools of others; the position that counts is in the shard's row. */
static void commit_positions(struct batch *batch) {
    struct loop *loop = batch->loop;
    size_t count = 0;
    struct log_position *positions =
        arena_array(&batch->arena, struct log_position, (size_t)loop->shard_count * loop->config.decider->input_count);
    for (int32_t s = 0; s < loop->shard_count; s++)
        for (size_t i = 0; batch->touched[s] && i < loop->config.decider->input_count; i++)
            positions[count++] = (struct log_position){loop->inputs[i].name, s, loop->shards[s].next_offsets[i]};
    log_consumer_commit(loop->consumer, positions, count);
}

static bool batch_touches(const struct batch *batch) {
    for (int32_t s = 0; s < batch->loop->shard_count; s++)
        if (batch->touched[s])
            return true;
    return false;
}

/* So that fail_batch takes all of them over anew. */
static void touch_running(struct batch *batch) {
    for (int32_t s = 0; s < batch->loop->shard_count; s++)
        batch->touched[s] |= batch->loop->shards[s].status == SHARD_RUNNING;
}

static void run_batch(struct batch *batch) {
    struct loop *loop = batch->loop;
    struct err err = {0};
    int64_t started_us = clock_monotonic_us();
    bool ok = true;
    if (batch_touches(batch)) {
        ok = batch_decide(batch, &err) && batch_save(batch, &err);
        if (ok) {
            hand_on(batch);
            commit_positions(batch);
            metrics_add(loop->metrics.batches, 1);
            metrics_observe(loop->metrics.batch_seconds, (double)(clock_monotonic_us() - started_us) / 1e6);
        }
    }
    /* Also when the timer that was due turned out to be cleared, and there was nothing to decide. */
    if (ok && !look_up_next_timers(loop, &err)) {
        touch_running(batch);
        ok = false;
    }
    if (!ok)
        fail_batch(loop, batch, &err);
}

/* Parked records that an operator marked are a batch of their own, between batches, as timers are. */
static void run_marked(struct batch *batch) {
    struct loop *loop = batch->loop;
    int64_t now_us = clock_monotonic_us();
    for (int32_t s = 0; s < loop->shard_count; s++) {
        struct shard *shard = &loop->shards[s];
        struct err err = {0};
        if (shard->status != SHARD_RUNNING || !shard->parked_count || shard->parked_check_at_us > now_us)
            continue;
        shard->parked_check_at_us = now_us + second_us;
        if (!batch_add_marked(batch, shard, &err)) {
            batch->touched[s] = true;
            fail_batch(loop, batch, &err);
        } else if (batch->item_count) {
            batch->touched[s] = true;
            if (shard->marked_alone)
                shard->parked_check_at_us = now_us; /* the next one at once */
            run_batch(batch);
            if (shard->status == SHARD_RUNNING && !shard_load_parked(loop, shard, &err))
                shard_retry(loop, shard, &err);
        }
        batch_reset(batch);
    }
}

static int64_t wait_ms(const struct loop *loop) {
    int64_t wait = LOOP_WAIT_MS, now_us = clock_now_us(), monotonic_us = clock_monotonic_us();
    for (int32_t s = 0; s < loop->shard_count; s++) {
        const struct shard *shard = &loop->shards[s];
        int64_t until_us = wait * 1000;
        if (shard->status == SHARD_RUNNING && shard->next_due_us != INT64_MAX)
            until_us = shard->next_due_us - now_us;
        if (shard->status == SHARD_WAITING)
            until_us = shard->retry_at_us - monotonic_us;
        if (until_us < wait * 1000)
            wait = until_us < 0 ? 0 : until_us / 1000 + 1;
    }
    return wait;
}

/* False: nothing was polled. */
static bool poll_records(struct loop *loop, struct batch *batch, struct log_batch *polled) {
    struct err err = {0};
    bool marks_timers = false;
    for (int32_t s = 0; s < loop->shard_count; s++)
        marks_timers |= loop->shards[s].fenced && loop->shards[s].status == SHARD_RUNNING;
    size_t max = loop->isolate ? 1 : LOOP_BATCH_MAX;
    if (loop->isolate)
        loop->isolate--;
    if (!log_consumer_poll(loop->consumer, max, marks_timers ? LOOP_BUSY_WAIT_MS : wait_ms(loop), polled, &err)) {
        logging_err(&err, "loop.poll_failed", "service=%s", loop->config.decider->service);
        if (must_halt(err.kind))
            halt_damaged(loop);
        clock_sleep_ms(LOOP_BUSY_WAIT_MS * 20);
        return false;
    }
    if (loop->catalogue && !catalogue_poll(loop->catalogue, &err)) {
        logging_err(&err, "loop.catalogue_failed", "service=%s", loop->config.decider->service);
        touch_running(batch);
        fail_batch(loop, batch, &err);
        clock_sleep_ms(LOOP_BUSY_WAIT_MS * 20);
        return false;
    }
    return true;
}

/* While the one record is looked for that the database refuses, a record has a batch of its own: what else there is to
 * decide would fail with it, again and again. */
static bool take_in(struct loop *loop, struct batch *batch, const struct log_batch *polled, struct err *err) {
    intake_records(batch, polled);
    if (loop->isolate && batch->item_count)
        return true;
    intake_results(batch);
    return intake_timers(batch, err);
}

void loop_turn(struct loop *loop, struct batch *batch) {
    struct log_batch polled = {0};
    struct err err = {0};
    if (!publisher_pump(loop->publisher, &err)) {
        logging_err(&err, "loop.publisher_waits", "service=%s", loop->config.decider->service);
        clock_sleep_ms(LOOP_BUSY_WAIT_MS * 20);
    }
    metrics_set(loop->metrics.backlog, (double)publisher_backlog_bytes(loop->publisher));
    take_over_waiting(loop);
    write_status(loop);
    if (publisher_backlog_bytes(loop->publisher) > LOOP_BACKLOG_MAX_BYTES) {
        clock_sleep_ms(LOOP_BUSY_WAIT_MS);
        return;
    }
    run_marked(batch);
    operators_turn(loop);
    if (!poll_records(loop, batch, &polled)) {
        batch_reset(batch);
        return;
    }
    if (!take_in(loop, batch, &polled, &err)) {
        touch_running(batch);
        fail_batch(loop, batch, &err);
    } else {
        run_batch(batch);
    }
    if (!batch->item_count && clock_monotonic_us() > loop->idle_save_at_us) {
        loop_save_done(loop);
        loop->idle_save_at_us = clock_monotonic_us() + second_us;
    }
    batch_reset(batch);
    keep_house(loop);
}
