/* What the roles of a process are told by the settings. Texts are the configuration's and live until exit. */
#ifndef ORDERLOG_CLI_PROCESS_SETTINGS_H
#define ORDERLOG_CLI_PROCESS_SETTINGS_H

#include "consumers/provider.h"
#include "core/domain/room.h"
#include "core/log/log.h"
#include "producers/locations.h"

CHECK_RESULT bool process_shop_load(struct shop *shop, struct locations *locations, struct err *err);
CHECK_RESULT bool process_provider_open(struct provider **ret, struct err *err);
/* Opens the log, and makes the topics that are missing if `makes_topics`, else asks for them. ERR_LOG_UNAVAILABLE: a
 * log that others run may answer later; *ret_worth_waiting says so. */
CHECK_RESULT bool process_log_open(bool makes_topics, const struct locations *locations, struct log **ret,
                                   bool *ret_worth_waiting, struct err *err);

#endif
