#include "api/limits.h"

#include "core/base/clock.h"
#include "core/base/metrics.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>

enum { SETS = 4096, WAYS = 4 }; /* 256 KiB for each of the two */

/* A bucket as the time at which it will be full again (the generic cell rate algorithm): one that is past is full, as
 * is one that is not there. */
struct bucket {
    uint64_t hash;
    int64_t full_us;
};

struct rate {
    pthread_mutex_t lock;
    int64_t token_us; /* that a token takes to flow in; 0: no limit */
    int64_t burst_us; /* that a full bucket took */
    uint64_t seed;    /* so that nobody can choose to share another's bucket */
    struct bucket (*sets)[WAYS];
};

struct limits {
    struct rate shoppers, addresses, operators;
    struct metric *shed[SHED_REASON_COUNT];
};

static void rate_open(struct rate *rate, int32_t per_second, int32_t burst) {
    pthread_mutex_init(&rate->lock, NULL);
    if (per_second <= 0)
        return;
    rate->token_us = 1000000 / per_second;
    rate->burst_us = rate->token_us * (burst > 1 ? burst : 1);
    random_bytes(&rate->seed, sizeof rate->seed);
    rate->sets = mem_zalloc(SETS * sizeof *rate->sets);
}

static void rate_close(struct rate *rate) {
    pthread_mutex_destroy(&rate->lock);
    free(rate->sets);
}

struct limits *limits_open(const struct api_config *config) {
    static const char *const reasons[SHED_REASON_COUNT] = {[SHED_RATE_SHOPPER] = "rate_shopper",
                                                           [SHED_RATE_ADDRESS] = "rate_address",
                                                           [SHED_RATE_OPERATOR] = "rate_operator",
                                                           [SHED_STREAMS] = "streams",
                                                           [SHED_IN_FLIGHT] = "in_flight",
                                                           [SHED_LOG_QUEUE] = "log_queue",
                                                           [SHED_BODIES] = "bodies",
                                                           [SHED_LAG] = "lag",
                                                           [SHED_SESSIONS] = "sessions"};
    struct limits *limits = mem_zalloc(sizeof *limits);
    rate_open(&limits->shoppers, config->rate_shopper, config->rate_shopper_burst);
    rate_open(&limits->addresses, config->rate_address, config->rate_address_burst);
    rate_open(&limits->operators, config->rate_operator, config->rate_operator_burst);
    for (size_t i = 0; i < SHED_REASON_COUNT; i++) {
        BUF_AUTO labels = {0};
        buf_printf(&labels, "reason=\"%s\"", reasons[i]);
        limits->shed[i] = metrics_counter("orderlog_http_shed_total",
                                          "Requests turned away because this server would not carry them.", labels.ptr);
    }
    return limits;
}

void limits_close(struct limits *limits) {
    if (!limits)
        return;
    rate_close(&limits->shoppers);
    rate_close(&limits->addresses);
    rate_close(&limits->operators);
    free(limits);
}

void limits_count_shed(struct limits *limits, enum shed_reason reason) {
    metrics_add(limits->shed[reason], 1);
}

/* ---- buckets ---- */

static uint64_t hash_of(uint64_t seed, const void *bytes, size_t len) {
    const unsigned char *at = bytes;
    uint64_t hash = seed;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ at[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    return hash | 1; /* 0 is a free place */
}

/* That of this hash, or the one that is the fullest: it loses the least by being forgotten. */
static struct bucket *bucket_of(struct rate *rate, uint64_t hash) {
    struct bucket *set = rate->sets[hash >> 32 & (SETS - 1)], *fullest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (set[i].full_us < fullest->full_us)
            fullest = &set[i];
    }
    *fullest = (struct bucket){hash, 0};
    return fullest;
}

/* 0: taken, or, unless `takes`, there is one; else so many microseconds from now there will be one. */
static int64_t token_take(struct rate *rate, const void *key, size_t len, bool takes) {
    if (!rate->token_us)
        return 0;
    int64_t now_us = clock_monotonic_us();
    pthread_mutex_lock(&rate->lock);
    struct bucket *bucket = bucket_of(rate, hash_of(rate->seed, key, len));
    int64_t full_us = (bucket->full_us > now_us ? bucket->full_us : now_us) + rate->token_us;
    int64_t wait_us = full_us - now_us - rate->burst_us;
    if (wait_us <= 0 && takes)
        bucket->full_us = full_us;
    pthread_mutex_unlock(&rate->lock);
    return wait_us > 0 ? wait_us : 0;
}

/* ---- requests ---- */

/* Of IPv6, the part that a network gives to one customer. */
static size_t address_of(const struct request *request, uint8_t ret[16]) {
    const struct sockaddr *from =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    if (from->sa_family == AF_INET) {
        memcpy(ret, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
        return 4;
    }
    if (from->sa_family != AF_INET6)
        return 0;
    const struct in6_addr *address = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(address);
    memcpy(ret, address->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
    return mapped ? 4 : 8;
}

static bool rate_check(struct request *request, bool takes, struct err *err) {
    static const char *const askers[] = {
        [SHED_RATE_SHOPPER] = "shopper", [SHED_RATE_ADDRESS] = "address", [SHED_RATE_OPERATOR] = "operator"};
    struct limits *limits = request->api->limits;
    struct str id = request->principal.id;
    uint8_t address[16];
    enum shed_reason reason;
    int64_t wait_us;
    if (request->principal.kind == PRINCIPAL_OPERATOR) {
        reason = SHED_RATE_OPERATOR;
        wait_us = token_take(&limits->operators, id.ptr, id.len, takes);
    } else {
        reason = SHED_RATE_ADDRESS;
        wait_us = token_take(&limits->addresses, address, address_of(request, address), takes);
    }
    if (!wait_us && request->principal.kind == PRINCIPAL_SHOPPER) {
        reason = SHED_RATE_SHOPPER;
        wait_us = token_take(&limits->shoppers, id.ptr, id.len, takes);
    }
    if (!wait_us)
        return true;
    limits_count_shed(limits, reason);
    request->retry_after_s = (int32_t)((wait_us + 999999) / 1000000);
    return err_set(err, ERR_RATE_LIMITED,
                   "There were too many requests from this %s. Retry-After says how long to wait.", askers[reason]);
}

bool limits_rate_check(struct request *request, struct err *err) {
    return rate_check(request, true, err);
}

bool limits_rate_look(struct request *request, struct err *err) {
    return rate_check(request, false, err);
}
