#include "core/base/logging.h"

#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Standard error goes to a file (or a terminal) from capture_begin to capture_end. */
static int saved = -1, captured = -1;

static void capture_begin(int fd) {
    assert_true(fd >= 0);
    captured = fd;
    saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
}

static void capture_file(void) {
    capture_begin(open("/tmp", O_TMPFILE | O_RDWR, 0600));
}

static void capture_end(struct buf *ret) {
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    lseek(captured, 0, SEEK_SET);
    char chunk[4096];
    ssize_t got;
    while ((got = read(captured, chunk, sizeof chunk)) > 0)
        buf_add(ret, chunk, (size_t)got);
    close(captured);
}

static json_t *parse_line(struct str line) {
    json_error_t error;
    json_t *json = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s: %.*s", error.text, STR_ARG(line));
    int64_t ts;
    assert_true(clock_parse(str_from(json_string_value(json_object_get(json, "ts"))), &ts));
    return json;
}

static json_t *capture_end_json(void) {
    BUF_AUTO text = {0};
    capture_end(&text);
    struct str rest;
    struct str line = str_cut(buf_str(&text), '\n', &rest);
    assert_non_null(rest.ptr);
    assert_int_equal(rest.len, 0);
    return parse_line(line);
}

static void check_text(json_t *json, const char *key, const char *want) {
    const char *value = json_string_value(json_object_get(json, key));
    assert_non_null(value);
    assert_string_equal(value, want);
}

static void makes_json_of_pairs(void **state) {
    (void)state;
    capture_file();
    logging_init(LOG_INFO);
    logging_write(
        LOG_WARN, "shard.taken",
        "service=%s shard=%d share=%g small=%g on=true off=false neg=-7 zip=007 hex=12e4567 empty= msg=\"%s\"",
        "orders", 3, 0.25, 1e-9, "two words");
    json_t *json = capture_end_json();
    check_text(json, "level", "warn");
    check_text(json, "event", "shard.taken");
    check_text(json, "service", "orders");
    assert_int_equal(json_integer_value(json_object_get(json, "shard")), 3);
    assert_true(json_real_value(json_object_get(json, "share")) == 0.25);
    assert_true(json_real_value(json_object_get(json, "small")) == 1e-9);
    assert_true(json_is_true(json_object_get(json, "on")));
    assert_true(json_is_false(json_object_get(json, "off")));
    assert_int_equal(json_integer_value(json_object_get(json, "neg")), -7);
    check_text(json, "zip", "007");
    check_text(json, "hex", "12e4567");
    check_text(json, "empty", "");
    check_text(json, "msg", "two words");
    assert_int_equal(json_object_size(json), 14);
    json_decref(json);
}

