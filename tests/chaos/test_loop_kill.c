/* The decider loop under kill -9: every input is decided once, every output has the next number, no row counts twice.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/chaos/toys.h"

enum { INPUTS = 3000, KILLS = 12 };

/* Appends the inputs that the log does not hold yet, and the last few again, as a client that had no answer would. */
static void child_main(const struct place *place, int loops, bool to_the_end) {
    struct run run;
    run_start(&run, place, loops);
    /* What came out is no more than what went in: begin a little before that. */
    struct seen out = read_topic(run.log, TOPIC_ORDER_EVENTS);
    int from = (int)(out.records > 20 ? out.records - 20 : 0);
    seen_free(&out);
    for (int i = from; i < INPUTS; i++)
        append_numbered(&run, i);
    if (to_the_end)
        await(run.log, TOPIC_ORDER_EVENTS, INPUTS);
    run_stop(&run);
    _exit(0);
}

static void kill_again_and_again(struct place *place, int loops) {
    unsigned seed = 7;
    int killed = 0;
    for (int i = 0; i <= KILLS; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            int quiet = open("/dev/null", 1);
            dup2(quiet, 2);
            child_main(place, loops, i == KILLS);
        }
        if (i < KILLS) {
            clock_sleep_ms(60 + rand_r(&seed) % 250);
            kill(child, SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        if (i == KILLS)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_true(killed > KILLS / 2);
    struct run run;
    run_start(&run, place, 0);
    struct seen between = read_topic(run.log, TOPIC_ORDER_REQUESTS), out = read_topic(run.log, TOPIC_ORDER_EVENTS);
    print_message("killed %d times; duplicates dropped: %lld and %lld\n", killed, (long long)between.duplicates,
                  (long long)out.duplicates);
    assert_int_equal(between.gaps, 0);
    assert_int_equal(out.gaps, 0);
    assert_int_equal(between.records, INPUTS);
    assert_int_equal(out.records, INPUTS);
    assert_int_equal(out.wrong_versions, 0);
    seen_free(&between);
    seen_free(&out);
    run_stop(&run);
}

static void test_killed_again_and_again(void **state) {
    kill_again_and_again(*state, 2);
}

static void test_fused_and_killed_again_and_again(void **state) {
    kill_again_and_again(*state, FUSED);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {PLACED(test_killed_again_and_again),
                                       PLACED(test_fused_and_killed_again_and_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
