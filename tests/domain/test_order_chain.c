/* The five deciders together, in memory: carts are filled and bought, goods are counted, picked, sent, the provider
 * answers as it likes, and every topic is read at its own pace. When all is quiet, every order_id that was asked for
 * has come to its end, the stock adds up, and money was taken for what was sent and for nothing else. */
#include "core/domain/cart.h"
#include "core/domain/payments.h"
#include "tests/support/room.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHECKOUT, ROOM_ORDERS, INVENTORY, PAYMENTS, FULFILMENT, ROOMS, CARTS = 10, BUYS = 3, STEPS = 4000 };

/* One input topic of a room. Its records come from the outside and from other rooms. */
struct channel {
    int room;
    struct str topic;
    const struct test_record **items;
    size_t count, next;
};

struct chain {
    uint64_t seed;
    struct arena arena;
    struct test_room *rooms[ROOMS];
    size_t routed[ROOMS];
    struct channel channels[16];
    size_t channel_count;
    size_t commands;
    int buys[CARTS];
    bool answered[4096]; /* by intent of payments */
    bool ending;
};

static bool chance(struct chain *chain, size_t percent) {
    return test_random_below(&chain->seed, 100) < percent;
}

static struct str text(struct chain *chain, const char *format, int a, int b) {
    BUF_AUTO buf = {0};
    buf_printf(&buf, format, a, b);
    return arena_dup(&chain->arena, buf_str(&buf));
}

static void send(struct chain *chain, const struct test_record *record) {
    for (size_t i = 0; i < chain->channel_count; i++) {
        struct channel *channel = &chain->channels[i];
        if (!str_eq(channel->topic, record->topic))
            continue;
        channel->items = mem_realloc(channel->items, (channel->count + 1) * sizeof(struct test_record *));
        channel->items[channel->count++] = record;
    }
}

/* What the API appends. */
static void command(struct chain *chain, const char *topic, struct str key, const struct message *message) {
    struct test_record *record = arena_new(&chain->arena, struct test_record);
    *record = (struct test_record){.topic = str_from(topic), .key = key, .subject = key};
    record->id = record->command_id = text(chain, "command-%d", (int)chain->commands++, 0);
    record->message.type = message->type;
    avro_copy(schema_messages[message->type], message_body(message), &chain->arena,
              (void *)&record->message.cart_created);
    send(chain, record);
}

static void route(struct chain *chain) {
    for (int r = 0; r < ROOMS; r++)
        for (; chain->routed[r] < chain->rooms[r]->log_count; chain->routed[r]++)
            if (chain->rooms[r]->log[chain->routed[r]]->emitted)
                send(chain, chain->rooms[r]->log[chain->routed[r]]);
}

/* ---- shoppers, operators, the provider ---- */

#define MAIN STR("main")
static const char *const skus[] = {"apple", "pear", "fig"};
static const int64_t prices[] = {150, 99, 1000};

static void create_cart(struct chain *chain, int cart) {
    struct message message = {
        .type = MESSAGE_CART_CREATED,
        .cart_created = {text(chain, "cart-%d", cart, 0), text(chain, "shopper-%d", cart, 0), STR("USD"), STR("h")}};
    command(chain, TOPIC_CART_EVENTS, message.cart_created.cart_id, &message);
}

static void add_line(struct chain *chain, int cart) {
    size_t sku = test_random_below(&chain->seed, 3);
    struct message message = {.type = MESSAGE_CART_LINE_ADDED,
                              .cart_line_added = {text(chain, "cart-%d", cart, 0), text(chain, "shopper-%d", cart, 0),
                                                  str_from(skus[sku]), 1 + (int32_t)test_random_below(&chain->seed, 3),
                                                  STR("h")}};
    command(chain, TOPIC_CART_EVENTS, message.cart_line_added.cart_id, &message);
}

static int64_t total_of(struct chain *chain, struct str cart_id) {
    char key[32];
    snprintf(key, sizeof key, "%.*s", STR_ARG(cart_id));
    const struct state_cart *cart = test_room_state(chain->rooms[CHECKOUT], 0, key);
    int64_t total = 0;
    for (size_t i = 0; cart && i < cart->lines.count; i++)
        for (size_t s = 0; s < 3; s++)
            if (str_eq(cart->lines.items[i].sku, str_from(skus[s])))
                total += prices[s] * cart->lines.items[i].quantity;
    return total;
}