/* Whatever a value holds, it stays that value, and the line stays one object with the fields of the format. */
static void values_cannot_pass_for_fields(void **state) {
    (void)state;
    static const struct {
        const char *value;
        const char *want; /* NULL: the same */
    } cases[] = {
        {"he said \"no\" twice", NULL},
        {"\" level=\"error\" b=\"2", NULL},
        {"x level=error ts=now", NULL},
        {"ends in a quote\"", NULL},
        {"line\nbreak\ttab\\", NULL},
        {"\",\"level\":\"error\"}\n{\"ts\":\"", NULL},
        {"\033[2J\r\b", NULL},
        {"%s%n%d 100%", NULL},
        {"=", NULL},
        {"", NULL},
        {"true", NULL},
        {"12", NULL},
        {"a\xffz", "a\xEF\xBF\xBDz"},
        {"\xc3", "\xEF\xBF\xBD"},
        {"\xed\xa0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xf0\x9f\x98\x80 \xc3\xa9", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *value = cases[i].value, *want = cases[i].want ? cases[i].want : value;
        struct err err = {0};
        capture_file();
        err_set(&err, ERR_STORE_UNAVAILABLE, "%s", value);
        logging_err(&err, "x", "bare=%s quoted=\"%s\" part=<%.*s> b=%d last=%s", value, value, (int)strlen(value),
                    value, 1, value);
        json_t *json = capture_end_json();
        BUF_AUTO part = {0};
        buf_printf(&part, "<%s>", want);
        check_text(json, "bare", want);
        check_text(json, "quoted", want);
        check_text(json, "part", part.ptr);
        check_text(json, "last", want);
        check_text(json, "error", want);
        check_text(json, "level", "warn");
        assert_int_equal(json_integer_value(json_object_get(json, "b")), 1);
        assert_int_equal(json_object_size(json), 10);
        json_decref(json);
    }
}

static void every_conversion_is_printed_as_printf_does(void **state) {
    (void)state;
    const char *volatile nothing = NULL; /* the compiler must not know */
    char want[512], wide[300];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
#define FORMAT                                                                                                         \
    "%d|%5d|%-5d|%05d|%+d|%u|%x|%#X|%ld|%lu|%lld|%llx|%zu|%zd|%jd|%td|%c|%.3f|%e|%g|%%|%*d|%.*s|%.2s|%s|%hhd|%hu"
#define VALUES                                                                                                         \
    -7, 42, 42, 42, 42, 4294967295U, 3000000000U, 255, -123456789012L, 18446744073709551615UL, LLONG_MIN, ~0ULL,       \
        (size_t)-1, (ssize_t)-1, INTMAX_MIN, (ptrdiff_t)-5, 'q', 3.14159, 1e100, 0.1, 6, 99, 3, "abcdef", "abcdef",    \
        "whole", -1, 65535
    snprintf(want, sizeof want, FORMAT, VALUES);
    capture_file();
    logging_write(LOG_INFO, "x", "all=\"" FORMAT "\" wide=%s none=%s", VALUES, wide, nothing);
#undef VALUES
#undef FORMAT
    json_t *json = capture_end_json();
    check_text(json, "all", want);
    check_text(json, "wide", wide);
    check_text(json, "none", "(null)");
    json_decref(json);
}

static void formats_may_be_odd(void **state) {
    (void)state;
    capture_file();
    logging_write(LOG_INFO, "quote\"d", "  a=x=y   n=%d%% open=\"never closed %d", 5, 6);
    json_t *json = capture_end_json();
    check_text(json, "event", "quote\"d");
    check_text(json, "a", "x=y");
    check_text(json, "n", "5%");
    check_text(json, "open", "never closed 6");
    json_decref(json);
    capture_file();
    logging_write(LOG_INFO, "x", "just words, a=%d", 1);
    json = capture_end_json();
    check_text(json, "text", "just words, a=1");
    assert_int_equal(json_object_size(json), 4);
    json_decref(json);
    capture_file();
    logging_write(LOG_INFO, "x", " trace_id=%.*s", 0, "");
    json = capture_end_json();
    assert_int_equal(json_object_size(json), 3);
    json_decref(json);
    capture_file();
    logging_write(LOG_INFO, "x", "a=%g b=%f c=%d", (double)NAN, (double)INFINITY, 3);
    json = capture_end_json();
    check_text(json, "a", "nan");
    check_text(json, "b", "inf");
    json_decref(json);
}

static void logs_errors_at_their_level(void **state) {
    (void)state;
    struct err err = {0};
    err_set(&err, ERR_STORE_UNAVAILABLE, "said \"no\" kind=fake\nx");
    capture_file();
    errno = EDOM;
    logging_err(&err, "store.lost", "shard=%d", 4);
    assert_int_equal(errno, EDOM);
    json_t *json = capture_end_json();
    check_text(json, "level", "warn");
    check_text(json, "kind", "store-unavailable");
    check_text(json, "error", "said \"no\" kind=fake\nx");
    assert_int_equal(json_integer_value(json_object_get(json, "shard")), 4);
    json_decref(json);
}

static size_t lines_at(enum log_level threshold, const char *environment) {
    if (environment)
        setenv("ORDERLOG_LOG_LEVEL", environment, 1);
    else
        unsetenv("ORDERLOG_LOG_LEVEL");
    capture_file();
    logging_init(threshold);
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
        logging_write((enum log_level)level, "x", "n=%d", level);
    BUF_AUTO text = {0};
    capture_end(&text);
    unsetenv("ORDERLOG_LOG_LEVEL");
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n';
    return lines;
}

static void the_environment_sets_the_level(void **state) {
    (void)state;
    assert_int_equal(lines_at(LOG_DEBUG, NULL), 4);
    assert_int_equal(lines_at(LOG_WARN, NULL), 2);
    assert_int_equal(lines_at(LOG_WARN, "debug"), 4);
    assert_int_equal(lines_at(LOG_DEBUG, "ERROR"), 1);
    assert_int_equal(lines_at(LOG_WARN, ""), 2);
    assert_int_equal(lines_at(LOG_WARN, "loud"), 3); /* and a line that says so */
}

static void writes_logfmt_to_a_terminal(void **state) {
    (void)state;
    int primary = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(primary >= 0);
    assert_int_equal(grantpt(primary), 0);
    assert_int_equal(unlockpt(primary), 0);
    capture_begin(open(ptsname(primary), O_RDWR | O_NOCTTY));
    logging_init(LOG_INFO);
    logging_write(LOG_INFO, "x.y", "a=1 b=\"two words\" c=\"one\" d=\033[31m e=");
    char text[512] = {0};
    assert_true(read(primary, text, sizeof text - 1) > 0);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(captured);
    close(primary);
    logging_init(LOG_INFO);
    assert_memory_equal(text, "ts=", 3);
    assert_string_equal(strchr(text, ' '),
                        " level=info event=x.y a=1 b=\"two words\" c=one d=\"\\u001b[31m\" e=\"\"\r\n");
}

enum { THREADS = 4, LINES = 2000 };

static void *write_lines(void *arg) {
    for (int i = 0; i < LINES; i++)
        logging_write(LOG_INFO, "race", "thread=%d line=%d text=\"%s\"", *(int *)arg, i, "some words to fill it up");
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    int numbers[THREADS];
    int next[THREADS] = {0};
    capture_begin(open("/tmp", O_TMPFILE | O_RDWR | O_APPEND, 0600));
    logging_init(LOG_INFO);
    for (int t = 0; t < THREADS; t++) {
        numbers[t] = t;
        assert_int_equal(pthread_create(&threads[t], NULL, write_lines, &numbers[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    BUF_AUTO text = {0};
    capture_end(&text);
    for (struct str rest = buf_str(&text); rest.len;) {
        json_t *json = parse_line(str_cut(rest, '\n', &rest));
        json_int_t thread = json_integer_value(json_object_get(json, "thread"));
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(json_integer_value(json_object_get(json, "line")), next[thread]++);
        json_decref(json);
    }
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(next[t], LINES);
}

static void a_closed_standard_error_does_no_harm(void **state) {
    (void)state;
    int kept = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    logging_init(LOG_INFO);
    logging_write(LOG_ERROR, "x", "a=1");
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
}

int main(void) {
    unsetenv("ORDERLOG_LOG_LEVEL");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_json_of_pairs),
        cmocka_unit_test(values_cannot_pass_for_fields),
        cmocka_unit_test(every_conversion_is_printed_as_printf_does),
        cmocka_unit_test(formats_may_be_odd),
        cmocka_unit_test(logs_errors_at_their_level),
        cmocka_unit_test(the_environment_sets_the_level),
        cmocka_unit_test(writes_logfmt_to_a_terminal),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(a_closed_standard_error_does_no_harm),
    };
    return cmocka_run_group_tests_name("logging", tests, NULL, NULL);
}
