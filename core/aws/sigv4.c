#include "core/aws/sigv4.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

void sigv4_date(int64_t time_us, char ret[SIGV4_DATE_SIZE]) {
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(ret, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

static bool is_unreserved(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
}

void sigv4_add_encoded(struct buf *buf, struct str text, const char *also) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (is_unreserved((char)c) || (c && strchr(also, c)))
            buf_add_char(buf, (char)c);
        else
            buf_add(buf, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

static bool is_s3(const struct sigv4_scope *scope) {
    return str_eq(scope->service, STR("s3"));
}

static void add_hash(struct buf *buf, struct str data) {
    uint8_t hash[SHA256_SIZE];
    sha256(data, hash);
    buf_add_hex(buf, hash, sizeof hash);
}

/* ---- the canonical request: path, query, headers ---- */

/* Empty and dot segments leave; the rest is encoded, percent signs included. */
static void add_path(struct buf *ret, const struct sigv4_request *request, bool as_is) {
    struct str path = request->path.len ? request->path : STR("/");
    if (as_is) {
        buf_add_str(ret, path);
        return;
    }
    BUF_AUTO clean = {0};
    for (struct str rest = path; rest.ptr;) {
        struct str segment = str_cut(rest, '/', &rest);
        if (segment.len == 0 || str_eq(segment, STR(".")))
            continue;
        if (str_eq(segment, STR(".."))) {
            const char *slash = clean.len ? memrchr(clean.ptr, '/', clean.len) : NULL;
            clean.len = slash ? (size_t)(slash - clean.ptr) : 0;
            continue;
        }
        buf_add_char(&clean, '/');
        buf_add_str(&clean, segment);
    }
    if (clean.len == 0 || path.ptr[path.len - 1] == '/')
        buf_add_char(&clean, '/');
    sigv4_add_encoded(ret, buf_str(&clean), "/");
}

struct pair {
    struct str name;
    struct str value;
    size_t place;
};

static int by_name_and_value(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    int order = str_cmp(x->name, y->name);
    return order ? order : str_cmp(x->value, y->value);
}

static void add_query(struct buf *ret, struct str query) {
    size_t count = 0, room = 1;
    if (query.len == 0)
        return;
    for (size_t i = 0; i < query.len; i++)
        room += query.ptr[i] == '&';
    struct pair *pairs = mem_alloc(room * sizeof *pairs);
    for (struct str rest = query; rest.ptr; count++)
        pairs[count].name = str_cut(str_cut(rest, '&', &rest), '=', &pairs[count].value);
    qsort(pairs, count, sizeof *pairs, by_name_and_value);
    for (size_t i = 0; i < count; i++)
        buf_printf(ret, "%s%.*s=%.*s", i ? "&" : "", STR_ARG(pairs[i].name), STR_ARG(pairs[i].value));
    free(pairs);
}

/* Runs of white space count as one space, at the ends as none. */
static void add_trimmed(struct buf *buf, struct str value) {
    bool space = false, any = false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] && strchr(" \t\r\n\v\f", value.ptr[i])) {
            space = any;
            continue;
        }
        if (space)
            buf_add_char(buf, ' ');
        buf_add_char(buf, value.ptr[i]);
        space = false;
        any = true;
    }
}

static bool is_signed(struct str name) {
    static const char *const left_out[] = {"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"};
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (name.len == strlen(left_out[i]) && strncasecmp(name.ptr, left_out[i], name.len) == 0)
            return false;
    return true;
}

