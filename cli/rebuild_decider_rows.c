/* A decider's tables against what the log makes of them, and putting right what differs. */
#include "cli/rebuild_decider.h"

#include "core/codec/avro.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PAGE = 1000 };

struct decider_sql {
    struct decider_sql *next;
    char text[];
};

void decider_sql_free(struct decider_sql *sql) {
    while (sql) {
        struct decider_sql *next = sql->next;
        free(sql);
        sql = next;
    }
}

/* With the table's name for each %s. */
static const char *sql_for(struct decider_shard *shard, const char *format, const struct decider_table *table) {
    BUF_AUTO text = {0};
    for (struct str rest = str_from(format); rest.ptr;) {
        struct str part = str_cut(rest, '%', &rest);
        buf_add_str(&text, part);
        if (rest.ptr)
            buf_printf(&text, "%s", table->name);
    }
    for (struct decider_sql *sql = shard->sql; sql; sql = sql->next)
        if (strcmp(sql->text, text.ptr) == 0)
            return sql->text;
    struct decider_sql *made = mem_alloc(sizeof *made + text.len + 1);
    memcpy(made->text, text.ptr, text.len + 1);
    made->next = shard->sql;
    shard->sql = made;
    return made->text;
}

/* ---- one row ---- */

/* A row as the table has it; state.ptr NULL: it has none. */
struct live_row {
    struct str key;
    int64_t version;
    int64_t guard;
    bool closed;
    struct str state;
};

static struct live_row live_row(const struct pg_result *rows, int i) {
    return (struct live_row){pg_get_str(rows, i, 0), pg_get_i64(rows, i, 1), pg_get_i64(rows, i, 2),
                             pg_get_bool(rows, i, 3), pg_get_str(rows, i, 4)};
}

static bool same_state(struct decider_shard *shard, const struct decider_table *table, struct str live,
                       const struct fold_state *fold, struct buf *what) {
    const struct schema_subject *subject = schema_subject_find(str_from(table->subject));
    const struct schema_type *type = subject->current->branches[0].type;
    struct str folded = {fold->bytes, fold->len};
    struct err err = {0};
    if (str_eq(live, folded))
        return true;
    arena_reset(&shard->arena);
    void *a = arena_alloc(&shard->arena, table->size), *b = arena_alloc(&shard->arena, table->size);
    if (!state_decode(subject, live, &shard->arena, a, &err) ||
        !state_decode(subject, folded, &shard->arena, b, &err)) {
        buf_printf(what, "cannot be read: %s", err.detail);
        return false;
    }
    if (avro_equal(type, a, b))
        return true;
    BUF_AUTO path = {0};
    avro_difference(type, a, b, &path);
    buf_printf(what, "%s differs", path.ptr ? path.ptr : "something");
    return false;
}

/* `fold` NULL: the log makes no such row. */
static bool same_row(struct decider_shard *shard, const struct decider_table *table, const struct live_row *live,
                     const struct fold_state *fold, struct buf *what) {
    if (!live->state.ptr || !fold) {
        if (live->state.ptr)
            buf_printf(what, "is there, and the log knows nothing of it");
        else if (fold)
            buf_printf(what, "is missing");
        return !live->state.ptr && !fold;
    }
    if (!same_state(shard, table, live->state, fold, what))
        return false;
    if (live->guard != fold->guard)
        buf_printf(what, "guard is %" PRId64 ", by the log %" PRId64, live->guard, fold->guard);
    else if (live->closed != fold->closed)
        buf_printf(what, "closed is %s, by the log %s", live->closed ? "true" : "false",
                   fold->closed ? "true" : "false");
    return !what->len;
}

/* ---- all rows, while the owner goes on ---- */

static const struct decider_table *table_of(const struct decider_shard *shard, size_t table) {
    return &shard->config->service->decider->tables[table];
}

static void suspect(struct decider_shard *shard, size_t table, struct str key) {
    BUF_AUTO name = {0};
    buf_printf(&name, "%zu/", table);
    buf_add_str(&name, key);
    *map_put(&shard->suspects, buf_str(&name)) = shard;
}

