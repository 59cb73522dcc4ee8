/* What becomes of spans on their way to a collector, and what the settings OTEL_… are taken for. */
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
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/trace/settings.h"
#include "core/trace/trace.h"

/* ---- a collector that answers with the next of some statuses, and with 200 after them; 0: never */

static struct {
    int listener;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    const char *answers[4];
    size_t answered;
    int silent; /* sockets that are left open without an answer */
    int silents[4];
    char request[8192];
} collector = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool read_request(int socket, char *to, size_t size) {
    size_t have = 0;
    for (;;) {
        ssize_t got = recv(socket, to + have, size - 1 - have, 0);
        if (got <= 0)
            return false;
        have += (size_t)got;
        to[have] = 0;
        const char *end = strstr(to, "\r\n\r\n"), *length = strcasestr(to, "content-length:");
        if (end && length && have >= (size_t)(end + 4 - to) + strtoul(length + 15, NULL, 10))
            return true;
    }
}

static void *collector_main(void *user) {
    (void)user;
    int socket;
    while ((socket = accept(collector.listener, NULL, NULL)) >= 0) {
        char request[sizeof collector.request];
        bool whole = read_request(socket, request, sizeof request);
        pthread_mutex_lock(&collector.lock);
        const char *answer = collector.answered < 4 ? collector.answers[collector.answered] : NULL;
        if (whole) {
            memcpy(collector.request, request, sizeof request);
            collector.answered++;
        }
        if (!answer)
            answer = "200 OK\r\n";
        if (!*answer && collector.silent < 4)
            collector.silents[collector.silent++] = socket;
        pthread_mutex_unlock(&collector.lock);
        if (!*answer)
            continue;
        dprintf(socket, "HTTP/1.1 %sContent-Length: 0\r\nConnection: close\r\n\r\n", answer);
        close(socket);
    }
    return NULL;
}

static int collector_start(void **state) {
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    collector.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(collector.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(collector.listener, 8), 0);
    assert_int_equal(getsockname(collector.listener, (struct sockaddr *)&at, &size), 0);
    snprintf(collector.url, sizeof collector.url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    return pthread_create(&collector.thread, NULL, collector_main, NULL);
}

static int collector_stop(void **state) {
    (void)state;
    shutdown(collector.listener, SHUT_RDWR);
    pthread_join(collector.thread, NULL);
    close(collector.listener);
    for (int i = 0; i < collector.silent; i++)
        close(collector.silents[i]);
    return 0;
}

static void collector_will(const char *first, const char *second) {
    pthread_mutex_lock(&collector.lock);
    collector.answers[0] = first;
    collector.answers[1] = second;
    collector.answers[2] = NULL;
    collector.answered = 0;
    collector.request[0] = 0;
    pthread_mutex_unlock(&collector.lock);
}

static size_t answered(void) {
    pthread_mutex_lock(&collector.lock);
    size_t count = collector.answered;
    pthread_mutex_unlock(&collector.lock);
    return count;
}

/* ---- */

static double metric(const char *series) {
    BUF_AUTO text = {0};
    metrics_write(&text);
    const char *at = strstr(buf_str(&text).ptr, series);
    return at ? strtod(at + strlen(series), NULL) : 0;
}
#define EXPORTED "\norderlog_trace_spans_exported_total "
#define DROPPED(reason) "\norderlog_trace_spans_dropped_total{reason=\"" reason "\"} "

static const char *const names[] = {
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_SERVICE_NAME",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
};

static int forget_settings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    return 0;
}

static void start(void) {
    struct err err = {0};
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url, 1);
    if (!trace_start(&err))
        fail_msg("%s", err.detail);
    assert_true(trace_on());
}

static void tell_spans(int count) {
    for (int i = 0; i < count; i++) {
        struct span span;
        span_enter(&span, NULL);
        span_end(&span, &(struct span_facts){.kind = SPAN_INTERNAL, .verb = "test", .what = STR("span")});
    }
}

