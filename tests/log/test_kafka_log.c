/* What is Kafka's own about the log: clients that die, brokers that hang or die, records that are gone. */
#include "tests/log/log_test.h"

#include <signal.h>
#include <unistd.h>

#include "core/log/kafka.h"
#include "tests/log/kafka_broker.h"

static char url[256];

static const char *fresh(void) {
    kafka_broker_empty();
    snprintf(url, sizeof url, "kafka://%s", kafka_broker_address());
    return url;
}

static void discard(void) {
}

static int setup(void **state) {
    static const struct contract adapter = {fresh, discard};
    return contract_setup(state, &adapter);
}

static struct log_producer *open_with(struct log *log, int64_t delivery_timeout_ms, size_t max_queued_bytes) {
    struct log_producer *producer = NULL;
    struct log_producer_options options = {.delivery_timeout_ms = delivery_timeout_ms,
                                           .max_queued_bytes = max_queued_bytes};
    MUST(log_producer_open(log, &options, &producer, err));
    return producer;
}

static void append_many(struct log_producer *producer, const char *prefix, int count, struct tally *tally) {
    for (int i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s%d", prefix, i);
        struct log_record record = simple_record("t", 0, text, text);
        MUST(log_append(producer, &record, tally_delivery, tally, err));
    }
}

/* ---- clients that die ---- */

/* The API's: it fails what waits, refuses for a moment, and goes on by itself. */
static void producer_with_deadline_begins_anew(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_with(s->log, 10000, 0);
    struct tally tally = {0};
    put(producer, "t", 0, "k", "before");
    for (int round = 0; round < 3; round++) {
        log_kafka_fail_producer(producer);
        bool accepted = false;
        for (int i = 0; i < 1000 && !accepted; i++) {
            struct err err = {0};
            struct log_record record = simple_record("t", 0, "k", "after");
            accepted = log_append_wait(producer, &record, PATIENCE_MS, NULL, NULL, &err);
            if (!accepted) {
                assert_true(err.kind == ERR_LOG_UNAVAILABLE || err.kind == ERR_OUTCOME_UNKNOWN);
                clock_sleep_ms(10);
            }
        }
        assert_true(accepted);
    }
    append_many(producer, "v", 100, &tally);
    assert_true(log_flush(producer, PATIENCE_MS));
    assert_int_equal(tally.persisted, 100);
    log_producer_close(producer);
}

/* The publisher's: it stays dead, so that nothing gets in behind what failed. */
static void producer_without_deadline_stays_dead(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_with(s->log, 0, 0);
    struct tally tally = {0};
    append_many(producer, "v", 2000, &tally);
    log_kafka_fail_producer(producer);
    assert_true(log_flush(producer, PATIENCE_MS));
    assert_int_equal(tally.persisted + tally.failed, 2000);
    struct log_record record = simple_record("t", 0, "k", "v");
    for (int i = 0; i < 20; i++) {
        MUST_FAIL(ERR_LOG_UNAVAILABLE, log_append(producer, &record, tally_delivery, &tally, err));
        clock_sleep_ms(10);
    }
    log_producer_close(producer);
    assert_int_equal(tally.persisted + tally.failed, 2000);
    assert_true(high_of(s->log, "t", 0) >= tally.persisted);
    producer = open_with(s->log, 0, 0);
    put(producer, "t", 0, "k", "v");
    log_producer_close(producer);
}

/* A record that the broker refuses for itself: of those appended behind it none may be kept, or a receiver would see a
 * hole in their numbers. */
static void nothing_is_kept_behind_what_failed(void **state) {
    struct contract_state *s = *state;
    kafka_broker_make_topic("t", "max.message.bytes", "50000");
    struct log_producer *producer = open_with(s->log, 0, 0);
    struct tally tally = {0};
    put(producer, "t", 0, "k", "v");
    append_many(producer, "v", 50, &tally);
    char *big = calloc(1, 200000);
    struct log_record record = simple_record("t", 0, "k", NULL);
    record.value = (struct str){big, 200000};
    MUST(log_append(producer, &record, tally_delivery, &tally, err));
    struct tally behind = {0};
    int accepted = 0;
    for (int i = 0; i < 300; i++) {
        struct err err = {0};
        struct log_record small = simple_record("t", 0, "k", "behind");
        accepted += log_append(producer, &small, tally_delivery, &behind, &err);
        if (i % 10 == 9)
            clock_sleep_ms(1); /* in requests of their own */
    }
    assert_true(log_flush(producer, PATIENCE_MS));
    log_producer_close(producer);
    free(big);
    assert_int_equal(behind.persisted, 0);
    assert_int_equal(behind.failed, accepted);
    assert_true(tally.failed > 0);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    int64_t high = high_of(s->log, "t", 0);
    struct kept kept = poll_count(&s->arena, consumer, (size_t)high, 100);
    for (size_t i = 1; i < kept.count; i++)
        assert_text_number(kept.items[i].value, "v", (int)i - 1);
    log_consumer_close(consumer);
}

