/* Spans, told to an OpenTelemetry collector (OTLP over HTTP) when OTEL_EXPORTER_OTLP_ENDPOINT names one. Else all of
 * this is off, and costs a comparison.
 *
 * What a span says is text that anybody who may see the traces can read: no personal data, no secrets. A span belongs
 * to one thread at a time; the functions here may be called on any, and none but trace_stop blocks. */
#ifndef ORDERLOG_TRACE_TRACE_H
#define ORDERLOG_TRACE_TRACE_H

#include "core/base/envelope.h"
#include "core/base/err.h"
#include "core/base/trace_context.h"

/* Reads the settings OTEL_… and starts the thread that tells the collector. Main thread, before there are others.
 * ERR_CONFIG names the setting that is wrong. */
CHECK_RESULT bool trace_start(struct err *err);
/* Tells what waits, for some seconds at most. When no other thread begins or ends spans any more. Good also when
 * nothing was started. */
void trace_stop(void);
bool trace_on(void);

/* As OTLP numbers them. */
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER };

/* Under way. All-zero: there is none, and ending it does nothing. */
struct span {
    struct trace_context context; /* its own */
    uint8_t parent[SPAN_ID_SIZE]; /* all-zero: it is the root */
    int64_t start_us;
    bool on; /* it will be told of */
};

/* With tracing on: a span of what came from outside, or of what nobody asked for (`parent` NULL). The sampler decides
 * whether it is told of; context says so, and is to be passed on in any case. */
void span_enter(struct span *span, const struct trace_context *parent);
/* A span within what a record or intent carries, if that is sampled. False: there is none. */
bool span_begin(struct span *span, struct str traceparent);

struct span_attribute {
    const char *key;
    struct str text; /* ptr NULL: the number. What is not UTF-8, or over 1 KiB, is left out */
    int64_t number;
};

struct span_facts {
    enum span_kind kind;
    const char *verb; /* the name is the verb, and what was done with it */
    struct str what;  /* ptr NULL: the verb alone */
    bool failed;
    const struct span_attribute *attributes; /* those without a key are left out */
    size_t attribute_count;
};

/* Now. Everything is copied. */
void span_end(const struct span *span, const struct span_facts *facts);
/* The same, of a span that was about one record of the log: `verb` is decide, project or send. `group` ptr NULL: none;
 * an offset below 0: not known. */
void span_end_record(const struct span *span, enum span_kind kind, const char *verb, const struct envelope *envelope,
                     struct str group, bool failed);

#endif
