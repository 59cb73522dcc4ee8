#include "api/headers.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

enum known {
    HEADER_AUTHORIZATION,
    HEADER_CONTENT_LENGTH,
    HEADER_CONTENT_TYPE_GIVEN,
    HEADER_HOST,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_LAST_EVENT_ID,
    HEADER_ORDERLOG_AFTER,
    HEADER_PREFER,
    HEADER_TRACE,
    HEADER_TRANSFER_ENCODING,
    HEADER_KNOWN_COUNT,
};

static const struct str known_names[] = {
    [HEADER_AUTHORIZATION] = {"Authorization", 13},     [HEADER_CONTENT_LENGTH] = {"Content-Length", 14},
    [HEADER_CONTENT_TYPE_GIVEN] = {"Content-Type", 12}, [HEADER_HOST] = {"Host", 4},
    [HEADER_IDEMPOTENCY_KEY] = {"Idempotency-Key", 15}, [HEADER_TRACE] = {"traceparent", 11},
    [HEADER_ORDERLOG_AFTER] = {"Orderlog-After", 14},   [HEADER_PREFER] = {"Prefer", 6},
    [HEADER_LAST_EVENT_ID] = {"Last-Event-ID", 13},     [HEADER_TRANSFER_ENCODING] = {"Transfer-Encoding", 17},
};

struct scan {
    struct str values[HEADER_KNOWN_COUNT];
    struct err *err;
    bool ok;
};

static bool equal_caseless(struct str a, struct str b) {
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

static bool is_token(struct str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return name.len > 0;
}

static bool value_is_clean(struct str value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

static enum MHD_Result scan_header(void *user, enum MHD_ValueKind kind, const char *key, size_t key_len,
                                   const char *value, size_t value_len) {
    (void)kind;
    struct scan *scan = user;
    struct str name = {key, key_len};
    struct str text = {value ? value : "", value ? value_len : 0};
    scan->ok = is_token(name) && value_is_clean(text);
    if (!scan->ok) {
        err_set(scan->err, ERR_INVALID_BODY, "A header holds characters that may not be in one.");
        return MHD_NO;
    }
    for (size_t i = 0; i < HEADER_KNOWN_COUNT; i++) {
        if (!equal_caseless(name, known_names[i]))
            continue;
        scan->ok = !scan->values[i].ptr;
        if (!scan->ok)
            err_set(scan->err, ERR_INVALID_BODY, "The header %s is given twice.", known_names[i].ptr);
        while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
            text.len--;
        scan->values[i] = text;
        break;
    }
    return scan->ok ? MHD_YES : MHD_NO;
}

/* RFC 9112, 6.1 and 6.3: what two servers could read in two ways is refused. */
static bool framing_check(struct request *request, const struct scan *scan, struct err *err) {
    struct str length = scan->values[HEADER_CONTENT_LENGTH];
    struct str encoding = scan->values[HEADER_TRANSFER_ENCODING];
    int64_t bytes = 0;
    if (length.ptr && encoding.ptr)
        return err_set(err, ERR_INVALID_BODY, "Content-Length and Transfer-Encoding exclude each other.");
    if (encoding.ptr && !equal_caseless(encoding, STR("chunked")))
        return err_set(err, ERR_INVALID_BODY, "The only Transfer-Encoding known is chunked.");
    if (length.ptr && (!str_to_i64(length, &bytes) || length.ptr[0] == '-'))
        return err_set(err, ERR_INVALID_BODY, "Content-Length is not a number of bytes.");
    request->content_length = (uint64_t)bytes;
    request->has_body = encoding.ptr || bytes > 0;
    return true;
}

static bool is_hex_not_zero(struct str text) {
    bool nonzero = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        nonzero = nonzero || c != '0';
    }
    return nonzero;
}

/* Version 00: 00-<trace id>-<parent id>-<flags>. One that is not valid is as good as none. */
static bool traceparent_is_valid(struct str s) {
    return s.len == 55 && memcmp(s.ptr, "00-", 3) == 0 && s.ptr[35] == '-' && s.ptr[52] == '-' &&
           is_hex_not_zero((struct str){s.ptr + 3, 32}) && is_hex_not_zero((struct str){s.ptr + 36, 16}) &&
           (is_hex_not_zero((struct str){s.ptr + 53, 2}) || memcmp(s.ptr + 53, "00", 2) == 0);
}

/* Trace ids must differ, not be secret, and not cost a system call for each request: SplitMix64 by thread. */
static uint64_t trace_random(void) {
    static _Thread_local uint64_t state;
    if (!state)
        random_bytes(&state, sizeof state);
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

struct str headers_fresh_traceparent(struct arena *arena) {
    char *text = arena_alloc(arena, 56);
    /* Neither id may be zero. */
    snprintf(text, 56, "00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-01", trace_random(), trace_random() | 1,
             trace_random() | 1);
    return (struct str){text, 55};
}

bool headers_say_json(struct str content_type) {
    struct str parameter;
    struct str type = str_cut(content_type, ';', &parameter);
    while (type.len && type.ptr[type.len - 1] == ' ')
        type.len--;
    if (!content_type.ptr || !equal_caseless(type, STR("application/json")))
        return false;
    while (parameter.len && parameter.ptr[0] == ' ')
        parameter = (struct str){parameter.ptr + 1, parameter.len - 1};
    return parameter.len == 0 || equal_caseless(parameter, STR("charset=utf-8")) ||
           equal_caseless(parameter, STR("charset=\"utf-8\""));
}

/* The strings are the connection's; they live as long as the request. */
bool headers_read(struct request *request, struct err *err) {
    struct scan scan = {.err = err, .ok = true};
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, scan_header, &scan);
    if (scan.ok && traceparent_is_valid(scan.values[HEADER_TRACE]))
        request->traceparent = scan.values[HEADER_TRACE];
    if (!scan.ok || !framing_check(request, &scan, err))
        return false;
    request->authorization = scan.values[HEADER_AUTHORIZATION];
    request->idempotency_key = scan.values[HEADER_IDEMPOTENCY_KEY];
    request->prefer = scan.values[HEADER_PREFER];
    request->after = scan.values[HEADER_ORDERLOG_AFTER];
    request->last_event_id = scan.values[HEADER_LAST_EVENT_ID];
    request->content_type_given = scan.values[HEADER_CONTENT_TYPE_GIVEN];
    return true;
}
