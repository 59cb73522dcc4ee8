#include "cli/feed.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"

enum { POLL_FIRST_MS = 2, POLL_LAST_MS = 50, SETTLE_S = 600, PAYMENT_ATTEMPTS = 5 };

/* One basket on its way. */
struct visit {
    struct feed_http *http;
    const struct feed_shop *shop;
    const struct feed_basket *basket;
    const char *token;
    char cart_id[40];
    char order_id[40];
    struct feed_fate fate;
    size_t accepted_lines;
    int64_t accepted_quantity;
};

static bool unexpected(const struct feed_http *http, const char *what, struct err *err) {
    return err_set(err, ERR_IO, "%s was answered %ld %.*s", what, http->status, (int)http->answer.len,
                   http->answer.ptr ? http->answer.ptr : "");
}

static bool ok_status(const struct feed_http *http) {
    return http->status / 100 == 2;
}

/* ---- stocking ---- */

static bool put_product(struct feed_http *http, const struct feed_shop *shop, const struct feed_product *product,
                        struct err *err) {
    BUF_AUTO path = {0};
    BUF_AUTO key = {0};
    BUF_AUTO body = {0};
    buf_printf(&path, "/v1/products/%.*s", STR_ARG(product->sku));
    buf_printf(&key, "product-%.*s", STR_ARG(product->sku));
    buf_printf(&body, "{\"name\":");
    buf_add_json_string(&body, product->name);
    buf_printf(&body, ",\"price\":{\"minor\":%lld,\"currency\":\"%s\"}}", (long long)product->price_minor,
               shop->currency);
    struct feed_call call = {"PUT", path.ptr, shop->operator_token, key.ptr, body.ptr};
    return feed_http_call(http, &call, err) && (ok_status(http) || unexpected(http, path.ptr, err));
}

bool feed_stock_product(struct feed_http *http, const struct feed_shop *shop, const struct feed_product *product,
                        int64_t percent, struct err *err) {
    if (!product->price_minor)
        return true; /* no line of it that the API would accept */
    if (!put_product(http, shop, product, err))
        return false;
    BUF_AUTO path = {0};
    BUF_AUTO key = {0};
    BUF_AUTO body = {0};
    int64_t quantity = feed_stock(product->demand, percent);
    if (!quantity)
        return true;
    buf_printf(&path, "/v1/inventory/%.*s/receipts", STR_ARG(product->sku));
    buf_printf(&key, "stock-%lld-%.*s", (long long)percent, STR_ARG(product->sku));
    buf_printf(&body, "{\"quantity\":%lld,\"location\":\"main\"}", (long long)quantity);
    struct feed_call call = {"POST", path.ptr, shop->operator_token, key.ptr, body.ptr};
    return feed_http_call(http, &call, err) && (ok_status(http) || unexpected(http, path.ptr, err));
}

/* ---- a visit ---- */

/* A call as the shopper, with a key that is the basket's: made again, it is the same command. */
static bool shopper_call(struct visit *visit, const char *method, const char *path, const char *step, const char *body,
                         struct err *err) {
    BUF_AUTO key = {0};
    buf_printf(&key, "basket-%.*s-%s", STR_ARG(visit->basket->id), step);
    struct feed_call call = {method, path, visit->token, step[0] ? key.ptr : NULL, body};
    return feed_http_call(visit->http, &call, err);
}

static bool keep_text(struct visit *visit, const char *field, char *to, size_t size, const char *what,
                      struct err *err) {
    const char *text = json_string_value(json_object_get(visit->http->json, field));
    if (!ok_status(visit->http) || !text || strlen(text) >= size)
        return unexpected(visit->http, what, err);
    memcpy(to, text, strlen(text) + 1);
    return true;
}

static bool take_session(struct visit *visit, struct err *err) {
    visit->token = feed_state_token(visit->shop->state, visit->basket->household);
    if (visit->token)
        return true;
    struct feed_call call = {"POST", "/v1/sessions", NULL, NULL, NULL};
    if (!feed_http_call(visit->http, &call, err))
        return false;
    const char *token = json_string_value(json_object_get(visit->http->json, "token"));
    if (!ok_status(visit->http) || !token)
        return unexpected(visit->http, "POST /v1/sessions", err);
    if (!feed_state_set_token(visit->shop->state, visit->basket->household, token, err))
        return false;
    visit->token = feed_state_token(visit->shop->state, visit->basket->household);
    return true;
}

static bool add_lines(struct visit *visit, struct err *err) {
    BUF_AUTO path = {0};
    buf_printf(&path, "/v1/carts/%s/lines", visit->cart_id);
    for (size_t i = 0; i < visit->basket->line_count; i++) {
        const struct feed_line *line = &visit->basket->lines[i];
        BUF_AUTO body = {0};
        char step[32];
        snprintf(step, sizeof(step), "line-%zu", i);
        buf_printf(&body, "{\"sku\":\"%.*s\",\"quantity\":%lld}", STR_ARG(line->sku), (long long)line->quantity);
        if (!shopper_call(visit, "POST", path.ptr, step, body.ptr, err))
            return false;
        if (ok_status(visit->http)) {
            visit->accepted_lines++;
            visit->accepted_quantity += line->quantity;
        } else if (feed_http_problem(visit->http)[0] && visit->http->status != 404) {
            feed_count(&visit->fate.refused, str_from(feed_http_problem(visit->http)), 1);
        } else {
            return unexpected(visit->http, path.ptr, err);
        }
    }
    return true;
}

