/* Calls to the outside: the intent is committed first, the call is made until there is an outcome, each time with the
 * same key, and the outcome is decided once, wherever the process dies. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/chaos/toys.h"

enum dies { DIES_BEFORE_THE_CALL, DIES_AFTER_THE_CALL, DIES_NEVER };

struct outside {
    char calls[96]; /* a file with the keys of the calls made, one a line */
    enum dies dies;
    int unknown_first; /* so many calls have no outcome yet */
    int missing_first; /* so many answers cannot be decided */
    const char *code;  /* of each answer */
    atomic_int made;
    atomic_int looked;         /* of these, too late for the call itself */
    atomic_bool first_may_end; /* with `first_waits`: the first call hangs until then */
    bool first_waits;
};

static void outside_call(void *user, const struct message *request, struct str traceparent, struct arena *arena,
                         struct message *answer) {
    (void)traceparent;
    struct outside *outside = user;
    const struct intent_call_provider *call = &request->intent_call_provider;
    if (outside->dies == DIES_BEFORE_THE_CALL)
        kill(getpid(), SIGKILL);
    struct str line = arena_printf(arena, "%.*s\n", STR_ARG(call->idempotency_key));
    int file = open(outside->calls, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(write(file, line.ptr, line.len), line.len);
    close(file);
    if (outside->dies == DIES_AFTER_THE_CALL)
        kill(getpid(), SIGKILL);
    int nth = atomic_fetch_add(&outside->made, 1);
    while (nth == 0 && outside->first_waits && !atomic_load(&outside->first_may_end))
        clock_sleep_ms(1);
    if (call->look_up)
        atomic_fetch_add(&outside->looked, 1);
    bool known = nth >= outside->unknown_first;
    answer->type = MESSAGE_INTENT_PROVIDER_ANSWERED;
    answer->intent_provider_answered =
        (struct intent_provider_answered){.order_id = call->order_id,
                                          .payment_id = call->payment_id,
                                          .amount = call->amount,
                                          .outcome = !known                         ? INTENT_PROVIDER_OUTCOME_UNKNOWN
                                                     : nth < outside->missing_first ? INTENT_PROVIDER_OUTCOME_MISSING
                                                                                    : INTENT_PROVIDER_OUTCOME_SUCCEEDED,
                                          .code = outside->code ? str_from(outside->code)
                                                  : known       ? STR("")
                                                                : STR("no\nanswer"),
                                          .provider = STR("toy"),
                                          .provider_ref = STR("")};
}

static void outside_init(struct outside *outside, const struct place *place, enum dies dies) {
    *outside = (struct outside){.dies = dies};
    snprintf(outside->calls, sizeof(outside->calls), "%s/calls", place->folder);
}

/* How many calls were made; fails unless all had one key. */
static int count_calls(const struct outside *outside) {
    char key[80] = "", line[80];
    int count = 0;
    FILE *file = fopen(outside->calls, "re");
    assert_non_null(file);
    for (; fgets(line, sizeof(line), file); count++) {
        if (!count)
            memcpy(key, line, sizeof(line));
        assert_string_equal(line, key);
    }
    fclose(file);
    return count;
}

/* The loop in a process of its own, which its call kills. */
static void run_and_die(const struct place *place, enum dies dies, bool append) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct run run;
        struct outside outside;
        outside_init(&outside, place, dies);
        run_start_calling(&run, place, 1, outside_call, &outside);
        if (append)
            append_input(&run, 1, STR("a"), "call", "h");
        for (;;)
            pause();
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.outbox WHERE changes IS NOT NULL"), 1);
}

static void test_killed_around_the_call(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    run_and_die(place, DIES_BEFORE_THE_CALL, true);
    run_and_die(place, DIES_AFTER_THE_CALL, false);
    outside_init(&outside, place, DIES_NEVER);
    run_start_calling(&run, place, 1, outside_call, &outside);
    await(run.log, TOPIC_ORDER_REQUESTS, 2); /* of the input, and of the answer */
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    append_input(&run, 1, STR("b"), "shopper", "h"); /* and nothing more comes of it */
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_called, 1);
    assert_int_equal(seen.gaps, 0);
    seen_free(&seen);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 2);
}

static void *stop_run(void *run) {
    run_stop(run);
    return NULL;
}

/* A loop that is told to stop during a call waits for its answer, so that the next need not call again. */
static void test_stopped_during_the_call(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    pthread_t stopper;
    outside_init(&outside, place, DIES_NEVER);
    outside.first_waits = true;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    while (!atomic_load(&outside.made))
        clock_sleep_ms(1);
    assert_int_equal(pthread_create(&stopper, NULL, stop_run, &run), 0);
    clock_sleep_ms(300); /* so that it knows before the answer is there: else this test shows nothing */
    atomic_store(&outside.first_may_end, true);
    pthread_join(stopper, NULL);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.intent"), 0);
    run_start_calling(&run, place, 1, outside_call, &outside);
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 1);
}

