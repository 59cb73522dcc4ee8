/* The log is the truth for the deciders too: their tables, but for what is kept apart (held requests), equal the fold
 * of the events that they write and read. */
#include "cli/verify_room.h"
#include "core/base/config.h"
#include "core/codec/avro.h"
#include "core/store/pg.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SERVICE_COUNT = FOLD_SERVICE_COUNT };

struct deciders {
    struct shop shop;
    struct fold_room rooms[SERVICE_COUNT];
    struct sequences written;                  /* the last numbers of the log */
    char *sql[SERVICE_COUNT][FOLD_TABLES_MAX]; /* statements, known to the connection by their addresses */
};

static void *deciders_begin(const struct verify_options *options, struct verify_result *result) {
    if (!options->database_url[0]) {
        verify_skip(result, "no PostgreSQL is given (DATABASE_URL or --database)");
        return NULL;
    }
    struct deciders *deciders = mem_zalloc(sizeof *deciders);
    deciders->shop = shop_defaults();
    deciders->shop.currency = str_from(config_get("ORDERLOG_CURRENCY", "USD"));
    for (size_t i = 0; i < SERVICE_COUNT; i++)
        fold_room_init(&deciders->rooms[i], fold_services[i].decider, &deciders->shop);
    return deciders;
}

static void deciders_end(void *state) {
    struct deciders *deciders = state;
    for (size_t i = 0; i < SERVICE_COUNT; i++) {
        fold_room_free(&deciders->rooms[i]);
        for (size_t table = 0; table < FOLD_TABLES_MAX; table++)
            free(deciders->sql[i][table]);
    }
    sequences_free(&deciders->written);
    free(deciders);
}

static void deciders_record(void *state, struct verify_result *result, const struct verify_record *record) {
    (void)result;
    struct deciders *deciders = state;
    int64_t last;
    sequences_take(&deciders->written, record->envelope, &last);
    for (size_t i = 0; i < SERVICE_COUNT; i++)
        if (fold_service_reads(&fold_services[i], record->at.topic))
            fold_room_take(&deciders->rooms[i], record);
}

/* ---- do the tables stand where the log is? ---- */

/* One service, compared. */
struct comparison {
    struct deciders *deciders;
    size_t service;
    const struct verify_options *options;
    struct verify_result *result;
    struct pg *pg;
    struct arena arena;
    struct map parked; /* subjects */
};

static const char *service_name(const struct comparison *c) {
    return fold_services[c->service].decider->service;
}

static int64_t range_end(const struct verify_options *options, struct str topic, int32_t partition) {
    for (size_t i = 0; i < options->range_count; i++)
        if (options->ranges[i].partition == partition && str_eq(options->ranges[i].topic, topic))
            return options->ranges[i].to;
    return 0;
}

static bool inputs_stand(const struct comparison *c, const struct state_shard *shard, int32_t index, struct err *err) {
    for (size_t i = 0; i < shard->inputs.count; i++) {
        struct str topic = shard->inputs.items[i].topic;
        int64_t end = range_end(c->options, topic, index), position = shard->inputs.items[i].next_offset;
        if (position != end)
            return err_set(err, ERR_TIMEOUT,
                           "%s is at offset %" PRId64 " of %.*s, partition %d, whose end was %" PRId64
                           " when this began (try --wait SECONDS)",
                           service_name(c), position, STR_ARG(topic), index, end);
    }
    return true;
}

/* What a shard numbered must be in the log, and nothing else. */
static bool outputs_stand(const struct comparison *c, const struct state_shard *shard, int32_t index, struct err *err) {
    BUF_AUTO origin = {0};
    buf_printf(&origin, "%s/%d", service_name(c), index);
    for (size_t i = 0; i < shard->produced.count; i++) {
        const struct state_shard_output *output = &shard->produced.items[i];
        if (!schema_subject_find(output->topic))
            continue; /* dead letters are not read */
        int64_t written = sequences_last(&c->deciders->written, output->topic, output->partition, buf_str(&origin));
        if (written < output->last_seq)
            return err_set(err, ERR_TIMEOUT,
                           "%s has decided up to number %" PRId64
                           " of %.*s, partition %d, but the log has only %" PRId64 " yet",
                           origin.ptr, output->last_seq, STR_ARG(output->topic), output->partition, written);
        if (written > output->last_seq)
            verify_violation(c->result, NULL,
                             "decider: %s knows of number %" PRId64 " of %.*s, partition %d, but the log has %" PRId64,
                             origin.ptr, output->last_seq, STR_ARG(output->topic), output->partition, written);
    }
    return true;
}

static bool shards_stand(struct comparison *c, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(service_name(c)));
    if (!pg_exec(c->pg,
                 "SELECT shard, state, flushed_through = version FROM decider.shard WHERE service = $1 AND state IS "
                 "NOT NULL "
                 "ORDER BY shard",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++) {
        struct state_shard shard;
        int32_t index = (int32_t)pg_get_i64(rows, i, 0);
        if (!pg_get_bool(rows, i, 2))
            return err_set(err, ERR_TIMEOUT,
                           "the tables of %s, shard %d, are behind what it has decided (try --wait SECONDS)",
                           service_name(c), index);
        arena_reset(&c->arena);
        if (!state_decode(schema_subject_find(STR("state/shard")), pg_get_str(rows, i, 1), &c->arena, &shard, err) ||
            !inputs_stand(c, &shard, index, err) || !outputs_stand(c, &shard, index, err))
            return false;
    }
    return true;
}

