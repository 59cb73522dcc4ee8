#include "projections/fold_order.h"

#include "core/codec/avro.h"
#include "projections/commands.h"

static struct view_order_row *row_new(struct arena *arena, struct str order_id) {
    struct view_order_row *row = arena_new(arena, struct view_order_row);
    row->shopper_id = row->cart_id = STR("");
    row->order.order_id = arena_dup(arena, order_id);
    return row;
}

static struct money money_dup(struct arena *arena, struct money money) {
    return (struct money){money.minor, arena_dup(arena, money.currency)};
}

static struct totals *totals_dup(struct arena *arena, const struct totals *totals) {
    struct totals *copy = arena_new(arena, struct totals);
    *copy = (struct totals){.items = money_dup(arena, totals->items),
                            .discount = money_dup(arena, totals->discount),
                            .shipping = money_dup(arena, totals->shipping),
                            .tax = money_dup(arena, totals->tax),
                            .total = money_dup(arena, totals->total)};
    return copy;
}

/* ---- order.events ---- */

/* Takes the order to its next version; false when this version was read before. */
static bool order_advance(struct arena *arena, struct view_order_row *row, const struct envelope *envelope,
                          int32_t version, enum order_status status, struct str reason) {
    if (version <= row->order.version)
        return false;
    row->order.version = version;
    row->order.status = status;
    row->order.reason = arena_dup(arena, reason);
    row->order.updated_at = envelope->timestamp_us;
    return true;
}

static void order_owned_by(struct arena *arena, struct view_order_row *row, struct str shopper_id, struct str cart_id,
                           int64_t placed_at) {
    row->shopper_id = arena_dup(arena, shopper_id);
    row->cart_id = arena_dup(arena, cart_id);
    row->order.placed_at = placed_at;
}

static void order_placed(struct arena *arena, struct view_order_row *row, const struct envelope *envelope,
                         const struct order_placed *placed) {
    if (!order_advance(arena, row, envelope, placed->version, ORDER_STATUS_PENDING, STR_NULL))
        return;
    order_owned_by(arena, row, placed->shopper_id, placed->cart_id, placed->placed_at);
    row->order.totals = totals_dup(arena, &placed->totals);
    row->order.lines.count = placed->lines.count;
    row->order.lines.items = arena_array(arena, struct view_priced_line, placed->lines.count);
    for (size_t i = 0; i < placed->lines.count; i++) {
        const struct line *line = &placed->lines.items[i];
        row->order.lines.items[i] = (struct view_priced_line){.sku = arena_dup(arena, line->sku),
                                                              .name = arena_dup(arena, line->name),
                                                              .quantity = line->quantity,
                                                              .unit_price = money_dup(arena, line->unit_price),
                                                              .line_total = money_dup(arena, line->line_total)};
    }
}

/* Lines stay as they were placed, if they were. */
static void order_rejected(struct arena *arena, struct view_order_row *row, const struct envelope *envelope,
                           const struct order_rejected *rejected) {
    if (!order_advance(arena, row, envelope, rejected->version, ORDER_STATUS_REJECTED, rejected->reason))
        return;
    order_owned_by(arena, row, rejected->shopper_id, rejected->cart_id, rejected->placed_at);
    row->order.winner = arena_dup(arena, rejected->winner);
    if (rejected->totals)
        row->order.totals = totals_dup(arena, rejected->totals);
    row->order.errors.count = rejected->errors.count;
    row->order.errors.items = arena_array(arena, struct field_error, rejected->errors.count);
    for (size_t i = 0; i < rejected->errors.count; i++)
        row->order.errors.items[i] = (struct field_error){arena_dup(arena, rejected->errors.items[i].pointer),
                                                          arena_dup(arena, rejected->errors.items[i].detail)};
}

static void time_once(struct opt_long *time, int64_t at) {
    if (!time->has)
        *time = (struct opt_long){true, at};
}

