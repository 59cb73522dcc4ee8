#include "api/writes.h"

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

struct str write_body_hash(const struct request *request) {
    return str_from(request->body_hash);
}
