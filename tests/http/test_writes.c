/* Every write that is accepted: what it answers, and what it has then put into the log. */
#include "harness.h"

static int setup(void **state) {
    struct server *s = server_new();
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    return 0;
}

static void a_session_is_a_token_and_nothing_else(void **state) {
    struct server *s = *state;
    struct reply reply = server_ask(s, (struct ask){.method = "POST", .path = "/v1/sessions", .body = "{}"});
    expect_status(reply, 201);
    int64_t expires_us;
    assert_true(clock_parse(str_from(reply_text(reply, "expires_at")), &expires_us));
    int64_t days = (expires_us - clock_now_us()) / 1000000 / 3600;
    assert_in_range(days, 30 * 24 - 1, 30 * 24);
    assert_true(id_valid(str_from(reply_text(reply, "shopper_id"))));
    assert_string_not_equal(reply_text(reply, "shopper_id"), s->shopper_id);
    assert_string_equal(reply_header(s, reply, "Cache-Control"), "no-store");
    expect_nothing_appended(s);
}

static void a_cart_is_created(void **state) {
    struct server *s = *state;
    struct reply reply =
        server_ask(s, (struct ask){.method = "POST", .path = "/v1/carts", .token = s->shopper, .key = "k1"});
    expect_status(reply, 201);
    const char *cart_id = reply_text(reply, "cart_id");
    assert_true(id_owned_by(str_from(cart_id), str_from(s->shopper_id), &s->config.id_secrets));
    assert_string_equal(reply_header(s, reply, "Location"), format(s, "/v1/carts/%s", cart_id));
    struct appended a = take_appended(s, TOPIC_CART_EVENTS);
    check_headers(a, reply, s, cart_id, cart_id);
    assert_int_equal(a.message.type, MESSAGE_CART_CREATED);
    expect_text(a.message.cart_created.cart_id, cart_id);
    expect_text(a.message.cart_created.shopper_id, s->shopper_id);
    expect_text(a.message.cart_created.currency, "USD");
    expect_text(a.message.cart_created.body_hash, body_hash_of(s, ""));
    assert_int_equal(a.envelope.partition, log_partition_of(str_from(cart_id), PARTITIONS));
    expect_nothing_appended(s);
}

static void a_retry_is_the_same_command(void **state) {
    struct server *s = *state;
    struct reply first = ask(s, "POST", "/v1/carts", s->shopper, "again", NULL);
    struct appended a = take_appended(s, TOPIC_CART_EVENTS);
    /* Another process with the same secrets, another day. */
    api_stop(s->api);
    MUST(api_start(&s->config, s->log, &s->api, err));
    struct reply second = ask(s, "POST", "/v1/carts", s->shopper, "again", NULL);
    struct appended b = take_appended(s, TOPIC_CART_EVENTS);
    assert_string_equal(reply_text(first, "cart_id"), reply_text(second, "cart_id"));
    assert_string_equal(a.envelope.id.ptr, b.envelope.id.ptr);
    assert_int_equal(a.envelope.partition, b.envelope.partition);

    struct reply third = ask(s, "POST", "/v1/carts", s->shopper, "other", NULL);
    struct appended c = take_appended(s, TOPIC_CART_EVENTS);
    assert_string_not_equal(reply_text(first, "cart_id"), reply_text(third, "cart_id"));
    assert_string_not_equal(a.envelope.id.ptr, c.envelope.id.ptr);

    server_login(s); /* the same key of somebody else */
    struct reply fourth = ask(s, "POST", "/v1/carts", s->shopper, "again", NULL);
    struct appended d = take_appended(s, TOPIC_CART_EVENTS);
    assert_string_not_equal(reply_text(first, "cart_id"), reply_text(fourth, "cart_id"));
    assert_string_not_equal(a.envelope.id.ptr, d.envelope.id.ptr);
}

