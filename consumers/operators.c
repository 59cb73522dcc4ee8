/* Calls to the outside that only people can settle: they are kept, said so loudly, and tried again when an operator has
 * marked them (`orderlog payments`). */
#include "consumers/batch.h"
#include "consumers/flush.h"

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/domain/payments.h"

enum { WHY_MAX = 300 };

static const int64_t turn_us = 1000 * 1000;

/* ---- results */

/* As much of it as PostgreSQL takes. */
static struct str storable(struct batch *batch, struct str text) {
    size_t len = text.len < WHY_MAX ? text.len : WHY_MAX;
    char *copy = arena_alloc(&batch->arena, len + 1);
    for (size_t i = 0; i < len; i++)
        copy[i] = text.ptr[i] < ' ' || text.ptr[i] > '~' ? '?' : text.ptr[i];
    return (struct str){copy, len};
}

void operators_leave(struct batch *batch, struct item *item, const char *why) {
    item->open_outcome = item->left = true;
    item->left_why = storable(batch, str_from(why));
    logging_write(LOG_ERROR, "payments.left_to_operators", "intent=%.*s key=%.*s why=\"%.*s\" trace_id=%.*s",
                  STR_ARG(item->result->effect.id), STR_ARG(item->result->effect.key), STR_ARG(item->left_why),
                  STR_ARG(envelope_trace_id(item->result->effect.traceparent)));
}

static struct str error_of(struct batch *batch, const struct item *item) {
    struct str code = STR("");
    if (item->message.type == MESSAGE_INTENT_PROVIDER_ANSWERED)
        code = item->message.intent_provider_answered.code;
    else if (item->message.type == MESSAGE_INTENT_NOTICE_ANSWERED)
        code = item->message.intent_notice_answered.reason;
    return code.ptr ? storable(batch, code) : STR("");
}

static bool is_open(const struct item *item) {
    return item->source == ITEM_RESULT && item->open_outcome;
}

bool operators_prepare(struct batch *batch, struct err *err) {
    for (size_t i = 0; i < batch->item_count; i++)
        if (is_open(batch->items[i]))
            return flush_now(batch->loop->flush, err);
    return true;
}

void operators_send(struct batch *batch) {
    int count = 0;
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_I64);
    for (int i = 0; i < 3; i++)
        pg_add_array(&params, PG_TEXT);
    pg_add_array(&params, PG_I64);
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct item *item = batch->items[i];
        if (!is_open(item))
            continue;
        pg_array_str(&params, 0, str_from(item->shard->service->decider->service));
        pg_array_i64(&params, 1, item->shard->index);
        pg_array_str(&params, 2, item->result->effect.id);
        pg_array_str(&params, 3, error_of(batch, item));
        pg_array_str(&params, 4, item->left ? item->left_why : STR_NULL);
        pg_array_i64(&params, 5, item->result->at_us);
        count++;
    }
    if (count)
        pg_send(batch->loop->pg,
                "UPDATE decider.intent i SET tries = i.tries + 1, last_error = u.error, "
                "left_why = u.left_why, tried_us = u.at FROM "
                "UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[]) "
                "AS u(service, shard, id, error, left_why, at) "
                "WHERE i.service = u.service AND i.shard = u.shard AND i.id = u.id",
                &params);
}

/* ---- marks */

static bool is_marked(const struct service *service, bool *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(service->decider->service));
    if (!pg_exec(service->loop->pg, "SELECT 1 FROM decider.mark WHERE service = $1 LIMIT 1", &params, &rows, err))
        return false;
    *ret = pg_rows(rows) > 0;
    return true;
}

/* One statement, so that a mark is taken with what comes of it; the shards' rows are locked, so that nobody else takes
 * them over meanwhile. They say that the tables have all that came before: a take-over must not bring it up over what
 * is written here. A call that was given up is tried again by its timer, as after a delay. */
