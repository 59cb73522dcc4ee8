#include "consumers/cache.h"

#include <stdlib.h>

enum { CACHE_FIRST_CAPACITY = 1024 };

uint64_t cache_hash(int table, struct str key) {
    uint64_t hash = UINT64_C(14695981039346656037) ^ (uint64_t)table; /* FNV-1a */
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.ptr[i]) * UINT64_C(1099511628211);
    return hash ^ hash >> 32;
}

static size_t bytes_of(const struct cache_row *row) {
    return sizeof(*row) + row->key.len + row->state_len;
}

/* ---- order of use ---- */

static void unlink_use(struct cache *cache, struct cache_row *row) {
    *(row->newer ? &row->newer->older : &cache->newest) = row->older;
    *(row->older ? &row->older->newer : &cache->oldest) = row->newer;
}

static void link_newest(struct cache *cache, struct cache_row *row) {
    row->newer = NULL;
    row->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = row;
    cache->newest = row;
}

/* ---- finding ---- */

static struct cache_row **bucket_of(const struct cache *cache, uint64_t hash) {
    return &cache->buckets[hash & (cache->capacity - 1)];
}

static void grow(struct cache *cache) {
    size_t capacity = cache->capacity ? cache->capacity * 2 : CACHE_FIRST_CAPACITY;
    struct cache_row **buckets = mem_zalloc(capacity * sizeof(struct cache_row *));
    for (struct cache_row *row = cache->newest; row; row = row->older) {
        struct cache_row **bucket = &buckets[row->hash & (capacity - 1)];
        row->chain = *bucket;
        *bucket = row;
    }
    free(cache->buckets);
    cache->buckets = buckets;
    cache->capacity = capacity;
}

struct cache_row *cache_find(struct cache *cache, int table, struct str key, uint64_t hash) {
    if (!cache->capacity)
        return NULL;
    struct cache_row *row = *bucket_of(cache, hash);
    while (row && !(row->hash == hash && row->table == table && str_eq(row->key, key)))
        row = row->chain;
    if (row && row != cache->newest) {
        unlink_use(cache, row);
        link_newest(cache, row);
    }
    return row;
}

/* ---- keeping ---- */

static struct cache_row *make(struct cache *cache, const struct cache_row *like) {
    if (cache->count >= cache->capacity)
        grow(cache);
    struct cache_row *row = mem_zalloc(sizeof(*row) + like->key.len + 1);
    char *key = (char *)(row + 1);
    memcpy(key, like->key.ptr, like->key.len);
    row->key = (struct str){key, like->key.len};
    row->hash = like->hash;
    row->table = like->table;
    struct cache_row **bucket = bucket_of(cache, row->hash);
    row->chain = *bucket;
    *bucket = row;
    link_newest(cache, row);
    cache->count++;
    cache->bytes += bytes_of(row);
    return row;
}

void cache_put(struct cache *cache, const struct cache_row *like, struct str state) {
    struct cache_row *row = cache_find(cache, like->table, like->key, like->hash);
    if (!row)
        row = make(cache, like);
    if (row->dirty)
        cache->dirty_bytes -= bytes_of(row);
    cache->bytes -= row->state_len;
    row->state = mem_realloc(row->state, state.len ? state.len : 1);
    memcpy(row->state, state.ptr, state.len);
    row->state_len = state.len;
    cache->bytes += state.len;
    row->slot = like->slot;
    row->version = like->version;
    row->guard = like->guard;
    row->closed = like->closed;
    row->stored |= like->stored; /* it may have been written since the caller looked */
    if (like->dirty && !row->dirty) {
        row->dirty = true;
        row->next_dirty = cache->dirty;
        cache->dirty = row;
    }
    if (row->dirty)
        cache->dirty_bytes += bytes_of(row);
}

struct cache_row *cache_begin_flush(struct cache *cache) {
    for (struct cache_row *row = cache->dirty; row; row = row->next_dirty) {
        row->dirty = false;
        row->flushing = true;
        row->next_flushing = row->next_dirty;
    }
    cache->flushing = cache->dirty;
    cache->dirty = NULL;
    cache->dirty_bytes = 0;
    return cache->flushing;
}

void cache_end_flush(struct cache *cache) {
    for (struct cache_row *row = cache->flushing; row; row = row->next_flushing) {
        row->flushing = false;
        row->stored = true;
    }
    cache->flushing = NULL;
}

/* ---- forgetting ---- */

static void forget(struct cache *cache, struct cache_row *row) {
    struct cache_row **at = bucket_of(cache, row->hash);
    while (*at != row)
        at = &(*at)->chain;
    *at = row->chain;
    unlink_use(cache, row);
    cache->count--;
    cache->bytes -= bytes_of(row);
    free(row->state);
    free(row);
}

void cache_drop(struct cache *cache, int32_t slot) {
    for (struct cache_row **at = &cache->dirty; *at;) {
        struct cache_row *row = *at;
        if (row->slot != slot) {
            at = &row->next_dirty;
            continue;
        }
        *at = row->next_dirty;
        cache->dirty_bytes -= bytes_of(row);
    }
    for (struct cache_row *row = cache->newest, *older; row; row = older) {
        older = row->older;
        if (row->slot == slot)
            forget(cache, row);
    }
}

void cache_trim(struct cache *cache, size_t bytes) {
    for (struct cache_row *row = cache->oldest, *newer; row && cache->bytes > bytes; row = newer) {
        newer = row->newer;
        if (!row->dirty && !row->flushing)
            forget(cache, row);
    }
}

void cache_free(struct cache *cache) {
    while (cache->newest)
        forget(cache, cache->newest);
    free(cache->buckets);
    *cache = (struct cache){0};
}
