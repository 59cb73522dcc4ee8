/* The contract, on the embedded log. */
#include "tests/log/contract.h"
#include "tests/log/temp_folder.h"

static struct temp_folder folder;
static char url[sizeof folder.path + 32];

static const char *fresh(void) {
    if (!temp_folder_make(&folder))
        return NULL;
    snprintf(url, sizeof url, "sqlite://%s/log.db", folder.path);
    return url;
}

static void discard(void) {
    temp_folder_remove(&folder);
}

static int setup(void **state) {
    static const struct contract adapter = {fresh, discard};
    return contract_setup(state, &adapter);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, contract_teardown),
    const struct CMUnitTest tests[] = {CONTRACT_TESTS(TEST)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
