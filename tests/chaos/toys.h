/* Two toy deciders one behind the other on the embedded log and real PostgreSQL, and what a test of the decider loop
 * asks of them. */
#ifndef ORDERLOG_TESTS_CHAOS_TOYS_H
#define ORDERLOG_TESTS_CHAOS_TOYS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumers/loop.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/base/logging.h"
#include "core/base/map.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "core/log/envelope.h"
#include "core/store/pg.h"
#include "producers/topics.h"
#include "tests/support/database.h"

enum { PARTITIONS = 3, ORDERS = 40, SETTLE_MS = 60000 };

/* ---- two toys: `first` turns each RecordPick into a CancelOrder, `second` each CancelOrder into an OrderProcessing
 * that carries how many it has counted for that order. Rows hold the count, as text, in a state/shard.
 *
 * What `first` does besides is told by the pick's actor: "poison" is refused, "timer" sets a timer, "call" calls the
 * outside, "unwanted" is a decider's bug, and "spoil" makes a CancelOrder that `second` refuses. Of a timer or an
 * answer comes a CancelOrder by "timer" or "called"; a "bad timer", and an answer that says "missing", cannot be
 * decided. A timer "broken", and an answer with the code "broken", are a decider's bug. "retry later" sets a timer
 * "retry" in an hour. ---- */

static inline int64_t count_up(struct room *room, int table, struct str key) {
    struct row *row = room_row(room, table, key);
    struct state_shard *state = arena_new(room->arena, struct state_shard);
    int64_t count = 0;
    if (row->state)
        assert_true(str_to_i64(((struct state_shard *)row->state)->log_id, &count));
    state->log_id = arena_printf(room->arena, "%lld", (long long)count + 1);
    row->state = state;
    room_put(room, table, row, count + 1, false);
    return count + 1;
}

static inline void toy_want(struct room *room, const struct input *input) {
    room_want(room, 0, input->envelope->key);
}

static inline void emit_cancel(struct room *room, struct str key, struct str actor, struct str body_hash) {
    struct message out = {.type = MESSAGE_ORDER_CANCEL_ORDER};
    out.order_cancel_order =
        (struct order_cancel_order){.order_id = key, .shopper_id = STR_NULL, .actor = actor, .body_hash = body_hash};
    room_emit(room, STR(TOPIC_ORDER_REQUESTS), key, key, &out);
}

static inline void call_outside(struct room *room, struct str key) {
    struct message request = {.type = MESSAGE_INTENT_CALL_PROVIDER};
    struct str id = room_id(room, (struct str[]){key, room->command_id}, 2);
    request.intent_call_provider = (struct intent_call_provider){.action = INTENT_PROVIDER_ACTION_AUTHORIZE,
                                                                 .order_id = key,
                                                                 .payment_id = id,
                                                                 .amount = {1, STR("USD")},
                                                                 .payment_method = STR("pm"),
                                                                 .provider_ref = STR(""),
                                                                 .idempotency_key = id};
    room_intent(room, id, key, &request);
}

