/* What a shard keeps that is no fold of the log: held requests, command ids, timers, calls to the provider. */
#include "cli/repair.h"

#include "consumers/claims.h"
#include "core/codec/avro.h"
#include "core/domain/orders_internal.h"
#include "core/domain/payments.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct decider *decider_of(const struct repair_fold *fold) {
    return fold->at->service->decider;
}

static void add_place(struct pg_params *params, const struct repair_fold *fold) {
    pg_add_text(params, str_from(decider_of(fold)->service));
    pg_add_i64(params, fold->at->index);
}

/* ---- tables that are apart ---- */

#define APART_LOAD(table) "SELECT key, state, closed FROM decider." table " WHERE shard = $1::bigint"
#define APART_WRITE(table)                                                                                             \
    "INSERT INTO decider." table " AS t (shard, key, version, guard, closed, state) "                                  \
    "VALUES ($1::bigint, $2, 1, 0, $3, $4) "                                                                           \
    "ON CONFLICT (key) DO UPDATE SET version = t.version + 1, closed = excluded.closed, state = excluded.state"

static const struct {
    const char *table, *load, *write;
} apart_sql[] = {
    {"held_order", APART_LOAD("held_order"), APART_WRITE("held_order")},
    {"held_payment", APART_LOAD("held_payment"), APART_WRITE("held_payment")},
    {"held_fulfilment", APART_LOAD("held_fulfilment"), APART_WRITE("held_fulfilment")},
    {"payment_call", APART_LOAD("payment_call"), APART_WRITE("payment_call")},
};

static size_t apart_of(const struct decider_table *table) {
    size_t i = 0;
    while (strcmp(apart_sql[i].table, table->name) != 0)
        if (++i == sizeof apart_sql / sizeof apart_sql[0])
            abort(); /* a table that is apart has its statements here */
    return i;
}

