#include "api/reads.h"
#include "api/routes.h"
#include "api/waits.h"
#include "api/writes.h"
#include "core/codec/avro.h"

/* ---- reading ---- */

/* The id proves its owner already; the row is asked again, as deciders do. */
static bool may_see(const struct request *request, const struct view_order_row *row) {
    return request->principal.kind == PRINCIPAL_OPERATOR || str_eq(row->shopper_id, request->principal.id);
}

static void order_show(struct request *request) {
    struct view_order_row *row;
    if (!reads_order(request, request->params[0], &row) ||
        !waits_read(request, &view_orders, request->params[0], row, order_show))
        return;
    if (!row)
        answer_not_found_yet(request);
    else if (may_see(request, row))
        avro_to_json(&schema_view_order, &row->order, answer_json(request, 200));
    else
        answer_not_found(request);
}

void orders_get(struct request *request) {
    if (write_owns(request))
        order_show(request);
}

/* Whose orders: a shopper sees their own, an operator says whose. */
static bool list_of(struct request *request, struct str *ret, struct err *err) {
    struct str shopper_id = request_query(request, "shopper_id");
    if (request->principal.kind == PRINCIPAL_OPERATOR) {
        *ret = shopper_id;
        return id_valid(shopper_id) ||
               err_set(err, ERR_INVALID_BODY, "Operators say whose orders: the query parameter shopper_id is a UUID.");
    }
    *ret = request->principal.id;
    return !shopper_id.ptr || str_eq(shopper_id, *ret) ||
           err_set(err, ERR_FORBIDDEN, "Only operators see the orders of others.");
}

void orders_list(struct request *request) {
    struct err err = {0};
    struct order_page page;
    int32_t limit;
    struct str shopper_id;
    struct str after = request_query(request, "after");
    bool ok = request_limit(request, &limit, &err) && list_of(request, &shopper_id, &err);
    if (ok && after.ptr && !id_valid(after))
        ok = err_set(&err, ERR_INVALID_BODY, "The query parameter after must be an order_id.");
    if (!ok) {
        answer_err(request, &err);
        return;
    }
    if (!reads_order_page(request, shopper_id, after, limit, &page))
        return;
    struct buf *reply = answer_json(request, 200);
    buf_add_str(reply, STR("{\"items\":["));
    for (size_t i = 0; i < page.count; i++) {
        if (i)
            buf_add_char(reply, ',');
        avro_to_json(&schema_view_order, &page.rows[i]->order, reply);
    }
    reads_end_page(reply, page.next);
}

void orders_events(struct request *request) {
    BUF_AUTO events = {0};
    if (!write_owns(request) || !reads_order_events(request, request->params[0], &events))
        return;
    if (events.len <= 2) {
        answer_not_found_yet(request);
        return;
    }
    struct buf *reply = answer_json(request, 200);
    buf_add_str(reply, STR("{\"items\":"));
    buf_add_str(reply, buf_str(&events));
    buf_add_char(reply, '}');
}

/* ---- writing ---- */

void orders_cancel(struct request *request) {
    if (!write_owns(request))
        return;
    bool shopper = request->principal.kind == PRINCIPAL_SHOPPER;
    struct message message = {.type = MESSAGE_ORDER_CANCEL_ORDER,
                              .order_cancel_order = {.order_id = request->params[0],
                                                     .shopper_id = shopper ? request->principal.id : STR_NULL,
                                                     .actor = request_actor(request),
                                                     .body_hash = write_body_hash(request)}};
    write_order_command(request, &message);
}

void orders_pay(struct request *request) {
    struct message message = {.type = MESSAGE_PAYMENT_SUBMIT_PAYMENT};
    struct payment_submit_payment *payment = &message.payment_submit_payment;
    if (!write_owns(request))
        return;
    struct fields fields = write_fields(request);
    field_text(&fields, "payment_method", (struct text_rule){.kind = TEXT_TOKEN, .min = 1, .max = 255},
               &payment->payment_method);
    if (!write_fields_end(request, &fields))
        return;
    payment->order_id = request->params[0];
    payment->shopper_id = request->principal.id;
    payment->body_hash = write_body_hash(request);
    write_order_command(request, &message);
}