/* ---- members of groups ---- */

struct membership {
    int assigned, revoked;
    bool lost;
};

static void count_assigned(void *user, const struct log_partition *partitions, size_t count) {
    (void)partitions, (void)count;
    ((struct membership *)user)->assigned++;
}

static void count_revoked(void *user, const struct log_partition *partitions, size_t count, bool lost) {
    (void)partitions, (void)count;
    struct membership *membership = user;
    membership->revoked++;
    membership->lost |= lost;
}

static void poll_for(struct log_consumer *consumer, int64_t ms) {
    for (int64_t end_us = clock_monotonic_us() + ms * 1000; clock_monotonic_us() < end_us;) {
        struct log_batch batch;
        MUST(log_consumer_poll(consumer, 10, 50, &batch, err));
    }
}

/* A member of a group, of topic t, once it was given partitions. `membership` must live as long as it. */
static struct log_consumer *join(struct log *log, const char *group, struct membership *membership) {
    const struct log_listener listener = {membership, count_assigned, count_revoked, 0};
    const struct str topic = STR("t");
    const int before = membership->assigned;
    struct log_consumer *consumer;
    MUST(log_consumer_open(log, str_from(group), &topic, 1, &listener, &consumer, err));
    for (int i = 0; i < 2000 && membership->assigned == before; i++)
        poll_for(consumer, 50);
    assert_true(membership->assigned > before);
    return consumer;
}

/* ---- brokers that hang or die ---- */

static pid_t stopped;

static void let_go(void) {
    if (stopped)
        kill(stopped, SIGCONT);
    stopped = 0;
}

/* A record that was told to be kept must be there; of the others each may be. */
static void deadline_is_told_truly_while_broker_hangs(void **state) {
    struct contract_state *s = *state;
    pid_t broker = kafka_broker_pid();
    if (!broker)
        skip();
    make_topic(s->log, "t", 1);
    struct log_producer *producer = open_with(s->log, 2000, 0);
    struct tally before = {0}, during = {0};
    append_many(producer, "before", 500, &before);
    stopped = broker;
    kill(broker, SIGSTOP);
    append_many(producer, "during", 500, &during);
    bool answered = log_flush(producer, PATIENCE_MS);
    int kept_while_hanging = during.persisted;
    let_go();
    assert_true(answered);
    assert_int_equal(kept_while_hanging, 0);
    assert_int_equal(during.failed, 500);
    assert_int_equal(before.persisted + before.failed, 500);
    struct tally after = {0};
    for (int i = 0; i < 600 && !after.persisted; i++) {
        append_many(producer, "after", 1, &after);
        assert_true(log_flush(producer, PATIENCE_MS));
    }
    assert_true(after.persisted > 0);
    log_producer_close(producer);
    assert_true(high_of(s->log, "t", 0) >= before.persisted + after.persisted);
}

/* A group whose broker does not answer is not one that has read nothing: the API would turn its shoppers away. */
static void positions_are_unknown_while_broker_hangs(void **state) {
    struct contract_state *s = *state;
    struct log_group_position *told = NULL;
    size_t count = 0;
    pid_t broker = kafka_broker_pid();
    if (!broker)
        skip();
    make_topic(s->log, "t", 1);
    put_many(s->log, "t", 0, "v", 5);
    struct membership before = {0}, after = {0};
    struct log_consumer *consumer = join(s->log, "hanging", &before);
    log_consumer_commit(consumer, &(struct log_position){STR("t"), 0, 3}, 1);
    log_consumer_close(consumer);
    stopped = broker;
    kill(broker, SIGSTOP);
    struct err err = {0};
    bool known = log_group_positions(s->log, &told, &count, &err);
    let_go();
    assert_false(known);
    log_consumer_close(join(s->log, "hanging", &after)); /* then it is back, also for groups */
    int64_t offset = -1;
    for (int i = 0; i < 100 && offset < 0; i++) {
        if (log_group_positions(s->log, &told, &count, &err)) {
            for (size_t k = 0; k < count; k++)
                if (str_eq(told[k].group, STR("hanging")))
                    offset = told[k].position.offset;
            free(told);
        }
    }
    assert_int_equal(offset, 3);
}

