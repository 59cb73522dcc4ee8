/* One rebuild of views in Redis at a time: a key with the name of who holds it, which ends by itself when that one does
 * not renew it. One whose holder was a process of this machine and is gone is taken at once. One thread. */
#ifndef ORDERLOG_PROJECTIONS_REDIS_LOCK_H
#define ORDERLOG_PROJECTIONS_REDIS_LOCK_H

#include "core/store/redis.h"

struct redis_lock {
    struct redis *redis; /* borrowed */
    char token[160];     /* the key's value; "": not held */
    int64_t renewed_at_us;
};

/* ERR_FENCED names who holds it. */
CHECK_RESULT bool redis_lock_take(struct redis_lock *lock, struct redis *redis, struct err *err);
/* To be called every few seconds; does nothing when it was just renewed. ERR_FENCED: it has ended. */
CHECK_RESULT bool redis_lock_renew(struct redis_lock *lock, struct err *err);
void redis_lock_release(struct redis_lock *lock);

#endif
