#include "cli/verify_room.h"

#include "core/codec/avro.h"

#include <stdlib.h>

struct fold_loaded {
    struct fold_loaded *next;
    int table;
    struct row row;
};

static const struct schema_subject *subject_of(const struct fold_room *fold, int table) {
    return schema_subject_find(str_from(fold->decider->tables[table].subject));
}

static struct row *fold_row(struct room *room, int table, struct str key) {
    struct fold_room *fold = (struct fold_room *)room;
    for (struct fold_loaded *loaded = fold->loaded; loaded; loaded = loaded->next)
        if (loaded->table == table && str_eq(loaded->row.key, key))
            return &loaded->row;
    struct fold_loaded *loaded = arena_new(&fold->arena, struct fold_loaded);
    *loaded = (struct fold_loaded){.next = fold->loaded, .table = table, .row = {.key = arena_dup(&fold->arena, key)}};
    fold->loaded = loaded;
    const struct fold_state *kept = map_get(&fold->tables[table], key);
    if (!kept)
        return &loaded->row;
    struct err err = {0};
    loaded->row.state = arena_alloc(&fold->arena, fold->decider->tables[table].size);
    if (!state_decode(subject_of(fold, table), (struct str){kept->bytes, kept->len}, &fold->arena, loaded->row.state,
                      &err))
        abort(); /* our own bytes */
    return &loaded->row;
}

/* Rows are loaded when they are asked for. */
static void fold_want(struct room *room, int table, struct str key) {
    (void)room, (void)table, (void)key;
}

static void fold_want_open(struct room *room, int table) {
    (void)room, (void)table;
}

static void fold_put(struct room *room, int table, struct row *row, int64_t guard, bool closed) {
    struct fold_room *fold = (struct fold_room *)room;
    BUF_AUTO bytes = {0};
    state_encode(subject_of(fold, table), row->state, &bytes);
    void **slot = map_put(&fold->tables[table], row->key);
    struct fold_state *kept = *slot = mem_realloc(*slot, sizeof *kept + bytes.len);
    *kept = (struct fold_state){.at = fold->at, .closed = closed, .guard = guard, .len = bytes.len};
    memcpy(kept->bytes, bytes.ptr, bytes.len);
}

static struct row *fold_next_open(struct room *room, int table, struct row *after) {
    (void)room, (void)table, (void)after;
    return NULL;
}

static void fold_emit(struct room *room, struct str topic, struct str key, struct str subject,
                      const struct message *message) {
    (void)room, (void)topic, (void)key, (void)subject, (void)message;
}

static void fold_timer_set(struct room *room, struct str key, struct str name, int64_t due_us) {
    (void)room, (void)key, (void)name, (void)due_us;
}

static void fold_timer_clear(struct room *room, struct str key, struct str name) {
    (void)room, (void)key, (void)name;
}

static void fold_intent(struct room *room, struct str id, struct str key, const struct message *message) {
    (void)room, (void)id, (void)key, (void)message;
}

static bool fold_product(struct room *room, struct str sku, struct product *ret) {
    (void)room, (void)sku, (void)ret;
    return false;
}

static struct str fold_id(struct room *room, const struct str *parts, size_t count) {
    (void)room, (void)parts, (void)count;
    return STR("");
}

static const struct room_ops fold_ops = {
    .row = fold_row,
    .want = fold_want,
    .want_open = fold_want_open,
    .put = fold_put,
    .next_open = fold_next_open,
    .emit = fold_emit,
    .timer_set = fold_timer_set,
    .timer_clear = fold_timer_clear,
    .intent = fold_intent,
    .product = fold_product,
    .id = fold_id,
};

void fold_room_init(struct fold_room *room, const struct decider *decider, const struct shop *shop) {
    *room = (struct fold_room){.decider = decider};
    arena_init(&room->arena);
    room->room = (struct room){.ops = &fold_ops, .shop = shop, .arena = &room->arena};
}

void fold_room_free(struct fold_room *room) {
    for (size_t i = 0; i < FOLD_TABLES_MAX; i++)
        map_free(&room->tables[i], free);
    arena_free(&room->arena);
}

void fold_room_take(struct fold_room *room, const struct verify_record *record) {
    struct input input = {.kind = INPUT_RECORD, .envelope = record->envelope, .message = record->message};
    arena_reset(&room->arena);
    room->loaded = NULL;
    room->at = record->at;
    room->room.now_us = record->envelope->timestamp_us;
    room->room.command_id = record->envelope->command_id;
    room->room.scratch = NULL;
    room->decider->evolve_want(&room->room, &input);
    room->decider->evolve(&room->room, &input);
}

/* ---- services ---- */

const struct fold_service fold_services[FOLD_SERVICE_COUNT] = {
    {&checkout_decider}, {&orders_decider}, {&inventory_decider}, {&payments_decider}, {&fulfilment_decider},
};

bool fold_service_writes(const struct fold_service *service, const char *topic) {
    for (const char *const *own = service->decider->events; *own; own++)
        if (strcmp(*own, topic) == 0)
            return true;
    return false;
}

bool fold_service_reads(const struct fold_service *service, const char *topic) {
    if (fold_service_writes(service, topic))
        return true;
    for (size_t i = 0; i < service->decider->input_count; i++)
        if (strcmp(service->decider->inputs[i], topic) == 0)
            return str_ends_with(str_from(topic), STR(".events.v1"));
    return false;
}
