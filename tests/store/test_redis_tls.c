/* The Redis client over TLS, with a user of Redis's own: against a server of the test's. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/store/redis.h"

enum { SKIPPED = 77, PATIENCE_MS = 120000 };

static char folder[] = "/tmp/orderlog-redis-tls.XXXXXX";
static char port[16];
static pid_t server;

static void free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    snprintf(port, sizeof port, "%d", ntohs(at.sin_port));
}

static bool have(const char *program) {
    BUF_AUTO command = {0};
    buf_printf(&command, "command -v %s >/dev/null 2>&1", program);
    return system(command.ptr) == 0;
}

static void make_certificate(void) {
    BUF_AUTO command = {0};
    buf_printf(
        &command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s/key -out %s/cert -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost >%s/openssl.log 2>&1",
        folder, folder, folder);
    assert_int_equal(system(command.ptr), 0);
}

static void start_server(void) {
    server = fork();
    assert_true(server >= 0);
    if (server)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(folder) != 0 || !freopen("redis.log", "a", stdout))
        _exit(1);
    execlp("redis-server", "redis-server", "--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file",
           "cert", "--tls-key-file", "key", "--tls-ca-cert-file", "cert", "--tls-auth-clients", "no", "--save", "",
           "--user", "default", "off", "--user", "shop", "on", ">pass:word", "~*", "&*", "+@all", (char *)NULL);
    _exit(1);
}

static void stop_server(void) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

static struct redis *open_as(const char *scheme, const char *password, const char *host) {
    struct redis *opened;
    struct err err = {0};
    BUF_AUTO url = {0};
    const struct redis_options options = {PATIENCE_MS, PATIENCE_MS};
    buf_printf(&url, "%s://shop:%s@%s:%s", scheme, password, host, port);
    if (!redis_open(url.ptr, &options, &opened, &err))
        fail_msg("%s", err.detail);
    return opened;
}

static bool ping(struct redis *redis, struct err *err) {
    *err = (struct err){0};
    return redis_call(redis, (const struct str[]){STR("PING")}, 1, NULL, err);
}

/* A server that has just been started. */
static struct redis *await_server(void) {
    struct redis *redis = open_as("rediss", "pass%3Aword", "localhost");
    struct err err;
    for (int64_t until_us = clock_monotonic_us() + PATIENCE_MS * INT64_C(1000); !ping(redis, &err); clock_sleep_ms(20))
        if (clock_monotonic_us() > until_us)
            fail_msg("%s", err.detail);
    return redis;
}

/* In a process of its own, since authorities are read once. */
static void an_unknown_authority_is_refused(void **state) {
    (void)state;
    redis_close(await_server()); /* so that it is not for the want of a server; its authority is forgotten by exec */
    int status;
    pid_t child = fork();
    if (!child) {
        unsetenv("REDIS_CA_FILE");
        execl("/proc/self/exe", "test_redis_tls", "--refused", port, (char *)NULL);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int expect_refusal(void) {
    struct redis *redis = open_as("rediss", "pass%3Aword", "localhost");
    struct err err;
    bool ok = !ping(redis, &err) && err.kind == ERR_STORE_UNAVAILABLE && strstr(err.detail, "self-signed certificate");
    if (!ok)
        fprintf(stderr, "%s\n", err.detail);
    redis_close(redis);
    return ok ? 0 : 1;
}

static void another_name_is_refused(void **state) {
    (void)state;
    struct redis *redis = open_as("rediss", "pass%3Aword", "127.0.0.1");
    struct err err;
    assert_false(ping(redis, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "IP address mismatch"));
    redis_close(redis);
}

static void a_wrong_password_is_refused(void **state) {
    (void)state;
    struct redis *redis = open_as("rediss", "other", "localhost");
    struct err err;
    assert_false(ping(redis, &err));
    assert_non_null(strstr(err.detail, "WRONGPASS"));
    assert_null(strstr(err.detail, "other"));
    redis_close(redis);
}

static void no_tls_is_an_error(void **state) {
    (void)state;
    struct redis *redis = open_as("redis", "pass%3Aword", "localhost");
    struct err err;
    assert_false(ping(redis, &err));
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    redis_close(redis);
}

/* More than any buffer on the way holds, in both directions. */
static void large_values_go_both_ways(void **state) {
    (void)state;
    enum { SIZE = 24 << 20 };
    struct redis *redis = await_server();
    struct err err = {0};
    const struct redisReply *reply;
    char *bytes = mem_alloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    const struct str set[] = {STR("SET"), STR("large"), {bytes, SIZE}}, get[] = {STR("GET"), STR("large")};
    assert_true(redis_call(redis, set, 3, NULL, &err));
    assert_true(redis_call(redis, get, 2, &reply, &err));
    assert_true(str_eq(redis_text(reply), (struct str){bytes, SIZE}));
    free(bytes);
    redis_close(redis);
}

static void what_is_published_is_taken(void **state) {
    (void)state;
    struct redis *listener = await_server(), *speaker = await_server();
    const struct str subscribe[] = {STR("SUBSCRIBE"), STR("news")}, publish[] = {STR("PUBLISH"), STR("news"), STR("x")};
    const struct redisReply *reply = NULL;
    struct err err = {0};
    assert_true(redis_send(listener, &(struct redis_command){subscribe, 2}, 1, &err));
    for (int taken = 0; taken < 2; taken++) { /* that it listens, then what was said */
        for (reply = NULL; !reply;) {
            struct pollfd readable = {redis_fd(listener), POLLIN, 0};
            assert_true(redis_take(listener, &reply, &err));
            if (!reply)
                assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
        }
        if (!taken)
            assert_true(redis_call(speaker, publish, 3, NULL, &err));
    }
    redis_close(listener);
    redis_close(speaker);
}

static void a_server_that_went_is_found_again(void **state) {
    (void)state;
    struct redis *redis = await_server();
    struct err err;
    stop_server();
    assert_false(ping(redis, &err)); /* and no signal ends us */
    assert_int_equal(err.kind, ERR_STORE_UNAVAILABLE);
    start_server();
    redis_close(await_server());
    assert_true(ping(redis, &err));
    redis_close(redis);
}

static int setup(void **state) {
    (void)state;
    BUF_AUTO path = {0};
    if (!mkdtemp(folder))
        return -1;
    make_certificate();
    buf_printf(&path, "%s/cert", folder);
    setenv("REDIS_CA_FILE", path.ptr, 1);
    free_port();
    start_server();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    BUF_AUTO command = {0};
    stop_server();
    buf_printf(&command, "rm -rf %s", folder);
    return system(command.ptr);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_authority_is_refused),   cmocka_unit_test(another_name_is_refused),
        cmocka_unit_test(a_wrong_password_is_refused),       cmocka_unit_test(no_tls_is_an_error),
        cmocka_unit_test(large_values_go_both_ways),         cmocka_unit_test(what_is_published_is_taken),
        cmocka_unit_test(a_server_that_went_is_found_again),
    };
    if (argc == 3) {
        snprintf(port, sizeof port, "%s", argv[2]);
        return expect_refusal();
    }
    if (!have("redis-server") || !have("openssl")) {
        fprintf(stderr, "redis-server or openssl is missing\n");
        return getenv("CI") ? 1 : SKIPPED;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
