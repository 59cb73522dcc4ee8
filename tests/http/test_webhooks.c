/* Webhooks of the payment provider: which are taken, what of them goes into the log, and where to. */
#include "harness.h"

#define PATH "/v1/webhooks/payments/stripe"
#define NEW_SECRET "whsec_the-one-that-comes"
#define OLD_SECRET "whsec_the-one-that-goes"
#define ORDER "0190a000-0000-8000-8000-000000000001"
#define EVENT                                                                                                          \
    "{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"payment_intent.canceled\",\"livemode\":false,\"data\":{"        \
    "\"object\":{\"id\":\"pi_1\",\"object\":\"payment_intent\",\"status\":\"canceled\",\"amount\":1999,"               \
    "\"receipt_email\":\"ann@example.org\",\"metadata\":{\"order_id\":\"" ORDER "\",\"payment_id\":\"p\"}}}}"

static int setup(void **state) {
    struct server *s = server_new();
    s->config.webhook_secrets = (struct secret_pair){STR(NEW_SECRET), STR(OLD_SECRET)};
    server_start(s);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    server_free(*state);
    return 0;
}

static int64_t now_seconds(void) {
    return clock_now_us() / 1000000;
}

/* "v1=…" of this body at this time. */
static const char *signature(struct server *s, const char *secret, int64_t at, const char *body) {
    uint8_t mac[SHA256_SIZE];
    BUF_AUTO payload = {0};
    BUF_AUTO text = {0};
    buf_printf(&payload, "%lld.%s", (long long)at, body);
    hmac_sha256(str_from(secret), buf_str(&payload), mac);
    buf_printf(&text, "v1=");
    buf_add_hex(&text, mac, sizeof mac);
    buf_add_char(&text, '\0');
    return arena_dup(&s->arena, buf_str(&text)).ptr;
}

static struct reply send_with(struct server *s, const char *header, const char *body) {
    return server_ask(s, (struct ask){.method = "POST", .path = PATH, .body = body, .headers = {header}});
}

static struct reply send_signed(struct server *s, const char *secret, int64_t at, const char *body) {
    BUF_AUTO header = {0};
    buf_printf(&header, "Stripe-Signature: t=%lld,%s", (long long)at, signature(s, secret, at, body));
    return send_with(s, header.ptr, body);
}

static void expect_kept(struct reply reply) {
    expect_status(reply, 200);
    assert_string_equal(reply.body.ptr, "{\"received\":true}");
}

static void a_hint_goes_to_its_order(void **state) {
    struct server *s = *state;
    expect_kept(send_signed(s, NEW_SECRET, now_seconds(), EVENT));
    struct appended a = take_appended(s, TOPIC_PAYMENT_REQUESTS);
    const struct payment_provider_notified *m = &a.message.payment_provider_notified;
    assert_int_equal(a.message.type, MESSAGE_PAYMENT_PROVIDER_NOTIFIED);
    expect_text(a.envelope.key, ORDER);
    expect_text(a.envelope.subject, ORDER);
    expect_text(m->order_id, ORDER);
    expect_text(m->provider, "stripe");
    expect_text(m->provider_event_id, "evt_1");
    expect_text(m->object_id, "pi_1");
    expect_text(m->event_type, "payment_intent.canceled");
    expect_text(m->status, "canceled");
    assert_int_equal(m->payload_hash.len, 32);
    expect_nothing_appended(s);
}

static void the_same_event_is_the_same_command(void **state) {
    struct server *s = *state;
    expect_kept(send_signed(s, NEW_SECRET, now_seconds() - 1, EVENT));
    expect_kept(send_signed(s, NEW_SECRET, now_seconds(), EVENT));
    struct appended first = take_appended(s, TOPIC_PAYMENT_REQUESTS), second = take_appended(s, TOPIC_PAYMENT_REQUESTS);
    assert_true(str_eq(first.envelope.id, second.envelope.id));
    assert_true(str_eq(first.envelope.id, first.envelope.command_id));
    expect_nothing_appended(s);
}

