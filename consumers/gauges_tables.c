#include "consumers/gauges_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"

/* What waits in the tables of one service. */
struct service_series {
    struct metric *outbox_seconds, *timers, *timer_seconds, *parked_subjects, *parked_records;
};

static const int64_t minute_us = INT64_C(60) * 1000 * 1000;

/* By age since the decision; the last one is past what effects.h allows (EFFECT_GIVE_UP_US). */
static const char *const intent_ages[] = {"under_1m", "1m_to_1h", "1h_to_20h", "over_20h"};

static struct service_series *series_of(struct gauges_tables *tables, struct str service) {
    void **place = map_put(&tables->services, service);
    if (*place)
        return *place;
    BUF_AUTO labels = {0};
    buf_printf(&labels, "service=\"%.*s\"", STR_ARG(service));
    struct service_series *series = mem_alloc(sizeof *series);
    series->outbox_seconds =
        metrics_gauge("orderlog_outbox_oldest_seconds",
                      "Age of the oldest batch that was committed and is not yet in the log; 0: none.", labels.ptr);
    series->timers = metrics_gauge("orderlog_timers_overdue", "Deadlines that have passed and not fired.", labels.ptr);
    series->timer_seconds = metrics_gauge("orderlog_timers_overdue_oldest_seconds",
                                          "For how long the oldest of them has been due; 0: none.", labels.ptr);
    series->parked_subjects = metrics_gauge("orderlog_parked_subjects",
                                            "Subjects that are set aside, with all that comes of them.", labels.ptr);
    series->parked_records = metrics_gauge("orderlog_parked_records", "Records that are set aside.", labels.ptr);
    *place = series;
    return series;
}

static double seconds_since(int64_t then_us, int64_t now_us) {
    return then_us < now_us ? (double)(now_us - then_us) / 1e6 : 0;
}

/* By index only: at most one row of each shard's outbox, and the due end of its timers. */
static bool ask_shards(struct gauges_tables *tables, struct pg *pg, int64_t now_us, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_i64(&params, now_us);
    if (!pg_exec(pg,
                 "SELECT s.service, min(o.created_at), sum(t.due)::bigint, min(t.first) FROM decider.shard s "
                 "LEFT JOIN LATERAL (SELECT k.created_at FROM decider.outbox k WHERE k.service = s.service "
                 "AND k.shard = s.shard AND k.id > s.done_through AND k.records > 0 ORDER BY k.id LIMIT 1) o ON true "
                 "LEFT JOIN LATERAL (SELECT count(*) AS due, min(k.due_us) AS first FROM decider.timer k "
                 "WHERE k.service = s.service AND k.shard = s.shard AND k.due_us < $1) t ON true "
                 "GROUP BY s.service",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        const struct service_series *series = series_of(tables, pg_get_str(rows, i, 0));
        metrics_set(series->outbox_seconds,
                    pg_is_null(rows, i, 1) ? 0 : seconds_since(pg_get_time(rows, i, 1), now_us));
        metrics_set(series->timers, (double)pg_get_i64(rows, i, 2));
        metrics_set(series->timer_seconds, pg_is_null(rows, i, 3) ? 0 : seconds_since(pg_get_i64(rows, i, 3), now_us));
        metrics_set(series->parked_subjects, 0);
        metrics_set(series->parked_records, 0);
    }
    return true;
}

static bool ask_parked(struct gauges_tables *tables, struct pg *pg, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(pg, "SELECT service, count(DISTINCT (shard, subject)), count(*) FROM decider.parked GROUP BY service",
                 NULL, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        const struct service_series *series = series_of(tables, pg_get_str(rows, i, 0));
        metrics_set(series->parked_subjects, (double)pg_get_i64(rows, i, 1));
        metrics_set(series->parked_records, (double)pg_get_i64(rows, i, 2));
    }
    return true;
}

static void register_intents(struct gauges_tables *tables) {
    for (size_t i = 0; i < sizeof intent_ages / sizeof intent_ages[0]; i++) {
        BUF_AUTO labels = {0};
        buf_printf(&labels, "age=\"%s\"", intent_ages[i]);
        tables->intents[i] = metrics_gauge("orderlog_payment_intents",
                                           "Calls to the payment provider that were decided and have no outcome yet, "
                                           "by the time since the decision.",
                                           labels.ptr);
    }
    tables->oldest_intent = metrics_gauge("orderlog_payment_intents_oldest_seconds",
                                          "Age of the oldest call without an outcome; 0: none.", "");
}

static bool ask_intents(struct gauges_tables *tables, struct pg *pg, int64_t now_us, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    if (!tables->oldest_intent)
        register_intents(tables);
    pg_add_i64(&params, now_us - minute_us);
    pg_add_i64(&params, now_us - 60 * minute_us);
    pg_add_i64(&params, now_us - 20 * 60 * minute_us);
    if (!pg_exec(pg,
                 "SELECT count(*) FILTER (WHERE created_us >= $1), "
                 "count(*) FILTER (WHERE created_us < $1 AND created_us >= $2), "
                 "count(*) FILTER (WHERE created_us < $2 AND created_us >= $3), "
                 "count(*) FILTER (WHERE created_us < $3), min(created_us) FROM decider.intent "
                 "WHERE service <> 'notifier'",
                 &params, &row, err))
        return false;
    for (int i = 0; i < 4; i++)
        metrics_set(tables->intents[i], (double)pg_get_i64(row, 0, i));
    metrics_set(tables->oldest_intent, pg_is_null(row, 0, 4) ? 0 : seconds_since(pg_get_i64(row, 0, 4), now_us));
    return true;
}

bool gauges_tables_round(struct gauges_tables *tables, struct pg *pg, struct err *err) {
    int64_t now_us = clock_now_us();
    return ask_shards(tables, pg, now_us, err) && ask_parked(tables, pg, err) && ask_intents(tables, pg, now_us, err);
}

void gauges_tables_unset(struct gauges_tables *tables) {
    for (struct map_entry *at = NULL; (at = map_next(&tables->services, at));) {
        const struct service_series *series = at->value;
        metrics_unset(series->outbox_seconds);
        metrics_unset(series->timers);
        metrics_unset(series->timer_seconds);
        metrics_unset(series->parked_subjects);
        metrics_unset(series->parked_records);
    }
    for (int i = 0; i < 4 && tables->oldest_intent; i++)
        metrics_unset(tables->intents[i]);
    if (tables->oldest_intent)
        metrics_unset(tables->oldest_intent);
}

void gauges_tables_close(struct gauges_tables *tables) {
    gauges_tables_unset(tables);
    map_free(&tables->services, free);
}
