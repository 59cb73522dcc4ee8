/* From a write through the log and the projectors to what the API then shows: with a real Redis and PostgreSQL. */
#include "live.h"

#include <poll.h>

#include "projections/changes.h"
#include "projections/views.h"

static void a_cart_shows_what_was_put_into_it(void **state) {
    struct server *s = *state;
    struct reply reply = ask(s, "PUT", "/v1/products/TEA", OPERATOR, NULL,
                             "{\"name\":\"Tea\",\"price\":{\"minor\":350,\"currency\":\"USD\"}}");
    expect_status(reply, 202);
    await(s, "/v1/products/TEA", NULL, "\"minor\":350");
    await(s, "/v1/products?limit=1", NULL, "\"sku\":\"TEA\"");
    const char *cart_id = cart_new(s, "cart"), *path = format(s, "/v1/carts/%s", cart_id);
    reply = ask(s, "POST", format(s, "%s/lines", path), s->shopper, "k", "{\"sku\":\"TEA\",\"quantity\":3}");
    expect_status(reply, 202);
    reply = await(s, path, s->shopper, "\"sku\":\"TEA\"");
    json_t *total = json_object_get(json_object_get(reply.json, "totals"), "total");
    assert_int_equal(json_integer_value(json_object_get(total, "minor")), 1050);
    assert_string_equal(reply_text(reply, "status"), "open");
    reply = ask(s, "DELETE", "/v1/products/TEA", OPERATOR, NULL, NULL);
    expect_status(reply, 202);
    await(s, path, s->shopper, "\"minor\":0");
}

static void an_order_shows_with_its_history(void **state) {
    struct server *s = *state;
    const char *order_id = order_id_new(s, "1"), *path = format(s, "/v1/orders/%s", order_id);
    struct reply reply = ask(s, "GET", path, s->shopper, NULL, NULL);
    expect_problem(s, reply, 404, "not-found", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    order_placed(s, order_id);
    await(s, path, s->shopper, "\"status\":\"pending\"");
    await(s, "/v1/orders", s->shopper, order_id);
    reply = await(s, format(s, "%s/events", path), OPERATOR, "shop.order.v1.OrderPlaced");
    json_t *items = json_object_get(reply.json, "items");
    assert_int_equal(json_array_size(items), 1);
    json_t *event = json_array_get(items, 0);
    assert_string_equal(json_string_value(json_object_get(event, "topic")), TOPIC_ORDER_EVENTS);
    assert_string_equal(json_string_value(json_object_get(json_object_get(event, "event"), "order_id")), order_id);
}

static struct change next_change(struct changes *changes) {
    int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    struct change change;
    for (;;) {
        MUST(changes_next(changes, &change, err));
        if (change.kind != CHANGE_NONE)
            return change;
        struct pollfd fd = {.fd = changes_fd(changes), .events = POLLIN};
        poll(&fd, 1, 100);
        assert_true(clock_monotonic_us() < until_us);
    }
}

static void a_change_is_told_once_it_can_be_read(void **state) {
    struct server *s = *state;
    const char *order_ids[] = {order_id_new(s, "told-1"), order_id_new(s, "told-2")};
    struct changes *changes;
    struct views *views;
    MUST(changes_open(live.redis_url, &changes, err));
    MUST(views_open(live.redis_url, NULL, PARTITIONS, &views, err));
    MUST(changes_follow(changes, &view_orders, true, err));
    struct change change = next_change(changes);
    assert_int_equal(change.kind, CHANGE_FOLLOWED);
    assert_ptr_equal(change.view, &view_orders);
    for (size_t i = 0; i < 2; i++) {
        struct str key;
        struct view_order_row *row;
        order_placed(s, order_ids[i]);
        cart_new(s, order_ids[i]); /* of another view: not told */
        change = next_change(changes);
        assert_int_equal(change.kind, CHANGE_ROWS);
        assert_true(change_key(&change, &key));
        expect_text(key, order_ids[i]);
        assert_false(change_key(&change, &key));
        MUST(views_order(views, str_from(order_ids[i]), &s->arena, &row, err));
        assert_non_null(row);
    }
    MUST(changes_ping(changes, err));
    assert_int_equal(next_change(changes).kind, CHANGE_OTHER);
    views_close(views);
    changes_close(changes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cart_shows_what_was_put_into_it),
        cmocka_unit_test(an_order_shows_with_its_history),
        cmocka_unit_test(a_change_is_told_once_it_can_be_read),
    };
    if (!database_is_there())
        return TEST_SKIPPED;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, live_setup, live_teardown);
    curl_global_cleanup();
    return failed;
}