static void ids_of_one_key_differ_by_resource_and_method(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "c");
    const struct ask asks[] = {
        {.method = "POST", .path = format(s, "/v1/carts/%s/lines", cart_id), .body = "{\"sku\":\"A\",\"quantity\":1}"},
        {.method = "PATCH", .path = format(s, "/v1/carts/%s/lines/A", cart_id), .body = "{\"quantity\":1}"},
        {.method = "PATCH", .path = format(s, "/v1/carts/%s/lines/B", cart_id), .body = "{\"quantity\":1}"},
        {.method = "DELETE", .path = format(s, "/v1/carts/%s/lines/A", cart_id)},
    };
    const char *ids[4];
    for (size_t i = 0; i < 4; i++) {
        struct reply reply = ask(s, asks[i].method, asks[i].path, s->shopper, "one", asks[i].body);
        expect_status(reply, 202);
        ids[i] = take_appended(s, TOPIC_CART_EVENTS).envelope.id.ptr;
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
}

static void lines_come_change_and_go(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "lines");
    const char *added = "{\"sku\":\"Käse 1%\",\"quantity\":999}";
    struct reply reply = ask(s, "POST", format(s, "/v1/carts/%s/lines", cart_id), s->shopper, "l1", added);
    expect_status(reply, 202);
    assert_string_equal(reply_text(reply, "cart_id"), cart_id);
    assert_string_equal(reply_text(reply, "command_id"), reply_header(s, reply, "Orderlog-Command"));
    struct appended a = take_appended(s, TOPIC_CART_EVENTS);
    check_headers(a, reply, s, cart_id, cart_id);
    assert_int_equal(a.message.type, MESSAGE_CART_LINE_ADDED);
    expect_text(a.message.cart_line_added.sku, "Käse 1%");
    assert_int_equal(a.message.cart_line_added.quantity, 999);
    expect_text(a.message.cart_line_added.shopper_id, s->shopper_id);
    expect_text(a.message.cart_line_added.body_hash, body_hash_of(s, added));

    const char *path = format(s, "/v1/carts/%s/lines/K%%C3%%A4se%%201%%25", cart_id);
    reply = ask(s, "PATCH", path, s->shopper, NULL, "{\"quantity\":2}");
    expect_status(reply, 202);
    a = take_appended(s, TOPIC_CART_EVENTS);
    check_headers(a, reply, s, cart_id, cart_id);
    assert_int_equal(a.message.type, MESSAGE_CART_LINE_QUANTITY_CHANGED);
    expect_text(a.message.cart_line_quantity_changed.sku, "Käse 1%");
    assert_int_equal(a.message.cart_line_quantity_changed.quantity, 2);

    reply = ask(s, "DELETE", path, s->shopper, NULL, NULL);
    expect_status(reply, 202);
    a = take_appended(s, TOPIC_CART_EVENTS);
    check_headers(a, reply, s, cart_id, cart_id);
    assert_int_equal(a.message.type, MESSAGE_CART_LINE_REMOVED);
    expect_text(a.message.cart_line_removed.sku, "Käse 1%");
    expect_text(a.message.cart_line_removed.body_hash, body_hash_of(s, ""));
    expect_nothing_appended(s);
}

static void check_details(struct server *s, const struct personal_details *details) {
    expect_text(details->shopper_id, s->shopper_id);
    expect_text(details->email, "ada@example.org");
    expect_text(details->address.name, "Ada L");
    expect_text(details->address.line1, "1 Main St");
    assert_null(details->address.line2.ptr);
    expect_text(details->address.city, "Springfield");
    expect_text(details->address.region, "IL");
    expect_text(details->address.postal_code, "62701");
    expect_text(details->address.country, "US");
}

static struct reply check_out(struct server *s, const char *cart_id, const char *key) {
    const char *body = format(s, CHECKOUT_BODY("%s"), cart_id);
    struct reply reply = ask(s, "POST", "/v1/checkouts", s->shopper, key, body);
    expect_status(reply, 202);
    return reply;
}

