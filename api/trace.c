#include "api/trace.h"

#include "api/routes.h"

static bool is_probe(const struct route *route) {
    return route && (route->flags & ROUTE_FREE) && route->method == METHOD_GET;
}

void request_trace(const struct request *request) {
    const struct route *route = request->route;
    bool failed = request->status >= 500;
    if (!request->span.on || is_probe(route))
        return;
    const struct span_attribute attributes[] = {
        {"http.request.method",
         request->method == METHOD_COUNT ? STR("_OTHER") : str_from(method_name(request->method)), 0},
        {"url.scheme", STR("http"), 0},
        /* A path of ours has ids in it and nothing else; what else a client asks for is not repeated. */
        {route ? "url.path" : NULL, request->path, 0},
        {route ? "http.route" : NULL, route ? str_from(route->path) : STR(""), 0},
        {request->status ? "http.response.status_code" : NULL, STR_NULL, request->status},
        {failed ? "error.type" : NULL, str_from(err_slug(request->err.kind)), 0},
        {request->command_id.text[0] ? "orderlog.command_id" : NULL, id_str(&request->command_id), 0},
        {request->resource.text[0] && request->resource_name && strcmp(request->resource_name, "order_id") == 0
             ? "orderlog.order_id"
             : NULL,
         id_str(&request->resource), 0},
    };
    const struct span_facts facts = {.kind = SPAN_SERVER,
                                     .verb = request->method == METHOD_COUNT ? "HTTP" : method_name(request->method),
                                     .what = route ? str_from(route->path) : STR_NULL,
                                     .failed = failed,
                                     .attributes = attributes,
                                     .attribute_count = sizeof attributes / sizeof attributes[0]};
    span_end(&request->span, &facts);
}
