/* What the feed makes of the CSV files: baskets, prices, demand. */
#include "cli/feed.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t price(const char *sales_value, int64_t quantity) {
    int64_t minor = -1;
    assert_true(feed_price(str_from(sales_value), quantity, &minor));
    return minor;
}

/* In decimal: 0.125 dollars are 12.5 cents and so 13, which binary fractions would not always say. */
static void a_price_is_rounded_half_up(void **state) {
    (void)state;
    assert_int_equal(price("0.5", 1), 50);
    assert_int_equal(price("0.99", 1), 99);
    assert_int_equal(price("2.78", 2), 139);
    assert_int_equal(price("1", 8), 13);      /* 12.5 */
    assert_int_equal(price("0.25", 10), 3);   /* 2.5 */
    assert_int_equal(price("0.35", 10), 4);   /* 3.5 */
    assert_int_equal(price("1.00", 3), 33);   /* 33.33 */
    assert_int_equal(price("2.00", 3), 67);   /* 66.67 */
    assert_int_equal(price("1.005", 1), 101); /* 100.5 */
    assert_int_equal(price("1.0049", 1), 100);
    assert_int_equal(price("12345.67", 1), 1234567);
}

static void a_price_is_at_least_a_cent(void **state) {
    (void)state;
    assert_int_equal(price("0", 1), 1);
    assert_int_equal(price("0.00", 5), 1);
    assert_int_equal(price("0.01", 999), 1);
}

static void what_is_no_price_is_said_to_be_none(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "x", "1.2.3", "1e3", "1,5", "NaN", ".", " 1", "1 "};
    int64_t minor = 42;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (feed_price(str_from(wrong[i]), 1, &minor))
            fail_msg("'%s' is taken for %lld", wrong[i], (long long)minor);
    assert_false(feed_price(STR("1"), 0, &minor));
    assert_int_equal(minor, 42);
}

static void stock_is_rounded_up(void **state) {
    (void)state;
    assert_int_equal(feed_stock(100, 95), 95);
    assert_int_equal(feed_stock(1, 95), 1);
    assert_int_equal(feed_stock(21, 95), 20); /* 19.95 */
    assert_int_equal(feed_stock(20, 95), 19); /* 19 */
    assert_int_equal(feed_stock(7, 100), 7);
    assert_int_equal(feed_stock(7, 0), 0);
    assert_int_equal(feed_stock(7, 200), 14);
}

/* ---- files ---- */

