/* The deciders' rows in memory: what was loaded, and what was committed and is not in the tables yet.
 *
 * They are the truth for as long as this loop owns their shards: nobody else may change a row without raising the
 * shard's epoch, which this loop's next transaction would miss. A row that is newer than the table's stays; others go,
 * the longest unused first, when there are too many bytes. */
#ifndef ORDERLOG_CONSUMERS_CACHE_H
#define ORDERLOG_CONSUMERS_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/str.h"

struct cache_row {
    struct cache_row *chain;         /* in its bucket */
    struct cache_row *newer, *older; /* by use */
    struct cache_row *next_dirty, *next_flushing;
    uint64_t hash;
    int table; /* within the loop */
    int32_t slot;
    struct str key; /* in this allocation */
    char *state;    /* encoded; owned */
    size_t state_len;
    int64_t version;
    int64_t guard;
    bool closed;
    bool stored;   /* the table has it, in some version */
    bool dirty;    /* newer than the table's, to be flushed */
    bool flushing; /* on its way into the table in the version of cache_begin_flush */
};

struct cache {
    struct cache_row **buckets;
    size_t capacity;
    size_t count;
    size_t bytes;
    struct cache_row *newest, *oldest;
    struct cache_row *dirty, *flushing;
    size_t dirty_bytes;
};

uint64_t cache_hash(int table, struct str key);
/* NULL when it is not here (it may be in the table). Borrowed until the next cache_put, _trim or _drop. */
struct cache_row *cache_find(struct cache *cache, int table, struct str key, uint64_t hash);
/* Copies what it is given: chain, order and ownership are the cache's own. A row that is dirty stays dirty. */
void cache_put(struct cache *cache, const struct cache_row *row, struct str state);
/* The dirty rows, by next_flushing: what they are now is about to be written. They stay until cache_end_flush. */
struct cache_row *cache_begin_flush(struct cache *cache);
/* They were written, or their shards are dropped next. */
void cache_end_flush(struct cache *cache);
/* Forgets the rows of a shard, dirty ones too. Not during a flush. */
void cache_drop(struct cache *cache, int32_t slot);
void cache_trim(struct cache *cache, size_t bytes);
void cache_free(struct cache *cache);

#endif
