/* The numbers that deciders give their output: 1, 2, 3, … per (origin, topic, partition), in log order but for
 * duplicates, which are dropped. */
#ifndef ORDERLOG_CLI_SEQUENCES_H
#define ORDERLOG_CLI_SEQUENCES_H

#include "core/base/envelope.h"
#include "core/base/map.h"

struct sequences {
    struct map last; /* by topic, partition, origin: a struct sequence */
};

enum sequence_verdict {
    SEQUENCE_NONE,      /* the record has no origin */
    SEQUENCE_FIRST,     /* the first record of this origin that was seen here, whatever its number */
    SEQUENCE_NEXT,      /* the one after the last */
    SEQUENCE_DUPLICATE, /* seen already */
    SEQUENCE_HOLE,      /* some before it are missing; it counts as the last from now on */
};

/* *ret_last is the last number before this record, 0 if there was none. */
enum sequence_verdict sequences_take(struct sequences *sequences, const struct envelope *envelope, int64_t *ret_last);
/* The last number taken; 0: none. */
int64_t sequences_last(const struct sequences *sequences, struct str topic, int32_t partition, struct str origin);
void sequences_free(struct sequences *sequences);

#endif
