/* The token by which Amazon MSK's IAM access control knows a client: SASL OAUTHBEARER's text is a presigned GET of
 * kafka-cluster:Connect, as unpadded base64url (github.com/aws/aws-msk-iam-sasl-signer-python does the same). Nothing
 * is sent to that URL; the broker checks the signature. */
#ifndef ORDERLOG_AWS_MSK_TOKEN_H
#define ORDERLOG_AWS_MSK_TOKEN_H

#include "core/aws/sigv4.h"

enum { MSK_TOKEN_SECONDS = 900 }; /* the broker takes no longer ones */

/* Appends the token; *expires_ms is when it ends, in milliseconds since the epoch. Any thread; does not block. */
void msk_token_make(struct str region, const struct sigv4_keys *keys, int64_t now_us, struct buf *ret,
                    int64_t *expires_ms);

#endif
