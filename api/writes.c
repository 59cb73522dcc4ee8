#include "api/writes.h"

#include "api/reads.h"
#include "api/waits.h"
#include "core/codec/avro.h"

struct fields write_fields(struct request *request) {
    return (struct fields){.object = request->json, .err = err_none(&request->err)};
}

bool write_fields_end(struct request *request, struct fields *fields) {
    if (fields_end(fields))
        return true;
    answer_err(request, &request->err);
    return false;
}

bool write_owns(struct request *request) {
    struct str id = request->params[0];
    bool mine = request->principal.kind == PRINCIPAL_OPERATOR
                    ? id_valid(id)
                    : id_owned_by(id, request->principal.id, &request->api->config.id_secrets);
    if (!mine)
        answer_not_found(request);
    return mine;
}

bool write_sku(struct request *request, struct str sku) {
    struct err err;
    if (sku_is_valid(sku))
        return true;
    err_set(err_none(&err), ERR_INVALID_BODY,
            "The SKU in the path must be 1 to 64 printable characters without a slash.");
    answer_err(request, &err);
    return false;
}

void write_command(struct request *request, const struct message *message, request_step *then) {
    if (!request->command_id.text[0])
        request_name_command(request, STR_NULL);
    flight_start(request, message, then);
}

/* ---- commands to an order ---- */

static void order_accepted(struct request *request) {
    answer_accepted(request, "order_id", request->params[0]);
}

static void order_written(struct request *request);

/* A view that does not answer takes nothing away from a command that was kept. */
static void order_shown(struct request *request) {
    struct view_order_row *row;
    if (!reads_order(request, request->params[0], &row)) {
        order_accepted(request);
        return;
    }
    const struct outcome outcome = outcome_of_own(request, &view_orders, row);
    if (waits_done(request, &outcome, order_written))
        avro_to_json(&schema_view_order, &row->order, answer_json(request, 200));
}

static void order_written(struct request *request) {
    if (!waits_write(request, &view_orders, request->params[0], order_shown))
        order_accepted(request);
}

void write_order_command(struct request *request, const struct message *message) {
    write_command(request, message, order_written);
}

struct str write_body_hash(const struct request *request) {
    return str_from(request->body_hash);
}
