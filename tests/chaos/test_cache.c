/* The deciders' rows in memory: what is on its way into the tables, and what is there already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consumers/cache.h"

static void put(struct cache *cache, int64_t version, bool stored) {
    struct cache_row row = {.table = 1, .key = STR("a"), .version = version, .stored = stored, .dirty = true};
    row.hash = cache_hash(row.table, row.key);
    cache_put(cache, &row, STR("state"));
}

/* A row is loaded into a batch, written meanwhile, and put back as the batch knew it: the table has it all the same. */
static void what_was_written_stays_so(void **state) {
    (void)state;
    struct cache cache = {0};
    put(&cache, 1, false);
    assert_false(cache_begin_flush(&cache)->stored);
    cache_end_flush(&cache);
    put(&cache, 2, false);
    const struct cache_row *row = cache_begin_flush(&cache);
    assert_true(row->stored);
    assert_int_equal(row->version, 2);
    cache_end_flush(&cache);
    assert_null(cache_begin_flush(&cache));
    cache_free(&cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_written_stays_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
