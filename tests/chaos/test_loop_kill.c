/* The decider loop under kill -9, with two toy deciders one behind the other on the embedded log and real PostgreSQL:
 * every input is decided once, every output has the next number, no row counts twice. Also: zombies, parked subjects,
 * unknown types, timers. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
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

enum { PARTITIONS = 3, INPUTS = 3000, ORDERS = 40, KILLS = 12, SETTLE_MS = 60000 };

/* ---- two toys: `first` turns each RecordPick into a CancelOrder, `second` each CancelOrder into an OrderProcessing
 * that carries how many it has counted for that order. Rows hold the count, as text, in a state/shard. ---- */

static int64_t count_up(struct room *room, int table, struct str key) {
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

static void toy_want(struct room *room, const struct input *input) {
    room_want(room, 0, input->envelope->key);
}

static bool first_decide(struct room *room, const struct input *input, const char **why) {
    struct str key = input->envelope->key;
    if (input->kind == INPUT_TIMER) {
        struct message rung = {.type = MESSAGE_ORDER_CANCEL_ORDER};
        rung.order_cancel_order = (struct order_cancel_order){
            .order_id = key, .shopper_id = STR_NULL, .actor = STR("timer"), .body_hash = STR("")};
        room_emit(room, STR(TOPIC_ORDER_REQUESTS), key, key, &rung);
        return true;
    }
    const struct fulfilment_record_pick *pick = &input->message->fulfilment_record_pick;
    if (str_eq(pick->actor, STR("poison"))) {
        *why = "it says poison";
        return false;
    }
    if (str_eq(pick->actor, STR("timer")))
        room_timer_set(room, key, STR("ring"), room->now_us + 50000);
    int64_t count = count_up(room, 0, key);
    struct message out = {.type = MESSAGE_ORDER_CANCEL_ORDER};
    out.order_cancel_order = (struct order_cancel_order){.order_id = key,
                                                         .shopper_id = STR_NULL,
                                                         .actor = arena_printf(room->arena, "%lld", (long long)count),
                                                         .body_hash = pick->body_hash};
    room_emit(room, STR(TOPIC_ORDER_REQUESTS), key, key, &out);
    return true;
}

static bool second_decide(struct room *room, const struct input *input, const char **why) {
    (void)why;
    struct str key = input->envelope->key;
    struct message out = {.type = MESSAGE_ORDER_PROCESSING};
    out.order_processing = (struct order_processing){.order_id = key, .version = (int32_t)count_up(room, 0, key)};
    room_emit(room, STR(TOPIC_ORDER_EVENTS), key, key, &out);
    return true;
}

static void first_refuse(struct room *room, const struct input *input) {
    struct message out = {.type = MESSAGE_ORDER_CANCEL_ORDER};
    out.order_cancel_order = (struct order_cancel_order){
        .order_id = input->envelope->key, .shopper_id = STR_NULL, .actor = STR("refused"), .body_hash = STR("")};
    room_emit(room, STR(TOPIC_ORDER_REQUESTS), input->envelope->key, input->envelope->key, &out);
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
                                     .tables = first_tables,
                                     .table_count = 1,
                                     .remembers_commands = true,
                                     .want = toy_want,
                                     .decide = first_decide,
                                     .refuse_reused = first_refuse};
static const struct decider second = {.service = "toy-second",
                                      .inputs = second_inputs,
                                      .input_count = 1,
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

static int set_up(void **state) {
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

static int tear_down(void **state) {
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

static void run_start(struct run *run, const struct place *place, int loops) {
    struct err err = {0};
    struct log_options options = {0};
    memset(run, 0, sizeof(*run));
    run->shop = shop_defaults();
    if (!log_open(place->log_url, &options, &run->log, &err) || !topics_create(run->log, PARTITIONS, &err) ||
        !log_producer_open(run->log, NULL, &run->producer, &err))
        fail_msg("%s", err.detail);
    for (int i = 0; i < loops; i++) {
        struct loop_config config = {.decider = toys[i],
                                     .log = run->log,
                                     .database_url = place->database_url,
                                     .shop = &run->shop,
                                     .locations = &run->locations};
        if (!loop_start(&config, &run->loops[i], &err))
            fail_msg("%s", err.detail);
    }
}

static void run_stop(struct run *run) {
    for (int i = 0; i < 2; i++)
        loop_stop(run->loops[i]);
    log_producer_close(run->producer);
    log_close(run->log);
}

static void append_input(struct run *run, int order, struct str id, const char *actor, const char *body_hash) {
    char key[40];
    struct err err = {0};
    BUF_AUTO value = {0};
    snprintf(key, sizeof(key), "00000000-0000-4000-8000-%012d", order);
    struct message message = {.type = MESSAGE_FULFILMENT_RECORD_PICK};
    message.fulfilment_record_pick = (struct fulfilment_record_pick){
        .order_id = str_from(key), .actor = str_from(actor), .body_hash = str_from(body_hash)};
    assert_true(message_encode(schema_subject_find(STR(TOPIC_FULFILMENT_REQUESTS)), &message, &value, &err));
    struct log_header headers[] = {
        {STR(HEADER_ID), id}, {STR(HEADER_TYPE), message_name(message.type)}, {STR(HEADER_SUBJECT), str_from(key)}};
    struct log_record record = {.topic = STR(TOPIC_FULFILMENT_REQUESTS),
                                .partition = LOG_BY_KEY,
                                .key = str_from(key),
                                .value = buf_str(&value),
                                .headers = headers,
                                .header_count = 3};
    int32_t partition;
    int64_t offset;
    if (!log_append_wait(run->producer, &record, 10000, &partition, &offset, &err))
        fail_msg("%s", err.detail);
}

static void append_numbered(struct run *run, int i) {
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
    int64_t from_actor_refused, from_actor_timer;
};

static void look_at(struct seen *seen, const struct log_record *record) {
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
        seen->from_actor_timer += str_eq(message.order_cancel_order.actor, STR("timer"));
    }
    arena_free(&arena);
}

static struct seen read_topic(struct log *log, const char *topic) {
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

static void seen_free(struct seen *seen) {
    map_free(&seen->last, NULL);
    map_free(&seen->by_key, NULL);
}

/* Until the topic holds so many records (without duplicates). */
static void await(struct log *log, const char *topic, int64_t records) {
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

/* ---- kill -9 ---- */

/* Appends the inputs that the log does not hold yet, and the last few again, as a client that had no answer would. */
static void child_main(const struct place *place, bool to_the_end) {
    struct run run;
    run_start(&run, place, 2);
    /* What came out is no more than what went in: begin a little before that. */
    struct seen out = read_topic(run.log, TOPIC_ORDER_EVENTS);
    int from = (int)(out.records > 20 ? out.records - 20 : 0);
    seen_free(&out);
    for (int i = from; i < INPUTS; i++)
        append_numbered(&run, i);
    if (to_the_end)
        await(run.log, TOPIC_ORDER_EVENTS, INPUTS);
    run_stop(&run);
    _exit(0);
}

static void test_killed_again_and_again(void **state) {
    struct place *place = *state;
    unsigned seed = 7;
    int killed = 0;
    for (int i = 0; i <= KILLS; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            int quiet = open("/dev/null", 1);
            dup2(quiet, 2);
            child_main(place, i == KILLS);
        }
        if (i < KILLS) {
            clock_sleep_ms(60 + rand_r(&seed) % 250);
            kill(child, SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        if (i == KILLS)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_true(killed > KILLS / 2);
    struct run run;
    run_start(&run, place, 0);
    struct seen between = read_topic(run.log, TOPIC_ORDER_REQUESTS), out = read_topic(run.log, TOPIC_ORDER_EVENTS);
    print_message("killed %d times; duplicates dropped: %lld and %lld\n", killed, (long long)between.duplicates,
                  (long long)out.duplicates);
    assert_int_equal(between.gaps, 0);
    assert_int_equal(out.gaps, 0);
    assert_int_equal(between.records, INPUTS);
    assert_int_equal(out.records, INPUTS);
    assert_int_equal(out.wrong_versions, 0);
    seen_free(&between);
    seen_free(&out);
    run_stop(&run);
}

/* ---- one process, in hand ---- */

static int64_t number(const struct place *place, const char *sql) {
    struct pg *pg;
    struct err err = {0};
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_open(place->database_url, NULL, &pg, &err) || !pg_exec(pg, sql, NULL, &rows, &err))
        fail_msg("%s", err.detail);
    int64_t value = pg_get_i64(rows, 0, 0);
    pg_close(pg);
    return value;
}

static void execute(const struct place *place, const char *sql) {
    struct pg *pg;
    struct err err = {0};
    if (!pg_open(place->database_url, NULL, &pg, &err) || !pg_script(pg, sql, &err))
        fail_msg("%s", err.detail);
    pg_close(pg);
}

static void await_number(const struct place *place, const char *sql, int64_t wanted) {
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    while (number(place, sql) != wanted) {
        if (clock_monotonic_us() > deadline_us)
            fail_msg("%s never was %lld", sql, (long long)wanted);
        clock_sleep_ms(20);
    }
}

/* The same id again, with the same body and with another. */
static void test_repeated_commands(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("same"), "shopper", "h1");
    append_input(&run, 1, STR("same"), "shopper", "h1");
    await(run.log, TOPIC_ORDER_EVENTS, 1);
    append_input(&run, 1, STR("same"), "shopper", "h1");
    append_input(&run, 1, STR("same"), "shopper", "h2");
    append_input(&run, 1, STR("other"), "shopper", "h1");
    await(run.log, TOPIC_ORDER_EVENTS, 3);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.records, 3);
    assert_int_equal(seen.from_actor_refused, 1);
    seen_free(&seen);
    run_stop(&run);
}

/* A record that cannot be handled is parked, what follows of its subject behind it, in order; others go on. Marked for
 * a retry that fails it stays; dropped, what was behind it is applied. */
static void test_parked_subject(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, STR("b"), "poison", "h");
    append_input(&run, 1, STR("c"), "shopper", "h");
    append_input(&run, 2, STR("d"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, "SELECT count(*) FROM decider.parked", 2);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked WHERE behind"), 1);
    await(run.log, TOPIC_FULFILMENT_REQUESTS TOPIC_DEAD_LETTER_SUFFIX, 1);

    execute(place, "UPDATE decider.parked SET status = 'retry' WHERE NOT behind");
    await_number(place, "SELECT count(*) FROM decider.parked WHERE status = 'parked'", 2);
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 2);
    run_stop(&run);

    run_start(&run, place, 2); /* parked subjects outlive a restart */
    append_input(&run, 1, STR("e"), "shopper", "h");
    await_number(place, "SELECT count(*) FROM decider.parked", 3);
    execute(place, "UPDATE decider.parked SET status = 'drop' WHERE NOT behind");
    await(run.log, TOPIC_ORDER_EVENTS, 4);
    await_number(place, "SELECT count(*) FROM decider.parked", 0);
    append_input(&run, 1, STR("f"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 5);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

/* A value of a schema that is not compiled in: a deployment fault. The shard stands, says so, and loses nothing. */
static void test_unknown_schema_halts(void **state) {
    struct place *place = *state;
    struct run run;
    struct err err = {0};
    int32_t partition;
    int64_t offset;
    BUF_AUTO why = {0};
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "shopper", "h");
    struct log_header headers[] = {{STR(HEADER_ID), STR("b")}, {STR(HEADER_TYPE), STR("shop.new.v9.Thing")}};
    struct log_record record = {.topic = STR(TOPIC_FULFILMENT_REQUESTS),
                                .partition = LOG_BY_KEY,
                                .key = STR("00000000-0000-4000-8000-000000000001"),
                                .value = {"\0\0\1\0\0xyz", 8},
                                .headers = headers,
                                .header_count = 2};
    assert_true(log_append_wait(run.producer, &record, 10000, &partition, &offset, &err));
    append_input(&run, 1, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 1);
    int64_t deadline_us = clock_monotonic_us() + SETTLE_MS * INT64_C(1000);
    while (!why.len || !strstr(why.ptr, "halted")) {
        buf_reset(&why);
        assert_true(clock_monotonic_us() < deadline_us);
        loop_ready(run.loops[0], &why);
        clock_sleep_ms(5);
    }
    assert_non_null(strstr(why.ptr, "offset 1"));
    assert_int_equal(number(place, "SELECT count(*) FROM decider.parked"), 0);
    run_stop(&run);
}

/* A shard that another owner took is fenced: its next transaction touches nothing, and it takes over anew. */
static void test_fenced_owner(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    for (int i = 0; i < 50; i++) {
        append_numbered(&run, i);
        if (i % 10 == 5)
            execute(place, "UPDATE decider.shard SET epoch = epoch + 1, owner = 'somebody else'");
    }
    await(run.log, TOPIC_ORDER_EVENTS, 50);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.records, 50);
    assert_int_equal(seen.gaps, 0);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

static void test_timer_fires_once(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 1);
    append_input(&run, 1, STR("a"), "timer", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 2);
    run_stop(&run);
    run_start(&run, place, 1);
    append_input(&run, 1, STR("b"), "shopper", "h");
    await(run.log, TOPIC_ORDER_REQUESTS, 3);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_REQUESTS);
    assert_int_equal(seen.from_actor_timer, 1);
    seen_free(&seen);
    run_stop(&run);
}

/* Text that PostgreSQL cannot hold must not stand in everybody's way. */
static void test_record_the_database_refuses(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    append_input(&run, 1, STR("a"), "shopper", "h");
    append_input(&run, 1, ((struct str){"z\0z", 3}), "shopper", "h");
    append_input(&run, 2, STR("c"), "shopper", "h");
    await(run.log, TOPIC_ORDER_EVENTS, 2);
    await_number(place, "SELECT count(*) FROM decider.parked", 1);
    run_stop(&run);
}

/* PostgreSQL cuts every connection in the middle: nothing is lost, nothing comes twice. */
static void test_database_connections_cut(void **state) {
    struct place *place = *state;
    struct run run;
    run_start(&run, place, 2);
    for (int i = 0; i < 200; i++) {
        append_numbered(&run, i);
        if (i % 40 == 20)
            execute(place, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE datname = current_database() AND pid <> pg_backend_pid()");
    }
    await(run.log, TOPIC_ORDER_EVENTS, 200);
    struct seen seen = read_topic(run.log, TOPIC_ORDER_EVENTS);
    assert_int_equal(seen.records, 200);
    assert_int_equal(seen.gaps, 0);
    assert_int_equal(seen.wrong_versions, 0);
    seen_free(&seen);
    run_stop(&run);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    if (!database_is_there())
        return TEST_SKIPPED;
    logging_init(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        PLACED(test_repeated_commands),        PLACED(test_parked_subject),
        PLACED(test_unknown_schema_halts),     PLACED(test_fenced_owner),
        PLACED(test_timer_fires_once),         PLACED(test_record_the_database_refuses),
        PLACED(test_database_connections_cut), PLACED(test_killed_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
