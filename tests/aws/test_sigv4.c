/* Signatures, presigned URLs and MSK tokens, byte for byte as botocore and AWS's signer make them
 * (vectors/sigv4.json, by make_vectors.py). */
#include "core/aws/msk_token.h"
#include "core/aws/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

enum { HEADERS_MAX = 8 };

static json_t *load_vectors(void) {
    BUF_AUTO path = {0};
    json_error_t error;
    const char *folder = getenv("ORDERLOG_SOURCE");
    assert_non_null(folder);
    buf_printf(&path, "%s/tests/aws/vectors/sigv4.json", folder);
    json_t *vectors = json_load_file(path.ptr, 0, &error);
    if (!vectors)
        fail_msg("%s: %s", path.ptr, error.text);
    return vectors;
}

static struct str text(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? (struct str){json_string_value(value), json_string_length(value)} : STR_NULL;
}

static struct sigv4_keys keys_of(const json_t *vector) {
    const json_t *keys = json_object_get(vector, "keys");
    return (struct sigv4_keys){text(keys, "access_key_id"), text(keys, "secret_access_key"),
                               text(keys, "session_token")};
}

static int64_t time_of(const json_t *vector) {
    return json_integer_value(json_object_get(vector, "time")) * 1000000 + 999999;
}

static void check(const json_t *vector, const char *what, struct str expected, struct str made) {
    if (!str_eq(expected, made))
        fail_msg("%s: %s\n--- expected\n%.*s\n--- made\n%.*s", text(vector, "name").ptr, what, STR_ARG(expected),
                 STR_ARG(made));
}

static void read_request(const json_t *vector, struct sigv4_header *headers, struct sigv4_request *ret) {
    const json_t *given = json_object_get(vector, "headers");
    size_t count = json_array_size(given);
    assert_true(count <= HEADERS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(given, i);
        headers[i].name = str_from(json_string_value(json_array_get(pair, 0)));
        headers[i].value = str_from(json_string_value(json_array_get(pair, 1)));
    }
    *ret = (struct sigv4_request){.method = text(vector, "method"),
                                  .scheme = text(vector, "scheme"),
                                  .host = text(vector, "host"),
                                  .path = text(vector, "path"),
                                  .query = text(vector, "query"),
                                  .headers = headers,
                                  .header_count = count,
                                  .body = text(vector, "body"),
                                  .unsigned_payload = json_is_true(json_object_get(vector, "unsigned_payload"))};
}

static void check_headers(const json_t *vector, const struct sigv4_request *request, const struct sigv4_scope *scope,
                          const struct sigv4_keys *keys) {
    const json_t *expected = json_object_get(vector, "expected");
    char date[SIGV4_DATE_SIZE];
    BUF_AUTO canonical = {0};
    BUF_AUTO lines = {0};
    BUF_AUTO wanted = {0};
    sigv4_canonical_request(request, scope, keys, &canonical);
    check(vector, "canonical request", text(expected, "canonical"), buf_str(&canonical));
    sigv4_date(scope->time_us, date);
    buf_printf(&wanted, "X-Amz-Date: %s\n", date);
    if (keys->session_token.ptr)
        buf_printf(&wanted, "X-Amz-Security-Token: %s\n", keys->session_token.ptr);
    if (text(expected, "content_sha256").ptr)
        buf_printf(&wanted, "X-Amz-Content-SHA256: %s\n", text(expected, "content_sha256").ptr);
    buf_printf(&wanted, "Authorization: %s\n", text(expected, "authorization").ptr);
    sigv4_sign(request, scope, keys, &lines);
    check(vector, "headers", buf_str(&wanted), buf_str(&lines));
}

static void check_token(const json_t *vector, const struct sigv4_keys *keys) {
    const json_t *expected = json_object_get(vector, "expected");
    static const char agent[] = "&User-Agent=orderlog%2F" ORDERLOG_VERSION;
    BUF_AUTO token = {0};
    BUF_AUTO url = {0};
    BUF_AUTO wanted = {0};
    int64_t expires_ms = 0;
    msk_token_make(text(vector, "region"), keys, time_of(vector), &token, &expires_ms);
    assert_true(base64url_decode(buf_str(&token), &url)); /* which takes no padding */
    buf_printf(&wanted, "%s%s", text(expected, "url").ptr, agent);
    check(vector, "token", buf_str(&wanted), buf_str(&url));
    assert_int_equal(expires_ms, json_integer_value(json_object_get(expected, "expires_ms")));
}

static void every_vector(void **state) {
    (void)state;
    json_t *vectors = load_vectors();
    size_t i, by_kind[3] = {0};
    const json_t *vector;
    json_array_foreach(vectors, i, vector) {
        struct sigv4_keys keys = keys_of(vector);
        struct str kind = text(vector, "kind");
        struct sigv4_header headers[HEADERS_MAX];
        struct sigv4_request request;
        if (str_eq(kind, STR("msk"))) {
            by_kind[2]++;
            check_token(vector, &keys);
            continue;
        }
        read_request(vector, headers, &request);
        struct sigv4_scope scope = {text(vector, "region"), text(vector, "service"), time_of(vector)};
        if (!kind.ptr) {
            by_kind[0]++;
            check_headers(vector, &request, &scope, &keys);
            continue;
        }
        BUF_AUTO url = {0};
        by_kind[1]++;
        sigv4_presign(&request, &scope, &keys, json_integer_value(json_object_get(vector, "expires")), &url);
        check(vector, "URL", text(json_object_get(vector, "expected"), "url"), buf_str(&url));
    }
    assert_true(by_kind[0] > 80 && by_kind[1] > 5 && by_kind[2] > 2);
    json_decref(vectors);
}

static void encoding_keeps_what_need_not_be_encoded(void **state) {
    (void)state;
    BUF_AUTO text = {0};
    sigv4_add_encoded(&text, STR("aZ09-_.~ /+%\xE2\x82\xAC\0"), "");
    assert_string_equal(text.ptr, "aZ09-_.~%20%2F%2B%25%E2%82%AC%00");
    buf_reset(&text);
    sigv4_add_encoded(&text, STR("/a b"), "/");
    assert_string_equal(text.ptr, "/a%20b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector),
        cmocka_unit_test(encoding_keeps_what_need_not_be_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
