#include "consumers/late.h"

#include <stdlib.h>

static void free_intent(void *value) {
    struct late_intent *intent = value;
    if (!intent)
        return;
    effect_result_free(intent->copy);
    free(intent->id);
    free(intent);
}

void late_free(struct late *late) {
    map_free(&late->timers, free);
    map_free(&late->intents, free_intent);
    buf_free(&late->name);
}

void late_timer_set(struct late *late, int32_t slot, struct str key, struct str name, int64_t due_us) {
    buf_reset(&late->name);
    buf_printf(&late->name, "%d %.*s %.*s", slot, STR_ARG(key), STR_ARG(name));
    void **at = map_put(&late->timers, buf_str(&late->name));
    if (!*at) {
        struct late_timer *made = *at = mem_zalloc(sizeof(*made) + key.len + name.len);
        char *text = (char *)(made + 1);
        memcpy(text, key.ptr, key.len);
        memcpy(text + key.len, name.ptr, name.len);
        made->slot = slot;
        made->key = (struct str){text, key.len};
        made->name = (struct str){text + key.len, name.len};
    }
    ((struct late_timer *)*at)->due_us = due_us;
}

static struct late_intent *intent_of(struct late *late, int32_t slot, struct str id) {
    buf_reset(&late->name);
    buf_printf(&late->name, "%d %.*s", slot, STR_ARG(id));
    void **at = map_put(&late->intents, buf_str(&late->name));
    if (!*at)
        *at = mem_zalloc(sizeof(struct late_intent));
    struct late_intent *intent = *at;
    intent->slot = slot;
    return intent;
}

void late_intent_set(struct late *late, const struct effect *effect) {
    struct late_intent *intent = intent_of(late, effect->shard, effect->id);
    effect_result_free(intent->copy);
    intent->copy = effect_copy(effect);
    intent->answered = false;
}

void late_intent_answered(struct late *late, int32_t slot, struct str id) {
    struct late_intent *intent = intent_of(late, slot, id);
    effect_result_free(intent->copy);
    free(intent->id);
    intent->copy = NULL;
    intent->id = mem_strdup(id);
    intent->answered = true;
}

bool late_has_timers(const struct late *late, int32_t slot) {
    for (struct map_entry *entry = map_next(&late->timers, NULL); entry; entry = map_next(&late->timers, entry))
        if (((struct late_timer *)entry->value)->slot == slot)
            return true;
    return false;
}

static int32_t slot_of_timer(const void *value) {
    return ((const struct late_timer *)value)->slot;
}

static int32_t slot_of_intent(const void *value) {
    return ((const struct late_intent *)value)->slot;
}

/* A map gives nothing back but as a whole. */
static void drop_from(struct map *map, int32_t slot, int32_t (*slot_of)(const void *), void (*free_value)(void *)) {
    struct map kept = {0};
    for (struct map_entry *entry = map_next(map, NULL); entry; entry = map_next(map, entry))
        if (slot_of(entry->value) == slot)
            free_value(entry->value);
        else
            *map_put(&kept, entry->key) = entry->value;
    map_free(map, NULL);
    *map = kept;
}

void late_drop(struct late *late, int32_t slot) {
    drop_from(&late->timers, slot, slot_of_timer, free);
    drop_from(&late->intents, slot, slot_of_intent, free_intent);
}

/* ---- statements ---- */

static void add_row(const struct loop *loop, struct pg_params *params, const struct cache_row *row) {
    pg_array_i64(params, 0, loop->shards[row->slot].index);
    pg_array_str(params, 1, row->key);
    pg_array_i64(params, 2, row->version);
    pg_array_i64(params, 3, row->guard);
    pg_array_i64(params, 4, row->closed);
    pg_array_str(params, 5, (struct str){row->state, row->state_len});
}

static void start_rows(struct pg_params *params) {
    static const enum pg_type types[] = {PG_I64, PG_TEXT, PG_I64, PG_I64, PG_BOOL, PG_BYTES};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        pg_add_array(params, types[i]);
}