static const char take_marks[] =
    "WITH mine AS (UPDATE decider.shard s SET flushed_through = s.version "
    "FROM UNNEST($5::bigint[], $6::bigint[], $7::bigint[]) AS u(shard, epoch, version) "
    "WHERE s.service = $1 AND s.owner = $2 AND s.shard = u.shard AND s.epoch = u.epoch AND s.version = u.version "
    "RETURNING s.shard), "
    "marked AS (DELETE FROM decider.mark m USING mine WHERE m.service = $1 AND m.shard = mine.shard "
    "RETURNING m.shard, m.key, m.intent, m.closes), "
    "timed AS (INSERT INTO decider.timer (service, shard, key, name, due_us) "
    "SELECT $1, shard, key, $3, $4 FROM marked WHERE intent = '' "
    "ON CONFLICT (service, shard, key, name) DO UPDATE SET due_us = EXCLUDED.due_us RETURNING shard), "
    "opened AS (UPDATE decider.intent i SET left_why = NULL, tries = 0, closed = m.closes FROM marked m "
    "WHERE i.service = $1 AND i.shard = m.shard AND i.id = m.intent AND i.left_why IS NOT NULL "
    "RETURNING i.shard, i.id, i.key, i.command_id, i.traceparent, i.request, i.created_us, m.closes) "
    "SELECT shard, id, key, command_id, traceparent, request, created_us, closes FROM opened "
    "UNION ALL SELECT m.shard, m.intent, m.key, NULL, NULL, NULL, 0, false FROM marked m "
    "WHERE NOT EXISTS (SELECT 1 FROM opened o WHERE o.shard = m.shard AND o.id = m.intent)";

/* A row without a request: a timer is due now, or the intent waits for its next try already. */
static void apply_mark(struct service *service, const struct pg_result *rows, int i, int64_t now_us) {
    struct loop *loop = service->loop;
    struct shard *shard = &service->shards[pg_get_i64(rows, i, 0)];
    struct effect effect = {.shard = shard->slot, .epoch = shard->epoch, .id = pg_get_str(rows, i, 1)};
    logging_write(LOG_INFO, "payments.marked", "key=%.*s intent=%.*s", STR_ARG(pg_get_str(rows, i, 2)),
                  STR_ARG(effect.id));
    if (pg_is_null(rows, i, 5)) {
        if (effect.id.len)
            effects_hurry(loop->effects, effect.shard, effect.id);
        else if (now_us < shard->next_due_us)
            shard->next_due_us = now_us;
        return;
    }
    struct str *columns[] = {&effect.key, &effect.command_id, &effect.traceparent, &effect.request};
    for (int c = 0; c < 4; c++)
        *columns[c] = pg_get_str(rows, i, 2 + c);
    effect.created_us = pg_get_i64(rows, i, 6);
    effect.closed = pg_get_bool(rows, i, 7);
    effects_add(loop->effects, &effect);
}

/* Those whose tables have all that they changed, as flush_now sees to; marks of others wait. */
static int add_running(struct pg_params *params, const struct service *service) {
    int count = 0;
    for (int i = 0; i < 3; i++)
        pg_add_array(params, PG_I64);
    for (int32_t s = 0; s < service->shard_count; s++) {
        const struct shard *shard = &service->shards[s];
        if (shard->status != SHARD_RUNNING)
            continue;
        pg_array_i64(params, 4, shard->index);
        pg_array_i64(params, 5, shard->epoch);
        pg_array_i64(params, 6, shard->version);
        count++;
    }
    return count;
}

static bool apply_marks(struct service *service, struct err *err) {
    struct loop *loop = service->loop;
    bool any;
    int64_t now_us = clock_now_us();
    if (!is_marked(service, &any, err))
        return false;
    if (!any)
        return true;
    if (!flush_now(loop->flush, err)) /* the tables must say what is known */
        return false;
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(service->decider->service));
    pg_add_text(&params, str_from(loop->owner));
    pg_add_text(&params, PAYMENTS_TIMER_RETRY);
    pg_add_i64(&params, now_us);
    if (!add_running(&params, service))
        return true;
    if (!pg_exec(loop->pg, take_marks, &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        apply_mark(service, rows, i, now_us);
    return true;
}

void operators_turn(struct loop *loop) {
    struct err err = {0};
    int64_t now_us = clock_monotonic_us();
    if (!loop->effects || now_us < loop->operators_at_us || !loop->pg || !pg_connected(loop->pg))
        return;
    loop->operators_at_us = now_us + turn_us;
    for (size_t i = 0; i < loop->service_count; i++)
        if (!apply_marks(&loop->services[i], &err)) {
            logging_err(&err, "payments.operators_failed", "service=%s", loop->services[i].decider->service);
            return;
        }
}
