/* Filling topics that have no records with those that other ones had: each at its own offset and time. For `orderlog
 * restore`. One thread.
 *
 *   sqlite://   the whole log must be empty. What was begun cannot be gone on with.
 *   kafka://    the topics must be empty, and of such settings as log_restore_topic_id's callers make them with: a
 * record brings its own time then, in whole milliseconds, and nothing is deleted. An offset is what the broker counts:
 * nobody else may write, and each acknowledgement is compared with what it should be. What was begun is gone on with.
 */
#ifndef ORDERLOG_LOG_RESTORE_H
#define ORDERLOG_LOG_RESTORE_H

#include "core/log/log.h"

struct log_restore;

/* Whether the log of this URL can hold the record as it is; ERR_CONFIG says why not. Asks nobody. */
CHECK_RESULT bool log_restore_check(const char *url, const struct log_record *record, struct err *err);
/* Opens the log (makes it, if it is embedded and there is none). ERR_CONFIG when one of the topics holds records
 * already (but for what a restore that did not come to its end has left in Kafka), or cannot be filled in this way.
 * From here on until log_restore_finish nobody can open it, so that half of a log is never taken for a whole one. */
CHECK_RESULT bool log_restore_open(const char *url, const struct str *topics, size_t count, struct log_restore **ret,
                                   struct err *err);
/* For making topics, and reading what there is already; owned by the restore. */
struct log *log_restore_log(struct log_restore *restore);
/* The ids that the log and its topics had, so that stores know them again when it is opened. Each topic has to be named
 * before its first record. *ret_kept: it is so called now; an embedded log cannot have a Kafka cluster's, and Kafka
 * takes none at all. ERR_NOT_FOUND: no such topic. */
CHECK_RESULT bool log_restore_id(struct log_restore *restore, struct str log_id, bool *ret_kept, struct err *err);
CHECK_RESULT bool log_restore_topic_id(struct log_restore *restore, struct str topic, struct str id, bool *ret_kept,
                                       struct err *err);
/* A record's offset must be the partition's next. Into an embedded log times must never decrease from call to call.
 * Copies the record. */
CHECK_RESULT bool log_restore_add(struct log_restore *restore, const struct log_record *record, struct err *err);
/* All of it is durable, and where it should be. After this topics are made and set as ever. */
CHECK_RESULT bool log_restore_settle(struct log_restore *restore, struct err *err);
/* The log may be opened. */
CHECK_RESULT bool log_restore_finish(struct log_restore *restore, struct err *err);
void log_restore_close(struct log_restore *restore); /* NULL is fine */

#endif
