/* How a program shows a Kafka cluster who it is, where the log port alone cannot know: ORDERLOG_KAFKA_AUTH=msk-iam,
 * Amazon MSK's IAM access control. */
#ifndef ORDERLOG_CLI_KAFKA_AUTH_H
#define ORDERLOG_CLI_KAFKA_AUTH_H

#include "core/base/err.h"

/* Once, after the configuration was loaded and before a log is opened: SASL/OAUTHBEARER over TLS, with tokens signed by
 * the credentials of core/aws. Asks nobody yet. ERR_CONFIG: the settings do not go together. */
CHECK_RESULT bool kafka_auth_init(struct err *err);

#endif
