#include "cli/bench.h"

#include <strings.h>

static bool is_header(struct str line, struct str name, struct str *ret_value) {
    if (line.len <= name.len || line.ptr[name.len] != ':' || strncasecmp(line.ptr, name.ptr, name.len) != 0)
        return false;
    struct str value = {line.ptr + name.len + 1, line.len - name.len - 1};
    while (value.len && value.ptr[0] == ' ')
        value = (struct str){value.ptr + 1, value.len - 1};
    *ret_value = value;
    return true;
}

static bool equal_caseless(struct str a, struct str b) {
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

/* "HTTP/1.1 202 Accepted" */
static bool read_status(struct str line, int *ret) {
    int64_t status;
    if (line.len < 12 || !str_starts_with(line, STR("HTTP/1.1 ")) ||
        !str_to_i64((struct str){line.ptr + 9, 3}, &status) || status < 200 || status > 599)
        return false;
    *ret = (int)status;
    return true;
}

/* All headers, `head` without the empty line behind them. */
static bool read_head(struct bench_reading *reading, struct str head) {
    bool has_length = false;
    struct str rest, value, line = str_cut(head, '\n', &rest);
    if (!read_status(line, &reading->status))
        return false;
    while (rest.ptr) {
        line = str_cut(rest, '\n', &rest);
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (is_header(line, STR("Content-Length"), &value)) {
            int64_t length;
            if (has_length || !str_to_i64(value, &length) || length < 0)
                return false;
            reading->left = (size_t)length;
            has_length = true;
        } else if (is_header(line, STR("Transfer-Encoding"), &value)) {
            reading->chunked = equal_caseless(value, STR("chunked"));
        } else if (is_header(line, STR("Connection"), &value)) {
            reading->closes = equal_caseless(value, STR("close"));
        }
    }
    return reading->chunked != has_length; /* any other end could only be told by the connection's */
}

/* The line at reading->at, which moves past it. */
static bool take_line(struct bench_reading *reading, const struct buf *in, struct str *ret) {
    const char *from = in->ptr + reading->at;
    const char *end = memchr(from, '\n', in->len - reading->at);
    if (!end)
        return false;
    *ret = (struct str){from, (size_t)(end - from)};
    if (ret->len && ret->ptr[ret->len - 1] == '\r')
        ret->len--;
    reading->at += (size_t)(end - from) + 1;
    return true;
}

static bool read_chunk_size(struct str line, size_t *ret) {
    size_t size = 0, i;
    for (i = 0; i < line.len && line.ptr[i] != ';' && line.ptr[i] != ' '; i++) {
        char c = (char)(line.ptr[i] | 0x20);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0 || i > 7)
            return false;
        size = size * 16 + (size_t)digit;
    }
    *ret = size;
    return i > 0;
}

/* What there is of a piece of the body moves to where the body so far ends. */
static void keep_body(struct bench_reading *reading, struct buf *in) {
    size_t there = in->len - reading->at;
    size_t len = there < reading->left ? there : reading->left;
    if (reading->end != reading->at)
        memmove(in->ptr + reading->end, in->ptr + reading->at, len);
    reading->at += len;
    reading->end += len;
    reading->left -= len;
}

static enum bench_read read_chunks(struct bench_reading *reading, struct buf *in) {
    struct str line;
    for (;;) {
        if (reading->left) {
            keep_body(reading, in);
            if (reading->left)
                return BENCH_READ_MORE;
        }
        if (!take_line(reading, in, &line))
            return BENCH_READ_MORE;
        if (reading->last_chunk) {
            if (!line.len)
                return BENCH_READ_WHOLE;
        } else if (reading->in_chunk) {
            if (line.len)
                return BENCH_READ_BAD;
            reading->in_chunk = false;
        } else {
            if (!read_chunk_size(line, &reading->left))
                return BENCH_READ_BAD;
            reading->in_chunk = reading->left > 0;
            reading->last_chunk = reading->left == 0;
        }
    }
}

enum bench_read bench_read(struct bench_reading *reading, struct buf *in) {
    if (!reading->body) {
        size_t from = reading->at > 3 ? reading->at - 3 : 0;
        const char *end = memmem(in->ptr + from, in->len - from, "\r\n\r\n", 4);
        if (!end) {
            reading->at = in->len;
            return BENCH_READ_MORE;
        }
        size_t head = (size_t)(end - in->ptr);
        reading->at = reading->body = reading->end = head + 4;
        if (!read_head(reading, (struct str){in->ptr, head}))
            return BENCH_READ_BAD;
    }
    if (reading->chunked)
        return read_chunks(reading, in);
    keep_body(reading, in);
    return reading->left ? BENCH_READ_MORE : BENCH_READ_WHOLE;
}
