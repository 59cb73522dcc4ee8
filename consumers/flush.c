#include "consumers/flush.h"
#include "consumers/late.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/logging.h"

static const int64_t flush_every_us = 1000 * 1000;
static const size_t flush_dirty_bytes = 8 << 20; /* or earlier, when there is so much of it */

/* Plans made on empty tables must not scan them when they are full. What was flushed is counted on, and its outbox rows
 * are not looked at again: so it must be durable when PostgreSQL says so. */
static const char session_settings[] = "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '2s'; "
                                       "SET statement_timeout = '20s'; SET enable_seqscan = off; SET jit = off; "
                                       "SET application_name = 'orderlog-flush'";

struct flush {
    struct loop *loop;
    struct pg *pg;
    bool running;
    int64_t next_at_us, connect_at_us;
    int64_t *through; /* by slot: the versions that the running one covers */
    struct late late, flushing;
    struct err broken; /* one failed: what it had is in the outbox only, until all shards are taken over anew */
};

void flush_timer(struct flush *flush, int32_t slot, struct str key, struct str name, int64_t due_us) {
    late_timer_set(&flush->late, slot, key, name, due_us);
}

void flush_intent(struct flush *flush, const struct effect *effect) {
    late_intent_set(&flush->late, effect);
}

void flush_answered(struct flush *flush, int32_t slot, struct str id) {
    late_intent_answered(&flush->late, slot, id);
}

/* ---- flushing ---- */

static bool is_ours(const struct shard *shard) {
    return shard->status == SHARD_RUNNING || (shard->status == SHARD_HALTED && shard->epoch);
}

/* The weakest lock that a take-over's waits for, so that our own transactions are not held up by it. */
static void send_check(struct flush *flush) {
    struct loop *loop = flush->loop;
    int64_t expected = 0;
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_I64);
    pg_add_array(&params, PG_I64);
    for (int32_t s = 0; s < loop->shard_count; s++) {
        flush->through[s] = loop->shards[s].version;
        if (!is_ours(&loop->shards[s]))
            continue;
        pg_array_str(&params, 0, str_from(loop->shards[s].service->decider->service));
        pg_array_i64(&params, 1, loop->shards[s].index);
        pg_array_i64(&params, 2, loop->shards[s].epoch);
        expected++;
    }
    pg_add_text(&params, str_from(loop->owner));
    pg_add_i64(&params, expected);
    pg_send(flush->pg,
            "WITH mine AS (SELECT 1 FROM decider.shard s JOIN UNNEST($1::text[], $2::bigint[], $3::bigint[]) "
            "AS u(service, shard, epoch) ON s.service = u.service AND s.shard = u.shard AND s.epoch = u.epoch "
            "WHERE s.owner = $4 FOR KEY SHARE OF s) SELECT decider.require((SELECT count(*) FROM mine), $5)",
            &params);
}

static bool connected(struct flush *flush, struct err *err) {
    if (!flush->pg)
        return pg_open(flush->loop->config.database_url, session_settings, &flush->pg, err);
    return pg_connected(flush->pg) || pg_reset(flush->pg, err);
}

static bool begin(struct flush *flush, struct err *err) {
    struct loop *loop = flush->loop;
    if (!connected(flush, err))
        return false;
    send_check(flush);
    const struct cache_row *rows = cache_begin_flush(&loop->cache);
    late_send_rows(loop, flush->pg, rows);
    flush->flushing = flush->late;
    flush->late = (struct late){0};
    late_send(loop, flush->pg, &flush->flushing);
    pg_sync_start(flush->pg);
    flush->running = true;
    return true;
}

static bool end(struct flush *flush, struct err *err) {
    struct loop *loop = flush->loop;
    struct err failure = {0};
    bool ok = pg_sync(flush->pg, &failure);
    flush->running = false;
    flush->next_at_us = clock_monotonic_us() + flush_every_us;
    cache_end_flush(&loop->cache);
    late_free(&flush->flushing);
    for (int32_t s = 0; ok && s < loop->shard_count; s++)
        if (is_ours(&loop->shards[s]) && flush->through[s] > loop->shards[s].flushed_through)
            loop->shards[s].flushed_through = flush->through[s];
    if (!ok) {
        err_wrap(&failure, "bringing what was committed into the tables");
        if (failure.kind == ERR_INTERNAL) /* not to be held against the record that is being decided */
            failure.kind = ERR_STORE_UNAVAILABLE;
        flush->broken = failure;
        if (err)
            *err = failure;
    }
    return ok;
}

static bool has_changes(const struct flush *flush) {
    return flush->loop->cache.dirty || flush->late.timers.count || flush->late.intents.count;
}

bool flush_has_work(const struct flush *flush) {
    return flush->running || has_changes(flush);
}

/* The next turn of the loop takes all shards over anew; until then nothing is flushed. */
bool flush_is_broken(const struct flush *flush, struct err *err) {
    if (flush->broken.kind && err)
        *err = flush->broken;
    return flush->broken.kind;
}

static bool is_due(const struct flush *flush) {
    int64_t now_us = clock_monotonic_us();
    return has_changes(flush) && (now_us >= flush->next_at_us || (flush->loop->cache.dirty_bytes >= flush_dirty_bytes &&
                                                                  now_us >= flush->connect_at_us));
}

bool flush_turn(struct flush *flush, struct err *err) {
    struct err failure = {0};
    if (flush->running && pg_sync_done(flush->pg) && !end(flush, &failure))
        logging_err(&failure, "flush.failed", " ");
    if (flush_is_broken(flush, err)) {
        flush->broken = (struct err){0};
        return false;
    }
    if (flush->running || !is_due(flush))
        return true;
    if (!begin(flush, &failure)) { /* no connection: it is all still here */
        logging_err(&failure, "flush.waits", " ");
        flush->next_at_us = flush->connect_at_us = clock_monotonic_us() + flush_every_us / 2;
    }
    return true;
}

bool flush_now(struct flush *flush, struct err *err) {
    if (flush_is_broken(flush, err) || (flush->running && !end(flush, err)))
        return false;
    return !has_changes(flush) || (begin(flush, err) && end(flush, err));
}

bool flush_has_timers(const struct flush *flush, int32_t slot) {
    return late_has_timers(&flush->late, slot) || late_has_timers(&flush->flushing, slot);
}

/* ---- dropping ---- */

void flush_drop(struct flush *flush, int32_t slot) {
    if (flush->running)
        (void)!end(flush, NULL); /* the next turn hears of it */
    late_drop(&flush->late, slot);
    cache_drop(&flush->loop->cache, slot);
}

struct flush *flush_open(struct loop *loop) {
    struct flush *flush = mem_zalloc(sizeof(*flush));
    flush->loop = loop;
    flush->through = mem_zalloc((size_t)loop->shard_count * sizeof(*flush->through));
    return flush;
}

void flush_close(struct flush *flush) {
    if (!flush)
        return;
    struct err err = {0};
    if (flush->running && !end(flush, &err))
        logging_err(&err, "flush.failed", " "); /* the outbox has it */
    late_free(&flush->late);
    late_free(&flush->flushing);
    pg_close(flush->pg);
    free(flush->through);
    free(flush);
}
