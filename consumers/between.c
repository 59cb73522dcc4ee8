/* What a loop does between batches. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "consumers/flush.h"
#include "core/base/clock.h"
#include "core/base/logging.h"

static const int64_t second_us = 1000 * 1000;

/* A decider's session: commits are durable; a frozen owner's locks are freed; plans made on empty tables must not scan
 * them when they are full. */
static const char session_settings[] = "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '2s'; "
                                       "SET statement_timeout = '20s'; SET enable_seqscan = off; SET jit = off; "
                                       "SET application_name = 'orderlog-decider'";

bool loop_have_database(struct loop *loop) {
    struct err err = {0};
    if (loop->pg && pg_connected(loop->pg))
        return true;
    if (loop->pg ? pg_reset(loop->pg, &err) : pg_open(loop->config.database_url, session_settings, &loop->pg, &err))
        return true;
    logging_err(&err, "loop.database_away", "service=%s", loop->services[0].decider->service);
    return false;
}

static void put_off_waiting(struct loop *loop, int64_t delay_us) {
    int64_t at_us = clock_monotonic_us() + delay_us;
    for (int32_t s = 0; s < loop->shard_count; s++)
        if (loop->shards[s].status == SHARD_WAITING && loop->shards[s].retry_at_us < at_us)
            loop->shards[s].retry_at_us = at_us;
}

void loop_take_over_waiting(struct loop *loop) {
    int64_t now_us = clock_monotonic_us();
    for (int32_t s = 0; s < loop->shard_count && !atomic_load(&loop->stop); s++) {
        struct shard *shard = &loop->shards[s];
        struct err err = {0};
        if (shard->status != SHARD_WAITING || shard->retry_at_us > now_us)
            continue;
        if (!loop_have_database(loop)) {
            put_off_waiting(loop, second_us / 2);
            return;
        }
        if (shard_take_over(loop, shard, &err) && shard->halt_next)
            err_set(&err, ERR_CORRUPT, "%s", shard->halt_next);
        free(shard->halt_next);
        shard->halt_next = NULL;
        if (!err.kind)
            continue;
        if (err_must_halt(err.kind))
            shard_halt(shard, &err);
        else
            shard_retry(loop, shard, &err);
        if (err.kind == ERR_LOG_UNAVAILABLE) { /* each of the others would wait as long for it in vain */
            put_off_waiting(loop, second_us);
            return;
        }
    }
}

/* ---- house keeping ---- */

/* Done rows are kept for a day, so that a log that lost its tail can be given it again; commands for as long as a
 * client may retry them. A bounded number at once, the oldest first: the rows of a whole day are not looked through. */
static const char delete_old_rows[] =
    "DELETE FROM decider.outbox o USING decider.shard s CROSS JOIN LATERAL (SELECT id, created_at FROM decider.outbox "
    "k "
    "WHERE k.service = s.service AND k.shard = s.shard ORDER BY k.id LIMIT 1) oldest "
    "WHERE s.service = $1 AND s.owner = $2 AND oldest.created_at < now() - interval '1 day' "
    "AND o.service = s.service AND o.shard = s.shard AND o.id >= oldest.id AND o.id < oldest.id + 10000 "
    "AND o.id <= least(s.done_through, s.flushed_through) AND o.created_at < now() - interval '1 day'";
static const char delete_old_commands[] =
    "DELETE FROM decider.command WHERE ctid = ANY (ARRAY(SELECT c.ctid FROM decider.command c JOIN decider.shard s "
    "ON s.service = c.service AND s.shard = c.shard "
    "WHERE c.service = $1 AND s.owner = $2 AND c.at < now() - interval '30 days' LIMIT 10000))";

static bool run_statement(const struct service *service, const char *sql, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, str_from(service->decider->service));
    pg_add_text(&params, str_from(service->loop->owner));
    return pg_exec(service->loop->pg, sql, &params, NULL, err);
}

void loop_keep_house(struct loop *loop) {
    struct err err = {0};
    if (clock_monotonic_us() < loop->housekeeping_at_us || !loop->pg || !pg_connected(loop->pg))
        return;
    loop->housekeeping_at_us = clock_monotonic_us() + 10 * second_us;
    for (size_t i = 0; i < loop->service_count; i++)
        if (!run_statement(&loop->services[i], delete_old_rows, &err) ||
            !run_statement(&loop->services[i], delete_old_commands, &err)) {
            logging_err(&err, "loop.housekeeping_failed", "service=%s", loop->services[i].decider->service);
            return;
        }
}

/* ---- waiting ---- */

void loop_wake(void *user) {
    struct loop *loop = user;
    pthread_mutex_lock(&loop->wake_lock);
    if (!loop->woken)
        pthread_cond_signal(&loop->wake_cond);
    loop->woken = true;
    pthread_mutex_unlock(&loop->wake_lock);
}

void loop_wait(struct loop *loop, int64_t timeout_ms) {
    int64_t until_us = clock_monotonic_us() + timeout_ms * 1000;
    struct timespec until = {until_us / second_us, until_us % second_us * 1000};
    pthread_mutex_lock(&loop->wake_lock);
    while (!loop->woken)
        if (pthread_cond_timedwait(&loop->wake_cond, &loop->wake_lock, &until) == ETIMEDOUT)
            break;
    loop->woken = false;
    pthread_mutex_unlock(&loop->wake_lock);
}
