/* The decider loop in one process: repeated commands, parked subjects, unknown types, zombies, and a database
 * that refuses or goes away. */
#include "tests/chaos/toys.h"

/* The same id again, with the same body and with another. */
static void test_repeated_commands(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("same"), "shopper", "h1");
    append_input(&run, 1, STR("same"), "shopper", "h1");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    append_input(&run, 1, STR("same"), "shopper", "h1");
    append_input(&run, 1, STR("same"), "shopper", "h2");
    append_input(&run, 1, STR("other"), "shopper", "h1");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.records, 3);
    assert_int_equal(seen.from_actor_refused, 1);
    seen_free(&seen);
    run_stop(&run);
}

/* The same, when all of them wait in the log and are decided together. */
static void test_repeated_in_one_batch(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 0);
    append_input(&run, 1, STR("same"), "shopper", "h1");
    append_input(&run, 1, STR("same"), "shopper", "h1");
    append_input(&run, 1, STR("same"), "shopper", "h2");
    append_input(&run, 1, STR("other"), "shopper", "h1");
    run_stop(&run);
    run_start(&run, place, 2);
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.records, 3);
    assert_int_equal(seen.from_actor_refused, 1);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.command"), 2);
    assert_int_equal(number(place, "SELECT max(epoch) FROM decider.shard"), 1); /* at the first go */
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 0);
    seen_free(&seen);
    run_stop(&run);
}

/* A record that cannot be handled is parked, what follows of its subject behind it, in order; others go on. Marked for
 * a retry that fails it stays; dropped, what was behind it is applied. */
static void test_parked_subject(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, STR("b"), "poison", "h");
    append_input(&run, 1, STR("c"), "shopper", "h");
    append_input(&run, 2, STR("d"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, "SELECT count(*) FROM decider.parked", 2);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE behind"), 1);
    await(run.log, TOPIC_FULFILMENT_REQUESTS TOPIC_DEAD_LETTER_SUFFIX, 1);

    execute(place, "UPDATE decider.parked SET status = 'retry' WHERE NOT behind");
    await_number(place, "SELECT count(*) FROM decider.parked WHERE status = 'parked'", 2);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 2);
    run_stop(&run);

    run_start(&run, place, 2); /* parked subjects outlive a restart */
    append_input(&run, 1, STR("e"), "shopper", "h");
    await_number(place, "SELECT count(*) FROM decider.parked", 3);
    execute(place, "UPDATE decider.parked SET status = 'drop' WHERE NOT behind");
    await(run.log, TOPIC_ORDER_EVENTS, 4);
    await_number(place, "SELECT count(*) FROM decider.parked", 0);
    append_input(&run, 1, STR("f"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 5);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* A value of a schema that is not compiled in: a deployment fault. The shard stands, says so, and loses nothing. */
static void test_unknown_schema_halts(void **state) {
    struct place *place = *state;
    struct run run;
    struct err err = {0};
    int32_t partition;
    int64_t offset;
    BUF_AUTO why = {0};
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "shopper", "h");
    struct log_header headers[] = {{STR(HEADER_ID), STR("b")}, {STR(HEADER_TYPE), STR("shop.new.v9.Thing")}};
    struct log_record record = {.topic = STR(TOPIC_FULFILMENT_REQUESTS),
                                .partition = LOG_BY_KEY,
                                .key = STR("00000000-0000-4000-8000-000000000001"),
                                .value = {"\0\0\1\0\0xyz", 8},
                                .headers = headers,
                                .header_count = 2};
    assert_true(log_append_wait(run.producer, &record, 10000, &partition, &offset, &err));
    append_input(&run, 1, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    while (!why.len || !strstr(why.ptr, "halted")) {
        buf_reset(&why);
        assert_true(clock_monotonic_us() < deadline_us);
        loop_ready(run.loops[0], &why);
        clock_sleep_ms(5);
    }
    assert_non_null(strstr(why.ptr, "offset 1"));
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 0);
    run_stop(&run);
}

/* A shard that another owner took is fenced: its next transaction touches nothing, and it takes over anew. */
static void test_fenced_owner(void **state) {
    static const char take_away[] = "UPDATE decider.shard SET epoch = epoch + 1, owner = 'somebody else'";
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    for (int i = 0; i < 50; i++) {
        append_numbered(&run, i);
        if (i % 10 == 5)
            execute(place, take_away);
    }
    await(run.log, TOPIC_ORDER_EVENTS, 50);
    execute(place, take_away);
    for (int i = 50; i < 50 + ORDERS; i++) /* something for every shard */
        append_numbered(&run, i);
    await(run.log, TOPIC_ORDER_EVENTS, 50 + ORDERS);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.shard WHERE owner = 'somebody else'"), 0);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.records, 50 + ORDERS);
    assert_int_equal(seen.gaps, 0);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* Text that PostgreSQL cannot hold must not stand in everybody's way. */
static void test_record_the_database_refuses(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, ((struct str){"z\0z", 3}), "shopper", "h");
    append_input(&run, 2, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, "SELECT count(*) FROM decider.parked", 1);
    run_stop(&run);
}

/* PostgreSQL cuts every connection in the middle: nothing is lost, nothing comes twice. */
static void test_database_connections_cut(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    for (int i = 0; i < 200; i++) {
        append_numbered(&run, i);
        if (i % 40 == 20)
            execute(place, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE datname = current_database() AND pid <> pg_backend_pid()");
    }
    await(run.log, TOPIC_ORDER_EVENTS, 200);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.records, 200);
    assert_int_equal(seen.gaps, 0);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_repeated_commands),
        PLACED(test_repeated_in_one_batch),
        PLACED(test_parked_subject),
        PLACED(test_unknown_schema_halts),
        PLACED(test_fenced_owner),
        PLACED(test_record_the_database_refuses),
        PLACED(test_database_connections_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
