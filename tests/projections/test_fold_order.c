/* An order's row: given these records, then this row; whatever the interleaving of the topics, and also when all is
 * read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/codec/avro.h"
#include "projections/commands.h"
#include "projections/fold_order.h"
#include "tests/projections/order_messages.h"
#include "tests/support/random_value.h"

static struct arena arena;

static int setup(void **state) {
    (void)state;
    arena_init(&arena);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct envelope envelope_at(int64_t at) {
    return (struct envelope){
        .timestamp_us = at, .id = STR("record"), .command_id = arena_printf(&arena, "command-%lld", (long long)at)};
}

/* Folds records of these types, ended by MESSAGE_UNKNOWN; versions count 1, 2, 3, …, times 1001, 1002, … */
static struct view_order_row *fold(const enum message_type *types) {
    struct view_order_row *row = NULL;
    int32_t n = 0;
    for (; types[n]; n++) {
        struct message m = message(types[n], n + 1);
        struct envelope envelope = envelope_at(1001 + n);
        assert_true(order_row_fold(&arena, &row, &envelope, &m));
    }
    return row;
}

#define FOLD(...) fold((const enum message_type[]){__VA_ARGS__, MESSAGE_UNKNOWN})

/* ---- order.events ---- */

static void test_statuses(void **state) {
    (void)state;
    static const struct {
        enum message_type given[8];
        enum order_status status;
        const char *reason;
    } cases[] = {
#define O(event) MESSAGE_ORDER_##event
        {{O(PLACED)}, ORDER_STATUS_PENDING, NULL},
        {{O(PLACED), O(AWAITING_PAYMENT)}, ORDER_STATUS_AWAITING_PAYMENT, NULL},
        {{O(PLACED), O(REJECTED)}, ORDER_STATUS_REJECTED, "price-changed"},
        {{O(REJECTED)}, ORDER_STATUS_REJECTED, "price-changed"},
        {{O(PLACED), O(AWAITING_PAYMENT), O(CONFIRMED)}, ORDER_STATUS_CONFIRMED, NULL},
        {{O(PLACED), O(AWAITING_PAYMENT), O(PAYMENT_FAILED)}, ORDER_STATUS_PAYMENT_FAILED, "payment-declined"},
        {{O(PLACED), O(PAYMENT_FAILED), O(AWAITING_PAYMENT)}, ORDER_STATUS_AWAITING_PAYMENT, NULL},
        {{O(PLACED), O(AWAITING_PAYMENT), O(EXPIRED)}, ORDER_STATUS_EXPIRED, "payment-expired"},
        {{O(PLACED), O(CANCELLED)}, ORDER_STATUS_CANCELLED, "cancelled-by-shopper"},
        {{O(PLACED), O(CONFIRMED), O(CANCELLING)}, ORDER_STATUS_CANCELLING, "cancelled-by-shopper"},
        {{O(PLACED), O(CONFIRMED), O(CANCELLING), O(CANCELLATION_REFUSED)}, ORDER_STATUS_PROCESSING, NULL},
        {{O(PLACED), O(CONFIRMED), O(PROCESSING)}, ORDER_STATUS_PROCESSING, NULL},
        {{O(PLACED), O(CONFIRMED), O(PROCESSING), O(SHIPPED)}, ORDER_STATUS_SHIPPED, NULL},
        {{O(PLACED), O(CONFIRMED), O(SHIPPED), O(DELIVERED)}, ORDER_STATUS_DELIVERED, NULL},
        {{O(PLACED), O(CONFIRMED), O(SHIPPED), O(DELIVERED), O(COMPLETED)}, ORDER_STATUS_COMPLETED, NULL},
#undef O
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct view_order_row *row = fold(cases[i].given);
        int32_t count = 0;
        while (cases[i].given[count])
            count++;
        assert_int_equal(row->order.status, cases[i].status);
        assert_true(str_eq(row->order.reason, str_from(cases[i].reason)));
        assert_int_equal(row->order.version, count);
        assert_int_equal(row->order.updated_at, 1000 + count);
        assert_int_equal(row->order.placed_at, 1000);
        assert_true(order_row_is_served(row));
    }
}

