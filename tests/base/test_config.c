#include "core/base/config.h"

#include "core/base/ids.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/orderlog-config-XXXXXX";

/* The path of a file of that name in the test's folder; good until the next call. */
static const char *file_with(const char *name, struct str content) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void check_value(const char *key, const char *want) {
    const char *value = config_get(key, "fallback");
    assert_string_equal(value, want);
}

static void a_file_that_is_wrong_is_refused(void **state) {
    (void)state;
    static const struct {
        struct str text;
        const char *detail;
    } cases[] = {
        {{"A=1\nhunter2\n", 12}, "line 2: not of the form KEY=value"},
        {{"=hunter2", 8}, "line 1: not of the form KEY=value"},
        {{"1A=hunter2", 10}, "line 1: not of the form KEY=value"},
        {{"A B=hunter2", 11}, "line 1: not of the form KEY=value"},
        {{"A=1\n#\n\nA=hunter2", 16}, "line 4: A is set twice"},
        {{"A=1\0hunter2", 11}, "holds a zero byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("ORDERLOG_CONFIG", file_with("wrong", cases[i].text), 1);
        struct err err = {0};
        assert_false(config_load(&err));
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.detail, cases[i].detail));
        assert_null(strstr(err.detail, "hunter2")); /* a line may hold a secret */
        check_value("A", "fallback");
    }
    setenv("ORDERLOG_CONFIG", "/nowhere/orderlog.conf", 1);
    struct err err = {0};
    assert_false(config_load(&err));
    assert_string_equal(err.detail, "ORDERLOG_CONFIG: cannot open /nowhere/orderlog.conf: No such file or directory");
    setenv("ORDERLOG_CONFIG", folder, 1);
    assert_false(config_load(&err));
    unsetenv("ORDERLOG_CONFIG");
    assert_true(config_load(&err));
}

static void a_file_gives_settings(void **state) {
    (void)state;
    setenv("ORDERLOG_CONFIG",
           file_with("good", STR("# a comment\n\n  T_PLAIN = some value \r\nT_EQUALS=postgres://h/db?a=b#c\n"
                                 "T_EMPTY=\nT_FILE_ONLY=file\nT_ENV=file\nT_FLAG=file\nT_LAST=last")),
           1);
    struct err err = {0};
    assert_true(config_load(&err));
    check_value("T_PLAIN", "some value");
    check_value("T_EQUALS", "postgres://h/db?a=b#c");
    check_value("T_EMPTY", "");
    check_value("T_LAST", "last");
    check_value("T_ABSENT", "fallback");
    assert_null(config_get("T_ABSENT", NULL));
}

static void flags_win_over_environment_over_file(void **state) {
    (void)state;
    setenv("T_ENV", "environment", 1);
    setenv("T_FLAG", "environment", 1);
    char value[] = "flag";
    config_override("T_FLAG", "an earlier flag");
    config_override("T_FLAG", value);
    value[0] = 'X'; /* it was copied */
    check_value("T_FILE_ONLY", "file");
    check_value("T_ENV", "environment");
    check_value("T_FLAG", "flag");
}

static void key_file_names_the_value(void **state) {
    (void)state;
    setenv("T_SECRET_FILE", file_with("secret", STR("two\nlines\n\n")), 1);
    check_value("T_SECRET", "two\nlines\n");
    const char *kept = config_get("T_SECRET", NULL);
    file_with("secret", STR("changed"));
    assert_ptr_equal(config_get("T_SECRET", NULL), kept);
    check_value("T_SECRET", "two\nlines\n");

    /* A higher source wins, whichever way it gives the value. */
    config_override("T_ENV_FILE", file_with("flag", STR("flag's file")));
    check_value("T_ENV", "flag's file");
    setenv("T_BOTH", "value", 1);
    setenv("T_BOTH_FILE", "/nowhere", 1);
    check_value("T_BOTH", "value");
}