static void buy(struct chain *chain, int cart) {
    if (chain->buys[cart] == BUYS)
        return;
    struct str cart_id = text(chain, "cart-%d", cart, 0);
    struct message message = {.type = MESSAGE_CART_CHECKOUT_REQUESTED,
                              .cart_checkout_requested = {
                                  .cart_id = cart_id,
                                  .shopper_id = text(chain, "shopper-%d", cart, 0),
                                  .order_id = text(chain, "order-%d-%d", cart, chain->buys[cart]++),
                                  .expected_total = {total_of(chain, cart_id), STR("USD")},
                                  .payment_method = STR("pm_card_visa"),
                                  .personal_ref = STR("ref"),
                                  .ship_to = {STR("US"), STR("OR")},
                                  .body_hash = STR("h"),
                              }};
    command(chain, TOPIC_CART_EVENTS, cart_id, &message);
}

static struct str any_order(struct chain *chain) {
    return text(chain, "order-%d-%d", (int)test_random_below(&chain->seed, CARTS),
                (int)test_random_below(&chain->seed, BUYS));
}

static void ask_of_order(struct chain *chain, enum message_type type) {
    struct str order_id = any_order(chain);
    struct str shopper_id = text(chain, "shopper-%d", order_id.ptr[6] - '0', 0);
    struct message message = {.type = type};
    const char *topic = TOPIC_FULFILMENT_REQUESTS;
    if (type == MESSAGE_ORDER_CANCEL_ORDER) {
        message.order_cancel_order = (struct order_cancel_order){order_id, shopper_id, STR("shopper"), STR("h")};
        topic = TOPIC_ORDER_REQUESTS;
    } else if (type == MESSAGE_PAYMENT_SUBMIT_PAYMENT) {
        message.payment_submit_payment = (struct payment_submit_payment){order_id, shopper_id, STR("pm_2"), STR("h")};
        topic = TOPIC_PAYMENT_REQUESTS;
    } else if (type == MESSAGE_FULFILMENT_RECORD_PICK) {
        message.fulfilment_record_pick = (struct fulfilment_record_pick){order_id, STR("operator:ann"), STR("h")};
    } else if (type == MESSAGE_FULFILMENT_RECORD_DISPATCH) {
        message.fulfilment_record_dispatch =
            (struct fulfilment_record_dispatch){order_id, STR("post"), STR("T"), STR("operator:ann"), STR("h")};
    } else {
        message.fulfilment_record_delivery =
            (struct fulfilment_record_delivery){order_id, STR("operator:ann"), STR("h")};
    }
    command(chain, topic, order_id, &message);
}

static void count_stock(struct chain *chain) {
    struct str sku = str_from(skus[test_random_below(&chain->seed, 3)]);
    struct message message = {.type = MESSAGE_INVENTORY_RECEIVE_STOCK};
    if (chance(chain, 60)) {
        message.inventory_receive_stock = (struct inventory_receive_stock){sku, MAIN, 4, STR("operator:ann"), STR("h")};
    } else {
        message.type = MESSAGE_INVENTORY_ADJUST_STOCK;
        message.inventory_adjust_stock =
            (struct inventory_adjust_stock){sku, MAIN, -3, STR("lost"), STR("operator:ann"), STR("h")};
    }
    command(chain, TOPIC_INVENTORY_REQUESTS, MAIN, &message);
}

static bool answer_intent(struct chain *chain) {
    struct test_room *payments = chain->rooms[PAYMENTS];
    for (size_t i = 0; i < payments->intent_count; i++) {
        assert_true(i < sizeof chain->answered);
        if (chain->answered[i] || (chance(chain, 50) && !chain->ending))
            continue;
        const struct intent_call_provider *call = &payments->intents[i].message.intent_call_provider;
        bool authorize = call->action == INTENT_PROVIDER_ACTION_AUTHORIZE;
        enum intent_provider_outcome outcome = INTENT_PROVIDER_OUTCOME_SUCCEEDED;
        if (chance(chain, authorize ? 40 : 10))
            outcome = authorize ? INTENT_PROVIDER_OUTCOME_DECLINED : INTENT_PROVIDER_OUTCOME_FAILED;
        if (authorize && chance(chain, 20))
            outcome = INTENT_PROVIDER_OUTCOME_UNKNOWN;
        struct message message = {.type = MESSAGE_INTENT_PROVIDER_ANSWERED,
                                  .intent_provider_answered = {call->action, call->order_id, call->payment_id,
                                                               call->attempt, call->amount, outcome, STR("code"),
                                                               STR("sandbox"), STR("pi")}};
        char key[32];
        snprintf(key, sizeof key, "%.*s", STR_ARG(call->order_id));
        assert_true(test_room_result(payments, key, "command", &message));
        chain->answered[i] = outcome != INTENT_PROVIDER_OUTCOME_UNKNOWN;
        return true;
    }
    return false;
}

/* ---- the walk ---- */

