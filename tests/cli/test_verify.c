/* orderlog verify on made logs: one that is as it should be, and for each check one that is wrong in a single place,
 * which must be named. */
#include "tests/cli/made_story.h"

/* ---- running it ---- */

static json_t *verify(struct story *story, const char *options, int *ret_status) {
    BUF_AUTO out = {0};
    if (story->made.log)
        made_close(&story->made);
    *ret_status = made_run(&out, "verify --output json --log '%s' %s", story->made.url, options);
    return made_json(&out);
}

static json_t *check_named(json_t *report, const char *name) {
    size_t i;
    json_t *check;
    json_array_foreach(json_object_get(report, "checks"), i, check) {
        if (strcmp(json_string_value(json_object_get(check, "name")), name) == 0)
            return check;
    }
    fail_msg("no check %s", name);
    return NULL;
}

static int64_t number(json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void assert_clean(struct story *story, const char *options) {
    int status;
    json_t *report = verify(story, options, &status);
    if (status != 0 || number(report, "violations") != 0)
        fail_msg("status %d: %s", status, json_dumps(report, 0));
    json_decref(report);
}

/* The check says so, at that place; and only these are violated. */
static void assert_violated(struct story *story, const char *name, const char *what) {
    int status;
    json_t *report = verify(story, "", &status);
    json_t *check = check_named(report, name);
    BUF_AUTO place = {0};
    const char *first = json_string_value(json_object_get(check, "first"));
    assert_true(story->is_marked);
    buf_printf(&place, "%s, partition %d, offset %lld: ", story->marked_topic, story->marked.partition,
               (long long)story->marked.offset);
    if (status != 1 || number(check, "violations") < 1 || !first || strncmp(first, place.ptr, place.len) != 0 ||
        !strstr(first, what))
        fail_msg("%s should say '%s%s', status %d: %s", name, place.ptr, what, status, json_dumps(report, 0));
    assert_true(number(report, "violations") >= number(check, "violations"));
    json_decref(report);
}

/* ---- a log without fault ---- */

static void a_clean_log_passes_every_check(void **state) {
    (void)state;
    struct story story;
    int status;
    story_begin(&story);
    story_tell(&story);
    json_t *report = verify(&story, "", &status);
    assert_int_equal(status, 0);
    assert_int_equal(number(report, "violations"), 0);
    static const char *const names[] = {"one-decision-per-order",
                                        "acknowledged-checkout-decided",
                                        "one-charge-per-order",
                                        "one-shipment-per-order",
                                        "no-oversell",
                                        "money-balances",
                                        "sequences",
                                        "order-per-key",
                                        "records-decode"};
    assert_int_equal(json_array_size(json_object_get(report, "checks")), sizeof names / sizeof names[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(number(check_named(report, names[i]), "count") > 0);
    assert_int_equal(json_array_size(json_object_get(report, "skipped")), 4);
    assert_int_equal(json_array_size(json_object_get(report, "unchecked")), 0);
    json_decref(report);
    made_remove(&story.made);
}

/* Each decider's record appended a second time, with the same number: the receivers drop it, and so must this. */
static enum alter repeat_numbers(struct story *story, struct message *message, struct made_record *record) {
    (void)message;
    made_append(&story->made, record);
    if (record->origin)
        record->skip = -1;
    return KEEP;
}

static void duplicates_are_no_violation(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    story.alter = repeat_numbers;
    story_tell(&story);
    /* The API's own records have no number; sending a line twice is the shopper's affair. */
    assert_clean(&story, "");
    made_remove(&story.made);
}

static void an_empty_log_holds(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    assert_clean(&story, "");
    made_remove(&story.made);
}

/* ---- one fault each ---- */

struct fault {
    const char *check;
    const char *what;
    enum alter (*alter)(struct story *story, struct message *message, struct made_record *record);
};

#define FAULT(name) static enum alter name(struct story *story, struct message *message, struct made_record *record)
#define UNUSED (void)story, (void)message, (void)record

FAULT(place_twice) {
    UNUSED;
    return message->type == MESSAGE_ORDER_PLACED ? TWICE : KEEP;
}

FAULT(reject_twice) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_PLACED)
        return KEEP;
    struct message rejected = {.type = MESSAGE_ORDER_REJECTED,
                               .order_rejected = {.order_id = story->order_id,
                                                  .version = 1,
                                                  .cart_id = story->cart_id,
                                                  .shopper_id = story->shopper_id,
                                                  .reason = STR("out-of-stock")}};
    struct made_record second = *record;
    second.message = &rejected;
    made_append(&story->made, &second);
    story_mark(story, record->topic, made_append(&story->made, &second));
    return DROP;
}

FAULT(never_decide) {
    UNUSED;
    struct str other = made_id(&story->made, "order", 2);
    if (message->type != MESSAGE_CART_CHECKOUT_REQUESTED)
        return KEEP;
    struct message second = *message;
    second.cart_checkout_requested.order_id = other;
    struct made_record more = *record;
    more.message = &second;
    story_mark(story, record->topic, made_append(&story->made, &more));
    return KEEP;
}

FAULT(authorize_twice) {
    UNUSED;
    return message->type == MESSAGE_PAYMENT_AUTHORIZED ? TWICE : KEEP;
}

FAULT(authorize_another) {
    UNUSED;
    if (message->type != MESSAGE_PAYMENT_AUTHORIZED)
        return KEEP;
    made_append(&story->made, record);
    message->payment_authorized.payment_id = made_id(&story->made, "payment", 2);
    return SET;
}

FAULT(capture_twice) {
    UNUSED;
    return message->type == MESSAGE_PAYMENT_CAPTURED ? TWICE : KEEP;
}

FAULT(capture_unauthorized) {
    UNUSED;
    if (message->type == MESSAGE_PAYMENT_AUTHORIZED)
        return DROP;
    return message->type == MESSAGE_PAYMENT_CAPTURED ? SET : KEEP;
}

FAULT(refund_twice) {
    UNUSED;
    return message->type == MESSAGE_PAYMENT_REFUNDED ? TWICE : KEEP;
}

FAULT(dispatch_twice) {
    UNUSED;
    return message->type == MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED ? TWICE : KEEP;
}

FAULT(ship_twice) {
    UNUSED;
    return message->type == MESSAGE_ORDER_SHIPPED ? TWICE : KEEP;
}

static struct counters *reserved_counters(struct message *message) {
    return &message->reservation_stock_reserved.lines.items[0].counters;
}

FAULT(available_is_wrong) {
    UNUSED;
    if (message->type != MESSAGE_RESERVATION_STOCK_RESERVED)
        return KEEP;
    reserved_counters(message)->available++;
    return SET;
}

FAULT(counters_jump) {
    UNUSED;
    if (message->type != MESSAGE_RESERVATION_STOCK_RESERVED)
        return KEEP;
    reserved_counters(message)->received += 5;
    reserved_counters(message)->available += 5;
    return SET;
}

FAULT(sell_what_is_not_there) {
    UNUSED;
    if (message->type == MESSAGE_STOCK_RECEIVED) {
        message->stock_received.quantity = 1;
        message->stock_received.counters.received = message->stock_received.counters.available = 1;
        story->stock.received = 1;
    }
    return message->type == MESSAGE_RESERVATION_STOCK_RESERVED ? SET : KEEP;
}

FAULT(skip_a_version) {
    UNUSED;
    if (message->type == MESSAGE_RESERVATION_COMMITTED)
        return DROP;
    if (message->type == MESSAGE_STOCK_LEVEL_CHANGED && message->stock_level_changed.counters.version > 2)
        return DROP;
    return message->type == MESSAGE_RESERVATION_CONSUMED ? SET : KEEP;
}

FAULT(change_a_version_twice) {
    UNUSED;
    return message->type == MESSAGE_RESERVATION_STOCK_RESERVED ? TWICE : KEEP;
}

FAULT(level_is_wrong) {
    UNUSED;
    if (message->type != MESSAGE_STOCK_LEVEL_CHANGED || message->stock_level_changed.counters.version != 3)
        return KEEP;
    message->stock_level_changed.counters.committed++;
    message->stock_level_changed.counters.available--;
    return SET;
}

FAULT(line_does_not_multiply) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_PLACED)
        return KEEP;
    message->order_placed.lines.items[0].line_total.minor++;
    return SET;
}

