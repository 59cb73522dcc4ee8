/* orderlog dlq beside running deciders: what they parked is listed, shown, tried again and dropped, and what was behind
 * it is applied. */
#include <pty.h>
#include <sys/wait.h>

#include "tests/cli/dlq_command.h"

static const char parked[] = "SELECT count(*) FROM decider.parked";

static int64_t first_id(const struct place *place) {
    return number(place, "SELECT min(id) FROM decider.parked");
}

/* ---- a poison record and two behind it ---- */

static void park_three(struct run *run, const struct place *place) {
    append_input(run, 1, STR("a"), "shopper", "h");
    append_input(run, 1, STR("b"), "poison", "h");
    append_input(run, 1, STR("c"), "shopper", "h");
    append_input(run, 1, STR("d"), "shopper", "h");
    await_number(place, parked, 3);
    await(run->log, TOPIC_ORDER_EVENTS, 1);
}

static void check_list(const struct place *place, const char *subject) {
    json_t *list = dlq_json(place, "list"), *rows = json_object_get(list, "parked");
    assert_int_equal(number_of(list, "total"), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(rows, i);
        assert_string_equal(text_of(row, "service"), "toy-first");
        assert_string_equal(text_of(row, "subject"), subject);
        assert_string_equal(text_of(row, "topic"), TOPIC_FULFILMENT_REQUESTS);
        assert_string_equal(text_of(row, "status"), "parked");
        assert_int_equal(number_of(row, "offset"), i + 1);
        assert_int_equal(number_of(row, "partition"), number_of(row, "shard"));
        assert_int_equal(json_is_true(json_object_get(row, "behind")), i > 0);
    }
    assert_string_equal(text_of(json_array_get(rows, 0), "reason"), "it says poison");
    json_decref(list);
}

static void check_show(const struct place *place, int64_t id, const char *subject) {
    json_t *shown = dlq_json(place, with_id("show", id, ""));
    assert_int_equal(number_of(shown, "id"), id);
    assert_int_equal(number_of(shown, "behind_it"), 2);
    assert_true(json_is_null(json_object_get(shown, "in_front")));
    assert_string_equal(text_of(shown, "key"), subject);
    assert_string_equal(text_of(json_object_get(shown, "headers"), HEADER_ID), "b");
    assert_string_equal(text_of(json_object_get(shown, "event"), "actor"), "poison");
    assert_null(json_object_get(shown, "error"));
    json_decref(shown);
    shown = dlq_json(place, with_id("show", id + 1, ""));
    assert_int_equal(number_of(shown, "in_front"), id);
    assert_int_equal(number_of(shown, "behind_it"), 1);
    json_decref(shown);
    expect(place, with_id("show", id, "--output table"), 0, "it says poison");
    expect(place, with_id("show", id + 3, ""), 1, "no parked record");
}

static void test_story(void **state) {
    struct place *place = *state;
    struct run run;
    char key[40], drop[128];
    key_of(1, key);
    run_start(&run, place, 2);
    expect_total(place, "list", 0);
    park_three(&run, place);
    int64_t id = first_id(place);
    check_list(place, key);
    expect_total(place, "list --service toy-first", 3);
    expect_total(place, "list --service toy-second", 0);
    expect_total(place, "list --subject nobody", 0);
    expect(place, "list --service toy-frist", 2, "there is no service 'toy-frist' here: toy-first, toy-second, view-");
    expect(place, "retry --subject nobody --service toy-frist", 2, "there is no service 'toy-frist'");
    expect(place, "list --output table", 0, "total parked: 3");
    check_show(place, id, key);

    expect(place, with_id("retry", id + 1, ""), 1, "is behind record");
    expect(place, with_id("drop", id + 2, "--yes"), 1, "is behind record");
    expect(place, with_id("retry", id, "--wait 60"), 1, "was parked again: it says poison");
    check_list(place, key);
    expect(place, with_id("drop", id, ""), 2, "--yes");
    check_list(place, key);

    snprintf(drop, sizeof(drop), "drop --subject %s --yes --wait 60", key);
    expect(place, drop, 0, "was dropped");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    await_number(place, parked, 0);
    expect_total(place, "list", 0);
    expect(place, with_id("retry", id, ""), 1, "no parked record");
    expect(place, drop, 1, "no record of subject");
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.records, 3);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* Two that cannot be decided, each with one behind it: the first is dropped, and it goes on to the second. */
static void test_several_of_a_subject(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "poison", "h");
    append_input(&run, 1, STR("b"), "shopper", "h");
    append_input(&run, 1, STR("c"), "poison", "h");
    append_input(&run, 1, STR("d"), "shopper", "h");
    await_number(place, parked, 4);
    int64_t id = first_id(place);
    expect(place, with_id("retry", id, "--wait 60"), 1, "was parked again: it says poison");
    await_number(place, parked, 4);
    expect(place, with_id("drop", id, "--yes --wait 60"), 1,
           "cannot be decided, and 1 are behind that: it says poison");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    json_t *list = dlq_json(place, "list"), *rows = json_object_get(list, "parked");
    assert_int_equal(number_of(list, "total"), 2);
    assert_int_equal(number_of(json_array_get(rows, 0), "id"), id + 2);
    assert_false(json_is_true(json_object_get(json_array_get(rows, 0), "behind")));
    assert_string_equal(text_of(json_array_get(rows, 0), "reason"), "it says poison");
    assert_true(json_is_true(json_object_get(json_array_get(rows, 1), "behind")));
    json_decref(list);
    expect(place, with_id("retry", id + 3, ""), 1, "is behind record");
    expect(place, with_id("retry", id + 2, "--wait 60"), 1, "was parked again: it says poison");
    expect(place, with_id("drop", id + 2, "--yes --wait 60"), 0, "The 1 behind it were decided.");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, parked, 0);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.records, 2);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* What was to blame is mended: the retry goes well, and what was behind goes after it. */
