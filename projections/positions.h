/* Where a shard of a projector stands: the next offset of each topic, and the last number of each (topic, origin); and
 * which generation of its rows that is.
 *
 * Kept by the store beside the rows, as the bytes of state/positions, and compared as bytes: who finds other bytes than
 * those it goes on from has been overtaken. Belongs to one thread. */
#ifndef ORDERLOG_PROJECTIONS_POSITIONS_H
#define ORDERLOG_PROJECTIONS_POSITIONS_H

#include "core/base/arena.h"
#include "core/log/log.h"
#include "gen/types.h"

struct positions {
    struct arena arena;
    struct state_positions state; /* topics: those of the service, in its order */
};

enum positions_verdict {
    POSITIONS_NEXT,  /* to be applied */
    POSITIONS_AGAIN, /* was applied: to be dropped */
    POSITIONS_GAP,   /* numbers before it are missing: the log has lost records */
};

void positions_init(struct positions *positions);
void positions_free(struct positions *positions);

/* From what the store holds; `bytes` with ptr NULL: from the beginning. Copies all. ERR_CONFIG when they are of another
 * log or of another creation of a topic, ERR_CORRUPT or ERR_UNKNOWN_SCHEMA when they cannot be read. */
CHECK_RESULT bool positions_read(struct positions *positions, struct str log_id, const struct log_topic *topics,
                                 size_t topic_count, struct str bytes, struct err *err);
/* Appends the bytes. */
void positions_write(const struct positions *positions, struct buf *ret);

/* `topic` is an index into state.topics. *ret_last: the number held. */
enum positions_verdict positions_check(const struct positions *positions, size_t topic, struct str origin, int64_t seq,
                                       int64_t *ret_last);
/* This record is done with: applied, dropped or parked. */
void positions_advance(struct positions *positions, size_t topic, int64_t offset, struct str origin, int64_t seq);

#endif
