/* What is told of the log and of the deciders' tables, with a real log, PostgreSQL and Redis: it is so, and when it
 * cannot be known nothing is told. */
#include "consumers/gauges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "consumers/loop.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/log/append.h"
#include "core/store/pg.h"
#include "tests/support/database.h"

enum { PATIENCE_MS = 60000, INTERVAL_MS = 20 };

#define MUST(expression)                                                                                               \
    do {                                                                                                               \
        struct err must_err_ = {0};                                                                                    \
        struct err *err = &must_err_;                                                                                  \
        if (!(expression))                                                                                             \
            fail_msg("%s: %s", #expression, must_err_.detail);                                                         \
    } while (0)

static char folder[] = "/tmp/orderlog-gauges.XXXXXX";
static char *database_url;
static struct log *the_log;
static struct gauges *gauges;

static void execute(const char *sql) {
    struct pg *pg;
    MUST(pg_open(database_url, NULL, &pg, err));
    MUST(pg_script(pg, sql, err));
    pg_close(pg);
}

/* Its value as it is written; false when it is left out. */
static bool metric_read(const char *name, double *ret) {
    BUF_AUTO text = {0};
    BUF_AUTO start = {0};
    buf_add_char(&text, '\n');
    metrics_write(&text);
    buf_printf(&start, "\n%s ", name);
    const char *at = strstr(text.ptr, start.ptr);
    if (at)
        *ret = strtod(at + start.len, NULL);
    return at != NULL;
}

static void await(const char *name, double low, double high) {
    int64_t give_up_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    double value = -1;
    while (!metric_read(name, &value) || value < low || value > high) {
        if (clock_monotonic_us() > give_up_us)
            fail_msg("%s is %f, not %f to %f", name, value, low, high);
        usleep(5000);
    }
}

static void await_absence(const char *name) {
    int64_t give_up_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    double value;
    while (metric_read(name, &value)) {
        if (clock_monotonic_us() > give_up_us)
            fail_msg("%s is still told", name);
        usleep(5000);
    }
}

static bool check_is(const char *name, enum check_state state) {
    CHECKS_AUTO checks = {0};
    gauges_check(gauges, &checks);
    for (size_t i = 0; i < checks.count; i++)
        if (strcmp(checks.items[i].name, name) == 0)
            return checks.items[i].state == state;
    return false;
}

static void await_check(const char *name, enum check_state state) {
    int64_t give_up_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    while (!check_is(name, state)) {
        if (clock_monotonic_us() > give_up_us)
            fail_msg("the check %s does not become %d", name, (int)state);
        usleep(5000);
    }
}

static void start(void) {
    const struct gauges_config config = {.log = the_log,
                                         .database_url = database_url,
                                         .redis_url = getenv("ORDERLOG_TEST_REDIS_URL"),
                                         .log_interval_ms = INTERVAL_MS,
                                         .store_interval_ms = INTERVAL_MS};
    MUST(gauges_start(&config, &gauges, err));
}

static int setup(void **state) {
    (void)state;
    static const struct log_topic_spec topic = {"toys", 2, -1, false};
    BUF_AUTO url = {0};
    assert_non_null(mkdtemp(folder));
    buf_printf(&url, "sqlite://%s/log.db", folder);
    MUST(log_open(url.ptr, NULL, &the_log, err));
    MUST(log_topics_create(the_log, &topic, 1, err));
    database_make(&database_url);
    start();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    gauges_stop(gauges);
    log_close(the_log);
    database_drop(database_url);
    free(database_url);
    static const char *const files[] = {"log.db", "log.db-wal", "log.db-shm", "log.db.lock"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        BUF_AUTO path = {0};
        buf_printf(&path, "%s/%s", folder, files[i]);
        unlink(path.ptr);
    }
    return rmdir(folder);
}

/* The server answers, but there are no tables: that is no reason to say that it is away. */
static void a_database_without_tables_is_there(void **state) {
    (void)state;
    double value;
    await("orderlog_store_up{store=\"postgres\"}", 1, 1);
    await("orderlog_store_up{store=\"redis\"}", 1, 1);
    await_check("postgres", CHECK_OK);
    await_check("redis", CHECK_OK);
    assert_false(metric_read("orderlog_payment_intents_oldest_seconds", &value));
    assert_false(metric_read("orderlog_gauges_updated_timestamp_seconds", &value));
    MUST(loop_migrate(database_url, NULL, 0, err));
    await("orderlog_payment_intents_oldest_seconds", 0, 0);
}

static void tells_what_waits(void **state) {
    (void)state;
    execute("INSERT INTO decider.shard VALUES ('toys', 0, 1, 'me', 9, 4, NULL), ('toys', 1, 1, 'me', 9, 9, NULL), "
            "('games', 0, 1, 'me', 1, 0, NULL);"
            "INSERT INTO decider.outbox VALUES ('toys', 0, 4, 1, '', now() - interval '1 day'), "
            "('toys', 0, 5, 1, '', now() - interval '50 s'), ('toys', 0, 6, 1, '', now() - interval '40 s'), "
            "('toys', 1, 9, 1, '', now() - interval '1 day')");
    await("orderlog_outbox_oldest_seconds{service=\"toys\"}", 50, 500);
    await("orderlog_outbox_oldest_seconds{service=\"games\"}", 0, 0);
    execute("INSERT INTO decider.timer SELECT 'toys', i % 2, 'k' || i, 'n', "
            "(extract(epoch FROM now())::bigint + (i - 3) * 1000) * 1000000 FROM generate_series(1, 5) i");
    await("orderlog_timers_overdue{service=\"toys\"}", 3, 3); /* the third is due as it is made */
    await("orderlog_timers_overdue_oldest_seconds{service=\"toys\"}", 2000, 2500);
    await("orderlog_timers_overdue{service=\"games\"}", 0, 0);
    execute(
        "INSERT INTO decider.parked (service, shard, topic, partition, \"offset\", subject, reason, behind, record) "
        "SELECT 'toys', i % 2, 't', 0, i, 's' || i % 3, 'r', false, '' FROM generate_series(1, 12) i");
    await("orderlog_parked_subjects{service=\"toys\"}", 6, 6); /* the same subject in two shards is two */
    await("orderlog_parked_records{service=\"toys\"}", 12, 12);
    execute("INSERT INTO decider.intent SELECT 'toys', 0, i::text, 'k', NULL, NULL, '', "
            "((extract(epoch FROM now()) - age) * 1000000)::bigint FROM UNNEST(ARRAY[5, 100, 200, 7200, 80000]) "
            "WITH ORDINALITY AS u(age, i)");
    await("orderlog_payment_intents{age=\"under_1m\"}", 1, 1);
    await("orderlog_payment_intents{age=\"1m_to_1h\"}", 2, 2);
    await("orderlog_payment_intents{age=\"1h_to_20h\"}", 1, 1);
    await("orderlog_payment_intents{age=\"over_20h\"}", 1, 1);
    await("orderlog_payment_intents_oldest_seconds", 80000, 81000);
    execute("TRUNCATE decider.parked, decider.intent, decider.timer; UPDATE decider.shard SET done_through = 9");
    await("orderlog_outbox_oldest_seconds{service=\"toys\"}", 0, 0);
    await("orderlog_timers_overdue{service=\"toys\"}", 0, 0);
    await("orderlog_parked_subjects{service=\"toys\"}", 0, 0);
    await("orderlog_payment_intents{age=\"1m_to_1h\"}", 0, 0);
}

static void append(int32_t count) {
    struct log_producer *producer;
    MUST(log_producer_open(the_log, NULL, &producer, err));
    for (int32_t i = 0; i < count; i++) {
        const struct log_record record = {.topic = STR("toys"), .partition = 0, .value = STR("x")};
        MUST(log_append(producer, &record, NULL, NULL, err));
    }
    assert_true(log_flush(producer, PATIENCE_MS));
    log_producer_close(producer);
}

static void tells_who_is_behind(void **state) {
    (void)state;
    static const struct str topics[] = {{"toys", 4}};
    struct log_consumer *consumer;
    const struct log_listener listener = {0};
    append(7);
    MUST(log_consumer_open(the_log, STR("players"), topics, 1, &listener, &consumer, err));
    const struct log_position positions[] = {{STR("toys"), 0, 5}};
    log_consumer_commit(consumer, positions, 1);
    await("orderlog_lag_records{service=\"players\",topic=\"toys\",partition=\"0\"}", 2, 2);
    await("orderlog_lag_records{service=\"players\",topic=\"toys\",partition=\"1\"}", 0, 0);
    await("orderlog_lag_seconds{service=\"players\",topic=\"toys\",partition=\"0\"}", 0.001, 500);
    await("orderlog_lag_seconds{service=\"players\",topic=\"toys\",partition=\"1\"}", 0, 0);
    const struct log_position at_end[] = {{STR("toys"), 0, 7}};
    log_consumer_commit(consumer, at_end, 1);
    await("orderlog_lag_records{service=\"players\",topic=\"toys\",partition=\"0\"}", 0, 0);
    await("orderlog_lag_seconds{service=\"players\",topic=\"toys\",partition=\"0\"}", 0, 0);
    log_consumer_close(consumer);
    await("orderlog_log_size_bytes", 4096, 1 << 30);
    await("orderlog_log_disk_free_bytes", 1, 1e18);
    await("orderlog_log_commit_seconds_count", 2, 1e9);
    CHECKS_AUTO checks = {0};
    gauges_check(gauges, &checks);
    assert_string_equal(checks.items[checks.count - 1].name, "disk");
}

static void what_cannot_be_asked_is_not_told(void **state) {
    (void)state;
    BUF_AUTO close_door = {0};
    struct str rest, name = str_cut(str_from(database_url + strlen("postgresql:///")), '?', &rest);
    struct pg *pg;
    MUST(pg_open(getenv("ORDERLOG_TEST_DATABASE_URL"), NULL, &pg, err));
    buf_printf(&close_door, "ALTER DATABASE %.*s ALLOW_CONNECTIONS false", STR_ARG(name));
    MUST(pg_script(pg, close_door.ptr, err));
    buf_reset(&close_door);
    buf_printf(&close_door, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%.*s'",
               STR_ARG(name));
    MUST(pg_script(pg, close_door.ptr, err));
    await("orderlog_store_up{store=\"postgres\"}", 0, 0);
    await_check("postgres", CHECK_WARNING);
    await_absence("orderlog_outbox_oldest_seconds{service=\"toys\"}");
    await_absence("orderlog_parked_subjects{service=\"toys\"}");
    await_absence("orderlog_payment_intents_oldest_seconds");
    double updated, value;
    assert_true(metric_read("orderlog_gauges_updated_timestamp_seconds", &updated)); /* it says how old what was is */
    assert_true(metric_read("orderlog_store_up{store=\"redis\"}", &value) && value == 1);
    buf_reset(&close_door);
    buf_printf(&close_door, "ALTER DATABASE %.*s ALLOW_CONNECTIONS true", STR_ARG(name));
    MUST(pg_script(pg, close_door.ptr, err));
    pg_close(pg);
    await("orderlog_store_up{store=\"postgres\"}", 1, 1);
    await("orderlog_outbox_oldest_seconds{service=\"toys\"}", 0, 0);
    await("orderlog_gauges_updated_timestamp_seconds", updated + 1e-6, 1e12);
    await_check("postgres", CHECK_OK);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_without_tables_is_there),
        cmocka_unit_test(tells_what_waits),
        cmocka_unit_test(tells_who_is_behind),
        cmocka_unit_test(what_cannot_be_asked_is_not_told),
    };
    return cmocka_run_group_tests_name("gauges", tests, setup, teardown);
}