static bool table_compare(struct decider_shard *shard, size_t table, struct err *err) {
    const struct decider_table *spec = table_of(shard, table);
    const char *sql = sql_for(shard,
                              "SELECT key, version, guard, closed, state FROM decider.% WHERE key > $1 "
                              "AND shard = $2::bigint ORDER BY key LIMIT 1000",
                              spec);
    BUF_AUTO after = {0};
    for (int count = PAGE; count == PAGE;) {
        PG_PARAMS_AUTO params = {0};
        PG_RESULT_AUTO *rows = NULL;
        pg_add_text(&params, buf_str(&after));
        pg_add_i64(&params, shard->index);
        if (!pg_exec(shard->pg, sql, &params, &rows, err))
            return false;
        count = pg_rows(rows);
        for (int i = 0; i < count; i++) {
            struct live_row live = live_row(rows, i);
            struct fold_state *fold = map_get(&shard->room.tables[table], live.key);
            BUF_AUTO ignored = {0};
            if (same_row(shard, spec, &live, fold, &ignored))
                fold->seen = true;
            else
                suspect(shard, table, live.key);
        }
        shard->report->rows_compared += count;
        buf_reset(&after);
        if (count)
            buf_add_str(&after, pg_get_str(rows, count - 1, 0));
    }
    return true;
}

bool decider_rows_compare(struct decider_shard *shard, struct err *err) {
    for (size_t table = 0; table < shard->config->service->decider->table_count; table++)
        if (!table_of(shard, table)->apart && !table_compare(shard, table, err))
            return false;
    return true;
}

/* ---- those that were not the same, under the lock ---- */

struct mending {
    struct decider_shard *shard;
    size_t table;
    const struct str *keys;
    size_t count;
    struct pg_params writes, deletes;
    int64_t write_count, delete_count;
};

static void add_write(struct mending *m, const struct live_row *live, const struct fold_state *fold) {
    struct pg_params *params = &m->writes;
    pg_array_i64(params, 0, m->shard->index);
    pg_array_str(params, 1, live->key);
    pg_array_i64(params, 2, live->version + 1);
    pg_array_i64(params, 3, fold->guard);
    pg_array_i64(params, 4, fold->closed);
    pg_array_str(params, 5, (struct str){fold->bytes, fold->len});
    m->write_count++;
}

static void row_mend(struct mending *m, const struct live_row *live) {
    struct decider_shard *shard = m->shard;
    const struct decider_table *spec = table_of(shard, m->table);
    struct fold_state *fold = map_get(&shard->room.tables[m->table], live->key);
    BUF_AUTO what = {0};
    if (same_row(shard, spec, live, fold, &what))
        return;
    shard->report->differences++;
    if (shard->config->differs)
        shard->config->differs(shard->config->user,
                               &(struct generation_difference){spec->name, live->key, buf_str(&what)});
    if (fold)
        add_write(m, live, fold);
    else {
        pg_array_str(&m->deletes, 0, live->key);
        m->delete_count++;
    }
}

static bool write_all(struct mending *m, struct err *err) {
    struct decider_shard *shard = m->shard;
    const struct decider_table *spec = table_of(shard, m->table);
    return (!m->write_count ||
            pg_exec(shard->pg,
                    sql_for(shard,
                            "INSERT INTO decider.% AS t (shard, key, version, guard, closed, state) SELECT * FROM "
                            "UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bytea[]) "
                            "ON CONFLICT (key) DO UPDATE SET shard = excluded.shard, version = excluded.version, "
                            "guard = excluded.guard, closed = excluded.closed, state = excluded.state",
                            spec),
                    &m->writes, NULL, err)) &&
           (!m->delete_count || pg_exec(shard->pg, sql_for(shard, "DELETE FROM decider.% WHERE key = ANY($1)", spec),
                                        &m->deletes, NULL, err));
}

