/* Claims in PostgreSQL. One connection serves all threads in turn: a claim takes a millisecond, a mail a hundred. */
#include "consumers/claims_internal.h"

enum { HOUSEKEEPING_EVERY = 1000 };

static const char schema[] =
    "BEGIN; SELECT pg_advisory_xact_lock(4242001);"
    "CREATE SCHEMA IF NOT EXISTS notifier;"
    "COMMENT ON SCHEMA notifier IS 'Which notices were sent';"
    "CREATE TABLE IF NOT EXISTS notifier.claim ("
    " id text PRIMARY KEY, tries bigint NOT NULL, held_until timestamptz NOT NULL, outcome text, reason text,"
    " told boolean NOT NULL DEFAULT false, expires_at timestamptz NOT NULL);"
    "COMMENT ON TABLE notifier.claim IS 'Order, template and event of each notice: who sends it takes the row first; "
    "outcome: what came of it';"
    "CREATE INDEX IF NOT EXISTS claim_expires_at ON notifier.claim (expires_at);"
    "COMMIT;";

/* With the lock held. */
static bool connected(struct claims *claims, struct err *err) {
    if (claims->pg)
        return pg_connected(claims->pg) || pg_reset(claims->pg, err);
    struct pg *pg;
    if (!pg_open(claims->url, NULL, &pg, err))
        return false;
    if (!pg_script(pg, schema, err)) {
        pg_close(pg);
        return err_wrap(err, "making notifier.claim");
    }
    claims->pg = pg;
    return true;
}

static bool keep_house(struct claims *claims, struct err *err) {
    if (claims->taken++ % HOUSEKEEPING_EVERY)
        return true;
    PG_PARAMS_AUTO none = {0};
    return pg_exec(claims->pg, "DELETE FROM notifier.claim WHERE expires_at < now()", &none, NULL, err);
}

static bool read_claim(struct claims *claims, struct str id, struct arena *arena, struct claim *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    pg_add_text(&params, id);
    if (!pg_exec(claims->pg, "SELECT outcome, reason, told FROM notifier.claim WHERE id = $1", &params, &row, err))
        return false;
    *ret = (struct claim){.state = CLAIM_HELD, .reason = STR("")};
    if (!pg_rows(row) || pg_is_null(row, 0, 0))
        return true;
    ret->state = CLAIM_OVER;
    ret->outcome = claim_outcome_of(pg_get_str(row, 0, 0));
    ret->reason = pg_is_null(row, 0, 1) ? STR("") : arena_dup(arena, pg_get_str(row, 0, 1));
    ret->told = pg_get_bool(row, 0, 2);
    return true;
}

static bool take_locked(struct claims *claims, struct str id, struct arena *arena, struct claim *ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    if (!connected(claims, err) || !keep_house(claims, err))
        return false;
    pg_add_text(&params, id);
    pg_add_i64(&params, CLAIM_HOLD_MS);
    pg_add_i64(&params, CLAIM_KEPT_DAYS);
    if (!pg_exec(claims->pg,
                 "INSERT INTO notifier.claim AS c (id, tries, held_until, expires_at) "
                 "VALUES ($1, 1, now() + $2 * interval '1 ms', now() + $3 * interval '1 day') "
                 "ON CONFLICT (id) DO UPDATE SET tries = c.tries + 1, held_until = EXCLUDED.held_until "
                 "WHERE c.outcome IS NULL AND c.held_until < now() RETURNING tries",
                 &params, &row, err))
        return false;
    if (!pg_rows(row))
        return read_claim(claims, id, arena, ret, err);
    *ret = (struct claim){.state = CLAIM_TAKEN, .tries = pg_get_i64(row, 0, 0), .reason = STR("")};
    return true;
}

static bool take(struct claims *claims, struct str id, struct arena *arena, struct claim *ret, struct err *err) {
    pthread_mutex_lock(&claims->lock);
    bool ok = take_locked(claims, id, arena, ret, err);
    pthread_mutex_unlock(&claims->lock);
    return ok;
}

static bool run(struct claims *claims, const char *sql, struct pg_params *params, struct err *err) {
    pthread_mutex_lock(&claims->lock);
    bool ok = connected(claims, err) && pg_exec(claims->pg, sql, params, NULL, err);
    pthread_mutex_unlock(&claims->lock);
    return ok;
}

static bool settle(struct claims *claims, struct str id, const char *outcome, struct str reason, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, id);
    pg_add_text(&params, str_from(outcome));
    pg_add_text(&params, reason);
    return run(claims, "UPDATE notifier.claim SET outcome = $2, reason = $3 WHERE id = $1", &params, err);
}

static bool give_back(struct claims *claims, struct str id, int64_t tries, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, id);
    pg_add_i64(&params, tries);
    return run(claims,
               "UPDATE notifier.claim SET held_until = '-infinity' WHERE id = $1 AND tries = $2 AND outcome IS NULL",
               &params, err);
}

static bool told(struct claims *claims, struct str id, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_text(&params, id);
    return run(claims, "UPDATE notifier.claim SET told = true WHERE id = $1", &params, err);
}

const struct claims_ops claims_in_postgres = {take, settle, give_back, told};
