#include "api/answer.h"

#include "api/connections.h"
#include "api/problem.h"
#include "api/routes.h"

#include <stdio.h>

#define TYPE_JSON "application/json"

static void answer_clear(struct request *request) {
    buf_reset(&request->reply);
    request->reply_static = NULL;
    request->extra_count = 0;
}

struct buf *answer_text(struct request *request, int status, const char *content_type) {
    answer_clear(request);
    request->status = status;
    request->content_type = content_type;
    return &request->reply;
}

struct buf *answer_json(struct request *request, int status) {
    return answer_text(request, status, TYPE_JSON);
}

void answer_static(struct request *request, int status, const char *content_type, const char *bytes, size_t len) {
    answer_text(request, status, content_type);
    request->reply_static = bytes;
    request->reply_static_len = len;
}

void answer_stream(struct request *request, const char *content_type, struct MHD_Response *response) {
    answer_text(request, 200, content_type);
    request->response = response;
}

void answer_accepted(struct request *request, const char *name, struct str value) {
    struct buf *reply = answer_json(request, 202);
    buf_printf(reply, "{\"%s\":", name);
    buf_add_json_string(reply, value);
    buf_printf(reply, ",\"command_id\":\"%s\"}", request->command_id.text);
}

void answer_header(struct request *request, const char *name, struct str value) {
    if (request->extra_count < EXTRA_HEADERS_MAX)
        request->extra[request->extra_count++] = (struct header_pair){name, arena_dup(&request->arena, value)};
}

void answer_err(struct request *request, const struct err *err) {
    request->err = *err;
    struct buf *reply = answer_text(request, err_http_status(err->kind), "application/problem+json");
    struct problem problem = {.err = err, .traceparent = request->traceparent};
    if (request->resource_name && err_http_status(err->kind) >= 500) {
        problem.resource_name = request->resource_name;
        problem.resource = id_str(&request->resource);
    }
    problem_write(&problem, reply);
    if (err->kind == ERR_UNAUTHORIZED)
        answer_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, STR("Bearer realm=\"orderlog\""));
    if (err->kind == ERR_METHOD_NOT_ALLOWED)
        answer_header(request, MHD_HTTP_HEADER_ALLOW, routes_allow_text(&request->arena, request->allowed));
    if (err->kind == ERR_RATE_LIMITED && request->retry_after_s)
        answer_header(request, MHD_HTTP_HEADER_RETRY_AFTER,
                      arena_printf(&request->arena, "%d", request->retry_after_s));
    else if (problem_retry_after(err->kind))
        answer_header(request, MHD_HTTP_HEADER_RETRY_AFTER, str_from(problem_retry_after(err->kind)));
}

void answer_not_found(struct request *request) {
    struct err err = {0};
    err_set(&err, ERR_NOT_FOUND, "There is nothing here, or nothing that this token may see.");
    answer_err(request, &err);
}

void answer_not_found_yet(struct request *request) {
    struct err err = {0};
    err_set(&err, ERR_NOT_FOUND, "It is not there, or was made so shortly ago that it cannot be seen yet.");
    answer_err(request, &err);
    answer_header(request, MHD_HTTP_HEADER_RETRY_AFTER, STR("1"));
}

static struct MHD_Response *response_make(struct request *request) {
    struct MHD_Response *made = request->response;
    request->response = NULL;
    if (made)
        return made;
    if (request->reply_static)
        return MHD_create_response_from_buffer(
            request->reply_static_len, (void *)(uintptr_t)request->reply_static, /* not written to: it persists */
            MHD_RESPMEM_PERSISTENT);
    buf_reserve(&request->reply, 0);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(request->reply.len, request->reply.ptr, MHD_RESPMEM_MUST_FREE);
    if (response)
        request->reply = (struct buf){0};
    return response;
}

static void response_headers(struct request *request, struct MHD_Response *response) {
    if (request->content_type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (request->command_id.text[0])
        MHD_add_response_header(response, "Orderlog-Command", request->command_id.text);
    if (request->stale)
        MHD_add_response_header(response, "Orderlog-Stale", "true");
    if (request->wait_applied) {
        char applied[32];
        snprintf(applied, sizeof applied, "wait=%d", (int)request->wait_s);
        MHD_add_response_header(response, "Preference-Applied", applied);
    }
    if (trace_on() && request->traceparent.ptr)
        MHD_add_response_header(response, "traceresponse", request->traceparent.ptr);
    for (size_t i = 0; i < request->extra_count; i++)
        MHD_add_response_header(response, request->extra[i].name, request->extra[i].value.ptr);
    if (request->answer_early || atomic_load_explicit(&request->api->stopping, memory_order_relaxed) ||
        connections_crowded(request->api))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

bool answer_send(struct request *request) {
    struct MHD_Response *response = response_make(request);
    if (!response)
        return false;
    response_headers(request, response);
    bool queued = MHD_queue_response(request->connection, (unsigned)request->status, response) == MHD_YES;
    MHD_destroy_response(response);
    return queued;
}