static inline bool first_decide(struct room *room, const struct input *input, const char **why) {
    struct str key = input->envelope->key;
    if (input->kind == INPUT_TIMER && str_eq(input->timer, STR("unheard-of"))) {
        *why = "there is no such timer";
        return false;
    }
    if (input->kind == INPUT_TIMER && str_eq(input->timer, STR("broken")))
        count_up(room, 0, STR("a row that was not wanted"));
    if (input->kind == INPUT_TIMER) {
        emit_cancel(room, key, STR("timer"), STR(""));
        return true;
    }
    if (input->kind == INPUT_RESULT) {
        enum intent_provider_outcome outcome = input->message->intent_provider_answered.outcome;
        if (str_eq(input->message->intent_provider_answered.code, STR("broken")))
            count_up(room, 0, STR("a row that was not wanted"));
        if (outcome == INTENT_PROVIDER_OUTCOME_SUCCEEDED)
            emit_cancel(room, key, STR("called"), STR(""));
        *why = "nobody can tell";
        return outcome != INTENT_PROVIDER_OUTCOME_MISSING;
    }
    const struct fulfilment_record_pick *pick = &input->message->fulfilment_record_pick;
    if (str_eq(pick->actor, STR("poison"))) {
        *why = "it says poison";
        return false;
    }
    if (str_eq(pick->actor, STR("timer")))
        room_timer_set(room, key, STR("ring"), room->now_us + 50000);
    if (str_eq(pick->actor, STR("retry later")))
        room_timer_set(room, key, STR("retry"), room->now_us + INT64_C(3600) * 1000 * 1000);
    if (str_eq(pick->actor, STR("bad timer")))
        room_timer_set(room, key, STR("unheard-of"), room->now_us);
    if (str_eq(pick->actor, STR("call")))
        call_outside(room, key);
    if (str_eq(pick->actor, STR("unwanted")))
        count_up(room, 0, STR("a row that was not wanted"));
    int64_t count = count_up(room, 0, key);
    bool spoil = str_eq(pick->actor, STR("spoil"));
    emit_cancel(room, key, spoil ? STR("spoiled") : arena_printf(room->arena, "%lld", (long long)count),
                pick->body_hash);
    return true;
}

static inline bool second_decide(struct room *room, const struct input *input, const char **why) {
    struct str key = input->envelope->key;
    if (str_eq(input->message->order_cancel_order.actor, STR("spoiled"))) {
        *why = "it is spoiled";
        return false;
    }
    struct message out = {.type = MESSAGE_ORDER_PROCESSING};
    out.order_processing = (struct order_processing){.order_id = key, .version = (int32_t)count_up(room, 0, key)};
    room_emit(room, STR(TOPIC_ORDER_EVENTS), key, key, &out);
    return true;
}

static inline void first_refuse(struct room *room, const struct input *input) {
    emit_cancel(room, input->envelope->key, STR("refused"), STR(""));
}

static const char *const first_inputs[] = {TOPIC_FULFILMENT_REQUESTS};
static const char *const second_inputs[] = {TOPIC_ORDER_REQUESTS};
static const struct decider_table first_tables[] = {
    {.name = "toy_first", .subject = "state/shard", .size = sizeof(struct state_shard)}};
static const struct decider_table second_tables[] = {
    {.name = "toy_second", .subject = "state/shard", .size = sizeof(struct state_shard)}};
static const struct decider first = {.service = "toy-first",
                                     .inputs = first_inputs,
                                     .input_count = 1,
                                     .events = (const char *const[]){TOPIC_ORDER_REQUESTS, NULL},
                                     .tables = first_tables,
                                     .table_count = 1,
                                     .remembers_commands = true,
                                     .want = toy_want,
                                     .decide = first_decide,
                                     .refuse_reused = first_refuse};
static const struct decider second = {.service = "toy-second",
                                      .inputs = second_inputs,
                                      .input_count = 1,
                                      .events = (const char *const[]){TOPIC_ORDER_EVENTS, NULL},
                                      .tables = second_tables,
                                      .table_count = 1,
                                      .want = toy_want,
                                      .decide = second_decide};
static const struct decider *const toys[] = {&first, &second};

/* ---- a place of its own for each test ---- */

struct place {
    char folder[64];
    char log_url[96];
    char *database_url;
};