/* Without a deadline nothing fails, nothing is lost, nothing comes twice; readers go on, too. */
static void broker_is_killed_and_comes_back(void **state) {
    struct contract_state *s = *state;
    if (!kafka_broker_pid())
        skip();
    make_topic(s->log, "t", 2);
    struct log_producer *producer = open_with(s->log, 0, 0);
    struct log_consumer *consumer = open_reader(s->log, "t", 1);
    struct tally tally = {0};
    put(producer, "t", 0, "k", "first");
    poll_count(&s->arena, consumer, 1, 10);
    for (int round = 0; round < 2; round++) {
        append_many(producer, "v", 1000, &tally);
        kill(kafka_broker_pid(), SIGKILL);
        append_many(producer, "v", 1000, &tally);
        assert_true(log_flush(producer, 2 * PATIENCE_MS));
        struct kept kept = poll_count(&s->arena, consumer, 2000, 100);
        for (int i = 0; i < 2000; i++)
            assert_text_number(kept.items[i].value, "v", i % 1000);
    }
    assert_int_equal(tally.persisted, 4000);
    assert_int_equal(high_of(s->log, "t", 0), 4001);
    log_consumer_close(consumer);
    log_producer_close(producer);
}

/* ---- records that are gone ---- */

static void records_deleted_under_a_reader_are_told(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "shop.t", 1);
    put_many(s->log, "shop.t", 0, "v", 100);
    kafka_broker_delete_records("shop.t", 0, 60);
    struct log_consumer *consumer = open_reader(s->log, "shop.t", 1);
    MUST(log_consumer_seek(consumer, STR("shop.t"), 0, 42, err));
    poll_until_error(consumer, ERR_LOST_RECORDS, "shop.t/0 offset 42");
    MUST(log_consumer_seek(consumer, STR("shop.t"), 0, 60, err));
    assert_int_equal(poll_count(&s->arena, consumer, 40, 100).items[0].offset, 60);
    int64_t low, high;
    MUST(log_watermarks(s->log, STR("shop.t"), 0, &low, &high, err));
    assert_int_equal(low, 60);
    assert_int_equal(high, 100);
    log_consumer_close(consumer);
}

/* ---- members that stall ---- */

/* One that polls keeps what it has, however little comes; one that does not is thought dead, and joins again by itself.
 */
static void stalled_member_loses_and_joins_again(void **state) {
    struct contract_state *s = *state;
    make_topic(s->log, "t", 2);
    setenv("ORDERLOG_KAFKA_SESSION_TIMEOUT_MS", "3000", 1);
    setenv("ORDERLOG_KAFKA_MAX_POLL_INTERVAL_MS", "3000", 1);
    struct membership membership = {0};
    struct log_consumer *consumer = join(s->log, "g", &membership);
    assert_int_equal(membership.assigned, 1);
    poll_for(consumer, 4500);
    assert_int_equal(membership.revoked, 0);
    clock_sleep_ms(5000);
    for (int i = 0; i < 1000 && membership.assigned < 2; i++)
        poll_for(consumer, 50);
    assert_int_equal(membership.assigned, 2);
    assert_int_equal(membership.revoked, 1);
    assert_true(membership.lost);
    log_consumer_close(consumer);
    assert_int_equal(membership.revoked, 2);
    unsetenv("ORDERLOG_KAFKA_SESSION_TIMEOUT_MS");
    unsetenv("ORDERLOG_KAFKA_MAX_POLL_INTERVAL_MS");
}

/* Each seek tells librdkafka anew what to read, while it is still about to stop what it read before, and leaving stops
 * all of it: nothing may be stopped twice, which an assertion of librdkafka's ends the program for. */
static void members_may_seek_and_leave_in_a_hurry(void **state) {
    enum { MEMBERS = 12, PARTITIONS = 8 };
    struct contract_state *s = *state;
    make_topic(s->log, "t", PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++)
        put_many(s->log, "t", i, "v", 20);
    struct membership membership = {0};
    for (int member = 0; member < MEMBERS; member++) {
        struct log_consumer *consumer = join(s->log, "g", &membership);
        struct log_batch batch;
        for (int i = 0; i < PARTITIONS; i++) {
            MUST(log_consumer_seek(consumer, STR("t"), i, member, err));
            MUST(log_consumer_poll(consumer, 10, member % 3 ? 0 : 5, &batch, err));
        }
        log_consumer_close(consumer);
    }
    assert_int_equal(membership.revoked, MEMBERS);
}

/* ---- how topics are set ---- */

struct drift_seen {
    int count;
    char text[1024];
};

static void drift_note(void *user, const char *topic, const char *what, const char *wanted, const char *found,
                       bool mendable) {
    struct drift_seen *seen = user;
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof seen->text - len, "%s %s %s %s %d;", topic, what, wanted, found, mendable);
    seen->count++;
}

