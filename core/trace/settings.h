/* What the settings OTEL_… say, by the names and meanings of OpenTelemetry's specification. */
#ifndef ORDERLOG_TRACE_SETTINGS_H
#define ORDERLOG_TRACE_SETTINGS_H

#include "core/base/err.h"

struct trace_settings {
    bool on;
    struct buf url;      /* where requests are posted */
    const char *headers; /* as given, to be asked for anew (config_fresh); NULL: none */
    const char *ca_file; /* NULL: the system's */
    bool gzip;
    int64_t timeout_ms; /* of a request */
    int64_t delay_ms;   /* until what waits is told */
    int64_t queue_max;  /* spans that may wait */
    int64_t batch_max;  /* in a request */
    bool by_parent;     /* what came sampled, or not, stays so */
    bool always;        /* else: traces whose last 64 bits are below this */
    uint64_t below;
    struct buf resource; /* encoded */
};

/* *ret is all-zero at first. Main thread. */
CHECK_RESULT bool trace_settings_load(struct trace_settings *ret, struct err *err);
void trace_settings_free(struct trace_settings *settings);
/* KEY=value,… (values percent-encoded) as lines "Name: value\n". */
CHECK_RESULT bool trace_headers_read(struct str given, struct buf *ret, struct err *err);

#endif