static inline int set_up(void **state) {
    struct place *place = mem_zalloc(sizeof(*place));
    struct err err = {0};
    database_make(&place->database_url);
    snprintf(place->folder, sizeof(place->folder), "/tmp/orderlog-loop.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->log_url, sizeof(place->log_url), "sqlite://%s/log.db", place->folder);
    if (!loop_migrate(place->database_url, toys, 2, &err))
        fail_msg("%s", err.detail);
    *state = place;
    return 0;
}

static inline int tear_down(void **state) {
    struct place *place = *state;
    char command[96];
    database_drop(place->database_url);
    snprintf(command, sizeof(command), "rm -rf %s", place->folder);
    assert_int_equal(system(command), 0);
    free(place->database_url);
    free(place);
    return 0;
}

struct run {
    struct log *log;
    struct log_producer *producer;
    struct loop *loops[2];
    struct shop shop;
    struct locations locations;
};

enum { FUSED = -1 }; /* for `loops`: both toys in one */

static inline void run_start_calling(struct run *run, const struct place *place, int loops, effect_call *call,
                                     void *user) {
    struct err err = {0};
    struct log_options options = {0};
    memset(run, 0, sizeof(*run));
    run->shop = shop_defaults();
    if (!log_open(place->log_url, &options, &run->log, &err) || !topics_create(run->log, PARTITIONS, &err) ||
        !log_producer_open(run->log, NULL, &run->producer, &err))
        fail_msg("%s", err.detail);
    for (int i = 0; i < (loops == FUSED ? 1 : loops); i++) {
        struct loop_config config = {.deciders = &toys[i],
                                     .decider_count = loops == FUSED ? 2 : 1,
                                     .log = run->log,
                                     .database_url = place->database_url,
                                     .shop = &run->shop,
                                     .locations = &run->locations,
                                     .call = toys[i] == &first ? call : NULL,
                                     .call_user = user};
        if (!loop_start(&config, &run->loops[i], &err))
            fail_msg("%s", err.detail);
    }
}

static inline void run_start(struct run *run, const struct place *place, int loops) {
    run_start_calling(run, place, loops, NULL, NULL);
}

static inline void run_stop(struct run *run) {
    for (int i = 0; i < 2; i++)
        loop_stop(run->loops[i]);
    log_producer_close(run->producer);
    log_close(run->log);
}

static inline void key_of(int order, char key[40]) {
    snprintf(key, 40, "00000000-0000-4000-8000-%012d", order);
}

static inline void encode_pick(int order, const char *actor, struct str body_hash, struct buf *ret) {
    char key[40];
    struct err err = {0};
    key_of(order, key);
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_PICK};
    message.fulfilment_record_pick =
        (struct fulfilment_record_pick){.order_id = str_from(key), .actor = str_from(actor), .body_hash = body_hash};
    assert_true(message_encode(schema_subject_find(STR(TOPIC_FULFILMENT_REQUESTS)), &message, ret, &err));
}

static inline void append_record(struct run *run, int order, struct str value, const struct log_header *headers,
                                 size_t count) {
    char key[40];
    struct err err = {0};
    int32_t partition;
    int64_t offset;
    key_of(order, key);
    struct log_record record = {.topic = STR(TOPIC_FULFILMENT_REQUESTS),
                                .partition = LOG_BY_KEY,
                                .key = str_from(key),
                                .value = value,
                                .headers = headers,
                                .header_count = count};
    if (!log_append_wait(run->producer, &record, 10000, &partition, &offset, &err))
        fail_msg("%s", err.detail);
}

static inline void append_input(struct run *run, int order, struct str id, const char *actor, const char *body_hash) {
    char key[40];
    BUF_AUTO value = {0};
    key_of(order, key);
    encode_pick(order, actor, str_from(body_hash), &value);
    struct log_header headers[] = {{STR(HEADER_ID), id},
                                   {STR(HEADER_TYPE), message_name(MESSAGE_FULFILMENT_RECORD_PICK)},
                                   {STR(HEADER_SUBJECT), str_from(key)}};
    append_record(run, order, buf_str(&value), headers, 3);
}

static inline void append_numbered(struct run *run, int i) {
    char id[24];
    snprintf(id, sizeof(id), "input-%d", i);
    append_input(run, i % ORDERS, str_from(id), "shopper", "h");
}

/* ---- what the log holds, duplicates dropped ---- */

struct seen {
    struct map last; /* origin/topic/partition -> number */
    int64_t records;
    int64_t duplicates;
    int64_t gaps;
    struct map by_key; /* of records: key -> count */
    int64_t wrong_versions;
    int64_t from_actor_refused, from_actor_timer, from_actor_called;
    int64_t after_timer; /* records after the last one of a timer */
};

