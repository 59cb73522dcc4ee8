/* The outbox publisher: appends committed outbox rows to the log, per shard in the order of their ids, until each is
 * acknowledged (section 4, step 4 of the design).
 *
 * A failed delivery is answered with a new producer and everything again from the oldest row that is not done:
 * duplicates carry the same origin_seq and are dropped by whoever reads them. Rows are only ever added after their
 * COMMIT was answered, or were read from the table.
 *
 * Belongs to the thread of its loop; deliveries come on the log's threads and only touch atomics and a lock. */
#ifndef ORDERLOG_PRODUCERS_PUBLISHER_H
#define ORDERLOG_PRODUCERS_PUBLISHER_H

#include "core/log/append.h"

struct publisher;

/* Called on a thread of the log's when there is something for publisher_pump to do: wake the loop. */
typedef void publisher_wake(void *user);

CHECK_RESULT bool publisher_open(struct log *log, publisher_wake *wake, void *user, struct publisher **ret,
                                 struct err *err);
/* Waits up to timeout_ms for what is in flight, then closes. */
void publisher_close(struct publisher *publisher, int64_t timeout_ms);

/* Queues a row: `records` is a run of record_encode()d records (copied). Ids of a shard must grow. False, with nothing
 * queued: they cannot be read (ERR_CORRUPT), since a newer program wrote them, say. */
CHECK_RESULT bool publisher_add(struct publisher *publisher, int32_t shard, int64_t id, struct str records,
                                struct err *err);
/* Forgets what is queued for a shard (it was revoked, or is taken over anew). What is in flight may still arrive. */
void publisher_drop(struct publisher *publisher, int32_t shard);

/* Appends what can be appended, settles what was acknowledged, and starts anew after a failure. Does not block but
 * after a failure (until what was in flight has been answered). False: the log cannot take it now; call again later. */
CHECK_RESULT bool publisher_pump(struct publisher *publisher, struct err *err);

/* All rows of the shard up to and with this id are acknowledged; 0: none since the last drop. */
int64_t publisher_done_through(const struct publisher *publisher, int32_t shard);
/* Bytes of rows that are not done. */
size_t publisher_backlog_bytes(const struct publisher *publisher);

/* The highest acknowledged offset of each partition since the last call, for the shard's row. */
typedef void publisher_acknowledged(void *user, struct str topic, int32_t partition, int64_t offset);
void publisher_take_acknowledged(struct publisher *publisher, int32_t shard, publisher_acknowledged *each, void *user);

#endif
