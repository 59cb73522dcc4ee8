/* The checkout decider: what it says at each record of a cart, in each state of the cart. */
#include "tests/domain/cart_records.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/domain/cart.h"
#include "core/domain/pricing.h"

static struct test_room *shop_open(void) {
    struct test_room *room = test_room_open(&checkout_decider);
    test_room_product(room, "apple", 150);
    test_room_product(room, "pear", 99);
    return room;
}

static void give_as(struct test_room *room, const char *id, struct message message) {
    const char *topic = message.type == MESSAGE_CHECKOUT_REOPEN_CART ? TOPIC_CHECKOUT_REQUESTS : TOPIC_CART_EVENTS;
    assert_true(test_room_give(room, topic, CART, id, &message));
}

static void give(struct test_room *room, struct message message) {
    char id[16];
    snprintf(id, sizeof id, "c-%zu", room->log_count);
    give_as(room, id, message);
}

static const struct state_cart *cart_of(struct test_room *room) {
    return test_room_state(room, 0, CART);
}

/* Two apples and a pear: 399. */
static struct test_room *filled_cart(void) {
    struct test_room *room = shop_open();
    give(room, cart_created());
    give(room, cart_added("apple", 2));
    give(room, cart_added("pear", 1));
    test_room_expect_nothing(room);
    return room;
}

/* ---- every pair of state and record ---- */

enum place { ABSENT, EMPTY, FILLED, CHECKED_OUT, REOPENED, ABANDONED, PLACE_COUNT };

static const char *const place_names[] = {"absent", "empty", "filled", "checked out", "reopened", "abandoned"};

static struct test_room *room_at(enum place place) {
    struct test_room *room = shop_open();
    if (place >= EMPTY)
        give(room, cart_created());
    if (place >= FILLED) {
        give(room, cart_added("apple", 2));
        give(room, cart_added("pear", 1));
    }
    if (place == CHECKED_OUT || place == REOPENED)
        give(room, cart_checkout("order-1", 399));
    if (place == REOPENED)
        give(room, cart_reopen("order-1"));
    if (place == ABANDONED)
        room->now_us += room->shop.cart_abandon_us;
    test_room_fire(room);
    room->log_seen = room->log_count;
    return room;
}

static void check_pair(enum place place, const char *what, struct message when, const enum message_type *then,
                       const char *reason) {
    struct test_room *room = room_at(place);
    char about[64];
    snprintf(about, sizeof about, "%s, then %s", place_names[place], what);
    room->about = about;
    size_t before = room->log_count;
    give(room, when);
    test_room_expect_types(room, then, __FILE__, __LINE__);
    if (test_room_emits(room, before, MESSAGE_CHECKOUT_COMMAND_REFUSED))
        assert_str(test_room_last(room, MESSAGE_CHECKOUT_COMMAND_REFUSED)->message.checkout_command_refused.reason,
                   reason);
    else if (test_room_emits(room, before, MESSAGE_CHECKOUT_REFUSED))
        assert_str(test_room_last(room, MESSAGE_CHECKOUT_REFUSED)->message.checkout_refused.reason, reason);
    else
        assert_null(reason);
    test_room_close(room);
}