/* The answer is there, the commit of what comes of it fails: the call is made again, with the same key. */
static void test_answer_is_not_committed(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    execute(place, "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "RAISE EXCEPTION USING ERRCODE = '57014'; END $$;"
                   "CREATE TRIGGER fault BEFORE INSERT ON decider.outbox FOR EACH ROW WHEN (NEW.id > 1) "
                   "EXECUTE FUNCTION fault()");
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    await_number(place, "SELECT (max(epoch) >= 3)::int FROM decider.shard", 1);
    execute(place, "DROP FUNCTION fault() CASCADE");
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_called, 1);
    seen_free(&seen);
    run_stop(&run);
    assert_true(count_calls(&outside) >= 2);
}

/* The provider has forgotten the key by now: the same call would be a fresh one. What came of it is asked. */
static void test_too_old_for_a_call(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    run_and_die(place, DIES_BEFORE_THE_CALL, true);
    run_and_die(place, DIES_AFTER_THE_CALL, false); /* which brought it into the table first */
    execute(place, "UPDATE decider.intent SET created_us = created_us - 20::bigint * 3600 * 1000000");
    outside_init(&outside, place, DIES_NEVER);
    outside.unknown_first = 1;
    run_start_calling(&run, place, 1, outside_call, &outside);
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    run_stop(&run);
    assert_int_equal(atomic_load(&outside.looked), 2);
}

/* ---- what only people can settle: it is kept, and nothing else waits for it */

static void mark(const struct place *place) {
    execute(place, "INSERT INTO decider.mark (service, shard, key, intent) "
                   "SELECT service, shard, key, id FROM decider.intent");
}

static void test_undecidable_answer(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.missing_first = 2;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await_number(place, "SELECT count(*) FROM decider.intent WHERE left_why = 'nobody can tell'", 1);
    append_input(&run, 1, STR("b"), "shopper", "h"); /* of the same order */
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    assert_int_equal(number(place, "SELECT max(epoch) FROM decider.shard"), 1);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 1);

    run_start_calling(&run, place, 1, outside_call, &outside); /* and it stays so until an operator wants it tried */
    append_input(&run, 2, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    assert_int_equal(atomic_load(&outside.made), 1);
    mark(place);
    await_number(place, "SELECT count(*) FROM decider.mark", 0);
    await_number(place, "SELECT count(*) FROM decider.intent WHERE left_why = 'nobody can tell'", 1);
    await_number(place, "SELECT sum(tries)::bigint FROM decider.intent", 1);
    mark(place);
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    await(run.log, TOPIC_ORDER_REQUESTS, 4);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 3);
}

/* Somebody has seen to it: it is not called again, and a decider hears that it was not done. */
static void test_closed_by_an_operator(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.missing_first = 1;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await_number(place, "SELECT count(*) FROM decider.intent WHERE left_why IS NOT NULL", 1);
    execute(place, "INSERT INTO decider.mark (service, shard, key, intent, closes) "
                   "SELECT service, shard, key, id, true FROM decider.intent");
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2); /* of the two inputs: none by "called" */
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 1);
}

/* An answer of which nothing can be made is left to operators, and holds nothing up. */
static void test_answer_that_fails(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.code = "broken";
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    append_input(&run, 2, STR("b"), "call", "h");
    await_number(place, "SELECT count(*) FROM decider.intent WHERE left_why LIKE '%cannot be kept%'", 2);
    append_input(&run, 1, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 0);
    run_stop(&run);
}

/* Its mark is gone and the answer that stands for the provider's is not committed: it is still closed. */
static void test_closing_survives_a_crash(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.missing_first = 1;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await_number(place, "SELECT count(*) FROM decider.intent WHERE left_why IS NOT NULL", 1);
    int64_t epoch = number(place, "SELECT max(epoch) FROM decider.shard");
    BUF_AUTO taken_over = {0};
    buf_printf(&taken_over, "SELECT (max(epoch) > %lld)::int FROM decider.shard", (long long)epoch + 1);
    execute(place, "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "RAISE EXCEPTION USING ERRCODE = '57014'; END $$;"
                   "CREATE TRIGGER fault BEFORE INSERT ON decider.outbox FOR EACH ROW EXECUTE FUNCTION fault();"
                   "INSERT INTO decider.mark (service, shard, key, intent, closes) "
                   "SELECT service, shard, key, id, true FROM decider.intent");
    await_number(place, "SELECT count(*) FROM decider.mark", 0);
    await_number(place, taken_over.ptr, 1);
    execute(place, "DROP FUNCTION fault() CASCADE");
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 1);
}