static void a_hint_without_an_order_is_set_aside(void **state) {
    struct server *s = *state;
    static const struct {
        const char *object, *id;
    } objects[] = {
        {"{\"id\":\"pi_2\",\"object\":\"payment_intent\",\"status\":\"succeeded\"}", "pi_2"},
        {"{\"id\":\"pi_2\",\"object\":\"payment_intent\",\"metadata\":{}}", "pi_2"},
        {"{\"id\":\"pi_2\",\"metadata\":{\"order_id\":\"not one of ours\"}}", "pi_2"},
        {"{\"id\":\"pi_2\",\"metadata\":{\"order_id\":17}}", "pi_2"},
        {"{\"id\":\"pi_2\",\"metadata\":[\"" ORDER "\"]}", "pi_2"},
        {"{\"id\":\"re_1\",\"object\":\"refund\",\"payment_intent\":\"pi_3\",\"status\":\"failed\"}", "pi_3"},
    };
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        char body[512];
        snprintf(body, sizeof body, "{\"id\":\"evt_%zu\",\"type\":\"t\",\"data\":{\"object\":%s}}", i,
                 objects[i].object);
        expect_kept(send_signed(s, NEW_SECRET, now_seconds(), body));
        struct appended a = take_appended(s, TOPIC_PAYMENT_UNROUTED);
        expect_text(a.envelope.key, objects[i].id);
        expect_text(a.message.payment_provider_notified.object_id, objects[i].id);
        assert_null(a.message.payment_provider_notified.order_id.ptr);
        expect_nothing_appended(s);
    }
}

/* Another object names its payment: that is what is looked at. Its own status says nothing about it. */
static void a_charge_speaks_of_its_payment(void **state) {
    struct server *s = *state;
    expect_kept(send_signed(
        s, NEW_SECRET, now_seconds(),
        "{\"id\":\"evt_2\",\"type\":\"charge.expired\",\"data\":{\"object\":{\"id\":\"ch_1\",\"object\":"
        "\"charge\",\"status\":\"succeeded\",\"payment_intent\":\"pi_4\",\"metadata\":{\"order_id\":\"" ORDER
        "\"}}}}"));
    struct appended a = take_appended(s, TOPIC_PAYMENT_REQUESTS);
    expect_text(a.message.payment_provider_notified.object_id, "pi_4");
    assert_null(a.message.payment_provider_notified.status.ptr);
}

static void either_secret_and_any_signature_will_do(void **state) {
    struct server *s = *state;
    int64_t now = now_seconds();
    char header[1024];
    expect_kept(send_signed(s, OLD_SECRET, now, EVENT));
    snprintf(header, sizeof header, "Stripe-Signature: t=%lld,%s,%s,v0=00", (long long)now,
             signature(s, "whsec_somebody-else's", now, EVENT), signature(s, OLD_SECRET, now, EVENT));
    expect_kept(send_with(s, header, EVENT));
    expect_kept(send_signed(s, NEW_SECRET, now - 290, EVENT));
    expect_kept(send_signed(s, NEW_SECRET, now + 290, EVENT));
}

static void what_is_not_signed_is_refused(void **state) {
    struct server *s = *state;
    int64_t now = now_seconds();
    char at[64], headers[9][512];
    size_t count = 0;
    const char *good = signature(s, NEW_SECRET, now, EVENT);
    snprintf(at, sizeof at, "Stripe-Signature: t=%lld", (long long)now);
    snprintf(headers[count++], 512, "X-None: 1");
    snprintf(headers[count++], 512, "Stripe-Signature: %s", good);
    snprintf(headers[count++], 512, "%s", at);
    snprintf(headers[count++], 512, "%s,%s", at, signature(s, "whsec_somebody-else's", now, EVENT));
    snprintf(headers[count++], 512, "%s,%s", at, signature(s, NEW_SECRET, now, EVENT " "));
    snprintf(headers[count++], 512, "%s,%s", at, signature(s, NEW_SECRET, now - 1, EVENT));
    snprintf(headers[count++], 512, "%s,t=%lld,%s", at, (long long)now, good);
    snprintf(headers[count++], 512, "%s,%.*s", at, (int)strlen(good) - 2, good);
    snprintf(headers[count++], 512, "%s,v0=%s", at, good + 3);
    for (size_t i = 0; i < count; i++) {
        expect_problem(s, send_with(s, headers[i], EVENT), 400, "invalid-body", NULL);
        expect_nothing_appended(s);
    }
    expect_problem(s, send_signed(s, NEW_SECRET, now - 310, EVENT), 400, "invalid-body", NULL);
    expect_problem(s, send_signed(s, NEW_SECRET, now + 310, EVENT), 400, "invalid-body", NULL);
    expect_nothing_appended(s);
}

