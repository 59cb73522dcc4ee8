/* Inside of core/aws/s3*.c: one signed call, made again while that may help. */
#ifndef ORDERLOG_AWS_S3_CALL_H
#define ORDERLOG_AWS_S3_CALL_H

#include "core/aws/credentials.h"
#include "core/aws/s3.h"
#include "core/http/http.h"

struct s3 {
    struct aws_chain *chain;
    char *bucket;
    const char *scheme;
    char *host;
    const char *region;
    bool path_style;
    const char *ca_file; /* NULL: the system's */
    char *place;
};

struct s3_request {
    const char *method;
    struct str key;   /* ptr NULL: the bucket itself */
    struct str query; /* percent-encoded and in order */
    const struct sigv4_header *headers;
    size_t header_count;
    struct str body; /* ptr NULL: none */
};

enum { S3_CHECKSUM_SIZE = 45 /* base64 of a SHA-256, and the zero byte */ };

/* Any answer but 409, 429 and 5xx is a success, whatever its status; those are, too, when it was tried often enough. */
CHECK_RESULT bool s3_call(struct s3 *s3, const struct s3_request *request, struct http_answer *ret, struct err *err);
/* Fills err from an answer that is a refusal, and returns false. */
bool s3_refused(const struct s3 *s3, const char *method, struct str key, const struct http_answer *answer,
                struct err *err);
/* The text of the next element of this name; *rest goes on behind it. Enough for what S3 answers. */
bool s3_xml_take(struct str *rest, const char *name, struct str *ret);
void s3_checksum(struct str body, char ret[S3_CHECKSUM_SIZE]);
/* s3_put_new of an object in several parts. */
CHECK_RESULT bool s3_put_parts(struct s3 *s3, struct str key, struct str body, enum s3_written *ret, struct err *err);

#endif
