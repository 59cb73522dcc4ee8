#include "projections/views.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/codec/avro.h"
#include "core/domain/cart.h"
#include "core/log/log.h"
#include "core/store/redis.h"
#include "projections/fold_order.h"
#include "projections/fold_recommendation.h"
#include "projections/redis_keys.h"
#include "projections/views_dynamodb.h"
#include "projections/views_pg.h"

/* While Redis is away its rows are read from PostgreSQL; it is asked again this long after it failed. */
enum {
    AWAY_US = 1000 * 1000,
    PINGED_AWAY_US = 3 * 1000 * 1000,
    CONNECT_MS = 250,
    COMMAND_MS = 750,
    GENERATION_TRIES = 4
};

struct views {
    int32_t partitions;
    struct redis *redis;
    atomic_int_least64_t own_away_until_us;
    atomic_int_least64_t *away_until_us; /* Redis is not asked before */
    int32_t *generations;                /* by view and shard: the live ones, as they were when last looked at */
    struct views_pg *pg;                 /* NULL: none is configured */
    struct views_dynamodb *dynamodb;     /* of views that are kept there; NULL: none is */
};

bool views_open(const char *redis_url, const char *database_url, int32_t partitions, struct views **ret,
                struct err *err) {
    const struct redis_options options = {CONNECT_MS, COMMAND_MS};
    struct redis *redis;
    if (partitions < 1)
        return err_set(err, ERR_CONFIG, "the views' topics have %d partitions", partitions);
    if (!redis_open(redis_url, &options, &redis, err))
        return false;
    struct views *views = mem_zalloc(sizeof(*views));
    views->partitions = partitions;
    views->redis = redis;
    views->away_until_us = &views->own_away_until_us;
    views->generations = mem_alloc((size_t)partitions * VIEW_COUNT * sizeof(*views->generations));
    for (int32_t i = 0; i < partitions * VIEW_COUNT; i++)
        views->generations[i] = 1;
    views->pg = database_url && *database_url ? views_pg_new(database_url) : NULL;
    *ret = views;
    return true;
}

void views_close(struct views *views) {
    if (!views)
        return;
    redis_close(views->redis);
    views_pg_free(views->pg);
    views_dynamodb_close(views->dynamodb);
    free(views->generations);
    free(views);
}

bool views_move(struct views *views, const char *dynamodb_url, struct err *err) {
    return !dynamodb_url || views_dynamodb_open(dynamodb_url, views->partitions, &views->dynamodb, err);
}

void views_share(struct views *views, atomic_int_least64_t *away_until_us) {
    views->away_until_us = away_until_us;
}

/* ---- Redis, or PostgreSQL in its stead ---- */

static bool redis_may_be_asked(const struct views *views, struct err *err) {
    if (clock_monotonic_us() >= atomic_load_explicit(views->away_until_us, memory_order_relaxed))
        return true;
    return err_set(err, ERR_STORE_UNAVAILABLE, "Redis did not answer a moment ago");
}

/* Whether PostgreSQL is to be asked after this failure of Redis. */
static bool redis_failed(struct views *views, const struct err *err) {
    if (err->kind != ERR_STORE_UNAVAILABLE)
        return false;
    int64_t now_us = clock_monotonic_us();
    if (now_us >= atomic_load(views->away_until_us))
        atomic_store(views->away_until_us, now_us + AWAY_US);
    return views->pg != NULL;
}

bool views_ping(struct views *views, struct err *err) {
    static const struct str ping[] = {{"PING", 4}};
    struct err away = {0};
    if (redis_call(views->redis, ping, 1, NULL, &away)) {
        atomic_store(views->away_until_us, 0);
        return true;
    }
    /* Who pings does so again and again: the others need not find out for themselves meanwhile. */
    if (views->away_until_us != &views->own_away_until_us && away.kind == ERR_STORE_UNAVAILABLE)
        atomic_store(views->away_until_us, clock_monotonic_us() + PINGED_AWAY_US);
    if (redis_failed(views, &away))
        return views_pg_ping(views->pg, err);
    if (err)
        *err = away;
    return false;
}

static bool row_decode(const struct view *view, struct str bytes, struct arena *arena, void **ret, struct err *err) {
    *ret = NULL;
    if (!bytes.ptr)
        return true;
    void *row = arena_alloc(arena, view->row_size);
    if (!state_decode(schema_subject_find(str_from(view->subject)), arena_dup(arena, bytes), arena, row, err))
        return err_wrap(err, "a row of view %s", view->name);
    *ret = row;
    return true;
}

