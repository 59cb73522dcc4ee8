/* The configuration of every client of Kafka, from the settings ORDERLOG_KAFKA_*. */
#include "core/log/kafka_internal.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/logging.h"

static kafka_token_source *token_source;
static void *token_user;

void kafka_token_source_set(kafka_token_source *source, void *user) {
    token_source = source;
    token_user = user;
}

const char *kafka_library_version(void) {
    return rd_kafka_version_str();
}

/* ---- setting ---- */

/* librdkafka's own text repeats the value, which may be a secret: it is left out. */
bool kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err) {
    switch (rd_kafka_conf_set(conf, name, value, NULL, 0)) {
    case RD_KAFKA_CONF_OK:
        return true;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_set(err, ERR_CONFIG, "this librdkafka (%s) does not know %s", rd_kafka_version_str(), name);
    case RD_KAFKA_CONF_INVALID:
    default:
        return err_set(err, ERR_CONFIG, "the value of Kafka's %s is not valid", name);
    }
}

bool kafka_conf_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct err *err) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return kafka_conf_set(conf, name, text, err);
}

struct property {
    const char *name;
    const char *value;
};

static bool set_all(rd_kafka_conf_t *conf, const struct property *properties, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++)
        if (!kafka_conf_set(conf, properties[i].name, properties[i].value, err))
            return false;
    return true;
}
#define SET_ALL(conf, properties, err) set_all(conf, properties, sizeof(properties) / sizeof((properties)[0]), err)

/* A setting that is passed on as it is, if there is one. */
static bool set_from(rd_kafka_conf_t *conf, const char *name, const char *key, struct err *err) {
    const char *value = config_get(key, NULL);
    return !value || kafka_conf_set(conf, name, value, err) || err_wrap(err, "%s", key);
}

static bool set_number_from(rd_kafka_conf_t *conf, const char *name, const char *key, int64_t fallback, int64_t low,
                            int64_t high, struct err *err) {
    int64_t value;
    return config_int(key, fallback, low, high, &value, err) && kafka_conf_set_number(conf, name, value, err);
}

/* ---- what all have ---- */

/* Broker connections that hang are given up after ten seconds, and tried anew at most three seconds apart: a broker
 * that comes back is found soon. Only what is written here is ever created, so topics never come into being by a typo.
 */
static const struct property for_all[] = {
    {"socket.nagle.disable", "true"},      {"socket.keepalive.enable", "true"},  {"socket.timeout.ms", "10000"},
    {"reconnect.backoff.ms", "100"},       {"reconnect.backoff.max.ms", "3000"}, {"log.connection.close", "false"},
    {"allow.auto.create.topics", "false"},
};

/* ---- security ---- */

/* librdkafka asks for a token on a thread of its own (rd_kafka_sasl_background_callbacks_enable). */
static void on_token_wanted(rd_kafka_t *rk, const char *config, void *opaque) {
    (void)config, (void)opaque;
    struct kafka_token token = {0};
    struct err err = {0};
    char why[256] = "";
    bool ok = token_source(token_user, &token, &err);
    if (ok && rd_kafka_oauthbearer_set_token(rk, token.text.ptr, token.expires_at_us / 1000,
                                             token.principal.ptr ? token.principal.ptr : "", NULL, 0, why,
                                             sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR)
        ok = err_set(&err, ERR_CONFIG, "librdkafka does not take the token for Kafka: %s", why);
    if (!ok) {
        kafka_count_error(RD_KAFKA_RESP_ERR__AUTHENTICATION);
        kafka_keep_failure(err.detail);
        logging_err(&err, "kafka.no_token", " ");
        rd_kafka_oauthbearer_set_token_failure(rk, err.detail);
    }
    buf_free(&token.text);
    buf_free(&token.principal);
}

static bool set_mechanism(rd_kafka_conf_t *conf, const char *mechanism, struct err *err) {
    if (strncmp(mechanism, "SCRAM-", 6) == 0 && rd_kafka_version() < 0x020601ff)
        return err_set(err, ERR_CONFIG,
                       "SASL/%s does not work with librdkafka %s, whose nonce brokers since 3.8.1 refuse: it needs "
                       "2.6.1 or newer",
                       mechanism, rd_kafka_version_str());
    if (strcmp(mechanism, "OAUTHBEARER") == 0) {
        if (!token_source)
            return err_set(err, ERR_CONFIG, "SASL/OAUTHBEARER needs a source of tokens, and this command has none");
        rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, on_token_wanted);
        rd_kafka_conf_enable_sasl_queue(conf, 1);
    }
    return kafka_conf_set(conf, "sasl.mechanism", mechanism, err);
}

