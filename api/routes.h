/* The table of what is served. tests/http/test_openapi.py compares it with openapi.yaml. */
#ifndef ORDERLOG_API_ROUTES_H
#define ORDERLOG_API_ROUTES_H

#include "api/internal.h"

enum access {
    ACCESS_PUBLIC,   /* no token is looked at */
    ACCESS_SHOPPER,  /* shoppers only */
    ACCESS_OPERATOR, /* operators only */
    ACCESS_ANYONE,   /* either: the handler tells what is whose */
};

enum route_flags {
    ROUTE_KEY = 1,       /* an Idempotency-Key is required */
    ROUTE_BODY = 2,      /* a JSON object is required */
    ROUTE_NO_FIELDS = 4, /* a body is empty, or an object without fields */
    ROUTE_WRITE = 8,     /* is a command: it has an id */
    ROUTE_FREE = 16,     /* is not limited by rate; webhooks see to it themselves */
};

struct route {
    enum method method;
    const char *path; /* "/v1/carts/{id}/lines" */
    enum access access;
    unsigned flags;
    request_step *handler;
    const char *query; /* names of query parameters, with a space between, NULL: none */
};

extern const struct route routes[];
extern const size_t route_count;

/* Finds the route of request->path and fills route, params and allowed. Errors: ERR_NOT_FOUND, ERR_METHOD_NOT_ALLOWED,
 * ERR_INVALID_BODY for a path that is not well-formed. `method` is METHOD_COUNT when it is none that we know. */
CHECK_RESULT bool routes_match(struct request *request, struct err *err);
/* The value of an Allow header. */
struct str routes_allow_text(struct arena *arena, unsigned allowed);

const char *method_name(enum method method);

/* ---- handlers, by file ---- */
request_step sessions_create, sessions_revoke, sessions_revoke_all;
request_step products_list, products_get, products_recommendations, products_put, products_delete;
request_step carts_create, carts_get, carts_add_line, carts_change_line, carts_remove_line;
request_step checkouts_create;
request_step orders_list, orders_get, orders_events, orders_stream, orders_cancel, orders_pay;
request_step inventory_get, inventory_receive, inventory_adjust;
request_step fulfilments_pick, fulfilments_dispatch, fulfilments_deliver;
request_step webhooks_stripe;
request_step health_live, health_ready, health_metrics, openapi_get;

#endif