static void test_retry_goes_well(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    execute(place, "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                   " RAISE EXCEPTION USING ERRCODE = '22000'; END $$;"
                   "CREATE TRIGGER fault BEFORE INSERT ON decider.outbox FOR EACH ROW"
                   " WHEN (NEW.service = 'toy-first' AND NEW.changes IS NOT NULL) EXECUTE FUNCTION fault()");
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, STR("b"), "shopper", "h");
    await_number(place, parked, 2);
    int64_t id = first_id(place);
    expect(place, with_id("retry", id, "--wait 60"), 1, "was parked again");
    execute(place, "DROP FUNCTION fault() CASCADE");
    expect(place, with_id("retry", id, "--wait 60"), 0, "was applied");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, parked, 0);
    run_stop(&run);
}

/* Marks are only marks: without an owner nothing happens, and the last one counts when there is one again. */
static void test_nobody_owns_it(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    park_three(&run, place);
    run_stop(&run);
    int64_t id = first_id(place);
    expect(place, with_id("retry", id, "--wait 0"), 1, "still marked");
    expect(place, with_id("drop", id, "--yes --wait 0"), 1, "still marked");
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE status = 'drop'"), 1);
    run_start(&run, place, 2);
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    await_number(place, parked, 0);
    run_stop(&run);
}

/* ---- what it cannot decode, and what it must not mix up ---- */

static void test_undecodable(void **state) {
    struct place *place = *state;
    struct run run;
    struct log_header headers[] = {{STR(HEADER_ID), STR("x")},
                                   {STR(HEADER_TYPE), message_name(MESSAGE_FULFILMENT_RECORD_PICK)},
                                   {STR(HEADER_SUBJECT), STR("red\033[31m")}};
    run_start(&run, place, 1);
    append_record(&run, 1, STR("nonsense"), headers, 3);
    await_number(place, parked, 1);
    int64_t id = first_id(place);
    json_t *shown = dlq_json(place, with_id("show", id, ""));
    assert_true(json_is_null(json_object_get(shown, "event")));
    assert_string_not_equal(text_of(shown, "error"), "(null)");
    assert_string_equal(text_of(shown, "value_hex"), "6e6f6e73656e7365");
    json_decref(shown);
    expect(place, with_id("show", id, "--output table"), 0, "6e6f6e73656e7365");
    expect(place, "list --output table", 0, "red?[31m");
    execute(place, "UPDATE decider.parked SET record = 'x'");
    expect(place, with_id("show", id, "--output json"), 0, "\"value_hex\":\"78\"");
    run_stop(&run);
}

static void test_same_subject_elsewhere(void **state) {
    struct place *place = *state;
    execute(place,
            "INSERT INTO decider.parked (service, shard, topic, partition, \"offset\", subject, reason, behind,"
            " record) VALUES ('inventory', 0, 't', 0, 1, 'tea', 'r', false, ''),"
            " ('inventory', 1, 't', 1, 1, 'tea', 'r', false, ''), ('orders', 0, 't', 0, 1, 'tea', 'r', false, ''),"
            " ('orders', 0, 't', 0, 2, 'tea', 'r', true, '')");
    expect(place, "retry --subject tea", 1, "parked in 3 shards");
    expect(place, "retry --subject tea --service inventory", 1, "parked in 2 shards");
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE status <> 'parked'"), 0);
    expect(place, "retry --subject tea --service orders", 0,
           "decides it again, then decides the 1 behind it; if it fails");
    assert_int_equal(number(place, "SELECT id FROM decider.parked WHERE status = 'retry'"), 3);
    expect(place, "retry 2", 0, "inventory, shard 1, is marked");
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE status = 'retry'"), 2);
}

