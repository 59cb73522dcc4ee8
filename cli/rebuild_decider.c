#include "cli/rebuild_decider.h"

#include "core/base/clock.h"
#include "core/codec/avro.h"
#include "core/log/envelope.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    TRIES = 20,                         /* to find all in the log that the shard has decided and read */
    PUBLISHED_WITHIN_US = 1000 * 1000,  /* for so long its owner is kept waiting for that */
    LOCK_PATIENCE_US = 3 * 1000 * 1000, /* a rebuild that was killed has the lock until the server notices */
    TICK_RECORDS = 4096,
};

static bool tick(struct decider_shard *shard, enum rebuild_phase phase, int64_t total, struct err *err) {
    const struct rebuild_decider_config *config = shard->config;
    if (!config->progress || config->progress(config->user, phase, shard->report->events, total))
        return true;
    return err_set(err, ERR_TIMEOUT, "interrupted");
}

/* ---- where the shard stands ---- */

static bool state_read(struct decider_shard *shard, const char *sql, struct state_shard *ret, bool *ret_begun,
                       struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(shard->config->service->decider->service));
    pg_add_i64(&params, shard->index);
    if (!pg_exec(shard->pg, sql, &params, &rows, err))
        return false;
    *ret_begun = pg_rows(rows) && !pg_is_null(rows, 0, 0);
    if (!*ret_begun)
        return true;
    arena_reset(&shard->arena);
    if (!state_decode(schema_subject_find(STR("state/shard")), arena_dup(&shard->arena, pg_get_str(rows, 0, 0)),
                      &shard->arena, ret, err))
        return false;
    return str_eq(ret->log_id, log_id(shard->config->log)) ||
           err_set(err, ERR_CONFIG, "the decider's position is of log %.*s, and this is log %.*s", STR_ARG(ret->log_id),
                   STR_ARG(log_id(shard->config->log)));
}

static const char state_sql[] = "SELECT state FROM decider.shard WHERE service = $1 AND shard = $2::bigint";

static struct str parked_name(struct arena *arena, struct str topic, int64_t partition, int64_t offset) {
    return arena_printf(arena, "%.*s/%" PRId64 "/%" PRId64, STR_ARG(topic), partition, offset);
}

/* What is set aside is not in the rows. Once set aside and in the rows now: the fold left it out, and is void. */
static bool parked_read(struct decider_shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    struct arena arena;
    size_t known = 0, before = shard->parked.count;
    pg_add_text(&params, str_from(shard->config->service->decider->service));
    pg_add_i64(&params, shard->index);
    if (!pg_exec(shard->pg,
                 "SELECT topic, partition, \"offset\" FROM decider.parked WHERE service = $1 AND shard = $2::bigint",
                 &params, &rows, err))
        return false;
    arena_init(&arena);
    for (int i = 0; i < pg_rows(rows); i++) {
        struct str name = parked_name(&arena, pg_get_str(rows, i, 0), pg_get_i64(rows, i, 1), pg_get_i64(rows, i, 2));
        void **place = map_put(&shard->parked, name);
        known += *place != NULL;
        *place = shard;
    }
    arena_free(&arena);
    return known == before || err_set(err, ERR_FENCED, "records that were set aside have been tried again meanwhile");
}

static int64_t input_offset(const struct state_shard *state, struct str topic) {
    for (size_t i = 0; i < state->inputs.count; i++)
        if (str_eq(state->inputs.items[i].topic, topic))
            return state->inputs.items[i].next_offset;
    return 0;
}

static int64_t received_seq(const struct state_shard *state, struct str topic, struct str origin) {
    for (size_t i = 0; i < state->received.count; i++)
        if (str_eq(state->received.items[i].topic, topic) && str_eq(state->received.items[i].origin, origin))
            return state->received.items[i].last_seq;
    return 0;
}

/* ---- records ---- */

static bool is_own(const struct decider_shard *shard, struct str origin) {
    struct str index, service = str_cut(origin, '/', &index);
    int64_t number;
    return origin.ptr && str_eq(service, str_from(shard->config->service->decider->service)) && index.ptr &&
           str_to_i64(index, &number) && number == shard->index;
}

/* Whether the shard had read this record of an input where it stands. Another decider of its process may have handed it
 * over before it was in the log: then its number says so. */
