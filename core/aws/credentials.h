/* AWS credentials, from where AWS's own tools take them, in their order:
 *
 *   environment        AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   web identity       AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN (EKS's IRSA), by STS
 *   profile            AWS_PROFILE, or "default", in the shared credentials and config files
 *   container          AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS Pod Identity)
 *   instance metadata  of EC2, version 2 only
 *
 * The first source that is set up serves, or fails the whole: what another would give is another identity.
 * Credentials are kept, and fetched again before they end; while a source does not answer, those that are still good
 * serve on. */
#ifndef ORDERLOG_AWS_CREDENTIALS_H
#define ORDERLOG_AWS_CREDENTIALS_H

#include "core/aws/sigv4.h"
#include "core/base/err.h"

struct aws_credentials {
    char *access_key_id; /* owned, as the next two; wiped when freed */
    char *secret_access_key;
    char *session_token; /* NULL: none */
    int64_t expires_us;  /* 0: never */
    const char *source;  /* a name from above */
};

struct aws_chain;

/* Reads the settings (core/base/config.h) now; asks nobody yet. */
struct aws_chain *aws_chain_open(void);
/* NULL is fine. Nobody may be in aws_chain_get. */
void aws_chain_close(struct aws_chain *chain);
/* A copy of what is good now, to be freed; *ret is all-zero at first. Any thread. Blocks when there are none, for a few
 * seconds at most; one thread fetches for all. ERR_CONFIG or ERR_IO: names each source that was tried, and why it did
 * not serve. */
CHECK_RESULT bool aws_chain_get(struct aws_chain *chain, struct aws_credentials *ret, struct err *err);
void aws_credentials_free(struct aws_credentials *credentials);
#define AWS_CREDENTIALS_AUTO __attribute__((cleanup(aws_credentials_free))) struct aws_credentials
static inline struct sigv4_keys aws_credentials_keys(const struct aws_credentials *credentials) {
    return (struct sigv4_keys){str_from(credentials->access_key_id), str_from(credentials->secret_access_key),
                               str_from(credentials->session_token)};
}
/* AWS_REGION, or AWS_DEFAULT_REGION, or the profile's; NULL when none is set. Lives as long as the chain. */
const char *aws_chain_region(const struct aws_chain *chain);

#endif
