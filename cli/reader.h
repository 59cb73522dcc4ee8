/* Reads a stretch of the log in one order: by time, and within a partition by offset.
 *
 * Timestamps never decrease within a partition, so merging the partitions by them is exact; records of the same
 * microsecond come in the order of the ranges. Holds a bounded number of records of each partition. One thread. */
#ifndef ORDERLOG_CLI_READER_H
#define ORDERLOG_CLI_READER_H

#include "core/log/log.h"

struct reader;

struct reader_range {
    struct str topic; /* lives as long as the log */
    int32_t partition;
    int64_t from; /* the first offset */
    int64_t to;   /* the first that is not read any more */
};

/* Copies the ranges. */
CHECK_RESULT bool reader_open(struct log *log, const struct reader_range *ranges, size_t count, struct reader **ret,
                              struct err *err);
/* *ret is good until the next call; NULL at the end. Blocks on the log; ERR_TIMEOUT when records that should be there
 * do not come for ten seconds. */
CHECK_RESULT bool reader_next(struct reader *reader, const struct log_record **ret, struct err *err);
void reader_close(struct reader *reader); /* NULL is fine */

/* The ranges of all partitions of some topics, from the first record kept to the present end. With count 0: of all
 * topics. *ret is the caller's to free(). */
CHECK_RESULT bool reader_ranges(struct log *log, const struct str *topics, size_t count, struct reader_range **ret,
                                size_t *ret_count, struct err *err);

#endif
