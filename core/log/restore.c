/* Which adapter fills a log. */
#include "core/log/restore.h"

#include "core/log/adapter.h"

#define KAFKA_SCHEME "kafka://"

static bool is_kafka(const char *url) {
    return str_starts_with(str_from(url), STR(KAFKA_SCHEME));
}

bool log_restore_check(const char *url, const struct log_record *record, struct err *err) {
    return !is_kafka(url) || log_kafka_restore_check(record, err);
}

bool log_restore_open(const char *url, const struct str *topics, size_t count, struct log_restore **ret,
                      struct err *err) {
    return is_kafka(url) ? log_kafka_restore_open(url + strlen(KAFKA_SCHEME), topics, count, ret, err)
                         : log_sqlite_restore_open(url, ret, err);
}

struct log *log_restore_log(struct log_restore *restore) {
    return restore->log;
}

bool log_restore_id(struct log_restore *restore, struct str log_id, bool *ret_kept, struct err *err) {
    return restore->ops->id(restore, log_id, ret_kept, err);
}

bool log_restore_topic_id(struct log_restore *restore, struct str topic, struct str id, bool *ret_kept,
                          struct err *err) {
    return restore->ops->topic_id(restore, topic, id, ret_kept, err);
}

bool log_restore_add(struct log_restore *restore, const struct log_record *record, struct err *err) {
    return restore->ops->add(restore, record, err);
}

bool log_restore_settle(struct log_restore *restore, struct err *err) {
    return restore->ops->settle(restore, err);
}

bool log_restore_finish(struct log_restore *restore, struct err *err) {
    return restore->ops->finish(restore, err);
}

void log_restore_close(struct log_restore *restore) {
    if (restore)
        restore->ops->close(restore);
}
