/* The metrics as CloudWatch's Embedded Metric Format: JSON lines of which CloudWatch Logs makes metrics.
 *
 * Each name is one metric without dimensions, so that their number, which is what they cost, is known, and alarms find
 * them as the agent gives them (infra/aws/observe.yaml). A gauge has the values of all its series, so Maximum and
 * Minimum are those over shards and services; a counter has what it grew by since the line before; a histogram NAME
 * gives NAME_count and NAME_sum of that time and, if there was any, NAME_p50 and NAME_p99, the bounds of their buckets.
 */
#ifndef ORDERLOG_BASE_EMF_H
#define ORDERLOG_BASE_EMF_H

#include "core/base/str.h"

struct emf;

struct emf *emf_open(const char *name_space); /* copied */
void emf_close(struct emf *emf);              /* NULL is fine */
/* Appends the lines of the time since the last call; the first has counters since the process began. One thread. */
void emf_write(struct emf *emf, int64_t now_us, struct buf *ret);

#endif
