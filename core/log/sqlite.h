/* What only tests and tools may ask of the embedded log. */
#ifndef ORDERLOG_LOG_SQLITE_H
#define ORDERLOG_LOG_SQLITE_H

#include "core/log/log.h"

/* Lets the database grow to this many pages (of 16 KiB) and no more, as if the disk were full; 0 lifts the limit. */
void log_sqlite_limit_pages(struct log *log, int64_t pages);

#endif
