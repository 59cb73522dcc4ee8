/* The stock locations of a deployment and the partition of shop.inventory.requests.v1 that each has for itself
 * (ORDERLOG_LOCATIONS=main:0,north:1): an explicit table, because a location has exactly one writer and its partition
 * may not depend on how many there are. */
#ifndef ORDERLOG_PRODUCERS_LOCATIONS_H
#define ORDERLOG_PRODUCERS_LOCATIONS_H

#include "core/base/err.h"

enum { LOCATIONS_MAX = 64, LOCATION_NAME_MAX = 32 };

struct location {
    char name[LOCATION_NAME_MAX + 1];
    int32_t partition;
};

/* A plain value: copy it as you like. Never changes once parsed, so any thread may read it. */
struct locations {
    struct location items[LOCATIONS_MAX];
    size_t count;
};

/* Names are 1–32 of a–z, 0–9, '-', '_', '.'; each once. ERR_CONFIG says what is wrong. At least one is needed. */
CHECK_RESULT bool locations_parse(const char *text, struct locations *ret, struct err *err);
/* False when there is no such location. */
bool locations_partition(const struct locations *locations, struct str location, int32_t *ret);
/* The one that serves orders. Borrowed from `locations`. */
struct str locations_first(const struct locations *locations);

#endif
