/* Metrics: a process-wide registry, written as Prometheus text (version 0.0.4).
 *
 * Register at start (main thread or under the first use of a static), then update from any thread without locks. */
#ifndef ORDERLOG_BASE_METRICS_H
#define ORDERLOG_BASE_METRICS_H

#include "core/base/str.h"

struct metric;

/* `labels` is ready-made Prometheus label text (`service="orders",shard="0"`) or ""; copied. The same name and
 * labels give the same metric again. Names end in a unit: _seconds, _bytes, _total. */
struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
/* Buckets for latencies from 0.5 ms to 10 s; observe seconds. */
struct metric *metrics_histogram(const char *name, const char *help, const char *labels);
void metrics_add(struct metric *metric, int64_t by);
void metrics_set(struct metric *metric, double value);
void metrics_observe(struct metric *metric, double seconds);
void metrics_write(struct buf *ret);

#endif
