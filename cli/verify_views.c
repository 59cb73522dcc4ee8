/* The log is the truth: the rows of every view, in Redis and in PostgreSQL, equal the fold of the log. */
#include "cli/verify_views.h"
#include "core/codec/avro.h"
#include "projections/positions.h"

#include <inttypes.h>
#include <stdlib.h>

/* One store, with all its views. */
struct store_check {
    const struct projector_store_ops *ops;
    const char *url;
    bool (*rows_open)(const char *url, const struct view *view, struct view_rows **ret, struct err *err);
    struct verify_folds *folds;
    struct verify_folds **shared;
};

/* One view in it. */
struct comparison {
    const struct store_check *check;
    const struct verify_options *options;
    struct verify_result *result;
    const struct view *view;
    struct map *rows;  /* of the fold */
    struct map parked; /* subjects that the projector set aside */
    struct arena arena;
    int number;
};

/* ---- is the store where the log is? ---- */

static const struct reader_range *range_find(const struct verify_options *options, struct str topic,
                                             int32_t partition) {
    for (size_t i = 0; i < options->range_count; i++)
        if (options->ranges[i].partition == partition && str_eq(options->ranges[i].topic, topic))
            return &options->ranges[i];
    return NULL;
}

static int32_t partition_count(const struct verify_options *options, const char *topic) {
    int32_t count = 0;
    for (size_t i = 0; i < options->range_count; i++)
        count += str_eq(options->ranges[i].topic, str_from(topic));
    return count;
}

static int64_t position_of(const struct state_positions *positions, struct str topic) {
    for (size_t i = 0; i < positions->topics.count; i++)
        if (str_eq(positions->topics.items[i].topic, topic))
            return positions->topics.items[i].next_offset;
    return 0;
}

/* What differs is told as an error: nothing can be said about rows of another moment than the log's. */
static bool topic_stands(const struct comparison *c, const struct state_positions *positions, const char *name,
                         int32_t shard, struct err *err) {
    struct str topic = str_from(name);
    const struct reader_range *range = range_find(c->options, topic, shard);
    int64_t position = position_of(positions, topic), end = range ? range->to : 0;
    if (position < end)
        return err_set(err, ERR_TIMEOUT,
                       "view %s in %s is %" PRId64 " records behind %s, partition %d (try --wait SECONDS)",
                       c->view->name, c->check->ops->name, end - position, name, shard);
    if (position > end)
        return err_set(err, ERR_TIMEOUT,
                       "view %s in %s is %" PRId64 " records further than %s, partition %d, was when this began: the "
                       "shop is at work",
                       c->view->name, c->check->ops->name, position - end, name, shard);
    return true;
}

static bool shard_stands(const struct comparison *c, const struct state_positions *positions, int32_t shard,
                         struct err *err) {
    for (size_t i = 0; i < c->view->topic_count; i++)
        if (!topic_stands(c, positions, c->view->topics[i], shard, err))
            return false;
    for (const char *const *more = c->check->ops->more_topics(c->view); *more; more++)
        if (!topic_stands(c, positions, *more, shard, err))
            return false;
    return true;
}

static bool shard_check(struct comparison *c, struct projector_store *store, int32_t shard, struct err *err) {
    struct shard_held held = {.positions = STR_NULL};
    struct state_positions positions = {0};
    arena_reset(&c->arena);
    if (!c->check->ops->load(store, shard, &c->arena, &held, err))
        return false;
    if (held.positions.ptr &&
        !state_decode(schema_subject_find(STR("state/positions")), held.positions, &c->arena, &positions, err))
        return false;
    if (held.positions.ptr && !str_eq(positions.log_id, log_id(c->options->log)))
        return err_set(err, ERR_CONFIG, "view %s in %s was made from another log", c->view->name, c->check->ops->name);
    for (size_t i = 0; i < held.parked_count; i++)
        *map_put(&c->parked, held.parked[i]) = c;
    return shard_stands(c, &positions, shard, err);
}

static bool view_stands(struct comparison *c, struct err *err) {
    struct projector_store *store;
    if (!c->check->ops->open(c->check->url, c->view, &store, err))
        return false;
    bool ok = true;
    int32_t shards = partition_count(c->options, c->view->topics[0]);
    for (int32_t shard = 0; ok && shard < shards; shard++)
        ok = shard_check(c, store, shard, err);
    c->check->ops->close(store);
    return ok;
}

/* ---- rows ---- */

static const struct schema_type *row_type(const struct comparison *c) {
    return schema_subject_find(str_from(c->view->subject))->current->branches[0].type;
}

static void row_differs(struct comparison *c, const struct fold_row *row, struct str key, const void *held,
                        const void *folded) {
    BUF_AUTO path = {0};
    avro_difference(row_type(c), held, folded, &path);
    verify_violation(c->result, &row->at, "%s: the %s %.*s is not what the log comes to, in %s", c->check->ops->name,
                     c->view->key_name, STR_ARG(key), path.ptr ? path.ptr : "?");
}

