/* Random walks: many orders, with the other services played by small models, every queue drained in random
 * interleavings, records repeated, shoppers cancelling and paying again, stock running short, deadlines passing.
 *
 * At every step: the status follows as section 5 says, versions have no holes, and money is only captured once, for
 * an order that shipped. When all is quiet: every order has ended, and nothing is held, committed or authorised for
 * one that came to nothing. And the log alone gives the same rows. */
#include "tests/domain/order_records.h"

#include <stdlib.h>

enum { ORDERS = 12, STEPS = 3000, QUEUE_MAX = 4096 };

struct queue {
    const struct test_record *items[QUEUE_MAX];
    size_t first, end;
};

enum stock { STOCK_NONE, STOCK_HELD, STOCK_COMMITTED, STOCK_REFUSED, STOCK_RELEASED, STOCK_CONSUMED };
enum pay { PAY_NONE, PAY_ASKED, PAY_UNKNOWN, PAY_DECLINED, PAY_AUTHORIZED, PAY_VOIDED, PAY_EXPIRED, PAY_CAPTURED };
enum goods { GOODS_NONE, GOODS_OPEN, GOODS_PICKED, GOODS_SENT, GOODS_THERE, GOODS_STOPPED };

/* What the others know of one order. */
struct model {
    char id[16];
    struct str payment_id;
    bool sent; /* PlaceOrder, or RejectOrder */
    enum stock stock;
    enum pay pay;
    int attempt;
    bool void_wanted;
    bool capture_wanted;
    enum goods goods;
    enum order_status status; /* as the events so far have it */
    int version;
    int captures;
};

struct walk {
    struct test_room *room;
    struct arena arena;
    uint64_t seed;
    struct model models[ORDERS];
    struct queue inventory, payments, fulfilment; /* requests */
    struct queue reservation, payment, shipment;  /* facts on their way to orders */
    size_t routed;                                /* of room->log */
};

static bool chance(struct walk *walk, size_t percent) {
    return test_random_below(&walk->seed, 100) < percent;
}

static void push(struct queue *queue, const struct test_record *record) {
    assert_true(queue->end < QUEUE_MAX);
    queue->items[queue->end++] = record;
}

static const struct test_record *pop(struct queue *queue) {
    return queue->first < queue->end ? queue->items[queue->first++] : NULL;
}

static struct model *model_of(struct walk *walk, struct str order_id) {
    for (size_t i = 0; i < ORDERS; i++)
        if (str_eq(order_id, str_from(walk->models[i].id)))
            return &walk->models[i];
    fail_msg("no such order: %.*s", STR_ARG(order_id));
    return NULL;
}

/* ---- what orders says goes to the others, and is checked ---- */

static void check_event(struct walk *walk, const struct test_record *record) {
    struct model *model = model_of(walk, record->key);
    struct state_order probe = {.version = model->version, .status = model->status};
    struct state_order *into = &probe;
    if (record->message.type == MESSAGE_ORDER_COMMAND_REFUSED)
        return;
    assert_true(order_evolve(&walk->arena, &into, &record->message));
    assert_int_equal(probe.version, model->version + 1);
    bool begins = model->version == 0 && record->message.type == MESSAGE_ORDER_PLACED;
    if (!begins && !order_may_follow(model->status, probe.status))
        fail_msg("%s: status %d may not become %d", model->id, (int)model->status, (int)probe.status);
    model->version = probe.version;
    model->status = probe.status;
}

static void route(struct walk *walk) {
    for (; walk->routed < walk->room->log_count; walk->routed++) {
        const struct test_record *record = walk->room->log[walk->routed];
        if (!record->emitted)
            continue;
        if (str_eq(record->topic, STR(TOPIC_ORDER_EVENTS)))
            check_event(walk, record);
        else if (str_eq(record->topic, STR(TOPIC_INVENTORY_REQUESTS)))
            push(&walk->inventory, record);
        else if (str_eq(record->topic, STR(TOPIC_PAYMENT_REQUESTS)))
            push(&walk->payments, record);
        else if (str_eq(record->topic, STR(TOPIC_FULFILMENT_REQUESTS)))
            push(&walk->fulfilment, record);
    }
}

