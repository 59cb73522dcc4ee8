#include "tests/support/room.h"

#include <stdlib.h>

#include "core/base/ids.h"

enum { TABLES_MAX = 8 };

/* `stored` is what a commit would have kept; `row` is what the batch works on. */
struct test_room_row {
    struct row row;
    int table;
    void *stored;
    bool closed;
    bool wanted; /* in this batch */
    bool loaded;
};

static struct test_room *of(struct room *room) {
    return (struct test_room *)room;
}

static const struct schema_type *type_of(const struct test_room *room, int table) {
    assert_in_range(table, 0, room->decider->table_count - 1);
    const struct schema_subject *subject = schema_subject_find(str_from(room->decider->tables[table].subject));
    assert_non_null(subject);
    assert_int_equal(subject->current->branches[0].type->size, room->decider->tables[table].size);
    return subject->current->branches[0].type;
}

static void *copy_of(const struct schema_type *type, const void *value, struct arena *arena) {
    if (!value)
        return NULL;
    void *copy = arena_alloc(arena, type->size);
    avro_copy(type, value, arena, copy);
    return copy;
}

static struct message message_copy(const struct message *message, struct arena *arena) {
    struct message copy = {.type = message->type};
    assert_in_range(message->type, MESSAGE_UNKNOWN + 1, MESSAGE_TYPE_COUNT - 1);
    avro_copy(schema_messages[message->type], message_body(message), arena, (void *)&copy.cart_created);
    return copy;
}

static bool same(const struct schema_type *type, const void *a, const void *b) {
    return a && b ? avro_equal(type, a, b) : a == b;
}

static struct test_room_row *find(struct test_room *room, int table, struct str key) {
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
    struct test_room_row *row = find(room, table, key);
    if (!room->wanting && !row->loaded)
        fail_msg("%s asked for row %.*s of %s, which it did not want", room->decider->service, STR_ARG(key),
                 room->decider->tables[table].name);
    return &row->row;
}

