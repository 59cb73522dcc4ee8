/* Where revoked sessions are kept, until the last token that they concern ends.
 *
 *   dynamodb://TABLE    a table with the key `kind`, `id`, the local index `by_time` (`kind`, `revoked_us`), and
 *                       `expires_at` as its time to live
 *   else                PostgreSQL: the table sessions.revoked
 *
 * Belongs to one thread; every call blocks. Errors are ERR_STORE_UNAVAILABLE, whatever is wrong with the store: it may
 * be put right while we run. */
#ifndef ORDERLOG_API_REVOKED_STORE_H
#define ORDERLOG_API_REVOKED_STORE_H

#include "core/base/err.h"
#include "core/base/ids.h"

enum {
    REVOKED_ID_SIZE = 16,
    REVOKED_BATCH_MAX = 64,
    /* Each read goes so far back behind the one before: for what was on its way into the store then, and for clocks
     * that differ. */
    REVOKED_OVERLAP_S = 60,
};

/* Tokens of this id that end at expires_s or before are good no more. */
struct revoked_id {
    uint8_t bytes[REVOKED_ID_SIZE]; /* of a SHA-256: no token can be made of it */
    int64_t expires_s;
};

struct revoked_list {
    struct revoked_id *items;
    size_t count, cap;
};

static inline void revoked_list_add(struct revoked_list *list, const void *bytes, int64_t expires_s) {
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->items = mem_realloc(list->items, list->cap * sizeof *list->items);
    }
    struct revoked_id *item = &list->items[list->count++];
    memcpy(item->bytes, bytes, REVOKED_ID_SIZE);
    item->expires_s = expires_s;
}

struct revoked_store;

struct revoked_store_ops {
    size_t batch_max; /* ids that are added before others are read again; <= REVOKED_BATCH_MAX */
    /* All of them, or it is not known which. What is there already stays as it is. */
    bool (*add)(struct revoked_store *store, const struct revoked_id *ids, size_t count, struct err *err);
    /* Appends what may have been added since the last read that succeeded (the first time: all). */
    bool (*read)(struct revoked_store *store, struct revoked_list *ret, struct err *err);
    void (*close)(struct revoked_store *store);
};

struct revoked_store {
    const struct revoked_store_ops *ops;
};

/* Asks nobody yet. `url` is copied. ERR_CONFIG. */
CHECK_RESULT bool revoked_store_open(const char *url, struct revoked_store **ret, struct err *err);
CHECK_RESULT bool revoked_pg_open(const char *url, struct revoked_store **ret, struct err *err);
CHECK_RESULT bool revoked_dynamodb_open(const char *url, struct revoked_store **ret, struct err *err);

/* ORDERLOG_SESSIONS_URL; when it is not set, the shop's PostgreSQL. ERR_CONFIG. */
CHECK_RESULT bool sessions_url_load(const char *database_url, const char **ret, struct err *err);

#endif
