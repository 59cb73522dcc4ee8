#include "tests/support/room.h"

#include "core/domain/pricing.h"
#include "core/domain/reason.h"

static int open_arena(void **state) {
    static struct arena arena;
    arena_init(&arena);
    *state = &arena;
    return 0;
}

static int close_arena(void **state) {
    arena_free(*state);
    return 0;
}

static struct product product(const char *sku, int64_t minor, const char *currency) {
    return (struct product){str_from(sku), STR("a name"), {minor, str_from(currency)}, 7};
}

static void test_lines_and_totals(void **state) {
    const struct quantity quantities[] = {{STR("apple"), 3}, {STR("pear"), 1}};
    const struct product products[] = {product("apple", 150, "USD"), product("pear", 99, "USD")};
    struct line_list lines;
    struct totals totals;
    assert_true(price_order(*state, STR("USD"), quantities, products, 2, &lines, &totals));
    assert_int_equal(lines.count, 2);
    assert_str(lines.items[0].sku, "apple");
    assert_str(lines.items[0].name, "a name");
    assert_int_equal(lines.items[0].quantity, 3);
    assert_int_equal(lines.items[0].unit_price.minor, 150);
    assert_int_equal(lines.items[0].line_total.minor, 450);
    assert_str(lines.items[0].line_total.currency, "USD");
    assert_int_equal(lines.items[0].revision, 7);
    assert_int_equal(totals.items.minor, 549);
    assert_int_equal(totals.discount.minor, 0);
    assert_int_equal(totals.shipping.minor, 0);
    assert_int_equal(totals.tax.minor, 0);
    assert_int_equal(totals.total.minor, 549);
    assert_str(totals.total.currency, "USD");
    assert_true(price_balances(&lines, &totals));
}

static void test_nothing_costs_nothing(void **state) {
    struct line_list lines;
    struct totals totals;
    assert_true(price_order(*state, STR("USD"), NULL, NULL, 0, &lines, &totals));
    assert_int_equal(lines.count, 0);
    assert_int_equal(totals.total.minor, 0);
    assert_str(totals.total.currency, "USD");
}

static void test_what_is_not_for_sale_is_shown_for_nothing(void **state) {
    const struct quantity quantities[] = {{STR("apple"), 3}, {STR("pear"), 1}};
    const struct product products[] = {{.sku = STR_NULL}, product("pear", 99, "USD")};
    struct line_list lines;
    struct totals totals;
    assert_true(price_order(*state, STR("USD"), quantities, products, 2, &lines, &totals));
    assert_str(lines.items[0].name, "apple");
    assert_int_equal(lines.items[0].line_total.minor, 0);
    assert_str(lines.items[0].unit_price.currency, "USD");
    assert_int_equal(totals.total.minor, 99);
}

