#include "cli/provider_faults.h"

#include <stdlib.h>

#include "core/base/arena.h"
#include "core/base/ids.h"

static const struct {
    const char *rate;
    const char *token;
} names[PROVIDER_FAULT_COUNT] = {{NULL, NULL},
#define X(constant, rate, token, what) {rate, token},
                                 PROVIDER_FAULTS(X)
#undef X
};

/* "1%", "0.5%" or "0.01". */
static bool rate_parse(struct str text, double *ret) {
    char copy[24], *end;
    bool percent = str_ends_with(text, STR("%"));
    size_t len = text.len - (percent ? 1 : 0);
    if (!len || len >= sizeof copy || text.ptr[0] == '-')
        return false;
    memcpy(copy, text.ptr, len);
    copy[len] = '\0';
    double value = strtod(copy, &end) / (percent ? 100 : 1);
    *ret = value;
    return !*end && value >= 0 && value <= 1;
}

static bool rate_set(struct str item, struct provider_rates *ret, struct err *err) {
    double rate;
    struct str text, name = str_cut(item, '=', &text);
    bool known = false;
    if (!text.ptr || !rate_parse(text, &rate))
        return err_set(err, ERR_USAGE, "--fault takes NAME=RATE with a rate such as 1%% or 0.01, not '%.*s'",
                       STR_ARG(item));
    for (int i = 1; i < PROVIDER_FAULT_COUNT; i++)
        if (str_eq(name, str_from(names[i].rate)) ||
            (str_eq(name, STR("timeouts")) &&
             (i == PROVIDER_FAULT_TIMEOUT_BEFORE || i == PROVIDER_FAULT_TIMEOUT_AFTER))) {
            ret->of[i] = rate;
            known = true;
        }
    return known || err_set(err, ERR_USAGE, "there is no fault '%.*s'", STR_ARG(name));
}

bool provider_rates_parse(const char *text, struct provider_rates *ret, struct err *err) {
    struct str rest = str_from(text);
    while (rest.ptr) {
        struct str item = str_cut(rest, ',', &rest);
        if (!rate_set(item, ret, err))
            return false;
    }
    return true;
}

/* 0 to 1, from what it is about. */
static double chance(int64_t seed, int fault, struct str what) {
    uint8_t hash[SHA256_SIZE];
    uint64_t bits;
    BUF_AUTO text = {0};
    buf_printf(&text, "%lld %d ", (long long)seed, fault);
    buf_add_str(&text, what);
    sha256(buf_str(&text), hash);
    memcpy(&bits, hash, sizeof bits);
    return (double)(bits >> 11) / (double)(UINT64_C(1) << 53);
}

provider_faults provider_rates_roll(const struct provider_rates *rates, struct str what) {
    provider_faults faults = 0;
    for (int i = 1; i < PROVIDER_FAULT_COUNT; i++)
        if (rates->of[i] > 0 && chance(rates->seed, i, what) < rates->of[i])
            faults |= UINT32_C(1) << i;
    return faults;
}

bool provider_token_parse(struct str token, enum provider_fault *ret, int64_t *ret_times) {
    struct str prefix = STR("pm_sandbox_"), times;
    if (!str_starts_with(token, prefix))
        return false;
    struct str name = str_cut((struct str){token.ptr + prefix.len, token.len - prefix.len}, '_', &times);
    *ret_times = 1;
    if (times.ptr && (!str_to_i64(times, ret_times) || *ret_times < 1))
        return false;
    for (int i = 1; i < PROVIDER_FAULT_COUNT; i++)
        if (str_eq(name, str_from(names[i].token))) {
            *ret = (enum provider_fault)i;
            return true;
        }
    return false;
}
