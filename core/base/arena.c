#include "core/base/arena.h"

#include <stdlib.h>

enum { BLOCK_SIZE = 16 * 1024 };

struct arena_block {
    struct arena_block *older;
    size_t size; /* of `bytes` */
    _Alignas(8) char bytes[];
};

static struct arena_block *block_new(struct arena *arena, size_t size) {
    struct arena_block *block = mem_alloc(sizeof *block + size);
    block->size = size;
    arena->bytes += sizeof *block + size;
    return block;
}

/* Called when the newest block has no room. What is larger than a quarter of a block gets one of its own, put behind
 * the newest, so that the rest of the newest is not lost and arena_reset keeps a block of the usual size. */
static void *arena_grow(struct arena *arena, size_t size) {
    if (size > PTRDIFF_MAX / 2)
        return mem_alloc(SIZE_MAX); /* a length gone wrong: aborts */
    size_t rounded = (size + 7) & ~(size_t)7;
    if (!arena->blocks || rounded <= BLOCK_SIZE / 4) {
        struct arena_block *block = block_new(arena, BLOCK_SIZE);
        block->older = arena->blocks;
        arena->blocks = block;
        arena->next = block->bytes;
        arena->end = block->bytes + BLOCK_SIZE;
    }
    if (rounded <= (size_t)(arena->end - arena->next))
        return arena_alloc(arena, size);
    struct arena_block *own = block_new(arena, rounded);
    own->older = arena->blocks->older;
    arena->blocks->older = own;
    return memset(own->bytes, 0, rounded);
}

/* An empty arena points here rather than to NULL, so that even its first allocation of nothing is not NULL. */
static _Alignas(8) char nothing[8];

void arena_init(struct arena *arena) {
    *arena = (struct arena){.next = nothing, .end = nothing, .grow = arena_grow};
}

void arena_reset(struct arena *arena) {
    struct arena_block *kept = arena->blocks;
    if (!kept)
        return;
    while (kept->older) {
        struct arena_block *block = kept->older;
        kept->older = block->older;
        free(block);
    }
    arena->bytes = sizeof *kept + kept->size;
    arena->next = kept->bytes;
    arena->end = kept->bytes + kept->size;
}

void arena_free(struct arena *arena) {
    arena_reset(arena);
    free(arena->blocks);
    arena_init(arena);
}

size_t arena_bytes(const struct arena *arena) {
    return arena->bytes;
}

struct str arena_printf(struct arena *arena, const char *format, ...) {
    BUF_AUTO text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    return arena_dup(arena, buf_str(&text));
}
