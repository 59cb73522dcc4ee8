/* view.carts and view.cart_lines. */
#include "core/base/map.h"
#include "core/domain/cart.h"
#include "projections/pg_view.h"

static void add_cart(struct pg_params *params, const struct state_cart *cart, struct buf *scratch) {
    bool created = cart_exists(cart);
    pg_array_str(params, 0, cart->cart_id);
    pg_array_filled(params, 1, cart->shopper_id);
    pg_array_str(params, 2, str_from(schema_state_cart_status.symbols[cart->status]));
    pg_array_filled(params, 3, cart->live_order_id);
    pg_array_filled(params, 4, cart->currency);
    pg_array_time(params, 5, created, cart->changed_at);
    pg_array_state(params, 6, &view_carts, cart, scratch);
}

static const char carts_insert[] =
    "INSERT INTO view.carts (cart_id, shopper_id, status, order_id, currency, changed_at, \"row\") "
    "SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::bytea[])";

static const char carts_update[] =
    "UPDATE view.carts c SET shopper_id = n.shopper_id, status = n.status, order_id = n.order_id, "
    "currency = n.currency, changed_at = n.changed_at, \"row\" = n.\"row\" "
    "FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::bytea[]) "
    "AS n(cart_id, shopper_id, status, order_id, currency, changed_at, \"row\") WHERE c.cart_id = n.cart_id";

static bool save_carts(struct pg *pg, const struct shard_save *shards, size_t count, enum pg_which which,
                       struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TEXT, PG_TIME, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO scratch = {0};
    const struct view_row *row;
    size_t rows = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (pg_is_for(which, row)) {
            add_cart(&params, row->value, &scratch);
            rows++;
        }
    return !rows || pg_exec(pg, which == PG_HELD ? carts_update : carts_insert, &params, NULL, err);
}

/* The lines of these carts become the ones given: what is new or changed is written, what is gone is deleted. */
static const char lines_sql[] =
    "WITH n AS (SELECT * FROM UNNEST($2::uuid[], $3::text[], $4::int[]) AS n(cart_id, sku, quantity)), "
    "gone AS (DELETE FROM view.cart_lines l WHERE l.cart_id = ANY($1::uuid[]) "
    "AND NOT EXISTS (SELECT FROM n WHERE n.cart_id = l.cart_id AND n.sku = l.sku)) "
    "INSERT INTO view.cart_lines AS l (cart_id, sku, quantity) SELECT cart_id, sku, quantity FROM n "
    "ON CONFLICT (cart_id, sku) DO UPDATE SET quantity = excluded.quantity WHERE l.quantity <> excluded.quantity";

static bool changes_lines(const struct message *message) {
    return message->type == MESSAGE_CART_LINE_ADDED || message->type == MESSAGE_CART_LINE_QUANTITY_CHANGED ||
           message->type == MESSAGE_CART_LINE_REMOVED;
}

static void add_lines(struct pg_params *params, const struct state_cart *cart) {
    pg_array_str(params, 0, cart->cart_id);
    for (size_t i = 0; i < cart->lines.count; i++) {
        pg_array_str(params, 1, cart->cart_id);
        pg_array_str(params, 2, cart->lines.items[i].sku);
        pg_array_i64(params, 3, cart->lines.items[i].quantity);
    }
}

/* `all`: of every row; else only of those whose lines a record has changed. */
static bool save_lines(struct pg *pg, const struct shard_save *shards, size_t count, bool all, struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_TEXT, PG_I64};
    PG_PARAMS_AUTO params = {0};
    struct map added = {0};
    struct pg_cursor at = {0};
    const struct view_fact *fact;
    const struct view_row *row;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    while (!all && (fact = pg_next_fact(&at, shards, count)))
        if (fact->row && changes_lines(fact->message))
            *map_put(&added, fact->row->key) = fact->row->value;
    for (at = (struct pg_cursor){0}; (row = pg_next_row(&at, shards, count));)
        if (all || map_get(&added, row->key))
            add_lines(&params, row->value);
    map_free(&added, NULL);
    return !pg_array_count(&params, 0) || pg_exec(pg, lines_sql, &params, NULL, err);
}

static bool save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_carts(pg, shards, count, PG_NEW, err) && save_carts(pg, shards, count, PG_HELD, err) &&
           save_lines(pg, shards, count, false, err);
}

static bool fill_rows(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_carts(pg, shards, count, PG_ALL_NEW, err) && save_lines(pg, shards, count, true, err);
}

static const char *const more_topics[] = {NULL};
static const char *const begin_sql[] = {NULL};

const struct pg_view pg_view_carts = {
    .view = &view_carts,
    .more_topics = more_topics,
    .load_sql = "SELECT cart_id::text, \"row\" FROM view.carts WHERE cart_id = ANY($1::uuid[])",
    .begin_sql = begin_sql,
    .save = save,
    .fill_rows = fill_rows,
};
