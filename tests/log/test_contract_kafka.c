/* The contract, on a Kafka broker that is this program's alone meanwhile: ORDERLOG_TEST_KAFKA=host:port. */
#include "tests/log/contract.h"
#include "tests/log/kafka_broker.h"

static char url[256];

static const char *fresh(void) {
    kafka_broker_empty();
    snprintf(url, sizeof url, "kafka://%s", kafka_broker_address());
    return url;
}

static void discard(void) {
    kafka_broker_empty();
}

static int setup(void **state) {
    static const struct contract adapter = {fresh, discard};
    return contract_setup(state, &adapter);
}

/* These fail now and then (docs/roadmap.md, "Open"): until that is mended they run when ORDERLOG_TEST_UNSTABLE is set.
 */
static const char *const unstable[] = {"contract_seek_out_of_range", "contract_handing_over_loses_nothing"};

static void is_unstable(void **state) {
    (void)state;
    puts("not run: fails now and then; set ORDERLOG_TEST_UNSTABLE=1 to run it");
    skip();
}

static void leave_out_unstable(struct CMUnitTest *tests, size_t count) {
    for (size_t i = 0; i < count && !getenv("ORDERLOG_TEST_UNSTABLE"); i++)
        for (size_t k = 0; k < sizeof unstable / sizeof unstable[0]; k++)
            if (strcmp(tests[i].name, unstable[k]) == 0)
                tests[i].test_func = is_unstable;
}

int main(void) {
    kafka_broker_need();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, contract_teardown),
    struct CMUnitTest tests[] = {CONTRACT_TESTS(TEST)};
    leave_out_unstable(tests, sizeof tests / sizeof tests[0]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
