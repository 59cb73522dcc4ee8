#include "api/routes.h"
#include "api/writes.h"

void fulfilments_pick(struct request *request) {
    if (!write_owns(request))
        return;
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_PICK,
                              .fulfilment_record_pick = {.order_id = request->params[0],
                                                         .actor = request_actor(request),
                                                         .body_hash = write_body_hash(request)}};
    write_order_command(request, &message);
}

void fulfilments_dispatch(struct request *request) {
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_DISPATCH};
    struct fulfilment_record_dispatch *dispatch = &message.fulfilment_record_dispatch;
    if (!write_owns(request))
        return;
    struct fields fields = write_fields(request);
    field_text(&fields, "carrier", (struct text_rule){.kind = TEXT_LINE, .min = 1, .max = 64}, &dispatch->carrier);
    field_text(&fields, "tracking", (struct text_rule){.kind = TEXT_LINE, .min = 1, .max = 128}, &dispatch->tracking);
    if (!write_fields_end(request, &fields))
        return;
    dispatch->order_id = request->params[0];
    dispatch->actor = request_actor(request);
    dispatch->body_hash = write_body_hash(request);
    write_order_command(request, &message);
}

void fulfilments_deliver(struct request *request) {
    if (!write_owns(request))
        return;
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_DELIVERY,
                              .fulfilment_record_delivery = {.order_id = request->params[0],
                                                             .actor = request_actor(request),
                                                             .body_hash = write_body_hash(request)}};
    write_order_command(request, &message);
}
