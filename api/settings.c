#include "api/server.h"
#include "api/revoked_store.h"
#include "core/base/config.h"
#include "projections/views_dynamodb.h"

enum { SECRET_MIN = 32, WEBHOOK_SECRET_MIN = 16 };

static bool load_number(const char *key, int64_t high, int32_t *ret, struct err *err) {
    int64_t number;
    if (!config_int(key, 0, 0, high, &number, err))
        return false;
    *ret = (int32_t)number;
    return true;
}

/* 0, as a setting, is no limit; not set, it is the default. */
static bool load_limit(const char *key, int32_t *ret, struct err *err) {
    int64_t number;
    if (!config_int(key, -1, 0, 1000000000, &number, err))
        return false;
    *ret = number == 0 ? -1 : number > 0 ? (int32_t)number : 0;
    return true;
}

/* Webhooks are only taken where there is a secret to check them by. */
static bool load_webhook_secret(struct secret_pair *ret, struct err *err) {
    const char *file = config_get("ORDERLOG_WEBHOOK_SECRET_FILE", NULL), *secret = NULL;
    if (!(file && file[0]))
        secret = config_get("ORDERLOG_WEBHOOK_SECRET", NULL);
    return (!(file && file[0]) && !(secret && secret[0])) ||
           config_secret("ORDERLOG_WEBHOOK_SECRET", WEBHOOK_SECRET_MIN, ret, err);
}

bool api_config_load(const struct shop *shop, const struct locations *locations, struct api_config *ret,
                     struct err *err) {
    struct api_config config = {
        .listen = config_get("ORDERLOG_LISTEN", "127.0.0.1:8080"),
        .operator_tokens = config_get("ORDERLOG_OPERATOR_TOKENS", NULL), /* the content of …_FILE */
        .shop = *shop,
        .locations = locations,
    };
    int32_t records, seconds;
    const char *tokens_file = config_get("ORDERLOG_OPERATOR_TOKENS_FILE", NULL);
    if (tokens_file && tokens_file[0] && !config_require("ORDERLOG_OPERATOR_TOKENS", &config.operator_tokens, err))
        return false;
    if (!config_optional("REDIS_URL", &config.redis_url, err) ||
        !config_optional("DATABASE_URL", &config.database_url, err) || !views_url_load(&config.views_url, err) ||
        !sessions_url_load(config.database_url, &config.sessions_url, err) ||
        !config_secret("ORDERLOG_SESSION_SECRET", SECRET_MIN, &config.session_secrets, err) ||
        !config_secret("ORDERLOG_ID_SECRET", SECRET_MIN, &config.id_secrets, err) ||
        !config_secret("ORDERLOG_PERSONAL_SECRET", SECRET_MIN, &config.personal_secrets, err) ||
        !load_webhook_secret(&config.webhook_secrets, err) ||
        !load_number("ORDERLOG_API_THREADS", 64, &config.threads, err) ||
        !load_number("ORDERLOG_IN_FLIGHT", 1000000, &config.in_flight_max, err) ||
        !load_number("ORDERLOG_CONNECTIONS", 1000000, &config.connections_max, err) ||
        !load_number("ORDERLOG_WAITERS", 1000000, &config.waiters_max, err) ||
        !load_number("ORDERLOG_STREAMS", 1000000, &config.streams_max, err) ||
        !load_number("ORDERLOG_STREAMS_PER_SHOPPER", 1000000, &config.streams_per_shopper, err) ||
        !load_limit("ORDERLOG_RATE_SHOPPER", &config.rate_shopper, err) ||
        !load_number("ORDERLOG_RATE_SHOPPER_BURST", 1000000, &config.rate_shopper_burst, err) ||
        !load_limit("ORDERLOG_RATE_ADDRESS", &config.rate_address, err) ||
        !load_number("ORDERLOG_RATE_ADDRESS_BURST", 1000000, &config.rate_address_burst, err) ||
        !load_limit("ORDERLOG_RATE_OPERATOR", &config.rate_operator, err) ||
        !load_number("ORDERLOG_RATE_OPERATOR_BURST", 1000000, &config.rate_operator_burst, err) ||
        !load_limit("ORDERLOG_SHED_LAG_RECORDS", &records, err) ||
        !load_limit("ORDERLOG_SHED_LAG_SECONDS", &seconds, err))
        return false;
    config.shed_lag_records = records;
    config.shed_lag_s = seconds;
    *ret = config;
    return true;
}
