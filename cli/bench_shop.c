#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/ids.h"

enum { PREPARE_AT_ONCE = 64, AGAIN_PAUSE_MS = 50 };

/* ---- what is ordered ---- */

static int64_t price_minor(size_t product) {
    return 100 + (int64_t)(product * 37 % 4900);
}

/* The product of an order's line. With --hot, the last line is of the one that all orders have. */
static size_t product_of(const struct bench_shop *shop, const struct bench_order *order, int64_t line) {
    if (shop->options->hot && line == shop->options->lines - 1)
        return shop->product_count - 1;
    return ((size_t)order->first_sku + (size_t)line) % (size_t)shop->options->skus;
}

/* The same orders in every run: SplitMix64 from a constant. */
static uint64_t mixed(uint64_t i) {
    uint64_t z = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void add_sku(struct buf *out, const struct bench_shop *shop, size_t product) {
    if (product == (size_t)shop->options->skus)
        buf_add_str(out, STR("bench-hot"));
    else
        buf_printf(out, "bench-%05zu", product);
}

void bench_shop_init(struct bench_shop *shop, const struct bench_options *options, struct bench_net *net) {
    uint8_t random[8];
    *shop = (struct bench_shop){.options = options, .net = net};
    arena_init(&shop->arena);
    random_bytes(random, sizeof random);
    BUF_AUTO hex = {0};
    buf_add_hex(&hex, random, sizeof random);
    memcpy(shop->run, hex.ptr, sizeof shop->run);
    shop->product_count = (size_t)options->skus + options->hot;
    shop->order_count = (size_t)(options->warmup + options->orders);
    shop->orders = mem_zalloc(shop->order_count * sizeof *shop->orders);
    shop->demand = mem_zalloc(shop->product_count * sizeof *shop->demand);
    for (size_t i = 0; i < shop->order_count; i++) {
        struct bench_order *order = &shop->orders[i];
        order->first_sku = (int32_t)(mixed(i) % (uint64_t)options->skus);
        for (int64_t line = 0; line < options->lines; line++) {
            size_t product = product_of(shop, order, line);
            order->total_minor += price_minor(product);
            shop->demand[product]++;
        }
    }
}

void bench_shop_free(struct bench_shop *shop) {
    arena_free(&shop->arena);
    free(shop->orders);
    free(shop->demand);
    map_free(&shop->problems, NULL);
    map_free(&shop->outcomes, NULL);
}

/* ---- requests ---- */

static void add_head(struct buf *out, const struct bench_shop *shop, const char *method, const char *path,
                     const char *token) {
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, bench_net_host(shop->net));
    if (token)
        buf_printf(out, "Authorization: Bearer %s\r\n", token);
}

static void add_body(struct buf *out, const char *body, size_t len) {
    buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", len);
    buf_add(out, body, len);
}

static bool unexpected(const char *what, const struct bench_answer *answer, struct err *err) {
    return err_set(err, ERR_IO, "%s was answered %d %.*s", what, answer->status,
                   (int)(answer->body.len < 300 ? answer->body.len : 300), answer->body.ptr);
}

static bool may_try_again(int status) {
    return status == 429 || status == 503;
}

/* The text of a field, by its name with quotes and colon: the API writes no spaces. */
static struct str text_field(struct str json, const char *name) {
    size_t len = strlen(name);
    const char *at = json.len ? memmem(json.ptr, json.len, name, len) : NULL;
    if (!at || (size_t)(json.ptr + json.len - at) <= len || at[len] != '"')
        return STR_NULL;
    struct str rest, text = {at + len + 1, (size_t)(json.ptr + json.len - at) - len - 1};
    text = str_cut(text, '"', &rest);
    return rest.ptr ? text : STR_NULL;
}

static bool keep_id(struct str id, char ret[37]) {
    if (id.len != 36)
        return false;
    memcpy(ret, id.ptr, 36);
    return true;
}

static void count(struct map *counts, struct str what) {
    void **slot = map_put(counts, what);
    *slot = (void *)((intptr_t)*slot + 1);
}

/* ---- stocking: two requests a product ---- */

static void add_product_request(struct bench_shop *shop, size_t product, bool receipt, struct buf *out) {
    BUF_AUTO path = {0};
    BUF_AUTO body = {0};
    buf_printf(&path, receipt ? "/v1/inventory/" : "/v1/products/");
    add_sku(&path, shop, product);
    if (receipt) {
        buf_printf(&path, "/receipts");
        buf_printf(&body, "{\"quantity\":%lld,\"location\":\"%.*s\"}",
                   (long long)(shop->demand[product] ? shop->demand[product] : 1), STR_ARG(shop->location));
    } else {
        buf_printf(&body, "{\"name\":\"Bench product %zu\",\"price\":{\"minor\":%lld,\"currency\":\"%s\"}}", product,
                   (long long)price_minor(product), shop->currency);
    }
    add_head(out, shop, receipt ? "POST" : "PUT", path.ptr, shop->operator_token);
    buf_printf(out, "Idempotency-Key: bench-%s-%zu-%d\r\n", shop->run, product, receipt);
    add_body(out, body.ptr, body.len);
}

