#include "core/aws/secrets.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/aws/credentials.h"
#include "core/aws/endpoint.h"
#include "core/aws/source.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/metrics.h"

enum { SECOND_US = 1000000, CONNECT_MS = 2000, TIMEOUT_MS = 5000 };
static const int64_t again_after_us = SECOND_US;
static const int64_t retry_us = 10LL * SECOND_US;

struct secret {
    struct secret *next;
    char *name;
    char *text; /* NULL: never had */
    int64_t asked_us, refresh_us;
};

struct aws_secrets {
    struct aws_chain *chain;
    char *scheme, *host, *region; /* owned */
    const char *ca_file;
    int64_t keep_us;
    struct metric *failures;
    pthread_mutex_t lock; /* held while the service is asked: who waits wants the same */
    struct secret *kept;
};

/* ---- opening ---- */

static bool endpoint_take(struct aws_secrets *secrets, struct str url, struct err *err) {
    bool tls;
    struct str host;
    if (!aws_endpoint_parse("AWS_ENDPOINT_URL_SECRETS_MANAGER", url, &tls, &host, err))
        return false;
    secrets->scheme = mem_strdup(tls ? STR("https") : STR("http"));
    secrets->host = mem_strdup(host);
    return true;
}

static bool place_choose(struct aws_secrets *secrets, struct err *err) {
    const char *endpoint = config_get("AWS_ENDPOINT_URL_SECRETS_MANAGER", config_get("AWS_ENDPOINT_URL", NULL));
    const char *region = aws_chain_region(secrets->chain);
    if (!region)
        return err_set(err, ERR_CONFIG, "secrets need a region: set AWS_REGION");
    secrets->region = mem_strdup(str_from(region));
    if (endpoint && *endpoint)
        return endpoint_take(secrets, str_from(endpoint), err);
    BUF_AUTO host = {0};
    buf_printf(&host, "secretsmanager.%s.amazonaws.com", region);
    secrets->scheme = mem_strdup(STR("https"));
    secrets->host = mem_strdup(buf_str(&host));
    return true;
}

bool aws_secrets_open(struct aws_secrets **ret, struct err *err) {
    int64_t keep_s;
    if (!config_int("ORDERLOG_SECRETS_REFRESH_SECONDS", 300, 1, 86400, &keep_s, err))
        return false;
    struct aws_secrets *secrets = mem_zalloc(sizeof *secrets);
    secrets->chain = aws_chain_open();
    if (!place_choose(secrets, err)) {
        aws_chain_close(secrets->chain);
        free(secrets->region);
        free(secrets);
        return false;
    }
    secrets->keep_us = keep_s * SECOND_US;
    secrets->ca_file = config_get("AWS_CA_BUNDLE", NULL);
    secrets->failures =
        metrics_counter("orderlog_secrets_failures_total", "Times that Secrets Manager did not give a secret.", "");
    pthread_mutex_init(&secrets->lock, NULL);
    *ret = secrets;
    return true;
}

/* ---- asking ---- */

static void wipe(struct buf *buf) {
    if (buf->ptr)
        OPENSSL_cleanse(buf->ptr, buf->len);
    buf_free(buf);
}
#define SECRET_AUTO __attribute__((cleanup(wipe))) struct buf

/* Of a refusal only its sort is told: {"__type":"ResourceNotFoundException", …}. */
static bool refused(const char *name, const struct http_answer *answer, struct err *err) {
    json_t *body = json_loadb(answer->body.ptr ? answer->body.ptr : "", answer->body.len, 0, NULL);
    const char *type = json_string_value(json_object_get(body, "__type"));
    bool passes = answer->status >= 500 || answer->status == 429;
    err_set(err, passes ? ERR_IO : ERR_CONFIG, "Secrets Manager does not give %s: HTTP %ld%s%s", name, answer->status,
            type ? " " : "", type ? type : "");
    json_decref(body);
    return false;
}

static char *text_take(const char *name, struct str answer, struct err *err) {
    json_t *body = json_loadb(answer.len ? answer.ptr : "", answer.len, 0, NULL);
    const json_t *text = json_object_get(body, "SecretString");
    char *ret = NULL;
    if (json_is_string(text) && strlen(json_string_value(text)) == json_string_length(text))
        ret = mem_strdup(str_from(json_string_value(text)));
    else
        err_set(err, ERR_CONFIG, "secret %s has no text", name);
    json_decref(body);
    return ret;
}