static void test_snapshot(void **state) {
    (void)state;
    const struct view_order_row *row =
        FOLD(MESSAGE_ORDER_PLACED, MESSAGE_ORDER_AWAITING_PAYMENT, MESSAGE_ORDER_CONFIRMED, MESSAGE_ORDER_COMPLETED);
    assert_true(str_eq(row->shopper_id, SHOPPER));
    assert_true(str_eq(row->cart_id, CART));
    assert_true(str_eq(row->order.order_id, ORDER));
    assert_int_equal(row->order.lines.count, 1);
    assert_true(str_eq(row->order.lines.items[0].sku, STR("SKU-1")));
    assert_int_equal(row->order.lines.items[0].quantity, 2);
    assert_int_equal(row->order.lines.items[0].line_total.minor, 500);
    assert_int_equal(row->order.totals->total.minor, 500);
    assert_true(row->confirmed_at.has && row->completed_at.has);
    assert_int_equal(row->confirmed_at.value, 1003);
    assert_int_equal(row->completed_at.value, 1004);
}

static void test_rejection(void **state) {
    (void)state;
    const struct view_order_row *row = FOLD(MESSAGE_ORDER_REJECTED);
    assert_int_equal(row->order.errors.count, 1);
    assert_true(str_eq(row->order.errors.items[0].pointer, STR("/expected_total")));
    assert_true(str_eq(row->order.winner, WINNER));
    assert_int_equal(row->order.totals->total.minor, 500);
    assert_int_equal(row->order.lines.count, 0);
    row = FOLD(MESSAGE_ORDER_PLACED, MESSAGE_ORDER_REJECTED);
    assert_int_equal(row->order.lines.count, 1);
}

static void test_version_read_before_changes_nothing(void **state) {
    (void)state;
    struct view_order_row *row = FOLD(MESSAGE_ORDER_PLACED, MESSAGE_ORDER_AWAITING_PAYMENT, MESSAGE_ORDER_CONFIRMED);
    struct message m = message(MESSAGE_ORDER_AWAITING_PAYMENT, 2);
    struct envelope envelope = envelope_at(1002);
    assert_true(order_row_fold(&arena, &row, &envelope, &m));
    assert_int_equal(row->order.status, ORDER_STATUS_CONFIRMED);
    assert_int_equal(row->order.updated_at, 1003);
}

/* ---- payment.events and fulfilment.events ---- */

static void test_payments(void **state) {
    (void)state;
#define P(event) MESSAGE_PAYMENT_##event
    static const struct {
        enum message_type given[6];
        const char *status; /* NULL: there is no payment to show */
        int64_t amount;
    } cases[] = {
        {{P(REQUESTED)}, "authorizing", 500},
        {{P(REQUESTED), P(AUTHORIZED)}, "authorized", 500},
        {{P(REQUESTED), P(DECLINED)}, "declined", 500},
        {{P(REQUESTED), P(OUTCOME_UNKNOWN)}, "unknown", 500},
        {{P(REQUESTED), P(OUTCOME_UNKNOWN), P(VOID_REQUESTED)}, "unknown", 500},
        {{P(REQUESTED), P(AUTHORIZED), P(CAPTURED)}, "captured", 400},
        {{P(REQUESTED), P(AUTHORIZED), P(CAPTURE_FAILED)}, "authorized", 500},
        {{P(REQUESTED), P(AUTHORIZED), P(VOIDED)}, "voided", 500},
        {{P(REQUESTED), P(AUTHORIZED), P(VOID_FAILED)}, "authorized", 500},
        {{P(REQUESTED), P(AUTHORIZED), P(AUTHORIZATION_EXPIRED)}, "expired", 500},
        {{P(REQUESTED), P(AUTHORIZED), P(CAPTURED), P(REFUNDED)}, "refunded", 400},
        {{P(REQUESTED), P(AUTHORIZED), P(CAPTURED), P(REFUND_FAILED)}, "captured", 400},
        {{P(COMMAND_REFUSED)}, NULL, 0},
    };
#undef P
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct view_order_row *row = fold(cases[i].given);
        assert_int_equal(row->order.payments.count, cases[i].status ? 1 : 0);
        assert_false(order_row_is_served(row));
        if (!cases[i].status)
            continue;
        assert_true(str_eq(row->order.payments.items[0].status, str_from(cases[i].status)));
        assert_int_equal(row->order.payments.items[0].amount.minor, cases[i].amount);
        assert_true(str_eq(row->order.payments.items[0].payment_id, PAYMENT));
    }
}

/* Voided before anything was asked for: no attempt, so nothing to show. */
static void test_void_without_attempt(void **state) {
    (void)state;
    struct view_order_row *row = NULL;
    struct message m = message(MESSAGE_PAYMENT_VOIDED, 0);
    struct envelope envelope = envelope_at(1);
    assert_true(order_row_fold(&arena, &row, &envelope, &m));
    assert_int_equal(row->order.payments.count, 0);
    assert_int_equal(row->commands.count, 1);
}

