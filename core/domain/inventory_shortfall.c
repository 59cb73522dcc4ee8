/* An adjustment that takes what was promised. */
#include "core/domain/inventory.h"

/* An open reservation of the SKU. */
struct promise {
    struct row *row;
    int64_t version; /* of the stock row when it was held */
    int64_t quantity;
    bool committed;
};

static bool promise_of(struct row *row, struct str location, struct str sku, struct promise *ret) {
    const struct state_reservation *reservation = (const struct state_reservation *)row->state;
    if (!reservation || !str_eq(reservation->location, location))
        return false;
    bool committed = reservation->status == STATE_RESERVATION_STATUS_COMMITTED;
    if (!committed && reservation->status != STATE_RESERVATION_STATUS_HELD)
        return false;
    for (size_t i = 0; i < reservation->lines.count; i++) {
        const struct state_reservation_line *line = &reservation->lines.items[i];
        if (str_eq(line->sku, sku)) {
            *ret = (struct promise){row, line->version, line->quantity, committed};
            return true;
        }
    }
    return false;
}

void inventory_shortfall_want(struct room *room, struct str location, struct str sku) {
    room_want_open(room, INVENTORY_RESERVATION);
    struct promise promise;
    struct row *row = NULL;
    while ((row = room_next_open(room, INVENTORY_RESERVATION, row))) {
        if (!promise_of(row, location, sku, &promise))
            continue;
        const struct state_reservation *reservation = (const struct state_reservation *)row->state;
        for (size_t i = 0; i < reservation->lines.count; i++)
            room_want(room, INVENTORY_STOCK, stock_key(room->arena, location, reservation->lines.items[i].sku));
    }
}

/* Whether a is to be released before b. */
static bool goes_first(const struct promise *a, const struct promise *b) {
    return a->committed != b->committed ? !a->committed : a->version > b->version;
}

static void promises_sort(struct promise *promises, size_t count) {
    for (size_t gap = count / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < count; i++) {
            struct promise moved = promises[i];
            size_t at = i;
            for (; at >= gap && goes_first(&moved, &promises[at - gap]); at -= gap)
                promises[at] = promises[at - gap];
            promises[at] = moved;
        }
}

static struct promise *promises_find(struct room *room, struct str location, struct str sku, size_t *ret_count) {
    struct promise promise;
    struct row *row = NULL;
    size_t count = 0;
    while ((row = room_next_open(room, INVENTORY_RESERVATION, row)))
        count += promise_of(row, location, sku, &promise);
    struct promise *promises = arena_array(room->arena, struct promise, count);
    size_t at = 0;
    while (at < count && (row = room_next_open(room, INVENTORY_RESERVATION, row)))
        at += promise_of(row, location, sku, &promises[at]);
    promises_sort(promises, count);
    *ret_count = count;
    return promises;
}

bool inventory_shortfall(struct room *room, struct str location, struct str sku, int64_t quantity,
                         struct inventory_release **ret_releases, size_t *ret_count, struct counters *ret_counters) {
    const struct row *stock = room_row(room, INVENTORY_STOCK, stock_key(room->arena, location, sku));
    int64_t left = stock_counters(stock).available + quantity; /* below zero, and no less than the least quantity */
    size_t count = 0;
    struct promise *promises = promises_find(room, location, sku, &count);
    struct inventory_release *releases = arena_array(room->arena, struct inventory_release, count);
    struct inventory_draft draft = {0};
    size_t taken = 0;
    for (; left < 0 && taken < count; taken++) {
        const struct promise *promise = &promises[taken];
        releases[taken].order_id = promise->row->key;
        if (!inventory_draft_move(room, &draft, (const struct state_reservation *)promise->row->state,
                                  INVENTORY_RELEASE, &releases[taken].lines))
            return false;
        left += promise->quantity;
    }
    struct stock_change adjusted = {.adjusted = quantity};
    if (left < 0 || !inventory_draft_change(room, &draft, location, sku, adjusted, ret_counters))
        return false;
    *ret_releases = releases;
    *ret_count = taken;
    return true;
}
