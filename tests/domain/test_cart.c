/* The cart's fold, as checkout and the cart views share it. */
#include "core/domain/cart.h"
#include "tests/domain/cart_records.h"

#include <stdio.h>

struct world {
    struct arena arena;
    struct shop shop;
    struct state_cart *cart;
    struct str reason;
};

static int begin(void **state) {
    static struct world world;
    world = (struct world){.shop = shop_defaults()};
    arena_init(&world.arena);
    *state = &world;
    return 0;
}

static int end(void **state) {
    arena_free(&((struct world *)*state)->arena);
    return 0;
}

static enum cart_verdict fold_at(struct world *w, const char *id, int64_t time_us, const struct message *message) {
    struct envelope envelope = {
        .key = STR(CART), .id = str_from(id), .command_id = str_from(id), .timestamp_us = time_us};
    w->reason = STR_NULL;
    return cart_evolve(&w->shop, &w->arena, &w->cart, &envelope, message, &w->reason);
}

static enum cart_verdict fold(struct world *w, const char *id, struct message message) {
    return fold_at(w, id, 1, &message);
}

/* "apple 2, pear 1" */
static void assert_lines(struct world *w, const char *text) {
    BUF_AUTO got = {0};
    for (size_t i = 0; i < w->cart->lines.count; i++)
        buf_printf(&got, "%s%.*s %d", i ? ", " : "", STR_ARG(w->cart->lines.items[i].sku),
                   w->cart->lines.items[i].quantity);
    assert_str(buf_str(&got), text);
}

static void test_lines(void **state) {
    struct world *w = *state;
    assert_int_equal(fold(w, "c1", cart_created()), CART_TAKEN);
    assert_true(cart_exists(w->cart));
    assert_str(w->cart->shopper_id, SHOPPER);
    assert_str(w->cart->currency, "USD");
    assert_lines(w, "");
    assert_int_equal(fold(w, "c2", cart_added("apple", 2)), CART_TAKEN);
    assert_int_equal(fold(w, "c3", cart_added("pear", 1)), CART_TAKEN);
    assert_int_equal(fold(w, "c4", cart_added("fig", 9)), CART_TAKEN);
    assert_lines(w, "apple 2, pear 1, fig 9");
    assert_int_equal(fold(w, "c5", cart_added("apple", 3)), CART_TAKEN);
    assert_lines(w, "apple 5, pear 1, fig 9");
    assert_int_equal(fold(w, "c6", cart_changed("pear", 7)), CART_TAKEN);
    assert_lines(w, "apple 5, pear 7, fig 9");
    assert_int_equal(fold(w, "c7", cart_removed("pear")), CART_TAKEN);
    assert_lines(w, "apple 5, fig 9");
    assert_int_equal(fold(w, "c8", cart_removed("apple")), CART_TAKEN);
    assert_int_equal(fold(w, "c9", cart_removed("fig")), CART_TAKEN);
    assert_lines(w, "");
}