static void tell(struct walk *walk, struct queue *queue, const struct model *model, struct message message) {
    struct test_record *record = arena_new(&walk->arena, struct test_record);
    *record = (struct test_record){
        .topic = str_from(order_topic_of(message.type)),
        .key = str_from(model->id),
        .subject = str_from(model->id),
        .id = arena_printf(&walk->arena, "fact-%zu-%zu", walk->room->log_count, queue->end),
        .command_id = STR("command"),
    };
    record->message.type = message.type;
    avro_copy(schema_messages[message.type], message_body(&message), &walk->arena,
              (void *)&record->message.cart_created);
    push(queue, record);
}

/* ---- the others ---- */

static void stock_to(struct walk *walk, struct model *model, enum stock stock, enum message_type type) {
    model->stock = stock;
    tell(walk, &walk->reservation, model, order_record_of(model->id, type));
}

static void play_inventory(struct walk *walk) {
    const struct test_record *request = pop(&walk->inventory);
    if (!request)
        return;
    assert_str(request->key, "main");
    struct model *model = model_of(walk, request->subject);
    bool promised = model->stock == STOCK_HELD || model->stock == STOCK_COMMITTED;
    switch (request->message.type) {
    case MESSAGE_INVENTORY_RESERVE_STOCK:
        assert_int_equal(model->stock, STOCK_NONE);
        if (chance(walk, 10))
            stock_to(walk, model, STOCK_REFUSED, MESSAGE_RESERVATION_STOCK_REFUSED);
        else
            stock_to(walk, model, STOCK_HELD, MESSAGE_RESERVATION_STOCK_RESERVED);
        return;
    case MESSAGE_INVENTORY_COMMIT_RESERVATION:
        if (model->stock == STOCK_HELD)
            stock_to(walk, model, STOCK_COMMITTED, MESSAGE_RESERVATION_COMMITTED);
        else
            tell(walk, &walk->reservation, model, order_record_of(model->id, MESSAGE_RESERVATION_COMMAND_REFUSED));
        return;
    case MESSAGE_INVENTORY_RELEASE_RESERVATION:
        if (promised)
            stock_to(walk, model, STOCK_RELEASED, MESSAGE_RESERVATION_RELEASED);
        return;
    default:
        assert_int_equal(request->message.type, MESSAGE_INVENTORY_CONSUME_RESERVATION);
        if (model->stock == STOCK_COMMITTED)
            stock_to(walk, model, STOCK_CONSUMED, MESSAGE_RESERVATION_CONSUMED);
        return;
    }
}

static void pay_tell(struct walk *walk, struct model *model, enum message_type type) {
    struct message message = order_record_of(model->id, type);
    switch (type) {
#define OF_ATTEMPT(TYPE, member)                                                                                       \
    case MESSAGE_##TYPE:                                                                                               \
        message.member.attempt = model->attempt;                                                                       \
        message.member.payment_id = model->payment_id;                                                                 \
        break;
        OF_ATTEMPT(PAYMENT_REQUESTED, payment_requested)
        OF_ATTEMPT(PAYMENT_AUTHORIZED, payment_authorized)
        OF_ATTEMPT(PAYMENT_DECLINED, payment_declined)
        OF_ATTEMPT(PAYMENT_OUTCOME_UNKNOWN, payment_outcome_unknown)
        OF_ATTEMPT(PAYMENT_CAPTURED, payment_captured)
        OF_ATTEMPT(PAYMENT_CAPTURE_FAILED, payment_capture_failed)
        OF_ATTEMPT(PAYMENT_VOID_REQUESTED, payment_void_requested)
        OF_ATTEMPT(PAYMENT_VOIDED, payment_voided)
        OF_ATTEMPT(PAYMENT_AUTHORIZATION_EXPIRED, payment_authorization_expired)
#undef OF_ATTEMPT
    default:
        break;
    }
    tell(walk, &walk->payment, model, message);
}

