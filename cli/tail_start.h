/* Where `orderlog tail` begins and ends: the argument of -o. */
#ifndef ORDERLOG_CLI_TAIL_START_H
#define ORDERLOG_CLI_TAIL_START_H

#include "cli/reader.h"

enum tail_start_kind { START_BEGINNING, START_END, START_LAST, START_OFFSET, START_TIME };

struct tail_start {
    enum tail_start_kind kind;
    int64_t value; /* START_LAST: so many records; START_OFFSET: the offset; START_TIME: epoch us */
    bool has_end;
    int64_t end_us; /* records from this time on are not shown */
};

/* beginning | end | -N | OFFSET | s@TIME | e@TIME, where TIME is milliseconds since the epoch or RFC 3339. May be
 * called several times (s@ and e@). */
CHECK_RESULT bool tail_start_parse(const char *text, struct tail_start *start);
/* Whether it can be: false, having complained, when s@ is after e@. */
CHECK_RESULT bool tail_start_check(const struct tail_start *start);
/* Narrows a partition's range, which comes in from the first to the last record kept. */
CHECK_RESULT bool tail_start_apply(const struct tail_start *start, struct log *log, struct reader_range *range,
                                   struct err *err);

#endif
