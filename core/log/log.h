/* The log port: topics of partitions of records, by the semantics of Apache Kafka, blind to which log it is.
 *
 *   sqlite:///path/log.db   embedded: one machine, one writing process, others may read (core/log/sqlite_*.c)
 *   kafka://host:9092,...   Apache Kafka, by librdkafka (core/log/kafka_*.c)
 *
 * This header is the reading half; core/log/append.h is the writing half. Strings in are borrowed for the call;
 * records out are borrowed until the next poll of the same consumer. A `struct log` may be used by any thread, a
 * consumer by one thread at a time (but for log_consumer_wake). */
#ifndef ORDERLOG_LOG_LOG_H
#define ORDERLOG_LOG_LOG_H

#include "core/base/err.h"

struct log;
struct log_consumer;

struct log_header {
    struct str name;
    struct str value; /* ptr NULL: a header without a value */
};

struct log_record {
    struct str topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_us; /* the time of the append; never decreases within a partition */
    struct str key;       /* ptr NULL: none */
    struct str value;     /* ptr NULL: a tombstone */
    const struct log_header *headers;
    size_t header_count;
};

struct log_partition {
    struct str topic;
    int32_t partition;
};

struct log_position {
    struct str topic;
    int32_t partition;
    int64_t offset; /* the next to be read */
};

struct log_options {
    bool read_only; /* no lock taken, no append; for tools in other processes */
};

/* Blocks on I/O. ERR_LOG_UNAVAILABLE when another process writes (not read_only), ERR_CONFIG for an unknown URL. */
CHECK_RESULT bool log_open(const char *url, const struct log_options *options, struct log **ret, struct err *err);
/* All consumers and producers must be closed before. NULL is fine. */
void log_close(struct log *log);
/* The cluster's id: made when the log was made, never changes. Lives as long as `log`. */
struct str log_id(const struct log *log);

struct log_topic_spec {
    const char *name;
    int32_t partitions;
    int64_t retention_ms; /* -1: for ever. The embedded log keeps everything. */
    bool compacted;
};

/* Begins a topic's id that is made of names, because the log cannot tell a topic from another of that name (Kafka by
 * librdkafka before 2.3). */
#define LOG_TOPIC_ID_BY_NAME "by-name:"
/* Whether a stored id may be that of the topic that has `id` now. One that is made of names fits whatever has that
 * name, so that positions outlive a change of library. */
bool log_topic_id_fits(struct str id, struct str stored);

struct log_topic {
    struct str name; /* lives as long as the log */
    struct str id;   /* unique to this topic's creation; lives as long as the log */
    int32_t partitions;
};

/* Makes the topics that are missing. Refuses (ERR_CONFIG) one that stands with another number of partitions: the
 * partition of a key may never change. */
CHECK_RESULT bool log_topics_create(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err);
/* What differs from a spec: one call for each thing ("topic", found "": it is missing; "partitions"; a setting by the
 * log's own name for it). `mendable`: log_topics_apply can. */
typedef void log_drift(void *user, const char *topic, const char *what, const char *wanted, const char *found,
                       bool mendable);
CHECK_RESULT bool log_topics_diff(struct log *log, const struct log_topic_spec *specs, size_t count, log_drift *each,
                                  void *user, struct err *err);
/* As log_topics_create, and sets those that stand as their specs say. */
CHECK_RESULT bool log_topics_apply(struct log *log, const struct log_topic_spec *specs, size_t count, struct err *err);
CHECK_RESULT bool log_topic_find(struct log *log, struct str name, struct log_topic *ret, struct err *err);
/* All topics by name; the array is the caller's to free(). */
CHECK_RESULT bool log_topics_list(struct log *log, struct log_topic **ret, size_t *ret_count, struct err *err);

/* low: the first offset kept; high: the offset that the next append will get. */
CHECK_RESULT bool log_watermarks(struct log *log, struct str topic, int32_t partition, int64_t *ret_low,
                                 int64_t *ret_high, struct err *err);
/* The same of many, each named once, as cheaply as they can be asked: their high watermarks, or with `low` the low
 * ones.
 */
CHECK_RESULT bool log_ends(struct log *log, struct log_position *positions, size_t count, bool low, struct err *err);
/* The first offset whose timestamp is at or after time_us; the high watermark when there is none. */
CHECK_RESULT bool log_offset_at_time(struct log *log, struct str topic, int32_t partition, int64_t time_us,
                                     int64_t *ret, struct err *err);

