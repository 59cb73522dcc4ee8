#include "projections/dynamodb_items.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/map.h"

enum { GET_MAX = 100, PAUSE_MS = 50, PAUSE_MAX_MS = 1000 };

struct getting {
    struct dynamodb *db;
    const char *table;
    int rounds;
    struct map places; /* of an id: where its item goes */
};

static void take_items(struct getting *getting, const json_t *answer) {
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json_object_get(answer, "Responses"), getting->table), i, item) {
        json_t **place = map_get(&getting->places, dynamodb_get_text(item, ITEM_ID));
        if (place)
            *place = json_incref(item);
    }
}

/* Of these keys, again and again what there was no room for in the answer, or no capacity. */
static bool get_keys(struct getting *getting, json_t *keys, struct err *err) {
    int64_t pause_ms = PAUSE_MS;
    for (int round = 0; keys && round < getting->rounds; round++) {
        json_t *answer = NULL;
        if (round)
            clock_sleep_ms(pause_ms / 2 + clock_now_us() % (pause_ms / 2 + 1));
        pause_ms = round && pause_ms < PAUSE_MAX_MS ? pause_ms * 2 : pause_ms;
        json_t *request =
            json_pack("{s:{s:{s:o, s:b}}}", "RequestItems", getting->table, "Keys", keys, "ConsistentRead", 1);
        if (dynamodb_call(getting->db, "BatchGetItem", request, &answer, err) != DYNAMODB_DONE)
            return false;
        take_items(getting, answer);
        json_t *left = json_object_get(json_object_get(answer, "UnprocessedKeys"), getting->table);
        keys = json_incref(json_object_get(left, "Keys"));
        json_decref(answer);
    }
    if (!keys)
        return true;
    json_decref(keys);
    return err_set(err, ERR_IO, "BatchGetItem leaves keys of %s undone, again and again", getting->table);
}

static bool get_all(struct getting *getting, const struct str *ids, size_t count, struct err *err) {
    for (size_t at = 0; at < count; at += GET_MAX) {
        json_t *keys = json_array();
        for (size_t i = at; i < count && i < at + GET_MAX; i++)
            json_array_append_new(keys, json_pack("{s:o}", ITEM_ID, dynamodb_text(ids[i])));
        if (!get_keys(getting, keys, err))
            return false;
    }
    return true;
}

/* DynamoDB refuses a question that names an item twice. */
static size_t add_place(struct getting *getting, struct str id, json_t **place, struct str *unique, size_t count) {
    if (map_get(&getting->places, id))
        return count;
    *map_put(&getting->places, id) = place;
    unique[count] = id;
    return count + 1;
}

bool dynamodb_items_get(struct dynamodb *db, const char *table, const struct str *ids, size_t count, int rounds,
                        json_t **ret, struct err *err) {
    struct getting getting = {.db = db, .table = table, .rounds = rounds};
    struct str *unique = mem_alloc((count + 1) * sizeof *unique);
    size_t unique_count = 0;
    for (size_t i = 0; i < count; i++) {
        ret[i] = NULL;
        unique_count = add_place(&getting, ids[i], &ret[i], unique, unique_count);
    }
    bool ok = get_all(&getting, unique, unique_count, err);
    for (size_t i = 0; ok && i < count; i++) {
        json_t **first = map_get(&getting.places, ids[i]);
        if (first != &ret[i])
            ret[i] = json_incref(*first);
    }
    for (size_t i = 0; !ok && i < count; i++) {
        json_decref(ret[i]);
        ret[i] = NULL;
    }
    map_free(&getting.places, NULL);
    free(unique);
    return ok;
}

struct str dynamodb_item_bytes(const json_t *item, const char *name, struct arena *arena) {
    BUF_AUTO bytes = {0};
    return item && dynamodb_get_bytes(item, name, &bytes) ? arena_dup(arena, buf_str(&bytes)) : STR_NULL;
}

void dynamodb_is_away(const char *table, struct err *err) {
    err->kind = ERR_STORE_UNAVAILABLE;
    err_wrap(err, "DynamoDB's table %s", table);
}
