/* What the payment provider's answers are taken for. Only what the provider itself says about the payment is an
 * outcome: everything else is unknown, and the call is made again. */
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumers/provider.h"
#include "core/base/logging.h"

/* Answers each connection with `answer`, or with nothing, and closes it. */
struct stub {
    int listener;
    int port;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    char answer[1024];    /* "": none */
    char request[4096];
};

#define TRACEPARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
static struct str traceparent;
static struct stub stub = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Until the head and as much body as it says are there. */
static size_t read_request(int socket, char *to, size_t size) {
    size_t have = 0;
    for (;;) {
        ssize_t got = recv(socket, to + have, size - 1 - have, 0);
        if (got <= 0)
            return have;
        have += (size_t)got;
        to[have] = 0;
        const char *end = strstr(to, "\r\n\r\n"), *length = strcasestr(to, "content-length:");
        if (end && (!length || have >= (size_t)(end + 4 - to) + strtoul(length + 15, NULL, 10)))
            return have;
    }
}

static void *stub_main(void *user) {
    (void)user;
    int socket;
    while ((socket = accept(stub.listener, NULL, NULL)) >= 0) {
        char request[sizeof(stub.request)] = "";
        read_request(socket, request, sizeof(request));
        pthread_mutex_lock(&stub.lock);
        memcpy(stub.request, request, sizeof(request));
        char answer[sizeof(stub.answer)];
        memcpy(answer, stub.answer, sizeof(answer));
        pthread_mutex_unlock(&stub.lock);
        if (answer[0])
            assert_int_equal(send(socket, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
        close(socket);
    }
    return NULL;
}

static int stub_start(void **state) {
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    stub.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(stub.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(stub.listener, 8), 0);
    assert_int_equal(getsockname(stub.listener, (struct sockaddr *)&at, &size), 0);
    stub.port = ntohs(at.sin_port);
    return pthread_create(&stub.thread, NULL, stub_main, NULL);
}

static int stub_stop(void **state) {
    (void)state;
    shutdown(stub.listener, SHUT_RDWR);
    pthread_join(stub.thread, NULL);
    close(stub.listener);
    return 0;
}

enum {
    AUTHORIZE = INTENT_PROVIDER_ACTION_AUTHORIZE,
    CAPTURE = INTENT_PROVIDER_ACTION_CAPTURE,
    VOID = INTENT_PROVIDER_ACTION_VOID,
    REFUND = INTENT_PROVIDER_ACTION_REFUND,
    LOOK = INTENT_PROVIDER_ACTION_LOOK,
    LATE = 100, /* added to an action: it is too late for it */
    SUCCEEDED = INTENT_PROVIDER_OUTCOME_SUCCEEDED,
    DECLINED = INTENT_PROVIDER_OUTCOME_DECLINED,
    FAILED = INTENT_PROVIDER_OUTCOME_FAILED,
    EXPIRED = INTENT_PROVIDER_OUTCOME_EXPIRED,
    UNKNOWN = INTENT_PROVIDER_OUTCOME_UNKNOWN,
    CAPTURED = INTENT_PROVIDER_OUTCOME_CAPTURED,
    PENDING = INTENT_PROVIDER_OUTCOME_PENDING,
    MISSING = INTENT_PROVIDER_OUTCOME_MISSING,
};

/* The answer to a call when the provider answers `status` with `body`; NULL: it hangs up. */
static struct intent_provider_answered answer_to(int which, const char *status, const char *body, struct arena *arena) {
    enum intent_provider_action action = (enum intent_provider_action)(which % LATE);
    BUF_AUTO url = {0};
    BUF_AUTO text = {0};
    struct provider *provider;
    struct err err = {0};
    struct message answer = {0};
    struct message request = {.type = MESSAGE_INTENT_CALL_PROVIDER};
    request.intent_call_provider = (struct intent_call_provider){.action = action,
                                                                 .order_id = STR("o"),
                                                                 .payment_id = STR("p"),
                                                                 .attempt = 1,
                                                                 .amount = {1999, STR("USD")},
                                                                 .payment_method = ((struct str){"pm &\0=", 6}),
                                                                 .provider_ref = STR("pi_1"),
                                                                 .look_up = which >= LATE,
                                                                 .idempotency_key = STR("the-key")};
    if (body)
        buf_printf(&text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body),
                   body);
    pthread_mutex_lock(&stub.lock);
    assert_true(text.len < sizeof(stub.answer));
    snprintf(stub.answer, sizeof(stub.answer), "%s", body ? text.ptr : "");
    pthread_mutex_unlock(&stub.lock);
    buf_printf(&url, "http://127.0.0.1:%d", stub.port);
    assert_true(provider_open(url.ptr, STR("sk_test"), PROVIDER_TIMEOUT_MS, &provider, &err));
    provider_call(provider, &request, traceparent, arena, &answer);
    provider_close(provider);
    assert_int_equal(answer.type, MESSAGE_INTENT_PROVIDER_ANSWERED);
    return answer.intent_provider_answered;
}

#define OURS "\"id\":\"pi_1\",\"currency\":\"usd\",\"metadata\":{\"order_id\":\"o\",\"payment_id\":\"p\"}"
#define HELD "{" OURS ",\"status\":\"requires_capture\",\"amount_capturable\":1999}"
#define TAKEN "{" OURS ",\"status\":\"succeeded\",\"amount_received\":1999}"
#define GONE "{" OURS ",\"status\":\"canceled\"}"
#define REFUSED "{" OURS ",\"status\":\"requires_payment_method\",\"last_payment_error\":{\"code\":\"card_declined\"}}"

static void outcomes(void **state) {
    (void)state;
    static const struct {
        int action;
        const char *status, *body;
        int outcome;
    } cases[] = {
        {AUTHORIZE, "200 OK", HELD, SUCCEEDED},
        {AUTHORIZE, "200 OK", TAKEN, CAPTURED},
        {AUTHORIZE, "200 OK", GONE, EXPIRED},
        {AUTHORIZE, "200 OK", "{\"id\":\"pi_1\",\"status\":\"processing\"}", UNKNOWN},
        {AUTHORIZE, "200 OK", "{\"id\":\"pi_1\",\"status\":\"requires_action\"}", DECLINED},
        {AUTHORIZE, "402 Payment Required", "{\"error\":{\"code\":\"card_declined\"}}", DECLINED},
        {AUTHORIZE, "400 Bad Request", "{\"error\":{\"code\":\"parameter_invalid\"}}", FAILED},
        {CAPTURE, "200 OK", TAKEN, SUCCEEDED},
        {CAPTURE, "200 OK", HELD, UNKNOWN},
        {CAPTURE, "400 Bad Request", "{\"error\":{\"payment_intent\":" GONE "}}", EXPIRED},
        {CAPTURE, "400 Bad Request", "{\"error\":{\"payment_intent\":" TAKEN "}}", SUCCEEDED},
        {CAPTURE, "400 Bad Request", "{\"error\":{\"payment_intent\":" HELD "}}", FAILED},
        {CAPTURE, "400 Bad Request", "{\"error\":{\"code\":\"amount_too_large\"}}", FAILED},
        {VOID, "200 OK", GONE, SUCCEEDED},
        {VOID, "400 Bad Request", "{\"error\":{\"payment_intent\":" GONE "}}", SUCCEEDED},
        {VOID, "400 Bad Request", "{\"error\":{\"payment_intent\":" TAKEN "}}", FAILED},
        {REFUND, "200 OK", "{\"id\":\"re_1\",\"status\":\"pending\",\"amount\":1999,\"currency\":\"usd\"}", SUCCEEDED},
        {REFUND, "200 OK", "{\"id\":\"re_1\",\"status\":\"failed\"}", FAILED},
        /* a look */
        {LOOK, "200 OK", HELD, SUCCEEDED},
        {LOOK, "200 OK", TAKEN, CAPTURED},
        {LOOK, "200 OK", GONE, EXPIRED},
        {LOOK, "200 OK", REFUSED, DECLINED},
        {LOOK, "200 OK", "{\"id\":\"pi_1\",\"status\":\"processing\",\"metadata\":{\"order_id\":\"o\"}}", PENDING},
        {LOOK, "200 OK", "{\"id\":\"pi_1\",\"status\":\"canceled\",\"metadata\":{\"order_id\":\"x\"}}", MISSING},
        {LOOK, "404 Not Found", "{\"error\":{\"code\":\"resource_missing\"}}", MISSING},
        {LOOK, "404 Not Found", "{\"message\":\"no route\"}", UNKNOWN},
        {LOOK, "400 Bad Request", "{\"error\":{}}", UNKNOWN},
        /* too late to make the call again */
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[" HELD "]}", SUCCEEDED},
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[" REFUSED "]}", DECLINED},
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[" GONE "]}", EXPIRED},
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[" TAKEN "]}", CAPTURED},
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[]}", MISSING},
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[" HELD "," HELD "]}", MISSING},
        {AUTHORIZE + LATE, "200 OK", "{\"data\":[{\"status\":\"requires_capture\",\"metadata\":{\"order_id\":\"o\"}}]}",
         MISSING},
        {AUTHORIZE + LATE, "200 OK", HELD, UNKNOWN},
        {AUTHORIZE + LATE, "500 Internal Server Error", "{\"error\":{}}", UNKNOWN},
        {CAPTURE + LATE, "200 OK", TAKEN, SUCCEEDED},
        {CAPTURE + LATE, "200 OK", HELD, FAILED},
        {CAPTURE + LATE, "200 OK", GONE, EXPIRED},
        {VOID + LATE, "200 OK", GONE, SUCCEEDED},
        {VOID + LATE, "200 OK", HELD, FAILED},
        {VOID + LATE, "200 OK", TAKEN, FAILED},
        {REFUND + LATE, "200 OK", "{}", MISSING},
        /* not the provider's, or not carried out */
        {AUTHORIZE, "", NULL, UNKNOWN},
        {AUTHORIZE, "200 OK", "{}", UNKNOWN},
        {AUTHORIZE, "200 OK", "{\"id\":\"pi_1\",\"status\":\"requires_capture\"}", UNKNOWN},
        {AUTHORIZE, "200 OK", "{\"status\":\"requires_capture\",\"amount_capturable\":1.5,\"currency\":\"usd\"}",
         UNKNOWN},
        {CAPTURE, "200 OK", "{\"id\":\"pi_1\",\"status\":\"succeeded\"}", UNKNOWN},
        {AUTHORIZE, "200 OK", "<html>", UNKNOWN},
        {REFUND, "200 OK", "{}", UNKNOWN},
        {AUTHORIZE, "302 Found", "{}", UNKNOWN},
        {AUTHORIZE, "404 Not Found", "{\"message\":\"no route\"}", UNKNOWN},
        {AUTHORIZE, "402 Payment Required", "[]", UNKNOWN},
        {AUTHORIZE, "401 Unauthorized", "{\"error\":{}}", UNKNOWN},
        {AUTHORIZE, "403 Forbidden", "{\"error\":{}}", UNKNOWN},
        {AUTHORIZE, "408 Request Timeout", "{\"error\":{}}", UNKNOWN},
        {AUTHORIZE, "409 Conflict", "{\"error\":{}}", UNKNOWN},
        {AUTHORIZE, "429 Too Many Requests", "{\"error\":{}}", UNKNOWN},
        {CAPTURE, "500 Internal Server Error", "{\"error\":{}}", UNKNOWN},
        {CAPTURE, "503 Service Unavailable", "", UNKNOWN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        arena_init(&arena);
        struct intent_provider_answered answered = answer_to(cases[i].action, cases[i].status, cases[i].body, &arena);
        if ((int)answered.outcome != cases[i].outcome)
            fail_msg("%d: %s %s: %d, not %d", cases[i].action, cases[i].status, cases[i].body, (int)answered.outcome,
                     cases[i].outcome);
        arena_free(&arena);
    }
}

