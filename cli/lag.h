/* How far the groups are behind the log: what `orderlog lag` shows and `orderlog verify --wait` waits for. */
#ifndef ORDERLOG_CLI_LAG_H
#define ORDERLOG_CLI_LAG_H

#include "core/log/log.h"

struct lag_row {
    struct str group; /* belongs to the report */
    struct str topic; /* belongs to the log */
    int32_t partition;
    bool has_position; /* the group has told one for this partition */
    int64_t position;
    int64_t end;
    int64_t lag; /* records; from the first one kept when there is no position */
};

/* A row for every partition of every topic that a group has told a position of, in the order of group, topic and
 * partition. */
struct lag_report {
    struct lag_row *rows;
    size_t count;
    int64_t total;
    struct log_group_position *positions;
};

CHECK_RESULT bool lag_read(struct log *log, struct lag_report *ret, struct err *err);
void lag_free(struct lag_report *report);
/* Waits until no group is behind and nothing more is written; ERR_TIMEOUT says who is behind. */
CHECK_RESULT bool lag_wait(struct log *log, int64_t seconds, struct err *err);

#endif
