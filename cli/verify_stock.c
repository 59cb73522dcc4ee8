/* No oversell, ever. Every reservation or stock record carries the stock row after it, with a version: so each row's
 * history is put together again, version by version, and each step must follow from the one before by what the record
 * says it did, and leave no less than nothing available.
 *
 * A row's changes are spread over two topics, and may be read a little out of order: those that come early wait. */
#include "cli/verify.h"
#include "core/base/map.h"

#include <inttypes.h>
#include <stdlib.h>

/* What a record does to a row. A release says not which of held and committed it takes from. */
struct change {
    int64_t received, adjusted, held, committed, consumed, released;
};

struct entry {
    struct entry *next;
    struct counters counters;
    struct change change;
    bool is_level; /* StockLevelChanged: says the row, changes nothing */
    struct verify_at at;
};

struct stock {
    struct counters now; /* version 0: nothing yet */
    struct entry *past;  /* changes that a level may yet speak of, newest first */
    struct entry *early; /* of later versions, the earliest first; a level after the change that it speaks of */
};

struct stocks {
    struct map map; /* "location/sku" to a struct stock */
};

static void entries_free(struct entry *entry) {
    while (entry) {
        struct entry *next = entry->next;
        free(entry);
        entry = next;
    }
}

static void stock_free(void *value) {
    struct stock *stock = value;
    entries_free(stock->past);
    entries_free(stock->early);
    free(stock);
}

static void *stock_begin(const struct verify_options *options, struct verify_result *result) {
    (void)options, (void)result;
    return mem_zalloc(sizeof(struct stocks));
}

static void stock_end(void *state) {
    struct stocks *stocks = state;
    map_free(&stocks->map, stock_free);
    free(stocks);
}

/* ---- one step ---- */

static bool add(int64_t *sum, int64_t by) {
    return !__builtin_add_overflow(*sum, by, sum);
}

/* The row that a change makes; false: a number does not fit. */
static bool counters_add(const struct counters *before, const struct change *change, struct counters *ret) {
    *ret = *before;
    return add(&ret->version, 1) && add(&ret->received, change->received) && add(&ret->adjusted, change->adjusted) &&
           add(&ret->held, change->held) && add(&ret->committed, change->committed) &&
           add(&ret->consumed, change->consumed);
}

static bool counters_available(const struct counters *counters, int64_t *ret) {
    *ret = 0;
    return add(ret, counters->received) && add(ret, counters->adjusted) && add(ret, counters->restocked) &&
           !__builtin_sub_overflow(*ret, counters->held, ret) &&
           !__builtin_sub_overflow(*ret, counters->committed, ret) &&
           !__builtin_sub_overflow(*ret, counters->consumed, ret);
}

/* But for `available`, which follows from the others and is looked at by itself. */
static bool counters_equal(const struct counters *a, const struct counters *b) {
    return a->version == b->version && a->received == b->received && a->adjusted == b->adjusted &&
           a->restocked == b->restocked && a->held == b->held && a->committed == b->committed &&
           a->consumed == b->consumed;
}

static bool follows(const struct counters *before, const struct entry *entry) {
    struct change change = entry->change;
    struct counters after;
    if (!change.released)
        return counters_add(before, &change, &after) && counters_equal(&after, &entry->counters);
    change.held = -change.released;
    if (counters_add(before, &change, &after) && counters_equal(&after, &entry->counters))
        return true;
    change.held = 0;
    change.committed = -change.released;
    return counters_add(before, &change, &after) && counters_equal(&after, &entry->counters);
}

static void counters_print(struct buf *ret, const struct counters *c) {
    buf_printf(ret,
               "version %" PRId64 ": received %" PRId64 " adjusted %" PRId64 " restocked %" PRId64 " held %" PRId64
               " committed %" PRId64 " consumed %" PRId64 " available %" PRId64,
               c->version, c->received, c->adjusted, c->restocked, c->held, c->committed, c->consumed, c->available);
}

