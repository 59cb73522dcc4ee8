/* The merging reader of cli/reader.h, and the filter of duplicates of cli/sequences.h. */
#include "cli/reader.h"

#include "cli/sequences.h"
#include "tests/cli/made_log.h"

enum { MANY = 12000 };

static void delivered(void *user, enum log_outcome outcome, int32_t partition, int64_t offset, const struct err *err) {
    (void)user, (void)partition, (void)offset, (void)err;
    if (outcome != LOG_PERSISTED)
        abort(); /* not on the test's thread: cmocka cannot be told */
}

/* Values are any text: the reader does not look into them. */
static void add(struct made_log *made, const char *topic, int32_t partition, int64_t n) {
    struct err err = {0};
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)n);
    struct log_header headers[] = {{STR("n"), str_from(text)}, {STR("none"), STR_NULL}};
    struct log_record record = {.topic = str_from(topic),
                                .partition = partition,
                                .key = n % 3 ? str_from(text) : STR_NULL,
                                .value = n % 5 ? str_from(text) : STR_NULL,
                                .headers = headers,
                                .header_count = 2};
    if (!log_append(made->producer, &record, delivered, NULL, &err))
        fail_msg("%s", err.detail);
}

static int64_t number_of(const struct log_record *record) {
    int64_t n;
    assert_int_equal(record->header_count, 2);
    assert_true(str_eq(record->headers[0].name, STR("n")));
    assert_true(str_to_i64(record->headers[0].value, &n));
    assert_true(str_eq(record->headers[1].name, STR("none")));
    assert_null(record->headers[1].value.ptr);
    assert_int_equal(record->key.ptr != NULL, n % 3 != 0);
    assert_int_equal(record->value.ptr != NULL, n % 5 != 0);
    if (record->value.ptr)
        assert_true(str_eq(record->value, record->headers[0].value));
    return n;
}

struct seen {
    int64_t count;
    int64_t time_us;
    int64_t next[MADE_PARTITIONS][2];
};

static void read_all(struct made_log *made, const struct reader_range *ranges, size_t count, struct seen *seen) {
    struct err err = {0};
    struct reader *reader;
    const struct log_record *record;
    if (!reader_open(made->log, ranges, count, &reader, &err))
        fail_msg("%s", err.detail);
    for (;;) {
        if (!reader_next(reader, &record, &err))
            fail_msg("%s", err.detail);
        if (!record)
            break;
        int64_t *next = &seen->next[record->partition][str_eq(record->topic, STR(TOPIC_STOCK_EVENTS))];
        assert_int_equal(record->offset, *next);
        assert_true(record->timestamp_us >= seen->time_us);
        number_of(record);
        *next = record->offset + 1;
        seen->time_us = record->timestamp_us;
        seen->count++;
    }
    reader_close(reader);
}

