/* The thread of one projector, or of several of one store: one that waits, and one round trip for what all of them load
 * or save, instead of one each. */
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/thread.h"
#include "projections/projector.h"

enum { NAP_MS = 200 };

struct member {
    struct projector projector;
    struct log_batch records; /* of this round; none: it has no part in it */
    struct batch *batch;
    int64_t poll_at_us; /* not polled before: the last poll failed, or more is to come together */
};

struct team {
    const atomic_bool *stop;
    const struct projector_store_ops *ops;
    struct member *members;
    size_t count;
    struct store_part *parts; /* of this round, one per member that has records */
    struct member **part_of;
    size_t part_count;
    struct arena arena; /* of this round */
    pthread_mutex_t mutex;
    pthread_cond_t wakeup;
    bool pending; /* guarded by mutex: there may be something to poll */
};

static bool stopping(const struct team *team) {
    return atomic_load_explicit(team->stop, memory_order_relaxed);
}

/* ---- waiting ---- */

static void notify(void *user) {
    struct team *team = user;
    pthread_mutex_lock(&team->mutex);
    team->pending = true;
    pthread_cond_signal(&team->wakeup);
    pthread_mutex_unlock(&team->mutex);
}

static void wait_until_notified(struct team *team, int64_t timeout_ms) {
    int64_t until_us = clock_monotonic_us() + timeout_ms * 1000;
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&team->mutex);
    while (!team->pending && rc == 0 && !stopping(team))
        rc = pthread_cond_timedwait(&team->wakeup, &team->mutex, &until);
    team->pending = false;
    pthread_mutex_unlock(&team->mutex);
}

/* ---- a round ---- */

static void forget_round(struct team *team, const struct err *err, const char *event) {
    for (size_t i = 0; i < team->part_count; i++) {
        projector_store_failed(&team->part_of[i]->projector, err, event);
        team->part_of[i]->poll_at_us = 0;
    }
}

static void begin_round(struct team *team) {
    arena_reset(&team->arena);
    team->part_count = 0;
    for (size_t i = 0; i < team->count; i++) {
        struct member *member = &team->members[i];
        if (!member->records.count)
            continue;
        arena_reset(&member->projector.arena);
        member->batch = batch_begin(&member->projector, &member->records);
        struct store_part *part = &team->parts[team->part_count];
        *part = (struct store_part){.store = member->projector.store};
        part->rows = batch_rows(member->batch, &part->row_count);
        team->part_of[team->part_count++] = member;
    }
}

static size_t fold_round(struct team *team) {
    size_t touched = 0;
    for (size_t i = 0; i < team->part_count; i++) {
        struct store_part *part = &team->parts[i];
        batch_end(team->part_of[i]->batch);
        part->row_count = 0;
        part->shards = projector_saves(&team->part_of[i]->projector, &part->shard_count);
        touched += part->shard_count;
    }
    return touched;
}

/* One alone, or a store that gains nothing by it: each for itself. */
static bool apart(const struct team *team) {
    return team->part_count == 1 || !team->ops->load_together;
}

static bool load_round(struct team *team, struct err *err) {
    if (!apart(team))
        return team->ops->load_together(team->parts, team->part_count, &team->arena, err);
    for (size_t i = 0; i < team->part_count; i++) {
        const struct store_part *part = &team->parts[i];
        if (part->row_count && !team->ops->load_rows(part->store, part->rows, part->row_count, &team->arena, err))
            return false;
    }
    return true;
}

static bool save_round(struct team *team, struct err *err) {
    if (!apart(team))
        return team->ops->save_together(team->parts, team->part_count, &team->arena, err);
    for (size_t i = 0; i < team->part_count; i++) {
        const struct store_part *part = &team->parts[i];
        if (part->shard_count && !team->ops->save(part->store, part->shards, part->shard_count, &team->arena, err))
            return false;
    }
    return true;
}

static void handle(struct team *team) {
    struct err err = {0};
    begin_round(team);
    if (!load_round(team, &err)) {
        forget_round(team, &err, "projector.load_failed");
        return;
    }
    size_t touched = fold_round(team);
    int64_t begun_us = clock_monotonic_us();
    if (touched && !save_round(team, &err)) {
        forget_round(team, &err, "projector.save_failed");
        return;
    }
    for (size_t i = 0; i < team->part_count; i++)
        projector_saved(&team->part_of[i]->projector, &team->part_of[i]->records, team->parts[i].shards,
                        team->parts[i].shard_count, begun_us);
}

/* ---- polling ---- */

/* Where much comes, more will: then a row is written once for more of it. */
static int64_t linger_us(const struct projector_config *config, size_t records) {
    bool busy = config->busy_records && records >= config->busy_records;
    return (busy ? config->busy_linger_ms : config->linger_ms) * 1000;
}

