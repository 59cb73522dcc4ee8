/* A shard does not go on when the log is not the one that it was: another one, one that lost its tail or a record, or
 * with a topic made anew. It halts, says why, and decides nothing. */
#include <sqlite3.h>

#include "tests/chaos/toys.h"

static void await_halt(struct loop *loop, const char *why) {
    BUF_AUTO said = {0};
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    while (!said.len || !strstr(said.ptr, "halted") || !strstr(said.ptr, why)) {
        if (clock_monotonic_us() > deadline_us)
            fail_msg("the loop said \"%s\", never \"%s\"", said.len ? said.ptr : "", why);
        buf_reset(&said);
        loop_ready(loop, &said);
        clock_sleep_ms(5);
    }
}

static void append_from(struct run *run, const char *origin, const char *seq) {
    char key[40];
    BUF_AUTO value = {0};
    key_of(1, key);
    encode_pick(1, "shopper", STR("h"), &value);
    struct log_header headers[] = {{STR(HEADER_ID), str_from(seq)},
                                   {STR(HEADER_TYPE), message_name(MESSAGE_FULFILMENT_RECORD_PICK)},
                                   {STR(HEADER_SUBJECT), str_from(key)},
                                   {STR(HEADER_ORIGIN), str_from(origin)},
                                   {STR(HEADER_ORIGIN_SEQ), str_from(seq)}};
    append_record(run, 1, buf_str(&value), headers, 5);
}

/* Each origin counts for itself; a number again is dropped; one left out stops the shard before it. */
static void test_missing_number(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_from(&run, "toy/1", "1");
    append_from(&run, "toy/2", "1");
    append_from(&run, "toy/1", "1");
    append_from(&run, "toy/1", "2");
    append_from(&run, "toy/2", "3");
    append_from(&run, "toy/1", "3");
    await_halt(run.loops[0], "numbers 2 to 2 are missing");
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    run_stop(&run);
    run_start(&run, place, 1); /* and stays there */
    await_halt(run.loops[0], "numbers 2 to 2 are missing");
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.records, 3);
    seen_free(&seen);
    run_stop(&run);
}

/* The first of a new origin is its number 1. */
static void test_first_number_missing(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_from(&run, "toy/1", "2");
    await_halt(run.loops[0], "numbers 1 to 1 are missing");
    run_stop(&run);
}

static void shell(const char *format, const struct place *place) {
    BUF_AUTO command = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the literals of this file */
    buf_printf(&command, format, place->folder, place->folder);
#pragma GCC diagnostic pop
    assert_int_equal(system(command.ptr), 0);
}

/* Decides something, twice, so that the table knows that the first was acknowledged. */
static void decide_some(const struct place *place) {
    struct run run;
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    run_stop(&run);
}

static void halts_for(const struct place *place, const char *why) {
    struct run run;
    run_start(&run, place, 1);
    await_halt(run.loops[0], why);
    append_input(&run, 1, STR("c"), "shopper", "h");
    run_stop(&run);
    assert_int_equal(number(place, "SELECT max(guard) FROM decider.toy_first"), 2);
}

static void test_another_log(void **state) {
    const struct place *place = *state;
    decide_some(place);
    shell("rm -f %s/log.db*", place);
    halts_for(place, "but this is log");
}

static void test_log_that_lost_its_tail(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 0);
    run_stop(&run);
    shell("cp %s/log.db %s/kept.db", place);
    decide_some(place);
    shell("cd %s && rm -f log.db* && cp %s/kept.db log.db", place);
    halts_for(place, "was acknowledged");
}

static void test_topic_made_anew(void **state) {
    struct place *place = *state;
    sqlite3 *db;
    decide_some(place);
    assert_int_equal(sqlite3_open(place->log_url + strlen("sqlite://"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE topic SET uuid = 'another' WHERE name = '" TOPIC_FULFILMENT_REQUESTS "'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    halts_for(place, "was made anew");
}

static void back_up(const struct place *place) {
    execute(place, "CREATE SCHEMA backup; CREATE TABLE backup.shard AS TABLE decider.shard;"
                   "CREATE TABLE backup.outbox AS TABLE decider.outbox;"
                   "CREATE TABLE backup.toy_first AS TABLE decider.toy_first");
}

static void put_back(const struct place *place) {
    execute(place, "DELETE FROM decider.shard; INSERT INTO decider.shard TABLE backup.shard;"
                   "DELETE FROM decider.outbox; INSERT INTO decider.outbox TABLE backup.outbox;"
                   "DELETE FROM decider.toy_first; INSERT INTO decider.toy_first TABLE backup.toy_first;"
                   "DELETE FROM decider.command");
}

/* PostgreSQL was restored alone: what was decided since the backup would be decided again under the same numbers, and
 * dropped by its readers. */
static void test_database_of_an_earlier_time(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    run_stop(&run);
    back_up(place);
    run_start(&run, place, 1);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    run_stop(&run);
    put_back(place);
    run_start(&run, place, 1);
    await_halt(run.loops[0], "PostgreSQL is of an earlier time");
    append_input(&run, 1, STR("c"), "shopper", "h");
    run_stop(&run);
    assert_int_equal(number(place, "SELECT max(guard) FROM decider.toy_first"), 1);
}

static int32_t shard_of(int order) {
    char key[40];
    key_of(order, key);
    return log_partition_of(str_from(key), PARTITIONS);
}

/* The backup is of a time when the shard had read, and said nothing yet. */
static void test_database_of_before_the_first_output(void **state) {
    struct place *place = *state;
    struct run run;
    int other = 2;
    while (shard_of(other) != shard_of(1))
        other++;
    run_start(&run, place, 1);
    append_input(&run, other, STR("a"), "poison", "h");
    await_number(place, "SELECT count(*) FROM decider.parked", 1);
    run_stop(&run);
    back_up(place);
    run_start(&run, place, 1);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    run_stop(&run);
    put_back(place);
    run_start(&run, place, 1);
    await_halt(run.loops[0], "PostgreSQL is of an earlier time");
    run_stop(&run);
}

static void test_empty_database(void **state) {
    struct place *place = *state;
    struct run run;
    decide_some(place);
    execute(place, "TRUNCATE decider.shard, decider.outbox, decider.toy_first, decider.command");
    run_start(&run, place, 1);
    await_halt(run.loops[0], "PostgreSQL is of an earlier time");
    append_input(&run, 1, STR("c"), "shopper", "h");
    run_stop(&run);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.toy_first"), 0);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_missing_number),
        PLACED(test_first_number_missing),
        PLACED(test_another_log),
        PLACED(test_topic_made_anew),
        PLACED(test_log_that_lost_its_tail),
        PLACED(test_database_of_an_earlier_time),
        PLACED(test_empty_database),
        PLACED(test_database_of_before_the_first_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
