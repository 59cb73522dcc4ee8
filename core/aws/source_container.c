/* The endpoint that ECS, or EKS's Pod Identity, gives a container. */
#include "core/aws/source.h"

#include <strings.h>

#include "core/base/url.h"

#define ECS_URL "http://169.254.170.2"

/* Without TLS only addresses that cannot be anybody else's: this machine, ECS's and EKS's agents. */
static bool is_allowed(const char *url) {
    static const char *const hosts[] = {"127.0.0.1",     "localhost",      "[::1]",
                                        "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
    if (strncasecmp(url, "https://", 8) == 0)
        return true;
    if (strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + 7;
    size_t len = *host == '[' ? strcspn(host, "]/?#@") + 1 : strcspn(host, ":/?#@");
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (len == strlen(hosts[i]) && strncasecmp(host, hosts[i], len) == 0 && host[strcspn(host, "@/?#")] != '@')
            return true;
    return false;
}

/* The token in the file may change while we run, so it is read each time. */
static bool add_authorization(const struct source_settings *settings, struct buf *headers, struct err *err) {
    BUF_AUTO token = {0};
    if (settings->container_token_file) {
        if (!source_read_file(settings->container_token_file, &token, err))
            return false;
    } else if (settings->container_token) {
        buf_printf(&token, "%s", settings->container_token);
    } else {
        return true;
    }
    if (strpbrk(buf_str(&token).ptr, "\r\n"))
        return err_set(err, ERR_CONFIG, "the authorization token has more than one line");
    buf_printf(headers, "Authorization: %s\n", buf_str(&token).ptr);
    return true;
}

static bool fetch(const struct source_settings *settings, const char *url, struct aws_credentials *ret,
                  struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO headers = {0};
    struct url_shown shown = url_show(url);
    buf_printf(&headers, "Accept: application/json\n");
    if (!is_allowed(url))
        return err_set(err, ERR_CONFIG, "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or this machine's: %s",
                       shown.text);
    if (!add_authorization(settings, &headers, err))
        return false;
    const struct http_request request = {.url = url,
                                         .headers = buf_str(&headers),
                                         .connect_ms = SOURCE_CONNECT_MS,
                                         .timeout_ms = SOURCE_TIMEOUT_MS,
                                         .direct = true};
    if (!source_call(&request, &answer, err))
        return err_wrap(err, "%s", shown.text);
    if (answer.status != 200)
        return err_set(err, ERR_IO, "%s answered %ld", shown.text, answer.status);
    return source_read_json(buf_str(&answer.body), ret, err) || err_wrap(err, "%s", shown.text);
}

enum source_result source_container(const struct source_settings *settings, struct aws_credentials *ret,
                                    struct err *err) {
    BUF_AUTO url = {0};
    if (settings->container_relative) {
        buf_printf(&url, ECS_URL "%s", settings->container_relative);
    } else if (settings->container_full) {
        buf_printf(&url, "%s", settings->container_full);
    } else {
        err_set(err, ERR_CONFIG, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set");
        return SOURCE_NOT_SET_UP;
    }
    return fetch(settings, url.ptr, ret, err) ? SOURCE_SERVED : SOURCE_FAILED;
}
