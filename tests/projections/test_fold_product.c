/* A product's row, and its stock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/codec/avro.h"
#include "projections/fold_product.h"

static struct arena arena;
static struct view_product_row *row;

static int setup(void **state) {
    (void)state;
    arena_init(&arena);
    row = NULL;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static void give(int64_t offset, const char *command, const struct message *m) {
    struct envelope envelope = {
        .offset = offset, .timestamp_us = offset, .id = STR("id"), .command_id = str_from(command)};
    assert_true(product_row_fold(&arena, &row, &envelope, m));
}

static void revise(int64_t offset, int64_t price_minor) {
    give(offset, "revise",
         &(struct message){.type = MESSAGE_CATALOGUE_PRODUCT_REVISED,
                           .catalogue_product_revised = {
                               STR("A"), STR("Apple"), {price_minor, STR("USD")}, STR("operator:a"), STR("00")}});
}

static void withdraw(int64_t offset) {
    give(offset, "withdraw",
         &(struct message){.type = MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN,
                           .catalogue_product_withdrawn = {STR("A"), STR("operator:a"), STR("00")}});
}

static void level(int64_t offset, const char *location, int64_t version, int64_t received, int64_t held) {
    give(
        offset, "order",
        &(struct message){.type = MESSAGE_STOCK_LEVEL_CHANGED,
                          .stock_level_changed = {
                              STR("A"),
                              str_from(location),
                              {.version = version, .received = received, .held = held, .available = received - held}}});
}

static void receive(int64_t offset, const char *location, int64_t version, int64_t received) {
    give(offset, "receive",
         &(struct message){.type = MESSAGE_STOCK_RECEIVED,
                           .stock_received = {STR("A"),
                                              str_from(location),
                                              received,
                                              {.version = version, .received = received, .available = received},
                                              STR("operator:a")}});
}

static void test_catalogue(void **state) {
    (void)state;
    revise(0, 100);
    assert_true(product_row_is_known(row));
    assert_int_equal(row->product.revision, 0);
    revise(4, 120);
    assert_true(row->for_sale);
    assert_true(str_eq(row->product.name, STR("Apple")));
    assert_int_equal(row->product.price.minor, 120);
    assert_int_equal(row->product.revision, 4);
    withdraw(5);
    assert_false(row->for_sale);
    assert_int_equal(row->product.revision, 4);
    assert_int_equal(row->product.price.minor, 120);
    revise(6, 130);
    assert_true(row->for_sale);
}

static void test_stock_alone_is_no_product(void **state) {
    (void)state;
    receive(0, "main", 1, 10);
    assert_false(product_row_is_known(row));
    assert_false(row->for_sale);
    assert_int_equal(row->product.available, 10);
    assert_true(str_eq(row->inventory.sku, STR("A")));
}

static void test_locations(void **state) {
    (void)state;
    receive(0, "north", 1, 10);
    receive(1, "main", 1, 5);
    level(2, "north", 3, 10, 4);
    assert_int_equal(row->inventory.locations.count, 2);
    assert_true(str_eq(row->inventory.locations.items[0].location, STR("main")));
    assert_true(str_eq(row->inventory.locations.items[1].location, STR("north")));
    assert_int_equal(row->inventory.locations.items[1].held, 4);
    assert_int_equal(row->product.available, 11);
}

static void test_older_counters_are_ignored(void **state) {
    (void)state;
    receive(0, "main", 1, 10);
    level(1, "main", 5, 10, 7);
    level(2, "main", 4, 10, 1);
    level(3, "main", 5, 10, 2);
    assert_int_equal(row->inventory.locations.items[0].version, 5);
    assert_int_equal(row->product.available, 3);
}

/* What operators wait for is kept; what shoppers' orders do to the stock is not. */
static void test_commands(void **state) {
    (void)state;
    revise(0, 100);
    receive(1, "main", 1, 10);
    level(2, "main", 2, 10, 1);
    give(3, "adjust",
         &(struct message){.type = MESSAGE_STOCK_COMMAND_REFUSED,
                           .stock_command_refused = {STR("A"), STR("main"), STR("not-found"), STR("nothing there")}});
    assert_int_equal(row->commands.count, 3);
    assert_true(str_eq(row->commands.items[1], STR("receive")));
    assert_true(str_eq(row->command_notes.items[2].refusal->reason, STR("not-found")));
    assert_null(row->command_notes.items[1].refusal);
}

static void test_foreign_records(void **state) {
    (void)state;
    struct envelope envelope = {.id = STR("id")};
    struct message m = {.type = MESSAGE_ORDER_DELIVERED, .order_delivered = {STR("x"), 1}};
    assert_false(product_row_fold(&arena, &row, &envelope, &m));
    assert_null(row);
}

/* The topics race for nothing, and reading all again changes nothing. */
static void test_interleavings_agree(void **state) {
    (void)state;
    revise(0, 100);
    withdraw(1);
    revise(2, 110);
    receive(0, "main", 1, 10);
    level(1, "main", 4, 10, 3);
    struct view_product_row *a = row;
    row = NULL;
    receive(0, "main", 1, 10);
    revise(0, 100);
    level(1, "main", 4, 10, 3);
    withdraw(1);
    revise(2, 110);
    assert_true(avro_equal(&schema_view_product_row, a, row));
    revise(0, 100);
    withdraw(1);
    receive(0, "main", 1, 10);
    level(1, "main", 4, 10, 3);
    revise(2, 110);
    assert_true(avro_equal(&schema_view_product_row, a, row));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_catalogue),
        TEST(test_stock_alone_is_no_product),
        TEST(test_locations),
        TEST(test_older_counters_are_ignored),
        TEST(test_commands),
        TEST(test_foreign_records),
        TEST(test_interleavings_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
