#include "consumers/gauges_internal.h"

#include "core/domain/payments.h"

static void register_all(struct gauges_payments *payments) {
    payments->unknown =
        metrics_gauge("orderlog_payments_unknown",
                      "Calls to the payment provider that were made and have no outcome yet; they are made again.", "");
    payments->left =
        metrics_gauge("orderlog_payments_left_to_operators",
                      "Calls to the payment provider that only people can settle: see orderlog payments.", "");
    payments->unrouted = metrics_gauge("orderlog_payments_unrouted_records",
                                       "Webhooks set aside so far because they name no payment of ours.", "");
}

/* A log that was made before there was such a topic has none. */
static bool count_unrouted(struct log *log, int64_t *ret, struct err *err) {
    struct log_topic topic;
    *ret = 0;
    if (!log_topic_find(log, STR(TOPIC_PAYMENT_UNROUTED), &topic, err))
        return err->kind == ERR_NOT_FOUND;
    for (int32_t p = 0; p < topic.partitions; p++) {
        int64_t low, high;
        if (!log_watermarks(log, topic.name, p, &low, &high, err))
            return false;
        *ret += high;
    }
    return true;
}

bool gauges_payments_round(struct gauges_payments *payments, struct pg *pg, struct log *log, struct err *err) {
    int64_t unrouted;
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *row = NULL;
    if (!payments->unknown)
        register_all(payments);
    pg_add_text(&params, PAYMENTS_TIMER_GIVEN_UP);
    if (!pg_exec(pg,
                 "SELECT count(*) FILTER (WHERE tries > 0 AND left_why IS NULL), "
                 "count(*) FILTER (WHERE left_why IS NOT NULL) "
                 "+ (SELECT count(*) FROM decider.timer WHERE service = 'payments' AND name = $1) "
                 "FROM decider.intent WHERE service = 'payments'",
                 &params, &row, err) ||
        !count_unrouted(log, &unrouted, err))
        return false;
    metrics_set(payments->unknown, (double)pg_get_i64(row, 0, 0));
    metrics_set(payments->left, (double)pg_get_i64(row, 0, 1));
    metrics_set(payments->unrouted, (double)unrouted);
    return true;
}

void gauges_payments_unset(struct gauges_payments *payments) {
    if (!payments->unknown)
        return;
    metrics_unset(payments->unknown);
    metrics_unset(payments->left);
    metrics_unset(payments->unrouted);
}
