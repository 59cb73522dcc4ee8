/* GET /v1/orders/{id}/stream: the changes of an order as server-sent events. */
#ifndef ORDERLOG_API_STREAMS_H
#define ORDERLOG_API_STREAMS_H

#include "api/internal.h"

struct streams *streams_open(void);
/* When the server has stopped. NULL is fine. */
void streams_close(struct streams *streams);

#endif
