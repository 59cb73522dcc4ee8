#include "cli/feed.h"

#include "core/base/clock.h"

enum { CALL_TIMEOUT_MS = 30000, GIVE_UP_S = 600, PAUSE_FIRST_MS = 20, PAUSE_LAST_MS = 1000 };

static size_t on_body(char *bytes, size_t size, size_t count, void *user) {
    buf_add(user, bytes, size * count);
    return size * count;
}

void feed_http_open(struct feed_http *http, const char *api, const atomic_bool *stop) {
    *http = (struct feed_http){.handle = curl_easy_init(), .api = api, .stop = stop};
}

void feed_http_close(struct feed_http *http) {
    curl_easy_cleanup(http->handle);
    buf_free(&http->answer);
    json_decref(http->json);
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *name, const char *value) {
    BUF_AUTO line = {0};
    buf_printf(&line, "%s: %s", name, value);
    return curl_slist_append(headers, line.ptr);
}

static CURLcode call_once(struct feed_http *http, const struct feed_call *call) {
    BUF_AUTO url = {0};
    BUF_AUTO bearer = {0};
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    buf_printf(&url, "%s%s", http->api, call->path);
    if (call->token) {
        buf_printf(&bearer, "Bearer %s", call->token);
        headers = add_header(headers, "Authorization", bearer.ptr);
    }
    if (call->key)
        headers = add_header(headers, "Idempotency-Key", call->key);
    if (call->body)
        headers = add_header(headers, "Content-Type", "application/json");
    buf_reset(&http->answer);
    curl_easy_reset(http->handle); /* the connection stays */
    curl_easy_setopt(http->handle, CURLOPT_URL, url.ptr);
    curl_easy_setopt(http->handle, CURLOPT_CUSTOMREQUEST, call->method);
    if (strcmp(call->method, "GET") != 0) {
        curl_easy_setopt(http->handle, CURLOPT_POSTFIELDS, call->body ? call->body : "");
        curl_easy_setopt(http->handle, CURLOPT_POSTFIELDSIZE, call->body ? (long)strlen(call->body) : 0L);
        if (!call->body)
            headers = curl_slist_append(headers, "Content-Type:");
    }
    curl_easy_setopt(http->handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(http->handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(http->handle, CURLOPT_WRITEDATA, &http->answer);
    curl_easy_setopt(http->handle, CURLOPT_TIMEOUT_MS, (long)CALL_TIMEOUT_MS);
    curl_easy_setopt(http->handle, CURLOPT_NOSIGNAL, 1L);
    CURLcode code = curl_easy_perform(http->handle);
    http->status = 0;
    if (code == CURLE_OK)
        curl_easy_getinfo(http->handle, CURLINFO_RESPONSE_CODE, &http->status);
    curl_slist_free_all(headers);
    return code;
}

bool feed_http_call(struct feed_http *http, const struct feed_call *call, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + GIVE_UP_S * INT64_C(1000000);
    int64_t pause_ms = PAUSE_FIRST_MS;
    for (;;) {
        CURLcode code = call_once(http, call);
        if (http->status && http->status != 429 && http->status != 500 && http->status != 503)
            break;
        if (atomic_load(http->stop))
            return err_set(err, ERR_TIMEOUT, "stopped");
        if (clock_monotonic_us() > give_up_us)
            return err_set(err, ERR_TIMEOUT, "%s %s: no answer in %d s (%s, HTTP status %ld)", call->method, call->path,
                           GIVE_UP_S, curl_easy_strerror(code), http->status);
        clock_sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 < PAUSE_LAST_MS ? pause_ms * 2 : PAUSE_LAST_MS;
    }
    json_decref(http->json);
    http->json = json_loadb(http->answer.ptr ? http->answer.ptr : "", http->answer.len, 0, NULL);
    return true;
}

const char *feed_http_problem(const struct feed_http *http) {
    const char *type = json_string_value(json_object_get(http->json, "type"));
    const char *slash = type ? strrchr(type, '/') : NULL;
    return slash ? slash + 1 : "";
}