static void a_checkout_keeps_the_personal_details_apart(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "checkout");
    struct reply reply = check_out(s, cart_id, "buy");
    const char *order_id = reply_text(reply, "order_id");
    assert_string_equal(reply_text(reply, "status"), "pending");
    assert_true(id_owned_by(str_from(order_id), str_from(s->shopper_id), &s->config.id_secrets));
    assert_string_equal(reply_header(s, reply, "Location"), format(s, "/v1/orders/%s", order_id));

    struct appended personal = take_appended(s, TOPIC_PERSONAL);
    assert_int_equal(personal.message.type, MESSAGE_PERSONAL_DETAILS);
    struct personal_details *details = &personal.message.personal_details;
    check_details(s, details);
    assert_string_equal(personal.envelope.key.ptr, format(s, "%s/%.*s", s->shopper_id, STR_ARG(details->ref)));
    assert_true(str_eq(personal.envelope.subject, details->ref));

    struct appended a = take_appended(s, TOPIC_CART_EVENTS);
    check_headers(a, reply, s, cart_id, cart_id);
    assert_string_equal(personal.envelope.command_id.ptr, a.envelope.id.ptr);
    assert_string_not_equal(personal.envelope.id.ptr, a.envelope.id.ptr);
    assert_int_equal(a.message.type, MESSAGE_CART_CHECKOUT_REQUESTED);
    const struct cart_checkout_requested *requested = &a.message.cart_checkout_requested;
    expect_text(requested->cart_id, cart_id);
    expect_text(requested->order_id, order_id);
    expect_text(requested->shopper_id, s->shopper_id);
    assert_int_equal(requested->expected_total.minor, 1999);
    expect_text(requested->expected_total.currency, "USD");
    expect_text(requested->payment_method, "pm_card_visa");
    assert_true(str_eq(requested->personal_ref, details->ref));
    expect_text(requested->ship_to.country, "US");
    expect_text(requested->ship_to.region, "IL");
    expect_text(requested->body_hash, body_hash_of(s, format(s, CHECKOUT_BODY("%s"), cart_id)));
    expect_nothing_appended(s);
}

/* Whatever holds no personal data may be shown, replayed and archived. */
static void no_other_record_holds_personal_data(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "private");
    check_out(s, cart_id, "buy");
    struct log_consumer *consumer;
    struct log_batch batch = {0};
    int32_t partition = log_partition_of(str_from(cart_id), PARTITIONS);
    MUST(log_consumer_open_manual(s->log, &consumer, err));
    MUST(log_consumer_seek(consumer, STR(TOPIC_CART_EVENTS), partition, 0, err));
    MUST(log_consumer_poll(consumer, 100, PATIENCE_MS, &batch, err));
    assert_true(batch.count > 0);
    for (size_t i = 0; i < batch.count; i++) {
        struct str value = batch.records[i].value;
        assert_null(memmem(value.ptr, value.len, "ada@", 4));
        assert_null(memmem(value.ptr, value.len, "Ada", 3));
        assert_null(memmem(value.ptr, value.len, "Main St", 7));
    }
    log_consumer_close(consumer);
    take_appended(s, TOPIC_PERSONAL);
    take_appended(s, TOPIC_CART_EVENTS);
}

static void a_checkout_tried_again_is_the_same_order(void **state) {
    struct server *s = *state;
    const char *cart_id = cart_new(s, "twice"), *other_id = cart_new(s, "twice-too");
    struct reply first = check_out(s, cart_id, "buy"), second = check_out(s, cart_id, "buy");
    struct reply other_key = check_out(s, cart_id, "buy2"), other_cart = check_out(s, other_id, "buy");
    assert_string_equal(reply_text(first, "order_id"), reply_text(second, "order_id"));
    assert_string_equal(reply_header(s, first, "Orderlog-Command"), reply_header(s, second, "Orderlog-Command"));
    assert_string_not_equal(reply_text(first, "order_id"), reply_text(other_key, "order_id"));
    assert_string_not_equal(reply_text(first, "order_id"), reply_text(other_cart, "order_id"));
    assert_string_not_equal(reply_header(s, first, "Orderlog-Command"),
                            reply_header(s, other_cart, "Orderlog-Command"));
    struct str ref = take_appended(s, TOPIC_PERSONAL).message.personal_details.ref;
    for (int i = 0; i < 3; i++)
        assert_true(str_eq(take_appended(s, TOPIC_PERSONAL).message.personal_details.ref, ref));
    for (int i = 0; i < 4; i++)
        take_appended(s, TOPIC_CART_EVENTS);
}

