#include "core/http/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>

#include "core/base/clock.h"

enum { HTTP_HEADERS_MAX = 64 << 10 };

static pthread_key_t kept; /* a thread's handle, which has its connections */

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    pthread_key_create(&kept, curl_easy_cleanup);
}

static CURL *handle_take(bool keep) {
    CURL *handle = keep ? pthread_getspecific(kept) : NULL;
    if (!handle) {
        handle = curl_easy_init();
        if (keep)
            pthread_setspecific(kept, handle);
    } else {
        curl_easy_reset(handle);
    }
    return handle;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user) {
    struct buf *body = user;
    if (body->len + size * count > HTTP_ANSWER_MAX)
        return 0;
    buf_add(body, bytes, size * count);
    return size * count;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *user) {
    struct buf *headers = user;
    if (headers->len + size * count > HTTP_HEADERS_MAX)
        return 0;
    buf_add(headers, bytes, size * count);
    return size * count;
}

static int on_progress(void *user, curl_off_t to_come, curl_off_t came, curl_off_t to_go, curl_off_t went) {
    (void)to_come, (void)came, (void)to_go, (void)went;
    return clock_monotonic_us() > atomic_load((const atomic_int_least64_t *)user);
}

static struct curl_slist *header_list(struct str lines) {
    /* No "Expect: 100-continue": some servers never answer it, and what is sent is short. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (struct str rest = lines; rest.ptr && rest.len;) {
        BUF_AUTO line = {0};
        buf_add_str(&line, str_cut(rest, '\n', &rest));
        if (line.len)
            list = curl_slist_append(list, line.ptr);
    }
    return list;
}

static void set_request(CURL *handle, const struct http_request *request) {
    const char *method = request->method ? request->method : "GET";
    if (request->body.ptr) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)request->body.len);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body.ptr);
    }
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(handle, CURLOPT_URL, request->url);
    if (request->ca_file)
        curl_easy_setopt(handle, CURLOPT_CAINFO, request->ca_file);
    if (request->until_us) {
        curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(handle, CURLOPT_XFERINFODATA, (void *)(uintptr_t)request->until_us); /* only read */
        curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    }
    if (request->direct)
        curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(request->connect_ms ? request->connect_ms : request->timeout_ms));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "orderlog/" ORDERLOG_VERSION);
}

static bool fail(CURLcode code, const char *text, struct err *err) {
    enum err_kind kind = code == CURLE_OPERATION_TIMEDOUT                                  ? ERR_TIMEOUT
                         : code == CURLE_URL_MALFORMAT || code == CURLE_SSL_CACERT_BADFILE ? ERR_CONFIG
                                                                                           : ERR_IO;
    if (code == CURLE_WRITE_ERROR)
        return err_set(err, kind, "the answer is longer than %d bytes, or its headers are", HTTP_ANSWER_MAX);
    return err_set(err, kind, "%s", *text ? text : curl_easy_strerror(code));
}

bool http_call(const struct http_request *request, struct http_answer *ret, struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char text[CURL_ERROR_SIZE] = "";
    if (strncasecmp(request->url, "http://", 7) != 0 && strncasecmp(request->url, "https://", 8) != 0)
        return err_set(err, ERR_CONFIG, "not an http(s) URL");
    pthread_once(&once, init_curl);
    CURL *handle = handle_take(request->keep);
    if (!handle)
        return err_set(err, ERR_IO, "libcurl has no handle");
    struct curl_slist *headers = header_list(request->headers);
    set_request(handle, request);
    buf_reset(&ret->body);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &ret->body);
    buf_reset(&ret->headers);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &ret->headers);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, text);
    CURLcode code = curl_easy_perform(handle);
    if (code == CURLE_OK)
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &ret->status);
    if (request->keep)
        curl_easy_reset(handle); /* it forgets what ends here, and keeps its connections */
    else
        curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
    return code == CURLE_OK || fail(code, text, err);
}

void http_answer_free(struct http_answer *answer) {
    buf_free(&answer->body);
    buf_free(&answer->headers);
}

struct str http_answer_header(const struct http_answer *answer, struct str name) {
    for (struct str rest = buf_str(&answer->headers); rest.ptr;) {
        struct str value, line = str_cut(rest, '\n', &rest);
        struct str found = str_cut(line, ':', &value);
        if (!value.ptr || found.len != name.len || strncasecmp(found.ptr, name.ptr, name.len) != 0)
            continue;
        while (value.len && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
            value = (struct str){value.ptr + 1, value.len - 1};
        while (value.len && strchr(" \t\r", value.ptr[value.len - 1]))
            value.len--;
        return value;
    }
    return STR_NULL;
}
