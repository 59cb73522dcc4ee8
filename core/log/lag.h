/* How far the groups are behind the log: what `orderlog lag` and the metrics show, and `orderlog verify --wait` waits
 * for. Any thread; blocks on I/O. */
#ifndef ORDERLOG_LOG_LAG_H
#define ORDERLOG_LOG_LAG_H

#include "core/log/log.h"

struct lag_row {
    struct str group; /* belongs to the report */
    struct str topic; /* belongs to the log */
    int32_t partition;
    bool has_position; /* the group has told one for this partition */
    int64_t position;
    int64_t end;
    int64_t lag; /* records; from the first one kept when there is no position */
    bool lost;   /* the position is past the end: the log has lost records */
};

/* A row for every partition of every topic that a group has told a position of, in the order of group, topic and
 * partition. */
struct lag_report {
    struct lag_row *rows;
    size_t count;
    int64_t total;
    struct log_group_position *positions;
};

/* Groups that do not count, because nobody is in them any more. */
enum { LAG_LEFT_MAX = 8, LAG_GROUP_SIZE = 48 /* of a name, with its end */ };
struct lag_left {
    char groups[LAG_LEFT_MAX][LAG_GROUP_SIZE];
    size_t count;
};

/* `left` may be NULL: all count. */
CHECK_RESULT bool lag_read(struct log *log, const struct lag_left *left, struct lag_report *ret, struct err *err);
void lag_free(struct lag_report *report);
/* The same for all rows of a report, reading many partitions at once: ret has one for each. */
CHECK_RESULT bool lag_behind_all_us(struct log_consumer *consumer, const struct lag_report *report, int64_t *ret,
                                    struct err *err);

/* How long the first record that waits has been there, for who asks again and again: by when the ends were where, which
 * is true to the time between two questions, and without reading the log but for what was there before the first one. A
 * record that came since the last question counts as 0. */
struct lag_ages;
struct lag_ages *lag_ages_open(struct log *log);
void lag_ages_close(struct lag_ages *ages); /* NULL is fine */
/* Each row once a round. As lag_behind_us. */
CHECK_RESULT bool lag_ages_of(struct lag_ages *ages, const struct lag_row *row, int64_t *ret, struct err *err);

/* Waits until no group is behind and nothing more is written; ERR_TIMEOUT says who is behind. */
CHECK_RESULT bool lag_wait(struct log *log, const struct lag_left *left, int64_t seconds, struct err *err);
/* The age of the first record that waits, by the log's time; 0 when none does, -1 when it is gone by now. `consumer` is
 * a manual one of the same log, with nothing else to read. */
CHECK_RESULT bool lag_behind_us(struct log_consumer *consumer, const struct lag_row *row, int64_t *ret,
                                struct err *err);

#endif
