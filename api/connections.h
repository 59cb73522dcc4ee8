/* The open connections and how long each may take for what it is about: the server's own time-out counts inactivity
 * only, so that a client that sends a byte now and then would hold its connection for ever. */
#ifndef ORDERLOG_API_CONNECTIONS_H
#define ORDERLOG_API_CONNECTIONS_H

#include "api/internal.h"

struct connections;
struct connection;

struct connections *connections_open(void);
void connections_close(struct connections *connections); /* NULL is fine; none may be left */

/* The server's notifications, on the connection's thread. */
void connections_notify(void *api, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code);
/* From now on the connection has this long. Any thread that serves it. */
void connections_allow(struct MHD_Connection *connection, int64_t timeout_ms);
/* The same for one that waits for its next request: not for long when there are nearly as many as there may be. */
void connections_allow_idle(struct api *api, struct MHD_Connection *connection);
/* Whether connections had better be closed behind their answers. */
bool connections_crowded(const struct api *api);
/* Cuts off those that are overdue. Any thread. */
void connections_sweep(struct connections *connections);

#endif