/* Two large partitions, all of the one older than the other: the younger is held back meanwhile, and loses nothing. */
static void merges_by_time_whatever_the_sizes(void **state) {
    (void)state;
    struct made_log made;
    struct seen seen = {0};
    struct reader_range *ranges;
    size_t count;
    struct err err = {0};
    struct str topics[] = {STR(TOPIC_ORDER_EVENTS), STR(TOPIC_STOCK_EVENTS)};
    made_open(&made);
    for (int64_t n = 0; n < MANY; n++) {
        add(&made, TOPIC_ORDER_EVENTS, 1, n);
        if (n % 4000 == 3999)
            for (int32_t partition = 0; partition < MADE_PARTITIONS; partition++)
                add(&made, TOPIC_STOCK_EVENTS, partition, n);
        if (n % 1000 == 0)
            assert_true(log_flush(made.producer, 30000)); /* so that times differ */
    }
    assert_true(log_flush(made.producer, 30000));
    for (int64_t n = 0; n < MANY; n++)
        add(&made, TOPIC_ORDER_EVENTS, 2, n);
    assert_true(log_flush(made.producer, 30000));
    if (!reader_ranges(made.log, topics, 2, &ranges, &count, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(count, 2 * MADE_PARTITIONS);
    read_all(&made, ranges, count, &seen);
    assert_int_equal(seen.count, 2 * MANY + 3 * MADE_PARTITIONS);
    free(ranges);
    made_remove(&made);
}

static void reads_a_stretch_and_not_more(void **state) {
    (void)state;
    struct made_log made;
    struct seen seen = {0};
    made_open(&made);
    for (int64_t n = 0; n < 50; n++)
        add(&made, TOPIC_ORDER_EVENTS, 2, n);
    assert_true(log_flush(made.producer, 30000));
    struct reader_range ranges[] = {{STR(TOPIC_ORDER_EVENTS), 2, 10, 20}, {STR(TOPIC_ORDER_EVENTS), 0, 0, 0}};
    seen.next[2][0] = 10;
    read_all(&made, ranges, 2, &seen);
    assert_int_equal(seen.count, 10);
    assert_int_equal(seen.next[2][0], 20);
    read_all(&made, NULL, 0, &seen);
    assert_int_equal(seen.count, 10);
    made_remove(&made);
}

/* Without end, but not for ever: an end that does not come is an error. */
static void says_when_a_topic_is_not_there(void **state) {
    (void)state;
    struct made_log made;
    struct reader_range *ranges = NULL;
    struct err err = {0};
    struct str topic = STR("nothing");
    size_t count;
    made_open(&made);
    assert_false(reader_ranges(made.log, &topic, 1, &ranges, &count, &err));
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_null(ranges);
    made_remove(&made);
}

static enum sequence_verdict take(struct sequences *sequences, const char *origin, int32_t partition, int64_t seq,
                                  int64_t *last) {
    struct envelope envelope = {
        .topic = STR("t"), .partition = partition, .origin = str_from(origin), .origin_seq = seq};
    return sequences_take(sequences, &envelope, last);
}

static void numbers_are_followed_per_origin_and_partition(void **state) {
    (void)state;
    struct sequences sequences = {0};
    int64_t last;
    assert_int_equal(take(&sequences, NULL, 0, 0, &last), SEQUENCE_NONE);
    assert_int_equal(take(&sequences, "a/0", 0, 1, &last), SEQUENCE_FIRST);
    assert_int_equal(take(&sequences, "a/0", 0, 2, &last), SEQUENCE_NEXT);
    assert_int_equal(take(&sequences, "a/0", 1, 5, &last), SEQUENCE_FIRST);
    assert_int_equal(take(&sequences, "a/1", 0, 1, &last), SEQUENCE_FIRST);
    assert_int_equal(take(&sequences, "a/0", 0, 2, &last), SEQUENCE_DUPLICATE);
    assert_int_equal(take(&sequences, "a/0", 0, 1, &last), SEQUENCE_DUPLICATE);
    assert_int_equal(take(&sequences, "a/0", 0, 4, &last), SEQUENCE_HOLE);
    assert_int_equal(last, 2);
    assert_int_equal(take(&sequences, "a/0", 0, 3, &last), SEQUENCE_DUPLICATE);
    assert_int_equal(take(&sequences, "a/0", 0, 5, &last), SEQUENCE_NEXT);
    assert_int_equal(sequences_last(&sequences, STR("t"), 0, STR("a/0")), 5);
    assert_int_equal(sequences_last(&sequences, STR("t"), 1, STR("a/0")), 5);
    assert_int_equal(sequences_last(&sequences, STR("t"), 2, STR("a/0")), 0);
    sequences_free(&sequences);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_by_time_whatever_the_sizes),
        cmocka_unit_test(reads_a_stretch_and_not_more),
        cmocka_unit_test(says_when_a_topic_is_not_there),
        cmocka_unit_test(numbers_are_followed_per_origin_and_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