static void what_is_no_event_is_refused(void **state) {
    struct server *s = *state;
    static const struct {
        const char *body, *pointer;
    } bodies[] = {
        {"{\"type\":\"t\",\"data\":{\"object\":{\"id\":\"pi_1\"}}}", "/id"},
        {"{\"id\":1,\"type\":\"t\",\"data\":{\"object\":{\"id\":\"pi_1\"}}}", "/id"},
        {"{\"id\":\"evt 1\",\"type\":\"t\",\"data\":{\"object\":{\"id\":\"pi_1\"}}}", "/id"},
        {"{\"id\":\"e\",\"type\":\"\",\"data\":{\"object\":{\"id\":\"pi_1\"}}}", "/type"},
        {"{\"id\":\"e\",\"type\":\"t\"}", "/data/object"},
        {"{\"id\":\"e\",\"type\":\"t\",\"data\":{\"object\":[]}}", "/data/object"},
        {"{\"id\":\"e\",\"type\":\"t\",\"data\":{\"object\":{\"id\":\"\\u0000\"}}}", ""},
        {"{\"id\":\"e\",\"type\":\"t\",\"data\":{\"object\":{}}}", "/data/object/id"},
        {"{\"id\":\"e\",\"id\":\"f\",\"type\":\"t\",\"data\":{\"object\":{\"id\":\"pi_1\"}}}", ""},
        {"[1]", ""},
        {"{", ""},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct reply reply = send_signed(s, NEW_SECRET, now_seconds(), bodies[i].body);
        expect_status(reply, 400);
        if (bodies[i].pointer[0])
            expect_problem(s, reply, 400, "invalid-body", bodies[i].pointer);
        expect_nothing_appended(s);
    }
}

static void without_a_secret_there_are_none(void **state) {
    (void)state;
    struct server *s = server_new();
    server_start(s);
    expect_problem(s, send_signed(s, "", now_seconds(), EVENT), 404, "not-found", NULL);
    expect_nothing_appended(s);
    server_free(s);
}

/* What is not signed counts as any request of its address; what is signed does not, but waits with the rest of it. */
static void unsigned_ones_are_limited(void **state) {
    (void)state;
    struct server *s = server_new();
    s->config.webhook_secrets = (struct secret_pair){STR(NEW_SECRET), STR(OLD_SECRET)};
    s->config.rate_address = 1;
    s->config.rate_address_burst = 10;
    server_start(s);
    for (int i = 0; i < 30; i++)
        expect_kept(send_signed(s, NEW_SECRET, now_seconds(), EVENT));
    int refused = 0;
    for (int i = 0; i < 100 && send_signed(s, "another", now_seconds(), EVENT).status == 400; i++)
        refused++;
    assert_in_range(refused, 8, 50);
    struct reply reply = send_signed(s, NEW_SECRET, now_seconds(), EVENT);
    expect_problem(s, reply, 429, "rate-limited", NULL);
    assert_string_equal(reply_header(s, reply, "Retry-After"), "1");
    server_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hint_goes_to_its_order, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_event_is_the_same_command, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hint_without_an_order_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_charge_speaks_of_its_payment, setup, teardown),
        cmocka_unit_test_setup_teardown(either_secret_and_any_signature_will_do, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_signed_is_refused, setup, teardown),
        cmocka_unit_test(unsigned_ones_are_limited),
        cmocka_unit_test_setup_teardown(what_is_no_event_is_refused, setup, teardown),
        cmocka_unit_test(without_a_secret_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