FAULT(lines_do_not_add_up) {
    UNUSED;
    if (message->type != MESSAGE_CHECKOUT_ACCEPTED)
        return KEEP;
    message->checkout_accepted.totals.items.minor += 10;
    message->checkout_accepted.totals.discount.minor += 10;
    return SET;
}

FAULT(totals_do_not_add_up) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_PLACED)
        return KEEP;
    message->order_placed.totals.tax.minor = 7;
    return SET;
}

FAULT(totals_overflow) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_PLACED)
        return KEEP;
    message->order_placed.totals.shipping.minor = INT64_MAX;
    message->order_placed.totals.tax.minor = INT64_MAX;
    return SET;
}

FAULT(another_currency) {
    UNUSED;
    if (message->type != MESSAGE_PAYMENT_REQUESTED)
        return KEEP;
    message->payment_requested.amount.currency = STR("EUR");
    return SET;
}

FAULT(total_changes) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_PLACED)
        return KEEP;
    message->order_placed.totals.tax.minor = message->order_placed.totals.total.minor = STORY_TOTAL + 7;
    message->order_placed.totals.tax.minor = 7;
    return SET;
}

FAULT(authorize_too_much) {
    UNUSED;
    if (message->type != MESSAGE_PAYMENT_AUTHORIZED)
        return KEEP;
    message->payment_authorized.amount.minor++;
    return SET;
}