static void op_want(struct room *base, int table, struct str key) {
    struct test_room *room = of(base);
    assert_true(room->wanting);
    struct test_room_row *row = find(room, table, key);
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
    assert_ptr_equal(row, find(room, table, put->key));
    assert_non_null(put->state);
    if (guard < 0)
        fail_msg("%s let the guard of %.*s go below zero", room->decider->service, STR_ARG(put->key));
    row->stored = copy_of(type_of(room, table), put->state, &room->kept);
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

static void check_topic(struct str topic, const struct message *message) {
    const struct schema_subject *subject = schema_subject_find(topic);
    if (!subject)
        fail_msg("there is no topic %.*s", STR_ARG(topic));
    BUF_AUTO bytes = {0};
    struct err err = {0};
    if (!message_encode(subject, message, &bytes, &err))
        fail_msg("%s", err.detail);
}

static struct test_record *log_add(struct test_room *room, struct test_record record) {
    struct arena *arena = &room->kept;
    struct test_record *kept = arena_new(arena, struct test_record);
    *kept = record;
    kept->topic = arena_dup(arena, record.topic);
    kept->key = arena_dup(arena, record.key);
    kept->subject = arena_dup(arena, record.subject);
    kept->id = arena_dup(arena, record.id);
    kept->command_id = arena_dup(arena, record.command_id);
    kept->message = message_copy(&record.message, arena);
    if ((room->log_count & (room->log_count + 1)) == 0)
        room->log = mem_realloc(room->log, 2 * (room->log_count + 1) * sizeof(struct test_record *));
    return room->log[room->log_count++] = kept;
}

static void op_emit(struct room *base, struct str topic, struct str key, struct str subject,
                    const struct message *message) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    assert_true(key.len > 0 && subject.len > 0);
    check_topic(topic, message);
    check_ids(schema_messages[message->type], message_body(message), "id");
    log_add(room, (struct test_record){
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

static struct test_timer *timer_find(const struct test_room *room, struct str key, struct str name) {
    for (size_t i = 0; i < room->timer_count; i++)
        if (str_eq(room->timers[i].key, key) && str_eq(room->timers[i].name, name))
            return &room->timers[i];
    return NULL;
}

static void op_timer_set(struct room *base, struct str key, struct str name, int64_t due_us) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    struct test_timer *timer = timer_find(room, key, name);
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
    struct test_timer *timer = timer_find(room, key, name);
    if (timer)
        *timer = room->timers[--room->timer_count];
    room->effects++;
}

static void op_intent(struct room *base, struct str id, struct str key, const struct message *message) {
    struct test_room *room = of(base);
    assert_false(room->wanting);
    for (size_t i = 0; i < room->intent_count; i++)
        if (str_eq(room->intents[i].id, id))
            fail_msg("%s makes intent %.*s twice", room->decider->service, STR_ARG(id));
    check_topic(STR("intent/payment"), message);
    room->intents = mem_realloc(room->intents, (room->intent_count + 1) * sizeof(*room->intents));
    room->intents[room->intent_count++] = (struct test_intent){arena_dup(&room->kept, id), arena_dup(&room->kept, key),
                                                               message_copy(message, &room->kept)};
    room->effects++;
}

static bool op_product(struct room *base, struct str sku, struct product *ret) {
    struct test_room *room = of(base);
    assert_true(room->decider->reads_catalogue);
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

static const struct room_ops ops = {
    .row = op_row,
    .want = op_want,
    .want_open = op_want_open,
    .put = op_put,
    .next_open = op_next_open,
    .emit = op_emit,
    .timer_set = op_timer_set,
    .timer_clear = op_timer_clear,
    .intent = op_intent,
    .product = op_product,
    .id = op_id,
};

/* ---- what the test calls ---- */

struct test_room *test_room_open(const struct decider *decider) {
    struct test_room *room = mem_zalloc(sizeof(*room));
    assert_in_range(decider->table_count, 1, TABLES_MAX);
    arena_init(&room->kept);
    arena_init(&room->passing);
    room->decider = decider;
    room->shop = shop_defaults();
    room->now_us = 1767225600000000; /* 2026-01-01T00:00:00Z */
    room->room = (struct room){.ops = &ops, .shop = &room->shop, .arena = &room->passing};
    return room;
}

void test_room_close(struct test_room *room) {
    arena_free(&room->kept);
    arena_free(&room->passing);
    free(room->log);
    free(room->timers);
    free(room->intents);
    free(room->products);
    free(room->rows);
    free(room);
}

void test_room_product(struct test_room *room, const char *sku, int64_t price_minor) {
    test_room_product_remove(room, sku);
    room->products = mem_realloc(room->products, (room->product_count + 1) * sizeof(*room->products));
    room->products[room->product_count++] = (struct product){
        .sku = arena_dup(&room->kept, str_from(sku)),
        .name = arena_printf(&room->kept, "Product %s", sku),
        .price = {price_minor, room->shop.currency},
        .revision = 7,
    };
}

void test_room_product_remove(struct test_room *room, const char *sku) {
    for (size_t i = 0; i < room->product_count; i++)
        if (str_eq(room->products[i].sku, str_from(sku)))
            room->products[i--] = room->products[--room->product_count];
}

void test_room_batch_begin(struct test_room *room) {
    assert_false(room->in_batch);
    room->in_batch = true;
    room->room.scratch = NULL;
    memset(room->loaded_open, 0, sizeof room->loaded_open);
    for (size_t i = 0; i < room->row_count; i++) {
        room->rows[i]->wanted = room->rows[i]->loaded = false;
        room->rows[i]->row.state = NULL;
    }
    arena_reset(&room->passing);
}

/* A row that was changed and not put would be lost by a commit. */
static void check_put(struct test_room *room) {
    for (size_t i = 0; i < room->row_count; i++) {
        struct test_room_row *row = room->rows[i];
        if (row->loaded && !same(type_of(room, row->table), row->row.state, row->stored))
            fail_msg("%s changed row %.*s of %s and did not put it", room->decider->service, STR_ARG(row->row.key),
                     room->decider->tables[row->table].name);
    }
}

void test_room_batch_end(struct test_room *room) {
    assert_true(room->in_batch);
    if (room->decider->batch_end)
        room->decider->batch_end(&room->room);
    check_put(room);
    room->in_batch = false;
}

static void load(struct test_room *room) {
    for (size_t i = 0; i < room->row_count; i++) {
        struct test_room_row *row = room->rows[i];
        if (!row->wanted || row->loaded)
            continue;
        row->row.state = copy_of(type_of(room, row->table), row->stored, &room->passing);
        row->loaded = true;
    }
}

static struct envelope envelope_of(const struct test_record *record) {
    return (struct envelope){
        .topic = record->topic,
        .offset = record->offset,
        .timestamp_us = record->timestamp_us,
        .key = record->key,
        .id = record->id,
        .type = message_name(record->message.type),
        .subject = record->subject,
        .command_id = record->command_id,
    };
}

static void want(struct test_room *room, void (*wants)(struct room *room, const struct input *input),
                 const struct input *input) {
    room->wanting = true;
    for (int round = 0;; round++) {
        assert_in_range(round, 0, 8);
        room->asked = false;
        wants(&room->room, input);
        if (!room->asked)
            break;
        load(room);
    }
    room->wanting = false;
}

static bool decide(struct test_room *room, const struct input *input) {
    room->room.now_us = room->now_us;
    room->room.command_id = input->envelope->command_id;
    want(room, room->decider->want, input);
    size_t effects = room->effects;
    room->why = NULL;
    bool handled = room->decider->decide(&room->room, input, &room->why);
    assert_true(str_eq(room->room.command_id, input->envelope->command_id));
    if (!handled) {
        assert_non_null(room->why);
        assert_int_equal(room->effects, effects);
    }
    return handled;
}

/* Unless the test began a batch, an input is one. */
static bool begin_alone(struct test_room *room) {
    bool alone = !room->in_batch;
    if (alone)
        test_room_batch_begin(room);
    return alone;
}

static bool decide_alone(struct test_room *room, const struct input *input) {
    bool alone = begin_alone(room);
    bool handled = decide(room, input);
    if (alone)
        test_room_batch_end(room);
    return handled;
}

bool test_room_pass(struct test_room *room, const struct test_record *record) {
    check_topic(record->topic, &record->message);
    struct test_record taken = *record;
    taken.offset = room->next_offset++;
    taken.timestamp_us = room->now_us;
    taken.emitted = false;
    const struct test_record *kept = log_add(room, taken);
    bool alone = begin_alone(room);
    struct message message = message_copy(&kept->message, &room->passing); /* lives no longer than the batch */
    struct envelope envelope = envelope_of(kept);
    bool handled = decide(room, &(struct input){INPUT_RECORD, &envelope, &message, STR_NULL});
    if (alone)
        test_room_batch_end(room);
    return handled;
}

static struct test_record given(const char *topic, const char *key, const char *id, const struct message *message) {
    return (struct test_record){
        .topic = str_from(topic),
        .key = str_from(key),
        .subject = str_from(key),
        .id = str_from(id),
        .command_id = str_from(id),
        .message = *message,
    };
}

bool test_room_give(struct test_room *room, const char *topic, const char *key, const char *id,
                    const struct message *message) {
    struct test_record record = given(topic, key, id, message);
    return test_room_pass(room, &record);
}

void test_room_reuse(struct test_room *room, const char *topic, const char *key, const char *id,
                     const struct message *message) {
    struct test_record record = given(topic, key, id, message);
    struct envelope envelope = envelope_of(&record);
    struct input input = {INPUT_RECORD, &envelope, message, STR_NULL};
    bool alone = begin_alone(room);
    room->room.now_us = room->now_us;
    room->room.command_id = envelope.command_id;
    want(room, room->decider->want, &input);
    room->decider->refuse_reused(&room->room, &input);
    if (alone)
        test_room_batch_end(room);
}

bool test_room_result(struct test_room *room, const char *key, const char *command_id, const struct message *message) {
    struct envelope envelope = {.key = str_from(key),
                                .subject = str_from(key),
                                .timestamp_us = room->now_us,
                                .command_id = str_from(command_id)};
    return decide_alone(room, &(struct input){INPUT_RESULT, &envelope, message, STR_NULL});
}

size_t test_room_fire(struct test_room *room) {
    for (size_t fired = 0;; fired++) {
        size_t first = room->timer_count;
        for (size_t i = 0; i < room->timer_count; i++)
            if (room->timers[i].due_us <= room->now_us &&
                (first == room->timer_count || room->timers[i].due_us < room->timers[first].due_us))
                first = i;
        if (first == room->timer_count)
            return fired;
        struct test_timer timer = room->timers[first];
        room->timers[first] = room->timers[--room->timer_count];
        struct envelope envelope = {
            .key = timer.key, .subject = timer.key, .timestamp_us = room->now_us, .command_id = timer.command_id};
        assert_true(decide_alone(room, &(struct input){INPUT_TIMER, &envelope, NULL, timer.name}));
    }
}

const struct test_timer *test_room_timer(const struct test_room *room, const char *key, const char *name) {
    return timer_find(room, str_from(key), str_from(name));
}

void test_room_fold(struct test_room *room, const struct test_record *record) {
    struct envelope envelope = envelope_of(record);
    struct input input = {INPUT_RECORD, &envelope, &record->message, STR_NULL};
    test_room_batch_begin(room);
    room->room.now_us = record->timestamp_us;
    room->room.command_id = record->command_id;
    want(room, room->decider->evolve_want, &input);
    size_t logged = room->log_count, timers = room->timer_count, intents = room->intent_count;
    room->decider->evolve(&room->room, &input);
    assert_true(room->log_count == logged && room->timer_count == timers && room->intent_count == intents);
    check_put(room);
    room->in_batch = false;
}

const void *test_room_state(struct test_room *room, int table, const char *key) {
    return find(room, table, str_from(key))->stored;
}

bool test_room_closed(struct test_room *room, int table, const char *key) {
    return find(room, table, str_from(key))->closed;
}

static void check_rows(struct test_room *a, struct test_room *b) {
    for (size_t i = 0; i < a->row_count; i++) {
        const struct test_room_row *row = a->rows[i];
        if (a->decider->tables[row->table].apart)
            continue;
        const struct schema_type *type = type_of(a, row->table);
        const struct test_room_row *other = find(b, row->table, row->row.key);
        bool rows_are_equal = same(type, row->stored, other->stored);
        BUF_AUTO text = {0};
        if (!rows_are_equal && row->stored)
            avro_to_json(type, row->stored, &text);
        buf_printf(&text, " and ");
        if (!rows_are_equal && other->stored)
            avro_to_json(type, other->stored, &text);
        if (!rows_are_equal || row->closed != other->closed)
            fail_msg("row %.*s differs: %.*s", STR_ARG(row->row.key), STR_ARG(buf_str(&text)));
    }
}

void test_room_same_rows(struct test_room *a, struct test_room *b) {
    check_rows(a, b);
    check_rows(b, a);
}

void test_room_expect_types(struct test_room *room, const enum message_type *types, const char *file, int line) {
    BUF_AUTO got = {0};
    BUF_AUTO expected = {0};
    for (; room->log_seen < room->log_count; room->log_seen++)
        if (room->log[room->log_seen]->emitted)
            buf_printf(&got, " %.*s", STR_ARG(message_name(room->log[room->log_seen]->message.type)));
    for (; *types != MESSAGE_UNKNOWN; types++)
        buf_printf(&expected, " %.*s", STR_ARG(message_name(*types)));
    if (!str_eq(buf_str(&got), buf_str(&expected))) {
        print_error("expected:%.*s\n     got:%.*s\n", STR_ARG(buf_str(&expected)), STR_ARG(buf_str(&got)));
        _fail(file, line);
    }
}

const struct test_record *test_room_last(struct test_room *room, enum message_type type) {
    for (size_t i = room->log_count; i-- > 0;)
        if (room->log[i]->message.type == type && room->log[i]->emitted)
            return room->log[i];
    fail_msg("no %.*s was emitted", STR_ARG(message_name(type)));
    return NULL;
}

uint64_t test_random(uint64_t *seed) {
    uint64_t z = (*seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void test_assert_str(struct str s, const char *text, const char *file, int line) {
    if (str_eq(s, str_from(text)))
        return;
    print_error("\"%.*s\" is not \"%s\"\n", STR_ARG(s), text);
    _fail(file, line);
}