/* Job 2 i puts product i up for sale, job 2 i + 1 receives it. */
static void stock_begin(void *user, size_t job, int64_t start_us, struct buf *out) {
    (void)start_us;
    add_product_request(user, job / 2, job % 2, out);
}

static enum bench_next stock_answered(void *user, size_t job, const struct bench_answer *answer, struct buf *out,
                                      struct err *err) {
    struct bench_shop *shop = user;
    if (answer->status / 100 == 2)
        return BENCH_DONE;
    if (!may_try_again(answer->status)) {
        unexpected("stocking a product", answer, err);
        return BENCH_FAIL;
    }
    add_product_request(shop, job / 2, job % 2, out);
    return BENCH_PAUSE;
}

bool bench_shop_stock(struct bench_shop *shop, struct err *err) {
    size_t done;
    struct bench_work work = {.what = "products and receipts",
                              .count = 2 * shop->product_count,
                              .concurrency = PREPARE_AT_ONCE,
                              .pause_ms = AGAIN_PAUSE_MS,
                              .user = shop,
                              .begin = stock_begin,
                              .answered = stock_answered};
    return bench_net_run(shop->net, &work, &done, err);
}

/* ---- carts: a session, a cart, and its lines, one after the other ---- */

enum { CART_SESSION, CART_CART, CART_LINES };

static void add_cart_request(struct bench_shop *shop, size_t job, struct buf *out) {
    struct bench_order *order = &shop->orders[job];
    if (order->step == CART_SESSION) {
        add_head(out, shop, "POST", "/v1/sessions", NULL);
        buf_add_str(out, STR("Content-Length: 0\r\n\r\n"));
        return;
    }
    BUF_AUTO path = {0};
    BUF_AUTO body = {0};
    buf_printf(&path, "/v1/carts");
    if (order->step >= CART_LINES) {
        buf_printf(&path, "/%s/lines", order->cart_id);
        buf_printf(&body, "{\"sku\":\"");
        add_sku(&body, shop, product_of(shop, order, order->step - CART_LINES));
        buf_printf(&body, "\",\"quantity\":1}");
    }
    add_head(out, shop, "POST", path.ptr, order->token);
    buf_printf(out, "Idempotency-Key: bench-%s-%zu-%d\r\n", shop->run, job, order->step);
    if (body.len)
        add_body(out, body.ptr, body.len);
    else
        buf_add_str(out, STR("Content-Length: 0\r\n\r\n"));
}

static void cart_begin(void *user, size_t job, int64_t start_us, struct buf *out) {
    (void)start_us;
    add_cart_request(user, job, out);
}

static bool take_cart_answer(struct bench_shop *shop, struct bench_order *order, const struct bench_answer *answer,
                             struct err *err) {
    bool ok = answer->status / 100 == 2;
    if (ok && order->step == CART_SESSION) {
        struct str token = text_field(answer->body, "\"token\":");
        ok = token.len > 0;
        order->token = arena_dup(&shop->arena, token).ptr;
    } else if (ok && order->step == CART_CART) {
        ok = keep_id(text_field(answer->body, "\"cart_id\":"), order->cart_id);
    }
    return ok || unexpected("filling a cart", answer, err);
}

static enum bench_next cart_answered(void *user, size_t job, const struct bench_answer *answer, struct buf *out,
                                     struct err *err) {
    struct bench_shop *shop = user;
    struct bench_order *order = &shop->orders[job];
    bool again = may_try_again(answer->status);
    if (!again) {
        if (!take_cart_answer(shop, order, answer, err))
            return BENCH_FAIL;
        if (++order->step == CART_LINES + (int32_t)shop->options->lines)
            return BENCH_DONE;
    }
    add_cart_request(shop, job, out);
    return again ? BENCH_PAUSE : BENCH_SEND;
}

bool bench_shop_fill_carts(struct bench_shop *shop, struct err *err) {
    size_t done;
    struct bench_work work = {.what = "carts",
                              .count = shop->order_count,
                              .concurrency = PREPARE_AT_ONCE,
                              .pause_ms = AGAIN_PAUSE_MS,
                              .user = shop,
                              .begin = cart_begin,
                              .answered = cart_answered};
    return bench_net_run(shop->net, &work, &done, err);
}

/* ---- what is measured: the checkout, then the order until it is confirmed ---- */

