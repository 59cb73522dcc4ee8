/* The listening socket. */
#ifndef ORDERLOG_API_LISTEN_H
#define ORDERLOG_API_LISTEN_H

#include "core/base/err.h"

/* "host:port", "[v6]:port" or ":port" (all addresses). Blocks on a name's look-up. ERR_CONFIG for what is no address,
 * ERR_IO when it cannot be had. The socket does not block and is closed on exec. */
CHECK_RESULT bool listen_open(const char *address, int *ret_fd, int *ret_port, struct err *err);

#endif
