#include <stdlib.h>

#include "consumers/batch.h"
#include "consumers/flush.h"
#include "consumers/replay.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/codec/avro.h"

static const int64_t retry_first_us = 100 * 1000;
static const int64_t retry_last_us = 3 * 1000 * 1000;

/* ---- numbers ---- */

static struct shard_origin *find_origin(const struct shard *shard, struct str topic, struct str origin) {
    for (size_t i = 0; i < shard->origin_count; i++)
        if (str_eq(shard->origins[i].origin, origin) && str_eq(shard->origins[i].topic, topic))
            return &shard->origins[i];
    return NULL;
}

int64_t shard_last_seq(const struct shard *shard, struct str topic, struct str origin) {
    struct shard_origin *known = find_origin(shard, topic, origin);
    return known ? known->last_seq : 0;
}

static struct str own(struct str s) {
    return (struct str){mem_strdup(s), s.len};
}

static void disown(struct str s) {
    free((void *)(uintptr_t)s.ptr);
}

void shard_set_last_seq(struct shard *shard, struct str topic, struct str origin, int64_t seq) {
    struct shard_origin *known = find_origin(shard, topic, origin);
    if (!known) {
        shard->origins = mem_realloc(shard->origins, (shard->origin_count + 1) * sizeof(*shard->origins));
        known = &shard->origins[shard->origin_count++];
        *known = (struct shard_origin){.topic = own(topic), .origin = own(origin)};
    }
    known->last_seq = seq;
}

static struct shard_output *output_of(struct shard *shard, struct str topic, int32_t partition) {
    for (size_t i = 0; i < shard->output_count; i++)
        if (shard->outputs[i].partition == partition && str_eq(shard->outputs[i].topic, topic))
            return &shard->outputs[i];
    shard->outputs = mem_realloc(shard->outputs, (shard->output_count + 1) * sizeof(*shard->outputs));
    shard->outputs[shard->output_count] =
        (struct shard_output){.topic = own(topic), .partition = partition, .acknowledged_offset = -1};
    return &shard->outputs[shard->output_count++];
}

int64_t shard_next_seq(struct shard *shard, struct str topic, int32_t partition) {
    return ++output_of(shard, topic, partition)->last_seq;
}

static void take_acknowledged(void *user, struct str topic, int32_t partition, int64_t offset) {
    struct shard_output *output = output_of(user, topic, partition);
    if (offset > output->acknowledged_offset)
        output->acknowledged_offset = offset;
}

/* ---- parked subjects ---- */

bool shard_is_parked(const struct shard *shard, struct str subject) {
    for (size_t i = 0; i < shard->parked_count; i++)
        if (str_eq(shard->parked[i], subject))
            return true;
    return false;
}

void shard_add_parked(struct shard *shard, struct str subject) {
    if (shard_is_parked(shard, subject))
        return;
    shard->parked = mem_realloc(shard->parked, (shard->parked_count + 1) * sizeof(*shard->parked));
    shard->parked[shard->parked_count++] = own(subject);
}

void shard_remove_parked(struct shard *shard, struct str subject) {
    for (size_t i = 0; i < shard->parked_count; i++)
        if (str_eq(shard->parked[i], subject)) {
            disown(shard->parked[i]);
            shard->parked[i] = shard->parked[--shard->parked_count];
            return;
        }
}

/* ---- the row's bytes ---- */

void shard_encode(const struct loop *loop, const struct shard *shard, struct arena *arena, struct buf *ret) {
    const struct service *service = shard->service;
    const struct decider *decider = service->decider;
    struct state_shard state = {.log_id = log_id(loop->config.log)};
    publisher_take_acknowledged(loop->publisher, shard->slot, take_acknowledged, (void *)(uintptr_t)shard);
    state.inputs.count = decider->input_count;
    state.inputs.items = arena_array(arena, struct state_shard_input, decider->input_count);
    for (size_t i = 0; i < decider->input_count; i++)
        state.inputs.items[i] =
            (struct state_shard_input){service->inputs[i].name, service->inputs[i].id, shard->next_offsets[i]};
    state.received.count = shard->origin_count;
    state.received.items = arena_array(arena, struct state_shard_origin, shard->origin_count);
    for (size_t i = 0; i < shard->origin_count; i++)
        state.received.items[i] =
            (struct state_shard_origin){shard->origins[i].topic, shard->origins[i].origin, shard->origins[i].last_seq};
    state.produced.count = shard->output_count;
    state.produced.items = arena_array(arena, struct state_shard_output, shard->output_count);
    for (size_t i = 0; i < shard->output_count; i++)
        state.produced.items[i] =
            (struct state_shard_output){shard->outputs[i].topic, shard->outputs[i].partition,
                                        shard->outputs[i].last_seq, shard->outputs[i].acknowledged_offset};
    state_encode(schema_subject_find(STR("state/shard")), &state, ret);
}

