#include "cli/process_settings.h"

#include <stdlib.h>

#include "core/base/config.h"
#include "gen/types.h"
#include "producers/topics.h"

enum { DEFAULT_PARTITIONS = 4 };

/* A setting in seconds, kept in microseconds. */
static bool load_seconds(const char *key, int64_t *us, struct err *err) {
    int64_t seconds;
    if (!config_int(key, *us / 1000000, 1, INT64_C(10) * 365 * 24 * 3600, &seconds, err))
        return false;
    *us = seconds * 1000000;
    return true;
}

bool process_shop_load(struct shop *shop, struct locations *locations, struct err *err) {
    *shop = shop_defaults();
    shop->currency = str_from(config_get("ORDERLOG_CURRENCY", "USD"));
    if (shop->currency.len != 3)
        return err_set(err, ERR_CONFIG, "ORDERLOG_CURRENCY must be an ISO 4217 code such as USD");
    if (!locations_parse(config_get("ORDERLOG_LOCATIONS", "main:0"), locations, err))
        return false;
    shop->location = locations_first(locations);
    return load_seconds("ORDERLOG_PAYMENT_DEADLINE_SECONDS", &shop->payment_deadline_us, err) &&
           load_seconds("ORDERLOG_CART_ABANDON_SECONDS", &shop->cart_abandon_us, err) &&
           load_seconds("ORDERLOG_HOLD_EXPIRY_SECONDS", &shop->hold_expiry_us, err);
}

bool process_provider_open(struct provider **ret, struct err *err) {
    const char *url;
    const char *secret = "";
    int64_t timeout_ms;
    if (!config_require("ORDERLOG_PROVIDER", &url, err) ||
        !config_int("ORDERLOG_PROVIDER_TIMEOUT_MS", PROVIDER_TIMEOUT_MS, 10, 300000, &timeout_ms, err))
        return false;
    if (strcmp(url, "instant") != 0 && !config_require("ORDERLOG_PROVIDER_SECRET", &secret, err))
        return false;
    return provider_open(url, str_from(secret), timeout_ms, ret, err);
}

/* Of those that the roles read and write; what is missing otherwise is found by whoever needs it. */
static bool topics_found(struct log *log, const struct locations *locations, struct err *err) {
    struct log_topic topic;
    if (!log_topic_find(log, STR(TOPIC_INVENTORY_REQUESTS), &topic, err))
        return err && err->kind == ERR_NOT_FOUND
                   ? err_set(err, ERR_CONFIG, "the log has no topic %s; `orderlog topics apply` makes all",
                             TOPIC_INVENTORY_REQUESTS)
                   : false;
    for (size_t i = 0; i < locations->count; i++)
        if (locations->items[i].partition >= topic.partitions)
            return err_set(err, ERR_CONFIG, "ORDERLOG_LOCATIONS: %s has partition %d, but topics have %d",
                           locations->items[i].name, locations->items[i].partition, topic.partitions);
    return true;
}

/* All topics are asked for at once now, so that nobody is held up by asking for one later, while no broker may answer.
 */
static bool topics_learn(struct log *log, struct err *err) {
    struct log_topic *topics;
    size_t count;
    if (!log_topics_list(log, &topics, &count, err))
        return false;
    free(topics);
    return true;
}

bool process_log_open(bool makes_topics, const struct locations *locations, struct log **ret, bool *ret_worth_waiting,
                      struct err *err) {
    const char *url;
    int64_t partitions;
    struct log *log;
    const struct log_options options = {0};
    *ret_worth_waiting = false;
    if (!config_require("ORDERLOG_LOG", &url, err) ||
        !config_int("ORDERLOG_PARTITIONS", DEFAULT_PARTITIONS, 1, 1024, &partitions, err))
        return false;
    /* The embedded log is ours alone: if another process has it, nothing will come of waiting. */
    *ret_worth_waiting = !str_starts_with(str_from(url), STR("sqlite:"));
    if (!log_open(url, &options, &log, err))
        return false;
    if ((makes_topics && !topics_create(log, (int32_t)partitions, err)) || !topics_learn(log, err) ||
        !topics_found(log, locations, err)) {
        log_close(log);
        return false;
    }
    *ret = log;
    return true;
}
