/* What the files of the room share. */
#ifndef ORDERLOG_TESTS_SUPPORT_ROOM_INTERNAL_H
#define ORDERLOG_TESTS_SUPPORT_ROOM_INTERNAL_H

#include "tests/support/room.h"

enum { TEST_ROOM_TABLES_MAX = 8 };

/* `stored` is what a commit would have kept; `row` is what the batch works on. */
struct test_room_row {
    struct row row;
    int table;
    void *stored;
    bool closed;
    bool wanted; /* in this batch */
    bool loaded;
};

/* What the decider calls. */
extern const struct room_ops test_room_ops;

const struct schema_type *test_room_type_of(const struct test_room *room, int table);
void *test_room_copy_of(const struct schema_type *type, const void *value, struct arena *arena);
struct message test_room_message_copy(const struct message *message, struct arena *arena);
bool test_room_same(const struct schema_type *type, const void *a, const void *b);
/* Made when there is none. */
struct test_room_row *test_room_find(struct test_room *room, int table, struct str key);
/* A copy of the record, which the room keeps. */
struct test_record *test_room_log_add(struct test_room *room, struct test_record record);
/* Fails unless the topic takes such a record. */
void test_room_check_topic(struct str topic, const struct message *message);
struct test_timer *test_room_timer_find(const struct test_room *room, struct str key, struct str name);

#endif
