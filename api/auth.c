#include "api/auth.h"

#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#define SESSION_PREFIX "s1."

enum { OPERATORS_MAX = 256, OPERATOR_NAME_MAX = 64, OPERATOR_TOKEN_MIN = 16 };

struct operator_token {
    char name[OPERATOR_NAME_MAX + 1];
    uint8_t hash[SHA256_SIZE];
};

struct auth {
    struct secret_pair session_secrets;
    struct operator_token *operators;
    size_t operator_count;
};

/* ---- operators ---- */

static bool name_is_valid(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("._@-", c))
            return false;
    }
    return name.len >= 1 && name.len <= OPERATOR_NAME_MAX;
}

static bool operator_add(struct auth *auth, struct str line, struct err *err) {
    struct str token;
    struct str name = str_cut(line, ':', &token);
    if (!token.ptr || !name_is_valid(name))
        return err_set(err, ERR_CONFIG, "not of the form name:token");
    if (token.len < OPERATOR_TOKEN_MIN || str_starts_with(token, STR(SESSION_PREFIX)))
        return err_set(err, ERR_CONFIG, "a token has at least %d characters and does not begin with " SESSION_PREFIX,
                       (int)OPERATOR_TOKEN_MIN);
    if (auth->operator_count == OPERATORS_MAX)
        return err_set(err, ERR_CONFIG, "more than %d operators", (int)OPERATORS_MAX);
    struct operator_token *entry = &auth->operators[auth->operator_count++];
    memcpy(entry->name, name.ptr, name.len);
    entry->name[name.len] = '\0';
    sha256(token, entry->hash);
    return true;
}

static bool operators_read(struct auth *auth, const char *text, struct err *err) {
    int number = 0;
    for (struct str rest = str_from(text); rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest);
        number++;
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (!operator_add(auth, line, err))
            return err_wrap(err, "operators' tokens, line %d", number);
    }
    return true;
}

bool auth_open(const struct secret_pair *session_secrets, const char *operator_tokens, struct auth **ret,
               struct err *err) {
    struct auth *auth = mem_zalloc(sizeof *auth);
    auth->session_secrets = *session_secrets;
    auth->operators = mem_zalloc(sizeof *auth->operators * OPERATORS_MAX);
    if (!operators_read(auth, operator_tokens, err)) {
        auth_close(auth);
        return false;
    }
    *ret = auth;
    return true;
}

void auth_close(struct auth *auth) {
    if (!auth)
        return;
    free(auth->operators);
    free(auth);
}

/* All are compared, so that the time tells nothing. */
static bool operator_find(const struct auth *auth, struct str token, struct principal *ret) {
    uint8_t hash[SHA256_SIZE];
    const struct operator_token *found = NULL;
    sha256(token, hash);
    for (size_t i = 0; i < auth->operator_count; i++) {
        if (bytes_equal_secret(hash, auth->operators[i].hash, sizeof hash))
            found = &auth->operators[i];
    }
    if (found)
        *ret = (struct principal){.kind = PRINCIPAL_OPERATOR, .id = str_from(found->name)};
    return found != NULL;
}

/* ---- sessions ---- */

void auth_session_token(const struct auth *auth, struct str shopper_id, int64_t expires_us, struct buf *ret) {
    BUF_AUTO payload = {0};
    BUF_AUTO token = {0};
    uint8_t mac[SHA256_SIZE];
    buf_printf(&payload, "%.*s:%" PRId64, STR_ARG(shopper_id), expires_us / 1000000);
    buf_add_str(&token, STR(SESSION_PREFIX));
    buf_add_base64url(&token, (const uint8_t *)payload.ptr, payload.len);
    hmac_sha256(auth->session_secrets.current, buf_str(&token), mac);
    buf_add_char(&token, '.');
    buf_add_base64url(&token, mac, sizeof mac);
    buf_add_str(ret, buf_str(&token));
}

static bool signed_by(struct str secret, struct str text, const struct buf *mac) {
    uint8_t expected[SHA256_SIZE];
    if (!secret.ptr)
        return false;
    hmac_sha256(secret, text, expected);
    return mac->len == sizeof expected && bytes_equal_secret(expected, mac->ptr, sizeof expected);
}

static bool session_find(const struct auth *auth, struct str token, int64_t now_us, struct arena *arena,
                         struct principal *ret) {
    BUF_AUTO mac = {0};
    BUF_AUTO payload = {0};
    struct str signature;
    struct str body = str_cut((struct str){token.ptr + 3, token.len - 3}, '.', &signature);
    struct str text = {token.ptr, body.len + 3};
    if (!signature.ptr || !base64url_decode(signature, &mac))
        return false;
    if (!signed_by(auth->session_secrets.current, text, &mac) && !signed_by(auth->session_secrets.previous, text, &mac))
        return false;
    struct str expiry;
    int64_t expires_s;
    if (!base64url_decode(body, &payload))
        return false;
    struct str shopper_id = str_cut(buf_str(&payload), ':', &expiry);
    if (!id_valid(shopper_id) || !expiry.ptr || !str_to_i64(expiry, &expires_s) || expires_s <= now_us / 1000000)
        return false;
    *ret = (struct principal){.kind = PRINCIPAL_SHOPPER,
                              .id = arena_dup(arena, shopper_id),
                              .session = arena_dup(arena, text),
                              .expires_s = expires_s};
    return true;
}

bool auth_principal(const struct auth *auth, struct str authorization, int64_t now_us, struct arena *arena,
                    struct principal *ret) {
    struct str token;
    if (!authorization.ptr || authorization.len < 8 || strncasecmp(authorization.ptr, "Bearer ", 7) != 0)
        return false;
    token = (struct str){authorization.ptr + 7, authorization.len - 7};
    if (str_starts_with(token, STR(SESSION_PREFIX)))
        return session_find(auth, token, now_us, arena, ret);
    return operator_find(auth, token, ret);
}
