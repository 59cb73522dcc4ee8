#include "core/domain/inventory.h"

struct inventory_draft_row {
    const struct row *row;
    struct counters counters;
};

static struct inventory_draft_row *draft_find(struct inventory_draft *draft, const struct row *row) {
    for (size_t i = 0; i < draft->count; i++)
        if (draft->rows[i].row == row)
            return &draft->rows[i];
    return NULL;
}

static void draft_add(struct room *room, struct inventory_draft *draft, struct inventory_draft_row added) {
    if (draft->count == draft->capacity) {
        size_t capacity = draft->capacity ? draft->capacity * 2 : 16;
        struct inventory_draft_row *rows = arena_array(room->arena, struct inventory_draft_row, capacity);
        if (draft->count)
            memcpy(rows, draft->rows, draft->count * sizeof(*rows));
        draft->rows = rows;
        draft->capacity = capacity;
    }
    draft->rows[draft->count++] = added;
}

bool inventory_draft_change(struct room *room, struct inventory_draft *draft, struct str location, struct str sku,
                            struct stock_change change, struct counters *ret) {
    const struct row *row = room_row(room, INVENTORY_STOCK, stock_key(room->arena, location, sku));
    struct inventory_draft_row *known = draft_find(draft, row);
    struct counters before = known ? known->counters : stock_counters(row);
    if (!stock_change(&before, change, ret))
        return false;
    if (known)
        known->counters = *ret;
    else
        draft_add(room, draft, (struct inventory_draft_row){row, *ret});
    return true;
}

static struct stock_change change_of(enum inventory_move move, bool committed, int64_t quantity) {
    switch (move) {
    case INVENTORY_COMMIT:
        return (struct stock_change){.held = -quantity, .committed = quantity};
    case INVENTORY_CONSUME:
        return (struct stock_change){.committed = -quantity, .consumed = quantity};
    case INVENTORY_RELEASE:
        break;
    }
    return committed ? (struct stock_change){.committed = -quantity} : (struct stock_change){.held = -quantity};
}

bool inventory_draft_move(struct room *room, struct inventory_draft *draft, const struct state_reservation *reservation,
                          enum inventory_move move, struct stock_line_list *ret) {
    bool committed = reservation->status == STATE_RESERVATION_STATUS_COMMITTED;
    size_t count = reservation->lines.count;
    struct stock_line *lines = arena_array(room->arena, struct stock_line, count);
    for (size_t i = 0; i < count; i++) {
        const struct state_reservation_line *line = &reservation->lines.items[i];
        lines[i].sku = line->sku;
        lines[i].quantity = line->quantity;
        if (!inventory_draft_change(room, draft, reservation->location, line->sku,
                                    change_of(move, committed, line->quantity), &lines[i].counters))
            return false;
    }
    *ret = (struct stock_line_list){lines, count};
    return true;
}