static void pay_ask(struct walk *walk, struct model *model) {
    model->pay = PAY_ASKED;
    model->attempt++;
    model->payment_id = arena_printf(&walk->arena, "%s-p%d", model->id, model->attempt);
    pay_tell(walk, model, MESSAGE_PAYMENT_REQUESTED);
}

static void pay_void(struct walk *walk, struct model *model) {
    if (model->pay == PAY_ASKED || model->pay == PAY_UNKNOWN) {
        if (!model->void_wanted)
            pay_tell(walk, model, MESSAGE_PAYMENT_VOID_REQUESTED);
        model->void_wanted = true;
    } else if (model->pay == PAY_AUTHORIZED || model->pay == PAY_DECLINED || model->pay == PAY_NONE) {
        model->pay = PAY_VOIDED;
        pay_tell(walk, model, MESSAGE_PAYMENT_VOIDED);
    } else {
        pay_tell(walk, model, MESSAGE_PAYMENT_COMMAND_REFUSED);
    }
}

static void play_payments(struct walk *walk) {
    const struct test_record *request = pop(&walk->payments);
    if (!request)
        return;
    struct model *model = model_of(walk, request->key);
    switch (request->message.type) {
    case MESSAGE_PAYMENT_AUTHORIZE_PAYMENT:
        assert_int_equal(model->pay, PAY_NONE);
        assert_str(request->message.payment_authorize_payment.payment_method, "pm_card_visa");
        assert_int_equal(request->message.payment_authorize_payment.amount.minor, 399);
        pay_ask(walk, model);
        return;
    case MESSAGE_PAYMENT_VOID_PAYMENT:
        assert_int_equal(model->captures, 0);
        pay_void(walk, model);
        return;
    default:
        assert_int_equal(request->message.type, MESSAGE_PAYMENT_CAPTURE_PAYMENT);
        assert_int_equal(request->message.payment_capture_payment.amount.minor, 399);
        assert_int_equal(model->captures++, 0);
        assert_true(model->goods >= GOODS_SENT);
        model->capture_wanted = true;
        return;
    }
}

/* The provider answers, or time passes. */
static void play_provider(struct walk *walk, struct model *model) {
    if (model->pay == PAY_ASKED || model->pay == PAY_UNKNOWN) {
        if (model->pay == PAY_ASKED && chance(walk, 20)) {
            model->pay = PAY_UNKNOWN;
            pay_tell(walk, model, MESSAGE_PAYMENT_OUTCOME_UNKNOWN);
            return;
        }
        bool yes = chance(walk, 60);
        model->pay = yes ? PAY_AUTHORIZED : PAY_DECLINED;
        pay_tell(walk, model, yes ? MESSAGE_PAYMENT_AUTHORIZED : MESSAGE_PAYMENT_DECLINED);
        if (model->void_wanted)
            pay_void(walk, model);
    } else if (model->pay == PAY_AUTHORIZED && model->capture_wanted) {
        bool fails = chance(walk, 30);
        model->pay = fails ? PAY_AUTHORIZED : PAY_CAPTURED;
        pay_tell(walk, model, fails ? MESSAGE_PAYMENT_CAPTURE_FAILED : MESSAGE_PAYMENT_CAPTURED);
    } else if (model->pay == PAY_AUTHORIZED && model->goods <= GOODS_OPEN && chance(walk, 10)) {
        model->pay = PAY_EXPIRED;
        pay_tell(walk, model, MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED);
    } else if (model->pay == PAY_DECLINED && !model->void_wanted && model->attempt < 5 && chance(walk, 60)) {
        pay_ask(walk, model); /* SubmitPayment */
    }
}