static bool was_read(const struct state_shard *state, const struct envelope *envelope) {
    if (envelope->offset < input_offset(state, envelope->topic))
        return true;
    return envelope->origin.ptr && envelope->origin_seq > 0 &&
           envelope->origin_seq <= received_seq(state, envelope->topic, envelope->origin);
}

static bool record_fold(struct decider_shard *shard, const struct state_shard *state, const struct log_record *record,
                        struct arena *arena, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(record->topic);
    struct envelope envelope;
    struct message message;
    struct err why = {0};
    int64_t last;
    shard->report->events++;
    arena_reset(arena);
    bool readable = envelope_read(record, &envelope, &why);
    bool own = fold_service_writes(shard->config->service, subject->name);
    if (own ? !is_own(shard, envelope.origin) : !was_read(state, &envelope))
        return true;
    if (sequences_take(&shard->folded, &envelope, &last) == SEQUENCE_DUPLICATE ||
        map_get(&shard->parked, parked_name(arena, record->topic, record->partition, record->offset)))
        return true;
    if (!readable || !record->value.ptr || !message_decode(subject, record->value, arena, &message, &why) ||
        message.type == MESSAGE_UNKNOWN)
        return err_set(err, ERR_CORRUPT, "%.*s/%d offset %" PRId64 ": %s", STR_ARG(record->topic), record->partition,
                       record->offset, why.kind ? why.detail : "a record that is known no more");
    fold_room_take(&shard->room, &(struct verify_record){.envelope = &envelope,
                                                         .message = &message,
                                                         .at = {subject->name, record->partition, record->offset}});
    return true;
}

static bool records_fold(struct decider_shard *shard, const struct state_shard *state, enum rebuild_phase phase,
                         struct err *err) {
    const struct log_record *record = NULL;
    struct reader *reader;
    struct arena arena;
    int64_t total = shard->report->events;
    for (size_t i = 0; i < shard->range_count; i++)
        total += shard->ranges[i].to - shard->ranges[i].from;
    if (!reader_open(shard->config->log, shard->ranges, shard->range_count, &reader, err))
        return false;
    arena_init(&arena);
    bool ok;
    while ((ok = reader_next(reader, &record, err)) && record && (ok = record_fold(shard, state, record, &arena, err)))
        if (shard->report->events % TICK_RECORDS == 0 && !(ok = tick(shard, phase, total, err)))
            break;
    arena_free(&arena);
    reader_close(reader);
    return ok;
}

/* ---- ranges ---- */

/* Its own events are wherever their keys are; what it reads is in its own partition. */
static bool ranges_make(struct decider_shard *shard, struct err *err) {
    const struct fold_service *service = shard->config->service;
    struct reader_range *all;
    size_t count;
    if (!reader_ranges(shard->config->log, NULL, 0, &all, &count, err))
        return false;
    shard->ranges = all;
    for (size_t i = 0; i < count; i++) {
        struct buf name = {0};
        buf_add_str(&name, all[i].topic);
        bool wanted = fold_service_reads(service, name.ptr) &&
                      (fold_service_writes(service, name.ptr) || all[i].partition == shard->index);
        buf_free(&name);
        if (wanted)
            shard->ranges[shard->range_count++] = (struct reader_range){all[i].topic, all[i].partition, 0, 0};
    }
    return true;
}

/* To the log's end. */
static bool ranges_extend(struct decider_shard *shard, struct err *err) {
    for (size_t i = 0; i < shard->range_count; i++) {
        int64_t low;
        if (!log_watermarks(shard->config->log, shard->ranges[i].topic, shard->ranges[i].partition, &low,
                            &shard->ranges[i].to, err))
            return false;
        if (low > shard->ranges[i].from)
            return err_set(err, ERR_LOST_RECORDS, "%.*s/%d begins at offset %" PRId64, STR_ARG(shard->ranges[i].topic),
                           shard->ranges[i].partition, low);
    }
    return true;
}

/* Of an input nothing behind where the shard stands is gone for good: what is there was looked at, not folded. */
static void ranges_fold_done(struct decider_shard *shard, const struct state_shard *state) {
    for (size_t i = 0; i < shard->range_count; i++) {
        struct reader_range *range = &shard->ranges[i];
        BUF_AUTO name = {0};
        buf_add_str(&name, range->topic);
        int64_t next =
            fold_service_writes(shard->config->service, name.ptr) ? range->to : input_offset(state, range->topic);
        range->from = next < range->to ? next : range->to;
    }
}

