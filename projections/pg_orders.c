/* view.orders and what hangs on an order: lines (view.order_lines shows them), payments, shipments. */
#include "projections/pg_view.h"

enum { ORDER_TOPIC, PAYMENT_TOPIC, FULFILMENT_TOPIC }; /* of view_orders */

static bool changed_by(const struct view_row *row, int topic) {
    return row->changed & UINT32_C(1) << topic;
}

static const char *status_name(const struct view_order *order) {
    return order->version ? schema_order_status.symbols[order->status] : NULL;
}

/* ---- orders ---- */

#define ORDERS_UNNEST                                                                                                  \
    "UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], "                    \
    "$8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::timestamptz[], $13::timestamptz[], $14::int[], "   \
    "$15::timestamptz[], $16::timestamptz[], $17::bytea[])"

static const char orders_insert[] =
    "INSERT INTO view.orders (order_id, shopper_id, cart_id, status, reason, currency, items_minor, "
    "discount_minor, shipping_minor, tax_minor, total_minor, placed_at, updated_at, version, confirmed_at, "
    "completed_at, \"row\") SELECT * FROM " ORDERS_UNNEST;

static const char orders_update[] =
    "UPDATE view.orders o SET shopper_id = n.shopper_id, cart_id = n.cart_id, status = n.status, reason = n.reason, "
    "currency = n.currency, items_minor = n.items_minor, discount_minor = n.discount_minor, "
    "shipping_minor = n.shipping_minor, tax_minor = n.tax_minor, total_minor = n.total_minor, "
    "placed_at = n.placed_at, updated_at = n.updated_at, version = n.version, confirmed_at = n.confirmed_at, "
    "completed_at = n.completed_at, \"row\" = n.\"row\" FROM " ORDERS_UNNEST
    " AS n(order_id, shopper_id, cart_id, status, reason, currency, items_minor, discount_minor, shipping_minor, "
    "tax_minor, total_minor, placed_at, updated_at, version, confirmed_at, completed_at, \"row\") "
    "WHERE o.order_id = n.order_id";

static void add_totals(struct pg_params *params, const struct totals *totals) {
    pg_array_str(params, 5, totals ? totals->total.currency : STR_NULL);
    const int64_t minor[] = {totals ? totals->items.minor : 0, totals ? totals->discount.minor : 0,
                             totals ? totals->shipping.minor : 0, totals ? totals->tax.minor : 0,
                             totals ? totals->total.minor : 0};
    for (int i = 0; i < 5; i++)
        if (totals)
            pg_array_i64(params, 6 + i, minor[i]);
        else
            pg_array_null(params, 6 + i);
}

static void add_order(struct pg_params *params, const struct view_order_row *row, struct buf *scratch) {
    const struct view_order *order = &row->order;
    bool known = order->version > 0;
    pg_array_str(params, 0, order->order_id);
    pg_array_filled(params, 1, row->shopper_id);
    pg_array_filled(params, 2, row->cart_id);
    pg_array_str(params, 3, str_from(status_name(order)));
    pg_array_str(params, 4, order->reason);
    add_totals(params, order->totals);
    pg_array_time(params, 11, known, order->placed_at);
    pg_array_time(params, 12, known, order->updated_at);
    pg_array_i64(params, 13, order->version);
    pg_array_time(params, 14, row->confirmed_at.has, row->confirmed_at.value);
    pg_array_time(params, 15, row->completed_at.has, row->completed_at.value);
    pg_array_state(params, 16, &view_orders, row, scratch);
}

static bool save_orders(struct pg *pg, const struct shard_save *shards, size_t count, enum pg_which which,
                        struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_I64,  PG_I64,  PG_I64,
                                         PG_I64,  PG_I64,  PG_TIME, PG_TIME, PG_I64,  PG_TIME, PG_TIME, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO scratch = {0};
    const struct view_row *row;
    size_t rows = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (pg_is_for(which, row)) {
            add_order(&params, row->value, &scratch);
            rows++;
        }
    return !rows || pg_exec(pg, which == PG_HELD ? orders_update : orders_insert, &params, NULL, err);
}

/* ---- lines: they never change once placed, and are one row of view.order_goods ---- */

enum { LINE_COLUMNS = 5 };

static void add_lines(struct pg_params *params, struct pg_params *row, const struct order_placed *placed) {
    for (size_t i = 0; i < placed->lines.count; i++) {
        const struct line *line = &placed->lines.items[i];
        pg_array_str(row, 0, line->sku);
        pg_array_str(row, 1, line->name);
        pg_array_i64(row, 2, line->quantity);
        pg_array_i64(row, 3, line->unit_price.minor);
        pg_array_i64(row, 4, line->line_total.minor);
    }
    pg_array_str(params, 0, placed->order_id);
    for (int i = 0; i < LINE_COLUMNS; i++)
        pg_array_move(params, 1 + i, row, i);
}

