/* Amazon S3, as far as an archive needs it: objects are written once and never changed, read in pieces, and listed.
 *
 * AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL) names another service that speaks S3; buckets are then a part of the path.
 * Else it is https://BUCKET.s3.REGION.amazonaws.com. Credentials and region are the chain's (core/aws/credentials.h).
 * Calls that fail for want of an answer, or with 429 or 5xx, are made again: five times in about six seconds. Any
 * thread; every call blocks. Errors name bucket and key: ERR_CONFIG (no credentials or region, no such bucket, not
 * allowed), ERR_NOT_FOUND (no such key), ERR_IO and ERR_TIMEOUT (what may go away). */
#ifndef ORDERLOG_AWS_S3_H
#define ORDERLOG_AWS_S3_H

#include "core/base/err.h"

struct s3;

enum {
    S3_PART_BYTES = 8 << 20, /* a larger object is sent in parts of so many */
    S3_RANGE_MAX = 4 << 20,  /* what one s3_get reads at most */
    S3_KEY_MAX = 1024,
};

/* Copies the bucket's name. Asks nobody yet. ERR_CONFIG. */
CHECK_RESULT bool s3_open(struct str bucket, struct s3 **ret, struct err *err);
void s3_close(struct s3 *s3); /* NULL is fine */
/* "http://127.0.0.1:7070, bucket orders": for messages; lives as long as `s3`. */
const char *s3_place(const struct s3 *s3);

enum s3_written {
    S3_WRITTEN,
    S3_EXISTS, /* something of that name is there already (perhaps by a try whose answer was lost): it was left alone */
};
/* Writes an object that must not be there yet (If-None-Match: *). It is there whole or not at all; what was sent of a
 * large one is taken back when it fails, or, after a crash, by the bucket's rule for incomplete uploads. */
CHECK_RESULT bool s3_put_new(struct s3 *s3, struct str key, struct str body, enum s3_written *ret, struct err *err);

/* Appends up to `len` (S3_RANGE_MAX at most) bytes of an object from `from` on; nothing where it ends. */
CHECK_RESULT bool s3_get(struct s3 *s3, struct str key, int64_t from, int64_t len, struct buf *ret, struct err *err);

/* False ends the listing, with err filled. */
typedef bool s3_visit(void *user, struct str key, int64_t bytes, struct err *err);
/* Visits the keys that begin with `prefix`, in the order of their bytes. Keys are as S3's XML has them. */
CHECK_RESULT bool s3_list(struct s3 *s3, struct str prefix, s3_visit *visit, void *user, struct err *err);

#endif