static bool adopt_inputs(struct shard *shard, const struct state_shard *state, struct err *err) {
    for (size_t i = 0; i < shard->service->decider->input_count; i++) {
        const struct log_topic *topic = &shard->service->inputs[i];
        shard->next_offsets[i] = 0;
        for (size_t k = 0; k < state->inputs.count; k++) {
            const struct state_shard_input *input = &state->inputs.items[k];
            if (!str_eq(input->topic, topic->name))
                continue;
            if (!log_topic_id_fits(topic->id, input->topic_id))
                return err_set(err, ERR_LOST_RECORDS,
                               "topic %.*s was made anew: its id is %.*s, the stored position is of %.*s",
                               STR_ARG(input->topic), STR_ARG(topic->id), STR_ARG(input->topic_id));
            shard->next_offsets[i] = input->next_offset;
        }
    }
    return true;
}

static bool adopt(struct loop *loop, struct shard *shard, struct str bytes, struct arena *arena, struct err *err) {
    struct state_shard state = {0};
    if (!state_decode(schema_subject_find(STR("state/shard")), bytes, arena, &state, err))
        return err_wrap(err, "the shard's row");
    if (!str_eq(state.log_id, log_id(loop->config.log)))
        return err_set(err, ERR_LOST_RECORDS, "the stored position is of log %.*s, but this is log %.*s",
                       STR_ARG(state.log_id), STR_ARG(log_id(loop->config.log)));
    if (!adopt_inputs(shard, &state, err))
        return false;
    for (size_t i = 0; i < state.received.count; i++)
        shard_set_last_seq(shard, state.received.items[i].topic, state.received.items[i].origin,
                           state.received.items[i].last_seq);
    for (size_t i = 0; i < state.produced.count; i++) {
        struct shard_output *output =
            output_of(shard, state.produced.items[i].topic, state.produced.items[i].partition);
        output->last_seq = state.produced.items[i].last_seq;
        output->acknowledged_offset = state.produced.items[i].acknowledged_offset;
    }
    return true;
}

/* ---- taking over ---- */

static void add_key(const struct shard *shard, struct pg_params *params) {
    pg_add_text(params, str_from(shard->service->decider->service));
    pg_add_i64(params, shard->index);
}

/* The first statements of a take-over; whoever owned the shard is fenced once it commits. FOR UPDATE waits for what an
 * earlier owner has on its way into the tables, too (consumers/flush.h). */
static bool raise_epoch(struct loop *loop, struct shard *shard, struct arena *arena, bool *ret_fresh, struct err *err) {
    PG_PARAMS_AUTO key = {0};
    add_key(shard, &key);
    if (!pg_exec(loop->pg,
                 "INSERT INTO decider.shard (service, shard, epoch, owner, version, done_through) "
                 "VALUES ($1, $2::bigint, 0, '', 0, 0) ON CONFLICT DO NOTHING",
                 &key, NULL, err) ||
        !pg_exec(loop->pg, "SELECT 1 FROM decider.shard WHERE service = $1 AND shard = $2::bigint FOR UPDATE", &key,
                 NULL, err))
        return false;
    PG_PARAMS_AUTO params = {0};
    add_key(shard, &params);
    pg_add_text(&params, str_from(loop->owner));
    PG_RESULT_AUTO *row = NULL;
    if (!pg_exec(loop->pg,
                 "UPDATE decider.shard SET epoch = epoch + 1, owner = $3 WHERE service = $1 AND shard = $2::bigint "
                 "RETURNING epoch, version, done_through, state",
                 &params, &row, err))
        return false;
    shard->epoch = pg_get_i64(row, 0, 0);
    shard->version = pg_get_i64(row, 0, 1);
    shard->done_saved = pg_get_i64(row, 0, 2);
    shard->flushed_through = shard->flushed_saved = shard->version; /* as replay_changes sees to */
    *ret_fresh = pg_is_null(row, 0, 3);
    if (*ret_fresh)
        return true; /* the first owner ever: from the beginning */
    return adopt(loop, shard, pg_get_str(row, 0, 3), arena, err);
}

/* A second statement, so that the last commit of a zombie, which the first one waited for, is seen. */
static bool load_outbox(struct loop *loop, struct shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_key(shard, &params);
    pg_add_i64(&params, shard->done_saved);
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(loop->pg,
                 "SELECT id, bytes FROM decider.outbox WHERE service = $1 AND shard = $2::bigint AND id > $3 AND "
                 "records > 0 "
                 "ORDER BY id",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        if (!publisher_add(loop->publisher, shard->slot, pg_get_i64(rows, i, 0), pg_get_str(rows, i, 1), err))
            return err_wrap(err, "decider.outbox row %lld, of a newer version or damaged",
                            (long long)pg_get_i64(rows, i, 0));
    return true;
}

bool shard_load_next_due(struct loop *loop, struct shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_key(shard, &params);
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(loop->pg, "SELECT min(due_us) FROM decider.timer WHERE service = $1 AND shard = $2::bigint", &params,
                 &rows, err))
        return false;
    shard->next_due_us = pg_is_null(rows, 0, 0) ? INT64_MAX : pg_get_i64(rows, 0, 0);
    return true;
}

