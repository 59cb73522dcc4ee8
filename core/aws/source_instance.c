/* EC2's instance metadata, version 2: a session's token first. Version 1, which whoever can make us fetch a URL could
 * use, is never fallen back to. */
#include "core/aws/source.h"

#include "core/base/url.h"

#define METADATA_URL "http://169.254.169.254"
#define ROLES "/latest/meta-data/iam/security-credentials/"

static bool call(const char *url, const char *method, const char *path, struct str headers, struct http_answer *ret,
                 struct err *err) {
    BUF_AUTO whole = {0};
    size_t len = strlen(url);
    buf_printf(&whole, "%.*s%s", (int)(len && url[len - 1] == '/' ? len - 1 : len), url, path);
    const struct http_request request = {.method = method,
                                         .url = whole.ptr,
                                         .headers = headers,
                                         .connect_ms = SOURCE_CONNECT_MS,
                                         .timeout_ms = SOURCE_TIMEOUT_MS,
                                         .direct = true};
    return http_call(&request, ret, err);
}

static bool fetch(const char *url, struct aws_credentials *ret, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO headers = {0};
    BUF_AUTO path = {0};
    struct url_shown shown = url_show(url);
    if (!call(url, "PUT", "/latest/api/token", STR("X-aws-ec2-metadata-token-ttl-seconds: 21600\nContent-Length: 0\n"),
              &answer, err))
        return err_wrap(err, "%s (not on EC2, or the hop limit keeps containers from it)", shown.text);
    if (answer.status != 200 || strpbrk(buf_str(&answer.body).ptr, "\r\n"))
        return err_set(err, ERR_IO, "%s answered %ld to the request for a token", shown.text, answer.status);
    buf_printf(&headers, "X-aws-ec2-metadata-token: %s\n", buf_str(&answer.body).ptr);
    if (!call(url, NULL, ROLES, buf_str(&headers), &answer, err))
        return err_wrap(err, "%s" ROLES, shown.text);
    if (answer.status == 404)
        return err_set(err, ERR_IO, "%s: the instance has no role", shown.text);
    struct str rest, role = str_cut(buf_str(&answer.body), '\n', &rest);
    if (answer.status != 200 || !role.len)
        return err_set(err, ERR_IO, "%s" ROLES " answered %ld", shown.text, answer.status);
    buf_printf(&path, ROLES);
    sigv4_add_encoded(&path, role, "");
    if (!call(url, NULL, path.ptr, buf_str(&headers), &answer, err))
        return err_wrap(err, "%s%s", shown.text, path.ptr);
    if (answer.status != 200)
        return err_set(err, ERR_IO, "%s%s answered %ld", shown.text, path.ptr, answer.status);
    return source_read_json(buf_str(&answer.body), ret, err) || err_wrap(err, "%s%s", shown.text, path.ptr);
}

enum source_result source_instance(const struct source_settings *settings, struct aws_credentials *ret,
                                   struct err *err) {
    if (settings->metadata_disabled) {
        err_set(err, ERR_CONFIG, "AWS_EC2_METADATA_DISABLED is true");
        return SOURCE_NOT_SET_UP;
    }
    return fetch(settings->metadata_url ? settings->metadata_url : METADATA_URL, ret, err) ? SOURCE_SERVED
                                                                                           : SOURCE_FAILED;
}