static void an_order_is_cancelled_and_paid_again(void **state) {
    struct server *s = *state;
    struct reply checkout = check_out(s, cart_new(s, "cancel"), "buy");
    take_appended(s, TOPIC_PERSONAL), take_appended(s, TOPIC_CART_EVENTS);
    const char *order_id = reply_text(checkout, "order_id");
    const char *path = format(s, "/v1/orders/%s/cancel", order_id);

    struct reply reply = ask(s, "POST", path, s->shopper, "k", NULL);
    expect_status(reply, 202);
    assert_string_equal(reply_text(reply, "order_id"), order_id);
    struct appended a = take_appended(s, TOPIC_ORDER_REQUESTS);
    check_headers(a, reply, s, order_id, order_id);
    assert_int_equal(a.message.type, MESSAGE_ORDER_CANCEL_ORDER);
    expect_text(a.message.order_cancel_order.shopper_id, s->shopper_id);
    expect_text(a.message.order_cancel_order.actor, "shopper");

    reply = ask(s, "POST", path, OPERATOR, "k", "{}");
    expect_status(reply, 202);
    struct appended b = take_appended(s, TOPIC_ORDER_REQUESTS);
    assert_string_not_equal(a.envelope.id.ptr, b.envelope.id.ptr);
    assert_null(b.message.order_cancel_order.shopper_id.ptr);
    expect_text(b.message.order_cancel_order.actor, "operator:ann");
    expect_text(b.message.order_cancel_order.body_hash, body_hash_of(s, "{}"));

    path = format(s, "/v1/orders/%s/payments", order_id);
    reply = ask(s, "POST", path, s->shopper, "p", "{\"payment_method\":\"pm_card_mastercard\"}");
    expect_status(reply, 202);
    a = take_appended(s, TOPIC_PAYMENT_REQUESTS);
    check_headers(a, reply, s, order_id, order_id);
    assert_int_equal(a.message.type, MESSAGE_PAYMENT_SUBMIT_PAYMENT);
    expect_text(a.message.payment_submit_payment.payment_method, "pm_card_mastercard");
    expect_text(a.message.payment_submit_payment.shopper_id, s->shopper_id);
}

static void operators_keep_the_catalogue(void **state) {
    struct server *s = *state;
    const char *body = "{\"name\":\"Tea\",\"price\":{\"minor\":350,\"currency\":\"USD\"}}";
    struct reply reply = ask(s, "PUT", "/v1/products/TEA-1", OPERATOR, NULL, body);
    expect_status(reply, 202);
    assert_string_equal(reply_text(reply, "sku"), "TEA-1");
    struct appended a = take_appended(s, TOPIC_CATALOGUE_EVENTS);
    check_headers(a, reply, s, "TEA-1", "TEA-1");
    assert_int_equal(a.message.type, MESSAGE_CATALOGUE_PRODUCT_REVISED);
    expect_text(a.message.catalogue_product_revised.name, "Tea");
    assert_int_equal(a.message.catalogue_product_revised.price.minor, 350);
    expect_text(a.message.catalogue_product_revised.actor, "operator:ann");
    expect_text(a.message.catalogue_product_revised.body_hash, body_hash_of(s, body));

    reply = ask(s, "DELETE", "/v1/products/TEA-1", OPERATOR, NULL, NULL);
    expect_status(reply, 202);
    struct appended b = take_appended(s, TOPIC_CATALOGUE_EVENTS);
    check_headers(b, reply, s, "TEA-1", "TEA-1");
    assert_int_equal(b.message.type, MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN);
    expect_text(b.message.catalogue_product_withdrawn.sku, "TEA-1");
}