/* What orders asks of the others is never in vain: a refusal would go out under the id of the shopper's command. */
static void check_not_refused(struct chain *chain, const struct channel *channel, const struct test_record *record,
                              size_t before) {
    enum message_type type = record->message.type;
    bool asked = type == MESSAGE_PAYMENT_VOID_PAYMENT || type == MESSAGE_PAYMENT_CAPTURE_PAYMENT ||
                 type == MESSAGE_FULFILMENT_CANCEL_FULFILMENT;
    const struct test_room *room = chain->rooms[channel->room];
    if (asked && (test_room_emits(room, before, MESSAGE_PAYMENT_COMMAND_REFUSED) ||
                  test_room_emits(room, before, MESSAGE_FULFILMENT_COMMAND_REFUSED)))
        fail_msg("%s refuses what orders asks of it: %.*s", room->decider->service, STR_ARG(message_name(type)));
}

static bool read_one(struct chain *chain, size_t at) {
    struct channel *channel = &chain->channels[at];
    if (channel->next == channel->count)
        return false;
    const struct test_record *record = channel->items[channel->next++];
    size_t before = chain->rooms[channel->room]->log_count;
    if (!test_room_pass(chain->rooms[channel->room], record))
        fail_msg("%s cannot handle %.*s: %s", chain->rooms[channel->room]->decider->service,
                 STR_ARG(message_name(record->message.type)), chain->rooms[channel->room]->why);
    check_not_refused(chain, channel, record, before);
    return true;
}

static void pass_time(struct chain *chain, int64_t us) {
    for (int r = 0; r < ROOMS; r++) {
        chain->rooms[r]->now_us += us;
        test_room_fire(chain->rooms[r]);
    }
}

static void act(struct chain *chain) {
    static const enum message_type asked[] = {MESSAGE_ORDER_CANCEL_ORDER,         MESSAGE_PAYMENT_SUBMIT_PAYMENT,
                                              MESSAGE_FULFILMENT_RECORD_PICK,     MESSAGE_FULFILMENT_RECORD_PICK,
                                              MESSAGE_FULFILMENT_RECORD_DISPATCH, MESSAGE_FULFILMENT_RECORD_DISPATCH,
                                              MESSAGE_FULFILMENT_RECORD_DELIVERY, MESSAGE_FULFILMENT_RECORD_DELIVERY};
    int cart = (int)test_random_below(&chain->seed, CARTS);
    switch (test_random_below(&chain->seed, 8)) {
    case 0:
        add_line(chain, cart);
        break;
    case 1:
        if (chance(chain, 30))
            buy(chain, cart);
        break;
    case 2:
        if (chance(chain, 30))
            count_stock(chain);
        break;
    case 3:
        pass_time(chain, chance(chain, 3) ? INT64_C(1800000000) : 1000000);
        break;
    default: {
        enum message_type type = asked[test_random_below(&chain->seed, sizeof asked / sizeof asked[0])];
        if (type != MESSAGE_ORDER_CANCEL_ORDER || chance(chain, 30))
            ask_of_order(chain, type);
        break;
    }
    }
}

static void step(struct chain *chain) {
    if (chance(chain, 20))
        act(chain);
    if (chance(chain, 30))
        answer_intent(chain);
    read_one(chain, test_random_below(&chain->seed, chain->channel_count));
    route(chain);
}

static const struct state_order *order_of(struct chain *chain, int cart, int buy_number) {
    char key[32];
    snprintf(key, sizeof key, "order-%d-%d", cart, buy_number);
    return test_room_state(chain->rooms[ROOM_ORDERS], 0, key);
}

static const struct state_payment *payment_of(struct chain *chain, int cart, int buy_number) {
    char key[32];
    snprintf(key, sizeof key, "order-%d-%d", cart, buy_number);
    return test_room_state(chain->rooms[PAYMENTS], 0, key);
}

/* A capture or void that the provider refused will be tried again. */
static bool call_is_waiting(struct chain *chain, int cart, int buy_number) {
    char key[32];
    snprintf(key, sizeof key, "order-%d-%d", cart, buy_number);
    const struct state_payment_call *call = test_room_state(chain->rooms[PAYMENTS], PAYMENTS_CALL, key);
    return call && call->status == STATE_PAYMENT_CALL_STATUS_WAITING;
}

static bool all_ended(struct chain *chain) {
    for (int cart = 0; cart < CARTS; cart++)
        for (int i = 0; i < chain->buys[cart]; i++) {
            const struct state_order *order = order_of(chain, cart, i);
            if (!order || order->status < ORDER_STATUS_COMPLETED || order->status == ORDER_STATUS_CANCELLING)
                return false;
            if (call_is_waiting(chain, cart, i))
                return false;
        }
    return true;
}