static bool ask(struct aws_secrets *secrets, const char *name, char **ret, struct err *err) {
    AWS_CREDENTIALS_AUTO credentials = {0};
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO url = {0};
    BUF_AUTO body = {0};
    SECRET_AUTO lines = {0};
    if (!aws_chain_get(secrets->chain, &credentials, err))
        return false;
    json_t *json = json_pack("{s:s}", "SecretId", name);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ERR_CONFIG, "a secret's name must be UTF-8");
    buf_add_str(&body, str_from(text));
    free(text);
    buf_printf(&url, "%s://%s/", secrets->scheme, secrets->host);
    const struct sigv4_header headers[] = {{STR("Content-Type"), STR("application/x-amz-json-1.1")},
                                           {STR("X-Amz-Target"), STR("secretsmanager.GetSecretValue")}};
    const struct sigv4_request request = {.method = STR("POST"),
                                          .host = str_from(secrets->host),
                                          .path = STR("/"),
                                          .headers = headers,
                                          .header_count = 2,
                                          .body = buf_str(&body)};
    const struct sigv4_scope scope = {str_from(secrets->region), STR("secretsmanager"), clock_now_us()};
    const struct sigv4_keys keys = aws_credentials_keys(&credentials);
    for (size_t i = 0; i < 2; i++)
        buf_printf(&lines, "%.*s: %.*s\n", STR_ARG(headers[i].name), STR_ARG(headers[i].value));
    sigv4_sign(&request, &scope, &keys, &lines);
    bool ok = source_call(&(struct http_request){.method = "POST",
                                                 .url = url.ptr,
                                                 .headers = buf_str(&lines),
                                                 .body = buf_str(&body),
                                                 .connect_ms = CONNECT_MS,
                                                 .timeout_ms = TIMEOUT_MS,
                                                 .ca_file = secrets->ca_file},
                          &answer, err);
    if (!ok)
        return err_wrap(err, "asking Secrets Manager (%s) for %s", secrets->host, name);
    ok = answer.status == 200 ? (*ret = text_take(name, buf_str(&answer.body), err)) != NULL
                              : refused(name, &answer, err);
    if (answer.body.ptr)
        OPENSSL_cleanse(answer.body.ptr, answer.body.len);
    return ok;
}

/* ---- keeping ---- */

static struct secret *secret_of(struct aws_secrets *secrets, struct str name) {
    for (struct secret *at = secrets->kept; at; at = at->next)
        if (str_eq(str_from(at->name), name))
            return at;
    struct secret *made = mem_zalloc(sizeof *made);
    made->name = mem_strdup(name);
    made->next = secrets->kept;
    return secrets->kept = made;
}

static bool refresh(struct aws_secrets *secrets, struct secret *secret, struct err *err) {
    char *text = NULL;
    struct err why = {0};
    bool ok = ask(secrets, secret->name, &text, &why);
    secret->asked_us = clock_monotonic_us();
    secret->refresh_us = secret->asked_us + (ok ? secrets->keep_us : retry_us);
    if (!ok) {
        metrics_add(secrets->failures, 1);
        if (!secret->text && err)
            *err = why;
        return secret->text != NULL;
    }
    if (secret->text)
        OPENSSL_cleanse(secret->text, strlen(secret->text));
    free(secret->text);
    secret->text = text;
    return true;
}

static bool field_add(const struct secret *secret, struct str field, struct buf *ret, struct err *err) {
    BUF_AUTO name = {0};
    buf_add_str(&name, field);
    json_t *object = json_loads(secret->text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *value = field.len ? json_object_get(object, name.ptr) : NULL;
    bool ok = true;
    if (json_is_string(value))
        buf_add_str(ret, str_from(json_string_value(value)));
    else if (json_is_integer(value))
        buf_printf(ret, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        ok = err_set(err, ERR_CONFIG, "secret %s %s %.*s", secret->name,
                     json_is_object(object) ? "has no field" : "is not a JSON object, so it has no field",
                     STR_ARG(field));
    json_decref(object);
    return ok;
}

bool aws_secrets_get(struct aws_secrets *secrets, struct str reference, bool again, struct buf *ret, struct err *err) {
    struct str field, name = str_cut(reference, '#', &field);
    if (!name.len)
        return err_set(err, ERR_CONFIG, "a reference to a secret is secretsmanager:NAME or secretsmanager:NAME#field");
    pthread_mutex_lock(&secrets->lock);
    struct secret *secret = secret_of(secrets, name);
    int64_t now_us = clock_monotonic_us();
    bool stale =
        !secret->text || now_us >= secret->refresh_us || (again && now_us >= secret->asked_us + again_after_us);
    bool ok = !stale || refresh(secrets, secret, err);
    buf_reset(ret);
    if (ok && field.ptr)
        ok = field_add(secret, field, ret, err);
    else if (ok)
        buf_add_str(ret, str_from(secret->text));
    pthread_mutex_unlock(&secrets->lock);
    return ok;
}
