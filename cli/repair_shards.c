#include "cli/repair.h"

#include "consumers/replay.h"
#include "core/codec/avro.h"
#include "core/domain/notices.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- where the shards stand ---- */

/* Where there is one. */
static const struct fold_service notifier_service = {&notifier_decider};

static const struct fold_service *service_find(struct str name) {
    for (size_t i = 0; i < FOLD_SERVICE_COUNT; i++)
        if (str_eq(name, str_from(fold_services[i].decider->service)))
            return &fold_services[i];
    return str_eq(name, str_from(notifier_decider.service)) ? &notifier_service : NULL;
}

static bool topics_fit(struct repair *repair, const struct repair_shard *shard, struct err *err) {
    if (!str_eq(shard->was.log_id, log_id(repair->log)))
        return err_set(err, ERR_CONFIG, "%s is of log %.*s, and this is log %.*s", shard->origin,
                       STR_ARG(shard->was.log_id), STR_ARG(log_id(repair->log)));
    for (size_t i = 0; i < shard->was.inputs.count; i++) {
        const struct state_shard_input *input = &shard->was.inputs.items[i];
        struct log_topic topic;
        if (!log_topic_find(repair->log, input->topic, &topic, err))
            return false;
        if (!log_topic_id_fits(topic.id, input->topic_id))
            return err_set(err, ERR_CONFIG, "topic %.*s was made anew since the backup", STR_ARG(input->topic));
    }
    return true;
}

/* `now` begins as `was`, in arrays of its own. */
static bool shard_read(struct repair *repair, struct repair_shard *shard, struct str bytes, struct err *err) {
    struct str kept = arena_dup(&repair->arena, bytes);
    return state_decode(schema_subject_find(STR("state/shard")), kept, &repair->arena, &shard->was, err) &&
           state_decode(schema_subject_find(STR("state/shard")), kept, &repair->arena, &shard->now, err) &&
           topics_fit(repair, shard, err);
}

/* It had decided nothing when the backup was made. */
static bool shard_add_fresh(struct repair *repair, const struct fold_service *service, int32_t index, struct err *err) {
    const struct decider *decider = service->decider;
    struct repair_shard *shard = &repair->shards[repair->shard_count];
    struct state_shard_input *inputs = arena_array(&repair->arena, struct state_shard_input, decider->input_count);
    for (size_t i = 0; i < decider->input_count; i++) {
        struct log_topic topic;
        if (!log_topic_find(repair->log, str_from(decider->inputs[i]), &topic, err))
            return false;
        inputs[i] = (struct state_shard_input){str_from(decider->inputs[i]), arena_dup(&repair->arena, topic.id), 0};
    }
    BUF_AUTO bytes = {0};
    struct state_shard state = {.log_id = log_id(repair->log), .inputs = {inputs, decider->input_count}};
    state_encode(schema_subject_find(STR("state/shard")), &state, &bytes);
    shard->service = service;
    shard->index = index;
    snprintf(shard->origin, sizeof shard->origin, "%s/%d", decider->service, index);
    *map_put(&repair->origins, str_from(shard->origin)) = shard;
    repair->shard_count++;
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, str_from(decider->service));
    pg_add_i64(&params, index);
    return pg_exec(repair->pg,
                   "INSERT INTO decider.shard (service, shard, epoch, owner, version, done_through) "
                   "VALUES ($1, $2::bigint, 0, '', 0, 0) ON CONFLICT DO NOTHING",
                   &params, NULL, err) &&
           shard_read(repair, shard, buf_str(&bytes), err);
}

static bool service_complete(struct repair *repair, const struct fold_service *service, struct err *err) {
    struct log_topic topic;
    struct arena arena;
    if (!log_topic_find(repair->log, str_from(service->decider->inputs[0]), &topic, err))
        return false;
    repair->shards =
        mem_realloc(repair->shards, (repair->shard_count + (size_t)topic.partitions) * sizeof *repair->shards);
    memset(repair->shards + repair->shard_count, 0, (size_t)topic.partitions * sizeof *repair->shards);
    arena_init(&arena);
    bool ok = true;
    for (int32_t i = 0; ok && i < topic.partitions; i++) {
        struct str origin = arena_printf(&arena, "%s/%d", service->decider->service, i);
        ok = map_get(&repair->origins, origin) || shard_add_fresh(repair, service, i, err);
    }
    arena_free(&arena);
    return ok;
}

static bool shard_lock(struct repair *repair, const struct pg_result *rows, int i, struct repair_shard *shard,
                       struct err *err) {
    const struct fold_service *service = service_find(pg_get_str(rows, i, 0));
    if (!service)
        return err_set(err, ERR_CONFIG, "decider.shard has a service %.*s, which this program does not know",
                       STR_ARG(pg_get_str(rows, i, 0)));
    shard->service = service;
    shard->index = (int32_t)pg_get_i64(rows, i, 1);
    snprintf(shard->origin, sizeof shard->origin, "%s/%d", service->decider->service, shard->index);
    *map_put(&repair->origins, str_from(shard->origin)) = shard;
    return shard_read(repair, shard, pg_get_str(rows, i, 2), err) &&
           replay_changes(repair->pg, service->decider, shard->index, err);
}

/* A shop need not have a notifier, nor its log a topic for one; one that was switched on after the backup is known by
 * what it put into the log. */