/* Whether the cart is shown as it is: all that was put into it, and, of products that this feed put up for sale, with
 * their prices. A line whose product the read model has not seen yet costs nothing. */
static bool cart_is_shown(const struct visit *visit, json_t *cart) {
    size_t i;
    json_t *line;
    int64_t quantity = 0;
    bool priced = true;
    json_array_foreach(json_object_get(cart, "lines"), i, line) {
        quantity += json_integer_value(json_object_get(line, "quantity"));
        priced &= json_integer_value(json_object_get(json_object_get(line, "unit_price"), "minor")) > 0;
    }
    return quantity == visit->accepted_quantity && (priced || !visit->shop->stocked);
}

/* Waits a little longer each time. False: stopped, or it takes too long. */
static bool pause(struct visit *visit, int64_t *pause_ms, int64_t give_up_us, const char *what, struct err *err) {
    if (atomic_load(visit->http->stop))
        return err_set(err, ERR_TIMEOUT, "stopped");
    if (clock_monotonic_us() > give_up_us)
        return err_set(err, ERR_TIMEOUT, "basket %.*s: %s took more than %d s; the last answer was %ld %.*s",
                       STR_ARG(visit->basket->id), what, SETTLE_S, visit->http->status, (int)visit->http->answer.len,
                       visit->http->answer.ptr ? visit->http->answer.ptr : "");
    clock_sleep_ms(*pause_ms);
    *pause_ms = *pause_ms * 2 < POLL_LAST_MS ? *pause_ms * 2 : POLL_LAST_MS;
    return true;
}

/* Until the cart shows all that was put into it: its total is what the shopper agrees to. */
static bool read_total(struct visit *visit, int64_t *ret_minor, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + SETTLE_S * INT64_C(1000000), pause_ms = POLL_FIRST_MS;
    BUF_AUTO path = {0};
    buf_printf(&path, "/v1/carts/%s", visit->cart_id);
    for (;;) {
        if (!shopper_call(visit, "GET", path.ptr, "", NULL, err))
            return false;
        if (visit->http->status == 200 && cart_is_shown(visit, visit->http->json))
            break;
        if (visit->http->status != 200 && visit->http->status != 404)
            return unexpected(visit->http, path.ptr, err);
        if (!pause(visit, &pause_ms, give_up_us, "showing the cart", err))
            return false;
    }
    json_t *total = json_object_get(json_object_get(visit->http->json, "totals"), "total");
    *ret_minor = json_integer_value(json_object_get(total, "minor"));
    return true;
}

static bool check_out(struct visit *visit, int64_t total_minor, struct err *err) {
    BUF_AUTO body = {0};
    buf_printf(&body,
               "{\"cart_id\":\"%s\",\"expected_total\":{\"minor\":%lld,\"currency\":\"%s\"},"
               "\"payment_method\":\"pm_card_visa\",\"email\":\"household-%.*s@example.org\","
               "\"shipping_address\":{\"name\":\"Household %.*s\",\"line1\":\"1 Main Street\",\"city\":\"Cincinnati\","
               "\"region\":\"OH\",\"postal_code\":\"45202\",\"country\":\"US\"}}",
               visit->cart_id, (long long)total_minor, visit->shop->currency, STR_ARG(visit->basket->household),
               STR_ARG(visit->basket->household));
    return shopper_call(visit, "POST", "/v1/checkouts", "checkout", body.ptr, err) &&
           keep_text(visit, "order_id", visit->order_id, sizeof(visit->order_id), "POST /v1/checkouts", err);
}

/* ---- waiting for its fate ---- */

static bool warehouse_call(struct visit *visit, const char *step, const char *body, struct err *err) {
    BUF_AUTO path = {0};
    BUF_AUTO key = {0};
    buf_printf(&path, "/v1/fulfilments/%s/%s", visit->order_id, step);
    buf_printf(&key, "basket-%.*s-%s", STR_ARG(visit->basket->id), step);
    struct feed_call call = {"POST", path.ptr, visit->shop->operator_token, key.ptr, body};
    return feed_http_call(visit->http, &call, err) &&
           (ok_status(visit->http) || unexpected(visit->http, path.ptr, err));
}

static bool fulfil(struct visit *visit, struct err *err) {
    BUF_AUTO dispatch = {0};
    buf_printf(&dispatch, "{\"carrier\":\"Demo Parcel\",\"tracking\":\"DP%.*s\"}", STR_ARG(visit->basket->id));
    return warehouse_call(visit, "pick", NULL, err) && warehouse_call(visit, "dispatch", dispatch.ptr, err) &&
           warehouse_call(visit, "deliver", NULL, err);
}

