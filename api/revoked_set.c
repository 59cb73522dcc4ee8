#include "api/revoked_set.h"

#include "core/base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { CAP_MIN = 64 };

/* Open addressing; what is looked for is a hash itself. expires_s 0: free. */
struct table {
    struct revoked_id *slots;
    size_t count, cap; /* a power of two */
};

struct revoked_set {
    pthread_rwlock_t lock;
    struct table table;
    atomic_size_t count; /* the table's; without any, nobody takes the lock */
};

static struct revoked_id *slot_of(const struct table *table, const uint8_t *bytes) {
    uint64_t at;
    memcpy(&at, bytes, sizeof at);
    for (;; at++) {
        struct revoked_id *slot = &table->slots[at & (table->cap - 1)];
        if (!slot->expires_s || memcmp(slot->bytes, bytes, REVOKED_ID_SIZE) == 0)
            return slot;
    }
}

static void table_put(struct table *table, const struct revoked_id *id) {
    struct revoked_id *slot = slot_of(table, id->bytes);
    if (slot->expires_s >= id->expires_s)
        return;
    table->count += !slot->expires_s;
    *slot = *id;
}

/* At most half full, without those that have ended. */
static void table_make(struct table *table, int64_t now_s) {
    struct table made = {.cap = CAP_MIN};
    while (made.cap < (table->count + 1) * 2)
        made.cap *= 2;
    made.slots = mem_zalloc(made.cap * sizeof *made.slots);
    for (size_t i = 0; i < table->cap; i++)
        if (table->slots[i].expires_s > now_s)
            table_put(&made, &table->slots[i]);
    free(table->slots);
    *table = made;
}

struct revoked_set *revoked_set_new(void) {
    struct revoked_set *set = mem_zalloc(sizeof *set);
    pthread_rwlock_init(&set->lock, NULL);
    table_make(&set->table, 0);
    return set;
}

void revoked_set_free(struct revoked_set *set) {
    if (!set)
        return;
    pthread_rwlock_destroy(&set->lock);
    free(set->table.slots);
    free(set);
}

void revoked_set_add(struct revoked_set *set, const struct revoked_id *ids, size_t count) {
    int64_t now_s = clock_now_us() / 1000000;
    pthread_rwlock_wrlock(&set->lock);
    for (size_t i = 0; i < count; i++) {
        if (ids[i].expires_s <= now_s)
            continue;
        if ((set->table.count + 1) * 4 > set->table.cap * 3)
            table_make(&set->table, now_s);
        table_put(&set->table, &ids[i]);
    }
    atomic_store(&set->count, set->table.count);
    pthread_rwlock_unlock(&set->lock);
}

void revoked_set_sweep(struct revoked_set *set) {
    if (!revoked_set_count(set))
        return;
    pthread_rwlock_wrlock(&set->lock);
    table_make(&set->table, clock_now_us() / 1000000);
    atomic_store(&set->count, set->table.count);
    pthread_rwlock_unlock(&set->lock);
}

bool revoked_set_has(struct revoked_set *set, const struct revoked_id *id) {
    pthread_rwlock_rdlock(&set->lock);
    bool has = slot_of(&set->table, id->bytes)->expires_s >= id->expires_s;
    pthread_rwlock_unlock(&set->lock);
    return has;
}

size_t revoked_set_count(const struct revoked_set *set) {
    return atomic_load(&set->count);
}