/* The log's end first, then where the shard stands: so what it wrote never comes before what it had read. */
static bool fold_to_now(struct decider_shard *shard, const char *sql, struct state_shard *state, bool *ret_begun,
                        enum rebuild_phase phase, struct err *err) {
    if (!ranges_extend(shard, err) || !state_read(shard, sql, state, ret_begun, err) || !parked_read(shard, err))
        return false;
    if (!*ret_begun)
        return true;
    if (!records_fold(shard, state, phase, err))
        return false;
    ranges_fold_done(shard, state);
    return true;
}

/* ---- under the lock ---- */

bool decider_shard_is_folded(const struct decider_shard *shard, const struct state_shard *state,
                             struct buf *ret_missing) {
    const struct fold_service *service = shard->config->service;
    struct arena arena;
    arena_init(&arena);
    struct str own = arena_printf(&arena, "%s/%d", service->decider->service, shard->index);
    for (size_t i = 0; i < state->produced.count && !ret_missing->len; i++) {
        const struct state_shard_output *output = &state->produced.items[i];
        const struct schema_subject *subject = schema_subject_find(output->topic);
        if (subject && fold_service_writes(service, subject->name) &&
            sequences_last(&shard->folded, output->topic, output->partition, own) < output->last_seq)
            buf_printf(ret_missing, "%.*s has decided more of %.*s than the log holds", STR_ARG(own),
                       STR_ARG(output->topic));
    }
    for (size_t i = 0; i < state->received.count && !ret_missing->len; i++) {
        const struct state_shard_origin *origin = &state->received.items[i];
        const struct schema_subject *subject = schema_subject_find(origin->topic);
        if (subject && fold_service_reads(service, subject->name) && !fold_service_writes(service, subject->name) &&
            sequences_last(&shard->folded, origin->topic, shard->index, origin->origin) < origin->last_seq)
            buf_printf(ret_missing, "%.*s has read more of %.*s than the log holds", STR_ARG(own),
                       STR_ARG(origin->topic));
    }
    arena_free(&arena);
    return !ret_missing->len;
}

static bool fold_the_rest(struct decider_shard *shard, bool *ret_all, struct buf *missing, struct err *err) {
    int64_t until_us = clock_monotonic_us() + PUBLISHED_WITHIN_US;
    struct state_shard state = {0};
    bool begun;
    for (*ret_all = false; !*ret_all; clock_sleep_ms(1)) {
        buf_reset(missing);
        if (!fold_to_now(shard, state_sql, &state, &begun, REBUILD_READ_ON, err))
            return false;
        *ret_all = !begun || decider_shard_is_folded(shard, &state, missing);
        if (!*ret_all && clock_monotonic_us() > until_us)
            return true;
    }
    return true;
}

static bool raise_epoch(struct decider_shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, str_from(shard->config->service->decider->service));
    pg_add_i64(&params, shard->index);
    return pg_exec(shard->pg, "UPDATE decider.shard SET epoch = epoch + 1 WHERE service = $1 AND shard = $2::bigint",
                   &params, NULL, err);
}

static bool lock_shard(struct decider_shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, str_from(shard->config->service->decider->service));
    pg_add_i64(&params, shard->index);
    return pg_exec(shard->pg, "SELECT FROM decider.shard WHERE service = $1 AND shard = $2::bigint FOR UPDATE", &params,
                   NULL, err);
}

static bool mend_locked(struct decider_shard *shard, bool *ret_done, struct buf *missing, struct err *err) {
    int64_t mended = 0;
    if (!lock_shard(shard, err) || !fold_the_rest(shard, ret_done, missing, err))
        return false;
    if (!*ret_done) {
        pg_rollback(shard->pg);
        return true;
    }
    return decider_changes_read(shard, err) && decider_rows_mend(shard, &mended, err) &&
           (!mended || raise_epoch(shard, err)) && pg_commit(shard->pg, err);
}

