/* A request's span. */
#ifndef ORDERLOG_API_TRACE_H
#define ORDERLOG_API_TRACE_H

#include "api/internal.h"

/* Once it is over. Probes are not told of. */
void request_trace(const struct request *request);

#endif
