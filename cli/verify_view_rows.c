/* All rows of a view in a store, page by page. */
#include "cli/verify_views.h"
#include "core/store/pg.h"
#include "core/codec/avro.h"
#include "core/store/redis.h"
#include "projections/dynamodb_items.h"

#include <stdlib.h>

struct view_rows {
    const struct view *view;
    struct redis *redis;
    struct buf cursor; /* of SCAN */
    bool at_end;
    int32_t *generations; /* by shard, the live ones when first looked at; 0: not yet */
    int32_t shard_count;
    struct pg *pg;
    struct buf after; /* the last key of the page before */
    struct dynamodb *dynamodb;
    char *url;
    const char *table; /* in url */
    json_t *from;      /* of the next page of a Scan; NULL: it begins, or ends */
};

void view_rows_close(struct view_rows *rows) {
    if (!rows)
        return;
    redis_close(rows->redis);
    if (rows->pg)
        pg_close(rows->pg);
    buf_free(&rows->cursor);
    free(rows->generations);
    dynamodb_close(rows->dynamodb);
    free(rows->url);
    json_decref(rows->from);
    buf_free(&rows->after);
    free(rows);
}

/* ---- Redis: SCAN for the keys, MGET for the values. A key may come twice; then it is compared twice. ---- */

bool view_rows_open_redis(const char *url, const struct view *view, struct view_rows **ret, struct err *err) {
    struct redis *redis;
    if (!redis_open(url, NULL, &redis, err))
        return false;
    struct view_rows *rows = mem_zalloc(sizeof *rows);
    rows->view = view;
    rows->redis = redis;
    buf_printf(&rows->cursor, "0");
    *ret = rows;
    return true;
}

static bool live_generation(struct view_rows *rows, int32_t shard, struct arena *arena, int32_t *ret, struct err *err) {
    const struct str get[] = {STR("GET"), redis_key_of_shard(arena, rows->view, shard, 0, REDIS_POSITIONS)};
    struct state_positions positions = {.generation = 1};
    const struct redisReply *reply;
    if (!redis_call(rows->redis, get, 2, &reply, err))
        return false;
    struct str bytes = arena_dup(arena, redis_text(reply));
    if (bytes.ptr && !state_decode(schema_subject_find(STR("state/positions")), bytes, arena, &positions, err))
        return false;
    *ret = positions.generation;
    return true;
}

/* Of the shards of these keys. */
static bool generations_read(struct view_rows *rows, struct arena *arena, const struct str *names, size_t count,
                             struct err *err) {
    for (size_t i = 0; i < count; i++) {
        int32_t shard, generation;
        struct str key;
        if (!redis_key_row_read(names[i], rows->view, &shard, &generation, &key))
            continue;
        if (shard >= rows->shard_count) {
            rows->generations = mem_realloc(rows->generations, ((size_t)shard + 1) * sizeof *rows->generations);
            while (rows->shard_count <= shard)
                rows->generations[rows->shard_count++] = 0;
        }
        if (!rows->generations[shard] && !live_generation(rows, shard, arena, &rows->generations[shard], err))
            return false;
    }
    return true;
}

/* A rebuild may have put another generation in the place of the one that was read. */
static bool generations_stand(struct view_rows *rows, struct arena *arena, struct err *err) {
    for (int32_t shard = 0; shard < rows->shard_count; shard++) {
        int32_t now;
        if (!rows->generations[shard])
            continue;
        if (!live_generation(rows, shard, arena, &now, err))
            return false;
        if (now != rows->generations[shard])
            return err_set(err, ERR_TIMEOUT, "view %s in Redis was swapped while it was read", rows->view->name);
    }
    return true;
}

