#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* stdio may itself want memory, so the message goes out by write(2). */
static _Noreturn void mem_abort(void) {
    static const char message[] = "orderlog: out of memory\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    abort();
}

void *mem_alloc(size_t size) {
    void *ptr = malloc(size ? size : 1);
    if (!ptr)
        mem_abort();
    return ptr;
}

void *mem_zalloc(size_t size) {
    void *ptr = calloc(1, size ? size : 1);
    if (!ptr)
        mem_abort();
    return ptr;
}

void *mem_realloc(void *ptr, size_t size) {
    void *moved = realloc(ptr, size ? size : 1);
    if (!moved)
        mem_abort();
    return moved;
}

char *mem_strdup(struct str s) {
    if (s.len == SIZE_MAX)
        mem_abort();
    char *copy = mem_alloc(s.len + 1);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct str str_from(const char *text) {
    return text ? (struct str){text, strlen(text)} : STR_NULL;
}

bool str_starts_with(struct str s, struct str prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool str_ends_with(struct str s, struct str suffix) {
    return s.len >= suffix.len && (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

struct str str_cut(struct str s, char separator, struct str *rest) {
    const char *found = s.len ? memchr(s.ptr, separator, s.len) : NULL;
    if (!found) {
        *rest = STR_NULL;
        return s;
    }
    size_t before = (size_t)(found - s.ptr);
    *rest = (struct str){found + 1, s.len - before - 1};
    return (struct str){s.ptr, before};
}

bool str_to_i64(struct str s, int64_t *ret) {
    size_t i = 0;
    bool negative = s.len && s.ptr[0] == '-';
    if (negative)
        i = 1;
    if (i == s.len)
        return false;
    /* Summed downwards, because INT64_MIN has no positive twin. */
    int64_t value = 0;
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, s.ptr[i] - '0', &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *ret = negative ? value : -value;
    return true;
}

void buf_reserve(struct buf *buf, size_t more) {
    size_t need;
    if (__builtin_add_overflow(buf->len, more, &need) || __builtin_add_overflow(need, 1, &need))
        mem_abort();
    if (need <= buf->cap)
        return;
    size_t cap = buf->cap < SIZE_MAX / 2 ? buf->cap * 2 : need;
    if (cap < need)
        cap = need;
    if (cap < 64)
        cap = 64;
    buf->ptr = mem_realloc(buf->ptr, cap);
    buf->ptr[buf->len] = '\0';
    buf->cap = cap;
}

void buf_add(struct buf *buf, const void *bytes, size_t len) {
    buf_reserve(buf, len);
    if (len)
        memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

void buf_add_str(struct buf *buf, struct str s) {
    buf_add(buf, s.ptr, s.len);
}

void buf_add_char(struct buf *buf, char c) {
    buf_add(buf, &c, 1);
}

void buf_vprintf(struct buf *buf, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    buf_reserve(buf, 63);
    size_t room = buf->cap - buf->len;
    int written = vsnprintf(buf->ptr + buf->len, room, format, args);
    if (written < 0)
        mem_abort(); /* glibc fails here only for want of memory, or past INT_MAX bytes */
    if ((size_t)written >= room) {
        buf_reserve(buf, (size_t)written);
        vsnprintf(buf->ptr + buf->len, (size_t)written + 1, format, again);
    }
    buf->len += (size_t)written;
    va_end(again);
}

void buf_printf(struct buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_reset(struct buf *buf) {
    buf->len = 0;
    if (buf->ptr)
        buf->ptr[0] = '\0';
}

void buf_free(struct buf *buf) {
    free(buf->ptr);
    *buf = (struct buf){0};
}

/* Length of the well-formed UTF-8 sequence at the start of `s` (Unicode 15, table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *s, size_t len) {
    unsigned char lead = s[0];
    unsigned char low = 0x80, high = 0xBF; /* limits of the second byte: no overlong forms, surrogates, > U+10FFFF */
    size_t need;
    if (lead >= 0xC2 && lead <= 0xDF) {
        need = 2;
    } else if ((lead & 0xF0) == 0xE0) {
        need = 3;
        if (lead == 0xE0)
            low = 0xA0;
        if (lead == 0xED)
            high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        need = 4;
        if (lead == 0xF0)
            low = 0x90;
        if (lead == 0xF4)
            high = 0x8F;
    } else {
        return 0;
    }
    if (len < need || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    }
    return need;
}

bool str_is_utf8(struct str s) {
    for (size_t i = 0; i < s.len;) {
        uint64_t eight;
        if (s.len - i >= sizeof eight) {
            memcpy(&eight, s.ptr + i, sizeof eight);
            if (!(eight & 0x8080808080808080U)) {
                i += sizeof eight;
                continue;
            }
        }
        if ((unsigned char)s.ptr[i] < 0x80) {
            i++;
            continue;
        }
        size_t sequence = utf8_sequence((const unsigned char *)s.ptr + i, s.len - i);
        if (!sequence)
            return false;
        i += sequence;
    }
    return true;
}

static void add_json_escape(struct buf *buf, unsigned char c) {
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof short_forms; i += 2) {
        if ((unsigned char)short_forms[i] == c) {
            buf_add(buf, (const char[]){'\\', short_forms[i + 1]}, 2);
            return;
        }
    }
    buf_printf(buf, "\\u%04x", c);
}

static bool json_is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void buf_add_json_string(struct buf *buf, struct str s) {
    const unsigned char *bytes = (const unsigned char *)s.ptr;
    buf_reserve(buf, s.len + 2);
    buf_add_char(buf, '"');
    for (size_t i = 0; i < s.len;) {
        size_t run = i;
        while (run < s.len && json_is_plain(bytes[run]))
            run++;
        if (run > i) {
            buf_add(buf, bytes + i, run - i);
            i = run;
            continue;
        }
        if (bytes[i] < 0x80) {
            add_json_escape(buf, bytes[i++]);
            continue;
        }
        size_t sequence = utf8_sequence(bytes + i, s.len - i);
        if (sequence)
            buf_add(buf, bytes + i, sequence);
        else
            buf_add(buf, "\xEF\xBF\xBD", 3);
        i += sequence ? sequence : 1;
    }
    buf_add_char(buf, '"');
}
