/* view.sales_by_hour: added to by each batch, which the positions make exact; begun again when a shard begins. */
#include "projections/pg_view.h"

static const int64_t HOUR_US = INT64_C(3600) * 1000 * 1000;

static int64_t items_of(const struct view_order *order) {
    int64_t items = 0;
    for (size_t i = 0; i < order->lines.count; i++)
        items += order->lines.items[i].quantity;
    return items;
}

static bool add_sale(struct pg_params *params, int32_t shard, const struct view_fact *fact) {
    const struct view_order_row *row = fact->row ? fact->row->value : NULL;
    bool confirmed = fact->message->type == MESSAGE_ORDER_CONFIRMED;
    bool cancelled = fact->message->type == MESSAGE_ORDER_CANCELLED && row->confirmed_at.has;
    if ((!confirmed && !cancelled) || !row->order.totals)
        return false;
    int64_t items = items_of(&row->order), minor = row->order.totals->total.minor;
    pg_array_i64(params, 0, fact->envelope->timestamp_us / HOUR_US * HOUR_US);
    pg_array_i64(params, 1, shard);
    pg_array_str(params, 2, row->order.totals->total.currency);
    pg_array_i64(params, 3, confirmed);
    pg_array_i64(params, 4, confirmed ? items : 0);
    pg_array_i64(params, 5, confirmed ? minor : 0);
    pg_array_i64(params, 6, cancelled);
    pg_array_i64(params, 7, cancelled ? items : 0);
    pg_array_i64(params, 8, cancelled ? minor : 0);
    return true;
}

bool pg_sales_save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    static const enum pg_type types[] = {PG_TIME, PG_I64, PG_TEXT, PG_I64, PG_I64, PG_I64, PG_I64, PG_I64, PG_I64};
    PG_PARAMS_AUTO params = {0};
    size_t sales = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < shards[i].fact_count; k++)
            sales += add_sale(&params, shards[i].shard, &shards[i].facts[k]);
    return !sales ||
           pg_exec(pg,
                   "INSERT INTO view.sales_by_hour AS s (hour, shard, currency, orders, items, revenue_minor, "
                   "cancelled_orders, cancelled_items, cancelled_minor) "
                   "SELECT hour, shard, currency, sum(orders), sum(items), sum(revenue), sum(c_orders), sum(c_items), "
                   "sum(c_minor) FROM UNNEST($1::timestamptz[], $2::int[], $3::text[], $4::bigint[], $5::bigint[], "
                   "$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) AS n(hour, shard, currency, orders, items, "
                   "revenue, c_orders, c_items, c_minor) GROUP BY hour, shard, currency "
                   "ON CONFLICT (hour, shard, currency) DO UPDATE SET orders = s.orders + excluded.orders, "
                   "items = s.items + excluded.items, revenue_minor = s.revenue_minor + excluded.revenue_minor, "
                   "cancelled_orders = s.cancelled_orders + excluded.cancelled_orders, "
                   "cancelled_items = s.cancelled_items + excluded.cancelled_items, "
                   "cancelled_minor = s.cancelled_minor + excluded.cancelled_minor",
                   &params, NULL, err);
}
