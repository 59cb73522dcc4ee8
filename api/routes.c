#include "api/routes.h"

#include "api/percent.h"

#define COMMAND_POST (ROUTE_WRITE | ROUTE_KEY)
#define POST_FIELDS (COMMAND_POST | ROUTE_BODY)
#define POST_BARE (COMMAND_POST | ROUTE_NO_FIELDS)

/* clang-format off */
const struct route routes[] = {
    {METHOD_POST,   "/v1/sessions", ACCESS_PUBLIC, ROUTE_NO_FIELDS, sessions_create, NULL},
    {METHOD_DELETE, "/v1/sessions/current", ACCESS_SHOPPER, 0, sessions_revoke, NULL},
    {METHOD_DELETE, "/v1/shoppers/{shopper_id}/sessions", ACCESS_OPERATOR, 0, sessions_revoke_all, NULL},

    {METHOD_GET,    "/v1/products", ACCESS_PUBLIC, 0, products_list, "after limit"},
    {METHOD_GET,    "/v1/products/{sku}", ACCESS_PUBLIC, 0, products_get, NULL},
    {METHOD_GET,    "/v1/products/{sku}/recommendations", ACCESS_PUBLIC, 0, products_recommendations, "limit"},
    {METHOD_PUT,    "/v1/products/{sku}", ACCESS_OPERATOR, ROUTE_WRITE | ROUTE_BODY, products_put, NULL},
    {METHOD_DELETE, "/v1/products/{sku}", ACCESS_OPERATOR, ROUTE_WRITE, products_delete, NULL},

    {METHOD_POST,   "/v1/carts", ACCESS_SHOPPER, POST_BARE, carts_create, NULL},
    {METHOD_GET,    "/v1/carts/{id}", ACCESS_SHOPPER, 0, carts_get, NULL},
    {METHOD_POST,   "/v1/carts/{id}/lines", ACCESS_SHOPPER, POST_FIELDS, carts_add_line, NULL},
    {METHOD_PATCH,  "/v1/carts/{id}/lines/{sku}", ACCESS_SHOPPER, ROUTE_WRITE | ROUTE_BODY, carts_change_line, NULL},
    {METHOD_DELETE, "/v1/carts/{id}/lines/{sku}", ACCESS_SHOPPER, ROUTE_WRITE, carts_remove_line, NULL},

    {METHOD_POST,   "/v1/checkouts", ACCESS_SHOPPER, POST_FIELDS, checkouts_create, NULL},

    {METHOD_GET,    "/v1/orders", ACCESS_ANYONE, 0, orders_list, "after limit shopper_id"},
    {METHOD_GET,    "/v1/orders/{id}", ACCESS_ANYONE, 0, orders_get, NULL},
    {METHOD_GET,    "/v1/orders/{id}/events", ACCESS_ANYONE, 0, orders_events, NULL},
    {METHOD_GET,    "/v1/orders/{id}/stream", ACCESS_ANYONE, 0, orders_stream, "until"},
    {METHOD_POST,   "/v1/orders/{id}/cancel", ACCESS_ANYONE, POST_BARE, orders_cancel, NULL},
    {METHOD_POST,   "/v1/orders/{id}/payments", ACCESS_SHOPPER, POST_FIELDS, orders_pay, NULL},

    {METHOD_GET,    "/v1/inventory/{sku}", ACCESS_OPERATOR, 0, inventory_get, NULL},
    {METHOD_POST,   "/v1/inventory/{sku}/receipts", ACCESS_OPERATOR, POST_FIELDS, inventory_receive, NULL},
    {METHOD_POST,   "/v1/inventory/{sku}/adjustments", ACCESS_OPERATOR, POST_FIELDS, inventory_adjust, NULL},

    {METHOD_POST,   "/v1/fulfilments/{order_id}/pick", ACCESS_OPERATOR, POST_BARE, fulfilments_pick, NULL},
    {METHOD_POST,   "/v1/fulfilments/{order_id}/dispatch", ACCESS_OPERATOR, POST_FIELDS, fulfilments_dispatch, NULL},
    {METHOD_POST,   "/v1/fulfilments/{order_id}/deliver", ACCESS_OPERATOR, POST_BARE, fulfilments_deliver, NULL},

    {METHOD_POST,   "/v1/webhooks/payments/stripe", ACCESS_PUBLIC, ROUTE_BODY | ROUTE_FREE, webhooks_stripe, NULL},

    {METHOD_GET,    "/livez", ACCESS_PUBLIC, ROUTE_FREE, health_live, NULL},
    {METHOD_GET,    "/readyz", ACCESS_PUBLIC, ROUTE_FREE, health_ready, "verbose"},
    {METHOD_GET,    "/metrics", ACCESS_PUBLIC, ROUTE_FREE, health_metrics, NULL},
    {METHOD_GET,    "/openapi.yaml", ACCESS_PUBLIC, 0, openapi_get, NULL},
};
/* clang-format on */
const size_t route_count = sizeof routes / sizeof routes[0];

const char *method_name(enum method method) {
    static const char *const names[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "other"};
    return names[method];
}

/* Compares the path as it came; a parameter is any segment that is not empty. Most routes part with a path within a few
 * characters, so that no index is needed. */
static bool path_fits(struct str path, const char *template, struct str params[PARAMS_MAX]) {
    const char *at = path.ptr, *end = path.ptr + path.len;
    size_t param = 0;
    while (*template) {
        if (*template != '{') {
            if (at == end || *at++ != *template ++)
                return false;
            continue;
        }
        const char *begin = at;
        while (at < end && *at != '/')
            at++;
        if (at == begin || param == PARAMS_MAX)
            return false;
        params[param++] = (struct str){begin, (size_t)(at - begin)};
        while (*template ++ != '}')
            ;
    }
    return at == end;
}

static bool params_decode(struct request *request, struct err *err) {
    for (size_t i = 0; i < PARAMS_MAX && request->params[i].ptr; i++) {
        struct str decoded;
        if (!percent_decode(&request->arena, request->params[i], false, &decoded))
            return err_set(err, ERR_INVALID_BODY, "The path is not percent-encoded UTF-8 text.");
        request->params[i] = decoded;
    }
    return true;
}

bool routes_match(struct request *request, struct err *err) {
    for (size_t i = 0; i < route_count; i++) {
        struct str params[PARAMS_MAX] = {{0}};
        if (!path_fits(request->path, routes[i].path, params))
            continue;
        request->allowed |= 1U << routes[i].method;
        if (routes[i].method != request->method)
            continue;
        request->route = &routes[i];
        memcpy(request->params, params, sizeof params);
    }
    if (request->route)
        return params_decode(request, err);
    if (request->allowed)
        return err_set(err, ERR_METHOD_NOT_ALLOWED, "The Allow header says which methods are.");
    return err_set(err, ERR_NOT_FOUND, "There is no such path.");
}

struct str routes_allow_text(struct arena *arena, unsigned allowed) {
    BUF_AUTO text = {0};
    for (int method = 0; method < METHOD_COUNT; method++) {
        if (allowed & 1U << method)
            buf_printf(&text, "%s%s", text.len ? ", " : "", method == METHOD_GET ? "GET, HEAD" : method_name(method));
    }
    return arena_dup(arena, buf_str(&text));
}