static void test_every_pair(void **state) {
    (void)state;
    static const enum message_type nothing[] = {0}, no[] = {MESSAGE_CHECKOUT_COMMAND_REFUSED, 0},
                                   accepted[] = {MESSAGE_CHECKOUT_ACCEPTED, MESSAGE_ORDER_PLACE_ORDER, 0},
                                   refused[] = {MESSAGE_CHECKOUT_REFUSED, MESSAGE_ORDER_REJECT_ORDER, 0},
                                   reopened[] = {MESSAGE_CHECKOUT_CART_REOPENED, 0};
    static const char *const transition = "transition-refused", *const absent = "not-found";
    for (int i = ABSENT; i < PLACE_COUNT; i++) {
        enum place place = (enum place)i;
        bool exists = place != ABSENT, has_lines = place >= FILLED;
        check_pair(place, "created", cart_created(), exists ? no : nothing, exists ? transition : NULL);
        check_pair(place, "added", cart_added("apple", 1), exists ? nothing : no, exists ? NULL : absent);
        check_pair(place, "changed", cart_changed("apple", 1), has_lines ? nothing : no, has_lines ? NULL : absent);
        check_pair(place, "removed", cart_removed("apple"), has_lines ? nothing : no, has_lines ? NULL : absent);
        check_pair(place, "reopen", cart_reopen("order-1"), place == CHECKED_OUT ? reopened : nothing, NULL);
        check_pair(place, "reopen for another", cart_reopen("order-2"), nothing, NULL);
    }
    struct message buy = cart_checkout("order-9", 399);
    check_pair(ABSENT, "checkout", buy, refused, absent);
    check_pair(EMPTY, "checkout", buy, refused, "empty-cart");
    check_pair(FILLED, "checkout", buy, accepted, NULL);
    check_pair(CHECKED_OUT, "checkout", buy, refused, "cart-already-checked-out");
    check_pair(REOPENED, "checkout", buy, accepted, NULL);
    check_pair(ABANDONED, "checkout", buy, refused, transition);
}

/* ---- CheckoutRequested ---- */

static void test_accepted(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    give_as(room, "buy-1", cart_checkout("order-1", 399));
    test_room_expect(room, MESSAGE_CHECKOUT_ACCEPTED, MESSAGE_ORDER_PLACE_ORDER);
    const struct test_record *event = test_room_last(room, MESSAGE_CHECKOUT_ACCEPTED);
    const struct checkout_accepted *accepted = &event->message.checkout_accepted;
    assert_str(event->topic, TOPIC_CHECKOUT_EVENTS);
    assert_str(event->key, CART);
    assert_str(event->command_id, "buy-1");
    assert_int_equal(accepted->cart_offset, 3);
    assert_int_equal(accepted->totals.total.minor, 399);
    assert_str(accepted->lines.items[0].name, "Product apple");
    assert_int_equal(accepted->lines.items[0].revision, 7);
    assert_str(accepted->personal_ref, "ref-1");
    assert_str(accepted->ship_to.region, "OR");
    const struct test_record *request = test_room_last(room, MESSAGE_ORDER_PLACE_ORDER);
    const struct order_place_order *place = &request->message.order_place_order;
    assert_str(request->topic, TOPIC_ORDER_REQUESTS);
    assert_str(request->key, "order-1");
    assert_str(request->subject, "order-1");
    assert_str(request->command_id, "buy-1");
    assert_str(place->cart_id, CART);
    assert_str(place->shopper_id, SHOPPER);
    assert_str(place->payment_method, "pm_card_visa");
    assert_true(price_balances(&place->lines, &place->totals));
    assert_int_equal(cart_of(room)->status, STATE_CART_STATUS_CHECKED_OUT);
    test_room_close(room);
}

struct verdict {
    const char *reason;
    const char *pointer;
    const char *detail; /* of the first error */
    size_t errors;
    int64_t total; /* -1: none */
};

static void assert_rejected(struct test_room *room, const struct verdict *verdict) {
    test_room_expect(room, MESSAGE_CHECKOUT_REFUSED, MESSAGE_ORDER_REJECT_ORDER);
    const struct checkout_refused *refused = &test_room_last(room, MESSAGE_CHECKOUT_REFUSED)->message.checkout_refused;
    const struct test_record *request = test_room_last(room, MESSAGE_ORDER_REJECT_ORDER);
    const struct order_reject_order *reject = &request->message.order_reject_order;
    assert_str(refused->reason, verdict->reason);
    assert_int_equal(refused->errors.count, verdict->errors);
    assert_str(refused->errors.items[0].pointer, verdict->pointer);
    assert_str(refused->errors.items[0].detail, verdict->detail);
    if (verdict->total < 0)
        assert_null(refused->totals);
    else
        assert_int_equal(refused->totals->total.minor, verdict->total);
    assert_true(str_eq(request->key, refused->order_id));
    assert_str(reject->reason, verdict->reason);
    assert_int_equal(reject->errors.count, verdict->errors);
    assert_int_equal(reject->totals != NULL, verdict->total >= 0);
    assert_true(str_eq(reject->shopper_id, refused->shopper_id));
}

