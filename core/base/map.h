/* A hash table from text to pointers.
 *
 * All-zero is an empty map. Keys are copied and belong to the map; values are the caller's. Nothing can be taken out
 * but all at once. Not for use by several threads at the same time. Out of memory aborts. */
#ifndef ORDERLOG_BASE_MAP_H
#define ORDERLOG_BASE_MAP_H

#include "core/base/str.h"

struct map_entry {
    struct str key; /* ptr NULL: a free slot */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries;
    size_t count;
    size_t cap; /* a power of two, or 0 */
};

/* The value of this key; NULL when there is none. */
void *map_get(const struct map *map, struct str key);
/* Where the value of this key is kept, made with the value NULL if it was not there. Good until the next map_put. */
void **map_put(struct map *map, struct str key);
/* All entries, in no order that means anything: NULL begins and ends. Good until the next map_put. */
struct map_entry *map_next(const struct map *map, const struct map_entry *after);
/* Frees keys and table, and each value by `free_value` (NULL: left alone). The map is empty afterwards. */
void map_free(struct map *map, void (*free_value)(void *value));

#endif