static bool rows_load(struct mending *m, struct pg_result **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    pg_add_array(&params, PG_TEXT);
    for (size_t i = 0; i < m->count; i++)
        pg_array_str(&params, 0, m->keys[i]);
    return pg_exec(m->shard->pg,
                   sql_for(m->shard,
                           "SELECT key, version, guard, closed, state FROM decider.% WHERE key = ANY($1) ORDER BY key",
                           table_of(m->shard, m->table)),
                   &params, ret, err);
}

static const struct live_row *row_find(const struct live_row *rows, size_t count, struct str key) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(rows[i].key, key))
            return &rows[i];
    return NULL;
}

/* As it will be once what was committed has come into the table. */
static struct live_row row_to_be(const struct mending *m, const struct live_row *live, struct str key) {
    BUF_AUTO name = {0};
    buf_printf(&name, "%zu/", m->table);
    buf_add_str(&name, key);
    const struct decider_change *change = map_get(&m->shard->changes, buf_str(&name));
    if (change && (!live || live->version < change->version))
        return (struct live_row){key, change->version, change->guard, change->closed, {change->state, change->len}};
    return live ? *live : (struct live_row){.key = key};
}

static bool some_mend(struct mending *m, struct err *err) {
    static const enum pg_type types[] = {PG_I64, PG_TEXT, PG_I64, PG_I64, PG_BOOL, PG_BYTES};
    PG_RESULT_AUTO *rows = NULL;
    struct live_row found[PAGE];
    if (!rows_load(m, &rows, err))
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        pg_add_array(&m->writes, types[i]);
    pg_add_array(&m->deletes, PG_TEXT);
    for (int i = 0; i < pg_rows(rows); i++)
        found[i] = live_row(rows, i);
    for (size_t i = 0; i < m->count; i++) {
        struct live_row row = row_to_be(m, row_find(found, (size_t)pg_rows(rows), m->keys[i]), m->keys[i]);
        row_mend(m, &row);
    }
    bool ok = m->shard->config->only_compare || write_all(m, err);
    pg_params_free(&m->writes);
    pg_params_free(&m->deletes);
    return ok;
}

/* Rows of the fold that no live one was the same as, or that changed since; and live ones that were not the same. */
static size_t candidates(struct decider_shard *shard, size_t table, struct arena *arena, struct str **ret) {
    const struct map *folded = &shard->room.tables[table];
    struct str *keys = arena_array(arena, struct str, folded->count + shard->suspects.count);
    struct str prefix = arena_printf(arena, "%zu/", table);
    size_t count = 0;
    for (struct map_entry *entry = map_next(folded, NULL); entry; entry = map_next(folded, entry))
        if (!((const struct fold_state *)entry->value)->seen)
            keys[count++] = entry->key;
    for (struct map_entry *entry = map_next(&shard->suspects, NULL); entry; entry = map_next(&shard->suspects, entry)) {
        struct str key = {entry->key.ptr + prefix.len, entry->key.len - prefix.len};
        const struct fold_state *fold = str_starts_with(entry->key, prefix) ? map_get(folded, key) : NULL;
        if (str_starts_with(entry->key, prefix) && (!fold || fold->seen))
            keys[count++] = key;
    }
    *ret = keys;
    return count;
}

static bool table_mend(struct decider_shard *shard, size_t table, struct arena *arena, int64_t *ret_mended,
                       struct err *err) {
    struct str *keys;
    size_t count = candidates(shard, table, arena, &keys);
    for (size_t at = 0; at < count; at += PAGE) {
        struct mending m = {.shard = shard, .table = table, .keys = keys + at};
        m.count = count - at < PAGE ? count - at : PAGE;
        if (!some_mend(&m, err))
            return false;
        if (!shard->config->only_compare)
            *ret_mended += m.write_count + m.delete_count;
    }
    return true;
}

bool decider_rows_mend(struct decider_shard *shard, int64_t *ret_mended, struct err *err) {
    struct arena arena;
    bool ok = true;
    arena_init(&arena);
    for (size_t table = 0; ok && table < shard->config->service->decider->table_count; table++)
        ok = table_of(shard, table)->apart || table_mend(shard, table, &arena, ret_mended, err);
    arena_free(&arena);
    return ok;
}