static void require_says_what_is_missing(void **state) {
    (void)state;
    const char *value = "untouched";
    struct err err = {0};
    assert_false(config_require("T_ABSENT", &value, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_string_equal(err.detail, "T_ABSENT is not set");
    assert_false(config_require("T_EMPTY", &value, &err));
    setenv("T_LOST_FILE", "/nowhere", 1);
    assert_false(config_require("T_LOST", &value, &err));
    assert_string_equal(err.detail, "T_LOST_FILE: cannot open /nowhere: No such file or directory");
    assert_string_equal(value, "untouched");
    check_value("T_LOST", "fallback");
    assert_true(config_require("T_PLAIN", &value, &err));
    assert_string_equal(value, "some value");
}

static void what_is_optional_is_read_or_refused(void **state) {
    (void)state;
    const char *value = "untouched";
    struct err err = {0};
    assert_false(config_optional("T_LOST", &value, &err));
    assert_string_equal(err.detail, "T_LOST_FILE: cannot open /nowhere: No such file or directory");
    assert_true(config_optional("T_PLAIN", &value, &err));
    assert_string_equal(value, "some value");
    assert_true(config_optional("T_EMPTY", &value, &err));
    assert_null(value);
    assert_true(config_optional("T_ABSENT", &value, &err));
    assert_null(value);
}

static void integers_have_limits(void **state) {
    (void)state;
    struct err err = {0};
    int64_t value = 0;
    assert_true(config_int("T_ABSENT", 5, 10, 20, &value, &err));
    assert_int_equal(value, 5);
    static const char *const good[] = {"10", "15", "20"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        setenv("T_INT", good[i], 1);
        assert_true(config_int("T_INT", 5, 10, 20, &value, &err));
        assert_int_equal(value, atoi(good[i]));
    }
    static const char *const bad[] = {"9", "21", "", "1x", "ten", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("T_INT", bad[i], 1);
        assert_false(config_int("T_INT", 5, 10, 20, &value, &err));
        assert_string_equal(err.detail, "T_INT must be an integer from 10 to 20");
        assert_int_equal(value, 20);
    }
    assert_false(config_int("T_LOST", 5, 10, 20, &value, &err));
}

static void secrets_come_in_pairs(void **state) {
    (void)state;
    struct secret_pair pair = {0};
    struct err err = {0};
    assert_false(config_secret("T_KEY", 8, &pair, &err));
    setenv("T_KEY", "1234567", 1);
    assert_false(config_secret("T_KEY", 8, &pair, &err));
    assert_string_equal(err.detail, "T_KEY must have at least 8 bytes");
    setenv("T_KEY", "12345678", 1);
    assert_true(config_secret("T_KEY", 8, &pair, &err));
    assert_true(str_eq(pair.current, STR("12345678")));
    assert_null(pair.previous.ptr);

    setenv("T_KEY_PREVIOUS", "", 1);
    assert_true(config_secret("T_KEY", 8, &pair, &err));
    assert_null(pair.previous.ptr);
    setenv("T_KEY_PREVIOUS", "short", 1);
    assert_false(config_secret("T_KEY", 8, &pair, &err));
    assert_string_equal(err.detail, "T_KEY_PREVIOUS must have at least 8 bytes");
    unsetenv("T_KEY_PREVIOUS");
    setenv("T_KEY_PREVIOUS_FILE", "/nowhere", 1);
    assert_false(config_secret("T_KEY", 8, &pair, &err));
    setenv("T_KEY_PREVIOUS_FILE", file_with("previous", STR("abcdefgh\n")), 1);
    assert_true(config_secret("T_KEY", 8, &pair, &err));
    assert_true(str_eq(pair.previous, STR("abcdefgh")));
}

static const char *kept_secret = "one";
static int asked, asked_again;

static bool a_store(void *user, struct str reference, bool again, struct buf *ret, struct err *err) {
    (void)user;
    asked++;
    asked_again += again;
    if (!str_eq(reference, STR("shop#password")))
        return err_set(err, ERR_CONFIG, "no secret %.*s", STR_ARG(reference));
    buf_add_str(ret, str_from(kept_secret));
    return true;
}

static void secrets_stand_behind_references(void **state) {
    (void)state;
    const char *value;
    struct err err = {0};
    BUF_AUTO fresh = {0};
    setenv("T_REFERENCE", "secretsmanager:shop#password", 1);
    assert_false(config_require("T_REFERENCE", &value, &err));
    assert_string_equal(err.detail, "T_REFERENCE: this program has no store of secrets");
    assert_string_equal(config_get("T_REFERENCE", "fallback"), "fallback");

    config_secrets_set(a_store, NULL);
    assert_true(config_secrets_load(&err));
    assert_string_equal(config_get("T_REFERENCE", NULL), "one");
    assert_int_equal(asked, 1);
    kept_secret = "two"; /* what was answered stays, and what it stands for now can be asked for */
    assert_string_equal(config_get("T_REFERENCE", NULL), "one");
    assert_true(config_fresh("one", true, &fresh, &err));
    assert_true(str_eq(buf_str(&fresh), STR("two")));
    assert_int_equal(asked_again, 1);
    assert_true(config_fresh("no secret", false, &fresh, &err));
    assert_true(str_eq(buf_str(&fresh), STR("no secret")));
    assert_int_equal(asked, 2);

    setenv("T_OTHER", "secretsmanager:other", 1);
    assert_false(config_secrets_load(&err));
    assert_string_equal(err.detail, "T_OTHER: no secret other");
    unsetenv("T_OTHER");
    unsetenv("T_REFERENCE");
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"wrong", "good", "secret", "flag", "previous"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

/* In this order: what a file gave stays until exit. */
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_wrong_is_refused),
        cmocka_unit_test(a_file_gives_settings),
        cmocka_unit_test(flags_win_over_environment_over_file),
        cmocka_unit_test(key_file_names_the_value),
        cmocka_unit_test(require_says_what_is_missing),
        cmocka_unit_test(what_is_optional_is_read_or_refused),
        cmocka_unit_test(integers_have_limits),
        cmocka_unit_test(secrets_come_in_pairs),
        cmocka_unit_test(secrets_stand_behind_references),
    };
    return cmocka_run_group_tests_name("config", tests, make_folder, remove_folder);
}