static bool set_security(rd_kafka_conf_t *conf, struct err *err) {
    static const struct property settings[] = {
        {"security.protocol", "ORDERLOG_KAFKA_SECURITY_PROTOCOL"},
        {"ssl.ca.location", "ORDERLOG_KAFKA_SSL_CA_LOCATION"},
        {"ssl.certificate.location", "ORDERLOG_KAFKA_SSL_CERTIFICATE_LOCATION"},
        {"ssl.key.location", "ORDERLOG_KAFKA_SSL_KEY_LOCATION"},
        {"ssl.key.password", "ORDERLOG_KAFKA_SSL_KEY_PASSWORD"},
        {"sasl.username", "ORDERLOG_KAFKA_SASL_USERNAME"},
        {"sasl.password", "ORDERLOG_KAFKA_SASL_PASSWORD"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (!set_from(conf, settings[i].name, settings[i].value, err))
            return false;
    const char *mechanism = config_get("ORDERLOG_KAFKA_SASL_MECHANISM", NULL);
    return !mechanism || set_mechanism(conf, mechanism, err);
}

/* ---- what each kind of client has ---- */

/* One request in flight: a broker without state for a fresh producer id takes any first number, so that a retried first
 * batch that was overtaken would be acknowledged implicitly, and lost (KAFKA-14312). */
static bool set_producer(rd_kafka_conf_t *conf, struct err *err) {
    static const struct property properties[] = {
        {"acks", "all"},
        {"enable.idempotence", "true"},
        {"max.in.flight.requests.per.connection", "1"},
        {"queue.buffering.max.messages", "10000000"}, /* bytes are what is bounded, by kafka_producer.c */
        {"queue.buffering.max.kbytes", "2097151"},
        {"retry.backoff.ms", "20"},
        {"batch.num.messages", "1000"}, /* a reader gets a batch as a whole, and other partitions behind it */
    };
    return SET_ALL(conf, properties, err) && kafka_conf_set_number(conf, "message.max.bytes", KAFKA_MESSAGE_MAX, err) &&
           set_number_from(conf, "linger.ms", "ORDERLOG_KAFKA_LINGER_MS", 1, 0, 1000, err) &&
           set_from(conf, "compression.type", "ORDERLOG_KAFKA_COMPRESSION", err);
}

/* Of those without a group: never joined, nothing is committed. */
#define GROUP_OF_READERS "orderlog-readers"

/* Who asks for groups' positions must be a consumer with a group of its own: when the coordinator moves, librdkafka's
 * handler of the answer asks for the group's anew, and in a client without one (2.0.2: rd_kafka_handle_OffsetFetch)
 * ends in a segmentation fault. */
static bool set_admin(rd_kafka_conf_t *conf, struct err *err) {
    return kafka_conf_set(conf, "group.id", GROUP_OF_READERS, err) &&
           kafka_conf_set(conf, "enable.auto.commit", "false", err);
}

bool kafka_looks_for_room(void) {
    return rd_kafka_version() >= 0x020200ff;
}

/* Nobody writes transactions here. read_uncommitted, so that somebody else's open one never holds up our topics, and so
 * that the end of a partition is its high watermark, which is what acks=all acknowledges.
 *
 * The queues are small: they are of each consumer, and a program has a dozen; and what one partition has in them is
 * before the others' records. */
static bool set_consumer(rd_kafka_conf_t *conf, struct err *err) {
    static const struct property properties[] = {
        {"group.id", GROUP_OF_READERS},
        {"partition.assignment.strategy", "range"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"check.crcs", "true"},
        {"isolation.level", "read_uncommitted"},
        {"enable.partition.eof", "false"},
        {"heartbeat.interval.ms", "1000"},
        {"fetch.wait.max.ms", "500"},
        {"fetch.min.bytes", "1"},
        {"fetch.message.max.bytes", "65536"}, /* of a partition: others come between the pieces of a full one */
        {"fetch.max.bytes", "1048576"},
        {"message.max.bytes", "1048576"}, /* no more than fetch.max.bytes; a larger batch comes all the same */
        {"fetch.error.backoff.ms", "100"},
    };
    return SET_ALL(conf, properties, err) &&
           (!kafka_looks_for_room() || kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", err)) &&
           kafka_conf_set_number(conf, "queued.min.messages", KAFKA_QUEUED_RECORDS, err) &&
           kafka_conf_set_number(conf, "queued.max.messages.kbytes", KAFKA_QUEUED_KBYTES, err) &&
           set_number_from(conf, "session.timeout.ms", "ORDERLOG_KAFKA_SESSION_TIMEOUT_MS", 6000, 1000, 300000, err) &&
           set_number_from(conf, "max.poll.interval.ms", "ORDERLOG_KAFKA_MAX_POLL_INTERVAL_MS", 60000, 1000, 3600000,
                           err);
}

static bool set_role(rd_kafka_conf_t *conf, enum kafka_role role, struct err *err) {
    return role == KAFKA_PRODUCER   ? set_producer(conf, err)
           : role == KAFKA_CONSUMER ? set_consumer(conf, err)
                                    : set_admin(conf, err);
}

bool kafka_conf_new(const struct kafka_log *log, enum kafka_role role, rd_kafka_conf_t **ret, struct err *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, kafka_on_log);
    if (!SET_ALL(conf, for_all, err) || !kafka_conf_set(conf, "bootstrap.servers", log->brokers, err) ||
        !kafka_conf_set(conf, "client.id", config_get("ORDERLOG_KAFKA_CLIENT_ID", "orderlog"), err) ||
        !set_security(conf, err) || !set_role(conf, role, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    *ret = conf;
    return true;
}

bool kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret, struct err *err) {
    char why[256] = "";
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return err_set(err, ERR_CONFIG, "a client of Kafka cannot be made: %s", why);
    }
    const char *mechanism = config_get("ORDERLOG_KAFKA_SASL_MECHANISM", "");
    rd_kafka_error_t *error =
        strcmp(mechanism, "OAUTHBEARER") == 0 ? rd_kafka_sasl_background_callbacks_enable(rk) : NULL;
    if (error) {
        rd_kafka_destroy(rk);
        return kafka_error_take(err, error, "tokens for Kafka");
    }
    *ret = rk;
    return true;
}
