/* Spans as OpenTelemetry's protocol has them (opentelemetry/proto/collector/trace/v1, in protobuf's binary form). */
#ifndef ORDERLOG_TRACE_OTLP_H
#define ORDERLOG_TRACE_OTLP_H

#include "core/trace/trace.h"

/* All append. A span goes into a run of them, an attribute into a resource. */
void otlp_add_span(struct buf *ret, const struct span *span, const struct span_facts *facts, int64_t end_us);
void otlp_add_resource_attribute(struct buf *ret, const char *key, struct str value);
/* An ExportTraceServiceRequest. */
void otlp_add_request(struct buf *ret, struct str resource, struct str spans);
/* How many spans an ExportTraceServiceResponse says that the collector did not take; 0 also when it is none. */
int64_t otlp_rejected(struct str response);

#endif