static void test_price_changed(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    test_room_product(room, "apple", 151);
    give(room, cart_checkout("order-1", 399));
    assert_rejected(
        room, &(struct verdict){"price-changed", "/expected_total", "the total is now 401 minor units of USD", 1, 401});
    assert_int_equal(cart_of(room)->status, STATE_CART_STATUS_OPEN);
    give(room, cart_checkout("order-2", 401));
    test_room_expect(room, MESSAGE_CHECKOUT_ACCEPTED, MESSAGE_ORDER_PLACE_ORDER);
    test_room_close(room);
}

static void test_unknown_products(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    test_room_product_remove(room, "apple");
    test_room_product_remove(room, "pear");
    give(room, cart_checkout("order-1", 399));
    assert_rejected(room, &(struct verdict){"unknown-product", "/cart_id", "apple is not for sale", 2, -1});
    test_room_close(room);
}

static void test_wrong_currency(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    struct message euros = cart_checkout("order-1", 399);
    euros.cart_checkout_requested.expected_total.currency = STR("EUR");
    give(room, euros);
    assert_rejected(room, &(struct verdict){"wrong-currency", "/expected_total", "this shop sells in USD", 1, 399});
    room->shop.currency = STR("EUR"); /* the shop's, not the cart's */
    give(room, cart_checkout("order-2", 399));
    assert_rejected(room, &(struct verdict){"wrong-currency", "/cart_id", "this shop sells in EUR", 1, -1});
    test_room_product(room, "apple", 150); /* its price is in euros */
    room->shop.currency = STR("USD");
    give(room, cart_checkout("order-3", 399));
    assert_rejected(room, &(struct verdict){"wrong-currency", "/cart_id", "apple has its price in EUR", 1, -1});
    test_room_close(room);
}

static void test_limits_lowered_since(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    room->shop.quantity_max = 1;
    give(room, cart_checkout("order-1", 399));
    assert_rejected(room,
                    &(struct verdict){"quantity-limit", "/cart_id", "apple: a cart takes 1 to 1 of a SKU", 1, -1});
    room->shop.lines_max = 1;
    give(room, cart_checkout("order-2", 399));
    assert_rejected(room, &(struct verdict){"line-limit", "/cart_id", "a cart has at most 1 lines", 1, -1});
    test_room_close(room);
}

static void test_more_than_there_is_money(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    test_room_product(room, "apple", INT64_MAX);
    give(room, cart_checkout("order-1", 399));
    assert_rejected(
        room, &(struct verdict){"quantity-limit", "/cart_id", "the total is more than can be paid at once", 1, -1});
    test_room_close(room);
}

static void test_second_checkout_names_the_winner(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    give(room, cart_checkout("order-1", 399));
    test_room_expect(room, MESSAGE_CHECKOUT_ACCEPTED, MESSAGE_ORDER_PLACE_ORDER);
    give(room, cart_checkout("order-2", 399));
    assert_rejected(room,
                    &(struct verdict){"cart-already-checked-out", "/cart_id", "the cart went to another order", 1, -1});
    assert_str(test_room_last(room, MESSAGE_CHECKOUT_REFUSED)->message.checkout_refused.winner, "order-1");
    assert_str(test_room_last(room, MESSAGE_ORDER_REJECT_ORDER)->message.order_reject_order.winner, "order-1");
    assert_str(cart_of(room)->live_order_id, "order-1");
    test_room_close(room);
}

