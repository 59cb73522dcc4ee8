/* What core/aws/s3 does, asked by tests/archive/test_s3.py: s3_probe BUCKET put KEY < BODY | get KEY FROM LEN | list
 * PREFIX Exit status 0: done; 1: an error, which is on standard error as "kind: detail". */
#include "core/aws/s3.h"

#include <stdio.h>
#include <stdlib.h>

static bool put(struct s3 *s3, struct str key, struct err *err) {
    BUF_AUTO body = {0};
    enum s3_written written;
    for (size_t got = 1; got;) {
        buf_reserve(&body, 1 << 16);
        got = fread(body.ptr + body.len, 1, 1 << 16, stdin);
        body.len += got;
    }
    if (!s3_put_new(s3, key, buf_str(&body), &written, err))
        return false;
    puts(written == S3_WRITTEN ? "written" : "exists");
    return true;
}

static bool get(struct s3 *s3, struct str key, const char *from, const char *len, struct err *err) {
    BUF_AUTO body = {0};
    if (!s3_get(s3, key, atoll(from), atoll(len), &body, err))
        return false;
    if (body.len)
        fwrite(body.ptr, 1, body.len, stdout);
    return true;
}

static bool say(void *user, struct str key, int64_t bytes, struct err *err) {
    (void)user;
    (void)err;
    printf("%.*s %lld\n", STR_ARG(key), (long long)bytes);
    return true;
}

int main(int argc, char **argv) {
    struct s3 *s3 = NULL;
    struct err err = {0};
    struct str key = str_from(argc > 3 ? argv[3] : "");
    const char *what = argc > 3 ? argv[2] : "";
    bool ok = argc > 3 && s3_open(str_from(argv[1]), &s3, &err);
    if (ok && strcmp(what, "put") == 0)
        ok = put(s3, key, &err);
    else if (ok && strcmp(what, "get") == 0 && argc == 6)
        ok = get(s3, key, argv[4], argv[5], &err);
    else if (ok)
        ok = s3_list(s3, key, say, NULL, &err);
    s3_close(s3);
    if (!ok)
        fprintf(stderr, "%s: %s\n", err_slug(err.kind), err.detail);
    return ok ? 0 : 1;
}
