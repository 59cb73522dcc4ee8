/* A timer waits for all that the log held when it came due: an answer that already waits there beats the deadline. */
#include "tests/chaos/toys.h"

enum { WAITING = 2500 }; /* more than two polls' worth */

/* So many inputs of one order, all at once. */
static void append_many(struct run *run, int order) {
    BUF_AUTO value = {0};
    char key[40], ids[WAITING][24];
    struct err err = {0};
    key_of(order, key);
    encode_pick(order, "shopper", STR("h"), &value);
    for (int i = 0; i < WAITING; i++) {
        snprintf(ids[i], sizeof(ids[i]), "many-%d", i);
        struct log_header headers[] = {{STR(HEADER_ID), str_from(ids[i])},
                                       {STR(HEADER_TYPE), message_name(MESSAGE_FULFILMENT_RECORD_PICK)},
                                       {STR(HEADER_SUBJECT), str_from(key)}};
        struct log_record record = {.topic = STR(TOPIC_FULFILMENT_REQUESTS),
                                    .partition = LOG_BY_KEY,
                                    .key = str_from(key),
                                    .value = buf_str(&value),
                                    .headers = headers,
                                    .header_count = 3};
        if (!log_append(run->producer, &record, NULL, NULL, &err))
            fail_msg("%s", err.detail);
    }
    assert_true(log_flush(run->producer, 60000));
}

static void test_timer_waits_for_the_log(void **state) {
    struct place *place = *state;
    struct run run;
    char key[40];
    BUF_AUTO sql = {0};
    run_start(&run, place, 0);
    append_many(&run, 1);
    run_stop(&run);
    key_of(1, key);
    buf_printf(&sql, "INSERT INTO decider.timer VALUES ('toy-first', %d, '%s', 'ring', 1)",
               log_partition_of(str_from(key), PARTITIONS), key);
    execute(place, sql.ptr);
    run_start(&run, place, 1);
    await(run.log, TOPIC_ORDER_REQUESTS, WAITING + 1);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_timer, 1);
    assert_int_equal(seen.after_timer, 0);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.timer"), 0);
    seen_free(&seen);
    run_stop(&run);
}

static void test_timer_fires_once(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "timer", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    run_stop(&run);
    run_start(&run, place, 1);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_timer, 1);
    seen_free(&seen);
    run_stop(&run);
}

/* One whose subject is parked waits until the subject is not. */
static void test_timer_of_parked_subject(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "poison", "h");
    await_number(place, "SELECT count(*) FROM decider.parked", 1);
    run_stop(&run);
    char key[40];
    BUF_AUTO sql = {0};
    key_of(1, key);
    buf_printf(&sql, "INSERT INTO decider.timer VALUES ('toy-first', %d, '%s', 'ring', 1)",
               log_partition_of(str_from(key), PARTITIONS), key);
    execute(place, sql.ptr);
    run_start(&run, place, 1);
    await_number(place, "SELECT count(*) FROM decider.timer WHERE due_us > 1", 1);
    execute(place, "UPDATE decider.parked SET status = 'drop'");
    await_number(place, "SELECT count(*) FROM decider.parked", 0);
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.timer"), 0);
    run_stop(&run);
}

static void put_timer(const struct place *place, int order, const char *name) {
    char key[40];
    BUF_AUTO sql = {0};
    key_of(order, key);
    buf_printf(&sql, "INSERT INTO decider.timer VALUES ('toy-first', %d, '%s', '%s', 1)",
               log_partition_of(str_from(key), PARTITIONS), key, name);
    execute(place, sql.ptr);
}

/* What any decider has committed before a timer came due, and its owner has not published yet, is waited for; what came
 * after is not. */
static void test_timer_waits_for_the_outbox(void **state) {
    struct place *place = *state;
    struct run run;
    execute(place, "INSERT INTO decider.shard (service, shard, epoch, owner, version, done_through) "
                   "VALUES ('elsewhere', 0, 1, 'another', 2, 0);"
                   "INSERT INTO decider.outbox (service, shard, id, records, bytes, created_at) "
                   "VALUES ('elsewhere', 0, 1, 1, '\\x00', now()), "
                   "('elsewhere', 0, 2, 1, '\\x00', now() + interval '1 hour')");
    put_timer(place, 1, "ring");
    run_start(&run, place, 1);
    for (int i = 0; i < 20; i++) { /* turns of the loop, in which it could fire */
        append_numbered(&run, i);
        await(run.log, TOPIC_ORDER_REQUESTS, i + 1);
    }
    assert_int_equal(number(place, "SELECT count(*) FROM decider.timer"), 1);
    execute(place, "UPDATE decider.shard SET done_through = 1 WHERE service = 'elsewhere'");
    await(run.log, TOPIC_ORDER_REQUESTS, 21);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_timer, 1);
    assert_int_equal(seen.after_timer, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* One that fails each time is looked for and put off; others, also of its shard and its subject, fire. */
static void test_timer_that_fails_is_put_off(void **state) {
    struct place *place = *state;
    struct run run;
    put_timer(place, 1, "broken");
    put_timer(place, 1, "ring");
    for (int i = 2; i < 10; i++)
        put_timer(place, i, i % 4 ? "ring" : "broken");
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 8);
    await_number(place, "SELECT count(*) FROM decider.timer WHERE name = 'broken' AND due_us > 1", 3);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 9);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_timer, 7);
    seen_free(&seen);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.timer WHERE name = 'ring'"), 0);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 0);
    run_stop(&run);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_timer_waits_for_the_log),    PLACED(test_timer_fires_once),
        PLACED(test_timer_of_parked_subject),    PLACED(test_timer_that_fails_is_put_off),
        PLACED(test_timer_waits_for_the_outbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
