/* What deciders' tables do not know of yet: timers and intents by name, and the statements that write them and changed
 * rows. Only the newest of each is kept. */
#ifndef ORDERLOG_CONSUMERS_LATE_H
#define ORDERLOG_CONSUMERS_LATE_H

#include "consumers/internal.h"
#include "core/base/map.h"

struct late_timer {
    int32_t slot;
    struct str key, name; /* in this allocation */
    int64_t due_us;       /* -1: cleared */
};

struct late_intent {
    int32_t slot;
    bool answered;              /* to be deleted; else to be inserted */
    struct effect_result *copy; /* of the latter */
    char *id;                   /* of the former */
};

/* All-zero is empty. */
struct late {
    struct map timers;
    struct map intents;
    struct buf name;
};

void late_timer_set(struct late *late, int32_t slot, struct str key, struct str name, int64_t due_us);
void late_intent_set(struct late *late, const struct effect *effect);
void late_intent_answered(struct late *late, int32_t slot, struct str id);
bool late_has_timers(const struct late *late, int32_t slot);
/* Forgets what is of this shard. */
void late_drop(struct late *late, int32_t slot);
void late_free(struct late *late);

/* By pg_send. `rows` by next_flushing; those that their table does not have yet are inserted, the others updated. */
void late_send_rows(struct loop *loop, struct pg *pg, const struct cache_row *rows);
void late_send(struct loop *loop, struct pg *pg, const struct late *late);

#endif
