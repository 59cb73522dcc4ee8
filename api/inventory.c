#include "api/reads.h"
#include "api/routes.h"
#include "api/waits.h"
#include "api/writes.h"
#include "core/codec/avro.h"

enum { QUANTITY_MAX = 1000 * 1000 * 1000 }; /* a slip of the keyboard, not a delivery */

static void inventory_show(struct request *request) {
    struct view_product_row *row;
    if (!reads_product(request, request->params[0], &row) ||
        !waits_read(request, &view_products, request->params[0], row, inventory_show))
        return;
    if (row)
        avro_to_json(&schema_view_inventory, &row->inventory, answer_json(request, 200));
    else if (request->stale)
        answer_not_found_yet(request);
    else
        answer_not_found(request);
}

void inventory_get(struct request *request) {
    if (write_sku(request, request->params[0]))
        inventory_show(request);
}

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
        avro_to_json(&schema_view_inventory, &row->inventory, answer_json(request, 200));
}

static void written(struct request *request) {
    if (!waits_write(request, &view_products, request->params[0], shown))
        accepted(request);
}

static void field_location(struct request *request, struct fields *fields, struct str *ret) {
    int32_t partition;
    field_text(fields, "location", (struct text_rule){.kind = TEXT_LINE, .min = 1, .max = LOCATION_NAME_MAX}, ret);
    if (ret->ptr && !locations_partition(request->api->config.locations, *ret, &partition))
        err_field(fields->err, ERR_INVALID_BODY, "/location", "is not a location of this shop");
}

void inventory_receive(struct request *request) {
    struct message message = {.type = MESSAGE_INVENTORY_RECEIVE_STOCK};
    struct inventory_receive_stock *receipt = &message.inventory_receive_stock;
    if (!write_sku(request, request->params[0]))
        return;
    struct fields fields = write_fields(request);
    field_integer(&fields, "quantity", 1, QUANTITY_MAX, ERR_QUANTITY_LIMIT, &receipt->quantity);
    field_location(request, &fields, &receipt->location);
    if (!write_fields_end(request, &fields))
        return;
    receipt->sku = request->params[0];
    receipt->actor = request_actor(request);
    receipt->body_hash = write_body_hash(request);
    write_command(request, &message, written);
}

void inventory_adjust(struct request *request) {
    struct message message = {.type = MESSAGE_INVENTORY_ADJUST_STOCK};
    struct inventory_adjust_stock *adjustment = &message.inventory_adjust_stock;
    if (!write_sku(request, request->params[0]))
        return;
    struct fields fields = write_fields(request);
    field_integer(&fields, "quantity", -QUANTITY_MAX, QUANTITY_MAX, ERR_QUANTITY_LIMIT, &adjustment->quantity);
    if (request->err.kind == ERR_NONE && adjustment->quantity == 0)
        err_field(&request->err, ERR_INVALID_BODY, "/quantity", "must not be zero");
    field_location(request, &fields, &adjustment->location);
    field_text(&fields, "reason", (struct text_rule){.kind = TEXT_LINE, .min = 1, .max = 200}, &adjustment->reason);
    if (!write_fields_end(request, &fields))
        return;
    adjustment->sku = request->params[0];
    adjustment->actor = request_actor(request);
    adjustment->body_hash = write_body_hash(request);
    write_command(request, &message, written);
}