/* What came before the mark must not be put over its timer when the shard is taken over. */
static void test_mark_survives_a_crash(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    execute(place, "CREATE TABLE withheld (flushed bigint);"
                   "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "IF NEW.flushed_through > OLD.flushed_through AND NOT EXISTS (SELECT 1 FROM decider.mark) THEN "
                   "INSERT INTO withheld VALUES (NEW.flushed_through); "
                   "NEW.flushed_through := OLD.flushed_through; END IF; RETURN NEW; END $$;"
                   "CREATE TRIGGER late BEFORE UPDATE ON decider.shard FOR EACH ROW EXECUTE FUNCTION late()");
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "retry later", "h");
    await_number(place, "SELECT count(*) FROM withheld", 1); /* the row does not say that the timer is in its table */
    assert_int_equal(number(place, "SELECT count(*) FROM decider.timer"), 1);
    execute(place, "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                   "RAISE EXCEPTION USING ERRCODE = '57014'; END $$;"
                   "CREATE TRIGGER fault BEFORE INSERT ON decider.outbox FOR EACH ROW EXECUTE FUNCTION fault();"
                   "INSERT INTO decider.mark (service, shard, key) SELECT service, shard, key FROM decider.timer");
    await_number(place, "SELECT count(*) FROM decider.mark", 0);
    await_number(place, "SELECT (max(epoch) > 1)::int FROM decider.shard", 1);
    execute(place, "DROP FUNCTION fault() CASCADE");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_timer, 1);
    seen_free(&seen);
    run_stop(&run);
}

static void test_unreadable_intent(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    run_and_die(place, DIES_BEFORE_THE_CALL, true);
    run_and_die(place, DIES_BEFORE_THE_CALL, false); /* which brought it into the table first */
    execute(place, "UPDATE decider.intent SET request = '\\x00'");
    run_start_calling(&run, place, 1, outside_call, &outside);
    await_number(place, "SELECT count(*) FROM decider.intent WHERE left_why LIKE '%cannot be read%'", 1);
    append_input(&run, 2, STR("b"), "call", "h"); /* others are called */
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    await_number(place, "SELECT count(*) FROM decider.intent", 1);
    run_stop(&run);
}

static void test_undecidable_timer(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "bad timer", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    await_number(place, "SELECT count(*) FROM decider.timer", 0);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    assert_int_equal(number(place, "SELECT max(epoch) FROM decider.shard"), 1);
    run_stop(&run);
}

/* An open call says how often it was tried and why it has no outcome; the operator need not wait for its next try. */
static void test_open_call_tells(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.unknown_first = 2;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await_number(place,
                 "SELECT count(*) FROM decider.intent WHERE last_error = 'no?answer' AND tried_us > created_us "
                 "AND tries = 2 AND left_why IS NULL",
                 1);
    mark(place);
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    run_stop(&run);
}

/* No outcome yet: again, with the same key, until there is one. */
static void test_unknown_outcome(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.unknown_first = 1;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 2);
}

/* The answer to a call that an owner made before somebody took the shard is not the new owner's. */
static void test_fenced_while_calling(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.unknown_first = 1;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    execute(place, "UPDATE decider.shard SET epoch = epoch + 1, owner = 'somebody else'");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    await_number(place, "SELECT count(*) FROM decider.intent", 0);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_called, 1);
    assert_int_equal(seen.gaps, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* A call hangs, the shard is taken over and the call is made again: of both answers one is decided. */
static void test_late_answer_of_an_earlier_owner(void **state) {
    struct place *place = *state;
    struct run run;
    struct outside outside;
    outside_init(&outside, place, DIES_NEVER);
    outside.first_waits = true;
    run_start_calling(&run, place, 1, outside_call, &outside);
    append_input(&run, 1, STR("a"), "call", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    while (atomic_load(&outside.made) < 1)
        clock_sleep_ms(1);
    await_number(place, "SELECT count(*) FROM decider.intent", 1); /* by which the shard is found */
    execute(place, "UPDATE decider.shard SET epoch = epoch + 1, owner = 'somebody else' "
                   "WHERE shard = (SELECT shard FROM decider.intent)");
    append_input(&run, 1, STR("b"), "shopper", "h"); /* whereupon the owner sees that it is none */
    while (atomic_load(&outside.made) < 2)
        clock_sleep_ms(1);
    atomic_store(&outside.first_may_end, true);
    for (int i = 0; i < 10; i++) { /* turns of the loop, in which it could take the late answer for one of its own */
        append_numbered(&run, i);
        await(run.log, TOPIC_ORDER_REQUESTS, 4 + i);
    }
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_called, 1);
    assert_int_equal(seen.records, 13);
    seen_free(&seen);
    run_stop(&run);
    assert_int_equal(count_calls(&outside), 2);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_stopped_during_the_call),
        PLACED(test_killed_around_the_call),
        PLACED(test_answer_is_not_committed),
        PLACED(test_unknown_outcome),
        PLACED(test_too_old_for_a_call),
        PLACED(test_fenced_while_calling),
        PLACED(test_late_answer_of_an_earlier_owner),
        PLACED(test_undecidable_answer),
        PLACED(test_unreadable_intent),
        PLACED(test_closed_by_an_operator),
        PLACED(test_undecidable_timer),
        PLACED(test_open_call_tells),
        PLACED(test_answer_that_fails),
        PLACED(test_closing_survives_a_crash),
        PLACED(test_mark_survives_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