static bool load_intents(struct loop *loop, struct shard *shard, struct err *err) {
    if (!loop->effects)
        return true;
    PG_PARAMS_AUTO params = {0};
    add_key(shard, &params);
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(loop->pg,
                 "SELECT id, key, command_id, traceparent, request, created_us, tries, closed FROM decider.intent "
                 "WHERE service = $1 AND shard = $2::bigint AND left_why IS NULL ORDER BY created_us, id",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct effect effect = {.shard = shard->slot, .epoch = shard->epoch};
        struct str *columns[] = {&effect.id, &effect.key, &effect.command_id, &effect.traceparent, &effect.request};
        for (int c = 0; c < 5; c++)
            *columns[c] = pg_get_str(rows, i, c);
        effect.created_us = pg_get_i64(rows, i, 5);
        effect.tries = (int32_t)pg_get_i64(rows, i, 6);
        effect.closed = pg_get_bool(rows, i, 7);
        effects_add(loop->effects, &effect);
    }
    return true;
}

static bool take_over_in_transaction(struct loop *loop, struct shard *shard, struct arena *arena, bool *ret_fresh,
                                     struct err *err) {
    if (!pg_begin(loop->pg, err))
        return false;
    if (raise_epoch(loop, shard, arena, ret_fresh, err) &&
        replay_changes(loop->pg, shard->service->decider, shard->index, err) && load_outbox(loop, shard, err) &&
        shard_load_next_due(loop, shard, err) && shard_load_parked(loop, shard, err) && pg_commit(loop->pg, err))
        return true;
    pg_rollback(loop->pg);
    return false;
}

bool shard_take_over(struct loop *loop, struct shard *shard, struct err *err) {
    struct arena arena;
    shard_drop(loop, shard);
    arena_init(&arena);
    /* Calls begin at once, on other threads: not before it is certain that they are ours to make. */
    bool fresh = false;
    bool ok = take_over_in_transaction(loop, shard, &arena, &fresh, err) && shard_check_log(loop, shard, fresh, err) &&
              load_intents(loop, shard, err);
    arena_free(&arena);
    struct service *service = shard->service;
    for (size_t i = 0; ok && i < service->decider->input_count; i++)
        ok = log_consumer_seek(service->consumer, service->inputs[i].name, shard->index, shard->next_offsets[i], err);
    if (!ok) {
        shard_drop(loop, shard);
        return false;
    }
    shard->status = SHARD_RUNNING; /* the delay goes back with the next commit: a batch may be what fails each time */
    metrics_add(service->metrics.take_overs, 1);
    logging_write(LOG_INFO, "shard.taken", "service=%s shard=%d epoch=%lld version=%lld", SHARD_ARG(shard),
                  (long long)shard->epoch, (long long)shard->version);
    return true;
}

void shard_drop(struct loop *loop, struct shard *shard) {
    if (loop->publisher)
        publisher_drop(loop->publisher, shard->slot);
    if (loop->effects)
        effects_drop(loop->effects, shard->slot);
    if (loop->flush)
        flush_drop(loop->flush, shard->slot);
    for (size_t i = 0; i < shard->origin_count; i++) {
        disown(shard->origins[i].origin);
        disown(shard->origins[i].topic);
    }
    for (size_t i = 0; i < shard->output_count; i++)
        disown(shard->outputs[i].topic);
    for (size_t i = 0; i < shard->parked_count; i++)
        disown(shard->parked[i]);
    shard->origin_count = shard->output_count = shard->parked_count = 0;
    shard->epoch = 0; /* none that is ours */
    memset(shard->next_offsets, 0, sizeof(shard->next_offsets));
    shard->next_due_us = INT64_MAX;
    shard->fenced = shard->settling = false;
    shard->moved = false;
    shard->timers_fired = false;
    free(shard->halted_why);
    shard->halted_why = NULL;
}

static void pause_inputs(const struct shard *shard) {
    for (size_t i = 0; i < shard->service->decider->input_count; i++)
        log_consumer_pause(shard->service->consumer, shard->service->inputs[i].name, shard->index);
}

void shard_retry(struct loop *loop, struct shard *shard, const struct err *why) {
    pause_inputs(shard);
    shard_drop(loop, shard);
    shard->status = SHARD_WAITING;
    shard->retry_at_us = clock_monotonic_us() + shard->retry_delay_us;
    shard->retry_delay_us = shard->retry_delay_us ? shard->retry_delay_us * 2 : retry_first_us;
    if (shard->retry_delay_us > retry_last_us)
        shard->retry_delay_us = retry_last_us;
    logging_err(why, "shard.dropped", "service=%s shard=%d", SHARD_ARG(shard));
}

void shard_halt(struct shard *shard, const struct err *why) {
    pause_inputs(shard);
    shard->status = SHARD_HALTED;
    free(shard->halted_why);
    shard->halted_why = mem_strdup(str_from(why->detail));
    metrics_add(shard->service->metrics.halted, 1);
    logging_err(why, "shard.halted", "service=%s shard=%d", SHARD_ARG(shard));
}
