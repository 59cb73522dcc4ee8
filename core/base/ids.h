/* Ids: UUIDs as 36 characters of lower-case text, some of which prove their owner.
 *
 * An owned id is a UUIDv8 (RFC 9562, section 5.8) whose last 48 bits are the first 48 of
 * HMAC-SHA-256(secret, length-prefixed shopper id and the id's other 80 bits), so that the API can refuse a
 * stranger's id without reading anything. */
#ifndef ORDERLOG_BASE_IDS_H
#define ORDERLOG_BASE_IDS_H

#include "core/base/err.h"

enum { ID_TEXT_SIZE = 37, SHA256_SIZE = 32 };

struct id {
    char text[ID_TEXT_SIZE]; /* zero-terminated */
};

static inline struct str id_str(const struct id *id) {
    return (struct str){id->text, ID_TEXT_SIZE - 1};
}

/* The current secret signs; both verify. A secret has at least 32 bytes. `previous.ptr` may be NULL. */
struct secret_pair {
    struct str current;
    struct str previous;
};

struct id id_random(void);                              /* UUIDv7-like: time-ordered, random rest (RFC 9562, 5.7) */
struct id id_derive(const struct str *parts, size_t n); /* UUIDv8 of SHA-256 over the length-prefixed parts */
bool id_valid(struct str text);                         /* shape only */
struct id id_owned_derive(struct str shopper_id, const struct str *parts, size_t n, const struct secret_pair *secrets);
bool id_owned_by(struct str id, struct str shopper_id, const struct secret_pair *secrets); /* constant time */

void sha256(struct str data, uint8_t ret[SHA256_SIZE]);
void hmac_sha256(struct str key, struct str data, uint8_t ret[SHA256_SIZE]);
/* Lower-case hex and unpadded base64url; the buffer is appended to. */
void buf_add_hex(struct buf *buf, const uint8_t *bytes, size_t len);
void buf_add_base64url(struct buf *buf, const uint8_t *bytes, size_t len);
bool base64url_decode(struct str text, struct buf *ret);
bool base64_decode(struct str text, struct buf *ret);              /* the usual alphabet, padded */
bool bytes_equal_secret(const void *a, const void *b, size_t len); /* constant time */
void random_bytes(void *ret, size_t len);

#endif