static void test_refused_changes(void **state) {
    struct world *w = *state;
    w->shop.lines_max = 2;
    fold(w, "c1", cart_created());
    fold(w, "c2", cart_added("apple", 990));
    fold(w, "c3", cart_added("pear", 1));
    struct message stranger = cart_added("apple", 1);
    stranger.cart_line_added.shopper_id = STR("shopper-2");
    const struct {
        struct message change;
        const char *reason;
    } cases[] = {
        {cart_created(), "transition-refused"},
        {cart_added("apple", 10), "quantity-limit"},
        {cart_added("apple", 0), "quantity-limit"},
        {cart_added("apple", -5), "quantity-limit"},
        {cart_added("apple", INT32_MAX), "quantity-limit"},
        {cart_changed("apple", 1000), "quantity-limit"},
        {cart_changed("apple", 0), "quantity-limit"},
        {cart_changed("apple", INT32_MIN), "quantity-limit"},
        {cart_added("fig", 1), "line-limit"},
        {cart_changed("fig", 1), "not-found"},
        {cart_removed("fig"), "not-found"},
        {stranger, "not-found"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char id[16];
        snprintf(id, sizeof id, "x%zu", i);
        assert_int_equal(fold(w, id, cases[i].change), CART_REFUSED);
        assert_str(w->reason, cases[i].reason);
        const struct state_cart_command *command = cart_command_find(w->cart, str_from(id));
        assert_true(command->answered);
        assert_str(command->refusal, cases[i].reason);
        assert_lines(w, "apple 990, pear 1");
    }
    assert_int_equal(fold(w, "c4", cart_added("apple", 9)), CART_TAKEN);
    assert_lines(w, "apple 999, pear 1");
}

static void test_another_currency(void **state) {
    struct world *w = *state;
    struct message euros = cart_created();
    euros.cart_created.currency = STR("EUR");
    assert_int_equal(fold(w, "c1", euros), CART_REFUSED);
    assert_str(w->reason, "wrong-currency");
    assert_false(cart_exists(w->cart));
    assert_int_equal(fold(w, "c2", cart_added("apple", 1)), CART_REFUSED);
    assert_str(w->reason, "not-found");
    assert_int_equal(fold(w, "c3", cart_created()), CART_TAKEN);
}

static void test_before_it_is_created(void **state) {
    struct world *w = *state;
    assert_false(cart_exists(w->cart));
    assert_int_equal(fold(w, "c1", cart_added("apple", 1)), CART_REFUSED);
    assert_str(w->reason, "not-found");
    assert_false(cart_exists(w->cart));
    assert_int_equal(fold(w, "c1", cart_added("apple", 1)), CART_AGAIN);
}

static void test_commands_count_once(void **state) {
    struct world *w = *state;
    fold(w, "b", cart_created());
    /* In an order that the sorted list must cope with. */
    assert_int_equal(fold(w, "d", cart_added("apple", 1)), CART_TAKEN);
    assert_int_equal(fold(w, "a", cart_added("apple", 1)), CART_TAKEN);
    assert_int_equal(fold(w, "c", cart_added("apple", 1)), CART_TAKEN);
    assert_lines(w, "apple 3");
    for (const char *id = "a\0b\0c\0d\0"; *id; id += 2) {
        struct message again = *id == 'b' ? cart_created() : cart_added("apple", 1);
        assert_int_equal(fold(w, id, again), CART_AGAIN);
        again.cart_created.body_hash = STR("other");
        if (*id != 'b')
            again.cart_line_added.body_hash = STR("other");
        assert_int_equal(fold(w, id, again), CART_KEY_REUSED);
    }
    assert_lines(w, "apple 3");
    assert_int_equal(w->cart->commands.count, 4);
    assert_null(cart_command_find(w->cart, STR("bb")));
    assert_null(cart_command_find(w->cart, STR("z")));
}

static struct message accepted(const char *order_id) {
    return (struct message){.type = MESSAGE_CHECKOUT_ACCEPTED,
                            .checkout_accepted = {.cart_id = STR(CART), .order_id = str_from(order_id)}};
}

static struct message refused(const char *order_id, const char *reason) {
    return (struct message){
        .type = MESSAGE_CHECKOUT_REFUSED,
        .checkout_refused = {.cart_id = STR(CART), .order_id = str_from(order_id), .reason = str_from(reason)}};
}

static struct message reopened(const char *order_id) {
    return (struct message){.type = MESSAGE_CHECKOUT_CART_REOPENED,
                            .checkout_cart_reopened = {STR(CART), str_from(order_id), STR("out-of-stock")}};
}

static void test_status_is_of_checkout(void **state) {
    struct world *w = *state;
    fold(w, "c1", cart_created());
    fold(w, "c2", cart_added("apple", 1));
    fold(w, "c3", cart_checkout("order-1", 5));
    assert_int_equal(w->cart->status, STATE_CART_STATUS_OPEN);
    assert_false(cart_command_find(w->cart, STR("c3"))->answered);
    fold(w, "c3", refused("order-1", "price-changed"));
    assert_int_equal(w->cart->status, STATE_CART_STATUS_OPEN);
    assert_str(cart_command_find(w->cart, STR("c3"))->refusal, "price-changed");
    assert_int_equal(cart_order_find(w->cart, STR("order-1"))->outcome, STATE_CART_OUTCOME_REFUSED);

    fold(w, "c4", cart_checkout("order-2", 5));
    fold(w, "c4", accepted("order-2"));
    assert_int_equal(w->cart->status, STATE_CART_STATUS_CHECKED_OUT);
    assert_str(w->cart->live_order_id, "order-2");
    assert_true(cart_command_find(w->cart, STR("c4"))->answered);
    assert_null(cart_command_find(w->cart, STR("c4"))->refusal.ptr);
    assert_int_equal(fold(w, "c5", cart_added("pear", 1)), CART_TAKEN); /* shows if the cart reopens */
    fold(w, "c4", reopened("order-2"));
    assert_int_equal(w->cart->status, STATE_CART_STATUS_OPEN);
    assert_null(w->cart->live_order_id.ptr);
    assert_str(cart_order_find(w->cart, STR("order-2"))->reason, "out-of-stock");
    assert_lines(w, "apple 1, pear 1");

    fold(w, "", (struct message){.type = MESSAGE_CHECKOUT_CART_ABANDONED, .checkout_cart_abandoned = {STR(CART)}});
    assert_int_equal(w->cart->status, STATE_CART_STATUS_ABANDONED);
    assert_int_equal(fold(w, "c6", cart_added("apple", 1)), CART_TAKEN);
    assert_int_equal(w->cart->orders.count, 2);
}

/* A view may read the two topics in any interleaving. */
static void test_answers_may_come_first(void **state) {
    struct world *w = *state;
    struct message no = {.type = MESSAGE_CHECKOUT_COMMAND_REFUSED,
                         .checkout_command_refused = {STR(CART), STR("not-found"), STR("")}};
    fold(w, "c2", no);
    fold(w, "c3", accepted("order-1"));
    assert_false(cart_exists(w->cart));
    assert_true(cart_command_find(w->cart, STR("c3"))->answered);
    assert_int_equal(fold(w, "c1", cart_created()), CART_TAKEN);
    assert_int_equal(fold(w, "c2", cart_removed("apple")), CART_REFUSED);
    assert_int_equal(fold(w, "c3", cart_checkout("order-1", 5)), CART_TAKEN);
    assert_true(cart_command_find(w->cart, STR("c3"))->answered);
    assert_int_equal(w->cart->status, STATE_CART_STATUS_CHECKED_OUT);
    assert_int_equal(fold(w, "c3", cart_checkout("order-1", 5)), CART_AGAIN);
}

static void test_a_reused_key_keeps_its_answer(void **state) {
    struct world *w = *state;
    fold(w, "c1", cart_created());
    fold(w, "c2", cart_added("apple", 1));
    fold(w, "c2",
         (struct message){.type = MESSAGE_CHECKOUT_COMMAND_REFUSED,
                          .checkout_command_refused = {STR(CART), STR("idempotency-key-reused"), STR("")}});
    assert_true(cart_command_find(w->cart, STR("c2"))->answered);
    assert_null(cart_command_find(w->cart, STR("c2"))->refusal.ptr);
}

static void test_time_of_the_last_change(void **state) {
    struct world *w = *state;
    const struct message created = cart_created(), added = cart_added("apple", 1);
    fold_at(w, "c1", 10, &created);
    fold_at(w, "c2", 20, &added);
    fold_at(w, "c3", 15, &added);
    assert_int_equal(w->cart->changed_at, 20);
    fold_at(w, "c3", 30, &added); /* again */
    assert_int_equal(w->cart->changed_at, 20);
}

/* Whoever kept the cart as it was still has it so. */
static void test_lists_are_not_written_to(void **state) {
    struct world *w = *state;
    fold(w, "c1", cart_created());
    fold(w, "c2", cart_added("apple", 1));
    fold(w, "c3", accepted("order-1"));
    struct state_cart before = *w->cart;
    fold(w, "c0", cart_added("apple", 1));
    fold(w, "c4", cart_removed("apple"));
    fold(w, "c3", reopened("order-1"));
    assert_int_equal(before.lines.items[0].quantity, 1);
    assert_str(before.commands.items[0].command_id, "c1");
    assert_int_equal(before.orders.items[0].outcome, STATE_CART_OUTCOME_ACCEPTED);
}

static void test_other_records(void **state) {
    struct world *w = *state;
    struct message other = cart_created();
    other.cart_created.cart_id = STR("cart-2");
    assert_int_equal(fold(w, "c1", other), CART_NOT_OURS);
    assert_int_equal(fold(w, "c1", cart_reopen("order-1")), CART_NOT_OURS);
    assert_null(w->cart);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, begin, end),
        cmocka_unit_test_setup_teardown(test_refused_changes, begin, end),
        cmocka_unit_test_setup_teardown(test_another_currency, begin, end),
        cmocka_unit_test_setup_teardown(test_before_it_is_created, begin, end),
        cmocka_unit_test_setup_teardown(test_commands_count_once, begin, end),
        cmocka_unit_test_setup_teardown(test_status_is_of_checkout, begin, end),
        cmocka_unit_test_setup_teardown(test_answers_may_come_first, begin, end),
        cmocka_unit_test_setup_teardown(test_a_reused_key_keeps_its_answer, begin, end),
        cmocka_unit_test_setup_teardown(test_time_of_the_last_change, begin, end),
        cmocka_unit_test_setup_teardown(test_lists_are_not_written_to, begin, end),
        cmocka_unit_test_setup_teardown(test_other_records, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
