#include "consumers/provider.h"

#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/logging.h"

enum { PROVIDER_TIMEOUT_MS = 10000, PROVIDER_CONNECT_MS = 2000, PROVIDER_HANDLES = 8 };

struct provider {
    char *url; /* NULL: instant */
    char *authorization;
    pthread_mutex_t lock; /* guards the idle handles */
    CURL *idle[PROVIDER_HANDLES];
    int idle_count;
};

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool provider_open(const char *url, struct str secret, struct provider **ret, struct err *err) {
    struct str text = str_from(url);
    bool instant = str_eq(text, STR("instant"));
    if (!instant && !str_starts_with(text, STR("http://")) && !str_starts_with(text, STR("https://")))
        return err_set(err, ERR_CONFIG, "ORDERLOG_PROVIDER must be instant or an http(s) URL, not %s", url);
    struct provider *provider = mem_zalloc(sizeof(*provider));
    pthread_mutex_init(&provider->lock, NULL);
    if (!instant) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once(&once, init_curl); /* the first handles are made by several threads at once */
        BUF_AUTO header = {0};
        buf_printf(&header, "Authorization: Bearer %.*s", STR_ARG(secret));
        provider->authorization = mem_strdup(buf_str(&header));
        provider->url = mem_strdup(text);
    }
    *ret = provider;
    return true;
}

void provider_close(struct provider *provider) {
    if (!provider)
        return;
    for (int i = 0; i < provider->idle_count; i++)
        curl_easy_cleanup(provider->idle[i]);
    pthread_mutex_destroy(&provider->lock);
    free(provider->url);
    free(provider->authorization);
    free(provider);
}

/* ---- the request ---- */

/* One key=value of a form; the value is percent-encoded. */
static void add_form(struct buf *form, const char *key, struct str value) {
    static const char hex[] = "0123456789ABCDEF";
    buf_printf(form, "%s%s=", form->len ? "&" : "", key);
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (isalnum(c) || (c && strchr("-_.~", c))) {
            buf_add_char(form, (char)c);
        } else {
            buf_add_char(form, '%');
            buf_add_char(form, hex[c >> 4]);
            buf_add_char(form, hex[c & 15]);
        }
    }
}

static void add_amount(struct buf *form, const char *key, int64_t minor) {
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)minor);
    add_form(form, key, str_from(text));
}

static void build(const struct intent_call_provider *call, struct buf *path, struct buf *form) {
    switch (call->action) {
    case INTENT_PROVIDER_ACTION_AUTHORIZE: {
        char currency[8] = "";
        for (size_t i = 0; i < call->amount.currency.len && i < sizeof(currency) - 1; i++)
            currency[i] = (char)tolower((unsigned char)call->amount.currency.ptr[i]);
        buf_printf(path, "/v1/payment_intents");
        add_amount(form, "amount", call->amount.minor);
        add_form(form, "currency", str_from(currency));
        add_form(form, "capture_method", STR("manual"));
        add_form(form, "confirm", STR("true"));
        add_form(form, "payment_method_types[]", STR("card"));
        add_form(form, "payment_method", call->payment_method);
        add_form(form, "metadata[order_id]", call->order_id);
        add_form(form, "metadata[payment_id]", call->payment_id);
        return;
    }
    case INTENT_PROVIDER_ACTION_CAPTURE:
        buf_printf(path, "/v1/payment_intents/%.*s/capture", STR_ARG(call->provider_ref));
        add_amount(form, "amount_to_capture", call->amount.minor);
        return;
    case INTENT_PROVIDER_ACTION_VOID:
        buf_printf(path, "/v1/payment_intents/%.*s/cancel", STR_ARG(call->provider_ref));
        return;
    case INTENT_PROVIDER_ACTION_REFUND:
        buf_printf(path, "/v1/refunds");
        add_form(form, "payment_intent", call->provider_ref);
        add_amount(form, "amount", call->amount.minor);
        return;
    }
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

/* The HTTP status; 0 with *why when there was no answer. */
static long post(struct provider *provider, struct str idempotency_key, const struct buf *path, const struct buf *form,
                 struct buf *body, const char **why) {
    BUF_AUTO url = {0};
    BUF_AUTO key = {0};
    buf_printf(&url, "%s%s", provider->url, path->ptr);
    buf_printf(&key, "Idempotency-Key: %.*s", STR_ARG(idempotency_key));
    CURL *handle = take_handle(provider);
    if (!handle) {
        *why = "no handle";
        return 0;
    }
    struct curl_slist *headers = curl_slist_append(NULL, provider->authorization);
    headers = curl_slist_append(headers, key.ptr);
    curl_easy_setopt(handle, CURLOPT_URL, url.ptr);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, form->ptr ? form->ptr : "");
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)form->len);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)PROVIDER_TIMEOUT_MS);
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

/* ---- the answer ---- */

static struct str json_text(json_t *object, const char *key, struct arena *arena) {
    const char *text = json_string_value(json_object_get(object, key));
    return arena_dup(arena, str_from(text ? text : ""));
}

static bool is_status(json_t *intent, const char *status) {
    const char *text = json_string_value(json_object_get(intent, "status"));
    return text && !strcmp(text, status);
}

