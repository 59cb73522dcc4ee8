/* Opening and closing. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/logging.h"

static void close_log(struct log *base) {
    struct kafka_log *log = kafka_of(base);
    if (log->groups)
        rd_kafka_destroy(log->groups);
    if (log->admin)
        rd_kafka_destroy(log->admin);
    kafka_topics_free(log);
    pthread_mutex_destroy(&log->topics_lock);
    pthread_mutex_destroy(&log->groups_lock);
    free(log->cluster_id);
    free(log->brokers);
    free(log);
}

static struct str id_of(const struct log *base) {
    return str_from(((const struct kafka_log *)base)->cluster_id);
}

static const struct log_ops ops = {
    .close = close_log,
    .id = id_of,
    .topics_create = kafka_topics_create,
    .topics_compare = kafka_topics_compare,
    .topics_mend = kafka_topics_mend,
    .topic_find = kafka_topic_find,
    .topics_list = kafka_topics_list,
    .watermarks = kafka_watermarks,
    .ends = kafka_ends,
    .offset_at_time = kafka_offset_at_time,
    .group_positions = kafka_group_positions,
    .producer_open = kafka_producer_open,
    .producer_close = kafka_producer_close,
    .append = kafka_append,
    .flush = kafka_flush,
    .consumer_open = kafka_consumer_open,
    .consumer_close = kafka_consumer_close,
    .consumer_seek = kafka_consumer_seek,
    .consumer_pause = kafka_consumer_pause,
    .consumer_poll = kafka_consumer_poll,
    .consumer_wake = kafka_consumer_wake,
    .consumer_notify = kafka_consumer_notify,
    .consumer_commit = kafka_consumer_commit,
};

static void warn_of_version(void) {
    static atomic_bool said;
    if (rd_kafka_version() < 0x020300ff && !atomic_exchange(&said, true))
        logging_write(
            LOG_WARN, "kafka.old_library",
            "version=%s message=\"older than 2.3: topics are known by their names only, and SASL/SCRAM does not "
            "work\"",
            rd_kafka_version_str());
}

/* host:port[,host:port...] and nothing else: what secures the connection are settings. */
static bool brokers_check(struct str brokers, struct err *err) {
    struct str rest = brokers;
    while (rest.ptr) {
        struct str one = str_cut(rest, ',', &rest), port, host = str_cut(one, ':', &port);
        int64_t number;
        if (one.len && one.ptr[0] == '[') /* an IPv6 address */
            continue;
        if (!host.len || memchr(one.ptr, '/', one.len) || memchr(one.ptr, '@', one.len) ||
            (port.ptr && (!str_to_i64(port, &number) || number < 1 || number > 65535)))
            return err_set(err, ERR_CONFIG, "the log's URL is not of the form kafka://host:9092[,host:9092...]");
    }
    return true;
}

static bool connect_to(struct kafka_log *log, struct err *err) {
    rd_kafka_conf_t *conf;
    if (!kafka_conf_new(log, KAFKA_ADMIN, &conf, err) || !kafka_client_new(RD_KAFKA_CONSUMER, conf, &log->admin, err))
        return false;
    char *id = rd_kafka_clusterid(log->admin, KAFKA_CALL_TIMEOUT_MS);
    if (!id)
        return kafka_err_no_broker(err, log->brokers);
    log->cluster_id = mem_strdup(str_from(id));
    rd_kafka_mem_free(log->admin, id);
    return true;
}

static bool may_open(struct kafka_log *log, struct err *err) {
    bool restoring;
    if (log->filling)
        return true;
    if (!kafka_restoring(log, &restoring, err))
        return false;
    return !restoring || err_set(err, ERR_CONFIG,
                                 "the log at %s is being restored, or that was broken off: 'orderlog restore' goes on "
                                 "with it (topic " KAFKA_RESTORING " says so)",
                                 log->brokers);
}

bool kafka_open(const char *rest, const struct log_options *options, bool filling, struct kafka_log **ret,
                struct err *err) {
    struct str brokers = str_from(rest);
    if (str_ends_with(brokers, STR("/")))
        brokers.len--;
    if (!brokers_check(brokers, err))
        return false;
    struct kafka_log *log = mem_zalloc(sizeof *log);
    log->base.ops = &ops;
    log->brokers = mem_strdup(brokers);
    log->read_only = options->read_only;
    log->filling = filling;
    pthread_mutex_init(&log->topics_lock, NULL);
    pthread_mutex_init(&log->groups_lock, NULL);
    kafka_events_init();
    warn_of_version();
    if (!connect_to(log, err) || !may_open(log, err)) {
        close_log(&log->base);
        return false;
    }
    *ret = log;
    return true;
}

bool log_kafka_open(const char *rest, const struct log_options *options, struct log **ret, struct err *err) {
    struct kafka_log *log;
    if (!kafka_open(rest, options, false, &log, err))
        return false;
    *ret = &log->base;
    return true;
}
