#include "core/domain/inventory.h"

/* What the reservation records have in common. */
struct fact {
    struct str order_id;
    struct str location;
    const struct stock_line_list *lines;
    enum state_reservation_status status;
};

static bool fact_of(const struct message *message, struct fact *ret) {
    static const struct stock_line_list none = {0};
    switch (message->type) {
    case MESSAGE_RESERVATION_STOCK_RESERVED: {
        const struct reservation_stock_reserved *m = &message->reservation_stock_reserved;
        *ret = (struct fact){m->order_id, m->location, &m->lines, STATE_RESERVATION_STATUS_HELD};
        return true;
    }
    case MESSAGE_RESERVATION_STOCK_REFUSED: {
        const struct reservation_stock_refused *m = &message->reservation_stock_refused;
        *ret = (struct fact){m->order_id, m->location, &none, STATE_RESERVATION_STATUS_REFUSED};
        return true;
    }
    case MESSAGE_RESERVATION_COMMITTED: {
        const struct reservation_committed *m = &message->reservation_committed;
        *ret = (struct fact){m->order_id, m->location, &m->lines, STATE_RESERVATION_STATUS_COMMITTED};
        return true;
    }
    case MESSAGE_RESERVATION_RELEASED: {
        const struct reservation_released *m = &message->reservation_released;
        *ret = (struct fact){m->order_id, m->location, &m->lines, STATE_RESERVATION_STATUS_RELEASED};
        return true;
    }
    case MESSAGE_RESERVATION_CONSUMED: {
        const struct reservation_consumed *m = &message->reservation_consumed;
        *ret = (struct fact){m->order_id, m->location, &m->lines, STATE_RESERVATION_STATUS_CONSUMED};
        return true;
    }
    default:
        return false;
    }
}

/* A stock record that carries a row's counters. */
static bool level_of(const struct message *message, struct str *ret_location, struct str *ret_sku,
                     struct counters *ret_counters) {
    switch (message->type) {
    case MESSAGE_STOCK_RECEIVED:
        *ret_location = message->stock_received.location;
        *ret_sku = message->stock_received.sku;
        *ret_counters = message->stock_received.counters;
        return true;
    case MESSAGE_STOCK_ADJUSTED:
        *ret_location = message->stock_adjusted.location;
        *ret_sku = message->stock_adjusted.sku;
        *ret_counters = message->stock_adjusted.counters;
        return true;
    case MESSAGE_STOCK_LEVEL_CHANGED:
        *ret_location = message->stock_level_changed.location;
        *ret_sku = message->stock_level_changed.sku;
        *ret_counters = message->stock_level_changed.counters;
        return true;
    default:
        return false;
    }
}

static void fold_counters(struct room *room, struct str location, struct str sku, struct counters counters) {
    struct row *row = room_row(room, INVENTORY_STOCK, stock_key(room->arena, location, sku));
    if (counters.version <= stock_counters(row).version)
        return;
    struct state_stock *stock = arena_new(room->arena, struct state_stock);
    stock->counters = counters;
    row->state = stock;
    room_put(room, INVENTORY_STOCK, row, counters.available, false);
}

static struct state_reservation_line_list lines_held(struct arena *arena, const struct stock_line_list *lines) {
    struct state_reservation_line *items = arena_array(arena, struct state_reservation_line, lines->count);
    for (size_t i = 0; i < lines->count; i++)
        items[i] = (struct state_reservation_line){.sku = arena_dup(arena, lines->items[i].sku),
                                                   .quantity = lines->items[i].quantity,
                                                   .version = lines->items[i].counters.version};
    return (struct state_reservation_line_list){items, lines->count};
}

static void fold_reservation(struct room *room, const struct fact *fact) {
    struct row *row = room_row(room, INVENTORY_RESERVATION, fact->order_id);
    struct state_reservation *after = arena_new(room->arena, struct state_reservation);
    if (row->state)
        *after = *(const struct state_reservation *)row->state;
    else
        after->location = arena_dup(room->arena, fact->location);
    if (fact->status == STATE_RESERVATION_STATUS_HELD)
        after->lines = lines_held(room->arena, fact->lines);
    after->status = fact->status;
    row->state = after;
    bool closed = fact->status != STATE_RESERVATION_STATUS_HELD && fact->status != STATE_RESERVATION_STATUS_COMMITTED;
    room_put(room, INVENTORY_RESERVATION, row, 0, closed);
}

