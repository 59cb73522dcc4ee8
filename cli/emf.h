/* The metrics on standard output, as CloudWatch's Embedded Metric Format, every ORDERLOG_EMF_SECONDS (0: never, which
 * is the default). */
#ifndef ORDERLOG_CLI_EMF_H
#define ORDERLOG_CLI_EMF_H

#include "core/base/err.h"

/* A thread of its own; nothing when it is off. */
CHECK_RESULT bool emf_start(struct err *err);
/* Writes a last time. Good also when nothing was started. */
void emf_stop(void);

#endif
