/* The Redis client: against a server, and against sockets that misbehave. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/store/redis.h"
#include "core/store/redis_socket.h"

enum { DB = 13, SKIPPED = 77 };

static struct redis *redis;

static struct redis *open_url(const char *url, int64_t timeout_ms) {
    struct redis *opened;
    struct err err = {0};
    const struct redis_options options = {timeout_ms, timeout_ms};
    if (!redis_open(url, &options, &opened, &err))
        fail_msg("%s", err.detail);
    return opened;
}

static int setup(void **state) {
    (void)state;
    static const struct str flush[] = {{"FLUSHDB", 7}};
    struct err err = {0};
    BUF_AUTO url = {0};
    const char *server = getenv("ORDERLOG_TEST_REDIS_URL");
    buf_printf(&url, strstr(server, "unix://") == server ? "%s?db=%d" : "%s/%d", server, DB);
    redis = open_url(url.ptr, 5000);
    return redis_call(redis, flush, 1, NULL, &err) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    redis_close(redis);
    return 0;
}

static const struct redisReply *call(const struct str *args, size_t count) {
    const struct redisReply *reply;
    struct err err = {0};
    if (!redis_call(redis, args, count, &reply, &err))
        fail_msg("%s", err.detail);
    return reply;
}

#define CALL(...)                                                                                                      \
    call((const struct str[]){__VA_ARGS__}, sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))

/* ---- URLs ---- */

