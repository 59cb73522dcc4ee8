/* What a shard's owner has committed and not brought into the tables yet (consumers/flush.h): the tables as they would
 * be are the tables and these. */
#include "cli/rebuild_decider.h"

#include "core/codec/avro.h"

#include <stdlib.h>

static void change_keep(struct decider_shard *shard, size_t table, const struct state_changed_row *row) {
    BUF_AUTO name = {0};
    buf_printf(&name, "%zu/", table);
    buf_add_str(&name, row->key);
    void **place = map_put(&shard->changes, buf_str(&name));
    struct decider_change *change = mem_alloc(sizeof *change + row->state.len);
    *change = (struct decider_change){row->version, row->guard, row->closed, row->state.len};
    memcpy(change->state, row->state.ptr, row->state.len);
    free(*place);
    *place = change;
}

static bool changes_keep(struct decider_shard *shard, struct str bytes, struct err *err) {
    const struct decider *decider = shard->config->service->decider;
    struct state_changes changes;
    arena_reset(&shard->arena);
    if (!state_decode(schema_subject_find(STR("state/changes")), bytes, &shard->arena, &changes, err))
        return err_wrap(err, "what a batch changed");
    for (size_t i = 0; i < changes.rows.count; i++)
        for (size_t table = 0; table < decider->table_count; table++)
            if (!decider->tables[table].apart &&
                str_eq(changes.rows.items[i].table, str_from(decider->tables[table].name)))
                change_keep(shard, table, &changes.rows.items[i]);
    return true;
}

bool decider_changes_read(struct decider_shard *shard, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    map_free(&shard->changes, free);
    pg_add_text(&params, str_from(shard->config->service->decider->service));
    pg_add_i64(&params, shard->index);
    if (!pg_exec(shard->pg,
                 "SELECT o.changes FROM decider.outbox o JOIN decider.shard s USING (service, shard) "
                 "WHERE o.service = $1 AND o.shard = $2::bigint AND o.id > s.flushed_through "
                 "AND o.changes IS NOT NULL ORDER BY o.id",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        if (!changes_keep(shard, pg_get_str(rows, i, 0), err))
            return false;
    return true;
}
