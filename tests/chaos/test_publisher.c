/* The outbox publisher on a log that fails deliveries: nothing is lost, the order is kept, and the numbers have no hole
 * once duplicates are dropped. */
#include "core/log/record_codec.h"
#include "core/log/sqlite.h"
#include "producers/publisher.h"
#include "tests/chaos/toys.h"

enum { ROWS = 60, RECORDS_IN_ROW = 5, VALUE_SIZE = 4000 };

struct bench {
    char folder[64];
    struct log *log;
    struct publisher *publisher;
    int64_t numbers[PARTITIONS];
};

static void no_wake(void *user) {
    (void)user;
}

static int bench_set_up(void **state) {
    struct bench *bench = mem_zalloc(sizeof(*bench));
    struct err err = {0};
    char url[96];
    struct log_options options = {0};
    struct log_topic_spec spec = {.name = "t", .partitions = PARTITIONS, .retention_ms = -1};
    snprintf(bench->folder, sizeof(bench->folder), "/tmp/orderlog-publisher.XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    snprintf(url, sizeof(url), "sqlite://%s/log.db", bench->folder);
    if (!log_open(url, &options, &bench->log, &err) || !log_topics_create(bench->log, &spec, 1, &err) ||
        !publisher_open(bench->log, no_wake, NULL, &bench->publisher, &err))
        fail_msg("%s", err.detail);
    *state = bench;
    return 0;
}

static int bench_tear_down(void **state) {
    struct bench *bench = *state;
    char command[96];
    publisher_close(bench->publisher, 10000);
    log_close(bench->log);
    snprintf(command, sizeof(command), "rm -rf %s", bench->folder);
    assert_int_equal(system(command), 0);
    free(bench);
    return 0;
}

/* A row of numbered records, as batch_emit_raw makes them, over the partitions in turn. */
static void add_row(struct bench *bench, int64_t id) {
    static char value[VALUE_SIZE];
    BUF_AUTO records = {0};
    for (int64_t i = 0; i < RECORDS_IN_ROW; i++) {
        char seq[24];
        int32_t partition = (int32_t)((id * RECORDS_IN_ROW + i) % PARTITIONS);
        snprintf(seq, sizeof(seq), "%lld", (long long)++bench->numbers[partition]);
        struct log_header headers[] = {{STR(HEADER_ID), str_from(seq)},
                                       {STR(HEADER_TYPE), STR("toy")},
                                       {STR(HEADER_ORIGIN), STR("toy/0")},
                                       {STR(HEADER_ORIGIN_SEQ), str_from(seq)}};
        struct log_record record = {.topic = STR("t"),
                                    .partition = partition,
                                    .value = {value, sizeof(value)},
                                    .headers = headers,
                                    .header_count = 4};
        record_encode(&records, &record);
    }
    struct err err = {0};
    assert_true(publisher_add(bench->publisher, 0, id, buf_str(&records), &err));
}

/* Pumps until all is acknowledged; a pump that fails is one more try. */
static void pump_all(struct bench *bench, int64_t last_id) {
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    struct err err;
    while (publisher_done_through(bench->publisher, 0) < last_id) {
        if (!publisher_pump(bench->publisher, &err))
            clock_sleep_ms(1);
        assert_true(clock_monotonic_us() < deadline_us);
    }
    assert_int_equal(publisher_backlog_bytes(bench->publisher), 0);
}

/* Of the partition: numbers in order, none missing; returns how many came twice. */
static int64_t check_partition(struct bench *bench, int32_t partition, int64_t wanted) {
    struct log_consumer *consumer;
    struct log_batch batch;
    struct err err = {0};
    int64_t low, high, last = 0, duplicates = 0, got = 0;
    assert_true(log_watermarks(bench->log, STR("t"), partition, &low, &high, &err));
    assert_true(log_consumer_open_manual(bench->log, &consumer, &err));
    assert_true(log_consumer_seek(consumer, STR("t"), partition, 0, &err));
    while (got < high) {
        assert_true(log_consumer_poll(consumer, 1000, 1000, &batch, &err));
        for (size_t i = 0; i < batch.count; i++) {
            struct envelope envelope;
            assert_true(envelope_read(&batch.records[i], &envelope, &err));
            assert_true(envelope.origin_seq <= last + 1); /* a receiver would see a hole */
            duplicates += envelope.origin_seq <= last;
            last = envelope.origin_seq > last ? envelope.origin_seq : last;
        }
        got += (int64_t)batch.count;
    }
    assert_int_equal(last, wanted);
    log_consumer_close(consumer);
    return duplicates;
}

static int64_t check_all(struct bench *bench) {
    int64_t duplicates = 0;
    for (int32_t p = 0; p < PARTITIONS; p++)
        duplicates += check_partition(bench, p, bench->numbers[p]);
    return duplicates;
}

static void test_publishes_in_order(void **state) {
    struct bench *bench = *state;
    for (int64_t id = 1; id <= ROWS; id++)
        add_row(bench, id);
    pump_all(bench, ROWS);
    assert_int_equal(check_all(bench), 0);
}

/* The disk is full, and not, and full again, while rows are being published. */
static void test_log_that_fails_now_and_then(void **state) {
    struct bench *bench = *state;
    struct err err;
    int refused = 0;
    for (int64_t id = 1; id <= ROWS; id++) {
        add_row(bench, id);
        log_sqlite_limit_pages(bench->log, id % 3 == 1 ? 1 : 0);
        for (int i = 0; i < 20; i++)
            if (!publisher_pump(bench->publisher, &err))
                refused++;
            else
                clock_sleep_ms(id % 3 == 1); /* so that the writer comes to see the limit */
    }
    log_sqlite_limit_pages(bench->log, 0);
    pump_all(bench, ROWS);
    print_message("pumps refused: %d, duplicates: %lld\n", refused, (long long)check_all(bench));
}

/* Deliveries fail with many rows in flight: those behind the failed one must not get ahead of it. */
static void test_failure_with_many_in_flight(void **state) {
    struct bench *bench = *state;
    struct err err;
    log_sqlite_limit_pages(bench->log, 1);
    for (int64_t id = 1; id <= ROWS; id++)
        add_row(bench, id);
    if (!publisher_pump(bench->publisher, &err)) /* some have failed already */
        assert_int_equal(err.kind, ERR_LOG_UNAVAILABLE);
    log_sqlite_limit_pages(bench->log, 0); /* at once: some of it may be taken now */
    pump_all(bench, ROWS);
    check_all(bench);
}

/* A shard dropped with records in flight and taken over anew: its rows again, the same numbers. */
static void test_dropped_in_flight(void **state) {
    struct bench *bench = *state;
    struct err err;
    for (int64_t id = 1; id <= ROWS; id++)
        add_row(bench, id);
    assert_true(publisher_pump(bench->publisher, &err));
    publisher_drop(bench->publisher, 0);
    assert_int_equal(publisher_done_through(bench->publisher, 0), 0);
    memset(bench->numbers, 0, sizeof(bench->numbers));
    for (int64_t id = 1; id <= ROWS; id++)
        add_row(bench, id);
    pump_all(bench, ROWS);
    check_all(bench);
}

struct highest {
    int64_t offsets[PARTITIONS];
};

static void take_highest(void *user, struct str topic, int32_t partition, int64_t offset) {
    struct highest *highest = user;
    assert_true(str_eq(topic, STR("t")));
    highest->offsets[partition] = offset;
}

static void test_tells_what_was_acknowledged(void **state) {
    struct bench *bench = *state;
    struct highest highest = {{-1, -1, -1}};
    add_row(bench, 1);
    add_row(bench, 2);
    pump_all(bench, 2);
    publisher_take_acknowledged(bench->publisher, 0, take_highest, &highest);
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_int_equal(highest.offsets[p], bench->numbers[p] - 1);
    highest = (struct highest){{-1, -1, -1}};
    publisher_take_acknowledged(bench->publisher, 0, take_highest, &highest);
    assert_int_equal(highest.offsets[0], -1); /* only what is new */
}

#define ON_BENCH(test) cmocka_unit_test_setup_teardown(test, bench_set_up, bench_tear_down)

int main(void) {
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        ON_BENCH(test_publishes_in_order),          ON_BENCH(test_log_that_fails_now_and_then),
        ON_BENCH(test_failure_with_many_in_flight), ON_BENCH(test_dropped_in_flight),
        ON_BENCH(test_tells_what_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