/* False: there is more than it could take. */
static bool member_poll(struct member *member) {
    struct projector *projector = &member->projector;
    struct err err = {0};
    size_t max = projector_batch_max(projector);
    member->records = (struct log_batch){0};
    int64_t now_us = clock_monotonic_us();
    if (now_us < member->poll_at_us)
        return true;
    if (log_consumer_poll(projector->consumer, max, 0, &member->records, &err)) {
        if (member->records.count == max)
            return false;
        if (member->records.count)
            member->poll_at_us = now_us + linger_us(projector->config, member->records.count);
        return true;
    }
    member->records = (struct log_batch){0};
    if (!projector_poll_failed(projector, &err))
        member->poll_at_us = projector->retry_at_us;
    return true;
}

/* How long to wait when nothing was found. */
static int64_t prepare(struct team *team) {
    int64_t timeout_ms = PROJECTOR_POLL_MS;
    for (size_t i = 0; i < team->count; i++) {
        struct projector *projector = &team->members[i].projector;
        int64_t own_ms = projector_timeout_ms(projector, projector_read_shards(projector));
        timeout_ms = own_ms < timeout_ms ? own_ms : timeout_ms;
        projector_tell_status(projector);
    }
    return timeout_ms;
}

/* Shards that a poll has just given us: they are read before anything is waited for. */
static bool any_to_read(const struct team *team) {
    for (size_t i = 0; i < team->count; i++) {
        const struct projector *projector = &team->members[i].projector;
        for (int32_t k = 0; k < projector->shard_count; k++)
            if (projector->shards[k].state == SHARD_UNREAD && clock_monotonic_us() >= projector->retry_at_us)
                return true;
    }
    return false;
}

static int64_t ms_until(int64_t time_us) {
    return (time_us - clock_monotonic_us() + 999) / 1000;
}

/* Until the first member that found something may be polled again, or another would have been, had it found any. */
static void linger(const struct team *team, int64_t since_us) {
    int64_t until_us = INT64_MAX, left_ms;
    for (size_t i = 0; i < team->count; i++) {
        const struct member *member = &team->members[i];
        int64_t own_us = member->records.count ? member->poll_at_us : since_us + linger_us(member->projector.config, 0);
        until_us = own_us < until_us ? own_us : until_us;
    }
    while (!stopping(team) && (left_ms = ms_until(until_us)) > 0)
        clock_sleep_ms(left_ms < NAP_MS ? left_ms : NAP_MS);
}

static void wait_for_any(struct team *team, int64_t timeout_ms) {
    for (size_t i = 0; i < team->count; i++) {
        int64_t own_ms = ms_until(team->members[i].poll_at_us);
        timeout_ms = own_ms > 0 && own_ms < timeout_ms ? own_ms : timeout_ms;
    }
    wait_until_notified(team, timeout_ms);
}

static void step(struct team *team) {
    int64_t timeout_ms = prepare(team), since_us = clock_monotonic_us();
    bool found = false, all = true;
    for (size_t i = 0; i < team->count; i++) {
        all &= member_poll(&team->members[i]);
        found |= team->members[i].records.count > 0;
    }
    if (!found) {
        if (!any_to_read(team))
            wait_for_any(team, timeout_ms);
        return;
    }
    handle(team);
    if (all)
        linger(team, since_us);
}

/* ---- from start to stop ---- */

static bool members_init(struct team *team, struct log *log, const struct projector_config *const *configs,
                         size_t count, struct err *err) {
    for (; team->count < count; team->count++)
        if (!projector_init(&team->members[team->count].projector, log, configs[team->count], team->stop, err))
            return false;
    return true;
}

static void run(struct team *team) {
    size_t joined = 0;
    while (joined < team->count && !stopping(team) && projector_join(&team->members[joined].projector, notify, team))
        joined++;
    while (!stopping(team))
        step(team);
    while (joined > 0)
        projector_leave(&team->members[--joined].projector);
}

static void team_open(struct team *team, const struct projector_config *config, size_t count, const atomic_bool *stop) {
    *team = (struct team){.stop = stop,
                          .ops = config->store,
                          .members = mem_zalloc(count * sizeof(team->members[0])),
                          .parts = mem_zalloc(count * sizeof(team->parts[0])),
                          .part_of = mem_zalloc(count * sizeof(team->part_of[0]))};
    arena_init(&team->arena);
    pthread_mutex_init(&team->mutex, NULL);
    thread_cond_init(&team->wakeup);
}

static void team_close(struct team *team) {
    while (team->count > 0)
        projector_free(&team->members[--team->count].projector);
    pthread_cond_destroy(&team->wakeup);
    pthread_mutex_destroy(&team->mutex);
    arena_free(&team->arena);
    free(team->part_of);
    free(team->parts);
    free(team->members);
}

bool projector_run_together(struct log *log, const struct projector_config *const *configs, size_t count,
                            const atomic_bool *stop, struct err *err) {
    struct team team;
    team_open(&team, configs[0], count, stop);
    bool ok = members_init(&team, log, configs, count, err);
    if (ok && !stopping(&team))
        run(&team);
    team_close(&team);
    return ok;
}

bool projector_run(struct log *log, const struct projector_config *config, const atomic_bool *stop, struct err *err) {
    return projector_run_together(log, &config, 1, stop, err);
}
