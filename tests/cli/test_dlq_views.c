/* orderlog dlq on what the views in PostgreSQL and Redis have set aside. */
#include "core/log/record_codec.h"
#include "core/store/redis.h"
#include "projections/migrate.h"
#include "projections/view.h"
#include "tests/cli/dlq_command.h"

enum { REDIS_DB = 7 };

static void views_migrate(const struct place *place) {
    struct pg *pg;
    struct err err = {0};
    if (!pg_open(place->database_url, NULL, &pg, &err) || !projections_migrate(pg, &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
}

static void redis_do(const char *url, const struct str *args, size_t count) {
    struct redis *redis;
    const struct redisReply *reply;
    struct err err = {0};
    if (!redis_open(url, NULL, &redis, &err) || !redis_call(redis, args, count, &reply, &err))
        fail_msg("%s", err.detail);
    redis_close(redis);
}

/* One in each store: in PostgreSQL a record that cannot be read and one behind it, in Redis one. */
static void set_aside(const struct place *place, const char *redis_url) {
    static const char key[] = "{p1}:parked:view-orders";
    BUF_AUTO sql = {0};
    BUF_AUTO record = {0};
    BUF_AUTO hex = {0};
    BUF_AUTO bytes = {0};
    record_encode(&record, &(struct log_record){.topic = STR("shop.order.events.v1"),
                                                .partition = 1,
                                                .timestamp_us = 1,
                                                .key = STR("o-1"),
                                                .value = STR("zz")});
    buf_add_hex(&hex, (const uint8_t *)record.ptr, record.len);
    buf_printf(&sql,
               "INSERT INTO view.parked VALUES ('view-orders', 1, 'shop.order.events.v1', 1, 5, now(), 'o-1', 'i', 't',"
               " 'it is odd', decode('%s', 'hex')), ('view-orders', 1, 'shop.order.events.v1', 1, 6, now(), 'o-1', 'i',"
               " 't', '%s', decode('%s', 'hex'))",
               hex.ptr, PARKED_BEHIND, hex.ptr);
    execute(place, sql.ptr);
    struct state_parked parked_row = {.topic = STR("shop.order.events.v1"),
                                      .partition = 1,
                                      .offset = 5,
                                      .time = 1,
                                      .subject = STR("o-1"),
                                      .id = STR("i"),
                                      .type = STR("t"),
                                      .reason = STR("it is odd"),
                                      .record = buf_str(&record)};
    state_encode(schema_subject_find(STR("state/parked")), &parked_row, &bytes);
    redis_do(redis_url, (const struct str[]){STR("DEL"), STR(key)}, 2);
    redis_do(redis_url, (const struct str[]){STR("RPUSH"), STR(key), buf_str(&bytes)}, 3);
}

static void check_views_list(const struct place *place, const char *arguments) {
    static const char *const ids[] = {"postgres/orders/shop.order.events.v1/1/5",
                                      "postgres/orders/shop.order.events.v1/1/6",
                                      "redis/orders/shop.order.events.v1/1/5"};
    json_t *list = dlq_json(place, arguments), *views = json_object_get(list, "views");
    assert_int_equal(number_of(list, "total"), 0);
    assert_int_equal(json_array_size(views), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(views, i);
        assert_string_equal(text_of(row, "id"), ids[i]);
        assert_string_equal(text_of(row, "store"), i < 2 ? "postgres" : "redis");
        assert_string_equal(text_of(row, "service"), "view-orders");
        assert_string_equal(text_of(row, "subject"), "o-1");
        assert_int_equal(number_of(row, "shard"), 1);
        assert_int_equal(json_is_true(json_object_get(row, "behind")), i == 1);
    }
    assert_int_equal(json_array_size(json_object_get(list, "unasked")), 0);
    json_decref(list);
}

static void check_views_show(const struct place *place, const char *with_redis) {
    char text[512];
    snprintf(text, sizeof(text), "show postgres/orders/shop.order.events.v1/1/6 %s", with_redis);
    json_t *shown = dlq_json(place, text);
    assert_string_equal(text_of(shown, "in_front"), "postgres/orders/shop.order.events.v1/1/5");
    assert_string_equal(text_of(shown, "key"), "o-1");
    assert_string_equal(text_of(shown, "value_hex"), "7a7a");
    json_decref(shown);
    snprintf(text, sizeof(text), "show redis/orders/shop.order.events.v1/1/5 --output table %s", with_redis);
    expect(place, text, 0, "it is odd");
    snprintf(text, sizeof(text), "show redis/orders/shop.order.events.v1/1/77 %s", with_redis);
    expect(place, text, 1, "no view has set aside redis/orders/shop.order.events.v1/1/77");
}

static void test_views(void **state) {
    struct place *place = *state;
    const char *server = getenv("ORDERLOG_TEST_REDIS_URL");
    char redis_url[256], with_redis[300], text[512];
    snprintf(redis_url, sizeof(redis_url), strstr(server, "unix://") == server ? "%s?db=%d" : "%s/%d", server,
             REDIS_DB);
    snprintf(with_redis, sizeof(with_redis), "--redis '%s'", redis_url);
    views_migrate(place);
    set_aside(place, redis_url);
    snprintf(text, sizeof(text), "list %s", with_redis);
    check_views_list(place, text);
    snprintf(text, sizeof(text), "list --service view-orders --subject o-1 %s", with_redis);
    check_views_list(place, text);
    snprintf(text, sizeof(text), "list --output table %s", with_redis);
    expect(place, text, 0, "set aside by views: 3");
    check_views_show(place, with_redis);

    expect(place, "list --service view-carts", 0, "\"views\":[],\"unasked\":[\"redis\"]");
    expect(place, "list --output table", 0, "Redis was not asked");
    expect(place, "list --redis unix:///nonexistent/redis.sock", 1, "\"unasked\":[\"redis\"]");
    snprintf(text, sizeof(text), "retry redis/orders/shop.order.events.v1/1/5 %s", with_redis);
    expect(place, text, 1, "`orderlog rebuild redis/orders`");
    expect(place, "drop postgres/orders/shop.order.events.v1/1/5 --yes", 1, "`orderlog rebuild postgres/orders`");
    expect(place, "retry --subject o-1", 1, "`orderlog rebuild postgres/orders`");
    expect(place, "retry postgres/orders/shop.order.events.v1/1/5 --subject o-1", 2, "an ID says it all");
    assert_int_equal(number(place, "SELECT count(*) FROM view.parked"), 2);
    redis_do(redis_url, (const struct str[]){STR("DEL"), STR("{p1}:parked:view-orders")}, 2);
}

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    if (!getenv("ORDERLOG_TEST_REDIS_URL")) {
        fprintf(stderr, "ORDERLOG_TEST_REDIS_URL is not set: tests/run sets it\n");
        return getenv("CI") ? 1 : TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        PLACED(test_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