static void test_shipments(void **state) {
    (void)state;
    const struct view_order_row *row = FOLD(MESSAGE_FULFILMENT_REQUESTED, MESSAGE_FULFILMENT_PICKED);
    assert_int_equal(row->order.shipments.count, 0);
    row = FOLD(MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED);
    assert_int_equal(row->order.shipments.count, 1);
    assert_true(str_eq(row->order.shipments.items[0].status, STR("dispatched")));
    assert_true(str_eq(row->order.shipments.items[0].tracking, STR("T-1")));
    row = FOLD(MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED, MESSAGE_FULFILMENT_SHIPMENT_DELIVERED);
    assert_int_equal(row->order.shipments.count, 1);
    assert_true(str_eq(row->order.shipments.items[0].status, STR("delivered")));
    assert_true(str_eq(row->order.shipments.items[0].carrier, STR("ACME")));
}

static void test_foreign_records(void **state) {
    (void)state;
    static const enum message_type foreign[] = {MESSAGE_CART_CREATED, MESSAGE_STOCK_RECEIVED,
                                                MESSAGE_RESERVATION_COMMITTED, MESSAGE_UNKNOWN};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        struct view_order_row *row = NULL;
        struct message m = {.type = foreign[i]};
        struct envelope envelope = envelope_at(1);
        m.reservation_committed.order_id = ORDER;
        assert_false(order_row_fold(&arena, &row, &envelope, &m));
        assert_null(row);
    }
}

/* ---- commands ---- */

static void note(struct view_order_row *row, const char *command, int64_t at, const char *reason) {
    struct envelope envelope = {.timestamp_us = at, .command_id = str_from(command), .id = STR("other")};
    commands_note(&arena, &row->commands, &row->command_notes, &envelope, str_from(reason), STR("detail"));
}

static void test_commands_by_time(void **state) {
    (void)state;
    struct view_order_row row = {0};
    note(&row, "b", 20, NULL);
    note(&row, "a", 10, NULL);
    note(&row, "c", 30, "too-late");
    note(&row, "a", 25, NULL);
    note(&row, "b", 5, "refused-before");
    assert_int_equal(row.commands.count, 3);
    assert_int_equal(row.command_notes.count, 3);
    assert_true(str_eq(row.commands.items[0], STR("b")));
    assert_true(str_eq(row.commands.items[1], STR("a")));
    assert_true(str_eq(row.commands.items[2], STR("c")));
    assert_null(row.command_notes.items[0].refusal);
    assert_int_equal(row.command_notes.items[1].at, 25);
    assert_true(str_eq(row.command_notes.items[2].refusal->reason, STR("too-late")));
}

/* By its id, and by id and body; what came with another body has an outcome of its own, and takes none away. */
static void test_bodies_tell_commands_apart(void **state) {
    (void)state;
    struct view_order_row row = {0};
    struct envelope first = {.timestamp_us = 1, .command_id = STR("k"), .body_hash = STR("1")}, other = first;
    other.timestamp_us = 2;
    other.body_hash = STR("2");
    commands_note(&arena, &row.commands, &row.command_notes, &first, STR_NULL, STR(""));
    commands_note(&arena, &row.commands, &row.command_notes, &other, STR("idempotency-key-reused"), STR("no"));
    assert_int_equal(row.commands.count, 3);
    assert_true(str_eq(row.commands.items[0], STR("k")));
    assert_true(str_eq(row.commands.items[1], STR("k#1")));
    assert_true(str_eq(row.commands.items[2], command_with_body(&arena, STR("k"), STR("2"))));
    assert_null(row.command_notes.items[0].refusal);
    assert_null(row.command_notes.items[1].refusal);
    assert_true(str_eq(row.command_notes.items[2].refusal->reason, STR("idempotency-key-reused")));
}

static void test_latest_commands_are_kept(void **state) {
    (void)state;
    struct view_order_row row = {0};
    for (int i = 0; i < 40; i++) {
        int at = i * 7 % 40; /* each once, in a mixed order */
        note(&row, arena_printf(&arena, "command-%02d", at).ptr, at, NULL);
    }
    assert_int_equal(row.commands.count, COMMANDS_KEPT);
    for (int i = 0; i < COMMANDS_KEPT; i++)
        assert_int_equal(row.command_notes.items[i].at, 40 - COMMANDS_KEPT + i);
}

