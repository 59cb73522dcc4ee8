/* Metrics that have to be asked for: how far the groups are behind the log, the room it takes, whether PostgreSQL and
 * Redis answer, and what waits in the deciders' tables.
 *
 * One thread a process, with connections of its own. The log is asked every 2 s, the stores every 10 s, by short
 * queries with a time-out; a scrape only reads what was found. orderlog_gauges_updated_timestamp_seconds says when the
 * stores' round last succeeded; while it does not, what it would tell is left out of /metrics rather than kept.
 *
 * What is asked of PostgreSQL is the same for every process that asks: over several, take the max by service. */
#ifndef ORDERLOG_CONSUMERS_GAUGES_H
#define ORDERLOG_CONSUMERS_GAUGES_H

#include "core/base/checks.h"
#include "core/log/lag.h"

struct gauges;

/* All borrowed, until gauges_stop. */
struct gauges_config {
    struct log *log;
    const struct lag_left *left; /* groups that are not told of; NULL: all are */
    const char *database_url;    /* NULL: not asked */
    const char *redis_url;       /* NULL: not asked */
    int64_t log_interval_ms;     /* 0: 2,000 */
    int64_t store_interval_ms;   /* 0: 10,000 */
};

CHECK_RESULT bool gauges_start(const struct gauges_config *config, struct gauges **ret, struct err *err);
/* Waits for a query under way: seconds, if a store hangs. NULL is fine. */
void gauges_stop(struct gauges *gauges);
/* Whether the stores answered when they were last asked, and whether the log's disk has room. Warnings only: what
 * cannot go on without them says so itself. Any thread; does not block. */
void gauges_check(struct gauges *gauges, struct checks *checks);

#endif
