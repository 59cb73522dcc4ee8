#include "core/domain/stock.h"

static bool add(int64_t *sum, int64_t more) {
    return !__builtin_add_overflow(*sum, more, sum);
}

static bool available_of(const struct counters *c, int64_t *ret) {
    int64_t sum = c->received;
    int64_t promised = c->held;
    if (!add(&sum, c->adjusted) || !add(&sum, c->restocked) || !add(&promised, c->committed) ||
        !add(&promised, c->consumed))
        return false;
    return !__builtin_sub_overflow(sum, promised, ret);
}

bool stock_change(const struct counters *before, struct stock_change change, struct counters *ret) {
    struct counters after = *before;
    if (!add(&after.version, 1) || !add(&after.received, change.received) || !add(&after.adjusted, change.adjusted) ||
        !add(&after.held, change.held) || !add(&after.committed, change.committed) ||
        !add(&after.consumed, change.consumed) || !available_of(&after, &after.available))
        return false;
    if (after.received < 0 || after.held < 0 || after.committed < 0 || after.consumed < 0 || after.available < 0)
        return false;
    *ret = after;
    return true;
}

struct str stock_key(struct arena *arena, struct str location, struct str sku) {
    char *text = (char *)arena_alloc(arena, location.len + 1 + sku.len);
    memcpy(text, location.ptr, location.len);
    text[location.len] = '/';
    memcpy(text + location.len + 1, sku.ptr, sku.len);
    return (struct str){text, location.len + 1 + sku.len};
}

static size_t slash_find(struct str text) {
    size_t at = 0;
    while (at < text.len && text.ptr[at] != '/')
        at++;
    return at;
}

void stock_key_split(struct str key, struct str *ret_location, struct str *ret_sku) {
    size_t at = slash_find(key);
    size_t sku = at < key.len ? at + 1 : key.len;
    *ret_location = (struct str){key.ptr, at};
    *ret_sku = (struct str){key.ptr + sku, key.len - sku};
}

bool stock_location_valid(struct str location) {
    return location.len > 0 && slash_find(location) == location.len;
}

struct counters stock_counters(const struct row *row) {
    const struct state_stock *stock = (const struct state_stock *)row->state;
    return stock ? stock->counters : (struct counters){0};
}