static void complain(struct verify_result *result, const struct entry *entry, struct str key, const char *what,
                     const struct counters *before) {
    BUF_AUTO after_text = {0};
    BUF_AUTO before_text = {0};
    counters_print(&after_text, &entry->counters);
    counters_print(&before_text, before);
    verify_violation(result, &entry->at, "stock %.*s: %s (%s; the row was %s)", STR_ARG(key), what, after_text.ptr,
                     before_text.ptr);
}

static bool is_below_zero(const struct counters *c) {
    return c->available < 0 || c->received < 0 || c->restocked < 0 || c->held < 0 || c->committed < 0 ||
           c->consumed < 0;
}

/* The change after the present row. Takes over the entry. */
static void change_apply(struct stock *stock, struct verify_result *result, struct entry *entry, struct str key) {
    int64_t available;
    result->count++;
    if (!counters_available(&entry->counters, &available) || available != entry->counters.available)
        complain(result, entry, key, "available is not what the counters add up to", &stock->now);
    else if (is_below_zero(&entry->counters))
        complain(result, entry, key, "less than nothing is there", &stock->now);
    else if (!follows(&stock->now, entry))
        complain(result, entry, key, "the counters do not follow from the row before", &stock->now);
    stock->now = entry->counters;
    entry->next = stock->past;
    stock->past = entry;
}

/* ---- levels: what stock.events says of the row after a batch ---- */

/* No level of an earlier version comes any more: they come in order. */
static void past_forget(struct stock *stock, int64_t version) {
    for (struct entry **at = &stock->past; *at; at = &(*at)->next)
        if ((*at)->counters.version <= version) {
            entries_free(*at);
            *at = NULL;
            return;
        }
}

static void level_check(struct stock *stock, struct verify_result *result, const struct entry *level, struct str key) {
    const struct entry *past = stock->past;
    while (past && past->counters.version != level->counters.version)
        past = past->next;
    result->count++;
    if (!past)
        complain(result, level, key, "a level of a version that made no change, or was told before", &stock->now);
    else if (!counters_equal(&past->counters, &level->counters) ||
             past->counters.available != level->counters.available)
        complain(result, level, key, "the level is not the row of that version", &past->counters);
    past_forget(stock, level->counters.version);
}

/* ---- in the order of versions ---- */

/* False: it comes too early. */
static bool entry_take(struct stock *stock, struct verify_result *result, struct entry *entry, struct str key) {
    int64_t version = entry->counters.version;
    if (entry->is_level && version <= stock->now.version) {
        level_check(stock, result, entry, key);
        free(entry);
        return true;
    }
    if (!entry->is_level && version <= stock->now.version) {
        complain(result, entry, key, "a second change has this version", &stock->now);
        free(entry);
        return true;
    }
    if (entry->is_level || version != stock->now.version + 1)
        return false;
    bool on_stock_topic = strcmp(entry->at.topic, TOPIC_STOCK_EVENTS) == 0;
    change_apply(stock, result, entry, key);
    /* Levels of earlier versions stood before it in its partition. */
    if (on_stock_topic)
        past_forget(stock, version - 1);
    return true;
}

static bool comes_before(const struct entry *a, const struct entry *b) {
    return a->counters.version == b->counters.version ? !a->is_level && b->is_level
                                                      : a->counters.version < b->counters.version;
}

static void entry_add(struct stocks *stocks, struct verify_result *result, struct str location, struct str sku,
                      const struct entry *entry) {
    BUF_AUTO key = {0};
    buf_add_str(&key, location);
    buf_add_char(&key, '/');
    buf_add_str(&key, sku);
    void **slot = map_put(&stocks->map, buf_str(&key));
    struct stock *stock = *slot;
    if (!stock)
        stock = *slot = mem_zalloc(sizeof *stock);
    struct entry *own = mem_alloc(sizeof *own);
    *own = *entry;
    struct entry **place = &stock->early;
    while (*place && !comes_before(own, *place))
        place = &(*place)->next;
    own->next = *place;
    *place = own;
    /* Each one taken may make room for others. */
    for (struct entry **at = &stock->early; *at;) {
        struct entry *candidate = *at, *next = candidate->next;
        if (entry_take(stock, result, candidate, buf_str(&key))) {
            *at = next;
            at = &stock->early;
        } else {
            at = &candidate->next;
        }
    }
}

