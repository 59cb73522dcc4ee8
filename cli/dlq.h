/* What `orderlog dlq` reads and marks in decider.parked, and how it shows it. */
#ifndef ORDERLOG_CLI_DLQ_H
#define ORDERLOG_CLI_DLQ_H

#include "cli/cli.h"
#include "core/store/pg.h"

/* A parked record; text is borrowed from the result that it was read from. */
struct dlq_row {
    int64_t id;
    struct str service;
    int64_t shard;
    struct str topic;
    int64_t partition;
    int64_t offset;
    struct str subject;
    struct str reason;
    bool behind; /* parked only because its subject was */
    struct str status;
    int64_t parked_at_us;
    int64_t leader;    /* the first of its subject, maybe itself */
    int64_t followers; /* how many of its subject come after it */
    struct str record; /* of dlq_find only */
};

enum dlq_mark { DLQ_RETRY, DLQ_DROP };

/* ---- dlq_store.c; each blocks on PostgreSQL, results are the caller's to free ---- */

CHECK_RESULT bool dlq_open(struct pg **ret, struct err *err);
/* Of one service or subject, or all (NULL). */
CHECK_RESULT bool dlq_list(struct pg *pg, const char *service, const char *subject, struct pg_result **ret,
                           struct err *err);
/* The first of this subject, in each shard that has it parked. */
CHECK_RESULT bool dlq_find_leaders(struct pg *pg, const char *service, const char *subject, struct pg_result **ret,
                                   struct err *err);
/* One row, or none. */
CHECK_RESULT bool dlq_find(struct pg *pg, int64_t id, struct pg_result **ret, struct err *err);
struct dlq_row dlq_row_get(const struct pg_result *rows, int i);

enum dlq_marked {
    DLQ_MARKED,
    DLQ_MARKED_IN_HAND, /* the owner may be doing something else with it right now */
    DLQ_GONE,           /* it is not parked any more */
};
CHECK_RESULT bool dlq_mark(struct pg *pg, int64_t id, enum dlq_mark mark, enum dlq_marked *ret, struct err *err);

/* ---- dlq_print.c ---- */

void dlq_print_list(const struct pg_result *rows, enum cli_output output);
void dlq_print_row(const struct dlq_row *row, enum cli_output output);

#endif
