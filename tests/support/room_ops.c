#include "tests/support/room_internal.h"

#include "core/base/ids.h"

static struct test_room *of(struct room *room) {
    return (struct test_room *)room;
}

const struct schema_type *test_room_type_of(const struct test_room *room, int table) {
    assert_in_range(table, 0, room->decider->table_count - 1);
    const struct schema_subject *subject = schema_subject_find(str_from(room->decider->tables[table].subject));
    assert_non_null(subject);
    assert_int_equal(subject->current->branches[0].type->size, room->decider->tables[table].size);
    return subject->current->branches[0].type;
}

void *test_room_copy_of(const struct schema_type *type, const void *value, struct arena *arena) {
    if (!value)
        return NULL;
    void *copy = arena_alloc(arena, type->size);
    avro_copy(type, value, arena, copy);
    return copy;
}

struct message test_room_message_copy(const struct message *message, struct arena *arena) {
    struct message copy = {.type = message->type};
    assert_in_range(message->type, MESSAGE_UNKNOWN + 1, MESSAGE_TYPE_COUNT - 1);
    avro_copy(schema_messages[message->type], message_body(message), arena, (void *)&copy.cart_created);
    return copy;
}

bool test_room_same(const struct schema_type *type, const void *a, const void *b) {
    return a && b ? avro_equal(type, a, b) : a == b;
}

struct test_room_row *test_room_find(struct test_room *room, int table, struct str key) {
    for (size_t i = 0; i < room->row_count; i++)
        if (room->rows[i]->table == table && str_eq(room->rows[i]->row.key, key))
            return room->rows[i];
    struct test_room_row *row = arena_new(&room->kept, struct test_room_row);
    row->row.key = arena_dup(&room->kept, key);
    row->table = table;
    room->rows = mem_realloc(room->rows, (room->row_count + 1) * sizeof(struct test_room_row *));
    room->rows[room->row_count++] = row;
    return row;
}

/* ---- what the decider calls ---- */

static struct row *op_row(struct room *base, int table, struct str key) {
    struct test_room *room = of(base);
    struct test_room_row *row = test_room_find(room, table, key);
    if (!room->wanting && !row->loaded)
        fail_msg("%s asked for row %.*s of %s, which it did not want", room->decider->service, STR_ARG(key),
                 room->decider->tables[table].name);
    return &row->row;
}

static void op_want(struct room *base, int table, struct str key) {
    struct test_room *room = of(base);
    assert_true(room->wanting);
    struct test_room_row *row = test_room_find(room, table, key);
    room->asked = room->asked || !row->wanted;
    row->wanted = true;
}

static void op_want_open(struct room *base, int table) {
    struct test_room *room = of(base);
    assert_true(room->wanting);
    room->asked = room->asked || !room->loaded_open[table];
    room->loaded_open[table] = true;
    for (size_t i = 0; i < room->row_count; i++)
        if (room->rows[i]->table == table && room->rows[i]->stored && !room->rows[i]->closed)
            room->rows[i]->wanted = true;
}

static void op_want_catalogue(struct room *base) {
    assert_true(of(base)->wanting);
    of(base)->catalogue_wanted = true;
}

static struct row *op_next_open(struct room *base, int table, struct row *after) {
    struct test_room *room = of(base);
    assert_true(room->loaded_open[table]);
    bool passed = after == NULL;
    for (size_t i = 0; i < room->row_count; i++) {
        struct test_room_row *row = room->rows[i];
        if (passed && row->table == table && row->loaded && row->row.state && !row->closed)
            return &row->row;
        passed = passed || &row->row == after;
    }
    return NULL;
}

static void op_put(struct room *base, int table, struct row *put, int64_t guard, bool closed) {
    struct test_room *room = of(base);
    struct test_room_row *row = (struct test_room_row *)put;
    assert_false(room->wanting);
    assert_ptr_equal(row, test_room_find(room, table, put->key));
    assert_non_null(put->state);
    if (guard < 0)
        fail_msg("%s let the guard of %.*s go below zero", room->decider->service, STR_ARG(put->key));
    row->stored = test_room_copy_of(test_room_type_of(room, table), put->state, &room->kept);
    row->closed = closed;
    room->effects++;
}

/* An id that a schema asks for is never empty. */
static void check_ids(const struct schema_type *type, const char *value, const char *name) {
    if (type->kind == SCHEMA_RECORD)
        for (size_t i = 0; i < type->field_count; i++)
            check_ids(type->fields[i].type, value + type->fields[i].offset, type->fields[i].name);
    else if (type->kind == SCHEMA_STRING && type->logical == SCHEMA_UUID && ((const struct str *)value)->len == 0)
        fail_msg("a record is emitted without its %s", name);
}

