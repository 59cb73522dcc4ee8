#include "api/request.h"

#include "api/auth.h"
#include "api/headers.h"
#include "api/json_body.h"
#include "api/limits.h"
#include "api/percent.h"
#include "api/revoked.h"
#include "api/routes.h"
#include "api/waits.h"
#include "core/base/clock.h"

#include <stdlib.h>

enum { QUERY_DECODED_MAX = 8, LIMIT_MAX = 100, LIMIT_DEFAULT = 20 };

struct request *request_new(struct api *api, struct MHD_Connection *connection, const char *uri) {
    struct request *request = mem_alloc(sizeof *request);
    memset(request, 0, offsetof(struct request, err));
    err_none(&request->err);
    request->api = api;
    request->connection = connection;
    request->began_us = clock_monotonic_us();
    request->method = METHOD_COUNT;
    arena_init(&request->arena);
    request->uri = arena_dup(&request->arena, str_from(uri));
    request->line = uri;
    return request;
}

/* All bodies together may take so much and no more, however many connections there are. */
static bool body_count(struct request *request, size_t len) {
    struct api *api = request->api;
    request->body_counted += len;
    if (atomic_fetch_add(&api->bodies_bytes, (int64_t)len) + (int64_t)len <= api->config.bodies_max_bytes)
        return true;
    limits_count_shed(api->limits, SHED_BODIES);
    return err_set(&request->err, ERR_OVERLOADED, "all bodies together have over %lld bytes",
                   (long long)api->config.bodies_max_bytes);
}

static void body_forget(struct request *request) {
    atomic_fetch_sub(&request->api->bodies_bytes, (int64_t)request->body_counted);
    request->body_counted = 0;
    buf_free(&request->body);
}

void request_free(struct request *request) {
    body_forget(request);
    if (request->response)
        MHD_destroy_response(request->response);
    json_decref(request->json);
    buf_free(&request->reply);
    arena_free(&request->arena);
    free(request);
}

/* ---- the line ---- */

static enum method method_from(const char *text) {
    if (strcmp(text, "HEAD") == 0)
        return METHOD_GET; /* the server leaves the body out */
    for (int method = 0; method < METHOD_COUNT; method++) {
        if (strcmp(text, method_name((enum method)method)) == 0)
            return (enum method)method;
    }
    return METHOD_COUNT;
}

/* The server's strings end at the first zero byte. It reads line and version into one buffer, so that a line that goes
 * on behind a zero byte shows as a gap between them. */
static bool line_is_whole(const struct request *request, const char *version) {
    uintptr_t begin = (uintptr_t)request->line, end = (uintptr_t)version;
    if (!begin || end <= begin || end - begin > 1024 * 1024)
        return true; /* not of one buffer: nothing can be told */
    return end - begin == request->uri.len + 1;
}

static bool line_check(struct request *request, const char *method, const char *version) {
    struct err *err = &request->err;
    request->method = method_from(method);
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0) {
        request->answer_early = true;
        return err_set(err, ERR_INVALID_BODY, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    }
    if (!line_is_whole(request, version)) {
        request->answer_early = true;
        return err_set(err, ERR_INVALID_BODY, "The request line holds a zero byte.");
    }
    if (!request->uri.ptr || request->uri.len == 0 || request->uri.ptr[0] != '/' ||
        memchr(request->uri.ptr, '#', request->uri.len))
        return err_set(err, ERR_INVALID_BODY, "The request target must be a path that begins with a slash.");
    request->path = str_cut(request->uri, '?', &request->query);
    return true;
}

/* ---- the query ---- */

static bool query_is_known(const char *names, struct str name) {
    for (struct str rest = str_from(names); rest.ptr;) {
        if (str_eq(str_cut(rest, ' ', &rest), name))
            return true;
    }
    return false;
}

static bool query_has(const struct request *request, struct str name) {
    for (size_t i = 0; i < request->query_count; i++) {
        if (str_eq(request->query_items[i].name, name))
            return true;
    }
    return false;
}

static bool query_parse(struct request *request) {
    struct err *err = &request->err;
    request->query_items = arena_array(&request->arena, struct query_item, QUERY_DECODED_MAX);
    for (struct str rest = request->query; rest.ptr && rest.len;) {
        struct str value;
        struct str name = str_cut(str_cut(rest, '&', &rest), '=', &value);
        struct query_item item = {.value = STR("")};
        if (!percent_decode(&request->arena, name, true, &item.name) ||
            (value.ptr && !percent_decode(&request->arena, value, true, &item.value)))
            return err_set(err, ERR_INVALID_BODY, "The query is not percent-encoded UTF-8 text.");
        if (!query_is_known(request->route->query, item.name))
            return err_set(err, ERR_INVALID_BODY, "There is a query parameter that this path does not know.");
        if (query_has(request, item.name) || request->query_count == QUERY_DECODED_MAX)
            return err_set(err, ERR_INVALID_BODY, "A query parameter is given twice.");
        request->query_items[request->query_count++] = item;
    }
    return true;
}

struct str request_query(const struct request *request, const char *name) {
    for (size_t i = 0; i < request->query_count; i++) {
        if (str_eq(request->query_items[i].name, str_from(name)))
            return request->query_items[i].value;
    }
    return STR_NULL;
}

bool request_limit(const struct request *request, int32_t *ret, struct err *err) {
    struct str text = request_query(request, "limit");
    int64_t limit = LIMIT_DEFAULT;
    if (text.ptr && (!str_to_i64(text, &limit) || limit < 1 || limit > LIMIT_MAX))
        return err_set(err, ERR_INVALID_BODY, "The query parameter limit must be a number from 1 to %d.", LIMIT_MAX);
    *ret = (int32_t)limit;
    return true;
}

