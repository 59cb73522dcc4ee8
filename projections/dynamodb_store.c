/* Read models in DynamoDB: an item per row, absolute values only.
 *
 * What a poll changed in a shard is one transaction: the rows, and the shard's positions on the condition that they are
 * still those gone on from. So a second owner, or the same records again, change nothing. Polls are small enough that
 * views with one row per record always fit into one. Where a record changes several rows they may not: then there are
 * several transactions, each on that condition, and the last moves the positions. Rows that are ahead after a crash in
 * between come to the same, because such a view's rows know up to where they were counted. */
#include <stdlib.h>

#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "projections/dynamodb_items.h"
#include "projections/row_cache.h"
#include "projections/store.h"

/* DynamoDB takes 100 items and 4 MB in a transaction; one item is the positions'. */
enum { ITEMS_MAX = 99, BYTES_MAX = 3 << 20, ROUNDS = 12 };

struct projector_store {
    const struct view *view;
    const struct schema_subject *subject;
    struct dynamodb *db;
    char *url;
    const char *table;     /* in url */
    struct row_cache rows; /* as they were written last */
};

static const char *const *more_topics(const struct view *view) {
    static const char *const none[] = {NULL};
    (void)view;
    return none;
}

static void store_close(struct projector_store *store) {
    dynamodb_close(store->db);
    row_cache_clear(&store->rows);
    free(store->url);
    free(store);
}

static bool store_open(const char *url, const struct view *view, struct projector_store **ret, struct err *err) {
    struct projector_store *store = mem_zalloc(sizeof(*store));
    store->view = view;
    store->subject = schema_subject_find(str_from(view->subject));
    store->url = mem_strdup(str_from(url));
    if (!dynamodb_table_parse("ORDERLOG_VIEWS_URL", store->url, &store->table, err) ||
        !dynamodb_open(&store->db, err)) {
        store_close(store);
        return false;
    }
    *ret = store;
    return true;
}

/* ---- reading ---- */

static void take_parked(const json_t *item, struct arena *arena, struct shard_held *ret) {
    const json_t *subjects = json_object_get(json_object_get(item, ITEM_PARKED), "SS");
    ret->parked_count = json_array_size(subjects);
    ret->parked = arena_array(arena, struct str, ret->parked_count);
    for (size_t i = 0; i < ret->parked_count; i++) {
        const json_t *subject = json_array_get(subjects, i);
        ret->parked[i] = arena_dup(arena, (struct str){json_string_value(subject), json_string_length(subject)});
    }
}

/* Whatever the reason was to read the positions again, it may have been that somebody else wrote the rows. */
static bool store_load(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                       struct err *err) {
    struct str id = item_id_shard(arena, store->view, shard);
    json_t *item;
    row_cache_clear(&store->rows);
    if (!dynamodb_items_get(store->db, store->table, &id, 1, ROUNDS, &item, err)) {
        dynamodb_is_away(store->table, err);
        return false;
    }
    ret->positions = dynamodb_item_bytes(item, ITEM_POSITIONS, arena);
    if (ret->positions.ptr)
        take_parked(item, arena, ret);
    json_decref(item);
    return true;
}

static bool row_decode(const struct projector_store *store, struct view_row *row, struct str bytes, struct arena *arena,
                       struct err *err) {
    if (!bytes.ptr)
        return true;
    void *value = arena_alloc(arena, store->view->row_size);
    if (!state_decode(store->subject, bytes, arena, value, err))
        return err_wrap(err, "the row of %s %.*s", store->view->key_name, STR_ARG(row->key));
    row->value = value;
    return true;
}

static bool store_load_rows(struct projector_store *store, struct view_row *const *rows, size_t count,
                            struct arena *arena, struct err *err) {
    struct str *ids = arena_array(arena, struct str, count);
    struct view_row **wanted = arena_array(arena, struct view_row *, count);
    json_t **items = arena_array(arena, json_t *, count);
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct str bytes = row_cache_get(&store->rows, rows[i]->key);
        if (!row_decode(store, rows[i], arena_dup(arena, bytes), arena, err))
            return false;
        if (bytes.ptr)
            continue;
        ids[left] = item_id_row(arena, store->view, rows[i]->shard, rows[i]->key);
        wanted[left++] = rows[i];
    }
    if (!dynamodb_items_get(store->db, store->table, ids, left, ROUNDS, items, err)) {
        dynamodb_is_away(store->table, err);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < left; i++) {
        ok = ok && row_decode(store, wanted[i], dynamodb_item_bytes(items[i], ITEM_ROW, arena), arena, err);
        json_decref(items[i]);
    }
    return ok;
}

/* ---- writing ---- */

struct saving {
    struct projector_store *store;
    struct shard_save *save;
    struct arena *arena;
    json_t *items; /* of the transaction that is being made */
    size_t bytes;
};

static json_t *condition_of(const struct saving *saving, json_t *values) {
    if (!saving->save->expected.ptr)
        return json_string("attribute_not_exists(" ITEM_POSITIONS ")");
    json_object_set_new(values, ":expected", dynamodb_bytes(saving->save->expected));
    return json_string(ITEM_POSITIONS " = :expected");
}

static json_t *on_positions(const struct saving *saving, const char *what, json_t *values) {
    struct str id = item_id_shard(saving->arena, saving->store->view, saving->save->shard);
    json_t *condition = condition_of(saving, values);
    json_t *request = json_pack("{s:s, s:{s:o}, s:o}", "TableName", saving->store->table, "Key", ITEM_ID,
                                dynamodb_text(id), "ConditionExpression", condition);
    if (json_object_size(values))
        json_object_set(request, "ExpressionAttributeValues", values);
    json_decref(values);
    return json_pack("{s:o}", what, request);
}

