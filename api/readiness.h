/* How /readyz says what was found out (core/base/checks.h). */
#ifndef ORDERLOG_API_READINESS_H
#define ORDERLOG_API_READINESS_H

#include "core/base/checks.h"

/* Whether none has failed. */
bool readiness_of(const struct checks *checks);
/* Appends a body. `verbose` is that query parameter: ptr NULL, a single word; "json", an object; else a line for each
 * check and then the word. */
void readiness_write(const struct checks *checks, bool ready, struct str verbose, struct buf *ret);

#endif