static void test_strangers_find_nothing(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    struct message stranger = cart_checkout("order-1", 399);
    stranger.cart_checkout_requested.shopper_id = STR("shopper-2");
    give(room, stranger);
    assert_rejected(room, &(struct verdict){"not-found", "/cart_id", "there is no such cart", 1, -1});
    assert_null(test_room_last(room, MESSAGE_ORDER_REJECT_ORDER)->message.order_reject_order.winner.ptr);
    struct message added = cart_added("apple", 1);
    added.cart_line_added.shopper_id = STR("shopper-2");
    give(room, added);
    test_room_expect(room, MESSAGE_CHECKOUT_COMMAND_REFUSED);
    assert_int_equal(cart_of(room)->lines.items[0].quantity, 2);
    test_room_close(room);
}

static void test_an_order_is_answered_once(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    give_as(room, "buy-1", cart_checkout("order-1", 1));
    test_room_expect(room, MESSAGE_CHECKOUT_REFUSED, MESSAGE_ORDER_REJECT_ORDER);
    give_as(room, "buy-1", cart_checkout("order-1", 1));
    test_room_expect_nothing(room);
    give_as(room, "buy-2", cart_checkout("order-1", 399)); /* another command for the same order */
    test_room_expect(room, MESSAGE_CHECKOUT_COMMAND_REFUSED);
    assert_true(cart_command_find(cart_of(room), STR("buy-2"))->answered);
    struct message other = cart_checkout("order-1", 399);
    other.cart_checkout_requested.body_hash = STR("other");
    give_as(room, "buy-1", other);
    test_room_expect(room, MESSAGE_CHECKOUT_COMMAND_REFUSED);
    const struct test_record *refused = test_room_last(room, MESSAGE_CHECKOUT_COMMAND_REFUSED);
    assert_str(refused->message.checkout_command_refused.reason, "idempotency-key-reused");
    assert_str(refused->command_id, "buy-1");
    assert_str(cart_command_find(cart_of(room), STR("buy-1"))->refusal, "price-changed");
    test_room_close(room);
}

static void test_a_reopened_cart_shows_later_changes(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    give(room, cart_checkout("order-1", 399));
    give(room, cart_removed("apple"));
    give(room, cart_reopen("order-1"));
    room->log_seen = room->log_count;
    assert_int_equal(cart_of(room)->status, STATE_CART_STATUS_OPEN);
    give(room, cart_checkout("order-2", 99));
    test_room_expect(room, MESSAGE_CHECKOUT_ACCEPTED, MESSAGE_ORDER_PLACE_ORDER);
    give(room, cart_reopen("order-1")); /* late: not the live order any more */
    test_room_expect_nothing(room);
    assert_str(cart_of(room)->live_order_id, "order-2");
    test_room_close(room);
}