static void off_unless_there_is_an_endpoint(void **state) {
    (void)state;
    struct err err = {0};
    struct span span = {0};
    assert_true(trace_start(&err));
    assert_false(trace_on());
    assert_false(span_begin(&span, STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    span_end(&span, &(struct span_facts){.kind = SPAN_INTERNAL, .verb = "nothing"});
    trace_stop();
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url, 1);
    setenv("OTEL_SDK_DISABLED", "TRUE", 1);
    assert_true(trace_start(&err));
    assert_false(trace_on());
    trace_stop();
}

/* All of it at the end, though it would have waited for ten minutes; after 503, as soon as the collector says. */
static void what_waits_is_told_at_the_end(void **state) {
    (void)state;
    double before = metric(EXPORTED);
    collector_will(NULL, NULL);
    setenv("OTEL_BSP_SCHEDULE_DELAY", "600000", 1);
    setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-more=1", 1);
    start();
    tell_spans(3);
    trace_stop();
    assert_false(trace_on());
    assert_int_equal(metric(EXPORTED) - before, 3);
    assert_int_equal(answered(), 1);
    assert_memory_equal(collector.request, "POST /v1/traces HTTP/1.1\r\n", 26);
    assert_non_null(strstr(collector.request, "\r\nContent-Type: application/x-protobuf\r\n"));
    assert_non_null(strstr(collector.request, "\r\nx-key: a b\r\n"));
    assert_non_null(strstr(collector.request, "\r\nx-more: 1\r\n"));
    assert_null(strstr(collector.request, "Content-Encoding"));
}

/* Nobody listens there. */
static void a_call_is_told_of_without_the_secrets_in_its_url(void **state) {
    (void)state;
    struct provider *provider;
    struct arena arena;
    struct err err = {0};
    struct message answer = {0};
    struct message request = {.type = MESSAGE_INTENT_CALL_PROVIDER,
                              .intent_call_provider = {.action = INTENT_PROVIDER_ACTION_CAPTURE,
                                                       .order_id = STR("o"),
                                                       .payment_id = STR("p"),
                                                       .amount = {1999, STR("USD")},
                                                       .provider_ref = STR("pi_1"),
                                                       .idempotency_key = STR("key")}};
    collector_will(NULL, NULL);
    setenv("OTEL_BSP_SCHEDULE_DELAY", "600000", 1);
    start();
    assert_true(provider_open("http://shop:pass-word@127.0.0.1:1", STR("sk_test"), 60000, &provider, &err));
    arena_init(&arena);
    provider_call(provider, &request, STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), &arena, &answer);
    arena_free(&arena);
    provider_close(provider);
    trace_stop();
    assert_int_equal(answered(), 1);
    static const char url[] = "http://REDACTED@127.0.0.1:1/v1/payment_intents/pi_1/capture";
    assert_non_null(memmem(collector.request, sizeof collector.request, url, sizeof url - 1));
    assert_null(memmem(collector.request, sizeof collector.request, "pass-word", 9));
}

static void a_full_batch_is_told_at_once_and_again_after_503(void **state) {
    (void)state;
    double before = metric(EXPORTED), refused = metric(DROPPED("refused"));
    collector_will("503 Service Unavailable\r\nRetry-After: 0\r\n", "429 Too Many Requests\r\nRetry-After: 0\r\n");
    setenv("OTEL_BSP_SCHEDULE_DELAY", "600000", 1);
    setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2", 1);
    start();
    tell_spans(2);
    while (metric(EXPORTED) - before < 2)
        clock_sleep_ms(1);
    assert_int_equal(answered(), 3);
    /* What the collector will never take is dropped. */
    collector_will("400 Bad Request\r\n", NULL);
    tell_spans(2);
    while (metric(DROPPED("refused")) - refused < 2)
        clock_sleep_ms(1);
    assert_int_equal(answered(), 1);
    trace_stop();
    assert_int_equal(metric(EXPORTED) - before, 2);
}

/* One that takes a request and says nothing holds up neither those who end spans nor, for long, the end. */
static void a_silent_collector(void **state) {
    (void)state;
    double full = metric(DROPPED("queue")), unsent = metric(DROPPED("unsent"));
    collector_will("", "");
    setenv("OTEL_BSP_SCHEDULE_DELAY", "600000", 1);
    setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600000", 1);
    setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2", 1);
    setenv("OTEL_BSP_MAX_QUEUE_SIZE", "5", 1);
    start();
    tell_spans(2);
    while (answered() < 1)
        clock_sleep_ms(1);
    tell_spans(8); /* five wait */
    assert_int_equal(metric(DROPPED("queue")) - full, 3);
    trace_stop();
    assert_int_equal(metric(DROPPED("unsent")) - unsent, 7);
}

