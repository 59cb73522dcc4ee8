/* What the decider loop does about what it cannot do: records that nobody can handle are set aside and stand in
 * nobody's way, faults of the infrastructure set nothing aside, and what the log cannot give is said. */
#include <sqlite3.h>

#include "tests/chaos/toys.h"

static const char parked[] = "SELECT count(*) FROM decider.parked";

static int32_t shard_of(int order) {
    char key[40];
    key_of(order, key);
    return log_partition_of(str_from(key), PARTITIONS);
}

static int order_elsewhere(int order) {
    int other = order + 1;
    while (shard_of(other) == shard_of(order))
        other++;
    return other;
}

/* A timer that is due at once. */
static void set_timer(const struct place *place, int order) {
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO decider.timer VALUES ('toy-first', %d, '00000000-0000-4000-8000-%012d', 'ring', 1)",
             shard_of(order), order);
    execute(place, sql);
}

/* What else is due must not make the search for the record that the database refuses begin anew each time. */
static void test_refused_record_among_timers(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 0);
    append_input(&run, 1, ((struct str){"z\0z", 3}), "shopper", "h");
    run_stop(&run);
    set_timer(place, order_elsewhere(1));
    run_start(&run, place, 1);
    await_number(place, parked, 1);
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    run_stop(&run);
}

/* ---- bad records ---- */

struct bad {
    const char *what;
    struct str subject;
    struct str origin; /* without a number */
    size_t body_size;
    const char *actor;
};

static void append_bad(struct run *run, int order, const struct bad *bad) {
    BUF_AUTO value = {0};
    char *body = mem_alloc(bad->body_size + 1);
    memset(body, 'h', bad->body_size);
    encode_pick(order, bad->actor, (struct str){body, bad->body_size}, &value);
    struct log_header headers[] = {{STR(HEADER_ID), str_from(bad->what)},
                                   {STR(HEADER_TYPE), message_name(MESSAGE_FULFILMENT_RECORD_PICK)},
                                   {STR(HEADER_SUBJECT), bad->subject},
                                   {STR(HEADER_ORIGIN), bad->origin}};
    append_record(run, order, buf_str(&value), headers, bad->origin.ptr ? 4 : 3);
    free(body);
}

