#include "core/base/map.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void finds_what_was_put(void **state) {
    (void)state;
    struct map map = {0};
    assert_null(map_get(&map, STR("a")));
    int one = 1, two = 2;
    *map_put(&map, STR("a")) = &one;
    *map_put(&map, STR("b")) = &two;
    assert_ptr_equal(map_get(&map, STR("a")), &one);
    assert_ptr_equal(map_get(&map, STR("b")), &two);
    assert_null(map_get(&map, STR("ab")));
    assert_int_equal(map.count, 2);
    *map_put(&map, STR("a")) = &two;
    assert_ptr_equal(map_get(&map, STR("a")), &two);
    assert_int_equal(map.count, 2);
    map_free(&map, NULL);
    assert_int_equal(map.count, 0);
    assert_null(map_get(&map, STR("a")));
}

static void keys_are_copied_and_may_hold_any_byte(void **state) {
    (void)state;
    struct map map = {0};
    char key[] = {'k', '\0', '1'};
    int value = 0;
    *map_put(&map, (struct str){key, sizeof key}) = &value;
    key[2] = '2';
    assert_null(map_get(&map, (struct str){key, sizeof key}));
    key[2] = '1';
    assert_ptr_equal(map_get(&map, (struct str){key, sizeof key}), &value);
    assert_null(map_get(&map, STR("k")));
    *map_put(&map, STR("")) = &value;
    assert_ptr_equal(map_get(&map, STR_NULL), &value);
    map_free(&map, NULL);
}

/* Through many growths, and with keys that differ in one place only. */
static void holds_many(void **state) {
    (void)state;
    enum { MANY = 20000 };
    struct map map = {0};
    char key[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        int *value = mem_alloc(sizeof *value);
        *value = i;
        void **slot = map_put(&map, str_from(key));
        assert_null(*slot);
        *slot = value;
    }
    assert_int_equal(map.count, MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        const int *value = map_get(&map, str_from(key));
        assert_non_null(value);
        assert_int_equal(*value, i);
    }
    assert_null(map_get(&map, STR("key-20000")));
    int64_t sum = 0;
    size_t seen = 0;
    for (struct map_entry *entry = map_next(&map, NULL); entry; entry = map_next(&map, entry)) {
        sum += *(const int *)entry->value;
        seen++;
    }
    assert_int_equal(seen, MANY);
    assert_int_equal(sum, (int64_t)MANY * (MANY - 1) / 2);
    map_free(&map, free);
}

static void an_empty_map_has_no_entries(void **state) {
    (void)state;
    struct map map = {0};
    assert_null(map_next(&map, NULL));
    map_free(&map, free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_put),
        cmocka_unit_test(keys_are_copied_and_may_hold_any_byte),
        cmocka_unit_test(holds_many),
        cmocka_unit_test(an_empty_map_has_no_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