static char *file_make(const char *text) {
    char *path = mem_strdup(STR("/tmp/feed-data-XXXXXX"));
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void file_remove(char *path) {
    unlink(path);
    free(path);
}

static bool load(const char *baskets, const char *products, struct feed_data *ret, struct err *err) {
    char *baskets_path = file_make(baskets), *products_path = file_make(products);
    bool ok = feed_data_load(baskets_path, products_path, ret, err);
    file_remove(baskets_path);
    file_remove(products_path);
    return ok;
}

#define BASKETS "time,household_id,basket_id,product_id,quantity,sales_value,retail_disc\n"
#define PRODUCTS "product_id,department,product_category,product_type,package_size,brand\n"

static const struct feed_product *product(const struct feed_data *data, const char *sku) {
    const struct feed_product *found = map_get(&data->by_sku, str_from(sku));
    assert_non_null(found);
    return found;
}

static void assert_text(struct str s, const char *want) {
    if (!str_eq(s, str_from(want)))
        fail_msg("'%.*s' is not '%s'", STR_ARG(s), want);
}

static void baskets_are_read_with_their_lines(void **state) {
    (void)state;
    struct feed_data data;
    struct err err = {0};
    bool ok = load(BASKETS "2017-01-01T11:53:26Z,900,b1,p1,1,0.5,0.0\n"
                           "2017-01-01T12:30:27Z,906,b2,p1,2,9.99,0.0\r\n"
                           "2017-01-01T12:30:27Z,906,b2,p2,0,0.0,0.0\n"
                           "2017-01-01T12:31:00Z,900,b3,p2,1000,2.0,0.0\n"
                           "2017-01-01T12:31:00Z,900,b3,p2,999,9.99,0.0\n"
                           "2017-01-01T12:32:00Z,907,b4,p3,0,0.0,0.0\n",
                   PRODUCTS "p1,GROCERY,BREAD,BAGELS,18 OZ,Private\n"
                            "p2,DELI,MEATS,\"HAM, \"\"BULK\"\"\",,National\n"
                            "p3,MISC,,,5 OZ,National\n"
                            "p9,MISC,,NOBODY BUYS IT,,National\n",
                   &data, &err);
    if (!ok)
        fail_msg("%s", err.detail);
    assert_int_equal(data.basket_count, 4);
    assert_text(data.baskets[0].id, "b1");
    assert_text(data.baskets[0].household, "900");
    assert_int_equal(data.baskets[1].line_count, 2);
    assert_text(data.baskets[1].lines[1].sku, "p2");
    assert_int_equal(data.baskets[1].lines[1].quantity, 0);
    assert_int_equal(data.baskets[2].lines[0].quantity, 1000);
    assert_int_equal(data.product_count, 3);
    /* The first line that counts gives the price; only lines that count are wanted. */
    assert_int_equal(product(&data, "p1")->price_minor, 50);
    assert_int_equal(product(&data, "p1")->demand, 3);
    assert_int_equal(product(&data, "p2")->price_minor, 1);
    assert_int_equal(product(&data, "p2")->demand, 999);
    assert_int_equal(product(&data, "p3")->price_minor, 0);
    assert_int_equal(product(&data, "p3")->demand, 0);
    assert_text(product(&data, "p1")->name, "BAGELS 18 OZ");
    assert_text(product(&data, "p2")->name, "HAM, \"BULK\"");
    assert_text(product(&data, "p3")->name, "p3");
    feed_data_free(&data);
}

static void a_wrong_line_is_named(void **state) {
    (void)state;
    static const struct {
        const char *baskets;
        const char *where;
    } wrong[] = {
        {"time,household_id\n", "line 1"},
        {"", "line"},
        {BASKETS "2017-01-01T11:53:26Z,900,b1,p1,one,0.5,0.0\n", "line 2"},
        {BASKETS "2017-01-01T11:53:26Z,900,b1,p1,-1,0.5,0.0\n", "line 2"},
        {BASKETS "2017-01-01T11:53:26Z,900,b1,p1,1,0.5,0.0\n2017-01-01T11:53:26Z,900,b1\n", "line 3"},
        {BASKETS "2017-01-01T11:53:26Z,900,b1,p1,1,half,0.0\n", "line 2"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct feed_data data;
        struct err err = {0};
        assert_false(load(wrong[i].baskets, PRODUCTS, &data, &err));
        if (!strstr(err.detail, wrong[i].where))
            fail_msg("'%s' does not say %s", err.detail, wrong[i].where);
    }
    struct feed_data data;
    struct err err = {0};
    assert_false(feed_data_load("/nowhere/baskets.csv", "/nowhere/products.csv", &data, &err));
    assert_non_null(strstr(err.detail, "/nowhere/baskets.csv"));
}

/* The files of the demo hold what is said of them (tests/data). */
static void the_demo_data_are_as_described(void **state) {
    (void)state;
    const char *source = getenv("ORDERLOG_SOURCE");
    BUF_AUTO baskets = {0};
    BUF_AUTO products = {0};
    struct feed_data data;
    struct err err = {0};
    buf_printf(&baskets, "%s/tests/data/baskets.csv", source ? source : ".");
    buf_printf(&products, "%s/tests/data/products.csv", source ? source : ".");
    if (!feed_data_load(baskets.ptr, products.ptr, &data, &err))
        fail_msg("%s", err.detail);
    size_t lines = 0, empty = 0, unpriced = 0;
    for (size_t i = 0; i < data.basket_count; i++) {
        size_t taken = 0;
        for (size_t k = 0; k < data.baskets[i].line_count; k++)
            taken += data.baskets[i].lines[k].quantity >= 1 && data.baskets[i].lines[k].quantity <= FEED_QUANTITY_MAX;
        lines += data.baskets[i].line_count;
        empty += taken == 0;
    }
    for (size_t i = 0; i < data.product_count; i++)
        unpriced += data.products[i]->price_minor == 0;
    assert_int_equal(data.basket_count, 2161);
    assert_int_equal(lines, 21104);
    assert_int_equal(empty, 160);
    assert_int_equal(data.product_count, 9466);
    assert_int_equal(unpriced, 9466 - 9437);
    feed_data_free(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_price_is_rounded_half_up),          cmocka_unit_test(a_price_is_at_least_a_cent),
        cmocka_unit_test(what_is_no_price_is_said_to_be_none), cmocka_unit_test(stock_is_rounded_up),
        cmocka_unit_test(baskets_are_read_with_their_lines),   cmocka_unit_test(a_wrong_line_is_named),
        cmocka_unit_test(the_demo_data_are_as_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
