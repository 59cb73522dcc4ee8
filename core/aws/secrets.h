/* AWS Secrets Manager: the text of a secret, or one field of it where it is a JSON object.
 *
 * A secret is kept in memory for ORDERLOG_SECRETS_REFRESH_SECONDS (300) and then asked for again when it is wanted, so
 * that who connects after a rotation has the new one; while the service does not answer, what is known serves on. */
#ifndef ORDERLOG_AWS_SECRETS_H
#define ORDERLOG_AWS_SECRETS_H

#include "core/base/err.h"

struct aws_secrets;

/* Asks nobody yet. Lives until the process ends. ERR_CONFIG: no region, or an endpoint that is none. */
CHECK_RESULT bool aws_secrets_open(struct aws_secrets **ret, struct err *err);
/* `reference` is NAME or an ARN, and #field: a string or number. `again`: what was given last was refused somewhere, so
 * ask, unless that was done within a second. Any thread; blocks for a few seconds at most. Errors name the secret and
 * the field, never what is in it. */
CHECK_RESULT bool aws_secrets_get(struct aws_secrets *secrets, struct str reference, bool again, struct buf *ret,
                                  struct err *err);

#endif
