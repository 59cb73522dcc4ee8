#include "core/base/ids.h"

#include "core/base/clock.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { UUID_SIZE = 16, UUID_MAC_AT = 10, UUID_MAC_SIZE = UUID_SIZE - UUID_MAC_AT };

/* Without randomness or a hash no id can be trusted, so nothing may go on. */
static _Noreturn void crypto_abort(void) {
    static const char message[] = "orderlog: the system's cryptography does not work\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    abort();
}

void random_bytes(void *ret, size_t len) {
    char *at = ret;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            crypto_abort();
        at += got;
        len -= (size_t)got;
    }
}

/* EVP_sha256() looks its implementation up on each use, which costs as much as hashing an id. */
static EVP_MD *sha256_implementation;

static void fetch_sha256(void) {
    sha256_implementation = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void sha256(struct str data, uint8_t ret[SHA256_SIZE]) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_sha256);
    if (!sha256_implementation || EVP_Digest(data.ptr, data.len, ret, NULL, sha256_implementation, NULL) != 1)
        crypto_abort();
}

/* RFC 2104. OpenSSL's own looks for its parts on each call, which costs more than the two hashes. */
void hmac_sha256(struct str key, struct str data, uint8_t ret[SHA256_SIZE]) {
    enum { BLOCK = 64 };
    uint8_t hashed[SHA256_SIZE], inner[BLOCK], outer[BLOCK + SHA256_SIZE];
    BUF_AUTO text = {0};
    if (key.len > BLOCK) {
        sha256(key, hashed);
        key = (struct str){(const char *)hashed, sizeof hashed};
    }
    for (size_t i = 0; i < BLOCK; i++) {
        uint8_t byte = i < key.len ? (uint8_t)key.ptr[i] : 0;
        inner[i] = byte ^ 0x36;
        outer[i] = byte ^ 0x5C;
    }
    buf_add(&text, inner, BLOCK);
    buf_add_str(&text, data);
    sha256(buf_str(&text), outer + BLOCK);
    sha256((struct str){(const char *)outer, sizeof outer}, ret);
    OPENSSL_cleanse(hashed, sizeof hashed);
    OPENSSL_cleanse(inner, sizeof inner);
    OPENSSL_cleanse(outer, sizeof outer);
    OPENSSL_cleanse(text.ptr, BLOCK);
}

bool bytes_equal_secret(const void *a, const void *b, size_t len) {
    return CRYPTO_memcmp(a, b, len) == 0;
}

void buf_add_hex(struct buf *buf, const uint8_t *bytes, size_t len) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++)
        buf_add(buf, (const char[]){digits[bytes[i] >> 4], digits[bytes[i] & 15]}, 2);
}

void buf_add_base64url(struct buf *buf, const uint8_t *bytes, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xFFFF;
        for (held += 8; held >= 6; held -= 6)
            buf_add_char(buf, digits[bits >> (held - 6) & 63]);
    }
    if (held > 0)
        buf_add_char(buf, digits[bits << (6 - held) & 63]);
}

static int base64url_digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Strict: one text per value, so that a signed text cannot be written in two ways. */
bool base64url_decode(struct str text, struct buf *ret) {
    size_t len_before = ret->len;
    uint32_t bits = 0;
    int held = 0;
    bool ok = text.len % 4 != 1;
    for (size_t i = 0; ok && i < text.len; i++) {
        int digit = base64url_digit(text.ptr[i]);
        ok = digit >= 0;
        bits = (bits << 6 | (uint32_t)(digit & 63)) & 0xFFFF;
        held += 6;
        if (held >= 8) {
            held -= 8;
            buf_add_char(ret, (char)(uint8_t)(bits >> held));
        }
    }
    ok = ok && (bits & ((1U << held) - 1)) == 0;
    if (!ok && ret->ptr) {
        ret->len = len_before;
        ret->ptr[len_before] = '\0';
    }
    return ok;
}

bool base64_decode(struct str text, struct buf *ret) {
    BUF_AUTO url = {0};
    if (text.len % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && text.len && text.ptr[text.len - 1] == '='; padding++)
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '-' || c == '_')
            return false;
        buf_add_char(&url, c == '+' ? '-' : c == '/' ? '_' : c);
    }
    return base64url_decode(buf_str(&url), ret);
}

static bool uuid_has_dash(size_t at) {
    return at == 8 || at == 13 || at == 18 || at == 23;
}

