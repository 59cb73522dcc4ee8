/* STS's AssumeRoleWithWebIdentity: a role for the token that the cluster gave the pod. */
#include "core/aws/source.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/url.h"

/* The text of <name>…</name>; ptr NULL when there is none. What STS puts there has no entities. */
static struct str element(struct str xml, const char *name) {
    BUF_AUTO open = {0};
    BUF_AUTO close = {0};
    buf_printf(&open, "<%s>", name);
    buf_printf(&close, "</%s>", name);
    const char *from = memmem(xml.ptr, xml.len, open.ptr, open.len);
    if (!from)
        return STR_NULL;
    from += open.len;
    const char *to = memmem(from, (size_t)(xml.ptr + xml.len - from), close.ptr, close.len);
    return to ? (struct str){from, (size_t)(to - from)} : STR_NULL;
}

static bool read_answer(const struct http_answer *answer, struct aws_credentials *ret, struct err *err) {
    struct str xml = buf_str(&answer->body);
    if (answer->status != 200) {
        struct str code = element(xml, "Code"), message = element(xml, "Message");
        return err_set(err, ERR_IO, "STS refused with %ld %.*s: %.*s", answer->status,
                       (int)(code.len < 60 ? code.len : 60), code.ptr ? code.ptr : "",
                       (int)(message.len < 160 ? message.len : 160), message.ptr ? message.ptr : "");
    }
    struct str id = element(xml, "AccessKeyId"), secret = element(xml, "SecretAccessKey");
    struct str token = element(xml, "SessionToken"), until = element(xml, "Expiration");
    int64_t until_us;
    if (!id.len || !secret.len || !token.len || !until.ptr || !clock_parse(until, &until_us))
        return err_set(err, ERR_IO, "STS answered without credentials");
    *ret = (struct aws_credentials){.access_key_id = mem_strdup(id),
                                    .secret_access_key = mem_strdup(secret),
                                    .session_token = mem_strdup(token),
                                    .expires_us = until_us};
    return true;
}

/* The region's own endpoint; without a region the old global one. */
static void add_url(const struct source_settings *settings, struct buf *ret) {
    if (settings->sts_url)
        buf_printf(ret, "%s", settings->sts_url);
    else if (settings->region)
        buf_printf(ret, "https://sts.%s.amazonaws.com%s/", settings->region,
                   strncmp(settings->region, "cn-", 3) == 0 ? ".cn" : "");
    else
        buf_printf(ret, "https://sts.amazonaws.com/");
}

bool source_assume_role(const struct source_settings *settings, const char *role_arn, const char *session_name,
                        const char *token_file, struct aws_credentials *ret, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO token = {0};
    BUF_AUTO url = {0};
    BUF_AUTO form = {0};
    if (!source_read_file(token_file, &token, err))
        return false;
    if (!token.len)
        return err_set(err, ERR_CONFIG, "%s is empty", token_file);
    add_url(settings, &url);
    buf_printf(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    sigv4_add_encoded(&form, str_from(role_arn), "");
    buf_printf(&form, "&RoleSessionName=");
    sigv4_add_encoded(&form, session_name ? str_from(session_name) : STR("orderlog"), "");
    buf_printf(&form, "&WebIdentityToken=");
    sigv4_add_encoded(&form, buf_str(&token), "");
    const struct http_request request = {
        .method = "POST",
        .url = url.ptr,
        .headers = STR("Content-Type: application/x-www-form-urlencoded; charset=utf-8\nAccept: text/xml\n"),
        .body = buf_str(&form),
        .connect_ms = SOURCE_CONNECT_MS * 2,
        .timeout_ms = STS_TIMEOUT_MS};
    if (!source_call(&request, &answer, err))
        return err_wrap(err, "%s", url_show(url.ptr).text);
    return read_answer(&answer, ret, err);
}

enum source_result source_web_identity(const struct source_settings *settings, struct aws_credentials *ret,
                                       struct err *err) {
    if (!settings->token_file) {
        err_set(err, ERR_CONFIG, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        return SOURCE_NOT_SET_UP;
    }
    if (!settings->role_arn) {
        err_set(err, ERR_CONFIG, "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN");
        return SOURCE_FAILED;
    }
    return source_assume_role(settings, settings->role_arn, settings->session_name, settings->token_file, ret, err)
               ? SOURCE_SERVED
               : SOURCE_FAILED;
}
