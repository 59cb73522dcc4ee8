/* Bringing a shard's tables up to what its outbox says was changed (state/changes), where they are behind. */
#ifndef ORDERLOG_CONSUMERS_REPLAY_H
#define ORDERLOG_CONSUMERS_REPLAY_H

#include "core/domain/room.h"
#include "core/store/pg.h"

/* In a transaction of the caller's that holds the shard's row FOR UPDATE, which waits for what its owner has on its way
 * into the tables. Writes over older rows only; afterwards the shard's row says that nothing is behind. */
CHECK_RESULT bool replay_changes(struct pg *pg, const struct decider *decider, int32_t shard, struct err *err);

#endif