static void test_what_cannot_be_priced(void **state) {
    struct line_list lines;
    struct totals totals;
    static const struct {
        int32_t quantity;
        int64_t price_minor;
        const char *currency;
    } cases[] = {
        {1, 100, "EUR"}, {1, -1, "USD"}, {-1, 100, "USD"}, {2, INT64_MAX / 2 + 1, "USD"}, {INT32_MAX, INT64_MAX, "USD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct quantity quantity = {STR("apple"), cases[i].quantity};
        const struct product price = product("apple", cases[i].price_minor, cases[i].currency);
        assert_false(price_order(*state, STR("USD"), &quantity, &price, 1, &lines, &totals));
    }
    const struct quantity quantities[] = {{STR("apple"), 1}, {STR("pear"), 1}};
    const struct product products[] = {product("apple", INT64_MAX, "USD"), product("pear", 1, "USD")};
    assert_false(price_order(*state, STR("USD"), quantities, products, 2, &lines, &totals));
    assert_true(price_order(*state, STR("USD"), quantities, products, 1, &lines, &totals));
    assert_int_equal(totals.total.minor, INT64_MAX);
}

static void test_balance_is_checked(void **state) {
    (void)state;
    const struct money usd0 = {0, STR("USD")}, usd5 = {5, STR("USD")}, usd10 = {10, STR("USD")};
    struct line line = {STR("apple"), STR("a name"), 2, usd5, usd10, 7};
    struct line_list lines = {&line, 1};
    struct totals totals = {usd10, usd0, usd0, usd0, usd10};
    assert_true(price_balances(&lines, &totals));
    totals = (struct totals){usd10, usd5, usd5, usd5, (struct money){15, STR("USD")}};
    assert_true(price_balances(&lines, &totals));

    totals.total.minor = 14;
    assert_false(price_balances(&lines, &totals));
    totals = (struct totals){usd5, usd0, usd0, usd0, usd5}; /* not the lines' sum */
    assert_false(price_balances(&lines, &totals));
    totals = (struct totals){usd10, usd0, usd0, {0, STR("EUR")}, usd10};
    assert_false(price_balances(&lines, &totals));
    totals = (struct totals){usd10, usd0, {-5, STR("USD")}, usd5, usd10};
    assert_false(price_balances(&lines, &totals));
    totals = (struct totals){usd10, usd0, {INT64_MAX, STR("USD")}, usd5, usd10};
    assert_false(price_balances(&lines, &totals));

    totals = (struct totals){usd10, usd0, usd0, usd0, usd10};
    line.quantity = 1; /* the line's total is not its price times its quantity */
    assert_false(price_balances(&lines, &totals));
    line = (struct line){STR("apple"), STR("a name"), 2, usd5, {10, STR("EUR")}, 7};
    assert_false(price_balances(&lines, &totals));
    line = (struct line){STR("apple"), STR("a name"), 2, {5, STR("EUR")}, usd10, 7};
    assert_false(price_balances(&lines, &totals));
    line = (struct line){STR("apple"), STR("a name"), 0, usd5, usd0, 7};
    totals = (struct totals){usd0, usd0, usd0, usd0, usd0};
    assert_false(price_balances(&lines, &totals));
    line = (struct line){STR("apple"), STR("a name"), -2, {-5, STR("USD")}, usd10, 7};
    totals = (struct totals){usd10, usd0, usd0, usd0, usd10};
    assert_false(price_balances(&lines, &totals));
    line = (struct line){STR("apple"), STR("a name"), 2, {INT64_MAX, STR("USD")}, usd10, 7};
    assert_false(price_balances(&lines, &totals));
}

/* Random carts: what price_order makes always balances, or is refused. */
static void test_prices_always_balance(void **state) {
    uint64_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        struct quantity quantities[8];
        struct product products[8];
        size_t count = test_random_below(&seed, 9);
        for (size_t i = 0; i < count; i++) {
            quantities[i] = (struct quantity){STR("sku"), (int32_t)test_random_below(&seed, INT32_MAX - 1) + 1};
            products[i] = product("sku", (int64_t)(test_random(&seed) >> (1 + test_random_below(&seed, 62))), "USD");
        }
        struct line_list lines;
        struct totals totals;
        if (price_order(*state, STR("USD"), quantities, products, count, &lines, &totals))
            assert_true(price_balances(&lines, &totals));
    }
}

static void test_numbers_as_text(void **state) {
    assert_str(reason_number(*state, 0), "0");
    assert_str(reason_number(*state, 1999), "1999");
    assert_str(reason_number(*state, -7), "-7");
    assert_str(reason_number(*state, INT64_MAX), "9223372036854775807");
    assert_str(reason_number(*state, INT64_MIN), "-9223372036854775808");
    assert_str(REASON_TEXT(*state, STR("a"), STR(""), STR_NULL, STR("bc")), "abc");
}

static void test_every_reason_has_its_slug(void **state) {
    (void)state;
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        struct str slug = reason_slug((enum reason)i);
        assert_true(slug.len > 0);
        for (int j = REASON_NONE + 1; j < i; j++)
            assert_false(str_eq(slug, reason_slug((enum reason)j)));
    }
    assert_str(reason_slug(REASON_OUT_OF_STOCK), "out-of-stock");
}

static void test_defaults(void **state) {
    (void)state;
    struct shop shop = shop_defaults();
    assert_str(shop.currency, "USD");
    assert_str(shop.location, "main");
    assert_int_equal(shop.quantity_max, 999);
    assert_int_equal(shop.lines_max, 200);
    assert_int_equal(shop.payment_attempts, 5);
    assert_int_equal(shop.payment_deadline_us, 1800000000);
    assert_int_equal(shop.cart_abandon_us, 2592000000000);
    assert_int_equal(shop.hold_expiry_us, 60000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_and_totals),
        cmocka_unit_test(test_nothing_costs_nothing),
        cmocka_unit_test(test_what_is_not_for_sale_is_shown_for_nothing),
        cmocka_unit_test(test_what_cannot_be_priced),
        cmocka_unit_test(test_balance_is_checked),
        cmocka_unit_test(test_prices_always_balance),
        cmocka_unit_test(test_numbers_as_text),
        cmocka_unit_test(test_every_reason_has_its_slug),
        cmocka_unit_test(test_defaults),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