/* ---- who, and with which key ---- */

static bool access_check(struct request *request) {
    struct err *err = &request->err;
    enum access access = request->route->access;
    if (access == ACCESS_PUBLIC)
        return true;
    if (!auth_principal(request->api->auth, request->authorization, clock_now_us(), &request->arena,
                        &request->principal) ||
        revoked_has(request->api->revoked, &request->principal))
        return err_set(err, ERR_UNAUTHORIZED, "%s",
                       request->authorization.ptr ? "The token is not valid, or no longer."
                                                  : "Send a token: Authorization: Bearer …");
    bool is_operator = request->principal.kind == PRINCIPAL_OPERATOR;
    if ((access == ACCESS_SHOPPER && is_operator) || (access == ACCESS_OPERATOR && !is_operator))
        return err_set(err, ERR_FORBIDDEN, "This is for %s.", is_operator ? "shoppers" : "operators");
    return true;
}

static bool rate_check(struct request *request) {
    return (request->route->flags & ROUTE_FREE) || limits_rate_check(request, &request->err);
}

static bool key_is_valid(struct str key) {
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] <= ' ' || key.ptr[i] > '~')
            return false;
    }
    return key.len >= 1 && key.len <= 200;
}

static bool key_check(struct request *request) {
    struct err *err = &request->err;
    if (!request->idempotency_key.ptr && (request->route->flags & ROUTE_KEY))
        return err_set(err, ERR_IDEMPOTENCY_KEY_MISSING,
                       "Send an Idempotency-Key header: a new one for each thing that you want, the same one when you "
                       "try again.");
    if (request->idempotency_key.ptr && (request->route->flags & ROUTE_WRITE) &&
        !key_is_valid(request->idempotency_key))
        return err_set(err, ERR_INVALID_BODY, "The Idempotency-Key must be 1 to 200 visible ASCII characters.");
    return true;
}

static bool body_check(struct request *request) {
    struct err *err = &request->err;
    unsigned flags = request->route->flags;
    if (request->has_body && !(flags & (ROUTE_BODY | ROUTE_NO_FIELDS)))
        return err_set(err, ERR_INVALID_BODY, "No body is taken here.");
    if (!request->has_body && (flags & ROUTE_BODY))
        return err_set(err, ERR_INVALID_BODY, "A JSON body is required.");
    if (request->has_body && !headers_say_json(request->content_type_given))
        return err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json (in UTF-8).");
    return true;
}

static void headers_use(struct request *request) {
    if (!headers_read(request, &request->err)) {
        /* Where this request ends may be seen otherwise by another server on the way: nothing behind it is read. */
        request->answer_early = true;
    } else if (request->content_length > BODY_MAX) {
        err_set(&request->err, ERR_TOO_LARGE, "The body may have %d bytes.", BODY_MAX);
        request->answer_early = request->content_length > BODY_DRAINED_MAX;
    }
}

void request_begin(struct request *request, const char *method, const char *version) {
    headers_use(request);
    if (request->err.kind != ERR_NONE)
        return;
    /* Each fills request->err; the first one that does so is what will be answered. */
    (void)(line_check(request, method, version) && routes_match(request, &request->err) && access_check(request) &&
           rate_check(request) && query_parse(request) && body_check(request) && key_check(request) &&
           waits_check(request, &request->err));
}

/* ---- the body ---- */

bool request_body_add(struct request *request, const char *bytes, size_t len) {
    request->body_bytes += len;
    if (request->body_bytes > BODY_MAX && request->err.kind == ERR_NONE)
        err_set(&request->err, ERR_TOO_LARGE, "The body may have %d bytes.", BODY_MAX);
    if (request->err.kind == ERR_NONE && body_count(request, len))
        buf_add(&request->body, bytes, len);
    if (request->err.kind != ERR_NONE)
        body_forget(request);
    return request->body_bytes <= BODY_DRAINED_MAX;
}

bool request_body_end(struct request *request) {
    if (request->err.kind != ERR_NONE)
        return false;
    uint8_t hash[SHA256_SIZE];
    sha256(buf_str(&request->body), hash);
    BUF_AUTO hex = {0};
    buf_add_hex(&hex, hash, sizeof request->body_hash / 2);
    memcpy(request->body_hash, hex.ptr, hex.len);
    if (request->body.len && !body_parse(buf_str(&request->body), &request->json, &request->err))
        return false;
    if ((request->route->flags & ROUTE_NO_FIELDS) && request->json)
        return fields_end(&(struct fields){.object = request->json, .err = &request->err});
    if ((request->route->flags & ROUTE_BODY) && !request->json)
        return err_set(&request->err, ERR_INVALID_BODY, "A JSON body is required.");
    return true;
}

/* ---- the command ---- */

struct str request_actor(struct request *request) {
    if (request->principal.kind != PRINCIPAL_OPERATOR)
        return STR("shopper");
    return arena_printf(&request->arena, "operator:%.*s", STR_ARG(request->principal.id));
}

void request_name_command(struct request *request, struct str resource) {
    if (!request->idempotency_key.ptr) {
        request->command_id = id_random();
        return;
    }
    struct str who = request->principal.kind == PRINCIPAL_OPERATOR ? STR("operator") : STR("shopper");
    struct str parts[5 + PARAMS_MAX + 1] = {who, request->principal.id, str_from(method_name(request->method)),
                                            str_from(request->route->path)};
    size_t count = 4;
    for (size_t i = 0; i < PARAMS_MAX && request->params[i].ptr; i++)
        parts[count++] = request->params[i];
    if (resource.ptr)
        parts[count++] = resource;
    parts[count++] = request->idempotency_key;
    request->command_id = id_derive(parts, count);
}