/* ---- records ---- */

static void reservation_add(struct stocks *stocks, struct verify_result *result, const struct verify_record *record,
                            struct str location, const struct stock_line_list *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        const struct stock_line *line = &lines->items[i];
        struct entry entry = {.counters = line->counters, .at = record->at};
        switch (record->message->type) {
        case MESSAGE_RESERVATION_STOCK_RESERVED:
            entry.change.held = line->quantity;
            break;
        case MESSAGE_RESERVATION_COMMITTED:
            entry.change.held = -(int64_t)line->quantity;
            entry.change.committed = line->quantity;
            break;
        case MESSAGE_RESERVATION_CONSUMED:
            entry.change.committed = -(int64_t)line->quantity;
            entry.change.consumed = line->quantity;
            break;
        default:
            entry.change.released = line->quantity;
            break;
        }
        if (line->quantity < 1)
            verify_violation(result, &record->at, "stock %.*s/%.*s: a line of quantity %d", STR_ARG(location),
                             STR_ARG(line->sku), line->quantity);
        entry_add(stocks, result, location, line->sku, &entry);
    }
}

static void stock_record(void *state, struct verify_result *result, const struct verify_record *record) {
    const struct message *message = record->message;
    struct entry entry = {.at = record->at};
    switch (message->type) {
#define RESERVATION(TYPE, member)                                                                                      \
    case MESSAGE_##TYPE:                                                                                               \
        reservation_add(state, result, record, message->member.location, &message->member.lines);                      \
        break;
        RESERVATION(RESERVATION_STOCK_RESERVED, reservation_stock_reserved)
        RESERVATION(RESERVATION_COMMITTED, reservation_committed)
        RESERVATION(RESERVATION_RELEASED, reservation_released)
        RESERVATION(RESERVATION_CONSUMED, reservation_consumed)
#undef RESERVATION
    case MESSAGE_STOCK_RECEIVED:
        entry.counters = message->stock_received.counters;
        entry.change.received = message->stock_received.quantity;
        entry_add(state, result, message->stock_received.location, message->stock_received.sku, &entry);
        break;
    case MESSAGE_STOCK_ADJUSTED:
        entry.counters = message->stock_adjusted.counters;
        entry.change.adjusted = message->stock_adjusted.quantity;
        entry_add(state, result, message->stock_adjusted.location, message->stock_adjusted.sku, &entry);
        break;
    case MESSAGE_STOCK_LEVEL_CHANGED:
        entry.counters = message->stock_level_changed.counters;
        entry.is_level = true;
        entry_add(state, result, message->stock_level_changed.location, message->stock_level_changed.sku, &entry);
        break;
    default:
        break;
    }
}

/* What still waits, waits for a version that never came. */
static bool stock_finish(void *state, const struct verify_options *options, struct verify_result *result,
                         struct err *err) {
    (void)err;
    const struct stocks *stocks = state;
    for (struct map_entry *row = map_next(&stocks->map, NULL); row; row = map_next(&stocks->map, row)) {
        const struct stock *stock = row->value;
        if (stock->early && !options->in_flight)
            complain(result, stock->early, row->key, "a version before this one is missing", &stock->now);
    }
    return true;
}

const struct verify_check verify_stock = {
    .name = "no-oversell",
    .holds = "every stock row's counters follow from the ones before, and never go below zero",
    .begin = stock_begin,
    .record = stock_record,
    .finish = stock_finish,
    .end = stock_end,
};