static enum intent_provider_outcome accepted(const struct intent_call_provider *call, json_t *body) {
    if (!json_is_string(json_object_get(body, "status")))
        return INTENT_PROVIDER_OUTCOME_UNKNOWN; /* no object of the provider's, whoever answered */
    switch (call->action) {
    case INTENT_PROVIDER_ACTION_AUTHORIZE:
        if (is_status(body, "requires_capture"))
            return INTENT_PROVIDER_OUTCOME_SUCCEEDED;
        return is_status(body, "processing") ? INTENT_PROVIDER_OUTCOME_UNKNOWN : INTENT_PROVIDER_OUTCOME_DECLINED;
    case INTENT_PROVIDER_ACTION_CAPTURE:
        return is_status(body, "succeeded") ? INTENT_PROVIDER_OUTCOME_SUCCEEDED : INTENT_PROVIDER_OUTCOME_UNKNOWN;
    case INTENT_PROVIDER_ACTION_VOID:
        return is_status(body, "canceled") ? INTENT_PROVIDER_OUTCOME_SUCCEEDED : INTENT_PROVIDER_OUTCOME_UNKNOWN;
    case INTENT_PROVIDER_ACTION_REFUND:
        if (is_status(body, "failed") || is_status(body, "canceled"))
            return INTENT_PROVIDER_OUTCOME_FAILED;
        return INTENT_PROVIDER_OUTCOME_SUCCEEDED;
    }
    return INTENT_PROVIDER_OUTCOME_UNKNOWN;
}

/* The provider says that the object's state does not allow it; the object comes with the error. */
static enum intent_provider_outcome refused(const struct intent_call_provider *call, json_t *error) {
    json_t *intent = json_object_get(error, "payment_intent");
    if (call->action == INTENT_PROVIDER_ACTION_VOID && is_status(intent, "canceled"))
        return INTENT_PROVIDER_OUTCOME_SUCCEEDED; /* it lapsed by itself: nothing is held */
    if (call->action == INTENT_PROVIDER_ACTION_CAPTURE && is_status(intent, "succeeded"))
        return INTENT_PROVIDER_OUTCOME_SUCCEEDED;
    if (call->action == INTENT_PROVIDER_ACTION_CAPTURE && is_status(intent, "canceled"))
        return INTENT_PROVIDER_OUTCOME_EXPIRED;
    return INTENT_PROVIDER_OUTCOME_FAILED;
}

/* Whether the call was not carried out, or nobody knows: redirected, not allowed, too early, too often, failed. */
static bool is_no_outcome(long status) {
    return status / 100 == 3 || status / 100 == 5 || status == 401 || status == 403 || status == 408 || status == 409 ||
           status == 425 || status == 429;
}

static void read_answer(const struct intent_call_provider *call, long status, struct str text, struct arena *arena,
                        struct intent_provider_answered *ret) {
    json_t *body = json_loadb(text.ptr, text.len, 0, NULL);
    json_t *error = json_object_get(body, "error");
    json_t *object = error ? json_object_get(error, "payment_intent") : body;
    ret->code = json_text(error, json_object_get(error, "decline_code") ? "decline_code" : "code", arena);
    if (json_object_get(object, "id"))
        ret->provider_ref = json_text(object, "id", arena);
    if (!json_is_object(body) || is_no_outcome(status))
        ret->outcome = INTENT_PROVIDER_OUTCOME_UNKNOWN;
    else if (status / 100 == 2)
        ret->outcome = accepted(call, body);
    else if (!json_is_object(error)) /* a proxy's 4xx: nobody has looked at the payment */
        ret->outcome = INTENT_PROVIDER_OUTCOME_UNKNOWN;
    else
        ret->outcome = status == 402 ? INTENT_PROVIDER_OUTCOME_DECLINED : refused(call, error);
    json_decref(body);
}

static void call_http(struct provider *provider, const struct intent_call_provider *call, struct arena *arena,
                      struct intent_provider_answered *ret) {
    BUF_AUTO path = {0};
    BUF_AUTO form = {0};
    BUF_AUTO body = {0};
    const char *why = "";
    build(call, &path, &form);
    long status = post(provider, call->idempotency_key, &path, &form, &body, &why);
    ret->provider = STR("stripe");
    ret->outcome = INTENT_PROVIDER_OUTCOME_UNKNOWN;
    if (status)
        read_answer(call, status, buf_str(&body), arena, ret);
    if (ret->outcome == INTENT_PROVIDER_OUTCOME_UNKNOWN)
        logging_write(LOG_WARN, "provider.outcome_unknown", "order=%.*s status=%ld why=\"%s\"", STR_ARG(call->order_id),
                      status, why);
}

/* The test tokens of Stripe's that mean something to the sandbox mean the same here. */
static void call_instant(const struct intent_call_provider *call, struct arena *arena,
                         struct intent_provider_answered *ret) {
    ret->provider = STR("instant");
    ret->outcome = INTENT_PROVIDER_OUTCOME_SUCCEEDED;
    if (call->action != INTENT_PROVIDER_ACTION_AUTHORIZE)
        return;
    if (str_eq(call->payment_method, STR("pm_card_chargeDeclined"))) {
        ret->outcome = INTENT_PROVIDER_OUTCOME_DECLINED;
        ret->code = STR("generic_decline");
    }
    ret->provider_ref = arena_printf(arena, "instant_%.*s", STR_ARG(call->payment_id));
}

void provider_call(void *user, const struct message *request, struct arena *arena, struct message *answer) {
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
        call_http(provider, call, arena, ret);
    else
        call_instant(call, arena, ret);
}
