#include "api/reads.h"
#include "api/routes.h"
#include "api/waits.h"
#include "api/writes.h"
#include "core/codec/avro.h"

/* ---- reading ---- */

static void product_show(struct request *request) {
    struct view_product_row *row;
    if (!reads_product(request, request->params[0], &row) ||
        !waits_read(request, &view_products, request->params[0], row, product_show))
        return;
    if (row && row->for_sale)
        avro_to_json(&schema_view_product, &row->product, answer_json(request, 200));
    else if (request->stale)
        answer_not_found_yet(request);
    else
        answer_not_found(request);
}

void products_get(struct request *request) {
    if (write_sku(request, request->params[0]))
        product_show(request);
}

void products_recommendations(struct request *request) {
    struct err err = {0};
    struct recommendations found;
    int32_t limit;
    if (!request_limit(request, &limit, &err)) {
        answer_err(request, &err);
        return;
    }
    if (!write_sku(request, request->params[0]) ||
        !reads_recommendations(request, request->params[0], (size_t)limit, &found))
        return;
    if (!found.product || !found.product->for_sale) {
        answer_not_found(request);
        return;
    }
    struct buf *reply = answer_json(request, 200);
    buf_add_str(reply, STR("{\"sku\":"));
    buf_add_json_string(reply, request->params[0]);
    buf_add_str(reply, STR(",\"items\":["));
    for (size_t i = 0; i < found.count; i++) {
        buf_printf(reply, "%s{\"orders\":%lld,\"product\":", i ? "," : "", (long long)found.partners[i].orders);
        avro_to_json(&schema_view_product, &found.products[i]->product, reply);
        buf_add_char(reply, '}');
    }
    buf_add_str(reply, STR("]}"));
}

void products_list(struct request *request) {
    struct err err = {0};
    struct product_page page;
    int32_t limit;
    struct str after = request_query(request, "after");
    if (!request_limit(request, &limit, &err)) {
        answer_err(request, &err);
        return;
    }
    if (!reads_product_page(request, after, limit, &page))
        return;
    struct buf *reply = answer_json(request, 200);
    const char *comma = "";
    buf_add_str(reply, STR("{\"items\":["));
    for (size_t i = 0; i < page.count; i++) {
        if (!page.rows[i]->for_sale)
            continue;
        buf_add_str(reply, str_from(comma));
        avro_to_json(&schema_view_product, &page.rows[i]->product, reply);
        comma = ",";
    }
    reads_end_page(reply, page.next);
}

/* ---- writing, by operators ---- */

static void accepted(struct request *request) {
    answer_accepted(request, "sku", request->params[0]);
}

static void written(struct request *request);

/* A view that does not answer takes nothing away from a command that was kept. */
static void shown(struct request *request) {
    struct view_product_row *row;
    if (!reads_product(request, request->params[0], &row)) {
        accepted(request);
        return;
    }
    const struct outcome outcome = outcome_of_own(request, &view_products, row);
    if (waits_done(request, &outcome, written))
        avro_to_json(&schema_view_product, &row->product, answer_json(request, 200));
}

static void written(struct request *request) {
    if (!waits_write(request, &view_products, request->params[0], shown))
        accepted(request);
}

void products_put(struct request *request) {
    struct message message = {.type = MESSAGE_CATALOGUE_PRODUCT_REVISED};
    struct catalogue_product_revised *product = &message.catalogue_product_revised;
    if (!write_sku(request, request->params[0]))
        return;
    struct fields fields = write_fields(request);
    field_text(&fields, "name", (struct text_rule){.kind = TEXT_LINE, .min = 1, .max = 200}, &product->name);
    field_money(&fields, "price", request->api->config.shop.currency, 1, &product->price);
    if (!write_fields_end(request, &fields))
        return;
    product->sku = request->params[0];
    product->actor = request_actor(request);
    product->body_hash = write_body_hash(request);
    write_command(request, &message, written);
}

void products_delete(struct request *request) {
    if (!write_sku(request, request->params[0]))
        return;
    struct message message = {.type = MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN,
                              .catalogue_product_withdrawn = {.sku = request->params[0],
                                                              .actor = request_actor(request),
                                                              .body_hash = write_body_hash(request)}};
    write_command(request, &message, written);
}
