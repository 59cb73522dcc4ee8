/* What an adapter of the log port is made of. core/log/log.c picks one by the URL's scheme and dispatches to it.
 *
 * An adapter's own structs begin with the struct log, log_producer or log_consumer below. Its functions mean what
 * log.h and append.h say; log.c has already checked what does not depend on the adapter. */
#ifndef ORDERLOG_LOG_ADAPTER_H
#define ORDERLOG_LOG_ADAPTER_H

#include "core/log/append.h"
#include "core/log/restore.h"

struct log {
    const struct log_ops *ops;
};

struct log_producer {
    struct log *log;
};

struct log_consumer {
    struct log *log;
};

struct log_ops {
    void (*close)(struct log *log);
    struct str (*id)(const struct log *log);

    bool (*topics_create)(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err);
    /* Of topics that stand with the right partitions: how else they are set otherwise, and setting them right. NULL:
     * there is nothing else. */
    bool (*topics_compare)(struct log *log, const struct log_topic_spec *specs, size_t count, log_drift *each,
                           void *user, struct err *err);
    bool (*topics_mend)(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err);
    bool (*topic_find)(struct log *log, struct str name, struct log_topic *ret, struct err *err);
    bool (*topics_list)(struct log *log, struct log_topic **ret, size_t *ret_count, struct err *err);
    bool (*watermarks)(struct log *log, struct str topic, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                       struct err *err);
    bool (*ends)(struct log *log, struct log_position *positions, size_t count, bool low,
                 struct err *err); /* NULL: watermarks costs nothing */
    bool (*offset_at_time)(struct log *log, struct str topic, int32_t partition, int64_t time_us, int64_t *ret,
                           struct err *err);
    bool (*usage)(struct log *log, struct log_usage *ret, struct err *err); /* NULL: not on this machine */
    bool (*group_positions)(struct log *log, struct log_group_position **ret, size_t *ret_count, struct err *err);

    bool (*producer_open)(struct log *log, const struct log_producer_options *options, struct log_producer **ret,
                          struct err *err);
    void (*producer_close)(struct log_producer *producer);
    bool (*append)(struct log_producer *producer, const struct log_record *record, log_delivery *delivery, void *user,
                   struct err *err);
    bool (*flush)(struct log_producer *producer, int64_t timeout_ms);

    /* `group` with ptr NULL opens a manual consumer, without topics and listener. */
    bool (*consumer_open)(struct log *log, struct str group, const struct str *topics, size_t topic_count,
                          const struct log_listener *listener, struct log_consumer **ret, struct err *err);
    void (*consumer_close)(struct log_consumer *consumer);
    bool (*consumer_seek)(struct log_consumer *consumer, struct str topic, int32_t partition, int64_t offset,
                          struct err *err);
    void (*consumer_pause)(struct log_consumer *consumer, struct str topic, int32_t partition);
    bool (*consumer_poll)(struct log_consumer *consumer, size_t max, int64_t timeout_ms, struct log_batch *ret,
                          struct err *err);
    void (*consumer_wake)(struct log_consumer *consumer);
    void (*consumer_notify)(struct log_consumer *consumer, void (*notify)(void *user), void *user);
    void (*consumer_commit)(struct log_consumer *consumer, const struct log_position *positions, size_t count);
};

/* What restore.h says, of an adapter. */
struct log_restore {
    const struct log_restore_ops *ops;
    struct log *log;
};

struct log_restore_ops {
    bool (*id)(struct log_restore *restore, struct str log_id, bool *ret_kept, struct err *err);
    bool (*topic_id)(struct log_restore *restore, struct str topic, struct str id, bool *ret_kept, struct err *err);
    bool (*add)(struct log_restore *restore, const struct log_record *record, struct err *err);
    bool (*settle)(struct log_restore *restore, struct err *err);
    bool (*finish)(struct log_restore *restore, struct err *err);
    void (*close)(struct log_restore *restore); /* with its log */
};

CHECK_RESULT bool log_sqlite_restore_open(const char *url, struct log_restore **ret, struct err *err);

CHECK_RESULT bool log_kafka_restore_check(const struct log_record *record, struct err *err);
/* `rest` is what follows the scheme in the URL. */
CHECK_RESULT bool log_kafka_restore_open(const char *rest, const struct str *topics, size_t count,
                                         struct log_restore **ret, struct err *err);

/* `rest` is what follows the scheme in the URL. */
CHECK_RESULT bool log_sqlite_open(const char *rest, const struct log_options *options, struct log **ret,
                                  struct err *err);

CHECK_RESULT bool log_kafka_open(const char *rest, const struct log_options *options, struct log **ret,
                                 struct err *err);

#endif
