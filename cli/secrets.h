/* Settings that stand for a secret: secretsmanager:NAME#field (core/base/config.h, core/aws/secrets.h). */
#ifndef ORDERLOG_CLI_SECRETS_H
#define ORDERLOG_CLI_SECRETS_H

#include "core/base/err.h"

/* Once, before any other setting is read. Asks nobody when there are none. */
CHECK_RESULT bool secrets_init(struct err *err);

#endif
