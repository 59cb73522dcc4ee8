#include "core/aws/s3_call.h"

#include "core/base/clock.h"

#include <stdlib.h>

enum { TRIES = 6, FIRST_PAUSE_MS = 200, CONNECT_MS = 5000, TIMEOUT_MS = 60000 };

/* ---- what S3 answers ---- */

bool s3_xml_take(struct str *rest, const char *name, struct str *ret) {
    BUF_AUTO begin = {0};
    BUF_AUTO end = {0};
    buf_printf(&begin, "<%s>", name);
    buf_printf(&end, "</%s>", name);
    const char *from = rest->len ? memmem(rest->ptr, rest->len, begin.ptr, begin.len) : NULL;
    if (!from)
        return false;
    from += begin.len;
    size_t left = (size_t)(rest->ptr + rest->len - from);
    const char *to = memmem(from, left, end.ptr, end.len);
    if (!to)
        return false;
    *ret = (struct str){from, (size_t)(to - from)};
    *rest = (struct str){to + end.len, left - ret->len - end.len};
    return true;
}

bool s3_refused(const struct s3 *s3, const char *method, struct str key, const struct http_answer *answer,
                struct err *err) {
    struct str code = STR_NULL, message = STR_NULL, at = buf_str(&answer->body);
    s3_xml_take(&at, "Code", &code);
    at = buf_str(&answer->body);
    s3_xml_take(&at, "Message", &message);
    enum err_kind kind = str_eq(code, STR("NoSuchKey"))                                            ? ERR_NOT_FOUND
                         : answer->status >= 500 || answer->status == 429 || answer->status == 409 ? ERR_IO
                                                                                                   : ERR_CONFIG;
    return err_set(err, kind, "%s%s%.*s (%s): HTTP %ld%s%.*s%s%.*s", method, key.len ? " " : "", STR_ARG(key),
                   s3->place, answer->status, code.len ? " " : "", STR_ARG(code), message.len ? ": " : "",
                   STR_ARG(message));
}

/* ---- one try ---- */

static void add_path(const struct s3 *s3, struct str key, struct buf *ret) {
    if (s3->path_style)
        buf_printf(ret, "/%s", s3->bucket);
    if (!s3->path_style || key.len)
        buf_add_char(ret, '/');
    sigv4_add_encoded(ret, key, "/");
}

static bool call_once(struct s3 *s3, const struct s3_request *request, struct http_answer *ret, struct err *err) {
    BUF_AUTO path = {0};
    BUF_AUTO url = {0};
    BUF_AUTO lines = {0};
    AWS_CREDENTIALS_AUTO credentials = {0};
    if (!aws_chain_get(s3->chain, &credentials, err))
        return false;
    add_path(s3, request->key, &path);
    buf_printf(&url, "%s://%s%s%s%.*s", s3->scheme, s3->host, path.ptr, request->query.len ? "?" : "",
               STR_ARG(request->query));
    struct sigv4_keys keys = aws_credentials_keys(&credentials);
    const struct sigv4_scope scope = {str_from(s3->region), STR("s3"), clock_now_us()};
    const struct sigv4_request signed_request = {.method = str_from(request->method),
                                                 .host = str_from(s3->host),
                                                 .path = buf_str(&path),
                                                 .query = request->query,
                                                 .headers = request->headers,
                                                 .header_count = request->header_count,
                                                 .body = request->body};
    for (size_t i = 0; i < request->header_count; i++)
        buf_printf(&lines, "%.*s: %.*s\n", STR_ARG(request->headers[i].name), STR_ARG(request->headers[i].value));
    sigv4_sign(&signed_request, &scope, &keys, &lines);
    bool ok = http_call(&(struct http_request){.method = request->method,
                                               .url = url.ptr,
                                               .headers = buf_str(&lines),
                                               .body = request->body,
                                               .connect_ms = CONNECT_MS,
                                               .timeout_ms = TIMEOUT_MS,
                                               .ca_file = s3->ca_file},
                        ret, err);
    if (lines.ptr)
        explicit_bzero(lines.ptr, lines.len);
    return ok || err_wrap(err, "%s%s%.*s (%s)", request->method, request->key.len ? " " : "", STR_ARG(request->key),
                          s3->place);
}

/* 409: another write of the same key is on its way. */
static bool may_help(bool ok, long status, const struct err *err) {
    return ok ? status == 409 || status == 429 || status >= 500 : err->kind == ERR_IO || err->kind == ERR_TIMEOUT;
}

bool s3_call(struct s3 *s3, const struct s3_request *request, struct http_answer *ret, struct err *err) {
    int64_t pause_ms = FIRST_PAUSE_MS;
    for (int tries = 1;; tries++, pause_ms *= 2) {
        struct err last = {0};
        bool ok = call_once(s3, request, ret, &last);
        if (tries == TRIES || !may_help(ok, ret->status, &last)) {
            if (!ok && err)
                *err = last;
            return ok;
        }
        clock_sleep_ms(pause_ms / 2 + clock_now_us() % (pause_ms / 2 + 1)); /* not all at the same time */
    }
}