static bool mend(struct decider_shard *shard, struct err *err) {
    BUF_AUTO missing = {0};
    bool done = false;
    for (int tries = 0; !done && tries < TRIES; tries++) {
        if (!tick(shard, REBUILD_SWAP, 0, err))
            return false;
        if (tries)
            clock_sleep_ms(50);
        if (!pg_begin(shard->pg, err))
            return false;
        if (!mend_locked(shard, &done, &missing, err)) {
            pg_rollback(shard->pg);
            return false;
        }
    }
    return done || err_set(err, ERR_TIMEOUT, "%s: nobody publishes it; start the deciders, and try again",
                           missing.ptr ? missing.ptr : "the outbox is not empty");
}

/* ---- all of it ---- */

static bool shard_rebuild(struct decider_shard *shard, struct err *err) {
    struct rebuild_report *report = shard->report;
    int64_t begun_us = clock_monotonic_us(), begun_cpu_us = clock_thread_cpu_us();
    struct state_shard state = {0};
    bool begun;
    if (!ranges_make(shard, err) || !fold_to_now(shard, state_sql, &state, &begun, REBUILD_FOLD, err))
        return false;
    report->fold_seconds += (double)(clock_monotonic_us() - begun_us) / 1e6;
    report->fold_cpu_seconds += (double)(clock_thread_cpu_us() - begun_cpu_us) / 1e6;
    if (!tick(shard, REBUILD_COMPARE, 0, err) || !decider_rows_compare(shard, err) || !mend(shard, err))
        return false;
    for (size_t i = 0; i < shard->config->service->decider->table_count; i++)
        report->rows += (int64_t)shard->room.tables[i].count;
    return true;
}

bool decider_shard_fold(struct decider_shard *shard, const struct state_shard *state, struct err *err) {
    return ranges_make(shard, err) && ranges_extend(shard, err) && parked_read(shard, err) &&
           records_fold(shard, state, REBUILD_FOLD, err);
}

void decider_shard_free(struct decider_shard *shard) {
    fold_room_free(&shard->room);
    sequences_free(&shard->folded);
    map_free(&shard->parked, NULL);
    map_free(&shard->suspects, NULL);
    map_free(&shard->changes, free);
    arena_free(&shard->arena);
    decider_sql_free(shard->sql);
    free(shard->ranges);
}

static bool lock_service(struct pg *pg, struct err *err) {
    for (int64_t give_up_us = clock_monotonic_us() + LOCK_PATIENCE_US;; clock_sleep_ms(50)) {
        PG_RESULT_AUTO *row = NULL;
        if (!pg_exec(pg, "SELECT pg_try_advisory_lock(4242011)", NULL, &row, err))
            return false;
        if (pg_get_bool(row, 0, 0))
            return true;
        if (clock_monotonic_us() > give_up_us)
            return err_set(err, ERR_FENCED, "another rebuild of deciders' tables is at work");
    }
}

static bool shards_rebuild(const struct rebuild_decider_config *config, int32_t shard_count,
                           struct rebuild_report *report, struct err *err) {
    bool ok = true;
    for (int32_t i = 0; ok && i < shard_count; i++) {
        struct decider_shard shard = {.config = config, .report = report, .index = i};
        /* An owner that is gone must not hold us for ever, nor we it: should this process be stopped under the lock,
         * the server takes the lock away. */
        static const char settings[] = "SET lock_timeout = '10s'; SET statement_timeout = '60s'; SET jit = off; "
                                       "SET idle_in_transaction_session_timeout = '5s'";
        fold_room_init(&shard.room, config->service->decider, config->shop);
        arena_init(&shard.arena);
        ok = pg_open(config->database_url, settings, &shard.pg, err) && shard_rebuild(&shard, err);
        ok = ok || err_wrap(err, "shard %d", i);
        pg_close(shard.pg);
        decider_shard_free(&shard);
    }
    return ok;
}

bool rebuild_decider_run(const struct rebuild_decider_config *config, struct rebuild_report *ret, struct err *err) {
    int64_t begun_us = clock_monotonic_us();
    struct log_topic topic;
    struct pg *lock;
    *ret = (struct rebuild_report){0};
    if (!log_topic_find(config->log, str_from(config->service->decider->inputs[0]), &topic, err) ||
        !pg_open(config->database_url, NULL, &lock, err))
        return false;
    bool ok = lock_service(lock, err) && shards_rebuild(config, topic.partitions, ret, err);
    pg_close(lock);
    ret->compared = ok;
    ret->swapped = ok && !config->only_compare;
    ret->seconds = (double)(clock_monotonic_us() - begun_us) / 1e6;
    return ok;
}
