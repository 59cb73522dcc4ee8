#include "cli/kafka_auth.h"

#include "core/aws/credentials.h"
#include "core/aws/msk_token.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/log/kafka.h"

/* Kept until the process ends: tokens are asked for as long as a client lives. */
static struct aws_chain *chain;

/* A token is worth nothing once the credentials that signed it have ended. */
static bool make_token(void *user, struct kafka_token *ret, struct err *err) {
    (void)user;
    AWS_CREDENTIALS_AUTO credentials = {0};
    int64_t expires_ms;
    if (!aws_chain_get(chain, &credentials, err))
        return false;
    const struct sigv4_keys keys = aws_credentials_keys(&credentials);
    msk_token_make(str_from(aws_chain_region(chain)), &keys, clock_now_us(), &ret->text, &expires_ms);
    ret->expires_at_us = expires_ms * 1000;
    if (credentials.expires_us && credentials.expires_us < ret->expires_at_us)
        ret->expires_at_us = credentials.expires_us;
    return true;
}

/* What msk-iam means for a setting of the log's: nothing else may have been asked for. */
static bool must_be(const char *key, const char *value, struct err *err) {
    const char *set = config_get(key, NULL);
    if (set && *set && strcmp(set, value) != 0)
        return err_set(err, ERR_CONFIG, "ORDERLOG_KAFKA_AUTH=msk-iam needs %s=%s, not %s", key, value, set);
    config_override(key, value);
    return true;
}

bool kafka_auth_init(struct err *err) {
    const char *auth = config_get("ORDERLOG_KAFKA_AUTH", "");
    if (!*auth || chain)
        return true;
    if (strcmp(auth, "msk-iam") != 0)
        return err_set(err, ERR_CONFIG, "ORDERLOG_KAFKA_AUTH must be msk-iam, not %s", auth);
    if (!must_be("ORDERLOG_KAFKA_SECURITY_PROTOCOL", "SASL_SSL", err) ||
        !must_be("ORDERLOG_KAFKA_SASL_MECHANISM", "OAUTHBEARER", err))
        return false;
    chain = aws_chain_open();
    if (!aws_chain_region(chain)) {
        aws_chain_close(chain);
        chain = NULL;
        return err_set(err, ERR_CONFIG, "ORDERLOG_KAFKA_AUTH=msk-iam needs the cluster's region in AWS_REGION");
    }
    kafka_token_source_set(make_token, NULL);
    return true;
}