static bool fold_order_event(struct arena *arena, struct view_order_row *row, const struct envelope *envelope,
                             const struct message *m) {
#define ADVANCE(event, status, reason)                                                                                 \
    order_advance(arena, row, envelope, m->event.version, ORDER_STATUS_##status, reason)
    switch (m->type) {
    case MESSAGE_ORDER_PLACED:
        order_placed(arena, row, envelope, &m->order_placed);
        return true;
    case MESSAGE_ORDER_REJECTED:
        order_rejected(arena, row, envelope, &m->order_rejected);
        return true;
    case MESSAGE_ORDER_AWAITING_PAYMENT:
        ADVANCE(order_awaiting_payment, AWAITING_PAYMENT, STR_NULL);
        return true;
    case MESSAGE_ORDER_CONFIRMED:
        if (ADVANCE(order_confirmed, CONFIRMED, STR_NULL))
            time_once(&row->confirmed_at, envelope->timestamp_us);
        return true;
    case MESSAGE_ORDER_PAYMENT_FAILED:
        ADVANCE(order_payment_failed, PAYMENT_FAILED, m->order_payment_failed.reason);
        return true;
    case MESSAGE_ORDER_EXPIRED:
        ADVANCE(order_expired, EXPIRED, m->order_expired.reason);
        return true;
    case MESSAGE_ORDER_PROCESSING:
        ADVANCE(order_processing, PROCESSING, STR_NULL);
        return true;
    case MESSAGE_ORDER_CANCELLING:
        ADVANCE(order_cancelling, CANCELLING, m->order_cancelling.reason);
        return true;
    case MESSAGE_ORDER_CANCELLED:
        ADVANCE(order_cancelled, CANCELLED, m->order_cancelled.reason);
        return true;
    case MESSAGE_ORDER_CANCELLATION_REFUSED: /* the order goes on as if nothing had been; the reason is the command's */
        order_advance(arena, row, envelope, m->order_cancellation_refused.version, m->order_cancellation_refused.status,
                      STR_NULL);
        return true;
    case MESSAGE_ORDER_SHIPPED:
        ADVANCE(order_shipped, SHIPPED, STR_NULL);
        return true;
    case MESSAGE_ORDER_DELIVERED:
        ADVANCE(order_delivered, DELIVERED, STR_NULL);
        return true;
    case MESSAGE_ORDER_COMPLETED:
        if (ADVANCE(order_completed, COMPLETED, STR_NULL))
            time_once(&row->completed_at, envelope->timestamp_us);
        return true;
    default:
        return m->type == MESSAGE_ORDER_COMMAND_REFUSED;
    }
#undef ADVANCE
}

/* ---- payment.events ---- */

static struct view_payment *payment_of(struct arena *arena, struct view_payment_list *list, struct str payment_id) {
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i].payment_id, payment_id))
            return &list->items[i];
    struct view_payment *items = arena_array(arena, struct view_payment, list->count + 1);
    if (list->count)
        memcpy(items, list->items, list->count * sizeof(items[0]));
    items[list->count] = (struct view_payment){arena_dup(arena, payment_id), STR("created"), {0, STR("")}};
    list->items = items;
    return &items[list->count++];
}

/* `amount` NULL: as it was. */
static void payment_set(struct arena *arena, struct view_order_row *row, struct str payment_id, const char *status,
                        const struct money *amount) {
    struct view_payment *payment = payment_of(arena, &row->order.payments, payment_id);
    payment->status = str_from(status);
    if (amount)
        payment->amount = money_dup(arena, *amount);
}

static bool fold_payment_event(struct arena *arena, struct view_order_row *row, const struct message *m) {
    switch (m->type) {
    case MESSAGE_PAYMENT_REQUESTED:
        payment_set(arena, row, m->payment_requested.payment_id, "authorizing", &m->payment_requested.amount);
        return true;
    case MESSAGE_PAYMENT_AUTHORIZED:
        payment_set(arena, row, m->payment_authorized.payment_id, "authorized", &m->payment_authorized.amount);
        return true;
    case MESSAGE_PAYMENT_DECLINED:
        payment_set(arena, row, m->payment_declined.payment_id, "declined", NULL);
        return true;
    case MESSAGE_PAYMENT_OUTCOME_UNKNOWN:
        payment_set(arena, row, m->payment_outcome_unknown.payment_id, "unknown", NULL);
        return true;
    case MESSAGE_PAYMENT_CAPTURED:
        payment_set(arena, row, m->payment_captured.payment_id, "captured", &m->payment_captured.amount);
        return true;
    case MESSAGE_PAYMENT_VOIDED:
        if (m->payment_voided.attempt > 0) /* else nothing was ever asked for */
            payment_set(arena, row, m->payment_voided.payment_id, "voided", NULL);
        return true;
    case MESSAGE_PAYMENT_AUTHORIZATION_EXPIRED:
        payment_set(arena, row, m->payment_authorization_expired.payment_id, "expired", NULL);
        return true;
    case MESSAGE_PAYMENT_REFUNDED: /* the amount stays what was captured */
        payment_set(arena, row, m->payment_refunded.payment_id, "refunded", NULL);
        return true;
    case MESSAGE_PAYMENT_CAPTURE_FAILED: /* to be tried again: nothing that the shopper sees */
    case MESSAGE_PAYMENT_VOID_REQUESTED:
    case MESSAGE_PAYMENT_VOID_FAILED:
    case MESSAGE_PAYMENT_REFUND_FAILED:
        return true;
    default:
        return m->type == MESSAGE_PAYMENT_COMMAND_REFUSED;
    }
}

