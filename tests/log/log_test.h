/* What tests of the log share: a log that is made for each test, and short ways to fill and read it. */
#ifndef ORDERLOG_TESTS_LOG_LOG_TEST_H
#define ORDERLOG_TESTS_LOG_LOG_TEST_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/arena.h"
#include "core/base/clock.h"
#include "core/log/append.h"

struct contract {
    /* Makes an empty log and answers its URL, to be kept by the callee; `discard` ends it, the log being closed. */
    const char *(*fresh)(void);
    void (*discard)(void);
};

enum { PATIENCE_MS = 60000 };

struct contract_state {
    const struct contract *adapter;
    const char *url;
    struct log *log;
    struct arena arena;
};

#define MUST(expression)                                                                                               \
    do {                                                                                                               \
        struct err must_err_ = {0};                                                                                    \
        struct err *err = &must_err_;                                                                                  \
        if (!(expression))                                                                                             \
            fail_msg("%s: %s", #expression, must_err_.detail);                                                         \
    } while (0)

#define MUST_FAIL(expected, expression)                                                                                \
    do {                                                                                                               \
        struct err must_err_ = {0};                                                                                    \
        struct err *err = &must_err_;                                                                                  \
        if (expression)                                                                                                \
            fail_msg("%s: should have failed", #expression);                                                           \
        if (must_err_.kind != (expected))                                                                              \
            fail_msg("%s: failed with kind %d: %s", #expression, (int)must_err_.kind, must_err_.detail);               \
    } while (0)

/* ---- helpers ---- */

static inline int contract_setup(void **state, const struct contract *adapter) {
    struct contract_state *s = calloc(1, sizeof *s);
    s->adapter = adapter;
    s->url = adapter->fresh();
    arena_init(&s->arena);
    MUST(log_open(s->url, NULL, &s->log, err));
    *state = s;
    return 0;
}

static inline int contract_teardown(void **state) {
    struct contract_state *s = *state;
    log_close(s->log);
    s->adapter->discard();
    arena_free(&s->arena);
    free(s);
    return 0;
}

static inline void contract_reopen(struct contract_state *s) {
    log_close(s->log);
    MUST(log_open(s->url, NULL, &s->log, err));
}

static inline void make_topic(struct log *log, const char *name, int32_t partitions) {
    struct log_topic_spec spec = {name, partitions, -1, false};
    MUST(log_topics_create(log, &spec, 1, err));
}

static inline struct log_producer *open_producer(struct log *log) {
    struct log_producer *producer = NULL;
    MUST(log_producer_open(log, NULL, &producer, err));
    return producer;
}

static inline struct log_record simple_record(const char *topic, int32_t partition, const char *key,
                                              const char *value) {
    return (struct log_record){
        .topic = str_from(topic), .partition = partition, .key = str_from(key), .value = str_from(value)};
}

static inline int64_t put(struct log_producer *producer, const char *topic, int32_t partition, const char *key,
                          const char *value) {
    struct log_record record = simple_record(topic, partition, key, value);
    int32_t where = -1;
    int64_t offset = -1;
    MUST(log_append_wait(producer, &record, PATIENCE_MS, &where, &offset, err));
    if (partition >= 0)
        assert_int_equal(where, partition);
    return offset;
}

/* Asynchronous, for many; the deliveries are counted. */
struct tally {
    _Atomic int persisted, failed;
};

static inline void tally_delivery(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                                  const struct err *err) {
    (void)partition, (void)offset, (void)err;
    struct tally *tally = user;
    if (outcome == LOG_PERSISTED)
        tally->persisted++;
    else
        tally->failed++;
}

/* Appends `count` records "<prefix><i>" and waits for them. */
static inline void put_many(struct log *log, const char *topic, int32_t partition, const char *prefix, int count) {
    struct log_producer *producer = open_producer(log);
    struct tally tally = {0};
    for (int i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s%d", prefix, i);
        struct log_record record = simple_record(topic, partition, text, text);
        MUST(log_append(producer, &record, tally_delivery, &tally, err));
    }
    assert_true(log_flush(producer, PATIENCE_MS));
    assert_int_equal(tally.persisted, count);
    log_producer_close(producer);
}

/* Records that outlive the poll. */
struct kept {
    struct log_record *items;
    size_t count;
};

static inline struct log_record keep_record(struct arena *arena, const struct log_record *record) {
    struct log_record copy = *record;
    copy.topic = arena_dup(arena, record->topic);
    copy.key = arena_dup(arena, record->key);
    copy.value = arena_dup(arena, record->value);
    struct log_header *headers = arena_array(arena, struct log_header, record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        headers[i] =
            (struct log_header){arena_dup(arena, record->headers[i].name), arena_dup(arena, record->headers[i].value)};
    copy.headers = headers;
    return copy;
}

/* Polls until `count` records have come; more is a failure. */
static inline struct kept poll_count(struct arena *arena, struct log_consumer *consumer, size_t count, size_t max) {
    struct kept kept = {arena_array(arena, struct log_record, count), 0};
    int64_t deadline_us = clock_monotonic_us() + PATIENCE_MS * 1000LL;
    while (kept.count < count) {
        struct log_batch batch = {0};
        MUST(log_consumer_poll(consumer, max, 1000, &batch, err));
        assert_true(batch.count <= max);
        assert_true(kept.count + batch.count <= count);
        for (size_t i = 0; i < batch.count; i++)
            kept.items[kept.count++] = keep_record(arena, &batch.records[i]);
        assert_true(clock_monotonic_us() < deadline_us);
    }
    return kept;
}

static inline void assert_nothing_comes(struct log_consumer *consumer) {
    for (int i = 0; i < 3; i++) {
        struct log_batch batch = {0};
        MUST(log_consumer_poll(consumer, 10, 20, &batch, err));
        assert_int_equal(batch.count, 0);
    }
}

static inline struct log_consumer *open_reader(struct log *log, const char *topic, int32_t partitions) {
    struct log_consumer *consumer = NULL;
    MUST(log_consumer_open_manual(log, &consumer, err));
    for (int32_t i = 0; i < partitions; i++)
        MUST(log_consumer_seek(consumer, str_from(topic), i, 0, err));
    return consumer;
}

static inline void assert_str(struct str actual, const char *expected) {
    struct str text = str_from(expected);
    if (!expected) {
        assert_null(actual.ptr);
        return;
    }
    assert_non_null(actual.ptr);
    if (!str_eq(actual, text))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(actual), expected);
}

static inline void assert_text_number(struct str actual, const char *prefix, int number) {
    char text[64];
    snprintf(text, sizeof text, "%s%d", prefix, number);
    assert_str(actual, text);
}

static inline int64_t high_of(struct log *log, const char *topic, int32_t partition) {
    int64_t low, high = -1;
    MUST(log_watermarks(log, str_from(topic), partition, &low, &high, err));
    return high;
}

/* Nothing comes until the error does, and its text has `names` in it. */
static inline void poll_until_error(struct log_consumer *consumer, enum err_kind kind, const char *names) {
    struct err err = {0};
    struct log_batch batch = {0};
    for (int i = 0; i < 1000 && log_consumer_poll(consumer, 10, 100, &batch, &err); i++)
        assert_int_equal(batch.count, 0);
    assert_int_equal(err.kind, kind);
    assert_non_null(strstr(err.detail, names));
}

#endif
