/* The catalogue in memory: every product of every partition, as a Kafka Streams global table. Belongs to no shard.
 * Used by one thread. */
#ifndef ORDERLOG_CONSUMERS_CATALOGUE_H
#define ORDERLOG_CONSUMERS_CATALOGUE_H

#include "core/domain/room.h"
#include "core/log/log.h"

struct catalogue;

CHECK_RESULT bool catalogue_open(struct log *log, struct catalogue **ret, struct err *err);
void catalogue_close(struct catalogue *catalogue);
/* Takes what is there without waiting. */
CHECK_RESULT bool catalogue_poll(struct catalogue *catalogue, struct err *err);
/* Reads up to the high watermarks as they are now. */
CHECK_RESULT bool catalogue_catch_up(struct catalogue *catalogue, struct err *err);
/* *ret is borrowed until the next poll. */
bool catalogue_find(const struct catalogue *catalogue, struct str sku, struct product *ret);

#endif
