/* Shared by core/log/kafka_*.c: the log port on Apache Kafka, by librdkafka.
 *
 *   kafka_config.c     settings -> librdkafka's configuration, one place for every client
 *   kafka_open.c       opening and closing; the table of operations
 *   kafka_events.c     librdkafka's log lines and errors -> ours, counted; error kinds
 *   kafka_topics.c     which topics there are
 *   kafka_admin.c      making them
 *   kafka_configs.c    how they are set; comparing and mending that
 *   kafka_query.c      ends, times, positions of groups
 *   kafka_producer.c   appending
 *   kafka_consumer.c   reading
 *   kafka_group.c      membership: rebalances
 *   kafka_restore.c    filling empty topics with another log's records
 */
#ifndef ORDERLOG_LOG_KAFKA_INTERNAL_H
#define ORDERLOG_LOG_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/base/arena.h"
#include "core/base/map.h"
#include "core/log/adapter.h"
#include "core/log/kafka.h"

enum {
    KAFKA_CALL_TIMEOUT_MS = 8000,                     /* of a question to the brokers */
    KAFKA_USABLE_TIMEOUT_MS = 60000,                  /* until all brokers know of topics that were just made */
    KAFKA_TOPIC_MESSAGE_MAX = 2 << 20,                /* max.message.bytes of our topics */
    KAFKA_QUEUED_RECORDS = 2000,                      /* held by a consumer's librdkafka: it fetches no more */
    KAFKA_QUEUED_KBYTES = 1024,                       /* likewise */
    KAFKA_MESSAGE_MAX = LOG_RECORD_MAX + (256 << 10), /* a record with its headers' framing */
};

struct kafka_topic {
    struct log_topic info; /* its texts are the topic's own */
    char *name;            /* zero-terminated */
    char *id;
};

struct kafka_log {
    struct log base;
    rd_kafka_t *admin; /* asks and makes; appends and reads nothing */
    pthread_mutex_t groups_lock;
    rd_kafka_t *groups; /* asks for groups' positions once `admin` could not; NULL: not yet */
    char *brokers;
    char *cluster_id;
    bool read_only;
    bool filling; /* records bring their own times, and topics are made for that (kafka_restore.c) */
    pthread_mutex_t topics_lock;
    struct map topics; /* name -> struct kafka_topic; nothing is ever taken out */
};

static inline struct kafka_log *kafka_of(struct log *log) {
    return (struct kafka_log *)log;
}

/* ---- kafka_open.c ---- */

/* A log that is being restored is opened by who fills it only. */
CHECK_RESULT bool kafka_open(const char *rest, const struct log_options *options, bool filling, struct kafka_log **ret,
                             struct err *err);

/* ---- kafka_restore.c ---- */

/* A topic that is there while a log is being restored. Its name is such that whoever may see the shop's topics sees it.
 */
#define KAFKA_RESTORING "shop.restoring.events.v1"

/* Whether it is there. */
CHECK_RESULT bool kafka_restoring(struct kafka_log *log, bool *ret, struct err *err);

/* ---- kafka_config.c ---- */

enum kafka_role { KAFKA_ADMIN, KAFKA_PRODUCER, KAFKA_CONSUMER };

/* The configuration of a client, without its callbacks. The caller's until rd_kafka_new took it. */
CHECK_RESULT bool kafka_conf_new(const struct kafka_log *log, enum kafka_role role, rd_kafka_conf_t **ret,
                                 struct err *err);
CHECK_RESULT bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err);
CHECK_RESULT bool kafka_conf_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct err *err);
/* Whether this librdkafka can be told how soon it looks for room in a consumer's queue that was full. */
bool kafka_looks_for_room(void);
/* Takes `conf`, also when it fails. */
CHECK_RESULT bool kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct err *err);

/* ---- kafka_events.c ---- */

void kafka_events_init(void);
void kafka_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);
void kafka_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque);
void kafka_count_error(rd_kafka_resp_err_t code);
void kafka_count_rebalance(void);
enum err_kind kafka_err_kind(rd_kafka_resp_err_t code);
/* "what: librdkafka's text", with the kind that the code means. */
bool kafka_err_set(struct err *err, rd_kafka_resp_err_t code, const char *what);
/* ERR_LOG_UNAVAILABLE, with why a connection or a token last failed. */
void kafka_keep_failure(const char *text);
bool kafka_err_no_broker(struct err *err, const char *brokers);
/* Takes `error`. */
bool kafka_error_take(struct err *err, rd_kafka_error_t *error, const char *what);

/* ---- kafka_topics.c ---- */

/* The topic as it is known, asking the brokers only for one that is not. ERR_NOT_FOUND. */
CHECK_RESULT bool kafka_topic_get(struct kafka_log *log, struct str name, const struct kafka_topic **ret,
                                  struct err *err);
/* And that it has this partition. */
CHECK_RESULT bool kafka_partition_check(struct kafka_log *log, struct str name, int32_t partition,
                                        const struct kafka_topic **ret, struct err *err);
CHECK_RESULT bool kafka_topic_find(struct log *base, struct str name, struct log_topic *ret, struct err *err);
CHECK_RESULT bool kafka_topics_list(struct log *base, struct log_topic **ret, size_t *ret_count, struct err *err);
void kafka_topics_free(struct kafka_log *log);

/* ---- kafka_admin.c ---- */

CHECK_RESULT bool kafka_topics_create(struct log *base, const struct log_topic_spec *specs, size_t count,
                                      struct err *err);

/* ---- kafka_configs.c ---- */

