/* Who is asking: a guest's signed session token, or an operator's named token. */
#ifndef ORDERLOG_API_AUTH_H
#define ORDERLOG_API_AUTH_H

#include "api/internal.h"

enum { SESSION_DAYS = 30 };

/* `operator_tokens`: lines of name:token; empty ones and those that begin with # are skipped. Tokens are kept as hashes
 * only. ERR_CONFIG names the line, never its text. */
CHECK_RESULT bool auth_open(const struct secret_pair *session_secrets, const char *operator_tokens, struct auth **ret,
                            struct err *err);
void auth_close(struct auth *auth);

/* Reads the value of an Authorization header. Constant time as far as secrets go. Any thread. */
bool auth_principal(const struct auth *auth, struct str authorization, int64_t now_us, struct arena *arena,
                    struct principal *ret);
/* Appends a token for this shopper: s1.<base64url of shopper id, colon, expiry in seconds>.<base64url of its
 * HMAC-SHA-256>. */
void auth_session_token(const struct auth *auth, struct str shopper_id, int64_t expires_us, struct buf *ret);

#endif
