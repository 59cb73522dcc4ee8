#include "projections/row_cache.h"

#include <stdlib.h>

struct cached {
    size_t len;
    char bytes[];
};

struct str row_cache_get(const struct row_cache *cache, struct str key) {
    const struct cached *cached = map_get(&cache->young, key);
    if (!cached)
        cached = map_get(&cache->old, key);
    return cached ? (struct str){cached->bytes, cached->len} : STR_NULL;
}

void row_cache_put(struct row_cache *cache, struct str key, struct str bytes) {
    if (cache->bytes >= ROW_CACHE_BYTES / 2) {
        map_free(&cache->old, free);
        cache->old = cache->young;
        cache->young = (struct map){0};
        cache->bytes = 0;
    }
    void **place = map_put(&cache->young, key);
    struct cached *cached = *place;
    cache->bytes += bytes.len + (cached ? 0 : key.len) - (cached ? cached->len : 0);
    cached = mem_realloc(cached, sizeof(*cached) + bytes.len);
    cached->len = bytes.len;
    memcpy(cached->bytes, bytes.ptr, bytes.len);
    *place = cached;
}

void row_cache_clear(struct row_cache *cache) {
    map_free(&cache->young, free);
    map_free(&cache->old, free);
    cache->bytes = 0;
}
