#include "cli/registry.h"

#include "core/base/config.h"
#include "core/http/http.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { REGISTRY_CONNECT_MS = 3000, REGISTRY_TIMEOUT_MS = 10000, STATUS_CONFLICT = 409, STATUS_INVALID = 422 };

static const char *setting(const char *key) {
    const char *value = config_get(key, NULL);
    return value && *value ? value : NULL;
}

static void add_basic(struct buf *headers, const char *user, const char *password) {
    BUF_AUTO text = {0};
    BUF_AUTO coded = {0};
    buf_printf(&text, "%s:%s", user, password);
    buf_reserve(&coded, text.len * 4 / 3 + 8);
    int len = EVP_EncodeBlock((unsigned char *)coded.ptr, (const unsigned char *)text.ptr, (int)text.len);
    buf_printf(headers, "Authorization: Basic %.*s\n", len, coded.ptr);
}

bool registry_open(struct registry *ret, struct err *err) {
    const char *url = setting("ORDERLOG_SCHEMA_REGISTRY"), *user = setting("ORDERLOG_SCHEMA_REGISTRY_USER");
    const char *password = setting("ORDERLOG_SCHEMA_REGISTRY_PASSWORD"),
               *token = setting("ORDERLOG_SCHEMA_REGISTRY_TOKEN");
    *ret = (struct registry){.ca_file = setting("ORDERLOG_SCHEMA_REGISTRY_CA")};
    if (!url)
        return err_set(err, ERR_CONFIG,
                       "ORDERLOG_SCHEMA_REGISTRY (--registry) is not set: the URL of a schema registry");
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return err_set(err, ERR_CONFIG, "ORDERLOG_SCHEMA_REGISTRY must be an http(s) URL");
    const char *host = strchr(url, '/') + 2;
    if (host[strcspn(host, "@/?#")] == '@')
        return err_set(err, ERR_CONFIG,
                       "ORDERLOG_SCHEMA_REGISTRY must hold no user: ORDERLOG_SCHEMA_REGISTRY_USER does");
    if (token && user)
        return err_set(err, ERR_CONFIG, "ORDERLOG_SCHEMA_REGISTRY_TOKEN and _USER are both set");
    if ((token && strpbrk(token, "\r\n")) || (user && strchr(user, ':')))
        return err_set(err, ERR_CONFIG, "ORDERLOG_SCHEMA_REGISTRY_TOKEN or _USER holds what it cannot hold");
    buf_printf(&ret->url, "%s", url);
    while (ret->url.len && ret->url.ptr[ret->url.len - 1] == '/')
        ret->url.ptr[--ret->url.len] = '\0';
    buf_printf(&ret->headers, "Accept: application/vnd.schemaregistry.v1+json, application/json\n"
                              "Content-Type: application/vnd.schemaregistry.v1+json\n");
    if (user)
        add_basic(&ret->headers, user, password ? password : "");
    else if (token)
        buf_printf(&ret->headers, "Authorization: Bearer %s\n", token);
    return true;
}

void registry_close(struct registry *registry) {
    buf_free(&registry->url);
    buf_free(&registry->headers);
}

/* ---- calls ---- */

static void json_drop(json_t **json) {
    json_decref(*json);
}
#define JSON_AUTO __attribute__((cleanup(json_drop))) json_t

/* *root is NULL when the answer is no JSON. */
static bool call(const struct registry *registry, const char *method, const char *path, struct str body, long *status,
                 json_t **root, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO url = {0};
    buf_printf(&url, "%s%s", registry->url.ptr, path);
    const struct http_request request = {.method = method,
                                         .url = url.ptr,
                                         .headers = buf_str(&registry->headers),
                                         .body = body,
                                         .connect_ms = REGISTRY_CONNECT_MS,
                                         .timeout_ms = REGISTRY_TIMEOUT_MS,
                                         .ca_file = registry->ca_file};
    if (!http_call(&request, &answer, err))
        return err_wrap(err, "the schema registry, %s", registry->url.ptr);
    if (answer.status == 401 || answer.status == 403)
        return err_set(err, ERR_CONFIG,
                       "the schema registry refuses %s %s with %ld: ORDERLOG_SCHEMA_REGISTRY_USER and "
                       "_PASSWORD, or _TOKEN",
                       method, path, answer.status);
    *status = answer.status;
    *root = json_loadb(buf_str(&answer.body).ptr, answer.body.len, JSON_REJECT_DUPLICATES, NULL);
    return true;
}

static const char *message_of(const json_t *root) {
    const char *message = json_string_value(json_object_get(root, "message"));
    return message ? message : "it does not say why";
}

/* There is no such subject or schema: a registry says so with a code of its own (40401, 40403, …); any other server,
 * or a wrong path, answers 404 as well. */
static bool is_missing(long status, const json_t *root) {
    return status == 404 && json_integer_value(json_object_get(root, "error_code")) / 100 == 404;
}

/* An answer that nobody expects. */
static bool strange(const char *method, const char *path, long status, const json_t *root, struct err *err) {
    if (status == 200)
        return err_set(err, ERR_IO, "the schema registry's answer to %s %s is not what its API promises", method, path);
    return err_set(err, ERR_IO, "the schema registry answers %s %s with %ld: %.200s", method, path, status,
                   message_of(root));
}

static void add_schema(struct buf *body, const char *schema) {
    buf_printf(body, "{\"schemaType\":\"AVRO\",\"schema\":");
    buf_add_json_string(body, str_from(schema));
    buf_add_char(body, '}');
}

