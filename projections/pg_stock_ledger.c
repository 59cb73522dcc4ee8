/* view.stock_records, which view.stock_ledger shows SKU by SKU: every change of stock, a row for each record that tells
 * of some. The projector of orders writes what reservation.events tell of it, that of products what stock.events do; a
 * (location, sku, version) is told by exactly one record, which is written down once: the positions see to it, and a
 * shard that begins has nothing here. */
#include "projections/pg_view.h"

enum { LOCATION, KIND, ORDER_ID, REASON, TOPIC, PARTITION, OFFSET, AT, SKU, COUNTERS, COLUMNS };

struct change {
    struct str location;
    const char *kind;
    struct str order_id; /* ptr NULL: none */
    struct str reason;
};

/* The rows, and the arrays of the one that is being made. */
struct rows {
    struct pg_params params;
    struct pg_params lists; /* SKUs, counters */
    size_t count;
};

static void add_line(struct rows *rows, struct str sku, int64_t quantity, const struct counters *counters) {
    const int64_t numbers[] = {counters->version,   quantity,       counters->received,  counters->adjusted,
                               counters->restocked, counters->held, counters->committed, counters->consumed,
                               counters->available};
    pg_array_str(&rows->lists, 0, sku);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        pg_array_i64(&rows->lists, 1, numbers[i]);
}

static void end_row(struct rows *rows, const struct envelope *envelope, const struct change *change) {
    struct pg_params *params = &rows->params;
    pg_array_str(params, LOCATION, change->location);
    pg_array_str(params, KIND, str_from(change->kind));
    pg_array_str(params, ORDER_ID, change->order_id);
    pg_array_str(params, REASON, change->reason);
    pg_array_str(params, TOPIC, envelope->topic);
    pg_array_i64(params, PARTITION, envelope->partition);
    pg_array_i64(params, OFFSET, envelope->offset);
    pg_array_i64(params, AT, envelope->timestamp_us);
    pg_array_move(params, SKU, &rows->lists, 0);
    pg_array_move(params, COUNTERS, &rows->lists, 1);
    rows->count++;
}

static void add_lines(struct rows *rows, const struct envelope *envelope, const struct stock_line_list *lines,
                      const struct change *change) {
    if (!lines->count)
        return;
    for (size_t i = 0; i < lines->count; i++)
        add_line(rows, lines->items[i].sku, lines->items[i].quantity, &lines->items[i].counters);
    end_row(rows, envelope, change);
}

#define ADD_LINES(kind, event, reason)                                                                                 \
    add_lines(rows, fact->envelope, &(event).lines, &(struct change){(event).location, kind, (event).order_id, reason})

static void add_fact(struct rows *rows, const struct view_fact *fact) {
    const struct message *m = fact->message;
    switch (m->type) {
    case MESSAGE_STOCK_RECEIVED:
        add_line(rows, m->stock_received.sku, m->stock_received.quantity, &m->stock_received.counters);
        end_row(rows, fact->envelope, &(struct change){m->stock_received.location, "received", STR_NULL, STR_NULL});
        return;
    case MESSAGE_STOCK_ADJUSTED:
        add_line(rows, m->stock_adjusted.sku, m->stock_adjusted.quantity, &m->stock_adjusted.counters);
        end_row(rows, fact->envelope,
                &(struct change){m->stock_adjusted.location, "adjusted", STR_NULL, m->stock_adjusted.reason});
        return;
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        ADD_LINES("reserved", m->reservation_stock_reserved, STR_NULL);
        return;
    case MESSAGE_RESERVATION_COMMITTED:
        ADD_LINES("committed", m->reservation_committed, STR_NULL);
        return;
    case MESSAGE_RESERVATION_RELEASED:
        ADD_LINES("released", m->reservation_released, m->reservation_released.reason);
        return;
    case MESSAGE_RESERVATION_CONSUMED:
        ADD_LINES("consumed", m->reservation_consumed, STR_NULL);
        return;
    default:
        return; /* StockLevelChanged repeats what the reservations' records say */
    }
}

bool pg_stock_ledger_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[COLUMNS] = {PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT,  PG_TEXT,
                                                PG_I64,  PG_I64,  PG_TIME, PG_BYTES, PG_BYTES};
    static const enum pg_type list_types[] = {PG_TEXT, PG_I64};
    struct rows rows = {0};
    const struct view_fact *fact;
    pg_add_arrays(&rows.params, types, COLUMNS);
    pg_add_arrays(&rows.lists, list_types, 2);
    for (struct pg_cursor at = {0}; (fact = pg_next_fact(&at, shards, count));)
        add_fact(&rows, fact);
    bool ok = !rows.count || pg_exec(pg,
                                     "INSERT INTO view.stock_records (location, kind, order_id, reason, topic, "
                                     "partition, \"offset\", at, sku, counters)", /* always by COPY */
                                     &rows.params, NULL, err);
    pg_params_free(&rows.params);
    pg_params_free(&rows.lists);
    return ok;
}