static void sell_begin(void *user, size_t job, int64_t start_us, struct buf *out) {
    struct bench_shop *shop = user;
    size_t number = shop->first + job;
    struct bench_order *order = &shop->orders[number];
    char body[512];
    int len = snprintf(body, sizeof body,
                       "{\"cart_id\":\"%s\",\"expected_total\":{\"minor\":%lld,\"currency\":\"%s\"},"
                       "\"payment_method\":\"pm_card_visa\",\"email\":\"bench-%zu@example.org\","
                       "\"shipping_address\":{\"name\":\"Bench %zu\",\"line1\":\"1 Main Street\","
                       "\"city\":\"Cincinnati\",\"region\":\"OH\",\"postal_code\":\"45202\",\"country\":\"US\"}}",
                       order->cart_id, (long long)order->total_minor, shop->currency, number, number);
    order->start_us = start_us;
    add_head(out, shop, "POST", "/v1/checkouts", order->token);
    buf_printf(out, "Idempotency-Key: bench-%s-%zu-checkout\r\n", shop->run, number);
    add_body(out, body, (size_t)len);
    shop->requests++;
}

/* The server ends the answer when the order is confirmed, or cannot be any more. */
static void add_stream(struct bench_shop *shop, const struct bench_order *order, struct buf *out) {
    char path[96];
    snprintf(path, sizeof path, "/v1/orders/%s/stream?until=confirmed", order->order_id);
    add_head(out, shop, "GET", path, order->token);
    buf_add_str(out, STR("\r\n"));
    shop->requests++;
}

/* The order as the last event has it. */
static struct str last_event(struct str events) {
    static const struct str mark = {"\ndata: ", 7};
    struct str last = STR_NULL;
    for (const char *at; (at = memmem(events.ptr, events.len, mark.ptr, mark.len));) {
        last = (struct str){at + mark.len, (size_t)(events.ptr + events.len - at) - mark.len};
        events = last;
    }
    return last;
}

/* "503 overloaded" */
static void count_problem(struct bench_shop *shop, const struct bench_answer *answer) {
    struct str type = text_field(answer->body, "\"type\":"), slug = type;
    for (size_t i = 0; i < type.len; i++)
        if (type.ptr[i] == '/')
            slug = (struct str){type.ptr + i + 1, type.len - i - 1};
    char what[96];
    snprintf(what, sizeof what, "%d %.*s", answer->status, (int)(slug.len < 64 ? slug.len : 64),
             slug.ptr ? slug.ptr : "");
    count(&shop->problems, str_from(what));
}

static enum bench_next end_unconfirmed(struct bench_shop *shop, struct str outcome) {
    count(&shop->outcomes, outcome);
    return BENCH_DONE;
}

static bool is_one_of(struct str status, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(status, str_from(names[i])))
            return true;
    return false;
}

static enum bench_next take_status(struct bench_shop *shop, struct bench_order *order, struct str status,
                                   struct buf *out) {
    static const char *const confirmed[] = {"confirmed", "processing", "shipped", "delivered", "completed"};
    static const char *const on_its_way[] = {"pending", "awaiting_payment"};
    if (is_one_of(status, confirmed, sizeof confirmed / sizeof confirmed[0])) {
        order->latency_us = (uint32_t)(clock_monotonic_us() - order->start_us);
        order->confirmed = true;
        return BENCH_DONE;
    }
    if (!is_one_of(status, on_its_way, sizeof on_its_way / sizeof on_its_way[0]))
        return end_unconfirmed(shop, status);
    add_stream(shop, order, out);
    return BENCH_PAUSE;
}

static enum bench_next sell_answered(void *user, size_t job, const struct bench_answer *answer, struct buf *out,
                                     struct err *err) {
    struct bench_shop *shop = user;
    struct bench_order *order = &shop->orders[shop->first + job];
    if (!order->order_id[0]) {
        if (answer->status / 100 != 2) {
            count_problem(shop, answer);
            return end_unconfirmed(shop, STR("refused"));
        }
        if (!keep_id(text_field(answer->body, "\"order_id\":"), order->order_id)) {
            unexpected("a checkout", answer, err);
            return BENCH_FAIL;
        }
        add_stream(shop, order, out);
        return BENCH_SEND;
    }
    if (clock_monotonic_us() - order->start_us > BENCH_STALL_S * INT64_C(1000000))
        return end_unconfirmed(shop, STR("not settled in time"));
    if (answer->status == 200)
        return take_status(shop, order, text_field(last_event(answer->body), "\"status\":"), out);
    count_problem(shop, answer);
    if (answer->status != 404 && !may_try_again(answer->status))
        return end_unconfirmed(shop, STR("cannot be read"));
    add_stream(shop, order, out);
    return BENCH_PAUSE;
}

bool bench_shop_sell(struct bench_shop *shop, size_t first, size_t orders, double rate, struct err *err) {
    size_t done;
    int64_t at_once = shop->options->concurrency;
    if (rate <= 0 && shop->options->rate > 0 && at_once > PREPARE_AT_ONCE)
        at_once = PREPARE_AT_ONCE; /* the warm-up of an open loop */
    struct bench_work work = {.what = "orders",
                              .count = orders,
                              .concurrency = (size_t)at_once,
                              .rate = rate,
                              .poisson = shop->options->poisson,
                              .pause_ms = AGAIN_PAUSE_MS,
                              .user = shop,
                              .begin = sell_begin,
                              .answered = sell_answered};
    shop->first = first;
    shop->requests = 0;
    return bench_net_run(shop->net, &work, &done, err);
}