/* ---- fulfilment.events ---- */

static struct view_shipment *shipment_of(struct arena *arena, struct view_shipment_list *list, struct str shipment_id) {
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i].shipment_id, shipment_id))
            return &list->items[i];
    struct view_shipment *items = arena_array(arena, struct view_shipment, list->count + 1);
    if (list->count)
        memcpy(items, list->items, list->count * sizeof(items[0]));
    items[list->count] = (struct view_shipment){.shipment_id = arena_dup(arena, shipment_id)};
    list->items = items;
    return &items[list->count++];
}

static bool fold_fulfilment_event(struct arena *arena, struct view_order_row *row, const struct message *m) {
    struct view_shipment *shipment;
    switch (m->type) {
    case MESSAGE_FULFILMENT_SHIPMENT_DISPATCHED:
        shipment = shipment_of(arena, &row->order.shipments, m->fulfilment_shipment_dispatched.shipment_id);
        shipment->status = STR("dispatched");
        shipment->carrier = arena_dup(arena, m->fulfilment_shipment_dispatched.carrier);
        shipment->tracking = arena_dup(arena, m->fulfilment_shipment_dispatched.tracking);
        return true;
    case MESSAGE_FULFILMENT_SHIPMENT_DELIVERED:
        shipment = shipment_of(arena, &row->order.shipments, m->fulfilment_shipment_delivered.shipment_id);
        shipment->status = STR("delivered");
        return true;
    case MESSAGE_FULFILMENT_REQUESTED: /* the order's own events tell of these */
    case MESSAGE_FULFILMENT_PICKED:
    case MESSAGE_FULFILMENT_CANCELLED:
    case MESSAGE_FULFILMENT_CANCELLATION_REFUSED:
        return true;
    default:
        return m->type == MESSAGE_FULFILMENT_COMMAND_REFUSED;
    }
}

/* ---- all three ---- */

static struct str refusal_reason(const struct message *m, struct str *ret_detail) {
    *ret_detail = STR("");
    switch (m->type) {
    case MESSAGE_ORDER_COMMAND_REFUSED:
        *ret_detail = m->order_command_refused.detail;
        return m->order_command_refused.reason;
    case MESSAGE_PAYMENT_COMMAND_REFUSED:
        *ret_detail = m->payment_command_refused.detail;
        return m->payment_command_refused.reason;
    case MESSAGE_FULFILMENT_COMMAND_REFUSED:
        *ret_detail = m->fulfilment_command_refused.detail;
        return m->fulfilment_command_refused.reason;
    case MESSAGE_ORDER_CANCELLATION_REFUSED:
        return m->order_cancellation_refused.reason;
    default:
        return STR_NULL;
    }
}

static bool fold(struct arena *arena, struct view_order_row *row, const struct envelope *envelope,
                 const struct message *message) {
    return fold_order_event(arena, row, envelope, message) || fold_payment_event(arena, row, message) ||
           fold_fulfilment_event(arena, row, message);
}

/* All these records begin with their order_id, but for those that are not the order's. */
static struct str order_id_of(const struct message *message) {
    const struct schema_type *type = schema_messages[message->type];
    if (!type || !type->field_count || strcmp(type->fields[0].name, "order_id") != 0)
        return STR_NULL;
    return *(const struct str *)((const char *)message_body(message) + type->fields[0].offset);
}

bool order_row_fold(struct arena *arena, struct view_order_row **row, const struct envelope *envelope,
                    const struct message *message) {
    struct str detail, order_id = order_id_of(message);
    if (!order_id.ptr)
        return false;
    struct view_order_row *folded = *row ? *row : row_new(arena, order_id);
    if (!fold(arena, folded, envelope, message))
        return false;
    struct str reason = refusal_reason(message, &detail);
    commands_note(arena, &folded->commands, &folded->command_notes, envelope, reason, detail);
    *row = folded;
    return true;
}
