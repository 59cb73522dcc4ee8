#include "projections/redis_lock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { LOCK_MS = 15000, RENEW_US = 3 * 1000 * 1000 };

#define LOCK_KEY STR("orderlog:rebuild:lock")
#define LOCK_MS_TEXT STR("15000")
_Static_assert(LOCK_MS == 15000, "LOCK_MS_TEXT says the same");

static const char release_script[] = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end\n"
                                     "return 1\n";
static const char renew_script[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
                                   "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                                   "return 1\n";

static void name_oneself(char *ret, size_t size) {
    char host[64] = "?";
    gethostname(host, sizeof(host) - 1);
    snprintf(ret, size, "host %s pid %ld begun %lld", host, (long)getpid(), (long long)clock_now_us());
}

static bool holder_is_dead(const char *holder) {
    char host[64] = "?", other[65];
    long pid;
    gethostname(host, sizeof(host) - 1);
    return sscanf(holder, "host %64s pid %ld", other, &pid) == 2 && strcmp(host, other) == 0 && pid > 1 &&
           kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static bool run(struct redis *redis, const char *script, const char *holder, int64_t *ret, struct err *err) {
    const struct str args[] = {STR("EVAL"), str_from(script), STR("1"), LOCK_KEY, str_from(holder), LOCK_MS_TEXT};
    const struct redisReply *reply;
    if (!redis_call(redis, args, sizeof(args) / sizeof(args[0]), &reply, err))
        return false;
    *ret = redis_integer(reply);
    return true;
}

static bool try_to_take(struct redis_lock *lock, const char *token, bool *ret, struct err *err) {
    const struct str args[] = {STR("SET"), LOCK_KEY, str_from(token), STR("NX"), STR("PX"), LOCK_MS_TEXT};
    const struct redisReply *reply;
    if (!redis_call(lock->redis, args, sizeof(args) / sizeof(args[0]), &reply, err))
        return false;
    *ret = redis_text(reply).ptr != NULL;
    return true;
}

/* Takes it away from one who is gone; *ret_alive names who is not. */
static bool look_at_holder(struct redis_lock *lock, struct buf *ret_alive, struct err *err) {
    const struct str get[] = {STR("GET"), LOCK_KEY};
    const struct redisReply *reply;
    BUF_AUTO holder = {0};
    int64_t ignored;
    if (!redis_call(lock->redis, get, 2, &reply, err))
        return false;
    if (!redis_text(reply).ptr)
        return true;
    buf_add_str(&holder, redis_text(reply));
    if (holder_is_dead(holder.ptr))
        return run(lock->redis, release_script, holder.ptr, &ignored, err);
    buf_add_str(ret_alive, buf_str(&holder));
    return true;
}

bool redis_lock_take(struct redis_lock *lock, struct redis *redis, struct err *err) {
    char token[sizeof(lock->token)];
    BUF_AUTO alive = {0};
    bool taken = false;
    *lock = (struct redis_lock){.redis = redis};
    name_oneself(token, sizeof(token));
    for (int tries = 0; tries < 2 && !alive.len; tries++) {
        if (!try_to_take(lock, token, &taken, err))
            return false;
        if (taken) {
            memcpy(lock->token, token, sizeof(token));
            lock->renewed_at_us = clock_monotonic_us();
            return true;
        }
        if (!look_at_holder(lock, &alive, err))
            return false;
    }
    return err_set(err, ERR_FENCED,
                   "another rebuild of views in Redis is at work (%s; were it dead, its lock would end "
                   "within %d seconds)",
                   alive.len ? alive.ptr : "just begun", LOCK_MS / 1000);
}

bool redis_lock_renew(struct redis_lock *lock, struct err *err) {
    int64_t held;
    if (clock_monotonic_us() - lock->renewed_at_us < RENEW_US)
        return true;
    if (!run(lock->redis, renew_script, lock->token, &held, err))
        return false;
    lock->renewed_at_us = clock_monotonic_us();
    return held || err_set(err, ERR_FENCED, "this rebuild stood still for too long: its lock has ended");
}

void redis_lock_release(struct redis_lock *lock) {
    int64_t ignored;
    struct err err;
    if (lock->token[0] && !run(lock->redis, release_script, lock->token, &ignored, &err))
        lock->renewed_at_us = 0; /* it ends by itself */
    lock->token[0] = '\0';
}
