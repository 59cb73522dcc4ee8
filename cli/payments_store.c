#include "cli/payments.h"

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/codec/avro.h"

static const int64_t fresh_us = INT64_C(60) * 1000 * 1000;

bool payments_open(struct pg **ret, struct err *err) {
    const char *url;
    if (!config_require("DATABASE_URL", &url, err))
        return err_wrap(err, "which database? Give --database URL or set DATABASE_URL");
    return pg_open(url, NULL, ret, err);
}

static struct payments_row *add_row(struct arena *arena, struct payments_rows *rows) {
    if ((rows->count & (rows->count - 1)) == 0) { /* full at each power of two */
        struct payments_row *more = arena_array(arena, struct payments_row, rows->count ? rows->count * 2 : 1);
        if (rows->count)
            memcpy(more, rows->rows, rows->count * sizeof *more);
        rows->rows = more;
    }
    return &rows->rows[rows->count++];
}

/* ---- intents ---- */

static void read_intent(const struct pg_result *rows, int i, struct arena *arena, struct payments_row *ret) {
    struct message request = {0};
    struct err unreadable = {0};
    bool left = !pg_is_null(rows, i, 6);
    *ret = (struct payments_row){.id = arena_dup(arena, pg_get_str(rows, i, 0)),
                                 .order_id = arena_dup(arena, pg_get_str(rows, i, 1)),
                                 .shard = pg_get_i64(rows, i, 2),
                                 .state = left ? PAYMENTS_LEFT : PAYMENTS_OPEN,
                                 .since_us = pg_get_i64(rows, i, 3),
                                 .tries = pg_get_i64(rows, i, 4),
                                 .tried_us = pg_is_null(rows, i, 7) ? 0 : pg_get_i64(rows, i, 7)};
    ret->why = left                     ? arena_dup(arena, pg_get_str(rows, i, 6))
               : pg_is_null(rows, i, 5) ? STR("")
                                        : arena_dup(arena, pg_get_str(rows, i, 5));
    struct str bytes = arena_dup(arena, pg_get_str(rows, i, 8));
    if (!message_decode(schema_subject_find(STR("intent/payment")), bytes, arena, &request, &unreadable) ||
        request.type != MESSAGE_INTENT_CALL_PROVIDER)
        return; /* its owner has said so, in left_why */
    ret->action = request.intent_call_provider.action;
    ret->amount = request.intent_call_provider.amount;
}

static bool find_intents(struct pg *pg, struct str id, bool fresh, struct arena *arena, struct payments_rows *ret,
                         struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, id);
    pg_add_i64(&params, fresh ? INT64_MAX : clock_now_us() - fresh_us);
    if (!pg_exec(pg,
                 "SELECT id, key, shard, created_us, tries, last_error, left_why, tried_us, request "
                 "FROM decider.intent WHERE service = 'payments' AND ($1::text IS NULL OR id = $1) "
                 "AND (tries > 0 OR left_why IS NOT NULL OR created_us < $2) ORDER BY created_us, id",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        read_intent(rows, i, arena, add_row(arena, ret));
    return true;
}

/* ---- calls that were refused: their timers say of which order ---- */

static bool read_call(const struct pg_result *rows, int i, struct arena *arena, struct payments_row *ret,
                      struct err *err) {
    struct state_payment_call call;
    struct str bytes = arena_dup(arena, pg_get_str(rows, i, 3));
    if (pg_is_null(rows, i, 3)) /* not yet written: the owner keeps it in memory for a moment */
        call = (struct state_payment_call){.action = INTENT_PROVIDER_ACTION_CAPTURE, .amount = {0, STR("")}};
    else if (!state_decode(schema_subject_find(STR("state/payment_call")), bytes, arena, &call, err))
        return err_wrap(err, "the call of order %.*s", STR_ARG(pg_get_str(rows, i, 0)));
    struct str order_id = arena_dup(arena, pg_get_str(rows, i, 0));
    bool given_up = str_eq(pg_get_str(rows, i, 2), STR("given-up"));
    *ret = (struct payments_row){.id = order_id,
                                 .order_id = order_id,
                                 .shard = pg_get_i64(rows, i, 1),
                                 .state = given_up ? PAYMENTS_GIVEN_UP : PAYMENTS_WAITING,
                                 .action = call.action,
                                 .amount = call.amount,
                                 .tries = call.tries,
                                 .due_us = pg_get_i64(rows, i, 4),
                                 .why = STR("refused by the provider")};
    return true;
}

static bool find_calls(struct pg *pg, struct str id, bool fresh, struct arena *arena, struct payments_rows *ret,
                       struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, id);
    pg_add_bool(&params, fresh);
    if (!pg_exec(pg,
                 "SELECT t.key, t.shard, t.name, c.state, t.due_us FROM decider.timer t LEFT JOIN decider.payment_call "
                 "c ON c.key = t.key "
                 "WHERE t.service = 'payments' AND (t.name = 'given-up' OR (t.name = 'retry' AND $2)) "
                 "AND ($1::text IS NULL OR t.key = $1) ORDER BY t.key, t.name",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        if (!read_call(rows, i, arena, add_row(arena, ret), err))
            return false;
    return true;
}

bool payments_find(struct pg *pg, struct str id, bool fresh, struct arena *arena, struct payments_rows *ret,
                   struct err *err) {
    *ret = (struct payments_rows){0};
    return find_intents(pg, id, fresh, arena, ret, err) && find_calls(pg, id, fresh, arena, ret, err);
}

/* ---- marks ---- */

static bool is_call(const struct payments_row *row) {
    return row->state == PAYMENTS_WAITING || row->state == PAYMENTS_GIVEN_UP;
}

static void add_mark(struct pg_params *params, const struct payments_row *row) {
    pg_add_i64(params, row->shard);
    pg_add_text(params, row->order_id);
    pg_add_text(params, is_call(row) ? STR("") : row->id);
}

bool payments_mark(struct pg *pg, const struct payments_row *row, bool closes, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_mark(&params, row);
    pg_add_bool(&params, closes);
    return pg_exec(pg,
                   "INSERT INTO decider.mark (service, shard, key, intent, closes) "
                   "VALUES ('payments', $1::bigint, $2, $3, $4) "
                   "ON CONFLICT (service, shard, key, intent) DO UPDATE SET closes = EXCLUDED.closes",
                   &params, NULL, err);
}

bool payments_is_marked(struct pg *pg, const struct payments_row *row, bool *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    add_mark(&params, row);
    if (!pg_exec(pg,
                 "SELECT 1 FROM decider.mark WHERE service = 'payments' AND shard = $1::bigint AND key = $2 "
                 "AND intent = $3",
                 &params, &rows, err))
        return false;
    *ret = pg_rows(rows) > 0;
    return true;
}