static bool table_load(struct repair_fold *fold, size_t table, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_i64(&params, fold->at->index);
    if (!pg_exec(fold->repair->pg, apart_sql[apart_of(&decider_of(fold)->tables[table])].load, &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct str state = pg_get_str(rows, i, 1);
        struct fold_state *kept = mem_alloc(sizeof *kept + state.len);
        *kept = (struct fold_state){.closed = pg_get_bool(rows, i, 2), .len = state.len};
        memcpy(kept->bytes, state.ptr, state.len);
        *map_put(&fold->shard.room.tables[table], pg_get_str(rows, i, 0)) = kept;
    }
    return true;
}

bool repair_apart_load(struct repair_fold *fold, struct err *err) {
    for (size_t t = 0; t < decider_of(fold)->table_count; t++)
        if (decider_of(fold)->tables[t].apart && !table_load(fold, t, err))
            return false;
    return true;
}

bool repair_apart_write(struct repair_fold *fold, int table, struct str key, bool closed, struct str state,
                        struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_i64(&params, fold->at->index);
    pg_add_text(&params, key);
    pg_add_bool(&params, closed);
    pg_add_bytes(&params, state);
    return pg_exec(fold->repair->pg, apart_sql[apart_of(&decider_of(fold)->tables[table])].write, &params, NULL, err);
}

/* ---- held requests that were answered since ---- */

#define FORGET_ANSWERED(list)                                                                                          \
    do {                                                                                                               \
        size_t kept_ = 0;                                                                                              \
        for (size_t i_ = 0; i_ < (list).count; i_++)                                                                   \
            if (!map_get(&fold->at->answered, (list).items[i_].command_id))                                            \
                (list).items[kept_++] = (list).items[i_];                                                              \
        changed = kept_ != (list).count;                                                                               \
        empty = !((list).count = kept_);                                                                               \
    } while (0)

static bool held_mend(struct repair_fold *fold, size_t table, const struct map_entry *entry, struct err *err) {
    const struct decider_table *spec = &decider_of(fold)->tables[table];
    const struct schema_subject *subject = schema_subject_find(str_from(spec->subject));
    const struct fold_state *kept = entry->value;
    bool changed = false, empty = false;
    arena_reset(&fold->shard.arena);
    void *state = arena_alloc(&fold->shard.arena, spec->size);
    if (!state_decode(subject, (struct str){kept->bytes, kept->len}, &fold->shard.arena, state, err))
        return err_wrap(err, "decider.%s row %.*s", spec->name, STR_ARG(entry->key));
    if (strcmp(spec->name, "held_order") == 0)
        FORGET_ANSWERED(((struct state_held_order *)state)->cancels);
    else if (strcmp(spec->name, "held_payment") == 0)
        FORGET_ANSWERED(((struct state_held_payment *)state)->requests);
    else
        FORGET_ANSWERED(((struct state_held_fulfilment *)state)->requests);
    if (!changed)
        return true;
    BUF_AUTO bytes = {0};
    state_encode(subject, state, &bytes);
    return repair_apart_write(fold, (int)table, entry->key, empty, buf_str(&bytes), err);
}

bool repair_held(struct repair_fold *fold, struct err *err) {
    for (size_t t = 0; t < decider_of(fold)->table_count; t++) {
        const struct decider_table *table = &decider_of(fold)->tables[t];
        if (!table->apart || !str_starts_with(str_from(table->name), STR("held_")))
            continue;
        for (struct map_entry *entry = NULL; (entry = map_next(&fold->shard.room.tables[t], entry));)
            if (!held_mend(fold, t, entry, err))
                return false;
    }
    return true;
}

/* ---- command ids ---- */

bool repair_command_keep(struct repair_fold *fold, struct str id, struct str body_hash, int64_t time_us,
                         struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    add_place(&params, fold);
    pg_add_text(&params, id);
    pg_add_text(&params, body_hash.ptr ? body_hash : STR(""));
    pg_add_time(&params, time_us);
    if (!pg_exec(fold->repair->pg,
                 "INSERT INTO decider.command (service, shard, command_id, body_hash, at) "
                 "VALUES ($1, $2::bigint, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING 1",
                 &params, &rows, err))
        return false;
    fold->at->count.commands += pg_rows(rows);
    return true;
}

/* ---- timers ---- */

static bool timer_set(struct repair_fold *fold, struct str key, struct str name, int64_t due_us, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    add_place(&params, fold);
    pg_add_text(&params, key);
    pg_add_text(&params, name);
    pg_add_i64(&params, due_us);
    if (!pg_exec(fold->repair->pg,
                 "INSERT INTO decider.timer (service, shard, key, name, due_us) VALUES ($1, $2::bigint, $3, $4, $5) "
                 "ON CONFLICT DO NOTHING RETURNING 1",
                 &params, &rows, err))
        return false;
    fold->at->count.timers += pg_rows(rows);
    return true;
}

static bool order_timer(struct repair_fold *fold, const struct state_order *order, struct str key, struct err *err) {
    bool waits = order->status == ORDER_STATUS_AWAITING_PAYMENT || order->status == ORDER_STATUS_PAYMENT_FAILED;
    return !waits || !order->deadline.has || timer_set(fold, key, ORDERS_TIMER_DEADLINE, order->deadline.value, err);
}

/* It looks at the cart when it fires, and waits on. */
static bool cart_timer(struct repair_fold *fold, const struct state_cart *cart, struct str key, struct err *err) {
    return cart->status != STATE_CART_STATUS_OPEN || !cart->shopper_id.len ||
           timer_set(fold, key, STR("abandoned"), cart->changed_at + fold->repair->shop.cart_abandon_us, err);
}

bool repair_timers(struct repair_fold *fold, struct err *err) {
    const struct decider *decider = decider_of(fold);
    bool orders = decider == &orders_decider, carts = decider == &checkout_decider;
    const struct decider_table *table = &decider->tables[0];
    for (struct map_entry *entry = NULL; (orders || carts) && (entry = map_next(&fold->shard.room.tables[0], entry));) {
        const struct fold_state *kept = entry->value;
        arena_reset(&fold->shard.arena);
        void *state = arena_alloc(&fold->shard.arena, table->size);
        if (!state_decode(schema_subject_find(str_from(table->subject)), (struct str){kept->bytes, kept->len},
                          &fold->shard.arena, state, err) ||
            !(orders ? order_timer(fold, state, entry->key, err) : cart_timer(fold, state, entry->key, err)))
            return false;
    }
    return true;
}

/* ---- calls to the provider ---- */

bool repair_call_write(struct repair_fold *fold, struct str id, struct str key, struct str command_id,
                       struct str traceparent, struct str request, int64_t time_us, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    add_place(&params, fold);
    pg_add_text(&params, id);
    pg_add_text(&params, key);
    pg_add_text(&params, command_id);
    pg_add_text(&params, traceparent);
    pg_add_bytes(&params, request);
    pg_add_i64(&params, time_us);
    if (!pg_exec(fold->repair->pg,
                 "INSERT INTO decider.intent (service, shard, id, key, command_id, traceparent, request, created_us) "
                 "VALUES ($1, $2::bigint, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING 1",
                 &params, &rows, err))
        return false;
    fold->at->count.calls_made += pg_rows(rows);
    return true;
}

static bool is_open(const struct state_payment *payment) {
    return payment->status == STATE_PAYMENT_STATUS_AUTHORIZING || payment->status == STATE_PAYMENT_STATUS_UNKNOWN;
}

/* Whether the log has what came of it. A look changes nothing, and may be repeated. */
static bool has_outcome(const struct state_payment *payment, const struct intent_call_provider *call) {
    if (!payment)
        return false;
    switch (call->action) {
    case INTENT_PROVIDER_ACTION_AUTHORIZE:
        return !is_open(payment) || payment->attempt != call->attempt;
    case INTENT_PROVIDER_ACTION_CAPTURE:
        return payment->status != STATE_PAYMENT_STATUS_AUTHORIZED;
    case INTENT_PROVIDER_ACTION_VOID:
        return call->attempt != PAYMENTS_STRAY_ATTEMPT && payment->status != STATE_PAYMENT_STATUS_AUTHORIZED;
    case INTENT_PROVIDER_ACTION_REFUND:
        return payment->refunded_minor >= payment->captured_minor;
    case INTENT_PROVIDER_ACTION_LOOK:
        break;
    }
    return false;
}

static const struct state_payment *payment_of(struct repair_fold *fold, struct str order_id, struct err *err) {
    const struct fold_state *kept = map_get(&fold->shard.room.tables[PAYMENTS_PAYMENT], order_id);
    struct state_payment *payment = arena_new(&fold->shard.arena, struct state_payment);
    if (!kept || !state_decode(schema_subject_find(STR("state/payment")), (struct str){kept->bytes, kept->len},
                               &fold->shard.arena, payment, err))
        return NULL;
    return payment;
}

static bool call_is_idle(struct repair_fold *fold, struct str order_id, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(STR("state/payment_call"));
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    struct state_payment_call call;
    BUF_AUTO bytes = {0};
    pg_add_text(&params, order_id);
    if (!pg_exec(fold->repair->pg, "SELECT state FROM decider.payment_call WHERE key = $1", &params, &rows, err))
        return false;
    if (!pg_rows(rows))
        return true;
    if (!state_decode(subject, pg_get_str(rows, 0, 0), &fold->shard.arena, &call, err))
        return false;
    call.status = STATE_PAYMENT_CALL_STATUS_IDLE;
    state_encode(subject, &call, &bytes);
    return repair_apart_write(fold, PAYMENTS_CALL, order_id, true, buf_str(&bytes), err);
}

static bool call_drop(struct repair_fold *fold, struct str id, const struct intent_call_provider *call,
                      struct err *err) {
    PG_PARAMS_AUTO params = {0};
    add_place(&params, fold);
    pg_add_text(&params, id);
    fold->at->count.calls_dropped++;
    return pg_exec(fold->repair->pg, "DELETE FROM decider.intent WHERE service = $1 AND shard = $2::bigint AND id = $3",
                   &params, NULL, err) &&
           (call->action == INTENT_PROVIDER_ACTION_AUTHORIZE || call_is_idle(fold, call->order_id, err));
}

static bool calls_drop(struct repair_fold *fold, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    add_place(&params, fold);
    if (!pg_exec(fold->repair->pg, "SELECT id, request FROM decider.intent WHERE service = $1 AND shard = $2::bigint",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct message message;
        arena_reset(&fold->shard.arena);
        if (!message_decode(schema_subject_find(STR("intent/payment")), pg_get_str(rows, i, 1), &fold->shard.arena,
                            &message, err))
            return err_wrap(err, "decider.intent row %.*s", STR_ARG(pg_get_str(rows, i, 0)));
        struct err why = {0};
        const struct intent_call_provider *call = &message.intent_call_provider;
        if (message.type == MESSAGE_INTENT_CALL_PROVIDER && has_outcome(payment_of(fold, call->order_id, &why), call) &&
            !call_drop(fold, pg_get_str(rows, i, 0), call, err))
            return false;
        if (why.kind)
            return *err = why, false;
    }
    return true;
}

/* A payment that was asked for since the backup, and has no outcome: the very same call, as of the same time. */
static bool call_restore(struct repair_fold *fold, struct str order_id, const struct repair_request *request,
                         struct err *err) {
    const struct str *method = map_get(&fold->repair->methods, request->attempt == 1 ? order_id : request->command_id);
    BUF_AUTO bytes = {0};
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    add_place(&params, fold);
    pg_add_text(&params, request->key);
    if (!pg_exec(fold->repair->pg, "SELECT 1 FROM decider.intent WHERE service = $1 AND shard = $2::bigint AND id = $3",
                 &params, &rows, err))
        return false;
    if (pg_rows(rows))
        return true;
    if (!method)
        return err_set(err, ERR_LOST_RECORDS,
                       "the payment of order %.*s is open, and the log has no request for it any more: the call cannot "
                       "be made as it was",
                       STR_ARG(order_id));
    struct message message = {.type = MESSAGE_INTENT_CALL_PROVIDER,
                              .intent_call_provider = {.action = INTENT_PROVIDER_ACTION_AUTHORIZE,
                                                       .order_id = order_id,
                                                       .payment_id = request->payment_id,
                                                       .attempt = request->attempt,
                                                       .amount = request->amount,
                                                       .payment_method = *method,
                                                       .idempotency_key = request->key}};
    return message_encode(schema_subject_find(STR("intent/payment")), &message, &bytes, err) &&
           repair_call_write(fold, request->key, order_id, request->command_id, request->traceparent, buf_str(&bytes),
                             request->time_us, err);
}

bool repair_calls(struct repair_fold *fold, struct err *err) {
    if (decider_of(fold) != &payments_decider)
        return true;
    if (!calls_drop(fold, err))
        return false;
    for (struct map_entry *entry = NULL; (entry = map_next(&fold->shard.room.tables[PAYMENTS_PAYMENT], entry));) {
        const struct repair_request *request = map_get(&fold->repair->requested, entry->key);
        struct err why = {0};
        arena_reset(&fold->shard.arena);
        const struct state_payment *payment = payment_of(fold, entry->key, &why);
        if (!payment)
            return *err = why, false;
        if (is_open(payment) && request && request->attempt == payment->attempt &&
            !call_restore(fold, entry->key, request, err))
            return false;
    }
    return true;
}

/* ---- messages to shoppers ---- */

static bool claim_write(struct repair *repair, struct str id, const struct repair_notice *notice, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, id);
    pg_add_text(&params, str_from(notice->outcome));
    pg_add_text(&params, notice->reason);
    pg_add_time(&params, notice->time_us);
    pg_add_i64(&params, CLAIM_KEPT_DAYS);
    return pg_exec(repair->pg,
                   "INSERT INTO notifier.claim AS c (id, tries, held_until, outcome, reason, told, expires_at) "
                   "VALUES ($1, 1, $4, $2, $3, true, $4 + $5 * interval '1 day') ON CONFLICT (id) DO UPDATE SET "
                   "outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, told = true WHERE c.outcome IS NULL",
                   &params, NULL, err);
}

static bool notice_forget(struct repair *repair, struct str id, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, id);
    return pg_exec(repair->pg, "DELETE FROM decider.intent WHERE service = 'notifier' AND id = $1", &params, NULL, err);
}

bool repair_notices(struct repair *repair, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(repair->pg, "SELECT to_regclass('notifier.claim') IS NOT NULL", NULL, &rows, err))
        return false;
    bool claims_here = pg_get_bool(rows, 0, 0); /* else they are kept elsewhere, and were not put back */
    for (struct map_entry *entry = NULL; (entry = map_next(&repair->notices, entry));)
        if (!notice_forget(repair, entry->key, err) ||
            (claims_here && !claim_write(repair, entry->key, entry->value, err)))
            return false;
    return true;
}