static void request(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct intent_provider_answered answered =
        answer_to(INTENT_PROVIDER_ACTION_AUTHORIZE, "402 Payment Required",
                  "{\"error\":{\"code\":\"card_declined\",\"decline_code\":\"lost_card\","
                  "\"payment_intent\":{\"id\":\"pi_9\"}}}",
                  &arena);
    assert_true(str_eq(answered.code, STR("lost_card")));
    assert_true(str_eq(answered.provider_ref, STR("pi_9")));
    assert_non_null(strstr(stub.request, "POST /v1/payment_intents HTTP/1.1\r\n"));
    assert_non_null(strstr(stub.request, "\r\nIdempotency-Key: the-key\r\n"));
    assert_non_null(strstr(stub.request, "\r\nAuthorization: Bearer sk_test\r\n"));
    assert_non_null(strstr(stub.request, "amount=1999&currency=usd&capture_method=manual&confirm=true"));
    assert_non_null(strstr(stub.request, "payment_method=pm%20%26%00%3D&"));
    arena_free(&arena);
}

/* Only what is one goes into a header: it was read from a record. */
static void trace(void **state) {
    (void)state;
    const char *given[] = {TRACEPARENT, "00-x\r\nInjected: 1", NULL};
    for (size_t i = 0; i < 3; i++) {
        struct arena arena;
        arena_init(&arena);
        traceparent = str_from(given[i]);
        answer_to(CAPTURE, "200 OK", TAKEN, &arena);
        assert_int_equal(strstr(stub.request, "\r\ntraceparent: " TRACEPARENT "\r\n") != NULL, i == 0);
        assert_null(strstr(stub.request, "Injected"));
        arena_free(&arena);
    }
}