static int32_t *generation_of(struct views *views, const struct view *view, int32_t shard) {
    size_t index = 0;
    while (views_all[index] != view)
        index++;
    return &views->generations[index * (size_t)views->partitions + (size_t)shard];
}

/* A row together with the number of the live generation. *ret_moved: that is another than the one asked for; ask again.
 * Without a number the shard is being filled: *ret_whole becomes false. */
static bool row_take(struct views *views, const struct view *view, struct str key, const struct redisReply *reply,
                     struct arena *arena, void **ret, bool *ret_whole, bool *ret_moved, struct err *err) {
    int32_t *generation = generation_of(views, view, view_shard_of(view, key, views->partitions));
    struct str marker = redis_text(redis_item(reply, 1));
    int64_t live;
    if (!marker.ptr)
        *ret_whole = false;
    else if (str_to_i64(marker, &live) && live > 0 && live <= INT32_MAX && live != *generation) {
        *generation = (int32_t)live;
        *ret_moved = true;
        return true;
    }
    return row_decode(view, redis_text(redis_item(reply, 0)), arena, ret, err);
}

static bool redis_rows_once(struct views *views, const struct view *view, const struct str *keys, size_t count,
                            struct arena *arena, void **ret, bool *ret_whole, bool *ret_moved, struct err *err) {
    struct redis_command *commands = arena_array(arena, struct redis_command, count);
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, count);
    struct str(*args)[3] = arena_alloc(arena, arena_array_size(sizeof(*args), count));
    *ret_whole = true;
    *ret_moved = false;
    for (size_t i = 0; i < count; i++) {
        int32_t shard = view_shard_of(view, keys[i], views->partitions);
        args[i][0] = STR("MGET");
        args[i][1] = redis_key_row(arena, view, shard, *generation_of(views, view, shard), keys[i]);
        args[i][2] = redis_key_of_shard(arena, view, shard, 0, REDIS_WHOLE);
        commands[i] = (struct redis_command){args[i], 3};
    }
    if (!redis_pipeline(views->redis, commands, count, replies, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!row_take(views, view, keys[i], replies[i], arena, &ret[i], ret_whole, ret_moved, err))
            return false;
    return true;
}

/* A generation goes live once in a while, and its number comes with each row: so the second time is the last but for
 * the rarest of cases. */
static bool redis_rows(struct views *views, const struct view *view, const struct str *keys, size_t count,
                       struct arena *arena, void **ret, bool *ret_whole, struct err *err) {
    bool moved = true;
    if (!redis_may_be_asked(views, err))
        return false;
    for (int tries = 0; moved && tries < GENERATION_TRIES; tries++)
        if (!redis_rows_once(views, view, keys, count, arena, ret, ret_whole, &moved, err))
            return false;
    return !moved || err_set(err, ERR_STORE_UNAVAILABLE, "the rows of view %s in Redis are being swapped", view->name);
}

/* Redis is being filled: its rows may be missing, or old. PostgreSQL's are not, unless it is away, too: then what there
 * is must do. */
static bool rows_read_complete(struct views *views, const struct view *view, const struct str *keys, size_t count,
                               struct arena *arena, void **ret, struct err *err) {
    void **rows = arena_array(arena, void *, count);
    struct err away = {0};
    if (!views->pg)
        return true;
    if (views_pg_rows(views->pg, view, keys, count, arena, rows, &away)) {
        memcpy(ret, rows, count * sizeof(*rows));
        return true;
    }
    if (away.kind == ERR_STORE_UNAVAILABLE)
        return true;
    if (err)
        *err = away;
    return false;
}

/* Nobody is told of changes there: so what is read is never hot. */
static bool rows_read_moved(struct views *views, const struct view *view, const struct str *keys, size_t count,
                            struct arena *arena, void **ret, struct err *err) {
    struct err away = {0};
    bool whole;
    if (views_dynamodb_rows(views->dynamodb, view, keys, count, arena, ret, &whole, &away))
        return whole || rows_read_complete(views, view, keys, count, arena, ret, err);
    if (views->pg && away.kind == ERR_STORE_UNAVAILABLE)
        return views_pg_rows(views->pg, view, keys, count, arena, ret, err);
    if (err)
        *err = away;
    return false;
}

