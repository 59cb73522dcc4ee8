/* Filling a log that has no records with those that another one had: each at its own offset and time. For `orderlog
 * restore`. One thread.
 *
 * Only the embedded log can be told offsets and times to the microsecond. On Kafka a producer gives neither: times are
 * milliseconds and the topic's own choice, and an offset is what the broker counts. */
#ifndef ORDERLOG_LOG_RESTORE_H
#define ORDERLOG_LOG_RESTORE_H

#include "core/log/log.h"

struct log_restore;

/* Opens the log (makes it, if there is none). ERR_CONFIG when it holds records already, or cannot be filled in this
 * way. From here on until log_restore_finish nobody can open it, so that half of a log is never taken for a whole one.
 */
CHECK_RESULT bool log_restore_open(const char *url, struct log_restore **ret, struct err *err);
/* For making topics; owned by the restore. */
struct log *log_restore_log(struct log_restore *restore);
/* The ids that the log and its topics had, so that stores know them again when it is opened. Ids that the embedded log
 * cannot have (a Kafka cluster's) are left out, and it keeps its own. ERR_NOT_FOUND: no such topic. */
CHECK_RESULT bool log_restore_id(struct log_restore *restore, struct str log_id, struct err *err);
CHECK_RESULT bool log_restore_topic_id(struct log_restore *restore, struct str topic, struct str id, struct err *err);
/* Times must never decrease from call to call; a record's offset must be the partition's next. Copies the record. */
CHECK_RESULT bool log_restore_add(struct log_restore *restore, const struct log_record *record, struct err *err);
/* All of it is durable, and the log may be opened. */
CHECK_RESULT bool log_restore_finish(struct log_restore *restore, struct err *err);
void log_restore_close(struct log_restore *restore); /* NULL is fine */

#endif