static bool notifier_is_there(struct repair *repair, bool *ret, struct err *err) {
    struct log_topic topic;
    struct err why = {0};
    *ret = false;
    for (size_t i = 0; i < repair->shard_count && !*ret; i++)
        *ret = repair->shards[i].service == &notifier_service;
    if (*ret)
        return true;
    if (!log_topic_find(repair->log, STR(TOPIC_NOTIFICATION_EVENTS), &topic, &why))
        return why.kind == ERR_NOT_FOUND || err_set(err, why.kind, "%s", why.detail);
    for (int32_t i = 0; i < topic.partitions && !*ret; i++) {
        int64_t low, high;
        if (!log_watermarks(repair->log, topic.name, i, &low, &high, err))
            return false;
        *ret = high > 0;
    }
    return true;
}

static bool shards_lock(struct repair *repair, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(repair->pg,
                 "SELECT service, shard, state FROM decider.shard WHERE state IS NOT NULL ORDER BY service, shard "
                 "FOR UPDATE",
                 NULL, &rows, err))
        return false;
    if (!pg_rows(rows))
        return err_set(err, ERR_CONFIG, "this database has no shards: there is no backup in it to go on from");
    repair->shards = mem_zalloc((size_t)pg_rows(rows) * sizeof *repair->shards);
    for (int i = 0; i < pg_rows(rows); i++, repair->shard_count++)
        if (!shard_lock(repair, rows, i, &repair->shards[i], err))
            return false;
    for (size_t i = 0; i < FOLD_SERVICE_COUNT; i++)
        if (!service_complete(repair, &fold_services[i], err))
            return false;
    bool notifies;
    if (!notifier_is_there(repair, &notifies, err) || (notifies && !service_complete(repair, &notifier_service, err)))
        return false;
    /* They stand still from here on. */
    for (size_t i = 0; i < repair->shard_count; i++)
        *map_put(&repair->origins, str_from(repair->shards[i].origin)) = &repair->shards[i];
    return true;
}

/* ---- a shard ---- */

static void fold_begin(struct repair *repair, struct repair_shard *at, struct repair_fold *fold) {
    *fold = (struct repair_fold){.repair = repair, .at = at};
    fold->config = (struct rebuild_decider_config){.log = repair->log, .service = at->service, .shop = &repair->shop};
    fold->shard =
        (struct decider_shard){.config = &fold->config, .report = &fold->report, .pg = repair->pg, .index = at->index};
    repair_probe_init(fold);
}

/* What it has decided and the log does not hold would be lost with its tables set to what the log says: a shard that
 * the log is not ahead of is left as it is, its owner publishes the rest. One of which both hold a part has two
 * histories. */
static bool is_left_alone(const struct repair_fold *fold, bool *ret, struct err *err) {
    BUF_AUTO missing = {0};
    const struct repair_shard *at = fold->at;
    *ret = !decider_shard_is_folded(&fold->shard, &at->was, &missing);
    return !*ret || !at->count.ahead ||
           err_set(err, ERR_CONFIG, "%s, which is ahead of it elsewhere: they are of two histories", missing.ptr);
}

/* With all that the log holds, whether it was read or not. */
static bool inputs_settle(struct repair *repair, struct repair_shard *at, bool *ret_left, struct err *err) {
    struct repair_fold fold;
    struct state_shard all = at->was;
    all.inputs.items = arena_array(&repair->arena, struct state_shard_input, all.inputs.count);
    for (size_t i = 0; i < all.inputs.count; i++) {
        all.inputs.items[i] = at->was.inputs.items[i];
        all.inputs.items[i].next_offset = INT64_MAX;
    }
    fold_begin(repair, at, &fold);
    bool ok = decider_shard_fold(&fold.shard, &all, err) && is_left_alone(&fold, ret_left, err) &&
              (*ret_left || (repair_apart_load(&fold, err) && repair_held(&fold, err) && repair_inputs(&fold, err)));
    repair_probe_free(&fold);
    return ok;
}

static bool state_write(const struct repair *repair, const struct repair_shard *at, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO bytes = {0};
    state_encode(schema_subject_find(STR("state/shard")), &at->now, &bytes);
    pg_add_text(&params, str_from(at->service->decider->service));
    pg_add_i64(&params, at->index);
    pg_add_bytes(&params, buf_str(&bytes));
    return pg_exec(repair->pg,
                   "UPDATE decider.shard SET epoch = epoch + 1, owner = '', state = $3 "
                   "WHERE service = $1 AND shard = $2::bigint",
                   &params, NULL, err);
}

static bool tables_settle(struct repair *repair, struct repair_shard *at, struct err *err) {
    struct repair_fold fold;
    fold_begin(repair, at, &fold);
    bool ok = decider_shard_fold(&fold.shard, &at->now, err) && decider_rows_compare(&fold.shard, err) &&
              decider_rows_mend(&fold.shard, &at->count.rows, err) && repair_timers(&fold, err) &&
              repair_calls(&fold, err) && state_write(repair, at, err);
    repair_probe_free(&fold);
    return ok;
}

static bool parked_count(struct repair *repair, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(repair->pg, "SELECT count(DISTINCT (service, shard, subject)) FROM decider.parked", NULL, &rows, err))
        return false;
    repair->parked = pg_get_i64(rows, 0, 0);
    return true;
}

bool repair_shards(struct repair *repair, struct err *err) {
    if (!shards_lock(repair, err) || !repair_log_scan(repair, err) || !parked_count(repair, err))
        return false;
    for (size_t i = 0; repair->ahead && i < repair->shard_count; i++) {
        struct repair_shard *at = &repair->shards[i];
        bool left;
        if (!inputs_settle(repair, at, &left, err) || (!left && !tables_settle(repair, at, err)))
            return err_wrap(err, "%s", at->origin);
    }
    return !repair->ahead || repair_notices(repair, err);
}