static bool redis_scan(struct view_rows *rows, struct arena *arena, struct str **ret_names, size_t *ret_count,
                       struct err *err) {
    struct str pattern = arena_printf(arena, "{p*}:*%s:*", rows->view->key_name);
    const struct str scan[] = {STR("SCAN"), buf_str(&rows->cursor), STR("MATCH"), pattern, STR("COUNT"), STR("1000")};
    const struct redisReply *reply;
    if (!redis_call(rows->redis, scan, sizeof scan / sizeof scan[0], &reply, err))
        return false;
    const struct redisReply *found = redis_item(reply, 1);
    *ret_count = redis_count(found);
    *ret_names = arena_array(arena, struct str, *ret_count);
    for (size_t i = 0; i < *ret_count; i++)
        (*ret_names)[i] = arena_dup(arena, redis_text(redis_item(found, i)));
    struct str next = redis_text(redis_item(reply, 0));
    rows->at_end = str_eq(next, STR("0"));
    struct str kept = arena_dup(arena, next);
    buf_reset(&rows->cursor);
    buf_add_str(&rows->cursor, kept);
    return true;
}

static bool redis_get(struct view_rows *rows, struct arena *arena, const struct str *names, size_t count,
                      struct str *ret_keys, struct str *ret_bytes, size_t *ret_count, struct err *err) {
    struct str *args = arena_array(arena, struct str, count + 1);
    const struct redisReply *reply;
    if (!generations_read(rows, arena, names, count, err))
        return false;
    args[0] = STR("MGET");
    for (size_t i = 0; i < count; i++)
        args[i + 1] = names[i];
    if (!redis_call(rows->redis, args, count + 1, &reply, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct str key, bytes = redis_text(redis_item(reply, i));
        int32_t shard, generation;
        if (!redis_key_row_read(names[i], rows->view, &shard, &generation, &key) ||
            generation != rows->generations[shard] || !bytes.ptr)
            continue; /* not a row, not a live one, or gone since the scan */
        ret_keys[*ret_count] = key;
        ret_bytes[(*ret_count)++] = arena_dup(arena, bytes);
    }
    return true;
}

/* A page of a scan may be empty and not the last. */
static bool redis_next(struct view_rows *rows, struct arena *arena, struct str **ret_keys, struct str **ret_bytes,
                       size_t *ret_count, struct err *err) {
    while (!*ret_count && !rows->at_end) {
        struct str *names;
        size_t count;
        if (!redis_scan(rows, arena, &names, &count, err))
            return false;
        *ret_keys = arena_array(arena, struct str, count);
        *ret_bytes = arena_array(arena, struct str, count);
        if (count && !redis_get(rows, arena, names, count, *ret_keys, *ret_bytes, ret_count, err))
            return false;
    }
    return *ret_count || generations_stand(rows, arena, err);
}

/* ---- PostgreSQL: by key, all in one snapshot ---- */

bool view_rows_open_postgres(const char *url, const struct view *view, struct view_rows **ret, struct err *err) {
    struct pg *pg;
    if (!pg_open(url, NULL, &pg, err))
        return false;
    struct view_rows *rows = mem_zalloc(sizeof *rows);
    rows->view = view;
    rows->pg = pg;
    if (!pg_begin(pg, err) || !pg_script(pg, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", err)) {
        view_rows_close(rows);
        return false;
    }
    *ret = rows;
    return true;
}

static bool pg_page(struct view_rows *rows, struct pg_result **ret, struct err *err) {
    PG_PARAMS_AUTO params = {0};
    bool first = !rows->after.len;
    bool by_text = rows->view == &view_products || rows->view == &view_recommendations;
    pg_add_bool(&params, first);
    pg_add_text(&params, first && !by_text ? STR("00000000-0000-0000-0000-000000000000") : buf_str(&rows->after));
    if (rows->view == &view_products)
        return pg_exec(rows->pg, "SELECT sku, \"row\" FROM view.products WHERE $1 OR sku > $2 ORDER BY sku LIMIT 1000",
                       &params, ret, err);
    if (rows->view == &view_recommendations)
        return pg_exec(rows->pg,
                       "SELECT key, \"row\" FROM view.recommendations WHERE $1 OR key > $2 ORDER BY key LIMIT 1000",
                       &params, ret, err);
    if (rows->view == &view_carts)
        return pg_exec(rows->pg,
                       "SELECT cart_id::text, \"row\" FROM view.carts WHERE $1 OR cart_id > $2::uuid"
                       " ORDER BY cart_id LIMIT 1000",
                       &params, ret, err);
    return pg_exec(rows->pg,
                   "SELECT order_id::text, \"row\" FROM view.orders WHERE $1 OR order_id > $2::uuid"
                   " ORDER BY order_id LIMIT 1000",
                   &params, ret, err);
}

static bool pg_next(struct view_rows *rows, struct arena *arena, struct str **ret_keys, struct str **ret_bytes,
                    size_t *ret_count, struct err *err) {
    PG_RESULT_AUTO *page = NULL;
    if (!pg_page(rows, &page, err))
        return false;
    *ret_count = (size_t)pg_rows(page);
    *ret_keys = arena_array(arena, struct str, *ret_count);
    *ret_bytes = arena_array(arena, struct str, *ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        (*ret_keys)[i] = arena_dup(arena, pg_get_str(page, (int)i, 0));
        (*ret_bytes)[i] = arena_dup(arena, pg_get_str(page, (int)i, 1));
    }
    buf_reset(&rows->after);
    if (*ret_count)
        buf_add_str(&rows->after, (*ret_keys)[*ret_count - 1]);
    return true;
}

/* ---- DynamoDB: Scan ---- */

bool view_rows_open_dynamodb(const char *url, const struct view *view, struct view_rows **ret, struct err *err) {
    struct view_rows *rows = mem_zalloc(sizeof *rows);
    rows->view = view;
    rows->url = mem_strdup(str_from(url));
    if (!dynamodb_table_parse("ORDERLOG_VIEWS_URL", rows->url, &rows->table, err) ||
        !dynamodb_open(&rows->dynamodb, err)) {
        view_rows_close(rows);
        return false;
    }
    *ret = rows;
    return true;
}

static bool dynamodb_page(struct view_rows *rows, json_t **ret, struct err *err) {
    json_t *request = json_pack("{s:s, s:b}", "TableName", rows->table, "ConsistentRead", 1);
    if (rows->from)
        json_object_set(request, "ExclusiveStartKey", rows->from);
    if (dynamodb_call(rows->dynamodb, "Scan", request, ret, err) != DYNAMODB_DONE)
        return err_wrap(err, "table %s", rows->table);
    json_decref(rows->from);
    rows->from = json_incref(json_object_get(*ret, "LastEvaluatedKey"));
    rows->at_end = !rows->from;
    return true;
}

/* A page of a scan may have none of this view and not be the last. */
static bool dynamodb_next(struct view_rows *rows, struct arena *arena, struct str **ret_keys, struct str **ret_bytes,
                          size_t *ret_count, struct err *err) {
    while (!*ret_count && !rows->at_end) {
        json_t *page = NULL, *item;
        size_t i;
        if (!dynamodb_page(rows, &page, err))
            return false;
        const json_t *items = json_object_get(page, "Items");
        *ret_keys = arena_array(arena, struct str, json_array_size(items));
        *ret_bytes = arena_array(arena, struct str, json_array_size(items));
        json_array_foreach(items, i, item) {
            int32_t shard, generation;
            struct str key, id = dynamodb_get_text(item, ITEM_ID);
            if (!redis_key_row_read(id, rows->view, &shard, &generation, &key))
                continue;
            (*ret_keys)[*ret_count] = arena_dup(arena, key);
            (*ret_bytes)[(*ret_count)++] = dynamodb_item_bytes(item, ITEM_ROW, arena);
        }
        json_decref(page);
    }
    return true;
}

bool view_rows_next(struct view_rows *rows, struct arena *arena, struct str **ret_keys, struct str **ret_bytes,
                    size_t *ret_count, struct err *err) {
    *ret_count = 0;
    if (rows->dynamodb)
        return dynamodb_next(rows, arena, ret_keys, ret_bytes, ret_count, err);
    return rows->redis ? redis_next(rows, arena, ret_keys, ret_bytes, ret_count, err)
                       : pg_next(rows, arena, ret_keys, ret_bytes, ret_count, err);
}
