/* What operations ask of a server, and the numbers that it keeps of its requests. */
#ifndef ORDERLOG_API_HEALTH_H
#define ORDERLOG_API_HEALTH_H

#include "api/internal.h"

/* Counts a request that was answered (status 0: its client went away). */
void health_count(const struct request *request, int64_t now_us);

#endif
