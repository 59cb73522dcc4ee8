/* What librdkafka has to say: its log lines in our log, without repeating themselves, and its errors counted. */
#include "core/log/kafka_internal.h"

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"

/* ---- counting ---- */

enum error_class { CLASS_TRANSPORT, CLASS_TIMEOUT, CLASS_AUTHENTICATION, CLASS_FATAL, CLASS_OTHER, CLASS_COUNT };

static const char *const class_labels[] = {
    [CLASS_TRANSPORT] = "kind=\"transport\"",
    [CLASS_TIMEOUT] = "kind=\"timeout\"",
    [CLASS_AUTHENTICATION] = "kind=\"authentication\"",
    [CLASS_FATAL] = "kind=\"fatal\"",
    [CLASS_OTHER] = "kind=\"other\"",
};

static struct metric *errors[CLASS_COUNT];
static struct metric *rebalances;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void register_metrics(void) {
    for (int i = 0; i < CLASS_COUNT; i++)
        errors[i] =
            metrics_counter("orderlog_kafka_errors_total",
                            "Errors that Kafka's client has met, most of which it mends by itself.", class_labels[i]);
    rebalances = metrics_counter("orderlog_kafka_rebalances_total",
                                 "Times that partitions were given to, or taken from, a member in this process.", "");
}

void kafka_events_init(void) {
    pthread_once(&once, register_metrics);
}

static enum error_class class_of(rd_kafka_resp_err_t code) {
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return CLASS_TRANSPORT;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return CLASS_TIMEOUT;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return CLASS_AUTHENTICATION;
    case RD_KAFKA_RESP_ERR__FATAL:
        return CLASS_FATAL;
    default:
        return CLASS_OTHER;
    }
}

void kafka_count_error(rd_kafka_resp_err_t code) {
    metrics_add(errors[class_of(code)], 1);
}

void kafka_count_rebalance(void) {
    metrics_add(rebalances, 1);
}

/* What it says about it is in its log lines, too: those are what is logged. */
void kafka_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    (void)rk, (void)opaque;
    kafka_count_error((rd_kafka_resp_err_t)code);
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        logging_write(LOG_ERROR, "kafka.fatal", "message=\"%s\"", reason);
}

/* ---- log lines ---- */

enum { FACILITIES = 16, QUIET_S = 10 };

/* A broker that is away gives the same line again and again: each facility is heard once in ten seconds. */
static struct {
    pthread_mutex_t lock;
    struct {
        char name[16];
        int64_t quiet_until_us;
        int64_t suppressed;
    } seen[FACILITIES];
} quiet = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* How many of its kind were left unsaid; -1: this one, too. */
static int64_t may_be_said(const char *facility) {
    int64_t now_us = clock_monotonic_us(), unsaid = 0;
    pthread_mutex_lock(&quiet.lock);
    int slot = 0;
    while (slot < FACILITIES - 1 && quiet.seen[slot].name[0] &&
           strncmp(quiet.seen[slot].name, facility, sizeof quiet.seen[slot].name - 1) != 0)
        slot++;
    if (!quiet.seen[slot].name[0])
        snprintf(quiet.seen[slot].name, sizeof quiet.seen[slot].name, "%s", facility);
    if (now_us < quiet.seen[slot].quiet_until_us) {
        quiet.seen[slot].suppressed++;
        unsaid = -1;
    } else {
        unsaid = quiet.seen[slot].suppressed;
        quiet.seen[slot].suppressed = 0;
        quiet.seen[slot].quiet_until_us = now_us + QUIET_S * INT64_C(1000000);
    }
    pthread_mutex_unlock(&quiet.lock);
    return unsaid;
}

/* ---- why nothing comes ---- */

static struct {
    pthread_mutex_t lock;
    char text[400];
} failure = {.lock = PTHREAD_MUTEX_INITIALIZER};

void kafka_keep_failure(const char *text) {
    pthread_mutex_lock(&failure.lock);
    snprintf(failure.text, sizeof failure.text, "%s", text);
    pthread_mutex_unlock(&failure.lock);
}

bool kafka_err_no_broker(struct err *err, const char *brokers) {
    pthread_mutex_lock(&failure.lock);
    err_set(err, ERR_LOG_UNAVAILABLE, "no broker of %s answers%s%s", brokers, *failure.text ? ": " : "", failure.text);
    pthread_mutex_unlock(&failure.lock);
    return false;
}

/* A broker that cannot be reached is an error to librdkafka, but it goes on by itself. */
void kafka_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    if (strcmp(facility, "CONFWARN") == 0)
        return; /* that a setting is experimental: chosen knowingly, said by each client anew */
    enum log_level ours = level <= 2 ? LOG_ERROR : level <= 4 ? LOG_WARN : level <= 6 ? LOG_INFO : LOG_DEBUG;
    int64_t unsaid = may_be_said(facility);
    if (strcmp(facility, "FAIL") == 0)
        kafka_keep_failure(text);
    if (unsaid < 0)
        return;
    logging_write(ours, "kafka.client", "client=%s facility=%s message=\"%s\" unsaid=%lld", rk ? rd_kafka_name(rk) : "",
                  facility, text, (long long)unsaid);
}

/* ---- errors ---- */

enum err_kind kafka_err_kind(rd_kafka_resp_err_t code) {
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case 100: /* UNKNOWN_TOPIC_ID, which older headers do not name */
        return ERR_NOT_FOUND;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return ERR_OVERLOADED;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return ERR_TOO_LARGE;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
#if RD_KAFKA_VERSION >= 0x020100ff
    case RD_KAFKA_RESP_ERR__LOG_TRUNCATION:
#endif
        return ERR_LOST_RECORDS;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
        return ERR_CORRUPT;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return ERR_CONFIG;
    default:
        return ERR_LOG_UNAVAILABLE;
    }
}

bool kafka_err_set(struct err *err, rd_kafka_resp_err_t code, const char *what) {
    return err_set(err, kafka_err_kind(code), "%s: %s", what, rd_kafka_err2str(code));
}

bool kafka_error_take(struct err *err, rd_kafka_error_t *error, const char *what) {
    err_set(err, kafka_err_kind(rd_kafka_error_code(error)), "%s: %s", what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return false;
}
