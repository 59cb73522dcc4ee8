/* Logs: one line an event on standard error; JSON, or logfmt when that is a terminal. Thread-safe; does not block
 * but on the write itself. No personal data and no secrets may be passed.
 *
 *   logging_write(LOG_INFO, "shard.taken", "service=%s shard=%d", service, shard);
 *
 * The second argument is a stable event name, the third a literal printf format of `key=value` pairs; a value with
 * spaces of its own in the format is written key="…". Where a value begins and ends is seen in the format alone, so
 * that texts of others may hold anything: they are one JSON string. Numbers are JSON numbers; what %s gives is always a
 * string. Conversions: d i u x X c s e f g and their lengths. Keys must not be those of every line (ts, level, event,
 * kind, error); `trace_id` is for the request that a line belongs to, and left out when it is empty.
 * tests/lint/test_logs.py checks the call sites. */
#ifndef ORDERLOG_BASE_LOGGING_H
#define ORDERLOG_BASE_LOGGING_H

#include "core/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void logging_init(enum log_level threshold); /* once, before threads; ORDERLOG_LOG_LEVEL overrides */
void logging_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Logs an error at its kind's own level, with `error` and `kind` fields added. */
void logging_err(const struct err *err, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
