#include "core/domain/cart.h"

#include "api/reads.h"
#include "api/routes.h"
#include "api/waits.h"
#include "api/writes.h"
#include "core/codec/avro.h"
#include "core/domain/pricing.h"

/* ---- reading ---- */

static struct product product_of(const struct view_product_row *row) {
    if (!row || !row->for_sale)
        return (struct product){0};
    const struct view_product *product = &row->product;
    return (struct product){product->sku, product->name, product->price, product->revision};
}

/* Names and prices are joined when the cart is read: what counts is the catalogue at checkout. */
static bool cart_view(struct request *request, const struct state_cart *cart, struct view_product_row **rows,
                      struct view_cart *ret) {
    struct arena *arena = &request->arena;
    struct line_list lines;
    struct product *products = arena_array(arena, struct product, cart->lines.count);
    for (size_t i = 0; i < cart->lines.count; i++)
        products[i] = product_of(rows[i]);
    *ret = (struct view_cart){.cart_id = cart->cart_id,
                              .status = str_from(schema_state_cart_status.symbols[cart->status]),
                              .order_id = cart->live_order_id};
    if (!price_order(arena, request->api->config.shop.currency, cart->lines.items, products, cart->lines.count, &lines,
                     &ret->totals))
        return false;
    ret->lines.items = arena_array(arena, struct view_cart_line, lines.count);
    for (size_t i = 0; i < lines.count; i++) {
        const struct line *line = &lines.items[i];
        ret->lines.items[ret->lines.count++] =
            (struct view_cart_line){line->sku, line->name, line->quantity, line->unit_price, line->line_total};
    }
    return true;
}

static void cart_answer(struct request *request, int status, const struct state_cart *cart,
                        struct view_product_row **rows) {
    struct view_cart view;
    struct err err = {0};
    if (cart_view(request, cart, rows, &view)) {
        avro_to_json(&schema_view_cart, &view, answer_json(request, status));
    } else {
        err_set(&err, ERR_INTERNAL, "the cart's lines cannot be priced");
        answer_err(request, &err);
    }
}

static void cart_show(struct request *request) {
    struct state_cart *cart;
    struct view_product_row **rows;
    if (!reads_cart(request, request->params[0], &cart, &rows) ||
        !waits_read(request, &view_carts, request->params[0], cart, cart_show))
        return;
    if (!cart_exists(cart))
        answer_not_found_yet(request);
    else if (!str_eq(cart->shopper_id, request->principal.id))
        answer_not_found(request);
    else
        cart_answer(request, 200, cart, rows);
}

void carts_get(struct request *request) {
    if (write_owns(request))
        cart_show(request);
}

/* ---- writing ---- */

/* Of a new cart the id is known here only; of others it is in the path. */
static struct str cart_id_of(const struct request *request) {
    return request->resource_name ? id_str(&request->resource) : request->params[0];
}

static void accepted(struct request *request) {
    answer_accepted(request, "cart_id", request->params[0]);
}

static void location(struct request *request) {
    answer_header(request, MHD_HTTP_HEADER_LOCATION,
                  arena_printf(&request->arena, "/v1/carts/%s", request->resource.text));
}

static void created(struct request *request) {
    buf_printf(answer_json(request, 201), "{\"cart_id\":\"%s\"}", request->resource.text);
    location(request);
}

static void written(struct request *request);

/* What came of it; a view that does not answer takes nothing away from a command that was kept. */
static void shown(struct request *request) {
    struct state_cart *cart;
    struct view_product_row **rows;
    bool is_new = request->resource_name != NULL;
    if (!reads_cart(request, cart_id_of(request), &cart, &rows)) {
        (is_new ? created : accepted)(request);
        return;
    }
    const struct outcome outcome = outcome_of_own(request, &view_carts, cart);
    if (!waits_done(request, &outcome, written))
        return;
    cart_answer(request, is_new ? 201 : 200, cart, rows);
    if (is_new)
        location(request);
}

static void written(struct request *request) {
    if (waits_write(request, &view_carts, cart_id_of(request), shown))
        return;
    if (request->resource_name)
        created(request);
    else
        accepted(request);
}

void carts_create(struct request *request) {
    const struct api_config *config = &request->api->config;
    const struct str parts[] = {STR("cart"), request->idempotency_key};
    request->resource = id_owned_derive(request->principal.id, parts, 2, &config->id_secrets);
    request->resource_name = "cart_id";
    struct message message = {.type = MESSAGE_CART_CREATED,
                              .cart_created = {.cart_id = id_str(&request->resource),
                                               .shopper_id = request->principal.id,
                                               .currency = config->shop.currency,
                                               .body_hash = write_body_hash(request)}};
    write_command(request, &message, written);
}

static void field_quantity(struct request *request, struct fields *fields, int32_t *ret) {
    int64_t quantity;
    field_integer(fields, "quantity", 1, request->api->config.shop.quantity_max, ERR_QUANTITY_LIMIT, &quantity);
    *ret = (int32_t)quantity;
}

void carts_add_line(struct request *request) {
    struct message message = {.type = MESSAGE_CART_LINE_ADDED};
    struct cart_line_added *line = &message.cart_line_added;
    if (!write_owns(request))
        return;
    struct fields fields = write_fields(request);
    field_text(&fields, "sku", (struct text_rule){.kind = TEXT_SKU, .min = 1, .max = 64}, &line->sku);
    field_quantity(request, &fields, &line->quantity);
    if (!write_fields_end(request, &fields))
        return;
    line->cart_id = request->params[0];
    line->shopper_id = request->principal.id;
    line->body_hash = write_body_hash(request);
    write_command(request, &message, written);
}

void carts_change_line(struct request *request) {
    struct message message = {.type = MESSAGE_CART_LINE_QUANTITY_CHANGED};
    struct cart_line_quantity_changed *line = &message.cart_line_quantity_changed;
    if (!write_owns(request) || !write_sku(request, request->params[1]))
        return;
    struct fields fields = write_fields(request);
    field_quantity(request, &fields, &line->quantity);
    if (!write_fields_end(request, &fields))
        return;
    line->cart_id = request->params[0];
    line->shopper_id = request->principal.id;
    line->sku = request->params[1];
    line->body_hash = write_body_hash(request);
    write_command(request, &message, written);
}

void carts_remove_line(struct request *request) {
    if (!write_owns(request) || !write_sku(request, request->params[1]))
        return;
    struct message message = {.type = MESSAGE_CART_LINE_REMOVED,
                              .cart_line_removed = {.cart_id = request->params[0],
                                                    .shopper_id = request->principal.id,
                                                    .sku = request->params[1],
                                                    .body_hash = write_body_hash(request)}};
    write_command(request, &message, written);
}