/* The amount is the provider's word, whatever was asked for. */
static void amounts(void **state) {
    (void)state;
    static const struct {
        int action;
        const char *body;
    } cases[] = {
        {AUTHORIZE,
         "{\"status\":\"requires_capture\",\"amount\":1999,\"amount_capturable\":1998,\"currency\":\"eur\"}"},
        {CAPTURE, "{\"status\":\"succeeded\",\"amount\":1999,\"amount_received\":1998,\"currency\":\"eur\"}"},
        {REFUND, "{\"status\":\"succeeded\",\"amount\":1998,\"currency\":\"eur\"}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        arena_init(&arena);
        struct intent_provider_answered answered = answer_to(cases[i].action, "200 OK", cases[i].body, &arena);
        assert_int_equal(answered.outcome, SUCCEEDED);
        assert_int_equal(answered.amount.minor, 1998);
        assert_true(str_eq(answered.amount.currency, STR("EUR")));
        arena_free(&arena);
    }
}

/* How it is asked what became of a payment: nothing is changed by that. */
static void looks(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct intent_provider_answered answered = answer_to(LOOK, "200 OK", HELD, &arena);
    assert_true(str_eq(answered.payment_id, STR("p")));
    assert_non_null(strstr(stub.request, "GET /v1/payment_intents/pi_1 HTTP/1.1\r\n"));
    assert_null(strcasestr(stub.request, "idempotency-key"));
    answered = answer_to(AUTHORIZE + LATE, "200 OK", "{\"data\":[" HELD "]}", &arena);
    assert_true(str_eq(answered.provider_ref, STR("pi_1")));
    assert_non_null(strstr(stub.request, "GET /v1/payment_intents/search?query=metadata%5B%27order_id%27%5D%3A%27o%27"
                                         "%20AND%20metadata%5B%27payment_id%27%5D%3A%27p%27 HTTP/1.1\r\n"));
    arena_free(&arena);
}

static void addresses(void **state) {
    (void)state;
    struct provider *provider;
    struct err err = {0};
    assert_false(provider_open("ftp://x", STR(""), PROVIDER_TIMEOUT_MS, &provider, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_false(provider_open("htps://user:secret@x", STR(""), PROVIDER_TIMEOUT_MS, &provider, &err));
    assert_non_null(strstr(err.detail, "htps://REDACTED@x"));
    assert_true(provider_open("instant", STR(""), PROVIDER_TIMEOUT_MS, &provider, &err));
    provider_close(provider);
}

int main(void) {
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes), cmocka_unit_test(request),   cmocka_unit_test(amounts),
        cmocka_unit_test(looks),    cmocka_unit_test(addresses), cmocka_unit_test(trace),
    };
    return cmocka_run_group_tests(tests, stub_start, stub_stop);
}
