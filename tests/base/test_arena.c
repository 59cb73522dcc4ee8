#include "core/base/arena.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void assert_zeroed(const char *ptr, size_t size) {
    assert_non_null(ptr);
    assert_int_equal((uintptr_t)ptr % 8, 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(ptr[i], 0);
}

static void gives_zeroed_memory_of_any_size(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    static const size_t sizes[] = {0, 1, 7, 8, 9, 4095, 4096, 4097, 16383, 16384, 16385, 100000, 1, 0};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char *ptr = arena_alloc(&arena, sizes[i]);
            assert_zeroed(ptr, sizes[i]);
            memset(ptr, 0xA5, sizes[i]); /* a reused block must be zeroed again */
        }
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void keeps_what_was_given_before(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    enum { COUNT = 3000 };
    uint32_t *kept[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t words = 1 + (i * 37) % 50 + (i % 500 == 0 ? 5000 : 0);
        kept[i] = arena_array(&arena, uint32_t, words);
        for (size_t w = 0; w < words; w++)
            kept[i][w] = i;
    }
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(kept[i][0], i);
    arena_free(&arena);
}

static void reset_keeps_one_small_block(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(arena_bytes(&arena), 0);
    arena_reset(&arena);
    arena_alloc(&arena, 1000000);
    arena_alloc(&arena, 1);
    assert_true(arena_bytes(&arena) >= 1000000);
    arena_reset(&arena);
    size_t kept = arena_bytes(&arena);
    assert_in_range(kept, 1, 64 * 1024);
    arena_alloc(&arena, 1000);
    assert_int_equal(arena_bytes(&arena), kept);
    arena_free(&arena);
    assert_int_equal(arena_bytes(&arena), 0);
    assert_non_null(arena_alloc(&arena, 1)); /* free leaves it ready for use */
    arena_free(&arena);
}

static void copies_and_prints(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct str copy = arena_dup(&arena, (struct str){"abcdef", 3});
    assert_int_equal(copy.len, 3);
    assert_string_equal(copy.ptr, "abc");
    assert_null(arena_dup(&arena, STR_NULL).ptr);
    assert_non_null(arena_dup(&arena, STR("")).ptr);
    struct str text = arena_printf(&arena, "%s-%d", "orders", 7);
    assert_int_equal(text.len, 8);
    assert_string_equal(text.ptr, "orders-7");
    arena_free(&arena);
}

static void aborts_on_a_size_that_cannot_be(void **state) {
    (void)state;
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX / 8 + 2, SIZE_MAX / 16};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(STDERR_FILENO);
            struct arena arena;
            arena_init(&arena);
            (void)arena_array(&arena, uint64_t, counts[i]);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_not_equal(status, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_zeroed_memory_of_any_size), cmocka_unit_test(keeps_what_was_given_before),
        cmocka_unit_test(reset_keeps_one_small_block),     cmocka_unit_test(copies_and_prints),
        cmocka_unit_test(aborts_on_a_size_that_cannot_be),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