/* The status may lag behind the payments, and these behind it. */
static bool all_declined(json_t *order) {
    size_t i;
    json_t *payment;
    json_array_foreach(json_object_get(order, "payments"), i, payment) {
        const char *status = json_string_value(json_object_get(payment, "status"));
        if (!status || strcmp(status, "declined") != 0)
            return false;
    }
    return true;
}

/* As a shopper does whose card was declined: another card, as often as the shop lets them. The key names the attempt,
 * so that a feed that was killed, or that looks at views which lag behind, asks for each of them once. */
static bool pay_again(struct visit *visit, size_t attempts, struct err *err) {
    BUF_AUTO path = {0};
    BUF_AUTO step = {0};
    buf_printf(&path, "/v1/orders/%s/payments", visit->order_id);
    buf_printf(&step, "payment-%zu", attempts + 1);
    return shopper_call(visit, "POST", path.ptr, step.ptr, "{\"payment_method\":\"pm_card_mastercard\"}", err) &&
           (ok_status(visit->http) || unexpected(visit->http, path.ptr, err));
}

/* The outcome that an order's status stands for; NULL: it is still on its way. */
static const char *outcome_of(const char *status, const char *reason, bool fulfil_too, char *text, size_t size) {
    static const char *const ends[] = {"completed", "cancelled", "expired"};
    if (!strcmp(status, "rejected")) {
        if (!strcmp(reason, "empty-cart"))
            return "empty";
        snprintf(text, size, "rejected:%s", reason);
        return text;
    }
    if (!fulfil_too && !strcmp(status, "confirmed"))
        return "confirmed";
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (!strcmp(status, ends[i]))
            return ends[i];
    return NULL;
}

/* From "confirmed" until it is delivered. A feed that was killed may find any of them; what it has sent before, under
 * the same keys, is done once. */
static bool is_for_warehouse(const char *status) {
    return !strcmp(status, "confirmed") || !strcmp(status, "processing") || !strcmp(status, "shipped");
}

static bool await_fate(struct visit *visit, char *text, size_t size, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + SETTLE_S * INT64_C(1000000), pause_ms = POLL_FIRST_MS;
    bool sent = false;
    BUF_AUTO path = {0};
    buf_printf(&path, "/v1/orders/%s", visit->order_id);
    for (;;) {
        if (!shopper_call(visit, "GET", path.ptr, "", NULL, err))
            return false;
        const char *status = json_string_value(json_object_get(visit->http->json, "status"));
        const char *reason = json_string_value(json_object_get(visit->http->json, "reason"));
        if (visit->http->status != 404 && (visit->http->status != 200 || !status))
            return unexpected(visit->http, path.ptr, err);
        visit->fate.outcome = visit->http->status == 200
                                  ? outcome_of(status, reason ? reason : "", visit->shop->fulfil, text, size)
                                  : NULL;
        if (visit->fate.outcome)
            return true;
        size_t attempts = json_array_size(json_object_get(visit->http->json, "payments"));
        if (visit->http->status == 200 && !strcmp(status, "payment_failed") && all_declined(visit->http->json)) {
            if (attempts >= PAYMENT_ATTEMPTS) {
                visit->fate.outcome = "payment_failed";
                return true;
            }
            if (!pay_again(visit, attempts, err))
                return false;
        } else if (!sent && visit->shop->fulfil && visit->http->status == 200 && is_for_warehouse(status)) {
            if (!fulfil(visit, err))
                return false;
            sent = true;
            pause_ms = POLL_FIRST_MS;
        }
        if (!pause(visit, &pause_ms, give_up_us, "settling the order", err))
            return false;
    }
}

static bool visit_run(struct visit *visit, char *text, size_t size, struct err *err) {
    int64_t total_minor = 0;
    if (!take_session(visit, err) || !shopper_call(visit, "POST", "/v1/carts", "cart", NULL, err) ||
        !keep_text(visit, "cart_id", visit->cart_id, sizeof(visit->cart_id), "POST /v1/carts", err) ||
        !add_lines(visit, err) || !read_total(visit, &total_minor, err) || !check_out(visit, total_minor, err) ||
        !await_fate(visit, text, size, err))
        return false;
    if (!strcmp(visit->fate.outcome, "completed") || !strcmp(visit->fate.outcome, "confirmed")) {
        json_t *total = json_object_get(json_object_get(visit->http->json, "totals"), "total");
        visit->fate.revenue_minor = json_integer_value(json_object_get(total, "minor"));
    }
    visit->fate.order_id = visit->order_id;
    return true;
}

bool feed_basket_run(struct feed_http *http, const struct feed_shop *shop, const struct feed_basket *basket,
                     struct err *err) {
    struct visit visit = {.http = http, .shop = shop, .basket = basket};
    char text[96];
    bool ok = visit_run(&visit, text, sizeof(text), err) && feed_state_add(shop->state, basket->id, &visit.fate, err);
    map_free(&visit.fate.refused, NULL);
    return ok;
}
