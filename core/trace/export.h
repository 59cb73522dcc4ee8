/* The queue of spans, and the thread that posts them to the collector. */
#ifndef ORDERLOG_TRACE_EXPORT_H
#define ORDERLOG_TRACE_EXPORT_H

#include "core/trace/settings.h"

struct exporter;

/* `settings` must outlive it. */
CHECK_RESULT bool exporter_open(const struct trace_settings *settings, struct exporter **ret, struct err *err);
/* Posts what waits, for EXPORTER_STOP_MS at most. */
void exporter_close(struct exporter *exporter);
/* An encoded span (otlp_add_span); dropped, and counted, when too many wait. Any thread; does not block. */
void exporter_add(struct exporter *exporter, struct str span);

enum { EXPORTER_STOP_MS = 5000 };

#endif
