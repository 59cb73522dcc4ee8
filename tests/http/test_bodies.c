/* Bodies that are refused: which field is named, and that nothing is appended. */
#include "refusal.h"

static void bodies_are_strict_json(void **state) {
    struct server *s = *state;
    const char *path = format(s, "/v1/carts/%s/lines", cart_new(s, "json"));
    const struct {
        const char *body, *pointer;
    } cases[] = {
        {"{", ""},
        {"null", ""},
        {"[]", ""},
        {"\"a\"", ""},
        {"{}{}", ""},
        {"{\"sku\":\"A\",\"quantity\":1}x", ""},
        {"{\"sku\":\"A\",\"quantity\":1,}", ""},
        {"{'sku':\"A\",\"quantity\":1}", ""},
        {"{\"sku\":\"A\",\"quantity\":1,\"quantity\":2}", ""},
        {"{\"sku\":\"A\",\"quantity\":99999999999999999999}", ""},
        {"{\"sku\":\"A\\u0000\",\"quantity\":1}", ""},
        {"{\"sku\":\"\xFF\",\"quantity\":1}", ""},
        {"{\"sku\":\"A\",\"quantity\":1,\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", ""},
        {"{}", "/sku"},
        {"{}", "/quantity"},
        {"{\"sku\":\"A\",\"quantity\":1,\"colour\":\"red\"}", "/colour"},
        {"{\"sku\":\"A\",\"quantity\":1,\"a/b~c\":1}", "/a~1b~0c"},
        {"{\"sku\":1,\"quantity\":1}", "/sku"},
        {"{\"sku\":null,\"quantity\":1}", "/sku"},
        {"{\"sku\":\"\",\"quantity\":1}", "/sku"},
        {"{\"sku\":\"a/b\",\"quantity\":1}", "/sku"},
        {"{\"sku\":\"a\\nb\",\"quantity\":1}", "/sku"},
        {"{\"sku\":\"a\\u0085b\",\"quantity\":1}", "/sku"},
        {"{\"sku\":\"..\",\"quantity\":1}", "/sku"},
        {"{\"sku\":\"12345678901234567890123456789012345678901234567890123456789012345\",\"quantity\":1}", "/sku"},
        {"{\"sku\":\"A\",\"quantity\":\"1\"}", "/quantity"},
        {"{\"sku\":\"A\",\"quantity\":1.0}", "/quantity"},
        {"{\"sku\":\"A\",\"quantity\":1e2}", "/quantity"},
        {"{\"sku\":\"A\",\"quantity\":true}", "/quantity"},
        {"{\"sku\":\"A\",\"quantity\":0}", "/quantity"},
        {"{\"sku\":\"A\",\"quantity\":-1}", "/quantity"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(
            s, (struct refused){"POST", path, s->shopper, "k", cases[i].body, 400, "invalid-body", cases[i].pointer});
    expect_refused(s, (struct refused){"POST", path, s->shopper, "k", "{\"sku\":\"A\",\"quantity\":1000}", 422,
                                       "quantity-limit", "/quantity"});
    expect_refused(s, (struct refused){"PATCH", format(s, "%s/A", path), s->shopper, "k", "{\"quantity\":1000}", 422,
                                       "quantity-limit", "/quantity"});
    expect_refused(
        s, (struct refused){"POST", "/v1/carts", s->shopper, "k", "{\"cart_id\":1}", 400, "invalid-body", "/cart_id"});
    expect_refused(s, (struct refused){"POST", "/v1/sessions", NULL, NULL, "[1]", 400, "invalid-body", ""});
}

/* 16 levels are allowed and refused for being unknown; brackets in texts do not count. */
static void depth_is_counted_outside_of_texts(void **state) {
    struct server *s = *state;
    const char *path = format(s, "/v1/carts/%s/lines", cart_new(s, "depth"));
    expect_refused(s, (struct refused){"POST", path, s->shopper, "k",
                                       "{\"sku\":\"A\",\"quantity\":1,\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}", 400,
                                       "invalid-body", "/x"});
    struct reply reply =
        ask(s, "POST", path, s->shopper, "k", "{\"sku\":\"\\\"[[[[[[[[[[[[[[[[[[{{{{{\\\\\",\"quantity\":1}");
    expect_status(reply, 202);
    take_appended(s, TOPIC_CART_EVENTS);
}

/* Replaces what stands between two texts of a good body by something else. */
static const char *changed(struct server *s, const char *body, const char *from, const char *to) {
    const char *at = strstr(body, from);
    assert_non_null(at);
    return format(s, "%.*s%s%s", (int)(at - body), body, to, at + strlen(from));
}

/* What is wrong is said as it is: a number too large is still JSON, and an exact length is no range. */
static void the_fault_is_told_as_it_is(void **state) {
    struct server *s = *state;
    const char *path = format(s, "/v1/carts/%s/lines", cart_new(s, "told"));
    struct reply reply = ask(s, "POST", path, s->shopper, "k", "{\"sku\":\"A\",\"quantity\":99999999999999999999}");
    expect_problem(s, reply, 400, "invalid-body", "");
    assert_non_null(strstr(reply.body.ptr, "a number that is out of range"));
    assert_null(strstr(reply.body.ptr, "not valid JSON"));
    const char *body = format(s, CHECKOUT_BODY("%s"), cart_new(s, "told"));
    reply = ask(s, "POST", "/v1/checkouts", s->shopper, "k", changed(s, body, "\"US\"", "\"USA\""));
    expect_problem(s, reply, 400, "invalid-body", "/shipping_address/country");
    assert_non_null(strstr(reply.body.ptr, "must have 2 characters"));
    expect_nothing_appended(s);
}

static void all_wrong_fields_are_named_at_once(void **state) {
    struct server *s = *state;
    struct reply reply = ask(s, "POST", "/v1/checkouts", s->shopper, "k", "{\"cart_id\":\"x\",\"nonsense\":1}");
    const char *pointers[] = {"/cart_id", "/expected_total",   "/payment_method",
                              "/email",   "/shipping_address", "/nonsense"};
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++)
        expect_problem(s, reply, 400, "invalid-body", pointers[i]);
    expect_nothing_appended(s);
}

static void checkouts_are_checked_field_by_field(void **state) {
    struct server *s = *state;
    const char *good = format(s, CHECKOUT_BODY("%s"), cart_new(s, "fields"));
    const struct {
        const char *from, *to, *pointer, *slug;
    } cases[] = {
        {"1999", "19.99", "/expected_total/minor", "invalid-body"},
        {"1999", "-1", "/expected_total/minor", "invalid-body"},
        {"1999", "\"1999\"", "/expected_total/minor", "invalid-body"},
        {"1999", "1000000000001", "/expected_total/minor", "invalid-body"},
        {"\"USD\"", "\"EUR\"", "/expected_total/currency", "wrong-currency"},
        {"\"USD\"", "\"usd\"", "/expected_total/currency", "invalid-body"},
        {"\"USD\"", "\"USDX\"", "/expected_total/currency", "invalid-body"},
        {"\"USD\"}", "\"USD\",\"tip\":1}", "/expected_total/tip", "invalid-body"},
        {"pm_card_visa", "4242424242424242", "/payment_method", "invalid-body"},
        {"pm_card_visa", "4242-4242-4242-4242", "/payment_method", "invalid-body"},
        {"pm_card_visa", "pm_378282246310005", "/payment_method", "invalid-body"},
        {"pm_card_visa", "1234567890123", "/payment_method", "invalid-body"},
        {"pm_card_visa", "pm card", "/payment_method", "invalid-body"},
        {"pm_card_visa", "", "/payment_method", "invalid-body"},
        {"ada@example.org", "ada", "/email", "invalid-body"},
        {"ada@example.org", "@example.org", "/email", "invalid-body"},
        {"ada@example.org", "ada@", "/email", "invalid-body"},
        {"ada@example.org", "a@b@c", "/email", "invalid-body"},
        {"ada@example.org", "ada l@example.org", "/email", "invalid-body"},
        {"ada@example.org", "ada@example.org.", "/email", "invalid-body"},
        {"ada@example.org", "ada@example.org\\r\\nBcc: x", "/email", "invalid-body"},
        {"Ada L", "", "/shipping_address/name", "invalid-body"},
        {"1 Main St", "4242 4242 4242 4242", "/shipping_address/line1", "invalid-body"},
        {"1 Main St", "", "/shipping_address/line1", "invalid-body"},
        {"\"city\":\"Springfield\",", "", "/shipping_address/city", "invalid-body"},
        {"\"US\"", "\"USA\"", "/shipping_address/country", "invalid-body"},
        {"\"US\"", "\"us\"", "/shipping_address/country", "invalid-body"},
        {"\"US\"", "null", "/shipping_address/country", "invalid-body"},
        {"62701", "123456789012345678901", "/shipping_address/postal_code", "invalid-body"},
        {"\"IL\"", "7", "/shipping_address/region", "invalid-body"},
        {"\"name\":\"Ada L\"", "\"first\":\"Ada\"", "/shipping_address/first", "invalid-body"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *body = changed(s, good, cases[i].from, cases[i].to);
        long status = strcmp(cases[i].slug, "invalid-body") == 0 ? 400 : 422;
        expect_refused(s, (struct refused){"POST", "/v1/checkouts", s->shopper, "k", body, status, cases[i].slug,
                                           cases[i].pointer});
    }
}

/* What may be missing: not every country has regions and postal codes. A long number that is no card's is fine. */
static void addresses_may_be_short(void **state) {
    struct server *s = *state;
    const char *good = format(s, CHECKOUT_BODY("%s"), cart_new(s, "short"));
    const char *body = changed(s, changed(s, good, "\"region\":\"IL\",\"postal_code\":\"62701\",", ""), "1 Main St",
                               "Parcel 4242 4242 4242 4243");
    struct reply reply = ask(s, "POST", "/v1/checkouts", s->shopper, "k", body);
    expect_status(reply, 202);
    const struct appended a = take_appended(s, TOPIC_PERSONAL);
    expect_text(a.message.personal_details.address.region, "");
    expect_text(a.message.personal_details.address.postal_code, "");
    expect_text(take_appended(s, TOPIC_CART_EVENTS).message.cart_checkout_requested.ship_to.region, "");
}

static void operators_are_checked_too(void **state) {
    struct server *s = *state;
    const struct refused cases[] = {
        {"PUT", "/v1/products/A", OPERATOR, NULL, "{\"name\":\"\",\"price\":{\"minor\":1,\"currency\":\"USD\"}}", 400,
         "invalid-body", "/name"},
        {"PUT", "/v1/products/A", OPERATOR, NULL, "{\"name\":\"A\",\"price\":{\"minor\":0,\"currency\":\"USD\"}}", 400,
         "invalid-body", "/price/minor"},
        {"PUT", "/v1/products/A", OPERATOR, NULL, "{\"name\":\"A\",\"price\":{\"minor\":1.5,\"currency\":\"USD\"}}",
         400, "invalid-body", "/price/minor"},
        {"PUT", "/v1/products/A", OPERATOR, NULL, "{\"name\":\"A\",\"price\":{\"minor\":1,\"currency\":\"EUR\"}}", 422,
         "wrong-currency", "/price/currency"},
        {"PUT", "/v1/products/A", OPERATOR, NULL, "{\"name\":\"A\",\"price\":199}", 400, "invalid-body", "/price"},
        {"POST", "/v1/inventory/A/receipts", OPERATOR, "k", "{\"quantity\":1,\"location\":\"moon\"}", 400,
         "invalid-body", "/location"},
        {"POST", "/v1/inventory/A/receipts", OPERATOR, "k", "{\"quantity\":1}", 400, "invalid-body", "/location"},
        {"POST", "/v1/inventory/A/receipts", OPERATOR, "k", "{\"quantity\":0,\"location\":\"main\"}", 400,
         "invalid-body", "/quantity"},
        {"POST", "/v1/inventory/A/receipts", OPERATOR, "k", "{\"quantity\":1000000001,\"location\":\"main\"}", 422,
         "quantity-limit", "/quantity"},
        {"POST", "/v1/inventory/A/adjustments", OPERATOR, "k",
         "{\"quantity\":0,\"location\":\"main\",\"reason\":\"r\"}", 400, "invalid-body", "/quantity"},
        {"POST", "/v1/inventory/A/adjustments", OPERATOR, "k", "{\"quantity\":1,\"location\":\"main\"}", 400,
         "invalid-body", "/reason"},
        {"POST", "/v1/fulfilments/01a20442-25b9-75d7-9ff7-4f285feb026e/dispatch", OPERATOR, "k",
         "{\"carrier\":\"UPS\"}", 400, "invalid-body", "/tracking"},
        {"POST", "/v1/fulfilments/01a20442-25b9-75d7-9ff7-4f285feb026e/pick", OPERATOR, "k", "{\"carrier\":\"UPS\"}",
         400, "invalid-body", "/carrier"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(s, cases[i]);
}

static void bodies_have_a_size(void **state) {
    struct server *s = *state;
    const char *path = format(s, "/v1/carts/%s/lines", cart_new(s, "size"));
    const size_t sizes[] = {64 * 1024, 64 * 1024 + 1, 512 * 1024, 3 * 1024 * 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *body = malloc(sizes[i] + 1);
        const char *json = "{\"sku\":\"A\",\"quantity\":1}";
        memset(body, ' ', sizes[i]);
        memcpy(body, json, strlen(json));
        body[sizes[i]] = '\0';
        for (int chunked = 0; chunked < 2; chunked++) {
            struct ask asked = {.method = "POST", .path = path, .token = s->shopper, .key = "k", .body = body};
            if (chunked && sizes[i] > 1024 * 1024)
                continue; /* it is cut off: see test_raw */
            asked.headers[0] = chunked ? "Transfer-Encoding: chunked" : "X-Nothing: 1";
            struct reply reply = server_ask(s, asked);
            if (i == 0) {
                expect_status(reply, 202);
                take_appended(s, TOPIC_CART_EVENTS);
            } else {
                expect_problem(s, reply, 413, "too-large", NULL);
            }
        }
        free(body);
    }
    expect_nothing_appended(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_strict_json),
        cmocka_unit_test(depth_is_counted_outside_of_texts),
        cmocka_unit_test(the_fault_is_told_as_it_is),
        cmocka_unit_test(all_wrong_fields_are_named_at_once),
        cmocka_unit_test(checkouts_are_checked_field_by_field),
        cmocka_unit_test(addresses_may_be_short),
        cmocka_unit_test(operators_are_checked_too),
        cmocka_unit_test(bodies_have_a_size),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, refusal_setup, refusal_teardown);
    curl_global_cleanup();
    return failed;
}
