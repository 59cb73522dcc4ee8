/* The bytes of the rows that a projector wrote last, so that it need not read them again: nobody else writes them as
 * long as the positions that it expects are the ones that the store holds, which every save checks.
 *
 * Bounded: beyond ROW_CACHE_BYTES what was not written lately is dropped. All-zero is empty. Belongs to one thread. */
#ifndef ORDERLOG_PROJECTIONS_ROW_CACHE_H
#define ORDERLOG_PROJECTIONS_ROW_CACHE_H

#include "core/base/map.h"

enum { ROW_CACHE_BYTES = 2 << 20 };

struct row_cache {
    struct map young, old; /* what is written goes to the young; they take turns when it holds half of the bytes */
    size_t bytes;          /* of the young */
};

/* ptr NULL: unknown. Borrowed until the next call. */
struct str row_cache_get(const struct row_cache *cache, struct str key);
/* Copies both. */
void row_cache_put(struct row_cache *cache, struct str key, struct str bytes);
void row_cache_clear(struct row_cache *cache);

#endif