static void goods_to(struct walk *walk, struct model *model, enum goods goods, enum message_type type) {
    model->goods = goods;
    tell(walk, &walk->shipment, model, order_record_of(model->id, type));
}

static void play_fulfilment(struct walk *walk) {
    const struct test_record *request = pop(&walk->fulfilment);
    if (!request)
        return;
    struct model *model = model_of(walk, request->key);
    if (request->message.type == MESSAGE_FULFILMENT_REQUEST_FULFILMENT) {
        assert_int_equal(model->goods, GOODS_NONE);
        goods_to(walk, model, GOODS_OPEN, MESSAGE_FULFILMENT_REQUESTED);
    } else if (model->goods == GOODS_OPEN) {
        goods_to(walk, model, GOODS_STOPPED, MESSAGE_FULFILMENT_CANCELLED);
    } else {
        tell(walk, &walk->shipment, model, order_record_of(model->id, MESSAGE_FULFILMENT_CANCELLATION_REFUSED));
    }
}

static void play_warehouse(struct walk *walk, struct model *model) {
    if (model->goods == GOODS_OPEN && model->pay != PAY_EXPIRED)
        goods_to(walk, model, GOODS_PICKED, MESSAGE_FULFILMENT_PICKED);
    else if (model->goods == GOODS_PICKED)
        goods_to(walk, model, GOODS_SENT, MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED);
    else if (model->goods == GOODS_SENT)
        goods_to(walk, model, GOODS_THERE, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED);
    else if (chance(walk, 10) && (model->stock == STOCK_HELD || model->stock == STOCK_COMMITTED))
        stock_to(walk, model, STOCK_RELEASED, MESSAGE_RESERVATION_RELEASED); /* stock ran short */
}

/* ---- the walk ---- */

static void give(struct walk *walk, struct queue *queue) {
    const struct test_record *record = pop(queue);
    if (!record)
        return;
    assert_true(test_room_pass(walk->room, record));
    route(walk);
    size_t again = chance(walk, 10) ? test_random_below(&walk->seed, queue->first) : queue->first;
    if (again < queue->first) { /* any that was given before comes again */
        assert_true(test_room_pass(walk->room, queue->items[again]));
        route(walk);
    }
}

static void command(struct walk *walk, struct model *model, enum message_type type) {
    struct message message = order_record_of(model->id, type);
    order_give_message(walk->room, &message);
    route(walk);
}

static void shop(struct walk *walk, struct model *model) {
    if (chance(walk, model->sent ? 4 : 10))
        command(walk, model, MESSAGE_ORDER_CANCEL_ORDER);
    if (!model->sent) {
        command(walk, model, chance(walk, 95) ? MESSAGE_ORDER_PLACE_ORDER : MESSAGE_ORDER_REJECT_ORDER);
        model->sent = true;
    }
}

static void step(struct walk *walk) {
    struct model *model = &walk->models[test_random_below(&walk->seed, ORDERS)];
    switch (test_random_below(&walk->seed, 10)) {
    case 0:
        shop(walk, model);
        break;
    case 1:
        play_provider(walk, model);
        break;
    case 2:
        play_warehouse(walk, model);
        break;
    case 3:
        play_inventory(walk);
        break;
    case 4:
        play_payments(walk);
        break;
    case 5:
        play_fulfilment(walk);
        break;
    case 6:
        give(walk, &walk->reservation);
        break;
    case 7:
        give(walk, &walk->payment);
        break;
    case 8:
        give(walk, &walk->shipment);
        break;
    default:
        walk->room->now_us += chance(walk, 1) ? walk->room->shop.payment_deadline_us : 1000000;
        test_room_fire(walk->room);
        route(walk);
        break;
    }
}

