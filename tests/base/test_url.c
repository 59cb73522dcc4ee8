#include "core/base/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void what_may_be_secret_is_not_shown(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"https://host:8443/a/b", "https://host:8443/a/b"},
        {"https://user:secret@host/a", "https://REDACTED@host/a"},
        {"https://secret@[::1]:80", "https://REDACTED@[::1]:80"},
        {"s3://KEY:secret@bucket/prefix", "s3://REDACTED@bucket/prefix"},
        {"http://host/a?token=secret", "http://host/a"},
        {"http://host#secret", "http://host"},
        /* no URLs, or such as cannot be read in one way only */
        {"https://user:sec/secret?secret#secret@host/", "https://REDACTED@host/"},
        {"https://user:secret@secret@host", "https://REDACTED@host"},
        {"user:secret@host", "REDACTED@host"},
        {"user:secret://secret@host", "REDACTED@host"},
        {"https:/user:secret@host", "REDACTED@host"},
        {"host:8080", "host:8080"},
        {"://secret@host", "REDACTED@host"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(url_show(cases[i][0]).text, cases[i][1]);
}

static void what_is_too_long_is_cut(void **state) {
    (void)state;
    char url[2 * URL_SHOWN_SIZE];
    memset(url, 'a', sizeof url - 1);
    url[sizeof url - 1] = '\0';
    assert_int_equal(strlen(url_show(url).text), URL_SHOWN_SIZE - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_secret_is_not_shown),
        cmocka_unit_test(what_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