FAULT(capture_too_much) {
    UNUSED;
    if (message->type == MESSAGE_PAYMENT_AUTHORIZED)
        message->payment_authorized.amount.minor--;
    return message->type == MESSAGE_PAYMENT_CAPTURED ? SET : KEEP;
}

FAULT(refund_too_much) {
    UNUSED;
    if (message->type != MESSAGE_PAYMENT_REFUNDED)
        return KEEP;
    message->payment_refunded.amount.minor = STORY_TOTAL + 1;
    return SET;
}

FAULT(lose_a_number) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_CONFIRMED)
        return KEEP;
    record->skip = 1;
    return SET;
}

FAULT(begin_with_two) {
    UNUSED;
    if (message->type != MESSAGE_CHECKOUT_ACCEPTED)
        return KEEP;
    record->skip = 1;
    return SET;
}

FAULT(skip_an_order_version) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_COMPLETED)
        return KEEP;
    message->order_completed.version = 8;
    return SET;
}

FAULT(ship_before_processing) {
    UNUSED;
    if (message->type == MESSAGE_ORDER_PROCESSING) {
        message->type = MESSAGE_ORDER_DELIVERED;
        return SET;
    }
    return KEEP;
}

FAULT(refuse_out_of_nowhere) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_PROCESSING)
        return KEEP;
    message->type = MESSAGE_ORDER_CANCELLATION_REFUSED;
    message->order_cancellation_refused.status = ORDER_STATUS_SHIPPED;
    message->order_cancellation_refused.reason = STR("transition-refused");
    return SET;
}

FAULT(another_partition) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_CONFIRMED)
        return KEEP;
    record->moved = true;
    record->partition = (log_partition_of(record->key, MADE_PARTITIONS) + 1) % MADE_PARTITIONS;
    return SET;
}

/* The key is found that falls into the same partition: only it is wrong. */
FAULT(another_key) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_CONFIRMED)
        return KEEP;
    int32_t partition = log_partition_of(record->key, MADE_PARTITIONS);
    for (int64_t n = 2; log_partition_of(record->key, MADE_PARTITIONS) != partition || n == 2; n++)
        record->key = made_id(&story->made, "order", n);
    return SET;
}

