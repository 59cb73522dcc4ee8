#include "cli/process_notifier.h"

#include <stdlib.h>

#include "consumers/addresses.h"
#include "core/base/config.h"
#include "core/domain/notices.h"

enum { CALLS_AT_ONCE = 4, WITHIN_MAX_S = 30 * 24 * 3600 };

static const struct decider *const deciders[] = {&notifier_decider};

struct notifier_role {
    const char *database_url;
    struct notifier notifier;
    struct addresses *addresses;
    struct loop *loop;
};

bool notifier_settings_load(const char *claims_url, struct notifier *ret, struct err *err) {
    const char *mail, *from;
    int64_t within_s;
    *ret = (struct notifier){.shop = str_from(config_get("ORDERLOG_SHOP_NAME", "orderlog"))};
    if (!config_require("ORDERLOG_MAIL", &mail, err) || !config_require("ORDERLOG_MAIL_FROM", &from, err) ||
        !config_int("ORDERLOG_MAIL_WITHIN_SECONDS", NOTIFIER_WITHIN_S, 60, WITHIN_MAX_S, &within_s, err))
        return false;
    ret->within_us = within_s * 1000000;
    if (mailer_open(mail, config_get("ORDERLOG_MAIL_CA", NULL), str_from(from), ret->shop, &ret->mailer, err) &&
        claims_open(config_get("ORDERLOG_CLAIMS", claims_url), &ret->claims, err))
        return true;
    notifier_settings_free(ret);
    return false;
}

void notifier_settings_free(struct notifier *notifier) {
    mailer_close(notifier->mailer);
    claims_close(notifier->claims);
    notifier->mailer = NULL;
    notifier->claims = NULL;
}

bool notifier_role_open(const char *database_url, struct notifier_role **ret, struct err *err) {
    struct notifier_role *role = mem_zalloc(sizeof *role);
    role->database_url = database_url;
    if (!notifier_settings_load(database_url, &role->notifier, err)) {
        free(role);
        return false;
    }
    *ret = role;
    return true;
}

bool notifier_role_migrate(struct notifier_role *role, struct err *err) {
    return loop_migrate(role->database_url, deciders, 1, err);
}

static bool find_address(void *user, const struct intent_send_notice *notice, struct arena *arena, struct str *ret,
                         struct err *err) {
    struct notifier_role *role = user;
    return addresses_find(role->addresses, notice->order.shopper_id, notice->order.personal_ref, arena, ret, err);
}

bool notifier_role_start(struct notifier_role *role, struct log *log, const struct shop *shop,
                         const struct locations *locations, struct err *err) {
    if (role->loop)
        return true;
    if (!role->addresses && !addresses_open(log, &role->addresses, err))
        return false;
    role->notifier.address = find_address;
    role->notifier.address_user = role;
    return loop_start(&(struct loop_config){.deciders = deciders,
                                            .decider_count = 1,
                                            .log = log,
                                            .database_url = role->database_url,
                                            .shop = shop,
                                            .locations = locations,
                                            .call = notifier_call,
                                            .call_user = &role->notifier,
                                            .calls_at_once = CALLS_AT_ONCE},
                      &role->loop, err);
}

bool notifier_role_ready(struct notifier_role *role, struct buf *why) {
    return !role->loop || loop_ready(role->loop, why);
}

void notifier_role_check(struct notifier_role *role, struct checks *checks) {
    if (role->loop)
        loop_check(role->loop, checks);
}

void notifier_role_close(struct notifier_role *role) {
    if (!role)
        return;
    if (role->loop)
        loop_stop(role->loop);
    addresses_close(role->addresses);
    notifier_settings_free(&role->notifier);
    free(role);
}
