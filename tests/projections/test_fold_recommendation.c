/* What is bought together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/codec/avro.h"
#include "projections/fold_recommendation.h"
#include "projections/view.h"

enum { SHARDS = 3, ROWS_MAX = 64 };

static struct arena arena;
static struct rows {
    struct str keys[ROWS_MAX];
    struct view_recommendation_row *values[ROWS_MAX];
    size_t count;
} rows;

static int setup(void **state) {
    (void)state;
    arena_init(&arena);
    rows.count = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct view_recommendation_row **row_at(struct str key) {
    for (size_t i = 0; i < rows.count; i++)
        if (str_eq(rows.keys[i], key))
            return &rows.values[i];
    rows.keys[rows.count] = key;
    rows.values[rows.count] = NULL;
    return &rows.values[rows.count++];
}

static void give(int32_t shard, int64_t offset, const struct message *m) {
    const struct envelope envelope = {.offset = offset, .id = STR("id")};
    struct str *keys;
    size_t count = view_row_keys(&view_recommendations, &arena, shard, m, &keys);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(view_shard_of(&view_recommendations, keys[i], SHARDS), shard);
        assert_true(recommendation_row_fold(&arena, keys[i], row_at(keys[i]), &envelope, m));
    }
}

/* SKUs are one letter each. */
static void order(int32_t shard, int64_t offset, const char *skus) {
    struct quantity lines[100];
    size_t count = strlen(skus);
    for (size_t i = 0; i < count; i++)
        lines[i] = (struct quantity){{&skus[i], 1}, 1};
    give(shard, offset,
         &(struct message){.type = MESSAGE_FULFILMENT_REQUESTED,
                           .fulfilment_requested = {STR("order"), STR("main"), {lines, count}}});
}

static void expect(const char *sku, size_t limit, const char *want) {
    struct view_recommendation_row *of_sku[SHARDS];
    struct view_partner *partners;
    BUF_AUTO text = {0};
    for (int32_t i = 0; i < SHARDS; i++)
        of_sku[i] = *row_at(recommendation_key(&arena, i, str_from(sku)));
    size_t count = recommendation_merge(&arena, of_sku, SHARDS, limit, &partners);
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%.*s%lld ", STR_ARG(partners[i].sku), (long long)partners[i].orders);
    assert_string_equal(text.ptr ? text.ptr : "", want);
}

static void test_counts(void **state) {
    (void)state;
    order(0, 0, "AB");
    order(0, 1, "ACB");
    order(0, 2, "A"); /* beside nothing */
    order(1, 0, "CA");
    order(2, 9, "DA");
    expect("A", 10, "B2 C2 D1 ");
    expect("A", 2, "B2 C2 ");
    expect("B", 10, "A2 C1 ");
    expect("D", 10, "A1 ");
    expect("E", 10, "");
    assert_int_equal((*row_at(STR("0/A")))->orders, 2);
}

static void test_a_line_twice_is_one(void **state) {
    (void)state;
    order(0, 0, "AAB");
    order(0, 1, "AA");
    expect("A", 10, "B1 ");
    expect("B", 10, "A1 ");
}

static void test_again_changes_nothing(void **state) {
    (void)state;
    for (int times = 0; times < 3; times++) {
        order(0, 4, "AB");
        order(0, 7, "ABC");
    }
    expect("A", 10, "B2 C1 ");
    order(0, 5, "AB");
    expect("A", 10, "B2 C1 ");
}

static void test_other_records_change_no_row(void **state) {
    (void)state;
    struct view_recommendation_row *row = NULL;
    const struct envelope envelope = {.offset = 1};
    const struct message picked = {.type = MESSAGE_FULFILMENT_PICKED, .fulfilment_picked = {STR("order"), STR("o")}};
    const struct message strange = {.type = MESSAGE_STOCK_SHORT};
    struct str *keys;
    assert_int_equal(view_row_keys(&view_recommendations, &arena, 0, &picked, &keys), 0);
    assert_true(recommendation_row_fold(&arena, STR("0/A"), &row, &envelope, &picked));
    assert_false(recommendation_row_fold(&arena, STR("0/A"), &row, &envelope, &strange));
    assert_null(row);
}

/* What is bought together often is found, however many others there are; no number is higher than the true one. */
static void test_bound(void **state) {
    (void)state;
    static const char others[] = "BCDEFGHIJKLMNOPQRSTUVWXYabcdefghijklmnopqrstuvwxy0123456789";
    char basket[3] = "A";
    for (int i = 0; i < 590; i++) {
        basket[1] = i % 2 ? others[(size_t)i / 2 % (sizeof(others) - 1)] : 'Z';
        give(0, i,
             &(struct message){
                 .type = MESSAGE_FULFILMENT_REQUESTED,
                 .fulfilment_requested = {
                     STR("order"), STR("main"), {(struct quantity[]){{{"A", 1}, 1}, {{&basket[1], 1}, 1}}, 2}}});
        rows.count = 1; /* only A's is looked at */
    }
    const struct view_recommendation_row *row = *row_at(STR("0/A"));
    assert_int_equal(row->orders, 590);
    assert_true(row->partners.count <= RECOMMENDATION_PARTNERS_MAX);
    assert_true(str_eq(row->partners.items[0].sku, STR("Z")));
    assert_in_range(row->partners.items[0].orders, 295 - 590 / (RECOMMENDATION_PARTNERS_MAX + 1), 295);
    for (size_t i = 1; i < row->partners.count; i++)
        assert_in_range(row->partners.items[i].orders, 1, 5);
}

static void test_large_basket(void **state) {
    (void)state;
    static const char skus[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij";
    order(0, 0, skus);
    assert_int_equal(rows.count, RECOMMENDATION_BASKET_MAX);
    assert_int_equal((*row_at(STR("0/A")))->partners.count, RECOMMENDATION_BASKET_MAX - 1);
}

static void test_keys(void **state) {
    (void)state;
    assert_int_equal(view_shard_of(&view_recommendations, STR("2/a/b"), SHARDS), 2);
    assert_int_equal(view_shard_of(&view_recommendations, STR("3/a"), SHARDS), -1);
    assert_int_equal(view_shard_of(&view_recommendations, STR("a"), SHARDS), -1);
    assert_int_equal(view_shard_of(&view_recommendations, STR("-1/a"), SHARDS), -1);
    assert_true(str_eq(recommendation_key(&arena, 2, STR("a/b")), STR("2/a/b")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_line_twice_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_records_change_no_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_basket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
