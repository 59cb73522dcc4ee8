#include "core/aws/source.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/config.h"

enum { FILE_MAX = 64 * 1024 };

static const char *setting(const char *key) {
    const char *value = config_get(key, NULL);
    return value && *value ? value : NULL;
}

static const char *first(const char *a, const char *b) {
    return a ? a : b;
}

void source_settings_read(struct source_settings *ret) {
    const char *disabled = setting("AWS_EC2_METADATA_DISABLED");
    const char *region = first(setting("AWS_REGION"), setting("AWS_DEFAULT_REGION"));
    *ret = (struct source_settings){
        .access_key_id = setting("AWS_ACCESS_KEY_ID"),
        .secret_access_key = setting("AWS_SECRET_ACCESS_KEY"),
        .session_token = setting("AWS_SESSION_TOKEN"),
        .token_file = setting("AWS_WEB_IDENTITY_TOKEN_FILE"),
        .role_arn = setting("AWS_ROLE_ARN"),
        .session_name = setting("AWS_ROLE_SESSION_NAME"),
        .sts_url = first(setting("AWS_ENDPOINT_URL_STS"), setting("AWS_ENDPOINT_URL")),
        .profile = first(setting("AWS_PROFILE"), setting("AWS_DEFAULT_PROFILE")),
        .credentials_file = setting("AWS_SHARED_CREDENTIALS_FILE"),
        .config_file = setting("AWS_CONFIG_FILE"),
        .home = setting("HOME"),
        .container_relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        .container_full = setting("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        .container_token = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        .container_token_file = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        .metadata_url = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        .metadata_disabled = disabled && strcasecmp(disabled, "true") == 0,
    };
    ret->region = region ? mem_strdup(str_from(region)) : source_profile_region(ret);
}

bool source_read_file(const char *path, struct buf *ret, struct err *err) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return err_set(err, ERR_CONFIG, "%s: %s", path, strerrordesc_np(errno));
    ssize_t got = 0;
    do {
        buf_reserve(ret, 4096);
        got = read(file, ret->ptr + ret->len, 4096);
        if (got > 0)
            ret->len += (size_t)got;
    } while ((got > 0 && ret->len <= FILE_MAX) || (got < 0 && errno == EINTR));
    int why = errno;
    close(file);
    if (got < 0)
        return err_set(err, ERR_CONFIG, "%s: %s", path, strerrordesc_np(why));
    if (ret->len > FILE_MAX)
        return err_set(err, ERR_CONFIG, "%s is longer than %d bytes", path, FILE_MAX);
    while (ret->len && strchr(" \t\r\n", ret->ptr[ret->len - 1]))
        ret->len--;
    ret->ptr[ret->len] = '\0';
    return true;
}

bool source_call(const struct http_request *request, struct http_answer *ret, struct err *err) {
    bool ok = false;
    for (int i = 0; i < SOURCE_TRIES; i++) {
        if (i)
            clock_sleep_ms(100 << i);
        ok = http_call(request, ret, err);
        if (ok && ret->status < 500 && ret->status != 429)
            break;
    }
    return ok;
}

static const char *text_of(const json_t *root, const char *name) {
    const char *text = json_string_value(json_object_get(root, name));
    return text && *text ? text : NULL;
}

static bool read_fields(const json_t *root, struct aws_credentials *ret, struct err *err) {
    const char *code = text_of(root, "Code");
    const char *id = text_of(root, "AccessKeyId"), *secret = text_of(root, "SecretAccessKey");
    const char *token = text_of(root, "Token"), *until = text_of(root, "Expiration");
    int64_t until_us = 0;
    if (code && strcmp(code, "Success") != 0)
        return err_set(err, ERR_IO, "the answer says %.60s", code);
    if (!id || !secret)
        return err_set(err, ERR_IO, "the answer has no AccessKeyId or no SecretAccessKey");
    if (until && !clock_parse(str_from(until), &until_us))
        return err_set(err, ERR_IO, "the answer's Expiration is no time: %.40s", until);
    *ret = (struct aws_credentials){.access_key_id = mem_strdup(str_from(id)),
                                    .secret_access_key = mem_strdup(str_from(secret)),
                                    .session_token = token ? mem_strdup(str_from(token)) : NULL,
                                    .expires_us = until_us};
    return true;
}

bool source_read_json(struct str text, struct aws_credentials *ret, struct err *err) {
    json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    bool ok = json_is_object(root) ? read_fields(root, ret, err) : err_set(err, ERR_IO, "the answer is not JSON");
    json_decref(root);
    return ok;
}

enum source_result source_environment(const struct source_settings *settings, struct aws_credentials *ret,
                                      struct err *err) {
    if (!settings->access_key_id) {
        err_set(err, ERR_CONFIG, "AWS_ACCESS_KEY_ID is not set");
        return SOURCE_NOT_SET_UP;
    }
    if (!settings->secret_access_key) {
        err_set(err, ERR_CONFIG, "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY");
        return SOURCE_FAILED;
    }
    ret->access_key_id = mem_strdup(str_from(settings->access_key_id));
    ret->secret_access_key = mem_strdup(str_from(settings->secret_access_key));
    if (settings->session_token)
        ret->session_token = mem_strdup(str_from(settings->session_token));
    return SOURCE_SERVED;
}
