#include "core/aws/service.h"

#include <jansson.h>
#include <stdlib.h>

#include "core/aws/credentials.h"
#include "core/aws/endpoint.h"
#include "core/base/clock.h"
#include "core/base/config.h"

enum { CONNECT_MS = 3000 };

struct aws_service {
    const struct aws_service_name *name;
    struct aws_chain *chain;
    char *base; /* scheme://host[:port] */
    char *host;
    const char *region;
    const char *ca_file;
};

static bool take_endpoint(struct aws_service *service, struct str url, struct err *err) {
    bool tls;
    struct str host;
    if (!aws_endpoint_parse(service->name->endpoint, url, &tls, &host, err))
        return false;
    BUF_AUTO base = {0};
    buf_printf(&base, "%s%.*s", tls ? "https://" : "http://", STR_ARG(host));
    service->base = mem_strdup(buf_str(&base));
    service->host = mem_strdup(host);
    return true;
}

static bool choose_place(struct aws_service *service, struct err *err) {
    const char *endpoint = config_get(service->name->endpoint, config_get("AWS_ENDPOINT_URL", NULL));
    service->region = aws_chain_region(service->chain);
    if (!service->region && !endpoint)
        return err_set(err, ERR_CONFIG, "no region: set AWS_REGION");
    if (!service->region)
        service->region = "us-east-1"; /* what services that only speak like AWS's expect */
    BUF_AUTO url = {0};
    if (endpoint)
        buf_printf(&url, "%s", endpoint);
    else
        buf_printf(&url, "https://%s.%s.amazonaws.com", service->name->host, service->region);
    return take_endpoint(service, buf_str(&url), err);
}

bool aws_service_open(const struct aws_service_name *name, struct aws_service **ret, struct err *err) {
    struct aws_service *service = mem_zalloc(sizeof *service);
    service->name = name;
    service->chain = aws_chain_open();
    service->ca_file = config_get("AWS_CA_BUNDLE", NULL);
    if (!choose_place(service, err)) {
        aws_service_close(service);
        return false;
    }
    *ret = service;
    return true;
}

void aws_service_close(struct aws_service *service) {
    if (!service)
        return;
    aws_chain_close(service->chain);
    free(service->base);
    free(service->host);
    free(service);
}

bool aws_service_call(struct aws_service *service, const struct aws_service_request *request, struct http_answer *ret,
                      struct err *err) {
    BUF_AUTO url = {0};
    BUF_AUTO lines = {0};
    AWS_CREDENTIALS_AUTO credentials = {0};
    if (!aws_chain_get(service->chain, &credentials, err))
        return false;
    const struct sigv4_header headers[] = {{STR("Content-Type"), str_from(request->type)},
                                           {STR("X-Amz-Target"), str_from(request->target)}};
    struct sigv4_keys keys = aws_credentials_keys(&credentials);
    const struct sigv4_scope scope = {str_from(service->region), str_from(service->name->signing), clock_now_us()};
    const struct sigv4_request to_sign = {.method = STR("POST"),
                                          .host = str_from(service->host),
                                          .path = str_from(request->path),
                                          .headers = headers,
                                          .header_count = request->target ? 2 : 1,
                                          .body = request->body};
    buf_printf(&url, "%s%s", service->base, request->path);
    for (size_t i = 0; i < to_sign.header_count; i++)
        buf_printf(&lines, "%.*s: %.*s\n", STR_ARG(headers[i].name), STR_ARG(headers[i].value));
    sigv4_sign(&to_sign, &scope, &keys, &lines);
    bool ok = http_call(&(struct http_request){.method = "POST",
                                               .url = url.ptr,
                                               .headers = buf_str(&lines),
                                               .body = request->body,
                                               .connect_ms = CONNECT_MS,
                                               .timeout_ms = request->timeout_ms,
                                               .ca_file = service->ca_file,
                                               .keep = request->keep},
                        ret, err);
    explicit_bzero(lines.ptr, lines.len);
    return ok || err_wrap(err, "%s (%s)", request->target ? request->target : request->path, service->base);
}

/* "com.amazonaws.dynamodb.v20120810#X" and "X:http://…" are both X. */
static void add_exception(struct buf *ret, struct str text) {
    const char *hash = text.len ? memrchr(text.ptr, '#', text.len) : NULL;
    if (hash)
        text = (struct str){hash + 1, text.len - (size_t)(hash + 1 - text.ptr)};
    struct str rest;
    buf_add_str(ret, str_cut(text, ':', &rest));
}

void aws_service_exception(const struct http_answer *answer, struct buf *ret) {
    buf_reset(ret);
    struct str header = http_answer_header(answer, STR("x-amzn-errortype"));
    if (header.ptr) {
        add_exception(ret, header);
        return;
    }
    json_t *json = json_loadb(buf_str(&answer->body).ptr, answer->body.len, 0, NULL);
    const char *type = json_string_value(json_object_get(json, "__type"));
    add_exception(ret, type ? str_from(type) : STR(""));
    json_decref(json);
}
