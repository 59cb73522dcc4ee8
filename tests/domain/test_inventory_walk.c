/* Random scripts against inventory. From what it emitted alone: nothing is oversold at any point of the stream, every
 * row's versions have no hole, every change is of the size that its record says, and what reservations hold adds up to
 * the counters. And the rows are the fold of the events, whichever topic is read first. */
#include "tests/support/room.h"

#include <stdlib.h>

#include "core/domain/inventory.h"

enum { SKUS = 6, ORDERS = 40, STEPS = 400, SEEDS = 25 };
static const char *const skus[SKUS] = {"a", "b", "c", "d", "e/f", "g"};
static const char *const locations[] = {"main", "depot"};
enum { LOCATIONS = sizeof locations / sizeof *locations };

/* ---- the ledger: what the emitted stream says */

struct ledger_order {
    enum state_reservation_status status;
    bool known;
    size_t location;
    int32_t quantities[SKUS];
};

struct ledger {
    struct counters rows[LOCATIONS][SKUS];
    struct ledger_order orders[ORDERS];
    int64_t short_by; /* still to be made good by releases and an adjustment */
};

static size_t index_of(const char *const *names, size_t count, struct str name) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(str_from(names[i]), name))
            return i;
    fail_msg("what is %.*s?", STR_ARG(name));
    return 0;
}

static int64_t available_of(const struct counters *c) {
    return c->received + c->adjusted + c->restocked - c->held - c->committed - c->consumed;
}

/* One change of one row: the next version, this difference and no other, and nothing below zero. */
static void check_change(struct counters *row, struct stock_change change, const struct counters *after) {
    assert_int_equal(after->version, row->version + 1);
    assert_int_equal(after->received, row->received + change.received);
    assert_int_equal(after->adjusted, row->adjusted + change.adjusted);
    assert_int_equal(after->restocked, row->restocked);
    assert_int_equal(after->held, row->held + change.held);
    assert_int_equal(after->committed, row->committed + change.committed);
    assert_int_equal(after->consumed, row->consumed + change.consumed);
    assert_int_equal(after->available, available_of(after));
    assert_true(after->available >= 0 && after->held >= 0 && after->committed >= 0 && after->consumed >= 0);
    *row = *after;
}

static struct ledger_order *order_of(struct ledger *ledger, struct str order_id) {
    return &ledger->orders[atoi(order_id.ptr + 2)]; /* "o-17" */
}

static void check_lines(struct ledger *ledger, struct str order_id, struct str location,
                        const struct stock_line_list *lines, struct stock_change one) {
    struct ledger_order *order = order_of(ledger, order_id);
    for (size_t i = 0; i < lines->count; i++) {
        const struct stock_line *line = &lines->items[i];
        size_t sku = index_of(skus, SKUS, line->sku);
        int64_t n = line->quantity;
        if (one.held > 0)
            order->quantities[sku] = line->quantity;
        assert_int_equal(order->quantities[sku], line->quantity);
        check_change(
            &ledger->rows[index_of(locations, LOCATIONS, location)][sku],
            (struct stock_change){.held = one.held * n, .committed = one.committed * n, .consumed = one.consumed * n},
            &line->counters);
    }
}

static void check_reserved(struct ledger *ledger, const struct reservation_stock_reserved *m) {
    struct ledger_order *order = order_of(ledger, m->order_id);
    assert_false(order->known);
    check_lines(ledger, m->order_id, m->location, &m->lines, (struct stock_change){.held = 1});
    order->known = true;
    order->location = index_of(locations, LOCATIONS, m->location);
}

static void check_released(struct ledger *ledger, const struct reservation_released *m) {
    struct ledger_order *order = order_of(ledger, m->order_id);
    bool committed = order->status == STATE_RESERVATION_STATUS_COMMITTED;
    if (order->known)
        assert_true(committed || order->status == STATE_RESERVATION_STATUS_HELD);
    else
        assert_int_equal(m->lines.count, 0);
    check_lines(ledger, m->order_id, m->location, &m->lines,
                committed ? (struct stock_change){.committed = -1} : (struct stock_change){.held = -1});
    order->known = true;
    order->status = STATE_RESERVATION_STATUS_RELEASED;
}

static void check_moved(struct ledger *ledger, struct str order_id, struct str location,
                        const struct stock_line_list *lines, bool consumed) {
    struct ledger_order *order = order_of(ledger, order_id);
    assert_true(order->known);
    assert_int_equal(order->status, consumed ? STATE_RESERVATION_STATUS_COMMITTED : STATE_RESERVATION_STATUS_HELD);
    check_lines(ledger, order_id, location, lines,
                consumed ? (struct stock_change){.committed = -1, .consumed = 1}
                         : (struct stock_change){.held = -1, .committed = 1});
    order->status = consumed ? STATE_RESERVATION_STATUS_CONSUMED : STATE_RESERVATION_STATUS_COMMITTED;
}

