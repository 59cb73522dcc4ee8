/* The counters of one SKU at one location, and the one place where they change. Pure; any thread.
 *
 * available = received + adjusted + restocked - held - committed - consumed, never below zero. */
#ifndef ORDERLOG_DOMAIN_STOCK_H
#define ORDERLOG_DOMAIN_STOCK_H

#include "core/domain/room.h"

/* What is added to each counter. */
struct stock_change {
    int64_t received;
    int64_t adjusted;
    int64_t held;
    int64_t committed;
    int64_t consumed;
};

/* The counters after a change, with the next version. False (and *ret is left alone) when available or any counter
 * but adjusted would go below zero, or a number would not fit. */
bool stock_change(const struct counters *before, struct stock_change change, struct counters *ret);

/* "location/sku", in the arena: the key of the table. A location holds no slash, a SKU may. */
struct str stock_key(struct arena *arena, struct str location, struct str sku);
void stock_key_split(struct str key, struct str *ret_location, struct str *ret_sku);
bool stock_location_valid(struct str location);

/* What a row says; all zero when there is none. */
struct counters stock_counters(const struct row *row);

#endif
