/* view.recommendations. */
#include "projections/pg_view.h"

static const char insert[] =
    "INSERT INTO view.recommendations (key, \"row\") SELECT * FROM UNNEST($1::text[], $2::bytea[])";

static const char update[] = "UPDATE view.recommendations r SET \"row\" = n.\"row\" "
                             "FROM UNNEST($1::text[], $2::bytea[]) AS n(key, \"row\") WHERE r.key = n.key";

static bool save_rows(struct pg *pg, const struct shard_save *shards, size_t count, enum pg_which which,
                      struct err *err) {
    static const enum pg_type types[] = {PG_TEXT, PG_BYTES};
    PG_PARAMS_AUTO params = {0};
    BUF_AUTO scratch = {0};
    const struct view_row *row;
    pg_add_arrays(&params, types, sizeof(types) / sizeof(types[0]));
    for (struct pg_cursor at = {0}; (row = pg_next_row(&at, shards, count));)
        if (pg_is_for(which, row)) {
            pg_array_str(&params, 0, row->key);
            pg_array_state(&params, 1, &view_recommendations, row->value, &scratch);
        }
    return !pg_array_count(&params, 0) || pg_exec(pg, which == PG_HELD ? update : insert, &params, NULL, err);
}

static bool save(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_rows(pg, shards, count, PG_NEW, err) && save_rows(pg, shards, count, PG_HELD, err);
}

static bool fill_rows(struct pg *pg, const struct shard_save *shards, size_t count, struct err *err) {
    return save_rows(pg, shards, count, PG_ALL_NEW, err);
}

static const char *const more_topics[] = {NULL};
static const char *const begin_sql[] = {NULL};

const struct pg_view pg_view_recommendations = {
    .view = &view_recommendations,
    .more_topics = more_topics,
    .load_sql = "SELECT key, \"row\" FROM view.recommendations WHERE key = ANY($1::text[])",
    .begin_sql = begin_sql,
    .save = save,
    .fill_rows = fill_rows,
};
