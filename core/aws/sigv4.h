/* AWS Signature Version 4, in the headers of a request or in its query (a presigned URL).
 *
 * Source: "Authenticating Requests (AWS Signature Version 4)" of the AWS General Reference. Where it leaves things open
 * the bytes are botocore's (tests/aws/make_vectors.py). Path and query are taken as they go over the wire: percent-
 * encoded already, for instance by sigv4_add_encoded. Nothing here keeps state, blocks or logs; any thread. */
#ifndef ORDERLOG_AWS_SIGV4_H
#define ORDERLOG_AWS_SIGV4_H

#include "core/base/ids.h"

struct sigv4_keys {
    struct str access_key_id;
    struct str secret_access_key;
    struct str session_token; /* ptr NULL: none */
};

struct sigv4_scope {
    struct str region;
    struct str service; /* as the signature names it: s3, dynamodb, kafka-cluster, … */
    int64_t time_us;
};

struct sigv4_header {
    struct str name; /* in any case */
    struct str value;
};

struct sigv4_request {
    struct str method;
    struct str scheme; /* of a presigned URL: https or http */
    struct str host;   /* as the Host header has it */
    struct str path;  /* "" means "/". S3's is signed as it is, others' without empty and dot segments, encoded again */
    struct str query; /* without the question mark */
    /* Those to be signed besides Host and what the signature adds. Names that come twice are joined. Expect,
     * Transfer-Encoding, User-Agent and X-Amzn-Trace-Id are never signed: proxies change them. */
    const struct sigv4_header *headers;
    size_t header_count;
    struct str body;
    bool unsigned_payload; /* the body's hash is left out: for S3 over TLS. Of S3's presigned URLs it always is */
};

enum { SIGV4_DATE_SIZE = 17 }; /* 20260131T235959Z and the zero byte */

/* Appends the header lines that the request must carry besides `headers`, each "Name: value\n": X-Amz-Date,
 * X-Amz-Security-Token, X-Amz-Content-SHA256 (S3, or an unsigned payload) and Authorization. */
void sigv4_sign(const struct sigv4_request *request, const struct sigv4_scope *scope, const struct sigv4_keys *keys,
                struct buf *ret);
/* Appends the whole URL, good for `expires_s` seconds from the scope's time. */
void sigv4_presign(const struct sigv4_request *request, const struct sigv4_scope *scope, const struct sigv4_keys *keys,
                   int64_t expires_s, struct buf *ret);
/* What is signed in the end, for tests and for finding out why a signature is refused. */
void sigv4_canonical_request(const struct sigv4_request *request, const struct sigv4_scope *scope,
                             const struct sigv4_keys *keys, struct buf *ret);
void sigv4_date(int64_t time_us, char ret[SIGV4_DATE_SIZE]);
/* Percent-encodes all but letters, digits and -_.~ (and `also`, which may be ""). */
void sigv4_add_encoded(struct buf *buf, struct str text, const char *also);

#endif
