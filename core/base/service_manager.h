/* What systemd wants to be told (sd_notify(3)), where it started us: over the socket that NOTIFY_SOCKET names. Without
 * one nothing is said. Any thread; does not block. */
#ifndef ORDERLOG_BASE_SERVICE_MANAGER_H
#define ORDERLOG_BASE_SERVICE_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

/* `state` is "READY=1", "STOPPING=1", "WATCHDOG=1". False when it could not be told, or there is nobody to tell. */
bool service_manager_tell(const char *state);
/* How often "WATCHDOG=1" is to be told: half of what systemd waits for (WATCHDOG_USEC); 0 when it does not. */
int64_t service_manager_watchdog_ms(void);

#endif
