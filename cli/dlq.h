/* What `orderlog dlq` reads and marks in decider.parked, what the views have set aside, and how it shows that. */
#ifndef ORDERLOG_CLI_DLQ_H
#define ORDERLOG_CLI_DLQ_H

#include "cli/cli.h"
#include "core/base/arena.h"
#include "core/store/pg.h"

/* A parked record; text is borrowed from what it was read from. */
struct dlq_row {
    int64_t id;       /* of a view's: its place in the list, from 1 on */
    struct str place; /* of a view's: what people call it, STORE/VIEW/TOPIC/PARTITION/OFFSET; ptr NULL: a decider's */
    const char *store;
    struct str service;
    int64_t shard;
    struct str topic;
    int64_t partition;
    int64_t offset;
    struct str subject;
    struct str reason;
    bool behind; /* parked only because its subject was */
    struct str status;
    int64_t parked_at_us; /* 0: not known */
    int64_t leader;       /* the first of its subject, maybe itself */
    int64_t followers;    /* how many of its subject come after it */
    struct str record;    /* of dlq_find and of views */
};

enum dlq_mark { DLQ_RETRY, DLQ_DROP };

/* What is to be done. */
struct dlq {
    const char *service; /* NULL: any */
    const char *subject; /* NULL: any */
    int64_t id;          /* 0: none was given */
    struct str place;    /* what was given, when it is the ID of a view's record; ptr NULL: it is not */
    int64_t wait_seconds;
    bool waits;
    bool yes;
    enum cli_output output;
    struct pg *pg;
};

/* ---- dlq_store.c; each blocks on PostgreSQL, results are the caller's to free ---- */

CHECK_RESULT bool dlq_open(struct pg **ret, struct err *err);
/* Of one service or subject, or all (NULL). */
CHECK_RESULT bool dlq_list(struct pg *pg, const char *service, const char *subject, struct pg_result **ret,
                           struct err *err);
/* Whether there is such a service, a decider or a view's; *ret_names: those that there are, for people. */
CHECK_RESULT bool dlq_service_is_known(struct pg *pg, const char *service, bool *ret, struct buf *ret_names,
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

/* ---- dlq_views.c: what the views have set aside, in both stores ---- */

struct dlq_views {
    struct dlq_row *rows; /* by store and shard, oldest first */
    size_t count;
    bool redis_asked;
    bool redis_failed; /* it was to be asked, and did not answer: it was said so */
    struct arena arena;
};

/* Of one service (view-orders, …) or subject, or all (NULL). Redis is asked where REDIS_URL is set. Blocks. */
CHECK_RESULT bool dlq_views_read(struct pg *pg, const char *service, const char *subject, struct dlq_views *ret,
                                 struct err *err);
/* By its place; NULL: there is none. */
const struct dlq_row *dlq_views_find(const struct dlq_views *views, struct str place);
void dlq_views_free(struct dlq_views *views);

/* ---- dlq_mark.c: retry and drop; each answers the exit code, having said what there is to say ---- */

int dlq_retry_run(struct dlq *dlq);
int dlq_drop_run(struct dlq *dlq);
int dlq_no_such_record(const struct dlq *dlq);

/* ---- dlq_print.c ---- */

void dlq_print_list(const struct pg_result *rows, const struct dlq_views *views, enum cli_output output);
/* `views`: of a view's row, the list that it is in. */
void dlq_print_row(const struct dlq_row *row, const struct dlq_views *views, enum cli_output output);

#endif