/* The room that the log takes on this machine, and how much is left on that disk. */
struct log_usage {
    int64_t used_bytes;
    int64_t free_bytes; /* for us: what is kept back for root is not counted */
    int64_t disk_bytes;
};
/* Does not block on the log itself. False without an error for a log that is elsewhere (err->kind is ERR_NONE). */
CHECK_RESULT bool log_usage_read(struct log *log, struct log_usage *ret, struct err *err);

/* What each group has committed (see log_consumer_commit), for tools. */
struct log_group_position {
    struct str group; /* these strings belong to the array */
    struct log_position position;
    int64_t committed_at_us; /* 0: not known (Kafka does not tell) */
};
/* One allocation, the caller's to free(). */
CHECK_RESULT bool log_group_positions(struct log *log, struct log_group_position **ret, size_t *ret_count,
                                      struct err *err);

/* The partition of a key: murmur2 as in Kafka's Java client (DefaultPartitioner): toPositive(murmur2(key)) % n. No key
 * counts as an empty one. */
int32_t log_partition_of(struct str key, int32_t partitions);

/* ---- consumers ---- */

/* Called on the consumer's thread from inside log_consumer_poll and log_consumer_close, never at another time.
 * With several topics the range assignor gives partition i of each to the same member. */
struct log_listener {
    void *user;
    /* These partitions are this member's now. Nothing is read from one until log_consumer_seek gave it a position
     * (allowed in here). count 0: there are more members than partitions, and this one has none for now. */
    void (*assigned)(void *user, const struct log_partition *partitions, size_t count);
    /* They are not this member's any more once this returns; the next owner gets them only after that.
     * lost: they were taken already (the member was thought dead); do not act for them. */
    void (*revoked)(void *user, const struct log_partition *partitions, size_t count, bool lost);
    /* How long a few records may wait at the log for more to come, for who would not poll sooner: larger, fewer
     * fetches. 0: each comes at once. */
    int64_t linger_ms;
};

/* Joins a group on these topics (all must exist). Group membership is within this process for the embedded log. */
CHECK_RESULT bool log_consumer_open(struct log *log, struct str group, const struct str *topics, size_t topic_count,
                                    const struct log_listener *listener, struct log_consumer **ret, struct err *err);
/* Without a group: reads the partitions that log_consumer_seek names, each from there on. */
CHECK_RESULT bool log_consumer_open_manual(struct log *log, struct log_consumer **ret, struct err *err);
/* Leaves the group (calling `revoked`). NULL is fine. */
void log_consumer_close(struct log_consumer *consumer);

/* Reads on from `offset`, also backwards. An offset outside of what is kept is not corrected: the next poll fails
 * with ERR_LOST_RECORDS and names it (no silent reset). offset == high watermark is fine. */
CHECK_RESULT bool log_consumer_seek(struct log_consumer *consumer, struct str topic, int32_t partition, int64_t offset,
                                    struct err *err);
/* Stops reading a partition until the next seek. */
void log_consumer_pause(struct log_consumer *consumer, struct str topic, int32_t partition);

struct log_batch {
    const struct log_record *records; /* per partition in offset order, partitions in any order */
    size_t count;
};

/* Waits up to timeout_ms for the first record, takes what is there up to `max` records, and returns; an empty batch
 * on time-out, a wake or after a rebalance. Records stay valid until the next poll, seek does not matter. A large
 * partition cannot starve others. ERR_CORRUPT names topic, partition and offset. */
CHECK_RESULT bool log_consumer_poll(struct log_consumer *consumer, size_t max, int64_t timeout_ms,
                                    struct log_batch *ret, struct err *err);
/* Makes a poll that waits, or the next one, return at once. From any thread. */
void log_consumer_wake(struct log_consumer *consumer);
/* For one thread that serves several consumers: `notify` is called when a poll may have something new (records, a
 * rebalance, a wake) since the last one. From any thread, with locks of the log's held: be short, call nothing of the
 * log's. To be set before the first poll. */
void log_consumer_notify(struct log_consumer *consumer, void (*notify)(void *user), void *user);
/* Tells the group's position for other people's tools. Asynchronous, best effort: the position that counts lives in
 * the store that holds the state. */
void log_consumer_commit(struct log_consumer *consumer, const struct log_position *positions, size_t count);

#endif