static bool is_quiet(const struct walk *walk) {
    const struct queue *queues[] = {&walk->inventory,   &walk->payments, &walk->fulfilment,
                                    &walk->reservation, &walk->payment,  &walk->shipment};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++)
        if (queues[i]->first < queues[i]->end)
            return false;
    for (size_t i = 0; i < ORDERS; i++)
        if (!walk->models[i].sent || !order_has_ended(walk->models[i].status))
            return false;
    return true;
}

static void check_end(struct walk *walk) {
    for (size_t i = 0; i < ORDERS; i++) {
        const struct model *model = &walk->models[i];
        const struct state_order *order = test_room_state(walk->room, 0, model->id);
        assert_int_equal(order->status, model->status);
        assert_int_equal(order->version, model->version);
        if (model->status == ORDER_STATUS_COMPLETED) {
            assert_int_equal(model->pay, PAY_CAPTURED);
            assert_true(model->stock == STOCK_CONSUMED || model->stock == STOCK_RELEASED);
            continue;
        }
        assert_int_equal(model->captures, 0);
        assert_true(model->stock != STOCK_HELD && model->stock != STOCK_COMMITTED);
        assert_true(model->goods == GOODS_NONE || model->goods == GOODS_STOPPED);
        assert_int_not_equal(model->pay, PAY_AUTHORIZED);
    }
}

/* The same log, topic by topic in its order, but the topics interleaved otherwise. */
static void check_fold(struct walk *walk) {
    static const char *const topics[] = {TOPIC_ORDER_EVENTS, TOPIC_RESERVATION_EVENTS, TOPIC_PAYMENT_EVENTS,
                                         TOPIC_FULFILMENT_EVENTS};
    struct test_room *rebuilt = test_room_open(&orders_decider);
    size_t at[4] = {0};
    for (size_t left = 4; left;) {
        size_t topic = test_random_below(&walk->seed, 4);
        left = 0;
        for (size_t i = 0; i < 4; i++)
            left += at[i] < walk->room->log_count;
        while (at[topic] < walk->room->log_count && !str_eq(walk->room->log[at[topic]]->topic, str_from(topics[topic])))
            at[topic]++;
        if (at[topic] == walk->room->log_count)
            continue;
        test_room_fold(rebuilt, walk->room->log[at[topic]]);
        if (chance(walk, 10))
            test_room_fold(rebuilt, walk->room->log[at[topic]]);
        at[topic]++;
    }
    test_room_same_rows(walk->room, rebuilt);
    test_room_close(rebuilt);
}

static void walk_from(uint64_t seed, size_t *ends) {
    struct walk *walk = mem_zalloc(sizeof *walk);
    arena_init(&walk->arena);
    walk->seed = seed;
    walk->room = test_room_open(&orders_decider);
    for (size_t i = 0; i < ORDERS; i++)
        snprintf(walk->models[i].id, sizeof walk->models[i].id, "order-%zu", i);
    for (size_t i = 0; i < STEPS; i++)
        step(walk);
    for (size_t i = 0; !is_quiet(walk); i++) {
        if (i == 20UL * STEPS)
            fail_msg("seed %llu does not come to rest", (unsigned long long)seed);
        step(walk);
    }
    check_end(walk);
    check_fold(walk);
    for (size_t i = 0; i < ORDERS; i++)
        ends[walk->models[i].status]++;
    test_room_close(walk->room);
    arena_free(&walk->arena);
    free(walk);
}

static void test_walks(void **state) {
    (void)state;
    size_t ends[ORDER_STATUS_EXPIRED + 1] = {0};
    for (uint64_t seed = 1; seed <= 20; seed++)
        walk_from(seed, ends);
    /* The walks are worth something only if they reach every end. */
    assert_true(ends[ORDER_STATUS_COMPLETED] > 10);
    assert_true(ends[ORDER_STATUS_CANCELLED] > 10);
    assert_true(ends[ORDER_STATUS_REJECTED] > 10);
    assert_true(ends[ORDER_STATUS_EXPIRED] > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