void inventory_evolve(struct room *room, const struct input *input) {
    struct fact fact;
    struct str location, sku;
    struct counters counters;
    if (level_of(input->message, &location, &sku, &counters)) {
        fold_counters(room, location, sku, counters);
    } else if (fact_of(input->message, &fact)) {
        for (size_t i = 0; i < fact.lines->count; i++)
            fold_counters(room, fact.location, fact.lines->items[i].sku, fact.lines->items[i].counters);
        fold_reservation(room, &fact);
    }
}

void inventory_evolve_want(struct room *room, const struct input *input) {
    struct fact fact;
    struct str location, sku;
    struct counters counters;
    if (level_of(input->message, &location, &sku, &counters)) {
        room_want(room, INVENTORY_STOCK, stock_key(room->arena, location, sku));
    } else if (fact_of(input->message, &fact)) {
        room_want(room, INVENTORY_RESERVATION, fact.order_id);
        for (size_t i = 0; i < fact.lines->count; i++)
            room_want(room, INVENTORY_STOCK, stock_key(room->arena, fact.location, fact.lines->items[i].sku));
    }
}

/* The rows that reservations changed in this batch, in that order, once for each change. */
struct level {
    struct level *next;
    struct row *row;
    int64_t version;
};

struct levels {
    struct level *first;
    struct level **end;
};

static void level_remember(struct room *room, struct row *row, int64_t version) {
    struct levels *levels = (struct levels *)room->scratch;
    if (!levels) {
        levels = arena_new(room->arena, struct levels);
        levels->end = &levels->first;
        room->scratch = levels;
    }
    struct level *level = arena_new(room->arena, struct level);
    *level = (struct level){.row = row, .version = version};
    *levels->end = level;
    levels->end = &level->next;
}

/* The order or the SKU that a record is about, which is its key too. */
static struct str subject_of(const struct message *message, struct str *ret_topic) {
    struct fact fact;
    struct str location, sku;
    struct counters counters;
    *ret_topic = STR(TOPIC_RESERVATION_EVENTS);
    if (fact_of(message, &fact))
        return fact.order_id;
    if (message->type == MESSAGE_RESERVATION_COMMAND_REFUSED)
        return message->reservation_command_refused.order_id;
    *ret_topic = STR(TOPIC_STOCK_EVENTS);
    if (level_of(message, &location, &sku, &counters))
        return sku;
    return message->type == MESSAGE_STOCK_SHORT ? message->stock_short.sku : message->stock_command_refused.sku;
}

static void emit(struct room *room, const struct message *message) {
    struct str topic;
    struct str subject = subject_of(message, &topic);
    room_emit(room, topic, subject, subject, message);
}

void inventory_record(struct room *room, const struct message *message) {
    inventory_evolve(room, &(struct input){.kind = INPUT_RECORD, .message = message});
    struct fact fact;
    if (fact_of(message, &fact))
        for (size_t i = 0; i < fact.lines->count; i++) {
            const struct stock_line *line = &fact.lines->items[i];
            struct str key = stock_key(room->arena, fact.location, line->sku);
            level_remember(room, room_row(room, INVENTORY_STOCK, key), line->counters.version);
        }
    emit(room, message);
}

/* One record a row, whatever its number of changes: for the last one, unless a stock record was that and said it. */
void inventory_batch_end(struct room *room) {
    const struct levels *levels = (const struct levels *)room->scratch;
    for (const struct level *level = levels ? levels->first : NULL; level; level = level->next) {
        struct message message = {.type = MESSAGE_STOCK_LEVEL_CHANGED};
        struct stock_level_changed *m = &message.stock_level_changed;
        m->counters = stock_counters(level->row);
        if (m->counters.version != level->version)
            continue;
        stock_key_split(level->row->key, &m->location, &m->sku);
        emit(room, &message);
    }
}
