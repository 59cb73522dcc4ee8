/* Revoked sessions in DynamoDB: an item each, all under one key, so that one consistent query has what is new. */
#include "api/revoked_store.h"

#include "core/aws/dynamodb.h"
#include "core/base/clock.h"
#include "core/base/config.h"

#include <stdlib.h>

enum { TRIES = 3, TIMEOUT_MS = 1500 };

struct revoked_dynamodb {
    struct revoked_store base;
    struct dynamodb *db;
    char *url;
    const char *table; /* in url */
    int64_t since_us;  /* what was added earlier is known */
};

static bool failed(const struct revoked_dynamodb *store, struct err *err) {
    err->kind = ERR_STORE_UNAVAILABLE;
    return err_wrap(err, "revoked sessions in %s", store->table);
}

/* A shopper's sessions may be revoked again when later ones are there; else what is there stays. */
static json_t *put_request(const struct revoked_dynamodb *store, const struct revoked_id *id) {
    BUF_AUTO hex = {0};
    buf_add_hex(&hex, id->bytes, REVOKED_ID_SIZE);
    return json_pack("{s:s, s:{s:o, s:o, s:o, s:o}, s:s, s:{s:o}}", "TableName", store->table, "Item", "kind",
                     dynamodb_text(STR("revoked")), "id", dynamodb_text(buf_str(&hex)), "revoked_us",
                     dynamodb_number(clock_now_us()), "expires_at", dynamodb_number(id->expires_s),
                     "ConditionExpression", "attribute_not_exists(id) OR expires_at < :expires",
                     "ExpressionAttributeValues", ":expires", dynamodb_number(id->expires_s));
}

static bool add(struct revoked_store *base, const struct revoked_id *ids, size_t count, struct err *err) {
    struct revoked_dynamodb *store = (struct revoked_dynamodb *)base;
    for (size_t i = 0; i < count; i++)
        if (dynamodb_call(store->db, "PutItem", put_request(store, &ids[i]), NULL, err) == DYNAMODB_FAILED)
            return failed(store, err);
    return true;
}

static int nibble(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void take(const json_t *item, struct revoked_list *ret) {
    uint8_t bytes[REVOKED_ID_SIZE];
    struct str hex = dynamodb_get_text(item, "id");
    if (hex.len != 2 * sizeof bytes)
        return;
    for (size_t i = 0; i < sizeof bytes; i++) {
        int high = nibble(hex.ptr[2 * i]), low = nibble(hex.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    revoked_list_add(ret, bytes, dynamodb_get_number(item, "expires_at", 0));
}

/* `start`: where the page before ended, taken over; NULL: at the beginning. */
static json_t *query_request(const struct revoked_dynamodb *store, json_t *start) {
    json_t *request =
        json_pack("{s:s, s:s, s:b, s:s, s:{s:s}, s:{s:o, s:o}}", "TableName", store->table, "IndexName", "by_time",
                  "ConsistentRead", 1, "KeyConditionExpression", "#kind = :kind AND revoked_us >= :since",
                  "ExpressionAttributeNames", "#kind", "kind", "ExpressionAttributeValues", ":kind",
                  dynamodb_text(STR("revoked")), ":since", dynamodb_number(store->since_us));
    if (start)
        json_object_set_new(request, "ExclusiveStartKey", start);
    return request;
}

/* *ret_next: where the next page begins; NULL: there is none. */
static bool read_page(struct revoked_dynamodb *store, json_t *start, struct revoked_list *ret, json_t **ret_next,
                      struct err *err) {
    json_t *answer = NULL, *item;
    size_t i;
    if (dynamodb_call(store->db, "Query", query_request(store, start), &answer, err) != DYNAMODB_DONE)
        return failed(store, err);
    json_array_foreach(json_object_get(answer, "Items"), i, item) take(item, ret);
    *ret_next = json_incref(json_object_get(answer, "LastEvaluatedKey"));
    json_decref(answer);
    return true;
}

static bool read_new(struct revoked_store *base, struct revoked_list *ret, struct err *err) {
    struct revoked_dynamodb *store = (struct revoked_dynamodb *)base;
    int64_t began_us = clock_now_us();
    json_t *next = NULL;
    do {
        if (!read_page(store, next, ret, &next, err))
            return false;
    } while (next);
    store->since_us = began_us - REVOKED_OVERLAP_S * INT64_C(1000000);
    return true;
}

static void close_store(struct revoked_store *base) {
    struct revoked_dynamodb *store = (struct revoked_dynamodb *)base;
    dynamodb_close(store->db);
    free(store->url);
    free(store);
}

static const struct revoked_store_ops ops = {.batch_max = 4, .add = add, .read = read_new, .close = close_store};

bool revoked_dynamodb_open(const char *url, struct revoked_store **ret, struct err *err) {
    struct revoked_dynamodb *store = mem_zalloc(sizeof *store);
    store->base.ops = &ops;
    store->url = mem_strdup(str_from(url));
    if (!dynamodb_table_parse("ORDERLOG_SESSIONS_URL", store->url, &store->table, err) ||
        !dynamodb_open(&store->db, err)) {
        close_store(&store->base);
        return false;
    }
    dynamodb_hurry(store->db, TRIES, TIMEOUT_MS);
    *ret = &store->base;
    return true;
}

/* ---- which of the two ---- */

bool sessions_url_load(const char *database_url, const char **ret, struct err *err) {
    const char *url = config_get("ORDERLOG_SESSIONS_URL", NULL), *table;
    bool set = url && *url;
    *ret = set ? url : database_url;
    return !set || dynamodb_table_parse("ORDERLOG_SESSIONS_URL", url, &table, err);
}

bool revoked_store_open(const char *url, struct revoked_store **ret, struct err *err) {
    return str_starts_with(str_from(url), STR("dynamodb:")) ? revoked_dynamodb_open(url, ret, err)
                                                            : revoked_pg_open(url, ret, err);
}
