#include "projections/pg_view.h"

#include "core/codec/avro.h"

const struct view_row *pg_next_row(struct pg_cursor *at, const struct shard_save *shards, size_t count) {
    for (; at->shard < count; at->shard++, at->index = 0)
        if (at->index < shards[at->shard].row_count)
            return shards[at->shard].rows[at->index++];
    return NULL;
}

const struct view_fact *pg_next_fact(struct pg_cursor *at, const struct shard_save *shards, size_t count) {
    for (; at->shard < count; at->shard++, at->index = 0)
        if (at->index < shards[at->shard].fact_count)
            return &shards[at->shard].facts[at->index++];
    return NULL;
}

void pg_add_arrays(struct pg_params *params, const enum pg_type *types, int count) {
    for (int i = 0; i < count; i++)
        pg_add_array(params, types[i]);
}

void pg_array_filled(struct pg_params *params, int index, struct str value) {
    pg_array_str(params, index, value.len ? value : STR_NULL);
}

void pg_array_time(struct pg_params *params, int index, bool known, int64_t time_us) {
    if (known)
        pg_array_i64(params, index, time_us);
    else
        pg_array_null(params, index);
}

void pg_array_state(struct pg_params *params, int index, const struct view *view, const void *value,
                    struct buf *scratch) {
    buf_reset(scratch);
    state_encode(schema_subject_find(str_from(view->subject)), value, scratch);
    pg_array_str(params, index, buf_str(scratch));
}