/* Each is parked and published to the dead letters, and later records of other subjects go on, in the same shard. */
static void test_bad_records_are_parked(void **state) {
    static char long_text[8 << 10];
    memset(long_text, 'x', sizeof(long_text));
    const struct bad bads[] = {
        {"a subject that is no UTF-8", {"\xff\xfe", 2}, STR_NULL, 1, "shopper"},
        {"a subject with a zero byte", {"a\0b", 3}, STR_NULL, 1, "shopper"},
        {"a subject longer than an index takes", {long_text, sizeof(long_text)}, STR_NULL, 1, "shopper"},
        {"an origin without a number", STR("s"), STR("toy/0"), 1, "shopper"},
        {"as large as the log takes", STR("t"), STR_NULL, LOG_RECORD_MAX - 300, "poison"},
        {"what comes of it is larger than the log takes", STR("u"), STR_NULL, LOG_RECORD_MAX - 300, "shopper"},
        {"a row that was not wanted", STR("v"), STR_NULL, 1, "unwanted"},
    };
    const int64_t count = sizeof(bads) / sizeof(bads[0]);
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    for (int64_t i = 0; i < count; i++) {
        append_bad(&run, 1, &bads[i]);
        await_number(place, parked, i + 1);
    }
    append_input(&run, 1, STR("good"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    await(run.log, TOPIC_FULFILMENT_REQUESTS TOPIC_DEAD_LETTER_SUFFIX, count);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE behind"), 0);
    run_stop(&run);

    run_start(&run, place, 2); /* the same subjects after a restart, and all can be marked */
    append_bad(&run, 1, &(struct bad){"again", {"\xff\xfe", 2}, STR_NULL, 1, "shopper"});
    await_number(place, "SELECT count(*) FROM decider.parked WHERE behind", 1);
    execute(place, "UPDATE decider.parked SET status = 'retry' WHERE NOT behind");
    await_number(place, "SELECT count(*) FROM decider.parked WHERE status = 'retry'", 0);
    assert_int_equal(number(place, parked), count + 1);
    execute(place, "UPDATE decider.parked SET status = 'drop'");
    await_number(place, parked, 0);
    run_stop(&run);
}

/* ---- faults of the database ---- */

static void await_status(struct loop *loop, const char *wanted, struct buf *ret) {
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    while (!ret->len || !strstr(ret->ptr, wanted)) {
        buf_reset(ret);
        if (clock_monotonic_us() > deadline_us)
            fail_msg("the loop never said \"%s\"", wanted);
        loop_ready(loop, ret);
        clock_sleep_ms(5);
    }
}

static void make_fault(const struct place *place, const char *what) {
    BUF_AUTO sql = {0};
    buf_printf(&sql,
               "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s END $$;"
               "CREATE TRIGGER fault BEFORE INSERT ON decider.outbox FOR EACH ROW WHEN (NEW.service = 'toy-first') "
               "EXECUTE FUNCTION fault()",
               what);
    execute(place, sql.ptr);
}

static void mend_fault(const struct place *place) {
    execute(place, "DROP FUNCTION fault() CASCADE");
}

static void await_epoch(const struct place *place, int order, int64_t at_least) {
    BUF_AUTO sql = {0};
    buf_printf(&sql, "SELECT (epoch >= %lld)::int FROM decider.shard WHERE service = 'toy-first' AND shard = %d",
               (long long)at_least, shard_of(order));
    await_number(place, sql.ptr, 1);
}

/* A statement that took too long, a full disk, a table that is away: tried again until it goes well, a little later
 * each time, and held against no record. */
static void test_infrastructure_parks_nothing(void **state) {
    static const char *const states[] = {"57014", "53100", "42P01", "40P01", "XX000"};
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("first"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    for (int i = 0; i < 5; i++) {
        BUF_AUTO raise = {0};
        BUF_AUTO id = {0};
        buf_printf(&raise, "RAISE EXCEPTION USING ERRCODE = '%s';", states[i]);
        buf_printf(&id, "input-%d", i);
        make_fault(place, raise.ptr);
        int64_t epoch = number(place, "SELECT max(epoch) FROM decider.shard"), began_us = clock_monotonic_us();
        append_input(&run, 1, buf_str(&id), "shopper", "h");
        await_epoch(place, 1, epoch + 4);
        assert_true(clock_monotonic_us() - began_us > 300000); /* 0, 100 and 200 ms, and some more */
        mend_fault(place);
        await(run.log, TOPIC_ORDER_EVENTS, i + 2);
        assert_int_equal(number(place, parked), 0);
    }
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.wrong_versions, 0);
    assert_int_equal(seen.gaps, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* An update that hits no row must not be taken for one that did: the row comes back from the outbox. */
static void test_row_that_is_gone(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await_number(place, "SELECT count(*) FROM decider.toy_first", 1);
    execute(place, "DELETE FROM decider.toy_first");
    append_input(&run, 1, STR("b"), "shopper", "h");
    await_epoch(place, 1, 2);
    append_input(&run, 1, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    await_number(place, "SELECT max(guard) FROM decider.toy_first", 3);
    run_stop(&run);
}

/* A table that takes nothing for a while: nothing that was committed is lost. */
static void test_table_that_refuses(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    execute(place, "ALTER TABLE decider.toy_first ADD CONSTRAINT fault CHECK (guard < 2)");
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    BUF_AUTO why = {0};
    await_status(run.loops[0], "being taken over", &why);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.toy_first WHERE guard = 2"), 0);
    execute(place, "ALTER TABLE decider.toy_first DROP CONSTRAINT fault");
    append_input(&run, 1, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    await_number(place, "SELECT max(guard) FROM decider.toy_first", 3);
    assert_int_equal(number(place, parked), 0);
    run_stop(&run);
}

/* A row that cannot be read: its shard halts and says which, and what it had decided is published; others go on. Once
 * the row is mended, the next start goes on. */
static void test_row_that_is_damaged(void **state) {
    struct place *place = *state;
    struct run run;
    BUF_AUTO why = {0};
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await_number(place, "SELECT count(*) FROM decider.toy_first", 1);
    run_stop(&run);
    execute(place, "CREATE TABLE kept AS TABLE decider.toy_first; UPDATE decider.toy_first SET state = '\\x80'");
    run_start(&run, place, 2);
    append_input(&run, 1, STR("b"), "shopper", "h");
    append_input(&run, order_elsewhere(1), STR("c"), "shopper", "h");
    await_status(run.loops[0], "halted", &why);
    assert_non_null(strstr(why.ptr, "decider.toy_first row 00000000-0000-4000-8000-000000000001"));
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    assert_int_equal(number(place, parked), 0);
    int64_t epoch = number(place, "SELECT max(epoch) FROM decider.shard");
    append_input(&run, order_elsewhere(1), STR("d"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    assert_int_equal(number(place, "SELECT max(epoch) FROM decider.shard"), epoch); /* it stands still */
    run_stop(&run);
    execute(place, "UPDATE decider.toy_first t SET state = k.state FROM kept k WHERE k.key = t.key");
    run_start(&run, place, 2);
    await(run.log, TOPIC_ORDER_EVENTS, 4);
    run_stop(&run);
}

/* An outbox row that cannot be read, as a newer version's: its shard halts and says which; others go on. */
static void test_outbox_row_that_is_unreadable(void **state) {
    struct place *place = *state;
    struct run run;
    BUF_AUTO why = {0};
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    run_stop(&run);
    execute(place, "CREATE TABLE kept AS TABLE decider.outbox;"
                   "UPDATE decider.outbox SET bytes = '\\x0280' WHERE service = 'toy-first';"
                   "UPDATE decider.shard SET done_through = 0");
    run_start(&run, place, 2);
    await_status(run.loops[0], "halted", &why);
    assert_non_null(strstr(why.ptr, "decider.outbox row 1, of a newer version or damaged"));
    append_input(&run, order_elsewhere(1), STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    run_stop(&run);
    execute(place, "UPDATE decider.outbox o SET bytes = k.bytes FROM kept k "
                   "WHERE (k.service, k.shard, k.id) = (o.service, o.shard, o.id)");
    run_start(&run, place, 2);
    append_input(&run, 1, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    run_stop(&run);
}

/* ---- housekeeping ---- */

static void test_old_rows_are_deleted(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    for (int i = 0; i < 5; i++) {
        append_input(&run, 1, str_from((const char *[]){"a", "b", "c", "d", "e"}[i]), "shopper", "h");
        await(run.log, TOPIC_ORDER_REQUESTS, i + 1);
    }
    run_stop(&run); /* all is acknowledged, and the table knows */
    assert_int_equal(number(place, "SELECT count(*) FROM decider.outbox"), 5);
    execute(place, "UPDATE decider.outbox SET created_at = now() - interval '2 days' WHERE id <= 4;"
                   "UPDATE decider.shard SET done_through = least(done_through, 3);"
                   "UPDATE decider.command SET at = now() - interval '31 days' WHERE command_id IN ('a', 'b')");
    run_start(&run, place, 1);
    await_number(place, "SELECT count(*) FROM decider.outbox", 2); /* one not known to be done, one of today */
    await_number(place, "SELECT count(*) FROM decider.command", 3);
    run_stop(&run);
}

/* ---- faults of the log ---- */

static void sql_log(const struct place *place, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(place->log_url + strlen("sqlite://"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* The shard that stands before a damaged record says so; the others go on. */
static void test_damaged_log_halts_its_shard(void **state) {
    struct place *place = *state;
    struct run run;
    BUF_AUTO why = {0};
    run_start(&run, place, 0);
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, STR("b"), "shopper", "h");
    run_stop(&run);
    sql_log(place, "UPDATE journal SET bytes = substr(bytes, 1, length(bytes) - 1) || x'ff' "
                   "WHERE id = (SELECT max(id) FROM journal)");
    run_start(&run, place, 2);
    await_status(run.loops[0], "halted", &why);
    assert_non_null(strstr(why.ptr, "offset 1"));
    append_input(&run, order_elsewhere(1), STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    assert_int_equal(number(place, parked), 0);
    run_stop(&run);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_refused_record_among_timers),
        PLACED(test_bad_records_are_parked),
        PLACED(test_infrastructure_parks_nothing),
        PLACED(test_row_that_is_gone),
        PLACED(test_table_that_refuses),
        PLACED(test_old_rows_are_deleted),
        PLACED(test_damaged_log_halts_its_shard),
        PLACED(test_row_that_is_damaged),
        PLACED(test_outbox_row_that_is_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
