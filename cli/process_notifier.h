/* Telling shoppers by e-mail, as a role of a process: a decider loop of its own, so that neither slow mail servers nor
 * what they answer can hold up an order. */
#ifndef ORDERLOG_CLI_PROCESS_NOTIFIER_H
#define ORDERLOG_CLI_PROCESS_NOTIFIER_H

#include "consumers/loop.h"
#include "consumers/notifier.h"

/* By the settings; what a function on Lambda needs, too. All but `address` is filled. ERR_CONFIG. */
CHECK_RESULT bool notifier_settings_load(const char *claims_url, struct notifier *ret, struct err *err);
void notifier_settings_free(struct notifier *notifier);

struct notifier_role;

/* Reads the settings now. ERR_CONFIG. */
CHECK_RESULT bool notifier_role_open(const char *database_url, struct notifier_role **ret, struct err *err);
/* Makes its tables; PostgreSQL must be there. */
CHECK_RESULT bool notifier_role_migrate(struct notifier_role *role, struct err *err);
/* All borrowed. Again once it runs does nothing. */
CHECK_RESULT bool notifier_role_start(struct notifier_role *role, struct log *log, const struct shop *shop,
                                      const struct locations *locations, struct err *err);
bool notifier_role_ready(struct notifier_role *role, struct buf *why);
void notifier_role_check(struct notifier_role *role, struct checks *checks);
void notifier_role_close(struct notifier_role *role); /* NULL is fine */

#endif
