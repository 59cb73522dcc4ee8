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

int main(void) {
    kafka_broker_need();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, contract_teardown),
    const struct CMUnitTest tests[] = {CONTRACT_TESTS(TEST)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