struct kafka_replication {
    int64_t factor;
    int64_t min_insync;
};

/* As the settings say; without them as so many brokers can. */
CHECK_RESULT bool kafka_replication(int brokers, struct kafka_replication *ret, struct err *err);

struct kafka_setting {
    const char *name;
    char value[24];
};

enum { KAFKA_TOPIC_SETTINGS = 6 };
/* Of a topic that has so many replicas. */
void kafka_topic_settings(const struct kafka_log *log, const struct log_topic_spec *spec,
                          const struct kafka_replication *replication, int64_t replicas, struct kafka_setting *ret);
CHECK_RESULT bool kafka_topics_compare(struct log *base, const struct log_topic_spec *specs, size_t count,
                                       log_drift *each, void *user, struct err *err);
CHECK_RESULT bool kafka_topics_mend(struct log *base, const struct log_topic_spec *specs, size_t count,
                                    struct err *err);

/* ---- kafka_query.c ---- */

CHECK_RESULT bool kafka_ends(struct log *base, struct log_position *positions, size_t count, bool low, struct err *err);
CHECK_RESULT bool kafka_watermarks(struct log *base, struct str topic, int32_t partition, int64_t *ret_low,
                                   int64_t *ret_high, struct err *err);
CHECK_RESULT bool kafka_offset_at_time(struct log *base, struct str topic, int32_t partition, int64_t time_us,
                                       int64_t *ret, struct err *err);
CHECK_RESULT bool kafka_group_positions(struct log *base, struct log_group_position **ret, size_t *ret_count,
                                        struct err *err);
/* Waits for the answer to an admin request on `queue`; the event is the caller's. NULL: err was set. */
rd_kafka_event_t *kafka_admin_wait(rd_kafka_queue_t *queue, const char *what, struct err *err);

/* ---- kafka_producer.c ---- */

CHECK_RESULT bool kafka_producer_open(struct log *base, const struct log_producer_options *options,
                                      struct log_producer **ret, struct err *err);
void kafka_producer_close(struct log_producer *base);
CHECK_RESULT bool kafka_append(struct log_producer *base, const struct log_record *record, log_delivery *delivery,
                               void *user, struct err *err);
bool kafka_flush(struct log_producer *base, int64_t timeout_ms);

/* ---- kafka_consumer.c, kafka_group.c ---- */

/* A partition that this consumer has: assigned by the group, or named by a seek. */
struct kafka_read {
    const struct kafka_topic *topic;
    int32_t partition;
    int64_t offset;     /* the next to be given to the caller */
    bool active;        /* has a position, and is not paused */
    struct err *failed; /* why it cannot be read on; told by each poll until the next seek */
};

struct kafka_consumer {
    struct log_consumer base;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    bool grouped;
    struct log_listener listener;
    struct kafka_read *reads;
    size_t read_count;
    size_t read_cap;
    bool changed;            /* what librdkafka shall read is not what it was told */
    size_t unwanted;         /* records thrown away since then, of partitions that were paused */
    int64_t ask_again_at_us; /* librdkafka is told anew what to read; 0: it need not */
    size_t run_records;      /* taken since librdkafka's queue was last found empty */
    size_t run_bytes;        /* likewise, of values */
    bool rebalanced;         /* in this poll */
    bool told_failure;       /* by the last poll */
    bool closing;
    /* the batch */
    rd_kafka_message_t **messages;
    struct log_record *records;
    size_t message_count;
    size_t cap;
    struct arena arena;
    rd_kafka_topic_partition_list_t *committed; /* to be told to the group */
    int64_t commit_at_us;                       /* not before */
    /* waking: written from any thread */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake_cond;
    bool ready;
    bool woken;
    void (*notify)(void *user);
    void *notify_user;
};

CHECK_RESULT bool kafka_consumer_open(struct log *base, struct str group, const struct str *topics, size_t topic_count,
                                      const struct log_listener *listener, struct log_consumer **ret, struct err *err);
void kafka_consumer_close(struct log_consumer *base);
CHECK_RESULT bool kafka_consumer_seek(struct log_consumer *base, struct str topic, int32_t partition, int64_t offset,
                                      struct err *err);
void kafka_consumer_pause(struct log_consumer *base, struct str topic, int32_t partition);
CHECK_RESULT bool kafka_consumer_poll(struct log_consumer *base, size_t max, int64_t timeout_ms, struct log_batch *ret,
                                      struct err *err);
void kafka_consumer_wake(struct log_consumer *base);
void kafka_consumer_notify(struct log_consumer *base, void (*notify)(void *user), void *user);
void kafka_consumer_commit(struct log_consumer *base, const struct log_position *positions, size_t count);

struct kafka_read *kafka_read_add(struct kafka_consumer *consumer, const struct kafka_topic *topic, int32_t partition);
void kafka_reads_clear(struct kafka_consumer *consumer);
/* rd_kafka_assign, and until librdkafka has stopped what it read before. */
rd_kafka_resp_err_t kafka_assign(const struct kafka_consumer *consumer, const rd_kafka_topic_partition_list_t *list);
/* Tells librdkafka to read the partitions that have a position, from there on, and nothing else. */
CHECK_RESULT bool kafka_reads_apply(struct kafka_consumer *consumer, struct err *err);
void kafka_batch_release(struct kafka_consumer *consumer);
void kafka_on_event(rd_kafka_t *rk, void *opaque);
void kafka_commit_now(struct kafka_consumer *consumer);
void kafka_commit_if_due(struct kafka_consumer *consumer);
void kafka_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list, void *opaque);

#endif