/* Until there is nothing left to read or to answer; the warehouse sends what it has. */
static void run_out(struct chain *chain) {
    chain->ending = true;
    for (int round = 0; round < 20000; round++) {
        bool busy = answer_intent(chain);
        for (size_t i = 0; i < chain->channel_count; i++)
            while (read_one(chain, i)) {
                busy = true;
                route(chain);
            }
        route(chain);
        if (busy)
            continue;
        if (all_ended(chain))
            return;
        static const enum message_type next[] = {MESSAGE_FULFILMENT_RECORD_PICK, MESSAGE_FULFILMENT_RECORD_DISPATCH,
                                                 MESSAGE_FULFILMENT_RECORD_DELIVERY};
        ask_of_order(chain, next[test_random_below(&chain->seed, 3)]);
        pass_time(chain, 60000000);
        route(chain);
    }
    fail_msg("the shop does not come to rest");
}

static void check_money_and_stock(struct chain *chain, size_t *ends) {
    int64_t consumed[3] = {0};
    for (int cart = 0; cart < CARTS; cart++)
        for (int i = 0; i < chain->buys[cart]; i++) {
            const struct state_order *order = order_of(chain, cart, i);
            const struct state_payment *payment = payment_of(chain, cart, i);
            ends[order->status]++;
            int64_t captured = payment ? payment->captured_minor : 0;
            bool completed = order->status == ORDER_STATUS_COMPLETED;
            assert_int_equal(captured, completed ? order->total.minor : 0);
            assert_true(!payment || payment->status != STATE_PAYMENT_STATUS_AUTHORIZED);
            for (size_t l = 0;
                 completed && order->reservation == STATE_ORDER_RESERVATION_CONSUMED && l < order->lines.count; l++)
                for (size_t s = 0; s < 3; s++)
                    if (str_eq(order->lines.items[l].sku, str_from(skus[s])))
                        consumed[s] += order->lines.items[l].quantity;
        }
    for (size_t s = 0; s < 3; s++) {
        char key[32];
        snprintf(key, sizeof key, "main/%s", skus[s]);
        const struct state_stock *stock = test_room_state(chain->rooms[INVENTORY], 0, key);
        if (!stock)
            continue;
        assert_int_equal(stock->counters.held, 0);
        assert_int_equal(stock->counters.committed, 0);
        assert_int_equal(stock->counters.consumed, consumed[s]);
        assert_true(stock->counters.available >= 0);
    }
}

/* A cart is open, or the order that it went to is one that came to something, or that was given up by its shopper. */
static void check_carts(struct chain *chain) {
    for (int cart = 0; cart < CARTS; cart++) {
        char key[32];
        snprintf(key, sizeof key, "cart-%d", cart);
        const struct state_cart *state = test_room_state(chain->rooms[CHECKOUT], 0, key);
        for (size_t i = 0; state && i < state->orders.count; i++) {
            const struct state_cart_order *said = &state->orders.items[i];
            const struct state_order *order = order_of(chain, cart, said->order_id.ptr[said->order_id.len - 1] - '0');
            if (said->outcome != STATE_CART_OUTCOME_ACCEPTED)
                assert_int_equal(order->status, ORDER_STATUS_REJECTED);
            else
                assert_int_not_equal(order->status, ORDER_STATUS_REJECTED);
        }
    }
}

static void chain_from(uint64_t seed, size_t *ends) {
    static const struct decider *const deciders[ROOMS] = {&checkout_decider, &orders_decider, &inventory_decider,
                                                          &payments_decider, &fulfilment_decider};
    struct chain *chain = mem_zalloc(sizeof *chain);
    arena_init(&chain->arena);
    chain->seed = seed;
    for (int r = 0; r < ROOMS; r++) {
        chain->rooms[r] = test_room_open(deciders[r]);
        for (size_t i = 0; i < deciders[r]->input_count; i++)
            chain->channels[chain->channel_count++] =
                (struct channel){.room = r, .topic = str_from(deciders[r]->inputs[i])};
    }
    for (size_t s = 0; s < 3; s++)
        test_room_product(chain->rooms[CHECKOUT], skus[s], prices[s]);
    for (int i = 0; i < CARTS; i++) {
        create_cart(chain, i);
        add_line(chain, i);
    }
    for (int i = 0; i < 30; i++)
        count_stock(chain);
    for (int i = 0; i < STEPS; i++)
        step(chain);
    run_out(chain);
    check_money_and_stock(chain, ends);
    check_carts(chain);
    for (int r = 0; r < ROOMS; r++)
        test_room_close(chain->rooms[r]);
    for (size_t i = 0; i < chain->channel_count; i++)
        free(chain->channels[i].items);
    arena_free(&chain->arena);
    free(chain);
}

static void test_chains(void **state) {
    (void)state;
    size_t ends[ORDER_STATUS_EXPIRED + 1] = {0};
    for (uint64_t seed = 1; seed <= 12; seed++)
        chain_from(seed, ends);
    assert_true(ends[ORDER_STATUS_COMPLETED] > 10);
    assert_true(ends[ORDER_STATUS_CANCELLED] > 5);
    assert_true(ends[ORDER_STATUS_REJECTED] > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
