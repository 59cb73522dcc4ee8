/* view.products and view.stock. */
#include "projections/fold_product.h"
#include "projections/pg_view.h"

enum { CATALOGUE_TOPIC, STOCK_TOPIC }; /* of view_products */

static void add_product(struct pg_params *params, const struct view_product_row *row, struct buf *scratch) {
    const struct view_product *product = &row->product;
    bool known = product_row_is_known(row);
    pg_array_str(params, 0, product->sku);
    pg_array_str(params, 1, known ? product->name : STR_NULL);
    pg_array_str(params, 3, known ? product->price.currency : STR_NULL);
    if (known) {
        pg_array_i64(params, 2, product->price.minor);
        pg_array_i64(params, 4, product->revision);
    } else {
        pg_array_null(params, 2);
        pg_array_null(params, 4);
    }
    pg_array_i64(params, 5, row->for_sale);
    pg_array_i64(params, 6, product->available);
    pg_array_state(params, 7, &view_products, row, scratch);
}

#define PRODUCTS_UNNEST                                                                                                \
    "UNNEST($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::boolean[], $7::bigint[], $8::bytea[])"

static const char products_insert[] =
    "INSERT INTO view.products (sku, name, price_minor, currency, revision, for_sale, available, \"row\") "
    "SELECT * FROM " PRODUCTS_UNNEST;

static const char products_update[] =
    "UPDATE view.products p SET name = n.name, price_minor = n.price_minor, currency = n.currency, "
    "revision = n.revision, for_sale = n.for_sale, available = n.available, \"row\" = n.\"row\" FROM " PRODUCTS_UNNEST
    " AS n(sku, name, price_minor, currency, revision, for_sale, available, \"row\") WHERE p.sku = n.sku";

static bool save_products(struct pg *pg, const struct shard_save *shards, size_t count, enum pg_which which,
                          struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_I64, PG_TEXT, PG_I64, PG_BOOL, PG_I64, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO scratch = {0};
    const struct view_row *row;
    size_t rows = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (pg_is_for(which, row)) {
            add_product(&params, row->value, &scratch);
            rows++;
        }
    return !rows || pg_exec(pg, which == PG_HELD ? products_update : products_insert, &params, NULL, err);
}

static size_t add_levels(struct pg_params *params, const struct view_product_row *row) {
    for (size_t i = 0; i < row->inventory.locations.count; i++) {
        const struct view_stock_level *level = &row->inventory.locations.items[i];
        const int64_t numbers[] = {level->version, level->received,  level->adjusted, level->restocked,
                                   level->held,    level->committed, level->consumed, level->available};
        pg_array_str(params, 0, level->location);
        pg_array_str(params, 1, row->inventory.sku);
        for (int k = 0; k < 8; k++)
            pg_array_i64(params, 2 + k, numbers[k]);
    }
    return row->inventory.locations.count;
}

#define STOCK_UNNEST                                                                                                   \
    "UNNEST($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], "            \
    "$8::bigint[], $9::bigint[], $10::bigint[])"

static const char stock_insert[] =
    "INSERT INTO view.stock AS s (location, sku, version, received, adjusted, restocked, held, committed, consumed, "
    "available) SELECT * FROM " STOCK_UNNEST " ON CONFLICT (location, sku) DO UPDATE SET version = excluded.version, "
    "received = excluded.received, adjusted = excluded.adjusted, restocked = excluded.restocked, "
    "held = excluded.held, committed = excluded.committed, consumed = excluded.consumed, "
    "available = excluded.available WHERE s.version < excluded.version";

static const char stock_update[] =
    "UPDATE view.stock s SET version = n.version, received = n.received, adjusted = n.adjusted, "
    "restocked = n.restocked, held = n.held, committed = n.committed, consumed = n.consumed, available = n.available "
    "FROM " STOCK_UNNEST " AS n(location, sku, version, received, adjusted, restocked, held, committed, consumed, "
    "available) WHERE s.location = n.location AND s.sku = n.sku AND s.version < n.version";

/* A product that is there may have come to a new location, or be as it was at another: an UPDATE misses those. */
static bool update_stock(struct pg *pg, struct pg_params *params, size_t levels, struct err *err) {
    PG_RESULT_AUTO *result = NULL;
    return pg_exec(pg, stock_update, params, &result, err) &&
           (pg_affected(result) == (int64_t)levels || pg_exec(pg, stock_insert, params, NULL, err));
}

static bool save_stock(struct pg *pg, const struct shard_save *shards, size_t count, enum pg_which which,
                       struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_I64, PG_I64, PG_I64,
                                         PG_I64,  PG_I64,  PG_I64, PG_I64, PG_I64};
    PG_PARAMS_AUTO params = {0};
    const struct view_row *row;
    size_t levels = 0;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (pg_is_for(which, row) && row->changed & UINT32_C(1) << STOCK_TOPIC)
            levels += add_levels(&params, row->value);
    if (!levels)
        return true;
    return which == PG_HELD ? update_stock(pg, &params, levels, err) : pg_exec(pg, stock_insert, &params, NULL, err);
}

static bool save_rows(struct pg *pg, const struct shard_save *shards, size_t count, enum pg_which which,
                      struct err *err) {
    return save_products(pg, shards, count, which, err) && save_stock(pg, shards, count, which, err);
}

static bool save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_rows(pg, shards, count, PG_NEW, err) && save_rows(pg, shards, count, PG_HELD, err) &&
           pg_stock_ledger_save(pg, shards, count, err);
}

static bool fill_rows(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_rows(pg, shards, count, PG_ALL_NEW, err);
}

static const char *const more_topics[] = {NULL};

static const char *const begin_sql[] = {
    "DELETE FROM view.stock_records WHERE partition = ANY($1::int[]) AND topic = '" TOPIC_STOCK_EVENTS "'",
    NULL,
};

const struct pg_view pg_view_products = {
    .view = &view_products,
    .more_topics = more_topics,
    .load_sql = "SELECT sku, \"row\" FROM view.products WHERE sku = ANY($1::text[])",
    .begin_sql = begin_sql,
    .save = save,
    .add_facts = pg_stock_ledger_save,
    .fill_rows = fill_rows,
};
