/* A decider's room in memory: give it records, see what it emits and what rows it leaves.
 *
 *     struct test_room *room = test_room_open(&orders_decider);
 *     assert_true(test_room_give(room, TOPIC_ORDER_REQUESTS, "order-1", "command-1", &message));
 *     test_room_expect(room, MESSAGE_ORDER_PLACED, MESSAGE_INVENTORY_RESERVE_STOCK);
 *     const struct state_order *order = test_room_state(room, 0, "order-1");
 *     test_room_close(room);
 *
 * It is strict, and fails the test when a decider asks for a row that it did not want, changes a row without putting
 * it, puts or emits although it says that it cannot handle a record, emits what is not of that topic or lacks an id,
 * or lets a guard go below zero. Each record is a batch of its own unless test_room_batch_begin was called. Time
 * stands at room->now_us, which the test moves. One thread. */
#ifndef ORDERLOG_TESTS_SUPPORT_ROOM_H
#define ORDERLOG_TESTS_SUPPORT_ROOM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/codec/avro.h"
#include "core/domain/room.h"

/* A record that was given or emitted. Owned by the room, until it closes. */
struct test_record {
    struct str topic;
    struct str key;
    struct str subject;
    struct str id;
    struct str command_id;
    int64_t offset;
    int64_t timestamp_us;
    struct message message;
    bool emitted;
};

struct test_timer {
    struct str key;
    struct str name;
    int64_t due_us;
    struct str command_id; /* of what set it */
};

struct test_intent {
    struct str id;
    struct str key;
    struct message message;
};

struct test_room_row;

struct test_room {
    struct room room; /* first: the ops cast it back */
    const struct decider *decider;
    struct shop shop;     /* defaults; a test may change it */
    int64_t now_us;       /* the time of the next input */
    const char *why;      /* of the last record that could not be handled */
    const char *about;    /* what the test is at, for test_room_expect to say when it fails */
    struct arena kept;    /* until the room closes */
    struct arena passing; /* of the batch */

    struct test_record **log; /* all that was given and emitted, in order */
    size_t log_count;
    size_t log_seen; /* test_room_expect begins here */
    struct test_timer *timers;
    size_t timer_count;
    struct test_intent *intents;
    size_t intent_count;
    struct product *products;
    size_t product_count;

    struct test_room_row **rows; /* by table, then as they came */
    size_t row_count;
    int64_t next_offset; /* of the records given */
    bool in_batch;
    bool loaded_open[8];   /* by table: room_want_open was asked in this batch */
    bool catalogue_wanted; /* in this batch */
    bool wanting;
    bool asked;     /* in this round of wanting */
    size_t effects; /* puts, emits, timers and intents so far */
};

struct test_room *test_room_open(const struct decider *decider);
void test_room_close(struct test_room *room);

/* The catalogue: the price in cents of the shop's currency, revision 7. Setting again changes it. */
void test_room_product(struct test_room *room, const char *sku, int64_t price_minor);
void test_room_product_remove(struct test_room *room, const char *sku);

/* An input record with this ce_id, which is its command_id too. False: the decider cannot handle it (room->why). */
bool test_room_give(struct test_room *room, const char *topic, const char *key, const char *id,
                    const struct message *message);
/* The same for a record as another room emitted it: its key, subject, id and command_id are kept. */
bool test_room_pass(struct test_room *room, const struct test_record *record);
/* An INPUT_RESULT. */
bool test_room_result(struct test_room *room, const char *key, const char *command_id, const struct message *message);
/* Fires what is due by now_us, the earliest first; returns how many. */
size_t test_room_fire(struct test_room *room);
/* Fires this one, due or not, and even if it is not set. False: the decider cannot handle it (room->why). */
bool test_room_timer_due(struct test_room *room, const char *key, const char *name);
/* NULL: not set. */
const struct test_timer *test_room_timer(const struct test_room *room, const char *key, const char *name);

void test_room_batch_begin(struct test_room *room);
void test_room_batch_end(struct test_room *room);

/* evolve_want and evolve. */
void test_room_fold(struct test_room *room, const struct test_record *record);
/* refuse_reused. */
void test_room_reuse(struct test_room *room, const char *topic, const char *key, const char *id,
                     const struct message *message);

/* NULL: no such row. */
const void *test_room_state(struct test_room *room, int table, const char *key);
/* Whether it was put as closed. */
bool test_room_closed(struct test_room *room, int table, const char *key);
/* Fails unless both have the same rows in every table that is a fold. */
void test_room_same_rows(struct test_room *a, struct test_room *b);

/* What was emitted since the last test_room_expect: exactly these types, in this order. */
#define test_room_expect(room, ...)                                                                                    \
    test_room_expect_types((room), (const enum message_type[]){__VA_ARGS__, MESSAGE_UNKNOWN}, __FILE__, __LINE__)
#define test_room_expect_nothing(room)                                                                                 \
    test_room_expect_types((room), (const enum message_type[]){MESSAGE_UNKNOWN}, __FILE__, __LINE__)
void test_room_expect_types(struct test_room *room, const enum message_type *types, const char *file, int line);
/* Whether such a record was emitted since the log had `from` records. */
bool test_room_emits(const struct test_room *room, size_t from, enum message_type type);
/* The last emitted record of this type; fails when there was none. */
const struct test_record *test_room_last(struct test_room *room, enum message_type type);

/* Numbers that depend on the seed only (splitmix64). */
uint64_t test_random(uint64_t *seed);
static inline size_t test_random_below(uint64_t *seed, size_t limit) {
    return (size_t)(test_random(seed) % limit);
}

#define assert_str(s, text) test_assert_str((s), (text), __FILE__, __LINE__)
void test_assert_str(struct str s, const char *text, const char *file, int line);

#endif
