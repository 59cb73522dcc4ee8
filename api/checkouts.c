#include "api/reads.h"
#include "api/routes.h"
#include "api/waits.h"
#include "api/writes.h"
#include "core/codec/avro.h"

/* A checkout is two records. The personal details go first and must be acknowledged, because the CheckoutRequested
 * that refers to them may be acted on at once. A retry writes the same details under the same key: nothing is lost
 * when only the first of the two was kept. */

struct checkout {
    struct cart_checkout_requested requested;
    struct personal_details details;
};

/* ---- reading the body ---- */

static void read_address(struct fields *fields, struct personal_address *ret) {
    const struct text_rule line = {.kind = TEXT_ADDRESS, .min = 1, .max = 200};
    const struct text_rule name = {.kind = TEXT_ADDRESS, .min = 1, .max = 100};
    const struct text_rule optional = {.kind = TEXT_ADDRESS, .max = 100, .optional = true};
    struct fields address;
    if (!field_object(fields, "shipping_address", "/shipping_address", &address))
        return;
    field_text(&address, "name", name, &ret->name);
    field_text(&address, "line1", line, &ret->line1);
    field_text(&address, "line2", (struct text_rule){.kind = TEXT_ADDRESS, .max = 200, .optional = true}, &ret->line2);
    field_text(&address, "city", name, &ret->city);
    field_text(&address, "region", optional, &ret->region);
    field_text(&address, "postal_code", (struct text_rule){.kind = TEXT_ADDRESS, .max = 20, .optional = true},
               &ret->postal_code);
    field_text(&address, "country", (struct text_rule){.kind = TEXT_COUNTRY, .min = 2, .max = 2}, &ret->country);
    fields_end(&address);
    /* Not every country has them; the records have no null there. */
    if (!ret->region.ptr)
        ret->region = STR("");
    if (!ret->postal_code.ptr)
        ret->postal_code = STR("");
}

static bool read_body(struct request *request, struct checkout *ret) {
    struct cart_checkout_requested *requested = &ret->requested;
    struct fields fields = write_fields(request);
    field_text(&fields, "cart_id", (struct text_rule){.kind = TEXT_UUID, .min = 36, .max = 36}, &requested->cart_id);
    field_money(&fields, "expected_total", request->api->config.shop.currency, 0, &requested->expected_total);
    field_text(&fields, "payment_method", (struct text_rule){.kind = TEXT_TOKEN, .min = 1, .max = 255},
               &requested->payment_method);
    field_text(&fields, "email", (struct text_rule){.kind = TEXT_EMAIL, .min = 3, .max = 254}, &ret->details.email);
    read_address(&fields, &ret->details.address);
    return write_fields_end(request, &fields);
}

/* ---- the reference to the personal details ---- */

static void add_netstring(struct buf *text, struct str part) {
    buf_printf(text, "%zu:", part.len);
    buf_add_str(text, part);
    buf_add_char(text, ',');
}

/* Tells nothing of the details, and is the same for the same ones: a retry replaces its own record. */
static struct str personal_ref(struct request *request, const struct personal_details *details) {
    const struct personal_address *address = &details->address;
    const struct str parts[] = {details->shopper_id, details->email,       address->name,
                                address->line1,      address->line2,       address->city,
                                address->region,     address->postal_code, address->country};
    BUF_AUTO text = {0};
    BUF_AUTO hex = {0};
    uint8_t mac[SHA256_SIZE];
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        add_netstring(&text, parts[i]);
    hmac_sha256(request->api->config.personal_secrets.current, buf_str(&text), mac);
    buf_add_hex(&hex, mac, 16);
    return arena_dup(&request->arena, buf_str(&hex));
}

/* ---- the two records ---- */

static void location(struct request *request) {
    answer_header(request, MHD_HTTP_HEADER_LOCATION,
                  arena_printf(&request->arena, "/v1/orders/%s", request->resource.text));
}

static void accepted(struct request *request) {
    struct buf *reply = answer_json(request, 202);
    buf_printf(reply, "{\"order_id\":\"%s\",\"status\":\"pending\"}", request->resource.text);
    location(request);
}

static void requested(struct request *request);

/* Whether the key came before with another body is for the cart to say; that one's order is what was found. */
static void order_shown(struct request *request) {
    const struct checkout *checkout = request->context;
    struct view_order_row *row;
    struct state_cart *cart;
    struct view_product_row **rows;
    if (!reads_order(request, id_str(&request->resource), &row) ||
        !reads_cart(request, checkout->requested.cart_id, &cart, &rows)) {
        accepted(request);
        return;
    }
    struct outcome outcome = outcome_of_own(request, &view_carts, cart);
    if (cart && !outcome.shown && waits_write(request, &view_carts, checkout->requested.cart_id, order_shown))
        return;
    outcome.shown = outcome_of_own(request, &view_orders, row).shown;
    outcome.refusal = STR_NULL; /* a refused checkout is an order, too: rejected, and why */
    if (!waits_done(request, &outcome, requested))
        return;
    avro_to_json(&schema_view_order, &row->order, answer_json(request, 201));
    location(request);
}

static void requested(struct request *request) {
    if (!waits_write(request, &view_orders, id_str(&request->resource), order_shown))
        accepted(request);
}

static void details_kept(struct request *request) {
    const struct checkout *checkout = request->context;
    struct message message = {.type = MESSAGE_CART_CHECKOUT_REQUESTED, .cart_checkout_requested = checkout->requested};
    write_command(request, &message, requested);
}

static void fill(struct request *request, struct checkout *checkout) {
    const struct personal_address *address = &checkout->details.address;
    checkout->details.shopper_id = request->principal.id;
    checkout->details.ref = personal_ref(request, &checkout->details);
    checkout->requested.shopper_id = request->principal.id;
    checkout->requested.order_id = id_str(&request->resource);
    checkout->requested.personal_ref = checkout->details.ref;
    checkout->requested.ship_to = (struct ship_to){.country = address->country, .region = address->region};
    checkout->requested.body_hash = write_body_hash(request);
}

void checkouts_create(struct request *request) {
    const struct secret_pair *secrets = &request->api->config.id_secrets;
    struct checkout *checkout = arena_new(&request->arena, struct checkout);
    if (!read_body(request, checkout))
        return;
    struct str cart_id = checkout->requested.cart_id;
    if (!id_owned_by(cart_id, request->principal.id, secrets)) {
        struct err err = {0};
        err_field(&err, ERR_NOT_FOUND, "/cart_id", "is no cart of yours");
        answer_err(request, &err);
        return;
    }
    const struct str parts[] = {STR("order"), cart_id, request->idempotency_key};
    request->resource = id_owned_derive(request->principal.id, parts, 3, secrets);
    request->resource_name = "order_id";
    request->context = checkout;
    fill(request, checkout);
    /* The same key for another cart is another command, as it is another order. */
    request_name_command(request, cart_id);
    const struct str ahead[] = {id_str(&request->command_id), STR("personal")};
    struct id id = id_derive(ahead, 2);
    struct message message = {.type = MESSAGE_PERSONAL_DETAILS, .personal_details = checkout->details};
    flight_start_ahead(request, id_str(&id), &message, details_kept);
}