static void drift_is_shown_and_mended(void **state) {
    struct contract_state *s = *state;
    const struct log_topic_spec specs[] = {{"shop.a", 2, 1000000, false}, {"shop.b", 1, -1, true}};
    struct drift_seen missing = {0}, none = {0}, drifted = {0}, mended = {0}, other = {0};
    MUST(log_topics_diff(s->log, specs, 2, drift_note, &missing, err));
    assert_string_equal(missing.text, "shop.a topic shop.a  1;shop.b topic shop.b  1;");
    MUST(log_topics_apply(s->log, specs, 2, err));
    MUST(log_topics_apply(s->log, specs, 2, err));
    MUST(log_topics_diff(s->log, specs, 2, drift_note, &none, err));
    assert_string_equal(none.text, "");
    struct log_topic_spec changed[] = {{"shop.a", 2, 2000000, false}, {"shop.b", 1, -1, false}};
    MUST(log_topics_diff(s->log, changed, 2, drift_note, &drifted, err));
    assert_string_equal(drifted.text, "shop.a retention.ms 2000000 1000000 1;shop.b cleanup.policy delete compact 1;");
    MUST(log_topics_apply(s->log, changed, 2, err));
    for (int i = 0; i < 1000 && (i == 0 || mended.count); i++) { /* brokers hear of it a little later */
        mended = (struct drift_seen){0};
        MUST(log_topics_diff(s->log, changed, 2, drift_note, &mended, err));
        clock_sleep_ms(i ? 10 : 0);
    }
    assert_string_equal(mended.text, "");
    changed[0].partitions = 3;
    MUST(log_topics_diff(s->log, changed, 2, drift_note, &other, err));
    assert_string_equal(other.text, "shop.a partitions 3 2 0;");
    MUST_FAIL(ERR_CONFIG, log_topics_apply(s->log, changed, 2, err));
}

/* ---- settings ---- */

static void wrong_settings_are_named_and_keep_secrets(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"ORDERLOG_KAFKA_SECURITY_PROTOCOL", "hunter2", "security.protocol"},
        {"ORDERLOG_KAFKA_COMPRESSION", "hunter2", "compression.type"},
        {"ORDERLOG_KAFKA_SASL_MECHANISM", "OAUTHBEARER", "source of tokens"},
#if RD_KAFKA_VERSION < 0x020601ff
        {"ORDERLOG_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512", "2.6.1"},
#endif
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log *log = NULL;
        struct log_producer *producer = NULL;
        struct err err = {0};
        setenv(cases[i][0], cases[i][1], 1);
        bool ok = log_open(url, NULL, &log, &err) && log_producer_open(log, NULL, &producer, &err);
        unsetenv(cases[i][0]);
        log_producer_close(producer);
        log_close(log);
        assert_false(ok);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.detail, cases[i][2]));
        assert_null(strstr(err.detail, "hunter2"));
    }
    static const char *const urls[] = {"kafka://", "kafka://u:p@host:9092", "kafka://host:0", "kafka://host:9092/x"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct log *log;
        MUST_FAIL(ERR_CONFIG, log_open(urls[i], NULL, &log, err));
    }
}

static void ids_made_of_names_fit_others(void **state) {
    (void)state;
    assert_true(log_topic_id_fits(STR("a"), STR("a")));
    assert_false(log_topic_id_fits(STR("a"), STR("b")));
    assert_true(log_topic_id_fits(STR("a"), STR(LOG_TOPIC_ID_BY_NAME "c/t")));
    assert_true(log_topic_id_fits(STR(LOG_TOPIC_ID_BY_NAME "c/t"), STR("a")));
}

int main(void) {
    kafka_broker_need();
    atexit(let_go);
    alarm(560); /* a broker that a failed test left stopped would stop all that come after */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, contract_teardown)
    const struct CMUnitTest tests[] = {
        TEST(producer_with_deadline_begins_anew),        TEST(producer_without_deadline_stays_dead),
        TEST(nothing_is_kept_behind_what_failed),        TEST(deadline_is_told_truly_while_broker_hangs),
        TEST(positions_are_unknown_while_broker_hangs),  TEST(broker_is_killed_and_comes_back),
        TEST(records_deleted_under_a_reader_are_told),   TEST(stalled_member_loses_and_joins_again),
        TEST(members_may_seek_and_leave_in_a_hurry),     TEST(drift_is_shown_and_mended),
        TEST(wrong_settings_are_named_and_keep_secrets), TEST(ids_made_of_names_fit_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