static void which_traces(void **state) {
    (void)state;
    static const struct {
        const char *sampler, *ratio;
        bool new_one, low, high, high_unsampled; /* a new trace; one that came sampled, its id low, high; or not */
    } cases[] = {
        {NULL, NULL, true, true, true, false},
        {"parentbased_always_on", NULL, true, true, true, false},
        {"parentbased_always_off", NULL, false, true, true, false},
        {"always_on", NULL, true, true, true, true},
        {"always_off", NULL, false, false, false, false},
        {"traceidratio", "0.5", false, true, false, false},
        {"traceidratio", "1", true, true, true, true},
        {"traceidratio", "0", false, false, false, false},
        {"parentbased_traceidratio", "0", false, true, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct trace_context low, high;
        struct span span;
        forget_settings(NULL);
        if (cases[i].sampler)
            setenv("OTEL_TRACES_SAMPLER", cases[i].sampler, 1);
        if (cases[i].ratio)
            setenv("OTEL_TRACES_SAMPLER_ARG", cases[i].ratio, 1);
        start();
        assert_true(trace_context_parse(STR("00-ffffffffffffffff7fffffffffffffff-00f067aa0ba902b7-01"), &low));
        assert_true(trace_context_parse(STR("00-00000000000000008000000000000000-00f067aa0ba902b7-01"), &high));
        span_enter(&span, &low);
        assert_int_equal(span.on, cases[i].low);
        assert_int_equal(span.context.flags, cases[i].low);
        assert_memory_equal(span.parent, low.span_id, SPAN_ID_SIZE);
        assert_memory_not_equal(span.context.span_id, low.span_id, SPAN_ID_SIZE);
        span_enter(&span, &high);
        assert_int_equal(span.on, cases[i].high);
        high.flags = 0;
        span_enter(&span, &high);
        assert_int_equal(span.on, cases[i].high_unsampled);
        if (!cases[i].ratio || strcmp(cases[i].ratio, "0.5") != 0) {
            span_enter(&span, NULL);
            assert_int_equal(span.on, cases[i].new_one);
        }
        trace_stop();
    }
}

static void settings(void **state) {
    (void)state;
    static const struct {
        const char *name, *value, *told; /* told NULL: it is right */
    } cases[] = {
        {"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be an http(s) URL, not collector:4318/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:secret@one?secret", "not ftp://REDACTED@one"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not grpc"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", NULL},
        {"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "must be gzip or none, not zstd"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION", "none", NULL},
        {"OTEL_EXPORTER_OTLP_HEADERS", "secret", "OTEL_EXPORTER_OTLP_HEADERS must be NAME=value"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "a=1%0d%0aInjected: 1", "OTEL_EXPORTER_OTLP_HEADERS must be"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "a b=1", "OTEL_EXPORTER_OTLP_HEADERS must be"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "a=1%2", "OTEL_EXPORTER_OTLP_HEADERS must be"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "", NULL},
        {"OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "OTEL_EXPORTER_OTLP_TIMEOUT"},
        {"OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER must be otlp or none, not zipkin"},
        {"OTEL_TRACES_SAMPLER", "jaeger_remote", "OTEL_TRACES_SAMPLER must be"},
        {"OTEL_RESOURCE_ATTRIBUTES", "a", "OTEL_RESOURCE_ATTRIBUTES must be"},
        {"OTEL_RESOURCE_ATTRIBUTES", "a=1,b=%C3%BC,,c=", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        forget_settings(NULL);
        setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url, 1);
        setenv(cases[i].name, cases[i].value, 1);
        bool ok = trace_start(&err);
        trace_stop();
        if (ok != !cases[i].told || (!ok && (err.kind != ERR_CONFIG || !strstr(err.detail, cases[i].told))))
            fail_msg("%s=%s: %s", cases[i].name, cases[i].value, ok ? "taken" : err.detail);
        assert_null(strstr(err.detail, "secret"));
    }
}

static void endpoints(void **state) {
    (void)state;
    struct trace_settings read = {0};
    struct err err = {0};
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://one:4318//", 1);
    assert_true(trace_settings_load(&read, &err));
    assert_string_equal(read.url.ptr, "http://one:4318/v1/traces");
    trace_settings_free(&read);
    read = (struct trace_settings){0};
    setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://two/as/it/is", 1);
    setenv("OTEL_TRACES_SAMPLER", "traceidratio", 1);
    setenv("OTEL_TRACES_SAMPLER_ARG", "1.5", 1);
    assert_false(trace_settings_load(&read, &err));
    assert_non_null(strstr(err.detail, "OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not 1.5"));
    assert_string_equal(read.url.ptr, "https://two/as/it/is");
    trace_settings_free(&read);
    unsetenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
}

int main(void) {
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(off_unless_there_is_an_endpoint, forget_settings),
        cmocka_unit_test_setup(what_waits_is_told_at_the_end, forget_settings),
        cmocka_unit_test_setup(a_call_is_told_of_without_the_secrets_in_its_url, forget_settings),
        cmocka_unit_test_setup(a_full_batch_is_told_at_once_and_again_after_503, forget_settings),
        cmocka_unit_test_setup(a_silent_collector, forget_settings),
        cmocka_unit_test_setup(which_traces, forget_settings),
        cmocka_unit_test_setup(settings, forget_settings),
        cmocka_unit_test_setup(endpoints, forget_settings),
    };
    return cmocka_run_group_tests(tests, collector_start, collector_stop);
}
