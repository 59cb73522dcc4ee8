/* The provider's client against stripe-mock, which knows Stripe's OpenAPI: every request that we make is one that
 * Stripe accepts. What it answers are fixtures, so what is looked at is only whether it has refused. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "consumers/provider.h"
#include "core/base/clock.h"
#include "core/base/logging.h"

enum { SKIPPED = 77, START_MS = 60000 };

static struct {
    char program[4096];
    pid_t pid;
    char url[64];
} mock;

/* ---- stripe-mock ---- */

/* Builds it, if need be. */
static int find_program(void) {
    char command[4200];
    const char *source = getenv("ORDERLOG_SOURCE");
    snprintf(command, sizeof(command), "'%s/tests/support/stripe_mock.sh'", source ? source : ".");
    FILE *out = popen(command, "re");
    if (!out)
        return -1;
    if (fgets(mock.program, sizeof(mock.program), out))
        mock.program[strcspn(mock.program, "\n")] = '\0';
    int status = pclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static size_t drop_body(char *bytes, size_t size, size_t count, void *user) {
    (void)bytes, (void)user;
    return size * count;
}

/* The status of a POST with this form; 0: nobody answers. */
static long post(const char *path, const char *form) {
    char url[256];
    long status = 0;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Authorization: Bearer sk_test_123");
    snprintf(url, sizeof(url), "%s%s", mock.url, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_body);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}

static int mock_start(void **state) {
    (void)state;
    char address[64];
    int port = free_port();
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    snprintf(mock.url, sizeof(mock.url), "http://127.0.0.1:%d", port);
    mock.pid = fork();
    assert_true(mock.pid >= 0);
    if (mock.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* however this test ends */
        if (!freopen("/dev/null", "w", stdout))
            _exit(127);
        execl(mock.program, mock.program, "-http-addr", address, (char *)NULL);
        _exit(127);
    }
    int64_t deadline_us = clock_monotonic_us() + START_MS * INT64_C(1000);
    while (post("/v1/refunds", "") == 0) {
        if (clock_monotonic_us() > deadline_us || waitpid(mock.pid, NULL, WNOHANG) != 0)
            fail_msg("%s does not answer", mock.program);
        clock_sleep_ms(50);
    }
    return 0;
}

static int mock_stop(void **state) {
    (void)state;
    kill(mock.pid, SIGTERM);
    return waitpid(mock.pid, NULL, 0) == mock.pid ? 0 : -1;
}

/* ---- our requests ---- */

enum { LATE = 100 }; /* added to an action: it is too late for it, and what came of it is looked up */

static struct intent_provider_answered answer_to(int which, struct arena *arena) {
    struct provider *provider;
    struct err err = {0};
    struct message answer = {0}, request = {.type = MESSAGE_INTENT_CALL_PROVIDER};
    request.intent_call_provider =
        (struct intent_call_provider){.action = (enum intent_provider_action)(which % LATE),
                                      .order_id = STR("0190a000-0000-8000-8000-000000000001"),
                                      .payment_id = STR("0190a000-0000-8000-8000-000000000002"),
                                      .attempt = 1,
                                      .amount = {1999, STR("USD")},
                                      .payment_method = STR("pm_card_visa"),
                                      .provider_ref = STR("pi_123"),
                                      .look_up = which >= LATE,
                                      .idempotency_key = STR("0190a000-0000-8000-8000-000000000003")};
    if (!provider_open(mock.url, STR("sk_test_123"), PROVIDER_TIMEOUT_MS, &provider, &err))
        fail_msg("%s", err.detail);
    provider_call(provider, &request, STR_NULL, arena, &answer);
    provider_close(provider);
    return answer.intent_provider_answered;
}

/* A fixture's state is what it is: an answer that has one is no refusal. A refusal is FAILED, or for what only looks,
 * unknown; and both tell a code. */
static void every_request_is_accepted(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int which;
    } requests[] = {
        {"create", INTENT_PROVIDER_ACTION_AUTHORIZE},
        {"capture", INTENT_PROVIDER_ACTION_CAPTURE},
        {"cancel", INTENT_PROVIDER_ACTION_VOID},
        {"refund", INTENT_PROVIDER_ACTION_REFUND},
        {"retrieve", INTENT_PROVIDER_ACTION_LOOK},
        {"search", INTENT_PROVIDER_ACTION_AUTHORIZE + LATE},
        {"look after a capture", INTENT_PROVIDER_ACTION_CAPTURE + LATE},
        {"look after a cancel", INTENT_PROVIDER_ACTION_VOID + LATE},
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct arena arena;
        arena_init(&arena);
        struct intent_provider_answered answered = answer_to(requests[i].which, &arena);
        bool answered_200 = answered.outcome != INTENT_PROVIDER_OUTCOME_UNKNOWN
                                ? answered.outcome != INTENT_PROVIDER_OUTCOME_FAILED
                                : str_eq(answered.code, STR("http-200"));
        if (!answered_200 || (answered.code.len && answered.outcome != INTENT_PROVIDER_OUTCOME_UNKNOWN))
            fail_msg("%s: outcome %d, code %.*s", requests[i].name, (int)answered.outcome, STR_ARG(answered.code));
        arena_free(&arena);
    }
}

/* Else the test above could not fail. */
static void what_is_no_request_of_stripes_is_refused(void **state) {
    (void)state;
    assert_int_equal(post("/v1/payment_intents", "amount=1999&currency=usd"), 200);
    assert_int_equal(post("/v1/payment_intents", "amount=1999&currency=usd&no_such_parameter=1"), 400);
    assert_int_equal(post("/v1/payment_intents", "amount=1999"), 400);
    assert_int_equal(post("/v1/payment_intents", "amount=1999&currency=usd&capture_method=by-hand"), 400);
    assert_int_equal(post("/v1/payment_intents/pi_123/capture", "amount=1"), 400);
    assert_int_equal(post("/v1/payment_intents/pi_123/void", ""), 404);
}

int main(void) {
    logging_init(LOG_ERROR);
    int found = find_program();
    if (found == SKIPPED && !getenv("CI"))
        return SKIPPED;
    if (found != 0) {
        fprintf(stderr, "stripe-mock is not there: %d\n", found);
        return 1;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_accepted),
        cmocka_unit_test(what_is_no_request_of_stripes_is_refused),
    };
    return cmocka_run_group_tests(tests, mock_start, mock_stop);
}
