#include "consumers/provider.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumers/provider_internal.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/base/url.h"
#include "core/trace/trace.h"

enum { PROVIDER_CONNECT_MS = 2000, PROVIDER_HANDLES = 16 };

struct provider {
    char *url; /* NULL: instant */
    char *authorization;
    char *host; /* of the URL */
    int64_t port;
    int64_t timeout_ms;
    struct metric *mismatches;
    pthread_mutex_t lock; /* guards the idle handles */
    CURL *idle[PROVIDER_HANDLES];
    int idle_count;
};

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* For what is told of calls. A URL that libcurl cannot read is found out by the first call. */
static void read_place(struct provider *provider) {
    CURLU *url = curl_url();
    char *host = NULL, *port = NULL;
    if (curl_url_set(url, CURLUPART_URL, provider->url, 0) == CURLUE_OK) {
        curl_url_get(url, CURLUPART_HOST, &host, 0);
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    }
    provider->host = mem_strdup(str_from(host ? host : ""));
    if (!port || !str_to_i64(str_from(port), &provider->port))
        provider->port = 0;
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

bool provider_open(const char *url, struct str secret, int64_t timeout_ms, struct provider **ret, struct err *err) {
    struct str text = str_from(url);
    bool instant = str_eq(text, STR("instant"));
    if (!instant && !str_starts_with(text, STR("http://")) && !str_starts_with(text, STR("https://")))
        return err_set(err, ERR_CONFIG, "ORDERLOG_PROVIDER must be instant or an http(s) URL, not %s",
                       url_show(url).text);
    struct provider *provider = mem_zalloc(sizeof(*provider));
    pthread_mutex_init(&provider->lock, NULL);
    provider->timeout_ms = timeout_ms;
    provider->mismatches = metrics_counter(
        "orderlog_provider_mismatches_total",
        "Calls after which the provider held, took or gave back another amount than it was asked for.", "");
    if (!instant) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once(&once, init_curl); /* the first handles are made by several threads at once */
        BUF_AUTO header = {0};
        buf_printf(&header, "Authorization: Bearer %.*s", STR_ARG(secret));
        provider->authorization = mem_strdup(buf_str(&header));
        provider->url = mem_strdup(text);
        read_place(provider);
    }
    *ret = provider;
    return true;
}

int provider_calls_at_once(const struct provider *provider) {
    return provider->url ? 0 : 1;
}

void provider_close(struct provider *provider) {
    if (!provider)
        return;
    for (int i = 0; i < provider->idle_count; i++)
        curl_easy_cleanup(provider->idle[i]);
    pthread_mutex_destroy(&provider->lock);
    free(provider->url);
    free(provider->authorization);
    free(provider->host);
    free(provider);
}

/* ---- the call ---- */

static CURL *take_handle(struct provider *provider) {
    pthread_mutex_lock(&provider->lock);
    CURL *handle = provider->idle_count ? provider->idle[--provider->idle_count] : NULL;
    pthread_mutex_unlock(&provider->lock);
    return handle ? handle : curl_easy_init();
}

static void give_handle(struct provider *provider, CURL *handle) {
    curl_easy_reset(handle); /* options go, the connection stays */
    pthread_mutex_lock(&provider->lock);
    bool kept = provider->idle_count < PROVIDER_HANDLES;
    if (kept)
        provider->idle[provider->idle_count++] = handle;
    pthread_mutex_unlock(&provider->lock);
    if (!kept)
        curl_easy_cleanup(handle);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user) {
    struct buf *body = user;
    if (body->len + size * count > 1 << 20)
        return 0; /* no answer of a provider is that long */
    buf_add(body, bytes, size * count);
    return size * count;
}

static void set_form(CURL *handle, const struct buf *form) {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, form->ptr ? form->ptr : "");
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)form->len);
}

/* Only what is one: it was read from a record. */
static struct curl_slist *add_traceparent(struct curl_slist *headers, struct str traceparent) {
    static const char name[] = "traceparent: ";
    char line[sizeof name - 1 + TRACEPARENT_SIZE];
    struct trace_context context;
    if (!trace_context_parse(traceparent, &context))
        return headers;
    trace_context_format(&context, (char *)memcpy(line, name, sizeof name) + sizeof name - 1);
    return curl_slist_append(headers, line);
}

/* The HTTP status; 0 with *why when there was no answer. */
static long perform(struct provider *provider, struct str idempotency_key, struct str traceparent,
                    const struct provider_request *request, struct buf *body, const char **why) {
    BUF_AUTO url = {0};
    BUF_AUTO key = {0};
    buf_printf(&url, "%s%s", provider->url, request->path.ptr);
    buf_printf(&key, "Idempotency-Key: %.*s", STR_ARG(idempotency_key));
    CURL *handle = take_handle(provider);
    if (!handle) {
        *why = "no handle";
        return 0;
    }
    struct curl_slist *headers = curl_slist_append(NULL, provider->authorization);
    if (request->post) {
        headers = curl_slist_append(headers, key.ptr);
        set_form(handle, &request->form);
    }
    headers = add_traceparent(headers, traceparent);
    curl_easy_setopt(handle, CURLOPT_URL, url.ptr);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)provider->timeout_ms);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)PROVIDER_CONNECT_MS);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    CURLcode code = curl_easy_perform(handle);
    long status = 0;
    if (code == CURLE_OK)
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    else
        *why = curl_easy_strerror(code);
    curl_slist_free_all(headers);
    give_handle(provider, handle);
    return status;
}

