#include "core/base/trace_context.h"

#include "core/base/ids.h"

enum { TRACEPARENT_LEN = TRACEPARENT_SIZE - 1, MEMBERS_MAX = 32, MEMBER_LONG = 128, KEY_MAX = 256, VALUE_MAX = 256 };
/* Where the parts of version 00 begin: 00-<trace id>-<span id>-<flags>. */
enum { TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53 };

/* ---- traceparent ---- */

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_read(const char *text, size_t size, uint8_t *ret) {
    for (size_t i = 0; i < size; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void hex_write(const uint8_t *bytes, size_t size, char *at) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        at[2 * i] = digits[bytes[i] >> 4];
        at[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static bool is_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

bool trace_context_parse(struct str text, struct trace_context *ret) {
    uint8_t version, flags;
    if (text.len < TRACEPARENT_LEN || !hex_read(text.ptr, 1, &version) || version == 0xFF)
        return false;
    if (text.len > TRACEPARENT_LEN && (!version || text.ptr[TRACEPARENT_LEN] != '-'))
        return false;
    if (text.ptr[TRACE_AT - 1] != '-' || text.ptr[SPAN_AT - 1] != '-' || text.ptr[FLAGS_AT - 1] != '-' ||
        !hex_read(text.ptr + TRACE_AT, TRACE_ID_SIZE, ret->trace_id) ||
        !hex_read(text.ptr + SPAN_AT, SPAN_ID_SIZE, ret->span_id) || !hex_read(text.ptr + FLAGS_AT, 1, &flags))
        return false;
    ret->flags = flags & (version ? TRACE_SAMPLED : TRACE_SAMPLED | TRACE_RANDOM);
    return !is_zero(ret->trace_id, TRACE_ID_SIZE) && !is_zero(ret->span_id, SPAN_ID_SIZE);
}

struct str trace_context_format(const struct trace_context *context, char text[TRACEPARENT_SIZE]) {
    memcpy(text, "00-", TRACE_AT);
    hex_write(context->trace_id, TRACE_ID_SIZE, text + TRACE_AT);
    text[SPAN_AT - 1] = '-';
    hex_write(context->span_id, SPAN_ID_SIZE, text + SPAN_AT);
    text[FLAGS_AT - 1] = '-';
    hex_write(&context->flags, 1, text + FLAGS_AT);
    text[TRACEPARENT_LEN] = '\0';
    return (struct str){text, TRACEPARENT_LEN};
}

/* Ids must differ, not be secret, and not cost a system call for each request: SplitMix64 by thread. */
static uint64_t random_not_zero(void) {
    static _Thread_local uint64_t state;
    uint64_t z;
    if (!state)
        random_bytes(&state, sizeof state);
    do {
        z = state += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
    } while (!z);
    return z;
}

void trace_span_id(uint8_t ret[SPAN_ID_SIZE]) {
    uint64_t id = random_not_zero();
    memcpy(ret, &id, SPAN_ID_SIZE);
}

void trace_context_begin(struct trace_context *ret) {
    const uint64_t id[2] = {random_not_zero(), random_not_zero()};
    memcpy(ret->trace_id, id, TRACE_ID_SIZE);
    trace_span_id(ret->span_id);
    ret->flags = TRACE_RANDOM;
}

/* ---- tracestate ---- */

static bool is_lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* key, or tenant@system. */
static bool key_valid(struct str key) {
    size_t systems = 0;
    if (!key.len || key.len > KEY_MAX || !is_lower_or_digit(key.ptr[0]))
        return false;
    for (size_t i = 1; i < key.len; i++) {
        char c = key.ptr[i];
        if (c == '@' ? systems++ || i + 1 == key.len || key.len - i - 1 > 14 || !is_lower_or_digit(key.ptr[i + 1])
                     : !is_lower_or_digit(c) && !(c && strchr("_-*/", c)))
            return false;
    }
    return true;
}

static bool value_valid(struct str value) {
    if (!value.ptr || !value.len || value.len > VALUE_MAX || value.ptr[value.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < ' ' || value.ptr[i] > '~' || value.ptr[i] == '=')
            return false;
    return true;
}

static struct str trimmed(struct str s) {
    while (s.len && (*s.ptr == ' ' || *s.ptr == '\t'))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool members_read(struct str given, struct str members[MEMBERS_MAX], size_t *ret_count) {
    *ret_count = 0;
    for (struct str rest = given; rest.ptr;) {
        struct str value, ignored, member = trimmed(str_cut(rest, ',', &rest));
        struct str key = str_cut(member, '=', &value);
        if (!member.len)
            continue;
        if (*ret_count == MEMBERS_MAX || !key_valid(key) || !value_valid(value))
            return false;
        for (size_t i = 0; i < *ret_count; i++)
            if (str_eq(str_cut(members[i], '=', &ignored), key))
                return false;
        members[(*ret_count)++] = member;
    }
    return true;
}

/* Takes the last member out that is longer than this. False: there is none. */
static bool member_drop(struct str *members, size_t *count, size_t longer_than, size_t *len) {
    for (size_t i = *count; i-- > 0;) {
        if (members[i].len <= longer_than)
            continue;
        *len -= members[i].len + 1;
        memmove(&members[i], &members[i + 1], (--*count - i) * sizeof *members);
        return true;
    }
    return false;
}

struct str tracestate_read(struct str given, struct arena *arena) {
    struct str members[MEMBERS_MAX];
    size_t count, len = 0;
    if (!given.ptr || !members_read(given, members, &count))
        return STR_NULL;
    for (size_t i = 0; i < count; i++)
        len += members[i].len + 1; /* and a comma, but for the last */
    while (len > TRACESTATE_MAX + 1)
        if (!member_drop(members, &count, MEMBER_LONG, &len))
            member_drop(members, &count, 0, &len);
    if (!count)
        return STR_NULL;
    char *text = arena_alloc(arena, len), *at = text;
    for (size_t i = 0; i < count; i++) {
        at = mempcpy(at, members[i].ptr, members[i].len);
        *at++ = i + 1 < count ? ',' : '\0';
    }
    return (struct str){text, len - 1};
}
