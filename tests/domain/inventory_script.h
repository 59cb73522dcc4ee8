/* Requests to inventory, and what came of them in letters. */
#ifndef ORDERLOG_TESTS_DOMAIN_INVENTORY_SCRIPT_H
#define ORDERLOG_TESTS_DOMAIN_INVENTORY_SCRIPT_H

#include "tests/support/room.h"

#include <stdio.h>

#include "core/domain/inventory.h"

#define MAIN "main"

/* ---- when: requests, by short names */

static inline struct quantity_list lines_of(struct test_room *room, const char *text) {
    struct quantity_list list = {arena_array(&room->kept, struct quantity, 16), 0};
    char sku[32];
    int quantity, used;
    while (sscanf(text, " %31[^:]:%d%n", sku, &quantity, &used) == 2) {
        list.items[list.count++] = (struct quantity){arena_dup(&room->kept, str_from(sku)), quantity};
        text += used;
    }
    return list;
}

static inline bool give(struct test_room *room, struct message message) {
    static int commands;
    char id[32];
    snprintf(id, sizeof id, "command-%d", ++commands);
    return test_room_give(room, TOPIC_INVENTORY_REQUESTS, MAIN, id, &message);
}

/* "SKU:quantity SKU:quantity" */
static inline bool reserve(struct test_room *room, const char *order_id, const char *location, const char *lines) {
    return give(room, (struct message){
                          .type = MESSAGE_INVENTORY_RESERVE_STOCK,
                          .inventory_reserve_stock = {str_from(order_id), str_from(location), lines_of(room, lines)}});
}

static inline bool commit(struct test_room *room, const char *order_id, const char *location) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_COMMIT_RESERVATION,
                                       .inventory_commit_reservation = {str_from(order_id), str_from(location)}});
}

static inline bool release(struct test_room *room, const char *order_id, const char *location) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_RELEASE_RESERVATION,
                                       .inventory_release_reservation = {str_from(order_id), str_from(location),
                                                                         STR("cancelled-by-shopper")}});
}

static inline bool consume(struct test_room *room, const char *order_id, const char *location) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_CONSUME_RESERVATION,
                                       .inventory_consume_reservation = {str_from(order_id), str_from(location)}});
}

static inline bool receive(struct test_room *room, const char *sku, int64_t quantity) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_RECEIVE_STOCK,
                                       .inventory_receive_stock = {.sku = str_from(sku),
                                                                   .location = STR(MAIN),
                                                                   .quantity = quantity,
                                                                   .actor = STR("operator:ann"),
                                                                   .body_hash = STR("hash")}});
}

static inline bool adjust(struct test_room *room, const char *sku, int64_t quantity) {
    return give(room, (struct message){.type = MESSAGE_INVENTORY_ADJUST_STOCK,
                                       .inventory_adjust_stock = {.sku = str_from(sku),
                                                                  .location = STR(MAIN),
                                                                  .quantity = quantity,
                                                                  .reason = STR("damaged"),
                                                                  .actor = STR("operator:ann"),
                                                                  .body_hash = STR("hash")}});
}

/* ---- then: what was emitted since the last look, a letter for each record */

static inline char letter_of(const struct message *message) {
    struct str reason = STR_NULL;
    switch (message->type) {
    case MESSAGE_RESERVATION_STOCK_RESERVED:
        return 'H';
    case MESSAGE_RESERVATION_STOCK_REFUSED:
        return 'X';
    case MESSAGE_RESERVATION_COMMITTED:
        return 'C';
    case MESSAGE_RESERVATION_RELEASED:
        return 'L';
    case MESSAGE_RESERVATION_CONSUMED:
        return 'S';
    case MESSAGE_STOCK_RECEIVED:
        return 'r';
    case MESSAGE_STOCK_ADJUSTED:
        return 'a';
    case MESSAGE_STOCK_SHORT:
        return 's';
    case MESSAGE_STOCK_LEVEL_CHANGED:
        return 'l';
    case MESSAGE_RESERVATION_COMMAND_REFUSED:
        reason = message->reservation_command_refused.reason;
        break;
    default:
        reason = message->stock_command_refused.reason;
        break;
    }
    return str_eq(reason, STR("transition-refused")) ? 'R' : str_eq(reason, STR("not-found")) ? 'N' : '?';
}

static inline const char *emitted(struct test_room *room) {
    static char letters[256];
    size_t count = 0;
    for (; room->log_seen < room->log_count; room->log_seen++) {
        const struct test_record *record = room->log[room->log_seen];
        if (!str_eq(record->topic, STR(TOPIC_INVENTORY_REQUESTS)))
            letters[count++] = letter_of(&record->message);
    }
    letters[count] = 0;
    return letters;
}

static inline struct counters counters_of(struct test_room *room, const char *sku) {
    char key[64];
    snprintf(key, sizeof key, MAIN "/%s", sku);
    const struct state_stock *stock = test_room_state(room, INVENTORY_STOCK, key);
    return stock ? stock->counters : (struct counters){0};
}

static inline void assert_counters(struct test_room *room, const char *sku, int64_t available, int64_t held,
                                   int64_t committed, int64_t consumed) {
    struct counters counters = counters_of(room, sku);
    assert_int_equal(counters.available, available);
    assert_int_equal(counters.held, held);
    assert_int_equal(counters.committed, committed);
    assert_int_equal(counters.consumed, consumed);
}

static inline struct test_room *room_with(const char *sku, int64_t quantity) {
    struct test_room *room = test_room_open(&inventory_decider);
    assert_true(receive(room, sku, quantity));
    assert_string_equal(emitted(room), "r");
    return room;
}

#endif