void test_room_check_topic(struct str topic, const struct message *message) {
    const struct schema_subject *subject = schema_subject_find(topic);
    if (!subject)
        fail_msg("there is no topic %.*s", STR_ARG(topic));
    BUF_AUTO bytes = {0};
    struct err err = {0};
    if (!message_encode(subject, message, &bytes, &err))
        fail_msg("%s", err.detail);
}

struct test_record *test_room_log_add(struct test_room *room, struct test_record record) {
    struct arena *arena = &room->kept;
    struct test_record *kept = arena_new(arena, struct test_record);
    *kept = record;
    kept->topic = arena_dup(arena, record.topic);
    kept->key = arena_dup(arena, record.key);
    kept->subject = arena_dup(arena, record.subject);
    kept->id = arena_dup(arena, record.id);
    kept->command_id = arena_dup(arena, record.command_id);
    kept->message = test_room_message_copy(&record.message, arena);
    if ((room->log_count & (room->log_count + 1)) == 0)
        room->log = mem_realloc(room->log, 2 * (room->log_count + 1) * sizeof(struct test_record *));
    return room->log[room->log_count++] = kept;
}

static void op_emit(struct room *base, struct str topic, struct str key, struct str subject,
                    const struct message *message) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    assert_true(key.len > 0 && subject.len > 0);
    test_room_check_topic(topic, message);
    check_ids(schema_messages[message->type], message_body(message), "id");
    test_room_log_add(room, (struct test_record){
                                .topic = topic,
                                .key = key,
                                .subject = subject,
                                .id = arena_printf(&room->kept, "%s-%zu", room->decider->service, room->log_count),
                                .command_id = base->command_id,
                                .timestamp_us = base->now_us,
                                .message = *message,
                                .emitted = true,
                            });
    room->effects++;
}

struct test_timer *test_room_timer_find(const struct test_room *room, struct str key, struct str name) {
    for (size_t i = 0; i < room->timer_count; i++)
        if (str_eq(room->timers[i].key, key) && str_eq(room->timers[i].name, name))
            return &room->timers[i];
    return NULL;
}

static void op_timer_set(struct room *base, struct str key, struct str name, int64_t due_us) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    struct test_timer *timer = test_room_timer_find(room, key, name);
    if (!timer) {
        room->timers = mem_realloc(room->timers, (room->timer_count + 1) * sizeof(*room->timers));
        timer = &room->timers[room->timer_count++];
    }
    *timer = (struct test_timer){arena_dup(&room->kept, key), arena_dup(&room->kept, name), due_us,
                                 arena_dup(&room->kept, base->command_id)};
    room->effects++;
}

static void op_timer_clear(struct room *base, struct str key, struct str name) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    struct test_timer *timer = test_room_timer_find(room, key, name);
    if (timer)
        *timer = room->timers[--room->timer_count];
    room->effects++;
}

static void op_intent(struct room *base, struct str id, struct str key, const struct message *message) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    for (size_t i = 0; i < room->intent_count; i++)
        if (str_eq(room->intents[i].id, id)) {
            const struct message *made = &room->intents[i].message;
            if (made->type != message->type ||
                !test_room_same(schema_messages[made->type], message_body(made), message_body(message)))
                fail_msg("%s makes intent %.*s twice", room->decider->service, STR_ARG(id));
            return;
        }
    test_room_check_topic(message->type == MESSAGE_INTENT_SEND_NOTICE ? STR("intent/notice") : STR("intent/payment"),
                          message);
    room->intents = mem_realloc(room->intents, (room->intent_count + 1) * sizeof(*room->intents));
    room->intents[room->intent_count++] = (struct test_intent){arena_dup(&room->kept, id), arena_dup(&room->kept, key),
                                                               test_room_message_copy(message, &room->kept)};
    room->effects++;
}

static bool op_product(struct room *base, struct str sku, struct product *ret) {
    struct test_room *room = of(base);
    assert_true(room->decider->reads_catalogue);
    if (room->in_batch && !room->catalogue_wanted) /* a test may look at any time */
        fail_msg("%s looks for a product in a catalogue that may be older than the log", room->decider->service);
    for (size_t i = 0; i < room->product_count; i++)
        if (str_eq(room->products[i].sku, sku)) {
            *ret = room->products[i];
            return true;
        }
    return false;
}

static struct str op_id(struct room *base, const struct str *parts, size_t count) {
    struct id id = id_derive(parts, count);
    return arena_dup(base->arena, id_str(&id));
}

const struct room_ops test_room_ops = {
    .row = op_row,
    .want = op_want,
    .want_open = op_want_open,
    .want_catalogue = op_want_catalogue,
    .put = op_put,
    .next_open = op_next_open,
    .emit = op_emit,
    .timer_set = op_timer_set,
    .timer_clear = op_timer_clear,
    .intent = op_intent,
    .product = op_product,
    .id = op_id,
};
