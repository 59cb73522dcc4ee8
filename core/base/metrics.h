/* Metrics: a process-wide registry, written as Prometheus text (version 0.0.4).
 *
 * Register at start (main thread or under the first use of a static), then update from any thread without locks. */
#ifndef ORDERLOG_BASE_METRICS_H
#define ORDERLOG_BASE_METRICS_H

#include "core/base/str.h"

struct metric;

/* `labels` is ready-made Prometheus label text (`service="orders",shard="0"`) or ""; copied. Their number must be
 * bounded: no ids, no paths that a client chooses. The same name and labels give the same metric again. Names end in a
 * base unit (_seconds, _bytes), of counters in _total; HELP texts end in a full stop. */
struct metric *metrics_counter(const char *name, const char *help, const char *labels);
/* A counter that is kept elsewhere: metrics_set tells what it stands at. */
struct metric *metrics_total(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
/* Buckets for latencies from 0.5 ms to 10 s; observe seconds. */
struct metric *metrics_histogram(const char *name, const char *help, const char *labels);
/* orderlog_stage_seconds{service="…"}: from the log's time of the record that caused something to the commit of what
 * this service made of it (a decider's transaction, a view's rows). Buckets from 1 ms to 5 minutes. Observe once a
 * record: metrics_observe(stage, (double)(clock_now_us() - record->timestamp_us) / 1e6). */
struct metric *metrics_stage(const char *service);
void metrics_add(struct metric *metric, int64_t by);
void metrics_set(struct metric *metric, double value);
/* Not known now: the metric is left out of what is written until it is set again. */
void metrics_unset(struct metric *metric);
void metrics_observe(struct metric *metric, double seconds);

/* Called by each metrics_write before it writes, on its thread: sets what is only worth asking for then. Must not block
 * nor write metrics itself. */
typedef void metrics_collect(void *user);
void metrics_collector_add(metrics_collect *collect, void *user);
/* Once it returns, the collector is not called any more. */
void metrics_collector_remove(metrics_collect *collect, void *user);
void metrics_write(struct buf *ret);

/* One series as it stands. */
struct metrics_series {
    const char *name;
    enum { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM } kind;
    double value; /* a histogram's sum, in seconds */
    size_t bucket_count;
    const uint64_t *buckets; /* of a histogram: what was observed, not cumulative; one more than there are bounds */
    const double *bounds;
};
typedef void metrics_visit(void *user, const struct metrics_series *series);
/* All series that are known now, those of a name one after the other. As metrics_write, calls the collectors first;
 * `visit` must not come back here. */
void metrics_each(metrics_visit *visit, void *user);

#endif