void late_send_rows(struct loop *loop, struct pg *pg, const struct cache_row *rows) {
    struct pg_params(*of_table)[2] = mem_zalloc((size_t)loop->table_count * sizeof(*of_table)); /* new, stored */
    for (const struct cache_row *row = rows; row; row = row->next_flushing) {
        struct pg_params *params = &of_table[row->table][row->stored];
        if (!params->count)
            start_rows(params);
        add_row(loop, params, row);
    }
    for (int t = 0; t < loop->table_count; t++)
        for (int stored = 0; stored < 2; stored++) {
            if (of_table[t][stored].count)
                pg_send(pg, stored ? loop->tables[t].update : loop->tables[t].insert, &of_table[t][stored]);
            pg_params_free(&of_table[t][stored]);
        }
    free(of_table);
}

static void add_place(const struct loop *loop, struct pg_params *params, int32_t slot) {
    pg_array_str(params, 0, str_from(loop->shards[slot].service->decider->service));
    pg_array_i64(params, 1, loop->shards[slot].index);
}

static void start_places(struct pg_params *params) {
    pg_add_array(params, PG_TEXT);
    pg_add_array(params, PG_I64);
    pg_add_array(params, PG_TEXT);
}

static void send_timers(struct loop *loop, struct pg *pg, const struct map *timers) {
    PG_PARAMS_AUTO sets = {0};
    PG_PARAMS_AUTO clears = {0};
    size_t set = 0, cleared = 0;
    start_places(&sets);
    pg_add_array(&sets, PG_TEXT);
    pg_add_array(&sets, PG_I64);
    start_places(&clears);
    pg_add_array(&clears, PG_TEXT);
    for (struct map_entry *entry = map_next(timers, NULL); entry; entry = map_next(timers, entry)) {
        const struct late_timer *timer = entry->value;
        struct pg_params *params = timer->due_us < 0 ? &clears : &sets;
        add_place(loop, params, timer->slot);
        pg_array_str(params, 2, timer->key);
        pg_array_str(params, 3, timer->name);
        if (timer->due_us >= 0)
            pg_array_i64(params, 4, timer->due_us);
        timer->due_us < 0 ? cleared++ : set++;
    }
    if (cleared)
        pg_send(pg,
                "DELETE FROM decider.timer t USING UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[]) "
                "AS u(service, shard, key, name) "
                "WHERE t.service = u.service AND t.shard = u.shard AND t.key = u.key AND t.name = u.name",
                &clears);
    if (set)
        pg_send(pg,
                "INSERT INTO decider.timer (service, shard, key, name, due_us) "
                "SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[]) "
                "ON CONFLICT (service, shard, key, name) DO UPDATE SET due_us = EXCLUDED.due_us",
                &sets);
}

static void add_intent(const struct loop *loop, struct pg_params *params, const struct effect *effect) {
    add_place(loop, params, effect->shard);
    pg_array_str(params, 2, effect->id);
    pg_array_str(params, 3, effect->key);
    pg_array_str(params, 4, effect->command_id);
    pg_array_str(params, 5, effect->traceparent);
    pg_array_str(params, 6, effect->request);
    pg_array_i64(params, 7, effect->created_us);
}

static void send_intents(struct loop *loop, struct pg *pg, const struct map *intents) {
    PG_PARAMS_AUTO made = {0};
    PG_PARAMS_AUTO gone = {0};
    size_t making = 0, going = 0;
    start_places(&made);
    for (int i = 0; i < 3; i++)
        pg_add_array(&made, PG_TEXT);
    pg_add_array(&made, PG_BYTES);
    pg_add_array(&made, PG_I64);
    start_places(&gone);
    for (struct map_entry *entry = map_next(intents, NULL); entry; entry = map_next(intents, entry)) {
        const struct late_intent *intent = entry->value;
        if (!intent->answered) {
            add_intent(loop, &made, &intent->copy->effect);
            making++;
            continue;
        }
        add_place(loop, &gone, intent->slot);
        pg_array_str(&gone, 2, str_from(intent->id));
        going++;
    }
    if (going)
        pg_send(pg,
                "DELETE FROM decider.intent i USING UNNEST($1::text[], $2::bigint[], $3::text[]) "
                "AS u(service, shard, id) WHERE i.service = u.service AND i.shard = u.shard AND i.id = u.id",
                &gone);
    if (making)
        pg_send(pg,
                "INSERT INTO decider.intent (service, shard, id, key, command_id, traceparent, request, created_us) "
                "SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], "
                "$7::bytea[], $8::bigint[]) ON CONFLICT (service, shard, id) DO NOTHING",
                &made);
}

void late_send(struct loop *loop, struct pg *pg, const struct late *late) {
    send_timers(loop, pg, &late->timers);
    send_intents(loop, pg, &late->intents);
}