/* Without a key each try is a command of its own; with one it is not. */
static void a_key_is_optional_for_put(void **state) {
    struct server *s = *state;
    const char *body = "{\"name\":\"Tea\",\"price\":{\"minor\":350,\"currency\":\"USD\"}}";
    const char *ids[4], *keys[] = {NULL, NULL, "k", "k"};
    for (size_t i = 0; i < 4; i++) {
        struct reply reply = ask(s, "PUT", "/v1/products/TEA-1", OPERATOR, keys[i], body);
        expect_status(reply, 202);
        ids[i] = take_appended(s, TOPIC_CATALOGUE_EVENTS).envelope.id.ptr;
    }
    assert_string_not_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[1], ids[2]);
    assert_string_equal(ids[2], ids[3]);
}

static void stock_goes_to_its_location_s_partition(void **state) {
    struct server *s = *state;
    const struct {
        const char *location;
        int32_t partition;
    } cases[] = {{"main", 0}, {"north", 3}};
    for (size_t i = 0; i < 2; i++) {
        const char *body = format(s, "{\"quantity\":12,\"location\":\"%s\"}", cases[i].location);
        struct reply reply = ask(s, "POST", "/v1/inventory/TEA-1/receipts", OPERATOR, "r", body);
        expect_status(reply, 202);
        struct appended a = take_appended(s, TOPIC_INVENTORY_REQUESTS);
        check_headers(a, reply, s, cases[i].location, "TEA-1");
        assert_int_equal(a.envelope.partition, cases[i].partition);
        assert_int_equal(a.message.type, MESSAGE_INVENTORY_RECEIVE_STOCK);
        expect_text(a.message.inventory_receive_stock.sku, "TEA-1");
        expect_text(a.message.inventory_receive_stock.location, cases[i].location);
        assert_int_equal(a.message.inventory_receive_stock.quantity, 12);
        expect_text(a.message.inventory_receive_stock.actor, "operator:ann");
    }
    struct reply reply = ask(s, "POST", "/v1/inventory/TEA-1/adjustments", OPERATOR, "a",
                             "{\"quantity\":-3,\"location\":\"north\",\"reason\":\"broken\"}");
    expect_status(reply, 202);
    struct appended a = take_appended(s, TOPIC_INVENTORY_REQUESTS);
    check_headers(a, reply, s, "north", "TEA-1");
    assert_int_equal(a.envelope.partition, 3);
    assert_int_equal(a.message.type, MESSAGE_INVENTORY_ADJUST_STOCK);
    assert_int_equal(a.message.inventory_adjust_stock.quantity, -3);
    expect_text(a.message.inventory_adjust_stock.reason, "broken");
}

static void a_parcel_is_picked_dispatched_and_delivered(void **state) {
    struct server *s = *state;
    struct id order_id = id_owned_derive(STR("whoever"), (const struct str[]){STR("order")}, 1, &s->config.id_secrets);
    const struct ask asks[] = {
        {.path = "pick"},
        {.path = "dispatch", .body = "{\"carrier\":\"UPS\",\"tracking\":\"1Z9999999999999999\"}"},
        {.path = "deliver", .body = "{}"},
    };
    const enum message_type types[] = {MESSAGE_FULFILMENT_RECORD_PICK, MESSAGE_FULFILMENT_RECORD_DISPATCH,
                                       MESSAGE_FULFILMENT_RECORD_DELIVERY};
    for (size_t i = 0; i < 3; i++) {
        struct reply reply = ask(s, "POST", format(s, "/v1/fulfilments/%s/%s", order_id.text, asks[i].path), OPERATOR,
                                 "f", asks[i].body);
        expect_status(reply, 202);
        struct appended a = take_appended(s, TOPIC_FULFILMENT_REQUESTS);
        check_headers(a, reply, s, order_id.text, order_id.text);
        assert_int_equal(a.message.type, types[i]);
        if (i == 1) {
            expect_text(a.message.fulfilment_record_dispatch.carrier, "UPS");
            expect_text(a.message.fulfilment_record_dispatch.tracking, "1Z9999999999999999");
            expect_text(a.message.fulfilment_record_dispatch.actor, "operator:ann");
        }
    }
}

