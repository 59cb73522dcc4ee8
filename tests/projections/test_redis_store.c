/* The projector on Redis: in a database (of the server's 16) of its own for each test. */
#include "tests/projections/projector_suite.h"

#include "core/store/redis.h"
#include "tests/support/database.h"

/* Tests run one after the other within a program, programs side by side: a range of databases for each program. */
enum { DB_FIRST = 8, DB_COUNT = 4 };

static struct redis *client(const char *url) {
    struct redis *redis;
    struct err err = {0};
    if (!redis_open(url, NULL, &redis, &err))
        fail_msg("%s", err.detail);
    return redis;
}

static const struct redisReply *call(struct redis *redis, const struct str *args, size_t count) {
    const struct redisReply *reply;
    struct err err = {0};
    if (!redis_call(redis, args, count, &reply, &err))
        fail_msg("%s", err.detail);
    return reply;
}

#define CALL(redis, ...)                                                                                               \
    call(redis, (const struct str[]){__VA_ARGS__}, sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

static void wipe(const char *url) {
    struct redis *redis = client(url);
    CALL(redis, STR("FLUSHDB"));
    redis_close(redis);
}

static void make(char **ret_url) {
    static int next;
    BUF_AUTO url = {0};
    const char *server = getenv("ORDERLOG_TEST_REDIS_URL");
    buf_printf(&url, strstr(server, "unix://") == server ? "%s?db=%d" : "%s/%d", server, DB_FIRST + next++ % DB_COUNT);
    *ret_url = mem_strdup(buf_str(&url));
    wipe(*ret_url);
}

static void drop(char *url) {
    wipe(url);
}

/* A connection by its line of CLIENT LIST: "id=7 addr=… db=8 …". */
static void cut_one(struct redis *redis, struct str line, struct str db) {
    struct str rest, id = str_cut(line, ' ', &rest);
    if (!str_starts_with(id, STR("id=")) || !memmem(rest.ptr, rest.len, db.ptr, db.len))
        return;
    id = (struct str){id.ptr + 3, id.len - 3};
    CALL(redis, STR("CLIENT"), STR("KILL"), STR("ID"), id, STR("SKIPME"), STR("yes"));
}

/* The connections to this database: other programs' tests have theirs on the same server. */
static void cut(const char *url) {
    struct redis *redis = client(url);
    struct arena arena;
    arena_init(&arena);
    struct str db = arena_printf(&arena, " db=%s ", strpbrk(url, "=") ? strrchr(url, '=') + 1 : strrchr(url, '/') + 1);
    struct str line, rest = arena_dup(&arena, redis_text(CALL(redis, STR("CLIENT"), STR("LIST"))));
    while (rest.ptr) {
        line = str_cut(rest, '\n', &rest);
        if (line.len)
            cut_one(redis, line, db);
    }
    arena_free(&arena);
    redis_close(redis);
}

static int by_text(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void add_reply(struct buf *ret, const struct redisReply *reply) {
    if (redis_text(reply).ptr) {
        const struct str text = redis_text(reply);
        buf_add_hex(ret, (const uint8_t *)text.ptr, text.len);
        buf_add_char(ret, ' ');
    }
    for (size_t i = 0; i < redis_count(reply); i++)
        add_reply(ret, redis_item(reply, i));
}

static void dump_key(struct redis *redis, struct str key, struct buf *ret) {
    struct str type = redis_text(CALL(redis, STR("TYPE"), key));
    buf_add_str(ret, key);
    buf_add_char(ret, ' ');
    if (str_eq(type, STR("list")))
        add_reply(ret, CALL(redis, STR("LRANGE"), key, STR("0"), STR("-1")));
    else if (str_eq(type, STR("set")))
        add_reply(ret, CALL(redis, STR("SORT"), key, STR("ALPHA")));
    else
        add_reply(ret, CALL(redis, STR("GET"), key));
    buf_add_char(ret, '\n');
}

static void dump(const char *url, struct buf *ret) {
    struct redis *redis = client(url);
    struct arena arena;
    arena_init(&arena);
    const struct redisReply *reply = CALL(redis, STR("KEYS"), STR("*"));
    size_t count = redis_count(reply);
    struct str *keys = arena_array(&arena, struct str, count);
    for (size_t i = 0; i < count; i++)
        keys[i] = arena_dup(&arena, redis_text(redis_item(reply, i)));
    if (count)
        qsort(keys, count, sizeof(keys[0]), by_text);
    for (size_t i = 0; i < count; i++)
        dump_key(redis, keys[i], ret);
    arena_free(&arena);
    redis_close(redis);
}

static int64_t parked(const char *url) {
    struct redis *redis = client(url);
    struct arena arena;
    int64_t count = 0;
    arena_init(&arena);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        for (int32_t shard = 0; shard < STORY_PARTITIONS; shard++)
            count += redis_integer(
                CALL(redis, STR("LLEN"), arena_printf(&arena, "{p%d}:parked:view-%s", shard, views_all[i]->name)));
    arena_free(&arena);
    redis_close(redis);
    return count;
}

const struct test_store test_store = {&projector_redis, &generation_redis, make, drop, wipe, cut, dump, parked};

int main(void) {
    const struct CMUnitTest tests[] = {PROJECTOR_TESTS, REBUILD_TESTS};
    if (!getenv("ORDERLOG_TEST_REDIS_URL")) {
        fprintf(stderr, "ORDERLOG_TEST_REDIS_URL is not set: tests/run sets it\n");
        return getenv("CI") ? 1 : TEST_SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
