/* Time: microseconds since the epoch, UTC, everywhere; and RFC 3339 text at the edges. */
#ifndef ORDERLOG_BASE_CLOCK_H
#define ORDERLOG_BASE_CLOCK_H

#include "core/base/str.h"

enum { CLOCK_TEXT_SIZE = 32 };

int64_t clock_now_us(void);       /* wall clock */
int64_t clock_monotonic_us(void); /* for deadlines */
int64_t clock_thread_cpu_us(void);
void clock_sleep_ms(int64_t ms);
void clock_sleep_us(int64_t us);
/* "2026-01-31T23:59:59.123456Z" (fraction left out when zero); `text` has CLOCK_TEXT_SIZE bytes; returns its length. */
size_t clock_format(int64_t time_us, char *text);
/* RFC 3339 in UTC or with an offset; false when it is not one. */
bool clock_parse(struct str text, int64_t *ret_us);

#endif
