#include "core/base/map.h"

#include <stdlib.h>

enum { MAP_CAP_MIN = 16 };

/* FNV-1a, then the finaliser of splitmix64, because linear probing looks at the low bits only. */
static uint64_t key_hash(struct str key) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (uint8_t)key.ptr[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
    return hash ^ (hash >> 31);
}

/* The key's entry, or the free slot where it belongs. There always is a free slot. */
static struct map_entry *entry_find(const struct map *map, struct str key, uint64_t hash) {
    size_t mask = map->cap - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct map_entry *entry = &map->entries[i];
        if (!entry->key.ptr || (entry->hash == hash && str_eq(entry->key, key)))
            return entry;
    }
}

static void map_grow(struct map *map) {
    struct map bigger = {.count = map->count, .cap = map->cap ? map->cap * 2 : MAP_CAP_MIN};
    bigger.entries = mem_zalloc(bigger.cap * sizeof *bigger.entries);
    for (size_t i = 0; i < map->cap; i++) {
        const struct map_entry *entry = &map->entries[i];
        if (entry->key.ptr)
            *entry_find(&bigger, entry->key, entry->hash) = *entry;
    }
    free(map->entries);
    *map = bigger;
}

void *map_get(const struct map *map, struct str key) {
    return map->count ? entry_find(map, key, key_hash(key))->value : NULL;
}

void **map_put(struct map *map, struct str key) {
    if (map->count + map->count / 3 >= map->cap) /* at most three quarters full */
        map_grow(map);
    uint64_t hash = key_hash(key);
    struct map_entry *entry = entry_find(map, key, hash);
    if (!entry->key.ptr) {
        *entry = (struct map_entry){.key = {mem_strdup(key), key.len}, .hash = hash};
        map->count++;
    }
    return &entry->value;
}

struct map_entry *map_next(const struct map *map, const struct map_entry *after) {
    for (size_t i = after ? (size_t)(after - map->entries) + 1 : 0; i < map->cap; i++) {
        if (map->entries[i].key.ptr)
            return &map->entries[i];
    }
    return NULL;
}

void map_free(struct map *map, void (*free_value)(void *value)) {
    for (size_t i = 0; i < map->cap; i++) {
        if (free_value && map->entries[i].value)
            free_value(map->entries[i].value);
        free((char *)map->entries[i].key.ptr);
    }
    free(map->entries);
    *map = (struct map){0};
}