static bool save_lines(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[LINE_COLUMNS] = {PG_TEXT, PG_TEXT, PG_I64, PG_I64, PG_I64};
    PG_PARAMS_AUTO params = {0};
    PG_PARAMS_AUTO row = {0};
    const struct view_fact *fact;
    size_t orders = 0;
    pg_add_array(&params, PG_TEXT);
    for (int i = 0; i < LINE_COLUMNS; i++)
        pg_add_array(&params, PG_BYTES);
    pg_add_arrays(&row, types, LINE_COLUMNS);
    for (struct pg_cursor at = {0}; (fact = pg_next_fact(&at, shards, count));)
        if (fact->message->type == MESSAGE_ORDER_PLACED) {
            add_lines(&params, &row, &fact->message->order_placed);
            orders++;
        }
    return !orders || pg_exec(pg,
                              "INSERT INTO view.order_goods (order_id, sku, name, quantity, unit_price_minor, "
                              "line_total_minor)", /* always by COPY */
                              &params, NULL, err);
}

/* ---- payments and shipments ---- */

static size_t add_payments(struct pg_params *params, const struct view_order *order) {
    for (size_t i = 0; i < order->payments.count; i++) {
        const struct view_payment *payment = &order->payments.items[i];
        pg_array_str(params, 0, order->order_id);
        pg_array_str(params, 1, payment->payment_id);
        pg_array_i64(params, 2, (int64_t)i + 1);
        pg_array_str(params, 3, payment->status);
        pg_array_i64(params, 4, payment->amount.minor);
        pg_array_str(params, 5, payment->amount.currency);
    }
    return order->payments.count;
}

static bool save_payments(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_I64, PG_TEXT, PG_I64, PG_TEXT};
    PG_PARAMS_AUTO params = {0};
    const struct view_row *row;
    size_t payments = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (changed_by(row, PAYMENT_TOPIC))
            payments += add_payments(&params, &((const struct view_order_row *)row->value)->order);
    return !payments ||
           pg_exec(pg,
                   "INSERT INTO view.payments (order_id, payment_id, attempt, status, amount_minor, currency) "
                   "SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::bigint[], $6::text[]) "
                   "ON CONFLICT (order_id, payment_id) DO UPDATE SET status = excluded.status, "
                   "amount_minor = excluded.amount_minor, currency = excluded.currency",
                   &params, NULL, err);
}

static size_t add_shipments(struct pg_params *params, const struct view_order *order) {
    for (size_t i = 0; i < order->shipments.count; i++) {
        const struct view_shipment *shipment = &order->shipments.items[i];
        pg_array_str(params, 0, order->order_id);
        pg_array_str(params, 1, shipment->shipment_id);
        pg_array_str(params, 2, shipment->status);
        pg_array_str(params, 3, shipment->carrier);
        pg_array_str(params, 4, shipment->tracking);
    }
    return order->shipments.count;
}

static bool save_shipments(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT};
    PG_PARAMS_AUTO params = {0};
    const struct view_row *row;
    size_t shipments = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (changed_by(row, FULFILMENT_TOPIC))
            shipments += add_shipments(&params, &((const struct view_order_row *)row->value)->order);
    return !shipments || pg_exec(pg,
                                 "INSERT INTO view.shipments (order_id, shipment_id, status, carrier, tracking) "
                                 "SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) "
                                 "ON CONFLICT (order_id, shipment_id) DO UPDATE SET status = excluded.status, "
                                 "carrier = excluded.carrier, tracking = excluded.tracking",
                                 &params, NULL, err);
}

static bool save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_orders(pg, shards, count, PG_NEW, err) && save_orders(pg, shards, count, PG_HELD, err) &&
           save_lines(pg, shards, count, err) && save_payments(pg, shards, count, err) &&
           save_shipments(pg, shards, count, err) && pg_order_events_save(pg, shards, count, err) &&
           pg_stock_ledger_save(pg, shards, count, err) && pg_sales_save(pg, shards, count, err);
}

static bool add_facts(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_lines(pg, shards, count, err) && pg_order_events_save(pg, shards, count, err) &&
           pg_stock_ledger_save(pg, shards, count, err) && pg_sales_save(pg, shards, count, err);
}

static bool fill_rows(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_orders(pg, shards, count, PG_ALL_NEW, err) && save_payments(pg, shards, count, err) &&
           save_shipments(pg, shards, count, err);
}

static const char *const more_topics[] = {TOPIC_RESERVATION_EVENTS, NULL};

static const char *const begin_sql[] = {
    "DELETE FROM view.sales_by_hour WHERE shard = ANY($1::int[])",
    "DELETE FROM view.order_goods l USING view.order_history e "
    "WHERE e.partition = ANY($1::int[]) AND l.order_id = e.order_id",
    "DELETE FROM view.order_history WHERE partition = ANY($1::int[])",
    "DELETE FROM view.stock_records WHERE partition = ANY($1::int[]) AND topic = '" TOPIC_RESERVATION_EVENTS "'",
    NULL,
};

const struct pg_view pg_view_orders = {
    .view = &view_orders,
    .more_topics = more_topics,
    .load_sql = "SELECT order_id::text, \"row\" FROM view.orders WHERE order_id = ANY($1::uuid[])",
    .begin_sql = begin_sql,
    .save = save,
    .add_facts = add_facts,
    .fill_rows = fill_rows,
};