static struct id uuid_text(const uint8_t uuid[UUID_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    struct id id;
    size_t at = 0;
    for (size_t i = 0; i < UUID_SIZE; i++) {
        if (uuid_has_dash(at))
            id.text[at++] = '-';
        id.text[at++] = digits[uuid[i] >> 4];
        id.text[at++] = digits[uuid[i] & 15];
    }
    id.text[at] = '\0';
    return id;
}

static bool uuid_parse(struct str text, uint8_t ret[UUID_SIZE]) {
    if (text.len != ID_TEXT_SIZE - 1)
        return false;
    size_t nibbles = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (uuid_has_dash(i)) {
            if (c != '-')
                return false;
            continue;
        }
        int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value < 0)
            return false;
        uint8_t *byte = &ret[nibbles / 2];
        *byte = (uint8_t)(nibbles % 2 ? *byte | value : value << 4);
        nibbles++;
    }
    return true;
}

static void uuid_mark(uint8_t uuid[UUID_SIZE], uint8_t version) {
    uuid[6] = (uint8_t)((uuid[6] & 0x0F) | version << 4);
    uuid[8] = (uint8_t)((uuid[8] & 0x3F) | 0x80);
}

static void uuid_put_time(uint8_t uuid[UUID_SIZE], int64_t time_us) {
    uint64_t ms = (uint64_t)(time_us / 1000);
    for (int i = 0; i < 6; i++)
        uuid[i] = (uint8_t)(ms >> (40 - 8 * i));
}

static void add_part(struct buf *buf, struct str part) {
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)part.len >> (56 - 8 * i));
    buf_add(buf, prefix, sizeof prefix);
    buf_add_str(buf, part);
}

/* Asked of every id in every record: without a branch for each character. */
bool id_valid(struct str text) {
    static const uint64_t dashes = 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23;
    static const uint8_t is_digit[256] = {
        ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1,
        ['9'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['-'] = 2};
    if (text.len != ID_TEXT_SIZE - 1)
        return false;
    unsigned wrong = 0;
    for (size_t i = 0; i < ID_TEXT_SIZE - 1; i++)
        wrong |= is_digit[(uint8_t)text.ptr[i]] ^ (1U + (unsigned)(dashes >> i & 1));
    return !wrong;
}

struct id id_random(void) {
    uint8_t uuid[UUID_SIZE];
    int64_t now_us = clock_now_us();
    random_bytes(uuid + 8, UUID_SIZE - 8);
    uuid_put_time(uuid, now_us);
    /* The 12 bits behind the version go on counting time, in 1/4096 ms (RFC 9562, 6.2, method 3). */
    uint64_t fraction = (uint64_t)(now_us % 1000) * 4096 / 1000;
    uuid[6] = (uint8_t)(fraction >> 8);
    uuid[7] = (uint8_t)fraction;
    uuid_mark(uuid, 7);
    return uuid_text(uuid);
}

struct id id_derive(const struct str *parts, size_t n) {
    BUF_AUTO data = {0};
    for (size_t i = 0; i < n; i++)
        add_part(&data, parts[i]);
    uint8_t hash[SHA256_SIZE];
    sha256(buf_str(&data), hash);
    uuid_mark(hash, 8);
    return uuid_text(hash);
}

static void owner_mac(const uint8_t uuid[UUID_SIZE], struct str shopper_id, struct str secret,
                      uint8_t ret[SHA256_SIZE]) {
    BUF_AUTO data = {0};
    add_part(&data, shopper_id);
    buf_add(&data, uuid, UUID_MAC_AT);
    hmac_sha256(secret, buf_str(&data), ret);
}

static struct id uuid_own(uint8_t uuid[UUID_SIZE], struct str shopper_id, const struct secret_pair *secrets) {
    uint8_t mac[SHA256_SIZE];
    uuid_mark(uuid, 8);
    owner_mac(uuid, shopper_id, secrets->current, mac);
    memcpy(uuid + UUID_MAC_AT, mac, UUID_MAC_SIZE);
    return uuid_text(uuid);
}

struct id id_owned_derive(struct str shopper_id, const struct str *parts, size_t n, const struct secret_pair *secrets) {
    BUF_AUTO data = {0};
    add_part(&data, shopper_id);
    for (size_t i = 0; i < n; i++)
        add_part(&data, parts[i]);
    uint8_t hash[SHA256_SIZE];
    sha256(buf_str(&data), hash);
    return uuid_own(hash, shopper_id, secrets);
}

bool id_owned_by(struct str id, struct str shopper_id, const struct secret_pair *secrets) {
    uint8_t uuid[UUID_SIZE];
    if (!uuid_parse(id, uuid) || uuid[6] >> 4 != 8 || uuid[8] >> 6 != 2)
        return false;
    uint8_t mac[SHA256_SIZE];
    owner_mac(uuid, shopper_id, secrets->current, mac);
    bool owned = bytes_equal_secret(mac, uuid + UUID_MAC_AT, UUID_MAC_SIZE);
    if (secrets->previous.ptr) {
        owner_mac(uuid, shopper_id, secrets->previous, mac);
        owned |= bytes_equal_secret(mac, uuid + UUID_MAC_AT, UUID_MAC_SIZE);
    }
    return owned;
}
