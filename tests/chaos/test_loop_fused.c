/* Two deciders in one loop: what one says goes to the other in memory, and whatever fails, nothing is lost of it. */
#include "core/base/metrics.h"
#include "tests/chaos/toys.h"

static int64_t handed_over(void) {
    BUF_AUTO text = {0};
    metrics_write(&text);
    const char *line = strstr(buf_str(&text).ptr, "\norderlog_decider_handed_over_total ");
    return line ? strtoll(strchr(line, ' '), NULL, 10) : 0;
}

static void expect_whole(struct run *run, int64_t records) {
    struct seen between = read_topic(run->log, TOPIC_ORDER_REQUESTS), out = read_topic(run->log, TOPIC_ORDER_EVENTS);
    assert_int_equal(between.gaps, 0);
    assert_int_equal(out.gaps, 0);
    assert_int_equal(out.records, records);
    assert_int_equal(out.wrong_versions, 0);
    seen_free(&between);
    seen_free(&out);
}

static void test_handed_over(void **state) {
    struct place *place = *state;
    struct run run;
    int64_t before = handed_over();
    run_start(&run, place, FUSED);
    for (int i = 0; i < 200; i++)
        append_numbered(&run, i);
    await(run.log, TOPIC_ORDER_EVENTS, 200);
    assert_true(handed_over() > before);
    expect_whole(&run, 200);
    await_number(place, "SELECT count(*) FROM decider.shard WHERE flushed_through < version", 0);
    run_stop(&run);
}

/* The receiver's rows cannot be read: what it was handed is forgotten with all the rest, and comes again. */
static void test_receiver_cannot_load(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, FUSED);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    await_number(place, "SELECT count(*) FROM decider.toy_second", 1);
    execute(place, "ALTER TABLE decider.toy_second RENAME TO away");
    int64_t epoch = number(place, "SELECT max(epoch) FROM decider.shard");
    for (int i = 2; i < 12; i++) /* of orders that are not in memory */
        append_input(&run, i, str_from((const char *[]){"c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}[i - 2]),
                     "shopper", "h");
    BUF_AUTO sql = {0};
    buf_printf(&sql, "SELECT (max(epoch) >= %lld)::int FROM decider.shard", (long long)epoch + 2);
    await_number(place, sql.ptr, 1);
    execute(place, "ALTER TABLE decider.away RENAME TO toy_second");
    await(run.log, TOPIC_ORDER_EVENTS, 11);
    expect_whole(&run, 11);
    run_stop(&run);
}

/* It is parked with its place in the log, and what comes after it behind it. */
static void test_handed_over_and_refused(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, FUSED);
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, STR("b"), "spoil", "h");
    append_input(&run, 1, STR("c"), "shopper", "h");
    append_input(&run, 2, STR("d"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, "SELECT count(*) FROM decider.parked WHERE service = 'toy-second' AND \"offset\" >= 0", 2);
    execute(place, "UPDATE decider.parked SET status = 'drop' WHERE NOT behind");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    await_number(place, "SELECT count(*) FROM decider.parked", 0);
    expect_whole(&run, 3);
    run_stop(&run);
}

/* Somebody else took the receiver's shard: the whole batch is rolled back. */
static void test_fenced_receiver(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, FUSED);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    for (int i = 0; i < 5; i++) {
        BUF_AUTO id = {0};
        execute(place, "UPDATE decider.shard SET epoch = epoch + 1, owner = 'x' WHERE service = 'toy-second'");
        buf_printf(&id, "more-%d", i);
        append_input(&run, 1, buf_str(&id), "shopper", "h");
        await(run.log, TOPIC_ORDER_EVENTS, i + 2);
    }
    expect_whole(&run, 6);
    run_stop(&run);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {PLACED(test_handed_over), PLACED(test_receiver_cannot_load),
                                       PLACED(test_handed_over_and_refused), PLACED(test_fenced_receiver)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
