#include "core/aws/s3.h"

#include "core/aws/credentials.h"
#include "core/aws/endpoint.h"
#include "core/aws/s3_call.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/http/http.h"

#include <openssl/evp.h>
#include <stdlib.h>

/* ---- opening ---- */

static bool bucket_valid(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (i && (c == '-' || c == '.'))))
            return false;
    }
    return name.len >= 3 && name.len <= 63;
}

static bool endpoint_take(struct s3 *s3, struct str url, struct err *err) {
    bool tls;
    struct str host;
    if (!aws_endpoint_parse("AWS_ENDPOINT_URL_S3", url, &tls, &host, err))
        return false;
    s3->scheme = tls ? "https" : "http";
    s3->host = mem_strdup(host);
    return true;
}

static bool place_choose(struct s3 *s3, struct err *err) {
    const char *endpoint = config_get("AWS_ENDPOINT_URL_S3", config_get("AWS_ENDPOINT_URL", NULL));
    const char *region = aws_chain_region(s3->chain);
    if (!region && !endpoint)
        return err_set(err, ERR_CONFIG, "no region: set AWS_REGION");
    s3->region = region ? region : "us-east-1"; /* what services that only speak like S3 expect */
    BUF_AUTO place = {0};
    if (endpoint) {
        if (!endpoint_take(s3, str_from(endpoint), err))
            return false;
        s3->path_style = true;
    } else {
        BUF_AUTO host = {0};
        /* A certificate for *.s3… does not cover a name with dots in it. */
        s3->path_style = strchr(s3->bucket, '.') != NULL;
        buf_printf(&host, "%s%ss3.%s.amazonaws.com", s3->path_style ? "" : s3->bucket, s3->path_style ? "" : ".",
                   s3->region);
        s3->scheme = "https";
        s3->host = mem_strdup(buf_str(&host));
    }
    buf_printf(&place, "%s://%s, bucket %s", s3->scheme, s3->host, s3->bucket);
    s3->place = mem_strdup(buf_str(&place));
    return true;
}

bool s3_open(struct str bucket, struct s3 **ret, struct err *err) {
    if (!bucket_valid(bucket))
        return err_set(err, ERR_CONFIG, "'%.*s' is not a bucket's name", STR_ARG(bucket));
    struct s3 *s3 = mem_zalloc(sizeof *s3);
    s3->bucket = mem_strdup(bucket);
    s3->chain = aws_chain_open();
    s3->ca_file = config_get("AWS_CA_BUNDLE", NULL);
    if (!place_choose(s3, err)) {
        s3_close(s3);
        return false;
    }
    *ret = s3;
    return true;
}

void s3_close(struct s3 *s3) {
    if (!s3)
        return;
    aws_chain_close(s3->chain);
    free(s3->bucket);
    free(s3->host);
    free(s3->place);
    free(s3);
}

const char *s3_place(const struct s3 *s3) {
    return s3->place;
}

/* ---- whole objects, and pieces of them ---- */

void s3_checksum(struct str body, char ret[S3_CHECKSUM_SIZE]) {
    uint8_t digest[SHA256_SIZE];
    sha256(body, digest);
    EVP_EncodeBlock((unsigned char *)ret, digest, sizeof digest);
}

/* What stands in the way of a conditional write. 409: another one of the same key is on its way. */
static bool put_in_one(struct s3 *s3, struct str key, struct str body, enum s3_written *ret, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    char checksum[S3_CHECKSUM_SIZE];
    s3_checksum(body, checksum);
    const struct sigv4_header headers[] = {{STR("Content-Type"), STR("application/octet-stream")},
                                           {STR("If-None-Match"), STR("*")},
                                           {STR("x-amz-checksum-sha256"), str_from(checksum)}};
    if (!s3_call(s3,
                 &(struct s3_request){.method = "PUT", .key = key, .headers = headers, .header_count = 3, .body = body},
                 &answer, err))
        return false;
    if (answer.status != 200 && answer.status != 412)
        return s3_refused(s3, "PUT", key, &answer, err);
    *ret = answer.status == 412 ? S3_EXISTS : S3_WRITTEN;
    return true;
}

bool s3_put_new(struct s3 *s3, struct str key, struct str body, enum s3_written *ret, struct err *err) {
    if (!key.len || key.len > S3_KEY_MAX)
        return err_set(err, ERR_CONFIG, "a key of %zu bytes; 1 to %d are allowed", key.len, S3_KEY_MAX);
    return body.len > S3_PART_BYTES ? s3_put_parts(s3, key, body, ret, err) : put_in_one(s3, key, body, ret, err);
}

bool s3_get(struct s3 *s3, struct str key, int64_t from, int64_t len, struct buf *ret, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO range = {0};
    if (len <= 0)
        return true;
    len = len < S3_RANGE_MAX ? len : S3_RANGE_MAX;
    buf_printf(&range, "bytes=%lld-%lld", (long long)from, (long long)(from + len - 1));
    const struct sigv4_header headers[] = {{STR("Range"), buf_str(&range)}};
    if (!s3_call(s3, &(struct s3_request){.method = "GET", .key = key, .headers = headers, .header_count = 1}, &answer,
                 err))
        return false;
    if (answer.status == 416) /* it begins behind the end */
        return true;
    if (answer.status != 206)
        return s3_refused(s3, "GET", key, &answer, err);
    buf_add_str(ret, buf_str(&answer.body));
    return true;
}

/* ---- listing ---- */

static bool page_visit(const struct s3 *s3, struct str page, s3_visit *visit, void *user, struct err *err) {
    struct str item, key, size;
    int64_t bytes;
    while (s3_xml_take(&page, "Contents", &item)) {
        struct str inside = item;
        if (!s3_xml_take(&inside, "Key", &key) || (inside = item, !s3_xml_take(&inside, "Size", &size)) ||
            !str_to_i64(size, &bytes))
            return err_set(err, ERR_IO, "%s: a listing that cannot be read", s3->place);
        if (!visit(user, key, bytes, err))
            return false;
    }
    return true;
}

bool s3_list(struct s3 *s3, struct str prefix, s3_visit *visit, void *user, struct err *err) {
    BUF_AUTO token = {0};
    for (bool more = true; more;) {
        HTTP_ANSWER_AUTO answer = {0};
        BUF_AUTO query = {0}; /* in the order in which it is signed */
        if (token.len) {
            buf_printf(&query, "continuation-token=");
            sigv4_add_encoded(&query, buf_str(&token), "");
            buf_add_char(&query, '&');
        }
        buf_printf(&query, "list-type=2&prefix=");
        sigv4_add_encoded(&query, prefix, "");
        if (!s3_call(s3, &(struct s3_request){.method = "GET", .query = buf_str(&query)}, &answer, err))
            return false;
        struct str page = buf_str(&answer.body), next, truncated;
        if (answer.status != 200)
            return s3_refused(s3, "GET", STR_NULL, &answer, err);
        if (!page_visit(s3, page, visit, user, err))
            return false;
        struct str at = page;
        more = s3_xml_take(&at, "IsTruncated", &truncated) && str_eq(truncated, STR("true"));
        at = page;
        if (more && !s3_xml_take(&at, "NextContinuationToken", &next))
            return err_set(err, ERR_IO, "%s: a listing that goes on without saying where", s3->place);
        buf_reset(&token);
        if (more)
            buf_add_str(&token, next);
    }
    return true;
}
