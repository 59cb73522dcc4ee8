/* Reads the headers that every record of ours carries. */
#ifndef ORDERLOG_LOG_ENVELOPE_H
#define ORDERLOG_LOG_ENVELOPE_H

#include "core/base/envelope.h"
#include "core/log/log.h"

/* ERR_POISON names the header that is missing or malformed; what could be read is in *ret all the same.
 * Everything in *ret is borrowed from the record. */
CHECK_RESULT bool envelope_read(const struct log_record *record, struct envelope *ret, struct err *err);

#endif
