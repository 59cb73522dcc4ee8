/* Where shoppers can be written to: the e-mail addresses of shop.personal.v1, in memory, as new as the topic. They are
 * kept nowhere else, and gone with a record's tombstone. About 120 bytes for each of a shopper's sets of details.
 *
 * Any thread; the first look reads the topic from its beginning. */
#ifndef ORDERLOG_CONSUMERS_ADDRESSES_H
#define ORDERLOG_CONSUMERS_ADDRESSES_H

#include "core/base/arena.h"
#include "core/log/log.h"

struct addresses;

CHECK_RESULT bool addresses_open(struct log *log, struct addresses **ret, struct err *err);
void addresses_close(struct addresses *addresses); /* NULL is fine */
/* *ret, in the arena: ptr NULL when there is none (any more). False: the topic cannot be read to its end now. */
CHECK_RESULT bool addresses_find(struct addresses *addresses, struct str shopper_id, struct str ref,
                                 struct arena *arena, struct str *ret, struct err *err);

#endif