static int compare_names(struct str a, struct str b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? strncasecmp(a.ptr, b.ptr, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name_and_place(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    int order = compare_names(x->name, y->name);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* What the signature adds to a request's own headers. */
struct added {
    char date[SIGV4_DATE_SIZE];
    struct buf payload; /* its hash, or that it is not signed */
    bool in_query;      /* then the headers stay as they are */
};

/* "name:value\n" for each header, and their names, joined by semicolons. */
static void add_headers(const struct sigv4_request *request, const struct added *added, bool s3,
                        const struct sigv4_keys *keys, struct buf *lines, struct buf *names) {
    struct pair *pairs = mem_alloc((request->header_count + 4) * sizeof *pairs);
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        if (is_signed(request->headers[i].name))
            pairs[count++] = (struct pair){request->headers[i].name, request->headers[i].value, i};
    pairs[count++] = (struct pair){STR("host"), request->host, SIZE_MAX};
    if (!added->in_query) {
        pairs[count++] = (struct pair){STR("x-amz-date"), str_from(added->date), SIZE_MAX};
        if (keys->session_token.ptr)
            pairs[count++] = (struct pair){STR("x-amz-security-token"), keys->session_token, SIZE_MAX};
        if (s3 || request->unsigned_payload)
            pairs[count++] = (struct pair){STR("x-amz-content-sha256"), buf_str(&added->payload), SIZE_MAX};
    }
    qsort(pairs, count, sizeof *pairs, by_name_and_place);
    for (size_t i = 0; i < count; i++) {
        bool again = i && compare_names(pairs[i - 1].name, pairs[i].name) == 0;
        if (again) {
            buf_add_char(lines, ',');
        } else {
            buf_printf(lines, "%s", i ? "\n" : "");
            buf_printf(names, "%s", i ? ";" : "");
            for (size_t c = 0; c < pairs[i].name.len; c++) {
                char letter = pairs[i].name.ptr[c];
                letter = letter >= 'A' && letter <= 'Z' ? (char)(letter + 32) : letter;
                buf_add_char(lines, letter);
                buf_add_char(names, letter);
            }
            buf_add_char(lines, ':');
        }
        add_trimmed(lines, pairs[i].value);
    }
    buf_add_char(lines, '\n');
    free(pairs);
}

static void prepare(const struct sigv4_request *request, const struct sigv4_scope *scope, bool in_query,
                    struct added *ret) {
    *ret = (struct added){.in_query = in_query};
    sigv4_date(scope->time_us, ret->date);
    if (request->unsigned_payload || (in_query && is_s3(scope)))
        buf_printf(&ret->payload, UNSIGNED_PAYLOAD);
    else
        add_hash(&ret->payload, request->body);
}

/* `query` as it will be sent; *names gets the names of the signed headers. */
static void add_canonical(const struct sigv4_request *request, const struct sigv4_scope *scope,
                          const struct sigv4_keys *keys, const struct added *added, struct str query, struct buf *names,
                          struct buf *ret) {
    buf_printf(ret, "%.*s\n", STR_ARG(request->method));
    add_path(ret, request, is_s3(scope));
    buf_add_char(ret, '\n');
    add_query(ret, query);
    buf_add_char(ret, '\n');
    add_headers(request, added, is_s3(scope), keys, ret, names);
    buf_printf(ret, "\n%s\n%s", names->ptr, added->payload.ptr);
}

void sigv4_canonical_request(const struct sigv4_request *request, const struct sigv4_scope *scope,
                             const struct sigv4_keys *keys, struct buf *ret) {
    struct added added;
    BUF_AUTO names = {0};
    prepare(request, scope, false, &added);
    add_canonical(request, scope, keys, &added, request->query, &names, ret);
    buf_free(&added.payload);
}

/* ---- the signature ---- */

static void add_scope(struct buf *buf, const struct sigv4_scope *scope, const char *date) {
    buf_printf(buf, "%.8s/%.*s/%.*s/aws4_request", date, STR_ARG(scope->region), STR_ARG(scope->service));
}

/* The hex signature of a canonical request: a key for the day, the region and the service signs it. */
static void add_signature(const struct sigv4_scope *scope, const struct sigv4_keys *keys, const char *date,
                          struct str canonical, struct buf *ret) {
    uint8_t key[SHA256_SIZE];
    BUF_AUTO secret = {0};
    BUF_AUTO text = {0};
    buf_printf(&secret, "AWS4%.*s", STR_ARG(keys->secret_access_key));
    buf_printf(&text, ALGORITHM "\n%s\n", date);
    add_scope(&text, scope, date);
    buf_add_char(&text, '\n');
    add_hash(&text, canonical);
    const struct str steps[] = {{date, 8}, scope->region, scope->service, STR("aws4_request"), buf_str(&text)};
    struct str by = buf_str(&secret);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint8_t next[SHA256_SIZE];
        hmac_sha256(by, steps[i], next);
        memcpy(key, next, sizeof key);
        by = (struct str){(const char *)key, sizeof key};
    }
    buf_add_hex(ret, key, sizeof key);
    OPENSSL_cleanse(secret.ptr, secret.len);
}

void sigv4_sign(const struct sigv4_request *request, const struct sigv4_scope *scope, const struct sigv4_keys *keys,
                struct buf *ret) {
    struct added added;
    BUF_AUTO names = {0};
    BUF_AUTO canonical = {0};
    prepare(request, scope, false, &added);
    add_canonical(request, scope, keys, &added, request->query, &names, &canonical);
    buf_printf(ret, "X-Amz-Date: %s\n", added.date);
    if (keys->session_token.ptr)
        buf_printf(ret, "X-Amz-Security-Token: %.*s\n", STR_ARG(keys->session_token));
    if (is_s3(scope) || request->unsigned_payload)
        buf_printf(ret, "X-Amz-Content-SHA256: %s\n", added.payload.ptr);
    buf_printf(ret, "Authorization: " ALGORITHM " Credential=%.*s/", STR_ARG(keys->access_key_id));
    add_scope(ret, scope, added.date);
    buf_printf(ret, ", SignedHeaders=%s, Signature=", names.ptr);
    add_signature(scope, keys, added.date, buf_str(&canonical), ret);
    buf_add_char(ret, '\n');
    buf_free(&added.payload);
}

static void add_parameter(struct buf *query, const char *name, struct str value) {
    buf_printf(query, "%s%s=", query->len ? "&" : "", name);
    sigv4_add_encoded(query, value, "");
}

void sigv4_presign(const struct sigv4_request *request, const struct sigv4_scope *scope, const struct sigv4_keys *keys,
                   int64_t expires_s, struct buf *ret) {
    struct added added;
    BUF_AUTO names = {0};
    BUF_AUTO lines = {0};
    BUF_AUTO query = {0};
    BUF_AUTO text = {0};
    BUF_AUTO canonical = {0};
    prepare(request, scope, true, &added);
    add_headers(request, &added, is_s3(scope), keys, &lines, &names);
    buf_add_str(&query, request->query);
    add_parameter(&query, "X-Amz-Algorithm", STR(ALGORITHM));
    buf_printf(&text, "%.*s/", STR_ARG(keys->access_key_id));
    add_scope(&text, scope, added.date);
    add_parameter(&query, "X-Amz-Credential", buf_str(&text));
    add_parameter(&query, "X-Amz-Date", str_from(added.date));
    buf_printf(&query, "&X-Amz-Expires=%lld", (long long)expires_s);
    add_parameter(&query, "X-Amz-SignedHeaders", buf_str(&names));
    if (keys->session_token.ptr)
        add_parameter(&query, "X-Amz-Security-Token", keys->session_token);
    buf_reset(&names);
    add_canonical(request, scope, keys, &added, buf_str(&query), &names, &canonical);
    buf_printf(ret, "%.*s://%.*s%s%.*s?%s&X-Amz-Signature=", STR_ARG(request->scheme), STR_ARG(request->host),
               request->path.len ? "" : "/", STR_ARG(request->path), query.ptr);
    add_signature(scope, keys, added.date, buf_str(&canonical), ret);
    buf_free(&added.payload);
}
