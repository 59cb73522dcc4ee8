#include "core/base/url.h"

#include <stdio.h>

#include "core/base/str.h"

/* With what is behind it: https://, s3://. 0: there is none. */
static size_t scheme_len(const char *url) {
    size_t len = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return len && strncmp(url + len, "://", 3) == 0 ? len + 3 : 0;
}

struct url_shown url_show(const char *url) {
    struct url_shown shown;
    size_t scheme = scheme_len(url);
    /* The last one: a password that was not percent-encoded may hold any character. */
    const char *at = strrchr(url + scheme, '@'), *rest = at ? at + 1 : url + scheme;
    snprintf(shown.text, sizeof shown.text, "%.*s%s%.*s", (int)scheme, url, at ? "REDACTED@" : "",
             (int)strcspn(rest, "?#"), rest);
    return shown;
}