static bool rows_read(struct views *views, const struct view *view, const struct str *keys, size_t count,
                      struct arena *arena, void **ret, bool *ret_hot, struct err *err) {
    struct err away = {0};
    *ret_hot = true;
    if (!count)
        return true;
    if (view->movable && views->dynamodb) {
        *ret_hot = false;
        return rows_read_moved(views, view, keys, count, arena, ret, err);
    }
    if (redis_rows(views, view, keys, count, arena, ret, ret_hot, &away))
        return *ret_hot || rows_read_complete(views, view, keys, count, arena, ret, err);
    *ret_hot = false;
    if (redis_failed(views, &away))
        return views_pg_rows(views->pg, view, keys, count, arena, ret, err);
    if (err)
        *err = away;
    return false;
}

/* Spoken of, but not there yet. */
static bool is_shown(const struct view *view, const void *row) {
    if (view == &view_orders)
        return order_row_is_served(row);
    return view != &view_carts || cart_exists(row);
}

bool views_rows(struct views *views, const struct view *view, const struct str *keys, size_t count, struct arena *arena,
                void **ret, bool *ret_hot, struct err *err) {
    void **rows = arena_array(arena, void *, count);
    if (!rows_read(views, view, keys, count, arena, rows, ret_hot, err))
        return false;
    for (size_t i = 0; i < count; i++)
        ret[i] = is_shown(view, rows[i]) ? rows[i] : NULL;
    return true;
}

/* ---- rows ---- */

static bool row_of(struct views *views, const struct view *view, struct str key, struct arena *arena, void **ret,
                   struct err *err) {
    bool hot;
    return views_rows(views, view, &key, 1, arena, ret, &hot, err);
}

bool views_order(struct views *views, struct str order_id, struct arena *arena, struct view_order_row **ret,
                 struct err *err) {
    void *row;
    if (!row_of(views, &view_orders, order_id, arena, &row, err))
        return false;
    *ret = row;
    return true;
}

bool views_cart(struct views *views, struct str cart_id, struct arena *arena, struct state_cart **ret,
                struct err *err) {
    void *row;
    if (!row_of(views, &view_carts, cart_id, arena, &row, err))
        return false;
    *ret = row;
    return true;
}

bool views_product(struct views *views, struct str sku, struct arena *arena, struct view_product_row **ret,
                   struct err *err) {
    return views_products(views, &sku, 1, arena, ret, err);
}

bool views_products(struct views *views, const struct str *skus, size_t count, struct arena *arena,
                    struct view_product_row **ret, struct err *err) {
    void **rows = arena_array(arena, void *, count);
    bool hot;
    if (!views_rows(views, &view_products, skus, count, arena, rows, &hot, err))
        return false;
    for (size_t i = 0; i < count; i++)
        ret[i] = rows[i];
    return true;
}

bool views_recommendations(struct views *views, struct str sku, size_t limit, struct arena *arena,
                           struct view_partner **ret, size_t *ret_count, struct err *err) {
    size_t shards = (size_t)views->partitions;
    struct str *keys = arena_array(arena, struct str, shards);
    void **rows = arena_array(arena, void *, shards);
    bool hot;
    for (size_t i = 0; i < shards; i++)
        keys[i] = recommendation_key(arena, (int32_t)i, sku);
    if (!views_rows(views, &view_recommendations, keys, shards, arena, rows, &hot, err))
        return false;
    *ret_count = recommendation_merge(arena, (struct view_recommendation_row *const *)(void *)rows, shards, limit, ret);
    return true;
}

/* ---- pages and histories ---- */

static bool pg_configured(const struct views *views, struct err *err) {
    return views->pg || err_set(err, ERR_CONFIG, "lists need a database, and none is configured");
}

bool views_product_page(struct views *views, struct str after, int32_t limit, struct arena *arena,
                        struct view_product_row ***ret, size_t *ret_count, struct str *ret_next, struct err *err) {
    struct views_page page;
    if (!pg_configured(views, err) || !views_pg_products(views->pg, after, limit, arena, &page, err))
        return false;
    *ret = (struct view_product_row **)(void *)page.rows;
    *ret_count = page.count;
    *ret_next = page.next;
    return true;
}

bool views_order_page(struct views *views, struct str shopper_id, struct str after, int32_t limit, struct arena *arena,
                      struct view_order_row ***ret, size_t *ret_count, struct str *ret_next, struct err *err) {
    struct views_page page;
    if (!pg_configured(views, err) || !views_pg_orders(views->pg, shopper_id, after, limit, arena, &page, err))
        return false;
    *ret = (struct view_order_row **)(void *)page.rows;
    *ret_count = page.count;
    *ret_next = page.next;
    return true;
}

bool views_order_events_json(struct views *views, struct str order_id, struct buf *ret, struct err *err) {
    return pg_configured(views, err) && views_pg_order_events(views->pg, order_id, ret, err);
}