static json_t *positions_check(const struct saving *saving) {
    return on_positions(saving, "ConditionCheck", json_object());
}

static json_t *positions_update(const struct saving *saving) {
    const struct shard_save *save = saving->save;
    BUF_AUTO expression = {0};
    json_t *values = json_pack("{s:o}", ":positions", dynamodb_bytes(save->positions));
    buf_printf(&expression, "SET " ITEM_POSITIONS " = :positions%s", save->whole ? ", " ITEM_WHOLE " = :whole" : "");
    if (save->whole)
        json_object_set_new(values, ":whole", dynamodb_number(1));
    if (save->parked_count) {
        json_t *subjects = json_array();
        for (size_t i = 0; i < save->parked_count; i++) {
            struct str subject = save->parked[i].subject;
            bool again = false;
            for (size_t k = 0; k < i && !again; k++)
                again = str_eq(save->parked[k].subject, subject);
            if (!again)
                json_array_append_new(subjects, json_stringn(subject.ptr, subject.len));
        }
        json_object_set_new(values, ":parked", json_pack("{s:o}", "SS", subjects));
        buf_add_str(&expression, STR(" ADD " ITEM_PARKED " :parked"));
    }
    json_t *update = on_positions(saving, "Update", values);
    json_object_set_new(json_object_get(update, "Update"), "UpdateExpression", json_string(expression.ptr));
    return update;
}

/* With a token, so that a second try of what was done, and not answered, is no conflict. */
static enum dynamodb_result commit(struct saving *saving, json_t *on_positions, struct err *err) {
    struct id token = id_random();
    json_array_append_new(saving->items, on_positions);
    json_t *request = json_pack("{s:o, s:s}", "TransactItems", saving->items, "ClientRequestToken", token.text);
    saving->items = json_array();
    saving->bytes = 0;
    return dynamodb_call(saving->store->db, "TransactWriteItems", request, NULL, err);
}

static enum dynamodb_result put(struct saving *saving, struct str id, struct str bytes, struct err *err) {
    enum dynamodb_result result = DYNAMODB_DONE;
    if (json_array_size(saving->items) == ITEMS_MAX || saving->bytes + bytes.len > BYTES_MAX)
        result = commit(saving, positions_check(saving), err);
    saving->bytes += bytes.len;
    json_array_append_new(saving->items,
                          json_pack("{s:{s:s, s:{s:o, s:o}}}", "Put", "TableName", saving->store->table, "Item",
                                    ITEM_ID, dynamodb_text(id), ITEM_ROW, dynamodb_bytes(bytes)));
    return result;
}

static enum dynamodb_result put_rows(struct saving *saving, struct err *err) {
    struct projector_store *store = saving->store;
    const struct shard_save *save = saving->save;
    enum dynamodb_result result = DYNAMODB_DONE;
    BUF_AUTO bytes = {0};
    for (size_t i = 0; i < save->row_count && result == DYNAMODB_DONE; i++) {
        const struct view_row *row = save->rows[i];
        buf_reset(&bytes);
        state_encode(store->subject, row->value, &bytes);
        row_cache_put(&store->rows, row->key, buf_str(&bytes)); /* should this fail, the shard is loaded again */
        result = put(saving, item_id_row(saving->arena, store->view, save->shard, row->key), buf_str(&bytes), err);
    }
    return result;
}

static enum dynamodb_result put_parked(struct saving *saving, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(STR("state/parked"));
    const struct shard_save *save = saving->save;
    enum dynamodb_result result = DYNAMODB_DONE;
    BUF_AUTO bytes = {0};
    for (size_t i = 0; i < save->parked_count && result == DYNAMODB_DONE; i++) {
        const struct state_parked *parked = &save->parked[i];
        struct str prefix = redis_key_of_shard(saving->arena, saving->store->view, save->shard, 0, REDIS_PARKED);
        buf_reset(&bytes);
        state_encode(subject, parked, &bytes);
        result = put(saving,
                     arena_printf(saving->arena, "%.*s:%.*s:%lld", STR_ARG(prefix), STR_ARG(parked->topic),
                                  (long long)parked->offset),
                     buf_str(&bytes), err);
    }
    return result;
}

static bool shard_save(struct projector_store *store, struct shard_save *save, struct arena *arena, struct err *err) {
    struct saving saving = {.store = store, .save = save, .arena = arena, .items = json_array()};
    enum dynamodb_result result = put_rows(&saving, err);
    if (result == DYNAMODB_DONE)
        result = put_parked(&saving, err);
    if (result == DYNAMODB_DONE)
        result = commit(&saving, positions_update(&saving), err);
    json_decref(saving.items);
    save->conflict = result == DYNAMODB_NOT_SO;
    if (result == DYNAMODB_FAILED)
        dynamodb_is_away(store->table, err);
    return result != DYNAMODB_FAILED;
}

static bool store_save(struct projector_store *store, struct shard_save *shards, size_t count, struct arena *arena,
                       struct err *err) {
    for (size_t i = 0; i < count; i++)
        if (!shard_save(store, &shards[i], arena, err))
            return false;
    return true;
}

const struct projector_store_ops projector_dynamodb = {.name = "dynamodb",
                                                       .batch_max = ITEMS_MAX,
                                                       .more_topics = more_topics,
                                                       .open = store_open,
                                                       .close = store_close,
                                                       .load = store_load,
                                                       .load_rows = store_load_rows,
                                                       .save = store_save};