FAULT(consume_what_is_held) {
    UNUSED;
    if (message->type == MESSAGE_RESERVATION_COMMITTED)
        return DROP;
    return message->type == MESSAGE_RESERVATION_CONSUMED ? SET : KEEP;
}

FAULT(dispatch_unpicked) {
    UNUSED;
    if (message->type == MESSAGE_FULFILMENT_PICKED)
        return DROP;
    return message->type == MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED ? SET : KEEP;
}

FAULT(write_nonsense) {
    UNUSED;
    if (message->type != MESSAGE_ORDER_COMPLETED)
        return KEEP;
    record->value = STR("nonsense");
    return SET;
}

static const struct fault faults[] = {
    {"one-decision-per-order", "is placed a second time", place_twice},
    {"one-decision-per-order", "is rejected a second time", reject_twice},
    {"acknowledged-checkout-decided", "was never decided", never_decide},
    {"one-charge-per-order", "is authorised a second time", authorize_twice},
    {"one-charge-per-order", "is authorised while another", authorize_another},
    {"one-charge-per-order", "was charged before", capture_twice},
    {"one-charge-per-order", "without being authorised", capture_unauthorized},
    {"one-charge-per-order", "is refunded twice", refund_twice},
    {"one-shipment-per-order", "is shipped a second time", dispatch_twice},
    {"one-shipment-per-order", "is shipped a second time", ship_twice},
    {"no-oversell", "available is not what the counters add up to", available_is_wrong},
    {"no-oversell", "do not follow", counters_jump},
    {"no-oversell", "less than nothing", sell_what_is_not_there},
    {"no-oversell", "a version before this one is missing", skip_a_version},
    {"no-oversell", "a second change has this version", change_a_version_twice},
    {"no-oversell", "the level is not the row", level_is_wrong},
    {"money-balances", "is not the line's total", line_does_not_multiply},
    {"money-balances", "the lines add up to", lines_do_not_add_up},
    {"money-balances", "is not the total", totals_do_not_add_up},
    {"money-balances", "is not the total", totals_overflow},
    {"money-balances", "is in EUR", another_currency},
    {"money-balances", "elsewhere", total_changes},
    {"money-balances", "is asked for, its total is", authorize_too_much},
    {"money-balances", "captured 500 is more than", capture_too_much},
    {"money-balances", "refunded 501 is more than", refund_too_much},
    {"sequences", "jumps from number", lose_a_number},
    {"sequences", "begins with number 2", begin_with_two},
    {"order-per-key", "goes from version 6 to 8", skip_an_order_version},
    {"order-per-key", "which is confirmed, becomes delivered", ship_before_processing},
    {"order-per-key", "goes on as shipped after a refused cancellation", refuse_out_of_nowhere},
    {"order-per-key", "is also in partition", another_partition},
    {"order-per-key", "the key is not the order's id", another_key},
    {"order-per-key", "which is held, becomes consumed", consume_what_is_held},
    {"order-per-key", "which is open, becomes dispatched", dispatch_unpicked},
    {"records-decode", "from origin orders/0", write_nonsense},
};

static void each_fault_is_caught_and_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct story story;
        story_begin(&story);
        story.alter = faults[i].alter;
        story_tell(&story);
        assert_violated(&story, faults[i].check, faults[i].what);
        made_remove(&story.made);
    }
}

/* ---- what only looks like a fault ---- */

/* A reservation's rows may be read after the levels that follow from them: the two topics are read side by side. This
 * one comes after the level of version late_by, by then perhaps after a later version, as of another order. */
static int64_t late_by;