/* The owner may have read the earlier mark before this one came: then it is not known which of them it did. */
static void test_mark_comes_late(void **state) {
    struct place *place = *state;
    execute(place, "INSERT INTO decider.parked (service, shard, topic, partition, \"offset\", subject, reason, behind,"
                   " record, status) VALUES ('orders', 0, 't', 0, 1, 'a', 'r', false, '', 'retry'),"
                   " ('orders', 0, 't', 0, 2, 'b', 'r', false, '', 'retry'),"
                   " ('orders', 0, 't', 0, 3, 'c', 'r', true, '', 'parked'),"
                   " ('orders', 0, 't', 0, 4, 'd', 'r', true, '', 'parked');"
                   "CREATE FUNCTION done() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                   " DELETE FROM decider.parked WHERE id = NEW.id; RETURN NULL; END $$;"
                   "CREATE TRIGGER done AFTER UPDATE ON decider.parked FOR EACH ROW EXECUTE FUNCTION done()");
    expect(place, "drop 1 --yes --wait 60", 1, "may have been applied or dropped");
    expect(place, "retry 2 --wait 60", 0, "was applied");
    expect(place, "drop 3 --yes --wait 60", 1, "may have been applied or dropped");
    expect(place, "retry 4 --wait 60", 0, "was applied");
}

/* ---- asking ---- */

/* On a terminal; what it says must hold the words. */
static void answer(const struct place *place, const char *what, int status, const char *words) {
    int terminal, ended;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0) {
        execl(getenv("ORDERLOG_BIN"), "orderlog", "dlq", "drop", "1", "--database", place->database_url, (char *)NULL);
        _exit(127);
    }
    BUF_AUTO text = {0};
    char piece[512];
    assert_int_equal(write(terminal, what, strlen(what)), strlen(what));
    for (ssize_t len; (len = read(terminal, piece, sizeof(piece))) > 0;) /* EIO: it ended */
        buf_add(&text, piece, (size_t)len);
    assert_int_equal(waitpid(child, &ended, 0), child);
    close(terminal);
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status || !strstr(text.ptr, words))
        fail_msg("answered %s: status %d, says %s", what, ended, text.ptr);
}

static void test_asks_before_it_drops(void **state) {
    struct place *place = *state;
    execute(place, "INSERT INTO decider.parked (service, shard, topic, partition, \"offset\", subject, reason, behind,"
                   " record) VALUES ('orders', 0, 't', 0, 1, 'tea', 'r', false, '')");
    answer(place, "n\n", 1, "nothing was dropped");
    answer(place, "\n", 1, "nothing was dropped");
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE status = 'drop'"), 0);
    answer(place, "y\n", 0, "is marked");
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE status = 'drop'"), 1);
}

static void test_usage(void **state) {
    static const char *const wrong[] = {"",
                                        "mend",
                                        "show",
                                        "show x",
                                        "show 0",
                                        "show 1 2",
                                        "show --subject s",
                                        "retry",
                                        "retry --service s",
                                        "retry 1 --subject s",
                                        "retry 1 --service s",
                                        "retry 1 --yes",
                                        "retry 1 --wait x",
                                        "drop --yes",
                                        "drop 1 --output json",
                                        "list 1",
                                        "list --wait 1",
                                        "list --output xml"};
    struct place *place = *state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct said said = dlq(place, wrong[i]);
        if (said.status != 2 || said.text.len)
            fail_msg("dlq %s: status %d, says %s", wrong[i], said.status, said.text.ptr ? said.text.ptr : "nothing");
        buf_free(&said.text);
    }
    expect(place, "--database postgresql:///nowhere?host=/nonexistent list", 2, "orderlog dlq: ");
    execute(place, "DROP TABLE decider.parked");
    expect(place, "list", 2, "decider.parked");
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_story),           PLACED(test_several_of_a_subject), PLACED(test_retry_goes_well),
        PLACED(test_nobody_owns_it),  PLACED(test_undecodable),          PLACED(test_same_subject_elsewhere),
        PLACED(test_mark_comes_late), PLACED(test_asks_before_it_drops), PLACED(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