static void the_trace_of_the_request_goes_along(void **state) {
    struct server *s = *state;
    const char *given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    struct ask asked = {.method = "POST",
                        .path = "/v1/carts",
                        .token = s->shopper,
                        .key = "t",
                        .headers = {format(s, "traceparent: %s", given)}};
    struct reply reply = server_ask(s, asked);
    assert_string_equal(take_appended(s, TOPIC_CART_EVENTS).envelope.traceparent.ptr, given);

    const char *broken[] = {"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "nonsense"};
    for (size_t i = 0; i < 4; i++) {
        asked.headers[0] = format(s, "traceparent: %s", broken[i]);
        reply = server_ask(s, asked);
        struct str fresh = take_appended(s, TOPIC_CART_EVENTS).envelope.traceparent;
        assert_int_equal(fresh.len, 55);
        assert_string_not_equal(fresh.ptr, broken[i]);
        assert_memory_equal(fresh.ptr, "00-", 3);
    }
    /* Of a later version, what is known. Two are none, and refuse nothing. */
    asked.headers[0] = "traceparent: 01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more";
    server_ask(s, asked);
    assert_string_equal(take_appended(s, TOPIC_CART_EVENTS).envelope.traceparent.ptr, given);
    asked.headers[0] = asked.headers[1] = format(s, "traceparent: %s", given);
    assert_int_equal(server_ask(s, asked).status, 201);
    assert_null(strstr(take_appended(s, TOPIC_CART_EVENTS).envelope.traceparent.ptr, "4bf92f35"));
    /* The state goes with it, from several headers as from one; without a valid parent it means nothing. */
    asked.headers[1] = "tracestate: a=1 , b@c=2";
    asked.headers[2] = "tracestate: d=3";
    server_ask(s, asked);
    assert_string_equal(take_appended(s, TOPIC_CART_EVENTS).envelope.tracestate.ptr, "a=1,b@c=2,d=3");
    asked.headers[0] = "traceparent: nonsense";
    server_ask(s, asked);
    assert_null(take_appended(s, TOPIC_CART_EVENTS).envelope.tracestate.ptr);
    asked.headers[1] = asked.headers[2] = NULL;
    asked.key = NULL; /* and it is told in problems */
    asked.headers[0] = format(s, "traceparent: %s", given);
    reply = server_ask(s, asked);
    expect_problem(s, reply, 400, "idempotency-key-missing", NULL);
    assert_string_equal(reply_text(reply, "trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_a_token_and_nothing_else),
        cmocka_unit_test(a_cart_is_created),
        cmocka_unit_test(a_retry_is_the_same_command),
        cmocka_unit_test(ids_of_one_key_differ_by_resource_and_method),
        cmocka_unit_test(lines_come_change_and_go),
        cmocka_unit_test(a_checkout_keeps_the_personal_details_apart),
        cmocka_unit_test(no_other_record_holds_personal_data),
        cmocka_unit_test(a_checkout_tried_again_is_the_same_order),
        cmocka_unit_test(an_order_is_cancelled_and_paid_again),
        cmocka_unit_test(operators_keep_the_catalogue),
        cmocka_unit_test(a_key_is_optional_for_put),
        cmocka_unit_test(stock_goes_to_its_location_s_partition),
        cmocka_unit_test(a_parcel_is_picked_dispatched_and_delivered),
        cmocka_unit_test(the_trace_of_the_request_goes_along),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    curl_global_cleanup();
    return failed;
}
