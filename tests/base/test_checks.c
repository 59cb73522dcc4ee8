#include "core/base/checks.h"

#include <setjmp.h>
#include <cmocka.h>

static void checks_are_kept_in_order_and_copied(void **state) {
    (void)state;
    CHECKS_AUTO first = {0};
    CHECKS_AUTO all = {0};
    char why[] = "no \"answer\"\n";
    checks_add(&first, CHECK_FAILED, str_from(why), "decider %s/%d", "orders", 3);
    why[0] = 'X';
    checks_add(&first, CHECK_OK, STR_NULL, "log");
    checks_copy(&all, &first);
    checks_copy(&all, &first);
    checks_free(&first);
    assert_null(first.items);
    assert_int_equal(all.count, 4);
    assert_int_equal(all.items[2].state, CHECK_FAILED);
    assert_string_equal(all.items[2].name, "decider orders/3");
    assert_string_equal(all.items[2].why, "no \"answer\"\n");
    assert_int_equal(all.items[3].state, CHECK_OK);
    assert_string_equal(all.items[3].why, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(checks_are_kept_in_order_and_copied)};
    return cmocka_run_group_tests_name("checks", tests, NULL, NULL);
}
