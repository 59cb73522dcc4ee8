/* Borrowed text, and a growable buffer that owns its bytes.
 *
 * A `struct str` never owns what it points to and need not end in a zero byte. `ptr == NULL` means
 * "absent" (an Avro null, a header that is not there); an empty text has a non-NULL ptr and len 0. */
#ifndef ORDERLOG_BASE_STR_H
#define ORDERLOG_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf: printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).len, ((s).ptr ? (s).ptr : "")

static inline bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Byte order; a prefix sorts first. */
static inline int str_cmp(struct str a, struct str b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

struct str str_from(const char *text); /* NULL gives STR_NULL */
bool str_starts_with(struct str s, struct str prefix);
bool str_ends_with(struct str s, struct str suffix);
/* Cuts at the first `separator`: the part before it; *rest is what follows (ptr NULL when there was none). */
struct str str_cut(struct str s, char separator, struct str *rest);
/* Whole text as a decimal integer; false when it is not one or does not fit. */
bool str_to_i64(struct str s, int64_t *ret);
bool str_is_utf8(struct str s); /* well-formed: no overlong forms, no surrogates */

/* Owned, growable, always zero-terminated behind `len`. All-zero is an empty buffer. Out of memory aborts. */
struct buf {
    char *ptr;
    size_t len;
    size_t cap;
};

void buf_reserve(struct buf *buf, size_t more);
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_add_str(struct buf *buf, struct str s);
void buf_add_char(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args);
void buf_reset(struct buf *buf); /* empty, memory kept */
void buf_free(struct buf *buf);
static inline struct str buf_str(const struct buf *buf) {
    return (struct str){buf->ptr ? buf->ptr : "", buf->len};
}
/* For __attribute__((cleanup(buf_free))) */
#define BUF_AUTO __attribute__((cleanup(buf_free))) struct buf

/* JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void buf_add_json_string(struct buf *buf, struct str s);

/* malloc and friends that abort with a message when there is no memory. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *ptr, size_t size);
char *mem_strdup(struct str s); /* zero-terminated copy */

#endif
