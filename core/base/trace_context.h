/* W3C Trace Context (https://www.w3.org/TR/trace-context-2/): the headers traceparent and tracestate. Pure, any thread.
 */
#ifndef ORDERLOG_BASE_TRACE_CONTEXT_H
#define ORDERLOG_BASE_TRACE_CONTEXT_H

#include "core/base/arena.h"

enum {
    TRACE_ID_SIZE = 16,
    SPAN_ID_SIZE = 8,
    TRACEPARENT_SIZE = 56, /* as text of version 00, with its zero byte */
    TRACESTATE_MAX = 512,  /* bytes that are passed on */
    TRACE_SAMPLED = 1,
    TRACE_RANDOM = 2, /* the trace id's last 56 bits are random */
};

struct trace_context {
    uint8_t trace_id[TRACE_ID_SIZE];
    uint8_t span_id[SPAN_ID_SIZE];
    uint8_t flags;
};

/* False: it is not valid, and so as good as none. Of later versions it takes what is known of version 00. */
bool trace_context_parse(struct str text, struct trace_context *ret);
/* As version 00. Returns the text. */
struct str trace_context_format(const struct trace_context *context, char text[TRACEPARENT_SIZE]);
/* A new trace, not sampled. Ids differ; they are no secrets. */
void trace_context_begin(struct trace_context *ret);
void trace_span_id(uint8_t ret[SPAN_ID_SIZE]);

/* What is passed on of a tracestate (several headers: joined by commas): members as they came, without what is empty;
 * over TRACESTATE_MAX bytes the long ones go first (over 128), then the last. ptr NULL when one is not valid or comes
 * twice, or none is left. In `arena`. */
struct str tracestate_read(struct str given, struct arena *arena);

#endif
