/* A bump allocator: everything that one request or one batch allocates is freed at once.
 *
 * Not for use by several threads. The fast path is inline and calls nothing, so that pure code (core/domain)
 * can use an arena; a new block comes through the `grow` pointer that arena_init sets. */
#ifndef ORDERLOG_BASE_ARENA_H
#define ORDERLOG_BASE_ARENA_H

#include "core/base/str.h"

struct arena_block;

struct arena {
    char *next;
    char *end;
    struct arena_block *blocks;
    size_t bytes; /* of all blocks */
    void *(*grow)(struct arena *arena, size_t size);
};

void arena_init(struct arena *arena);
void arena_reset(struct arena *arena); /* all freed but one block */
void arena_free(struct arena *arena);
size_t arena_bytes(const struct arena *arena); /* taken from the system */

/* Zeroed, aligned to 8; never NULL. */
static inline void *arena_alloc(struct arena *arena, size_t size) {
    size_t rounded = (size + 7) & ~(size_t)7;
    if (rounded < size || (size_t)(arena->end - arena->next) < rounded)
        return arena->grow(arena, size);
    void *ptr = arena->next;
    arena->next += rounded;
    return memset(ptr, 0, rounded);
}

/* A product that does not fit asks for more than there can be, and so aborts. */
static inline size_t arena_array_size(size_t each, size_t count) {
    size_t size;
    return __builtin_mul_overflow(each, count, &size) ? SIZE_MAX : size;
}

#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), arena_array_size(sizeof(type), (size_t)(count))))

static inline struct str arena_dup(struct arena *arena, struct str s) {
    if (!s.ptr)
        return s;
    char *ptr = (char *)arena_alloc(arena, s.len + 1);
    memcpy(ptr, s.ptr, s.len);
    return (struct str){ptr, s.len};
}

struct str arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
