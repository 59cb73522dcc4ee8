/* Values of any generated type, made up from a seed: the same seed gives the same values. */
#ifndef ORDERLOG_TESTS_RANDOM_VALUE_H
#define ORDERLOG_TESTS_RANDOM_VALUE_H

#include "core/base/arena.h"
#include "core/base/schema.h"

struct random_source {
    uint64_t state; /* the seed */
};

uint64_t random_next(struct random_source *source);
/* 0 … limit - 1; limit > 0 */
uint64_t random_below(struct random_source *source, uint64_t limit);
/* Fills *ret: extremes of numbers, all symbols, absent and present options, texts with every length of UTF-8, lists of
 * none to three items (now and then of a hundred). What *ret points to is in the arena. */
void random_value(struct random_source *source, const struct schema_type *type, struct arena *arena, void *ret);

#endif