static void check_refused(struct ledger *ledger, const struct reservation_stock_refused *m) {
    struct ledger_order *order = order_of(ledger, m->order_id);
    assert_false(order->known);
    assert_true(m->lines.count > 0);
    for (size_t i = 0; i < m->lines.count; i++) {
        const struct counters *row =
            &ledger->rows[index_of(locations, LOCATIONS, m->location)][index_of(skus, SKUS, m->lines.items[i].sku)];
        assert_int_equal(m->lines.items[i].available, row->available);
        assert_true(m->lines.items[i].requested > row->available);
    }
    order->known = true;
    order->status = STATE_RESERVATION_STATUS_REFUSED;
}

static struct counters *row_of(struct ledger *ledger, struct str location, struct str sku) {
    return &ledger->rows[index_of(locations, LOCATIONS, location)][index_of(skus, SKUS, sku)];
}

static void check_record(struct ledger *ledger, const struct message *message) {
    switch (message->type) {
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        check_reserved(ledger, &message->reservation_stock_reserved);
        break;
    case MESSAGE_RESERVATION_STOCK_REFUSED:
        check_refused(ledger, &message->reservation_stock_refused);
        break;
    case MESSAGE_RESERVATION_RELEASED:
        check_released(ledger, &message->reservation_released);
        break;
    case MESSAGE_RESERVATION_COMMITTED:
        check_moved(ledger, message->reservation_committed.order_id, message->reservation_committed.location,
                    &message->reservation_committed.lines, false);
        break;
    case MESSAGE_RESERVATION_CONSUMED:
        check_moved(ledger, message->reservation_consumed.order_id, message->reservation_consumed.location,
                    &message->reservation_consumed.lines, true);
        break;
    case MESSAGE_STOCK_RECEIVED:
        check_change(row_of(ledger, message->stock_received.location, message->stock_received.sku),
                     (struct stock_change){.received = message->stock_received.quantity},
                     &message->stock_received.counters);
        break;
    case MESSAGE_STOCK_ADJUSTED:
        check_change(row_of(ledger, message->stock_adjusted.location, message->stock_adjusted.sku),
                     (struct stock_change){.adjusted = message->stock_adjusted.quantity},
                     &message->stock_adjusted.counters);
        ledger->short_by = 0;
        break;
    case MESSAGE_STOCK_SHORT:
        ledger->short_by = message->stock_short.short_by;
        assert_true(ledger->short_by > 0);
        break;
    case MESSAGE_STOCK_LEVEL_CHANGED: {
        const struct stock_level_changed *m = &message->stock_level_changed;
        assert_memory_equal(row_of(ledger, m->location, m->sku), &m->counters, sizeof m->counters);
        break;
    }
    default:
        break;
    }
}

/* What is held and committed is what open reservations hold and committed. */
static void check_sums(const struct ledger *ledger) {
    assert_int_equal(ledger->short_by, 0);
    for (size_t location = 0; location < LOCATIONS; location++)
        for (size_t sku = 0; sku < SKUS; sku++) {
            int64_t held = 0, committed = 0;
            for (size_t i = 0; i < ORDERS; i++) {
                const struct ledger_order *order = &ledger->orders[i];
                if (order->known && order->location == location && order->status == STATE_RESERVATION_STATUS_HELD)
                    held += order->quantities[sku];
                if (order->known && order->location == location && order->status == STATE_RESERVATION_STATUS_COMMITTED)
                    committed += order->quantities[sku];
            }
            assert_int_equal(ledger->rows[location][sku].held, held);
            assert_int_equal(ledger->rows[location][sku].committed, committed);
        }
}

/* ---- the script */

static struct message random_reserve(struct test_room *room, uint64_t *seed, struct str order_id, struct str location) {
    size_t count = 1 + test_random_below(seed, 4);
    struct quantity *lines = arena_array(&room->kept, struct quantity, count);
    for (size_t i = 0; i < count; i++)
        lines[i] =
            (struct quantity){str_from(skus[test_random_below(seed, SKUS)]), 1 + (int32_t)test_random_below(seed, 9)};
    return (struct message){.type = MESSAGE_INVENTORY_RESERVE_STOCK,
                            .inventory_reserve_stock = {order_id, location, {lines, count}}};
}