static void test_urls(void **state) {
    (void)state;
    static const struct {
        const char *url, *path, *host, *port, *user, *password;
        int db;
    } cases[] = {
        {"redis://cache", NULL, "cache", "6379", NULL, NULL, 0},
        {"redis://cache:7000/3", NULL, "cache", "7000", NULL, NULL, 3},
        {"redis://:s%40cret@cache/", NULL, "cache", "6379", NULL, "s@cret", 0},
        {"redis://app:a:b@cache:1/15", NULL, "cache", "1", "app", "a:b", 15},
        {"redis://[::1]:7000", NULL, "::1", "7000", NULL, NULL, 0},
        {"unix:///run/redis.sock", "/run/redis.sock", NULL, NULL, NULL, NULL, 0},
        {"unix:///run/my%20redis.sock?db=4&password=x%2Fy", "/run/my redis.sock", NULL, NULL, NULL, "x/y", 4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_address address = {0};
        struct err err = {0};
        if (!redis_address_parse(cases[i].url, &address, &err))
            fail_msg("%s: %s", cases[i].url, err.detail);
        assert_true(str_eq(str_from(address.path), str_from(cases[i].path)));
        assert_true(str_eq(str_from(address.host), str_from(cases[i].host)));
        assert_true(str_eq(str_from(address.port), str_from(cases[i].port)));
        assert_true(str_eq(str_from(address.user), str_from(cases[i].user)));
        assert_true(str_eq(str_from(address.password), str_from(cases[i].password)));
        assert_int_equal(address.db, cases[i].db);
        redis_address_free(&address);
    }
}

static void test_urls_that_are_none(void **state) {
    (void)state;
    static const char *const urls[] = {"",
                                       "http://cache",
                                       "redisss://cache",
                                       "redis://",
                                       "redis://cache:0",
                                       "redis://cache:port",
                                       "redis://cache/one",
                                       "redis://cache/-1",
                                       "redis://hunter2@cache",
                                       "redis://:hunter2%zz@cache",
                                       "redis://:hunter2%00@cache",
                                       "redis://[::1",
                                       "unix://relative",
                                       "unix:///run/redis.sock?colour=hunter2"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct redis *opened;
        struct err err = {0};
        assert_false(redis_open(urls[i], NULL, &opened, &err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_null(strstr(err.detail, "hunter2"));
    }
}

/* ---- commands ---- */

static void test_binary_values(void **state) {
    (void)state;
    char bytes[70000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    const struct str value = {bytes, sizeof(bytes)}, key = {"a\0\r\n b", 6};
    assert_true(str_eq(redis_text(CALL(STR("SET"), key, value)), STR("OK")));
    assert_true(str_eq(redis_text(CALL(STR("GET"), key)), value));
    assert_true(str_eq(redis_text(CALL(STR("SET"), key, STR(""))), STR("OK")));
    const struct str empty = redis_text(CALL(STR("GET"), key));
    assert_non_null(empty.ptr);
    assert_int_equal(empty.len, 0);
    assert_null(redis_text(CALL(STR("GET"), STR("none"))).ptr);
}

static void test_pipeline(void **state) {
    (void)state;
    const struct str set[] = {STR("SET"), STR("k"), STR("1")}, incr[] = {STR("INCR"), STR("k")},
                     mget[] = {STR("MGET"), STR("k"), STR("none")};
    const struct redis_command commands[] = {{set, 3}, {incr, 2}, {mget, 3}};
    const struct redisReply *replies[3];
    struct err err = {0};
    assert_true(redis_pipeline(redis, commands, 3, replies, &err));
    assert_int_equal(redis_integer(replies[1]), 2);
    assert_int_equal(redis_count(replies[2]), 2);
    assert_true(str_eq(redis_text(redis_item(replies[2], 0)), STR("2")));
    assert_null(redis_text(redis_item(replies[2], 1)).ptr);
}

/* The command is refused; the connection is as good as before. */
static void test_refused_command(void **state) {
    (void)state;
    const struct str set[] = {STR("SET"), STR("text"), STR("x")}, push[] = {STR("LPUSH"), STR("text"), STR("y")};
    const struct redis_command commands[] = {{set, 3}, {push, 3}, {set, 3}};
    struct err err = {0};
    assert_false(redis_pipeline(redis, commands, 3, NULL, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_non_null(strstr(err.detail, "WRONGTYPE"));
    assert_true(str_eq(redis_text(CALL(STR("GET"), STR("text"))), STR("x")));
}

static void test_scripts(void **state) {
    (void)state;
    struct redis_script script = {.source = "return {KEYS[1], ARGV[1]}"};
    const struct str a[] = {STR("1"), STR("k"), STR("a")}, b[] = {STR("1"), STR("k"), STR("b")};
    const struct redis_command commands[] = {{a, 3}, {b, 3}};
    const struct redisReply *replies[2];
    struct err err = {0};
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            CALL(STR("SCRIPT"), STR("FLUSH"));
        assert_true(redis_eval_pipeline(redis, &script, commands, 2, replies, &err));
        assert_true(str_eq(redis_text(redis_item(replies[0], 1)), STR("a")));
        assert_true(str_eq(redis_text(redis_item(replies[1], 1)), STR("b")));
    }
    assert_true(str_eq(
        redis_text(redis_item(
            call((const struct str[]){STR("EVALSHA"), str_from(script.sha), STR("1"), STR("k"), STR("known")}, 5), 1)),
        STR("known")));
    struct redis_script broken = {.source = "return redis.call('NOSUCHCOMMAND')"};
    assert_false(redis_eval_pipeline(redis, &broken, commands, 1, replies, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
}

/* ---- when the connection is bad ---- */

static void test_connects_again(void **state) {
    (void)state;
    struct err err = {0};
    const struct str get[] = {STR("GET"), STR("k")};
    CALL(STR("SET"), STR("k"), STR("1"));
    /* A client that kills itself gets its answer, and then nothing more. */
    int64_t own = redis_integer(CALL(STR("CLIENT"), STR("ID")));
    char number[24];
    snprintf(number, sizeof(number), "%lld", (long long)own);
    CALL(STR("CLIENT"), STR("KILL"), STR("ID"), str_from(number), STR("SKIPME"), STR("no"));
    assert_false(redis_call(redis, get, 2, NULL, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    assert_true(str_eq(redis_text(CALL(STR("GET"), STR("k"))), STR("1"))); /* in the same database */
}

static void test_nobody_there(void **state) {
    (void)state;
    static const char *const urls[] = {"unix:///nowhere/redis.sock", "redis://127.0.0.1:1"};
    for (size_t i = 0; i < 2; i++) {
        struct redis *other = open_url(urls[i], 1000);
        struct err err = {0};
        assert_false(redis_call(other, (const struct str[]){STR("PING")}, 1, NULL, &err));
        assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
        redis_close(other);
    }
}

/* A listener that answers every connection with the same bytes, then waits for the end of the test. */
struct stand_in {
    struct sockaddr_un address;
    int listener;
    int peer;
    const char *answer;
    pthread_t thread;
};

static void *stand_in_run(void *user) {
    struct stand_in *stand_in = user;
    char dropped[256];
    stand_in->peer = accept(stand_in->listener, NULL, NULL);
    if (read(stand_in->peer, dropped, sizeof(dropped)) > 0 && stand_in->answer[0])
        (void)!write(stand_in->peer, stand_in->answer, strlen(stand_in->answer));
    return NULL;
}

static struct redis *stand_in_open(struct stand_in *stand_in, const char *answer) {
    char url[sizeof(stand_in->address.sun_path) + 16];
    *stand_in = (struct stand_in){.address.sun_family = AF_UNIX, .answer = answer};
    snprintf(stand_in->address.sun_path, sizeof(stand_in->address.sun_path), "/tmp/redis-test-%d.sock", (int)getpid());
    unlink(stand_in->address.sun_path);
    stand_in->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stand_in->listener, (struct sockaddr *)&stand_in->address, sizeof(stand_in->address)), 0);
    assert_int_equal(listen(stand_in->listener, 1), 0);
    assert_int_equal(pthread_create(&stand_in->thread, NULL, stand_in_run, stand_in), 0);
    snprintf(url, sizeof(url), "unix://%s", stand_in->address.sun_path);
    return open_url(url, 200);
}

static void stand_in_close(struct stand_in *stand_in) {
    pthread_join(stand_in->thread, NULL);
    close(stand_in->peer);
    close(stand_in->listener);
    unlink(stand_in->address.sun_path);
}

static void expect_away(const char *answer) {
    struct stand_in stand_in;
    struct err err = {0};
    struct redis *other = stand_in_open(&stand_in, answer);
    assert_false(redis_call(other, (const struct str[]){STR("GET"), STR("k")}, 2, NULL, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    redis_close(other);
    stand_in_close(&stand_in);
}

static void test_bad_answers(void **state) {
    (void)state;
    expect_away("");                                          /* none in time */
    expect_away("$5\r\nab");                                  /* not all of it in time */
    expect_away("HTTP/1.1 400 Bad Request\r\n");              /* another protocol */
    expect_away("-LOADING Redis is loading the dataset\r\n"); /* not now */
    expect_away("-READONLY You can't write against a replica\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_urls_that_are_none),
        cmocka_unit_test(test_binary_values),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_refused_command),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_connects_again),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_bad_answers),
    };
    if (!getenv("ORDERLOG_TEST_REDIS_URL")) {
        fprintf(stderr, "ORDERLOG_TEST_REDIS_URL is not set: tests/run sets it\n");
        return getenv("CI") ? 1 : SKIPPED;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
