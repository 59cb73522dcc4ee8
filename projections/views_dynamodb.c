#include "projections/views_dynamodb.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/codec/avro.h"
#include "projections/dynamodb_items.h"
#include "projections/store.h"

enum { TRIES = 2, TIMEOUT_MS = 500, AWAY_US = 1000 * 1000, WHOLE_US = 10 * 1000 * 1000 };

struct views_dynamodb {
    struct dynamodb *db;
    char *url;
    const char *table; /* in url */
    int32_t partitions;
    int64_t *whole_until_us; /* by view and shard: known to be whole, not looked at again before */
};

/* Not asked before. One for the process, which has one table: who finds it out finds it out for all. */
static _Atomic int64_t away_until_us;

bool views_url_load(const char **ret, struct err *err) {
    const char *url = config_get("ORDERLOG_VIEWS_URL", NULL), *table;
    *ret = url && *url ? url : NULL;
    return !*ret || dynamodb_table_parse("ORDERLOG_VIEWS_URL", url, &table, err);
}

void views_groups_left(const char *views_url, struct lag_left *ret) {
    const struct projector_store_ops *left = views_url ? &projector_redis : &projector_dynamodb;
    _Static_assert((int)VIEW_COUNT <= (int)LAG_LEFT_MAX, "there is room for all");
    ret->count = 0;
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (views_all[i]->movable)
            projector_group_name(left->name, views_all[i], ret->groups[ret->count++]);
}

bool views_dynamodb_open(const char *url, int32_t partitions, struct views_dynamodb **ret, struct err *err) {
    struct views_dynamodb *dynamodb = mem_zalloc(sizeof(*dynamodb));
    dynamodb->url = mem_strdup(str_from(url));
    dynamodb->partitions = partitions;
    dynamodb->whole_until_us = mem_zalloc((size_t)partitions * VIEW_COUNT * sizeof(int64_t));
    if (!dynamodb_table_parse("ORDERLOG_VIEWS_URL", dynamodb->url, &dynamodb->table, err) ||
        !dynamodb_open(&dynamodb->db, err)) {
        views_dynamodb_close(dynamodb);
        return false;
    }
    dynamodb_hurry(dynamodb->db, TRIES, TIMEOUT_MS);
    *ret = dynamodb;
    return true;
}

void views_dynamodb_close(struct views_dynamodb *dynamodb) {
    if (!dynamodb)
        return;
    dynamodb_close(dynamodb->db);
    free(dynamodb->whole_until_us);
    free(dynamodb->url);
    free(dynamodb);
}

/* ---- what is asked for: the rows, then the positions of their shards that are not known to be whole ---- */

struct asked {
    struct str *ids;
    json_t **items;
    size_t row_count;
    int32_t *shards; /* of the positions, behind the rows */
    size_t shard_count;
};

static int64_t *whole_of(const struct views_dynamodb *dynamodb, const struct view *view, int32_t shard) {
    size_t index = 0;
    while (views_all[index] != view)
        index++;
    return &dynamodb->whole_until_us[index * (size_t)dynamodb->partitions + (size_t)shard];
}

static bool is_asked(const struct asked *asked, int32_t shard) {
    for (size_t i = 0; i < asked->shard_count; i++)
        if (asked->shards[i] == shard)
            return true;
    return false;
}

static struct asked ask_for(const struct views_dynamodb *dynamodb, const struct view *view, const struct str *keys,
                            size_t count, struct arena *arena) {
    struct asked asked = {.ids = arena_array(arena, struct str, 2 * count),
                          .items = arena_array(arena, json_t *, 2 * count),
                          .row_count = count,
                          .shards = arena_array(arena, int32_t, count)};
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < count; i++) {
        int32_t shard = view_shard_of(view, keys[i], dynamodb->partitions);
        asked.ids[i] = item_id_row(arena, view, shard, keys[i]);
        if (now_us < *whole_of(dynamodb, view, shard) || is_asked(&asked, shard))
            continue;
        asked.ids[count + asked.shard_count] = item_id_shard(arena, view, shard);
        asked.shards[asked.shard_count++] = shard;
    }
    return asked;
}

static bool take(struct views_dynamodb *dynamodb, const struct view *view, const struct asked *asked,
                 struct arena *arena, void **ret, bool *ret_whole, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(str_from(view->subject));
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < asked->row_count; i++) {
        struct str bytes = dynamodb_item_bytes(asked->items[i], ITEM_ROW, arena);
        ret[i] = bytes.ptr ? arena_alloc(arena, view->row_size) : NULL;
        if (bytes.ptr && !state_decode(subject, bytes, arena, ret[i], err))
            return err_wrap(err, "a row of view %s", view->name);
    }
    *ret_whole = true;
    for (size_t i = 0; i < asked->shard_count; i++) {
        bool whole = dynamodb_get_number(asked->items[asked->row_count + i], ITEM_WHOLE, 0) == 1;
        *ret_whole = *ret_whole && whole;
        if (whole)
            *whole_of(dynamodb, view, asked->shards[i]) = now_us + WHOLE_US;
    }
    return true;
}

bool views_dynamodb_rows(struct views_dynamodb *dynamodb, const struct view *view, const struct str *keys, size_t count,
                         struct arena *arena, void **ret, bool *ret_whole, struct err *err) {
    if (clock_monotonic_us() < away_until_us)
        return err_set(err, ERR_STORE_UNAVAILABLE, "DynamoDB did not answer a moment ago");
    struct asked asked = ask_for(dynamodb, view, keys, count, arena);
    size_t items = asked.row_count + asked.shard_count;
    if (!dynamodb_items_get(dynamodb->db, dynamodb->table, asked.ids, items, TRIES, asked.items, err)) {
        away_until_us = clock_monotonic_us() + AWAY_US;
        dynamodb_is_away(dynamodb->table, err);
        return false;
    }
    bool ok = take(dynamodb, view, &asked, arena, ret, ret_whole, err);
    for (size_t i = 0; i < items; i++)
        json_decref(asked.items[i]);
    return ok;
}
