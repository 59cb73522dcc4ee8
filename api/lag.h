/* How far what is decided is behind what was appended. Past a limit this server takes no more commands, so that what
 * was acknowledged is carried out within a time that can be named; once they have come back to half of it, it does
 * again. */
#ifndef ORDERLOG_API_LAG_H
#define ORDERLOG_API_LAG_H

#include "api/internal.h"

/* Starts a thread; *ret is NULL when neither limit is set. */
CHECK_RESULT bool lag_watch_open(const struct api_config *config, struct log *log, struct lag_watch **ret,
                                 struct err *err);
void lag_watch_close(struct lag_watch *watch); /* NULL is fine */

/* Whether commands are to be turned away now. Any thread; NULL: no. */
bool lag_watch_sheds(const struct lag_watch *watch);

#endif
