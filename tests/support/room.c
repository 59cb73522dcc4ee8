#include "tests/support/room_internal.h"

#include <stdlib.h>

struct test_room *test_room_open(const struct decider *decider) {
    struct test_room *room = mem_zalloc(sizeof(*room));
    assert_in_range(decider->table_count, 1, TEST_ROOM_TABLES_MAX);
    arena_init(&room->kept);
    arena_init(&room->passing);
    room->decider = decider;
    room->shop = shop_defaults();
    room->now_us = 1767225600000000; /* 2026-01-01T00:00:00Z */
    room->room = (struct room){.ops = &test_room_ops, .shop = &room->shop, .arena = &room->passing};
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
    room->catalogue_wanted = false;
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
        if (row->loaded && !test_room_same(test_room_type_of(room, row->table), row->row.state, row->stored))
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
        row->row.state = test_room_copy_of(test_room_type_of(room, row->table), row->stored, &room->passing);
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
    test_room_check_topic(record->topic, &record->message);
    struct test_record taken = *record;
    taken.offset = room->next_offset++;
    taken.timestamp_us = room->now_us;
    taken.emitted = false;
    const struct test_record *kept = test_room_log_add(room, taken);
    bool alone = begin_alone(room);
    struct message message =
        test_room_message_copy(&kept->message, &room->passing); /* lives no longer than the batch */
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

static bool timer_due(struct test_room *room, struct str key, struct str name) {
    struct envelope envelope = {.key = key, .subject = key, .timestamp_us = room->now_us, .command_id = STR("")};
    struct test_timer *set = test_room_timer_find(room, key, name);
    if (set) {
        envelope.command_id = set->command_id;
        *set = room->timers[--room->timer_count];
    }
    return decide_alone(room, &(struct input){INPUT_TIMER, &envelope, NULL, name});
}

bool test_room_timer_due(struct test_room *room, const char *key, const char *name) {
    return timer_due(room, str_from(key), str_from(name));
}

size_t test_room_fire(struct test_room *room) {
    for (size_t fired = 0;; fired++) {
        const struct test_timer *first = NULL;
        for (size_t i = 0; i < room->timer_count; i++)
            if (room->timers[i].due_us <= room->now_us && (!first || room->timers[i].due_us < first->due_us))
                first = &room->timers[i];
        if (!first)
            return fired;
        assert_true(timer_due(room, first->key, first->name));
    }
}

const struct test_timer *test_room_timer(const struct test_room *room, const char *key, const char *name) {
    return test_room_timer_find(room, str_from(key), str_from(name));
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
    return test_room_find(room, table, str_from(key))->stored;
}

bool test_room_closed(struct test_room *room, int table, const char *key) {
    return test_room_find(room, table, str_from(key))->closed;
}

static void check_rows(struct test_room *a, struct test_room *b) {
    for (size_t i = 0; i < a->row_count; i++) {
        const struct test_room_row *row = a->rows[i];
        if (a->decider->tables[row->table].apart)
            continue;
        const struct schema_type *type = test_room_type_of(a, row->table);
        const struct test_room_row *other = test_room_find(b, row->table, row->row.key);
        bool rows_are_equal = test_room_same(type, row->stored, other->stored);
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
        print_error("%s\nexpected:%.*s\n     got:%.*s\n", room->about ? room->about : "", STR_ARG(buf_str(&expected)),
                    STR_ARG(buf_str(&got)));
        _fail(file, line);
    }
}

bool test_room_emits(const struct test_room *room, size_t from, enum message_type type) {
    for (size_t i = from; i < room->log_count; i++)
        if (room->log[i]->message.type == type && room->log[i]->emitted)
            return true;
    return false;
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
