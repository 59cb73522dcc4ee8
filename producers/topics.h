/* The topics of the shop, as they are created. */
#ifndef ORDERLOG_PRODUCERS_TOPICS_H
#define ORDERLOG_PRODUCERS_TOPICS_H

#include "core/log/log.h"

/* Makes what is missing: every topic of schemas/ with `partitions` partitions, and a dead-letter topic for each one
 * that deciders read. ERR_CONFIG when one stands with another number. */
CHECK_RESULT bool topics_create(struct log *log, int32_t partitions, struct err *err);
/* The same, and sets those that stand as they should be set. */
CHECK_RESULT bool topics_apply(struct log *log, int32_t partitions, struct err *err);
/* What is otherwise; see log_topics_diff. */
CHECK_RESULT bool topics_diff(struct log *log, int32_t partitions, log_drift *each, void *user, struct err *err);

#define TOPIC_DEAD_LETTER_SUFFIX ".dlq"

#endif