static struct str reason_of(struct arena *arena, const char *text) {
    return arena_printf(arena, "%s", text);
}

bool registry_numbers(const struct registry *registry, const char *topic, struct arena *arena, int64_t **ret,
                      size_t *count, struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    long status;
    buf_printf(&path, "/subjects/%s-value/versions", topic);
    if (!call(registry, "GET", path.ptr, STR_NULL, &status, &root, err))
        return false;
    if (is_missing(status, root)) {
        *count = 0;
        return true;
    }
    if (status != 200 || !json_is_array(root))
        return strange("GET", path.ptr, status, root, err);
    int64_t *numbers = arena_array(arena, int64_t, json_array_size(root) + 1);
    for (size_t i = 0; i < json_array_size(root); i++)
        numbers[i] = json_integer_value(json_array_get(root, i));
    *ret = numbers;
    *count = json_array_size(root);
    return true;
}

static bool read_schema(const json_t *root, struct arena *arena, struct registry_schema *ret) {
    const json_t *id = json_object_get(root, "id"), *number = json_object_get(root, "version");
    const char *schema = json_string_value(json_object_get(root, "schema"));
    if (!json_is_integer(id) || !json_is_integer(number) || !schema)
        return false;
    *ret = (struct registry_schema){json_integer_value(id), json_integer_value(number),
                                    arena_dup(arena, str_from(schema))};
    return true;
}

bool registry_get(const struct registry *registry, const char *topic, int64_t number, struct arena *arena,
                  struct registry_schema *ret, struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    long status;
    buf_printf(&path, "/subjects/%s-value/versions/%" PRId64, topic, number);
    if (!call(registry, "GET", path.ptr, STR_NULL, &status, &root, err))
        return false;
    return (status == 200 && read_schema(root, arena, ret)) || strange("GET", path.ptr, status, root, err);
}

bool registry_find(const struct registry *registry, const char *topic, const char *schema, struct arena *arena,
                   bool *found, struct registry_schema *ret, struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    BUF_AUTO body = {0};
    long status;
    buf_printf(&path, "/subjects/%s-value", topic);
    add_schema(&body, schema);
    if (!call(registry, "POST", path.ptr, buf_str(&body), &status, &root, err))
        return false;
    *found = status == 200;
    return is_missing(status, root) || (status == 200 && read_schema(root, arena, ret)) ||
           strange("POST", path.ptr, status, root, err);
}

bool registry_add(const struct registry *registry, const char *topic, const char *schema, struct arena *arena,
                  struct str *reason, struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    BUF_AUTO body = {0};
    long status;
    buf_printf(&path, "/subjects/%s-value/versions", topic);
    add_schema(&body, schema);
    if (!call(registry, "POST", path.ptr, buf_str(&body), &status, &root, err))
        return false;
    *reason = status == STATUS_CONFLICT || status == STATUS_INVALID ? reason_of(arena, message_of(root)) : STR_NULL;
    return reason->ptr || status == 200 || strange("POST", path.ptr, status, root, err);
}

/* Confluent's answer has a list of messages, Apicurio's one reason. */
static struct str why_not(const json_t *root, struct arena *arena) {
    const char *reason = json_string_value(json_object_get(root, "reason"));
    const json_t *messages = json_object_get(root, "messages");
    BUF_AUTO text = {0};
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const char *message = json_string_value(json_array_get(messages, i));
        buf_printf(&text, "%s%s", text.len ? "; " : "", message ? message : "");
    }
    return reason_of(arena, text.len ? text.ptr : reason ? reason : "the registry does not say why");
}

bool registry_check(const struct registry *registry, const char *topic, const char *schema, struct arena *arena,
                    struct str *reason, struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    BUF_AUTO body = {0};
    long status;
    buf_printf(&path, "/compatibility/subjects/%s-value/versions?verbose=true", topic);
    add_schema(&body, schema);
    if (!call(registry, "POST", path.ptr, buf_str(&body), &status, &root, err))
        return false;
    const json_t *compatible = json_object_get(root, "is_compatible");
    if (status == STATUS_INVALID) {
        *reason = reason_of(arena, message_of(root));
        return true;
    }
    if (status != 200 || !json_is_boolean(compatible))
        return strange("POST", path.ptr, status, root, err);
    *reason = json_is_true(compatible) ? STR_NULL : why_not(root, arena);
    return true;
}

bool registry_level(const struct registry *registry, const char *topic, struct arena *arena, struct str *ret,
                    struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    long status;
    buf_printf(&path, "/config/%s-value", topic);
    if (!call(registry, "GET", path.ptr, STR_NULL, &status, &root, err))
        return false;
    const char *level = json_string_value(json_object_get(root, "compatibilityLevel"));
    *ret = level ? reason_of(arena, level) : STR_NULL;
    return is_missing(status, root) || (status == 200 && level) || strange("GET", path.ptr, status, root, err);
}

bool registry_set_level(const struct registry *registry, const char *topic, const char *level, struct err *err) {
    JSON_AUTO *root = NULL;
    BUF_AUTO path = {0};
    BUF_AUTO body = {0};
    long status;
    buf_printf(&path, "/config/%s-value", topic);
    buf_printf(&body, "{\"compatibility\":\"%s\"}", level);
    if (!call(registry, "PUT", path.ptr, buf_str(&body), &status, &root, err))
        return false;
    return status == 200 || strange("PUT", path.ptr, status, root, err);
}
