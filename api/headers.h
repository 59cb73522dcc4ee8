/* The headers of a request. */
#ifndef ORDERLOG_API_HEADERS_H
#define ORDERLOG_API_HEADERS_H

#include "api/internal.h"

/* Takes those that we know into the request, which has a trace then in any case. Refused: a name or value with
 * characters that may not be in one, one of ours given twice, and any doubt about where the body ends. */
CHECK_RESULT bool headers_read(struct request *request, struct err *err);
/* Whether a Content-Type is application/json, in UTF-8. */
bool headers_say_json(struct str content_type);

#endif