/* ---- rows ---- */

static bool parked_read(struct comparison *c, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    pg_add_text(&params, str_from(service_name(c)));
    if (!pg_exec(c->pg, "SELECT DISTINCT subject FROM decider.parked WHERE service = $1", &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        *map_put(&c->parked, pg_get_str(rows, i, 0)) = c;
    return true;
}

/* What was set aside is missing from the rows of its subject, by right. A stock row's key is location/sku. */
static bool is_parked(const struct comparison *c, struct str key) {
    struct str sku;
    str_cut(key, '/', &sku);
    return map_get(&c->parked, key) || (sku.ptr && map_get(&c->parked, sku));
}

static void row_compare(struct comparison *c, int table, const struct pg_result *rows, int i) {
    const struct decider_table *spec = &fold_services[c->service].decider->tables[table];
    const struct schema_subject *subject = schema_subject_find(str_from(spec->subject));
    struct str key = pg_get_str(rows, i, 0), bytes = pg_get_str(rows, i, 1);
    struct fold_state *fold = map_get(&c->deciders->rooms[c->service].tables[table], key);
    c->result->count++;
    if (is_parked(c, key))
        return;
    if (!fold) {
        verify_violation(c->result, NULL, "decider.%s: there is a row %.*s, of which the log knows nothing", spec->name,
                         STR_ARG(key));
        return;
    }
    fold->seen = true;
    struct err err = {0};
    void *held = arena_alloc(&c->arena, spec->size), *folded = arena_alloc(&c->arena, spec->size);
    bool same = str_eq(bytes, (struct str){fold->bytes, fold->len});
    if (!same && state_decode(subject, bytes, &c->arena, held, &err) &&
        state_decode(subject, (struct str){fold->bytes, fold->len}, &c->arena, folded, &err))
        same = avro_equal(subject->current->branches[0].type, held, folded);
    if (!same)
        verify_violation(c->result, &fold->at, "decider.%s: the row %.*s is not what the log comes to", spec->name,
                         STR_ARG(key));
    else if (pg_get_i64(rows, i, 2) != fold->guard || pg_get_bool(rows, i, 3) != fold->closed)
        verify_violation(c->result, &fold->at, "decider.%s: guard or closed of the row %.*s is not as in the fold",
                         spec->name, STR_ARG(key));
}

static const char *table_sql(const struct comparison *c, int table) {
    BUF_AUTO sql = {0};
    buf_printf(&sql, "SELECT key, state, guard, closed FROM decider.%s WHERE key > $1 ORDER BY key LIMIT 1000",
               fold_services[c->service].decider->tables[table].name);
    return c->deciders->sql[c->service][table] = mem_strdup(buf_str(&sql));
}

static bool table_compare(struct comparison *c, int table, struct err *err) {
    const struct decider_table *spec = &fold_services[c->service].decider->tables[table];
    struct map *folded = &c->deciders->rooms[c->service].tables[table];
    const char *sql = table_sql(c, table);
    BUF_AUTO after = {0};
    for (int count = 1; count > 0;) {
        PG_PARAMS_AUTO params = {0};
        PG_RESULT_AUTO *rows = NULL;
        pg_add_text(&params, buf_str(&after));
        if (!pg_exec(c->pg, sql, &params, &rows, err))
            return false;
        count = pg_rows(rows);
        arena_reset(&c->arena);
        for (int i = 0; i < count; i++)
            row_compare(c, table, rows, i);
        if (count) {
            buf_reset(&after);
            buf_add_str(&after, pg_get_str(rows, count - 1, 0));
        }
    }
    for (struct map_entry *entry = map_next(folded, NULL); entry; entry = map_next(folded, entry)) {
        const struct fold_state *fold = entry->value;
        if (!fold->seen && !is_parked(c, entry->key))
            verify_violation(c->result, &fold->at, "decider.%s: the row %.*s is missing", spec->name,
                             STR_ARG(entry->key));
    }
    return true;
}

static bool service_compare(struct comparison *c, struct err *err) {
    const struct decider *decider = fold_services[c->service].decider;
    if (!parked_read(c, err) || !shards_stand(c, err))
        return false;
    for (size_t table = 0; table < decider->table_count; table++)
        if (!decider->tables[table].apart && !table_compare(c, (int)table, err))
            return false;
    return true;
}

/* All in one snapshot of PostgreSQL, whose shard rows say where in the log it stands. */
static bool deciders_finish(void *state, const struct verify_options *options, struct verify_result *result,
                            struct err *err) {
    struct pg *pg;
    if (!pg_open(options->database_url, NULL, &pg, err))
        return false;
    bool ok = pg_begin(pg, err) && pg_script(pg, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", err);
    for (size_t i = 0; ok && i < SERVICE_COUNT; i++) {
        struct comparison comparison = {
            .deciders = state, .service = i, .options = options, .result = result, .pg = pg};
        arena_init(&comparison.arena);
        ok = service_compare(&comparison, err);
        arena_free(&comparison.arena);
        map_free(&comparison.parked, NULL);
    }
    pg_close(pg);
    return ok;
}

const struct verify_check verify_deciders = {
    .name = "deciders-equal-log",
    .holds = "every row of the deciders' tables is the fold of the log, and no other is there",
    .begin = deciders_begin,
    .record = deciders_record,
    .finish = deciders_finish,
    .end = deciders_end,
};