/* What was moved is not what was asked for: the decider settles it safely, and people must hear of it. */
static void check_amount(const struct provider *provider, const struct intent_call_provider *call,
                         const struct intent_provider_answered *answered) {
    bool moves = call->action != INTENT_PROVIDER_ACTION_VOID && call->action != INTENT_PROVIDER_ACTION_LOOK;
    if (!moves || answered->outcome != INTENT_PROVIDER_OUTCOME_SUCCEEDED ||
        (answered->amount.minor == call->amount.minor && str_eq(answered->amount.currency, call->amount.currency)))
        return;
    metrics_add(provider->mismatches, 1);
    logging_write(LOG_ERROR, "provider.amount_mismatch",
                  "order=%.*s object=%.*s asked_minor=%lld asked_currency=%.*s "
                  "answered_minor=%lld answered_currency=%.*s",
                  STR_ARG(call->order_id), STR_ARG(answered->provider_ref), (long long)call->amount.minor,
                  STR_ARG(call->amount.currency), (long long)answered->amount.minor,
                  STR_ARG(answered->amount.currency));
}

static void trace_call(const struct provider *provider, const struct intent_call_provider *call,
                       const struct provider_request *request, long status, const struct span *span) {
    char number[24];
    BUF_AUTO url = {0};
    if (!span->on)
        return;
    snprintf(number, sizeof number, "%ld", status);
    buf_printf(&url, "%s%.*s", url_show(provider->url).text, (int)strcspn(request->path.ptr, "?"), request->path.ptr);
    const struct span_attribute attributes[] = {
        {"http.request.method", request->post ? STR("POST") : STR("GET"), 0},
        {"server.address", str_from(provider->host), 0},
        {"server.port", STR_NULL, provider->port},
        {"url.full", buf_str(&url), 0},
        {"url.template", str_from(request->template), 0},
        {status ? "http.response.status_code" : NULL, STR_NULL, status},
        {status < 200 || status > 399 ? "error.type" : NULL, status ? str_from(number) : STR("no-answer"), 0},
        {"orderlog.order_id", call->order_id, 0},
    };
    const struct span_facts facts = {.kind = SPAN_CLIENT,
                                     .verb = request->post ? "POST" : "GET",
                                     .what = str_from(request->template),
                                     .failed = status < 200 || status > 399,
                                     .attributes = attributes,
                                     .attribute_count = sizeof attributes / sizeof attributes[0]};
    span_end(span, &facts);
}

static void call_http(struct provider *provider, const struct intent_call_provider *call, struct str traceparent,
                      struct arena *arena, struct intent_provider_answered *ret) {
    struct provider_request request = {0};
    struct span span;
    char context[TRACEPARENT_SIZE];
    BUF_AUTO body = {0};
    const char *why = "";
    ret->provider = STR("stripe");
    ret->outcome = INTENT_PROVIDER_OUTCOME_UNKNOWN;
    provider_request_build(call, &request);
    if (request.none) {
        ret->outcome = INTENT_PROVIDER_OUTCOME_MISSING;
        ret->code = STR("cannot-be-looked-up");
        return;
    }
    if (span_begin(&span, traceparent))
        traceparent = trace_context_format(&span.context, context);
    long status = perform(provider, call->idempotency_key, traceparent, &request, &body, &why);
    trace_call(provider, call, &request, status, &span);
    if (status)
        provider_answer_read(call, status, buf_str(&body), arena, ret);
    if (ret->outcome == INTENT_PROVIDER_OUTCOME_UNKNOWN) {
        if (!ret->code.len)
            ret->code = status ? arena_printf(arena, "http-%ld", status) : arena_dup(arena, str_from(why));
        logging_write(LOG_WARN, "provider.outcome_unknown", "order=%.*s status=%ld why=\"%s\"", STR_ARG(call->order_id),
                      status, why);
    }
    check_amount(provider, call, ret);
    provider_request_free(&request);
}

/* The test tokens of Stripe's that mean something to the sandbox mean the same here. */
static void call_instant(const struct intent_call_provider *call, struct arena *arena,
                         struct intent_provider_answered *ret) {
    ret->provider = STR("instant");
    ret->outcome = call->action == INTENT_PROVIDER_ACTION_LOOK ? INTENT_PROVIDER_OUTCOME_MISSING
                                                               : INTENT_PROVIDER_OUTCOME_SUCCEEDED;
    if (call->action != INTENT_PROVIDER_ACTION_AUTHORIZE)
        return;
    if (str_eq(call->payment_method, STR("pm_card_chargeDeclined"))) {
        ret->outcome = INTENT_PROVIDER_OUTCOME_DECLINED;
        ret->code = STR("generic_decline");
    }
    ret->provider_ref = arena_printf(arena, "instant_%.*s", STR_ARG(call->payment_id));
}

void provider_call(void *user, const struct message *request, struct str traceparent, struct arena *arena,
                   struct message *answer) {
    struct provider *provider = user;
    const struct intent_call_provider *call = &request->intent_call_provider;
    struct intent_provider_answered *ret = &answer->intent_provider_answered;
    answer->type = MESSAGE_INTENT_PROVIDER_ANSWERED;
    *ret = (struct intent_provider_answered){.action = call->action,
                                             .order_id = call->order_id,
                                             .payment_id = call->payment_id,
                                             .attempt = call->attempt,
                                             .amount = call->amount,
                                             .code = STR(""),
                                             .provider_ref = call->provider_ref.ptr ? call->provider_ref : STR("")};
    if (provider->url)
        call_http(provider, call, traceparent, arena, ret);
    else
        call_instant(call, arena, ret);
}