/* A refusal is noted with its command; a record without a command goes by its own id. */
static void test_refusals(void **state) {
    (void)state;
    const struct view_order_row *row = FOLD(MESSAGE_ORDER_PLACED, MESSAGE_ORDER_COMMAND_REFUSED);
    assert_int_equal(row->commands.count, 2);
    assert_true(str_eq(row->commands.items[1], STR("command-1002")));
    assert_true(str_eq(row->command_notes.items[1].refusal->reason, STR("transition-refused")));
    assert_true(str_eq(row->command_notes.items[1].refusal->detail, STR("too late")));
    assert_int_equal(row->order.version, 1);
    assert_int_equal(row->order.updated_at, 1001);
    row = FOLD(MESSAGE_ORDER_PLACED, MESSAGE_ORDER_CANCELLATION_REFUSED);
    assert_true(str_eq(row->command_notes.items[1].refusal->reason, STR("transition-refused")));

    struct view_order_row *other = NULL;
    struct message m = message(MESSAGE_ORDER_PLACED, 1);
    struct envelope envelope = {.timestamp_us = 1, .id = STR("record-1")};
    assert_true(order_row_fold(&arena, &other, &envelope, &m));
    assert_true(str_eq(other->commands.items[0], STR("record-1")));
}

/* ---- whatever comes ---- */

enum { TOPICS = 3, LENGTH = 40 };

struct history {
    struct envelope envelopes[TOPICS][LENGTH];
    struct message messages[TOPICS][LENGTH];
};

/* Random records of each topic, in that topic's order. */
static void history_make(struct history *history, struct random_source *random) {
    static const enum message_type first[] = {MESSAGE_ORDER_PLACED, MESSAGE_PAYMENT_REQUESTED,
                                              MESSAGE_FULFILMENT_REQUESTED};
    static const enum message_type last[] = {MESSAGE_ORDER_COMMAND_REFUSED, MESSAGE_PAYMENT_COMMAND_REFUSED,
                                             MESSAGE_FULFILMENT_COMMAND_REFUSED};
    for (int topic = 0; topic < TOPICS; topic++)
        for (int i = 0; i < LENGTH; i++) {
            struct message *m = &history->messages[topic][i];
            uint64_t kinds = (uint64_t)(last[topic] - first[topic] + 1);
            enum message_type type = (enum message_type)(first[topic] + random_below(random, kinds));
            if (topic == 0) { /* the version must make sense */
                *m = message(type, i + 1);
            } else {
                m->type = type;
                random_value(random, schema_messages[type], &arena, (char *)m + offsetof(struct message, body));
                m->payment_requested.order_id = ORDER; /* the first field of all */
            }
            history->envelopes[topic][i] = (struct envelope){
                .timestamp_us = (int64_t)random_below(random, 100),
                .id = STR("id"),
                .command_id = arena_printf(&arena, "command-%llu", (unsigned long long)random_below(random, 40))};
            if (random_below(random, 3) == 0)
                history->envelopes[topic][i].body_hash = random_below(random, 2) ? STR("a") : STR("b");
        }
}

/* In some interleaving. */
static void history_fold(const struct history *history, struct random_source *random, struct view_order_row **row) {
    int at[TOPICS] = {0};
    for (int left = TOPICS * LENGTH; left > 0; left--) {
        uint64_t topic = random_below(random, TOPICS);
        while (at[topic] == LENGTH)
            topic = (topic + 1) % TOPICS;
        assert_true(
            order_row_fold(&arena, row, &history->envelopes[topic][at[topic]], &history->messages[topic][at[topic]]));
        at[topic]++;
    }
}

static void test_interleavings_agree(void **state) {
    (void)state;
    struct random_source random = {20260101};
    for (int round = 0; round < 300; round++) {
        struct history *history = arena_new(&arena, struct history);
        struct view_order_row *a = NULL, *b = NULL;
        history_make(history, &random);
        history_fold(history, &random, &a);
        history_fold(history, &random, &b);
        assert_true(avro_equal(&schema_view_order_row, a, b));
        /* All of it once more, over what it made. */
        history_fold(history, &random, &b);
        assert_true(avro_equal(&schema_view_order_row, a, b));
        arena_reset(&arena);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_statuses),
        TEST(test_snapshot),
        TEST(test_rejection),
        TEST(test_version_read_before_changes_nothing),
        TEST(test_payments),
        TEST(test_void_without_attempt),
        TEST(test_shipments),
        TEST(test_foreign_records),
        TEST(test_commands_by_time),
        TEST(test_latest_commands_are_kept),
        TEST(test_bodies_tell_commands_apart),
        TEST(test_refusals),
        TEST(test_interleavings_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