static inline void look_at(struct seen *seen, const struct log_record *record) {
    struct envelope envelope;
    struct err err = {0};
    struct message message;
    struct arena arena;
    char key[160];
    assert_true(envelope_read(record, &envelope, &err));
    if (envelope.origin.ptr) {
        snprintf(key, sizeof(key), "%.*s %.*s %d", STR_ARG(envelope.origin), STR_ARG(record->topic), record->partition);
        void **last = map_put(&seen->last, str_from(key));
        if (envelope.origin_seq <= (intptr_t)*last) {
            seen->duplicates++;
            return;
        }
        seen->gaps += envelope.origin_seq != (intptr_t)*last + 1;
        *last = (void *)(intptr_t)envelope.origin_seq;
    }
    seen->records++;
    if (str_ends_with(record->topic, STR(TOPIC_DEAD_LETTER_SUFFIX)))
        return;
    arena_init(&arena);
    assert_true(message_decode(schema_subject_find(record->topic), record->value, &arena, &message, &err));
    void **count = map_put(&seen->by_key, record->key);
    *count = (void *)((intptr_t)*count + 1);
    if (message.type == MESSAGE_ORDER_PROCESSING)
        seen->wrong_versions += message.order_processing.version != (intptr_t)*count;
    if (message.type == MESSAGE_ORDER_CANCEL_ORDER) {
        seen->from_actor_refused += str_eq(message.order_cancel_order.actor, STR("refused"));
        seen->from_actor_called += str_eq(message.order_cancel_order.actor, STR("called"));
        bool timer = str_eq(message.order_cancel_order.actor, STR("timer"));
        seen->from_actor_timer += timer;
        seen->after_timer = timer ? 0 : seen->after_timer + 1;
    }
    arena_free(&arena);
}

static inline struct seen read_topic(struct log *log, const char *topic) {
    struct seen seen = {0};
    struct err err = {0};
    struct log_consumer *consumer;
    struct log_batch batch;
    int64_t wanted = 0, got = 0;
    assert_true(log_consumer_open_manual(log, &consumer, &err));
    for (int32_t p = 0; p < PARTITIONS; p++) {
        int64_t low, high;
        assert_true(log_watermarks(log, str_from(topic), p, &low, &high, &err));
        assert_true(log_consumer_seek(consumer, str_from(topic), p, low, &err));
        wanted += high - low;
    }
    while (got < wanted) {
        assert_true(log_consumer_poll(consumer, 1000, 1000, &batch, &err));
        for (size_t i = 0; i < batch.count; i++)
            look_at(&seen, &batch.records[i]);
        got += (int64_t)batch.count;
    }
    log_consumer_close(consumer);
    return seen;
}

static inline void seen_free(struct seen *seen) {
    map_free(&seen->last, NULL);
    map_free(&seen->by_key, NULL);
}

/* Until the topic holds so many records (without duplicates). */
static inline void await(struct log *log, const char *topic, int64_t records) {
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    for (;;) {
        struct seen seen = read_topic(log, topic);
        int64_t have = seen.records;
        seen_free(&seen);
        if (have >= records)
            return;
        if (clock_monotonic_us() > deadline_us)
            fail_msg("%s holds %lld records, not %lld", topic, (long long)have, (long long)records);
        clock_sleep_ms(20);
    }
}

/* ---- what PostgreSQL holds ---- */

static inline int64_t number(const struct place *place, const char *sql) {
    struct pg *pg;
    struct err err = {0};
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_open(place->database_url, NULL, &pg, &err) || !pg_exec(pg, sql, NULL, &rows, &err))
        fail_msg("%s", err.detail);
    int64_t value = pg_get_i64(rows, 0, 0);
    pg_close(pg);
    return value;
}

static inline void execute(const struct place *place, const char *sql) {
    struct pg *pg;
    struct err err = {0};
    if (!pg_open(place->database_url, NULL, &pg, &err) || !pg_script(pg, sql, &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
}

static inline void await_number(const struct place *place, const char *sql, int64_t wanted) {
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    while (number(place, sql) != wanted) {
        if (clock_monotonic_us() > deadline_us)
            fail_msg("%s never was %lld", sql, (long long)wanted);
        clock_sleep_ms(20);
    }
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