static bool row_compare(struct comparison *c, struct str key, struct str bytes, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(str_from(c->view->subject));
    struct fold_row *row = map_get(c->rows, key);
    c->result->count++;
    if (map_get(&c->parked, key)) {
        if (row)
            row->seen = c->number;
        return true;
    }
    if (!row) {
        verify_violation(c->result, NULL, "%s: there is a %s %.*s, of which the log knows nothing", c->check->ops->name,
                         c->view->key_name, STR_ARG(key));
        return true;
    }
    row->seen = c->number;
    if (str_eq(bytes, (struct str){row->bytes, row->len}))
        return true;
    void *held = arena_alloc(&c->arena, c->view->row_size), *folded = arena_alloc(&c->arena, c->view->row_size);
    if (!state_decode(subject, (struct str){row->bytes, row->len}, &c->arena, folded, err))
        return false;
    struct err why = {0};
    if (!state_decode(subject, bytes, &c->arena, held, &why))
        verify_violation(c->result, &row->at, "%s: the %s %.*s cannot be read: %s", c->check->ops->name,
                         c->view->key_name, STR_ARG(key), why.detail);
    else if (!avro_equal(row_type(c), held, folded))
        row_differs(c, row, key, held, folded);
    return true;
}

static bool rows_compare(struct comparison *c, struct err *err) {
    struct view_rows *rows;
    if (!c->check->rows_open(c->check->url, c->view, &rows, err))
        return false;
    bool ok = true;
    for (size_t count = 1; ok && count;) {
        struct str *keys, *bytes;
        arena_reset(&c->arena);
        ok = view_rows_next(rows, &c->arena, &keys, &bytes, &count, err);
        for (size_t i = 0; ok && i < count; i++)
            ok = row_compare(c, keys[i], bytes[i], err);
    }
    view_rows_close(rows);
    return ok;
}

static void rows_missing(struct comparison *c) {
    for (struct map_entry *entry = map_next(c->rows, NULL); entry; entry = map_next(c->rows, entry)) {
        const struct fold_row *row = entry->value;
        if (row && row->seen != c->number && !map_get(&c->parked, entry->key))
            verify_violation(c->result, &row->at, "%s: the %s %.*s is missing", c->check->ops->name, c->view->key_name,
                             STR_ARG(entry->key));
    }
}

/* What changed while it was looked at, was looked at in vain: so the positions are looked at again. */
static bool view_compare(struct comparison *c, struct err *err) {
    struct verify_result before = *c->result;
    if (!view_stands(c, err))
        return false;
    size_t first = c->result->first.len;
    if (rows_compare(c, err) && view_stands(c, err)) {
        rows_missing(c);
        return true;
    }
    c->result->violations = before.violations;
    c->result->first.len = first;
    return false;
}

/* ---- the checks ---- */

static void *store_begin(const struct verify_options *options, const struct store_check *check) {
    struct store_check *own = mem_alloc(sizeof *own);
    *own = *check;
    own->folds = verify_folds_get(options);
    own->shared = options->folds;
    if (!own->folds->feeder)
        own->folds->feeder = own;
    return own;
}

static void store_record(void *state, struct verify_result *result, const struct verify_record *record) {
    (void)result;
    const struct store_check *check = state;
    if (check->folds->feeder == check)
        verify_folds_record(check->folds, record);
}

static bool store_finish(void *state, const struct verify_options *options, struct verify_result *result,
                         struct err *err) {
    const struct store_check *check = state;
    const struct store_check moved = {.ops = &projector_dynamodb,
                                      .url = options->views_url,
                                      .rows_open = view_rows_open_dynamodb,
                                      .folds = check->folds,
                                      .shared = check->shared};
    bool ok = true, moves = check->ops == &projector_redis && options->views_url;
    for (size_t i = 0; ok && i < VIEW_COUNT; i++) {
        struct comparison comparison = {.check = moves && views_all[i]->movable ? &moved : check,
                                        .options = options,
                                        .result = result,
                                        .view = views_all[i],
                                        .rows = &check->folds->rows[i],
                                        .number = ++check->folds->comparisons};
        arena_init(&comparison.arena);
        ok = view_compare(&comparison, err);
        arena_free(&comparison.arena);
        map_free(&comparison.parked, NULL);
    }
    return ok;
}

static void store_end(void *state) {
    struct store_check *check = state;
    verify_folds_put(check->folds, check->shared);
    free(check);
}

static void *redis_begin(const struct verify_options *options, struct verify_result *result) {
    if (!options->redis_url[0]) {
        verify_skip(result, "no Redis is given (REDIS_URL or --redis)");
        return NULL;
    }
    return store_begin(
        options,
        &(struct store_check){.ops = &projector_redis, .url = options->redis_url, .rows_open = view_rows_open_redis});
}

const struct verify_check verify_redis = {
    .name = "redis-equals-log",
    .holds = "every row of every view in Redis, or where ORDERLOG_VIEWS_URL keeps it, is the fold of the log, and no "
             "other is there",
    .begin = redis_begin,
    .record = store_record,
    .finish = store_finish,
    .end = store_end,
};

static void *postgres_begin(const struct verify_options *options, struct verify_result *result) {
    if (!options->database_url[0]) {
        verify_skip(result, "no PostgreSQL is given (DATABASE_URL or --database)");
        return NULL;
    }
    return store_begin(options, &(struct store_check){.ops = &projector_postgres,
                                                      .url = options->database_url,
                                                      .rows_open = view_rows_open_postgres});
}

static bool postgres_finish(void *state, const struct verify_options *options, struct verify_result *result,
                            struct err *err) {
    return store_finish(state, options, result, err) && verify_postgres_tables(options->database_url, result, err);
}

const struct verify_check verify_postgres = {
    .name = "postgres-equals-log",
    .holds = "every row of every view in PostgreSQL is the fold of the log, and its tables agree with each other",
    .begin = postgres_begin,
    .record = store_record,
    .finish = postgres_finish,
    .end = store_end,
};
