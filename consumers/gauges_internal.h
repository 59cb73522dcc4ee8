/* What the files of the gauges share; all belongs to their thread. */
#ifndef ORDERLOG_CONSUMERS_GAUGES_INTERNAL_H
#define ORDERLOG_CONSUMERS_GAUGES_INTERNAL_H

#include "consumers/gauges.h"
#include "core/base/map.h"
#include "core/base/metrics.h"
#include "core/store/pg.h"

/* ---- gauges_lag.c ---- */

struct gauges_lag {
    struct log *log;
    const struct lag_left *left;
    struct lag_ages *ages; /* NULL: not opened yet */
    struct map series;     /* "group topic partition" to struct lag_series */
};

/* Sets orderlog_lag_records and orderlog_lag_seconds. */
CHECK_RESULT bool gauges_lag_round(struct gauges_lag *lag, struct err *err);
void gauges_lag_close(struct gauges_lag *lag);

/* ---- gauges_tables.c: the deciders' tables ---- */

/* What is owed to people: payments without an outcome, and webhooks of no payment. */
struct gauges_payments {
    struct metric *unknown, *left, *unrouted;
};

CHECK_RESULT bool gauges_payments_round(struct gauges_payments *payments, struct pg *pg, struct log *log,
                                        struct err *err);
void gauges_payments_unset(struct gauges_payments *payments);

struct gauges_tables {
    struct map services; /* name to struct service_series */
    struct metric *intents[4];
    struct metric *oldest_intent;
};

CHECK_RESULT bool gauges_tables_round(struct gauges_tables *tables, struct pg *pg, struct err *err);
/* Nothing of it is known now. */
void gauges_tables_unset(struct gauges_tables *tables);
void gauges_tables_close(struct gauges_tables *tables);

#endif
