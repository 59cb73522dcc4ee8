/* view.stock_ledger: every change of stock. The projector of orders writes what reservation.events tell of it, that of
 * products what stock.events do; a (location, sku, version) is told by exactly one record, which is written
 * down once: the positions see to it, and a shard that begins has nothing here. */
#include "projections/pg_view.h"

struct entry {
    struct str location;
    struct str sku;
    const char *kind;
    int64_t quantity;
    const struct counters *counters;
    struct str order_id; /* ptr NULL: none */
    struct str reason;
};

static void add_entry(struct pg_params *params, const struct envelope *envelope, const struct entry *entry) {
    const struct counters *counters = entry->counters;
    pg_array_str(params, 0, entry->location);
    pg_array_str(params, 1, entry->sku);
    pg_array_i64(params, 2, counters->version);
    pg_array_str(params, 3, str_from(entry->kind));
    pg_array_i64(params, 4, entry->quantity);
    const int64_t numbers[] = {counters->received,  counters->adjusted, counters->restocked, counters->held,
                               counters->committed, counters->consumed, counters->available};
    for (int i = 0; i < 7; i++)
        pg_array_i64(params, 5 + i, numbers[i]);
    pg_array_str(params, 12, entry->order_id);
    pg_array_str(params, 13, entry->reason);
    pg_array_str(params, 14, envelope->topic);
    pg_array_i64(params, 15, envelope->partition);
    pg_array_i64(params, 16, envelope->offset);
    pg_array_i64(params, 17, envelope->timestamp_us);
}

static size_t add_lines(struct pg_params *params, const struct envelope *envelope, const char *kind,
                        struct str location, struct str order_id, const struct stock_line_list *lines,
                        struct str reason) {
    for (size_t i = 0; i < lines->count; i++) {
        const struct stock_line *line = &lines->items[i];
        add_entry(params, envelope,
                  &(struct entry){location, line->sku, kind, line->quantity, &line->counters, order_id, reason});
    }
    return lines->count;
}

#define ADD_LINES(kind, event, reason)                                                                                 \
    add_lines(params, fact->envelope, kind, (event).location, (event).order_id, &(event).lines, reason)

static size_t add_fact(struct pg_params *params, const struct view_fact *fact) {
    const struct message *m = fact->message;
    switch (m->type) {
    case MESSAGE_STOCK_RECEIVED:
        add_entry(params, fact->envelope,
                  &(struct entry){m->stock_received.location, m->stock_received.sku, "received",
                                  m->stock_received.quantity, &m->stock_received.counters, STR_NULL, STR_NULL});
        return 1;
    case MESSAGE_STOCK_ADJUSTED:
        add_entry(params, fact->envelope,
                  &(struct entry){m->stock_adjusted.location, m->stock_adjusted.sku, "adjusted",
                                  m->stock_adjusted.quantity, &m->stock_adjusted.counters, STR_NULL,
                                  m->stock_adjusted.reason});
        return 1;
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        return ADD_LINES("reserved", m->reservation_stock_reserved, STR_NULL);
    case MESSAGE_RESERVATION_COMMITTED:
        return ADD_LINES("committed", m->reservation_committed, STR_NULL);
    case MESSAGE_RESERVATION_RELEASED:
        return ADD_LINES("released", m->reservation_released, m->reservation_released.reason);
    case MESSAGE_RESERVATION_CONSUMED:
        return ADD_LINES("consumed", m->reservation_consumed, STR_NULL);
    default:
        return 0; /* StockLevelChanged repeats what the reservations' records say */
    }
}

bool pg_stock_ledger_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_I64, PG_TEXT, PG_I64,  PG_I64,  PG_I64, PG_I64, PG_I64,
                                         PG_I64,  PG_I64,  PG_I64, PG_TEXT, PG_TEXT, PG_TEXT, PG_I64, PG_I64, PG_TIME};
    PG_PARAMS_AUTO params = {0};
    const struct view_fact *fact;
    size_t entries = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (fact = pg_next_fact(&at, shards, count));)
        entries += add_fact(&params, fact);
    return !entries ||
           pg_exec(
               pg,
               "INSERT INTO view.stock_ledger (location, sku, version, kind, quantity, received, adjusted, "
               "restocked, held, committed, consumed, available, order_id, reason, topic, partition, \"offset\", at) "
               "SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], "
               "$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], "
               "$13::uuid[], $14::text[], $15::text[], $16::int[], $17::bigint[], $18::timestamptz[])",
               &params, NULL, err);
}