static struct message random_request(struct test_room *room, uint64_t *seed) {
    struct str order_id = arena_printf(&room->kept, "o-%zu", test_random_below(seed, ORDERS));
    struct str location = str_from(locations[test_random_below(seed, 8) == 0]);
    struct str sku = str_from(skus[test_random_below(seed, SKUS)]);
    struct message message = {0};
    switch (test_random_below(seed, 10)) {
    case 0:
        message.type = MESSAGE_INVENTORY_RECEIVE_STOCK;
        message.inventory_receive_stock = (struct inventory_receive_stock){
            sku, location, (int64_t)test_random_below(seed, 40) - 1, STR("operator:ann"), STR("hash")};
        return message;
    case 1:
        message.type = MESSAGE_INVENTORY_ADJUST_STOCK;
        message.inventory_adjust_stock = (struct inventory_adjust_stock){
            sku, location, (int64_t)test_random_below(seed, 40) - 30, STR("counted"), STR("operator:ann"), STR("hash")};
        return message;
    case 2:
    case 3:
    case 4:
        message.type = MESSAGE_INVENTORY_COMMIT_RESERVATION;
        message.inventory_commit_reservation = (struct inventory_commit_reservation){order_id, location};
        return message;
    case 5:
        message.type = MESSAGE_INVENTORY_RELEASE_RESERVATION;
        message.inventory_release_reservation =
            (struct inventory_release_reservation){order_id, location, STR("payment-expired")};
        return message;
    case 6:
        message.type = MESSAGE_INVENTORY_CONSUME_RESERVATION;
        message.inventory_consume_reservation = (struct inventory_consume_reservation){order_id, location};
        return message;
    default:
        return random_reserve(room, seed, order_id, location);
    }
}

static void give(struct test_room *room, const struct message *message, size_t step) {
    struct str id = arena_printf(&room->kept, "c-%zu", step);
    assert_true(test_room_give(room, TOPIC_INVENTORY_REQUESTS, "main", id.ptr, message));
}

static bool is_event(const struct test_record *record) {
    return !str_eq(record->topic, STR(TOPIC_INVENTORY_REQUESTS));
}

static void fold_topic(struct test_room *room, const struct test_room *from, struct str topic) {
    for (size_t i = 0; i < from->log_count; i++)
        if (str_eq(from->log[i]->topic, topic))
            test_room_fold(room, from->log[i]);
}

static void walk(uint64_t seed, size_t *seen) {
    struct test_room *room = test_room_open(&inventory_decider);
    size_t in_batch = 0;
    for (size_t step = 0; step < STEPS; step++) {
        if (!in_batch) {
            test_room_batch_begin(room);
            in_batch = 1 + test_random_below(&seed, 12);
        }
        struct message message = random_request(room, &seed);
        give(room, &message, step);
        if (--in_batch == 0)
            test_room_batch_end(room);
    }
    if (in_batch)
        test_room_batch_end(room);

    struct ledger *ledger = mem_zalloc(sizeof *ledger);
    for (size_t i = 0; i < room->log_count; i++)
        if (is_event(room->log[i])) {
            check_record(ledger, &room->log[i]->message);
            seen[room->log[i]->message.type]++;
        }
    check_sums(ledger);
    free(ledger);

    const struct str topics[] = {STR(TOPIC_RESERVATION_EVENTS), STR(TOPIC_STOCK_EVENTS)};
    for (size_t first = 0; first < 2; first++) {
        struct test_room *folded = test_room_open(&inventory_decider);
        fold_topic(folded, room, topics[first]);
        fold_topic(folded, room, topics[1 - first]);
        test_room_same_rows(room, folded);
        test_room_close(folded);
    }
    test_room_close(room);
}

static void test_walks(void **state) {
    (void)state;
    size_t seen[MESSAGE_TYPE_COUNT] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        walk(seed, seen);
    const enum message_type all[] = {MESSAGE_RESERVATION_STOCK_RESERVED,
                                     MESSAGE_RESERVATION_STOCK_REFUSED,
                                     MESSAGE_RESERVATION_COMMITTED,
                                     MESSAGE_RESERVATION_RELEASED,
                                     MESSAGE_RESERVATION_CONSUMED,
                                     MESSAGE_RESERVATION_COMMAND_REFUSED,
                                     MESSAGE_STOCK_RECEIVED,
                                     MESSAGE_STOCK_ADJUSTED,
                                     MESSAGE_STOCK_LEVEL_CHANGED,
                                     MESSAGE_STOCK_SHORT,
                                     MESSAGE_STOCK_COMMAND_REFUSED};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (seen[all[i]] < 5)
            fail_msg("the walks hardly ever led to %.*s", STR_ARG(message_name(all[i])));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