static enum alter late_reservation(struct story *story, struct message *message, struct made_record *record) {
    static struct message held_message;
    static struct made_record held;
    if (message->type == MESSAGE_RESERVATION_COMMITTED) {
        held_message = *message;
        held = *record;
        held.message = &held_message;
        return DROP;
    }
    bool after =
        message->type == MESSAGE_STOCK_LEVEL_CHANGED && message->stock_level_changed.counters.version == late_by;
    if (after)
        made_append(&story->made, record), made_append(&story->made, &held);
    return after ? DROP : KEEP;
}

static void rows_may_be_told_out_of_order(void **state) {
    (void)state;
    for (late_by = 3; late_by <= 4; late_by++) {
        struct story story;
        story_begin(&story);
        story.alter = late_reservation;
        story_tell(&story);
        assert_clean(&story, late_by == 3 ? "" : "--only no-oversell");
        made_remove(&story.made);
    }
}

static void foreign_nonsense_is_not_ours(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    story_tell(&story);
    made_append(&story.made, &(struct made_record){.topic = TOPIC_CART_EVENTS, .key = STR("k"), .value = STR("?")});
    assert_clean(&story, "");
    made_remove(&story.made);
}

static void what_is_in_flight_may_be_excused(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    story.alter = never_decide;
    story_tell(&story);
    assert_clean(&story, "--in-flight");
    made_remove(&story.made);
}

/* An order rejected for want of stock was placed before. */
static void a_placed_order_may_be_rejected(void **state) {
    (void)state;
    struct story story;
    story_begin(&story);
    story_shop(&story);
    struct message placed = {.type = MESSAGE_ORDER_PLACED,
                             .order_placed = {.cart_id = story.cart_id,
                                              .shopper_id = story.shopper_id,
                                              .lines = story_lines(&story),
                                              .totals = story_totals(STORY_TOTAL),
                                              .location = STR("main")}};
    story_order(&story, placed, 1);
    struct message rejected = {
        .type = MESSAGE_ORDER_REJECTED,
        .order_rejected = {.cart_id = story.cart_id, .shopper_id = story.shopper_id, .reason = STR("out-of-stock")}};
    story_order(&story, rejected, 2);
    assert_clean(&story, "");
    made_remove(&story.made);
}

/* ---- the command line ---- */

static void only_the_named_checks_run(void **state) {
    (void)state;
    struct story story;
    int status;
    story_begin(&story);
    story.alter = place_twice;
    story_tell(&story);
    json_t *report = verify(&story, "--only money-balances,sequences", &status);
    assert_int_equal(status, 0);
    assert_int_equal(json_array_size(json_object_get(report, "checks")), 2);
    json_decref(report);
    made_remove(&story.made);
}

static void what_cannot_be_checked_ends_with_2(void **state) {
    (void)state;
    struct story story;
    BUF_AUTO out = {0};
    int status;
    story_begin(&story);
    story_tell(&story);
    json_t *report = verify(&story, "--only redis-equals-log --redis unix:///nowhere/redis.sock 2>/dev/null", &status);
    assert_int_equal(status, 2);
    assert_int_equal(json_array_size(json_object_get(report, "unchecked")), 1);
    json_decref(report);
    assert_int_equal(made_run(&out, "verify --log sqlite:///nowhere/log.db 2>/dev/null"), 2);
    assert_int_equal(made_run(&out, "verify --only nothing 2>/dev/null"), 2);
    assert_int_equal(made_run(&out, "verify 2>/dev/null"), 2);
    assert_int_equal(out.len, 0);
    made_remove(&story.made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_log_passes_every_check),
        cmocka_unit_test(duplicates_are_no_violation),
        cmocka_unit_test(an_empty_log_holds),
        cmocka_unit_test(each_fault_is_caught_and_named),
        cmocka_unit_test(rows_may_be_told_out_of_order),
        cmocka_unit_test(foreign_nonsense_is_not_ours),
        cmocka_unit_test(what_is_in_flight_may_be_excused),
        cmocka_unit_test(a_placed_order_may_be_rejected),
        cmocka_unit_test(only_the_named_checks_run),
        cmocka_unit_test(what_cannot_be_checked_ends_with_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
