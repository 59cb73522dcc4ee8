/* What was committed (its after-image is in decider.outbox) is brought into the deciders' tables a little later, by a
 * connection of its own and without waiting: an order that changes five times in a second is written once, and a
 * deadline that is set and cleared within it not at all.
 *
 * Only what was committed may be given to it. Its transaction holds a lock on the shards' rows that a take-over waits
 * for, and checks their epochs: so it never writes over what a later owner wrote. */
#ifndef ORDERLOG_CONSUMERS_FLUSH_H
#define ORDERLOG_CONSUMERS_FLUSH_H

#include "consumers/internal.h"

struct flush;

struct flush *flush_open(struct loop *loop);
void flush_close(struct flush *flush);

/* Copied. due_us -1: cleared. */
void flush_timer(struct flush *flush, int32_t slot, struct str key, struct str name, int64_t due_us);
void flush_intent(struct flush *flush, const struct effect *effect);
void flush_answered(struct flush *flush, int32_t slot, struct str id);

/* Settles a flush that has ended, begins one that is due. Does not block but to connect. False: one failed, and all
 * shards are to be taken over anew (which brings the tables up from the outbox). Without a connection it waits. */
CHECK_RESULT bool flush_turn(struct flush *flush, struct err *err);
/* All that there is now, and waits. */
CHECK_RESULT bool flush_now(struct flush *flush, struct err *err);
/* One has failed: until the next flush_turn nothing may be committed, since what is in memory may be behind. */
bool flush_is_broken(const struct flush *flush, struct err *err);
/* Whether something is not written yet, or being written. */
bool flush_has_work(const struct flush *flush);
bool flush_has_timers(const struct flush *flush, int32_t slot);
/* Forgets what is of this shard, once what is on its way has ended. */
void flush_drop(struct flush *flush, int32_t slot);

#endif