static void test_refusals_of_lines_say_why(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    static const struct {
        int32_t quantity;
        const char *detail;
    } cases[] = {{998, "a cart takes 1 to 999 of a SKU"}, {0, "a cart takes 1 to 999 of a SKU"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        give(room, cart_added("apple", cases[i].quantity));
        test_room_expect(room, MESSAGE_CHECKOUT_COMMAND_REFUSED);
        assert_str(test_room_last(room, MESSAGE_CHECKOUT_COMMAND_REFUSED)->message.checkout_command_refused.detail,
                   cases[i].detail);
    }
    room->shop.lines_max = 2;
    give(room, cart_added("fig", 1));
    assert_str(test_room_last(room, MESSAGE_CHECKOUT_COMMAND_REFUSED)->message.checkout_command_refused.detail,
               "a cart has at most 2 lines");
    test_room_close(room);
}

/* ---- nobody came back ---- */

static void test_abandoned(void **state) {
    (void)state;
    struct test_room *room = shop_open();
    const int64_t month_us = room->shop.cart_abandon_us, start_us = room->now_us;
    give(room, cart_created());
    room->now_us = start_us + month_us - 1;
    give(room, cart_added("apple", 1));
    room->now_us = start_us + month_us;
    assert_int_equal(test_room_fire(room), 1); /* looks, and waits on */
    test_room_expect_nothing(room);
    room->now_us = start_us + 2 * month_us - 2;
    assert_int_equal(test_room_fire(room), 0);
    room->now_us++;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect(room, MESSAGE_CHECKOUT_CART_ABANDONED);
    assert_int_equal(cart_of(room)->status, STATE_CART_STATUS_ABANDONED);
    assert_true(test_room_closed(room, 0, CART));
    assert_null(test_room_timer(room, CART, "abandoned"));
    test_room_close(room);
}

static void test_what_is_sold_is_not_abandoned(void **state) {
    (void)state;
    struct test_room *room = filled_cart();
    const int64_t month_us = room->shop.cart_abandon_us;
    give(room, cart_checkout("order-1", 399));
    room->log_seen = room->log_count;
    room->now_us += month_us;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect_nothing(room);
    give(room, cart_reopen("order-1"));
    test_room_expect(room, MESSAGE_CHECKOUT_CART_REOPENED);
    room->now_us += month_us - 1;
    assert_int_equal(test_room_fire(room), 0);
    room->now_us++;
    assert_int_equal(test_room_fire(room), 1);
    test_room_expect(room, MESSAGE_CHECKOUT_CART_ABANDONED);
    test_room_close(room);
}

/* ---- what cannot be handled ---- */

static void test_poison(void **state) {
    (void)state;
    struct test_room *room = shop_open();
    struct message created = cart_created(), reopen = cart_reopen("order-1");
    assert_false(test_room_give(room, TOPIC_CART_EVENTS, "cart-2", "c", &created));
    assert_false(test_room_give(room, TOPIC_CHECKOUT_REQUESTS, "cart-2", "c", &reopen));
    struct message event = {.type = MESSAGE_CHECKOUT_CART_ABANDONED, .checkout_cart_abandoned = {STR(CART)}};
    assert_false(test_room_give(room, TOPIC_CHECKOUT_EVENTS, CART, "c", &event));
    assert_false(test_room_result(room, CART, "c", &created));
    assert_false(test_room_timer_due(room, CART, "lunch"));
    assert_true(test_room_timer_due(room, CART, "abandoned")); /* of a cart that is not there */
    test_room_expect_nothing(room);
    assert_null(cart_of(room));
    test_room_close(room);
}

/* ---- random walks ---- */

enum { WALK_STEPS = 400, WALK_ORDERS = 60 };

struct answers {
    int placed[WALK_ORDERS];
    int rejected[WALK_ORDERS];
};

static struct message random_record(struct test_room *room, uint64_t *seed, int *order_count) {
    static char names[WALK_ORDERS][24];
    static const char *const skus[] = {"apple", "pear", "fig"};
    const char *sku = skus[test_random_below(seed, 3)];
    const struct state_cart *cart = cart_of(room);
    struct str live = cart && cart->live_order_id.ptr ? cart->live_order_id : STR("order-none");
    struct message message = cart_created();
    switch (test_random_below(seed, 8)) {
    case 0:
        break;
    case 1:
    case 2:
        message = cart_added(sku, (int32_t)test_random_below(seed, 4));
        break;
    case 3:
        message = cart_changed(sku, (int32_t)test_random_below(seed, 4));
        break;
    case 4:
        message = cart_removed(sku);
        break;
    case 5:
        if (*order_count < WALK_ORDERS) {
            struct line_list lines;
            struct totals totals = {0};
            struct product products[3];
            size_t count = cart ? cart->lines.count : 0;
            for (size_t i = 0; i < count; i++)
                products[i].sku = room_product(&room->room, cart->lines.items[i].sku, &products[i])
                                      ? cart->lines.items[i].sku
                                      : STR_NULL;
            assert_true(price_order(&room->kept, STR("USD"), cart ? cart->lines.items : NULL, products, count, &lines,
                                    &totals));
            snprintf(names[*order_count], sizeof names[0], "order-%d", *order_count);
            message = cart_checkout(names[(*order_count)++], totals.total.minor + (test_random_below(seed, 4) == 0));
        }
        break;
    default:
        message = cart_reopen("order-0");
        message.checkout_reopen_cart.order_id = live;
        break;
    }
    return message;
}

static void count_answers(struct test_room *room, struct answers *answers) {
    for (size_t i = 0; i < room->log_count; i++) {
        const struct test_record *record = room->log[i];
        if (record->message.type == MESSAGE_ORDER_PLACE_ORDER)
            answers->placed[atoi(record->key.ptr + 6)]++;
        if (record->message.type == MESSAGE_ORDER_REJECT_ORDER)
            answers->rejected[atoi(record->key.ptr + 6)]++;
    }
}

/* The two topics, each in its order, interleaved at random and sometimes repeated. */
static void check_fold(struct test_room *room, uint64_t *seed) {
    struct test_room *rebuilt = shop_open();
    size_t at[2] = {0};
    while (at[0] < room->log_count || at[1] < room->log_count) {
        size_t topic = test_random_below(seed, 2);
        if (at[topic] == room->log_count)
            continue;
        const struct test_record *record = room->log[at[topic]++];
        if (!str_eq(record->topic, topic ? STR(TOPIC_CHECKOUT_EVENTS) : STR(TOPIC_CART_EVENTS)))
            continue;
        test_room_fold(rebuilt, record);
        if (topic == 0 && test_random_below(seed, 10) == 0)
            test_room_fold(rebuilt, record);
    }
    test_room_same_rows(room, rebuilt);
    test_room_close(rebuilt);
}

static void test_walks(void **state) {
    (void)state;
    size_t placed = 0, rejected = 0;
    for (uint64_t first = 1; first <= 40; first++) {
        uint64_t seed = first;
        struct test_room *room = shop_open();
        int order_count = 0;
        char id[16];
        for (int i = 0; i < WALK_STEPS; i++) {
            size_t same = test_random_below(&seed, 10) == 0 ? test_random_below(&seed, (size_t)i + 1) : (size_t)i;
            struct message message = random_record(room, &seed, &order_count);
            snprintf(id, sizeof id, "c-%zu", same); /* some ids come again, with whatever body */
            bool keeps_id = message.type != MESSAGE_CART_CHECKOUT_REQUESTED;
            if (!keeps_id)
                snprintf(id, sizeof id, "buy-%d", i);
            give_as(room, id, message);
            room->now_us += 1000000;
            if (test_random_below(&seed, 300) == 0)
                room->now_us += room->shop.cart_abandon_us;
            test_room_fire(room);
        }
        struct answers answers = {0};
        count_answers(room, &answers);
        for (int i = 0; i < order_count; i++) {
            assert_int_equal(answers.placed[i] + answers.rejected[i], 1);
            placed += (size_t)answers.placed[i];
            rejected += (size_t)answers.rejected[i];
        }
        check_fold(room, &seed);
        test_room_close(room);
    }
    assert_true(placed > 20 && rejected > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_price_changed),
        cmocka_unit_test(test_unknown_products),
        cmocka_unit_test(test_wrong_currency),
        cmocka_unit_test(test_limits_lowered_since),
        cmocka_unit_test(test_more_than_there_is_money),
        cmocka_unit_test(test_second_checkout_names_the_winner),
        cmocka_unit_test(test_strangers_find_nothing),
        cmocka_unit_test(test_an_order_is_answered_once),
        cmocka_unit_test(test_a_reopened_cart_shows_later_changes),
        cmocka_unit_test(test_refusals_of_lines_say_why),
        cmocka_unit_test(test_abandoned),
        cmocka_unit_test(test_what_is_sold_is_not_abandoned),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
