/* A shop's history, made up: what its API and deciders would have appended, with origins and their numbers. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_STORY_H
#define ORDERLOG_TESTS_PROJECTIONS_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/envelope.h"
#include "core/base/ids.h"
#include "core/base/map.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "producers/topics.h"

enum { STORY_PARTITIONS = 4, STORY_PRODUCTS = 12 };

struct story {
    struct log *log;
    struct log_producer *producer;
    struct arena arena;
    struct map numbers; /* last number of "origin topic partition" */
    struct map stock;   /* struct counters of each sku, at "main" */
    int64_t made;       /* ids, so that they differ and are the same each time */
};

static inline void story_open(struct story *story, struct log *log) {
    struct err err = {0};
    *story = (struct story){.log = log};
    arena_init(&story->arena);
    if (!topics_create(log, STORY_PARTITIONS, &err) || !log_producer_open(log, NULL, &story->producer, &err))
        fail_msg("%s", err.detail);
}

static inline void story_close(struct story *story) {
    log_producer_close(story->producer);
    map_free(&story->numbers, free);
    map_free(&story->stock, free);
    arena_free(&story->arena);
}

/* The nth id of a kind, always the same. */
static inline struct str story_id(struct story *story, const char *kind, int64_t n) {
    const struct str parts[] = {str_from(kind), {(const char *)&n, sizeof(n)}};
    struct id id = id_derive(parts, 2);
    return arena_dup(&story->arena, id_str(&id));
}

/* ---- records ---- */

struct story_record {
    const char *topic;
    const char *origin; /* NULL: the API's */
    struct str key;
    struct str subject;    /* ptr NULL: the key */
    struct str command_id; /* ptr NULL: its own id */
    const struct message *message;
    struct str value; /* instead of the message's bytes, if ptr is not NULL */
    int64_t skip;     /* how many numbers to leave out before this one; -1: the last number again */
};

static inline int64_t story_number(struct story *story, const struct story_record *record, int32_t partition) {
    struct str name = arena_printf(&story->arena, "%s %s %d", record->origin, record->topic, partition);
    void **place = map_put(&story->numbers, name);
    if (!*place)
        *place = mem_zalloc(sizeof(int64_t));
    int64_t *last = *place;
    *last += 1 + record->skip;
    return *last;
}

static inline struct str story_value(struct story *story, const struct story_record *record) {
    BUF_AUTO bytes = {0};
    struct err err = {0};
    if (record->value.ptr)
        return record->value;
    if (!message_encode(schema_subject_find(str_from(record->topic)), record->message, &bytes, &err))
        fail_msg("%s", err.detail);
    return arena_dup(&story->arena, buf_str(&bytes));
}

static inline void story_delivered(void *user, enum log_outcome outcome, int32_t partition, int64_t offset,
                                   const struct err *err) {
    (void)user, (void)partition, (void)offset, (void)err;
    if (outcome != LOG_PERSISTED)
        abort(); /* not on the test's thread: cmocka cannot be told */
}

static inline void story_append(struct story *story, const struct story_record *record) {
    struct err err = {0};
    struct log_header headers[6];
    size_t count = 0;
    int32_t partition = log_partition_of(record->key, STORY_PARTITIONS);
    struct str id = story_id(story, "record", ++story->made);
    headers[count++] = (struct log_header){STR(HEADER_ID), id};
    headers[count++] = (struct log_header){STR(HEADER_TYPE), record->message ? message_name(record->message->type)
                                                                             : STR("shop.order.v1.Nothing")};
    headers[count++] = (struct log_header){STR(HEADER_SUBJECT), record->subject.ptr ? record->subject : record->key};
    if (record->origin) {
        headers[count++] =
            (struct log_header){STR(HEADER_COMMAND_ID), record->command_id.ptr ? record->command_id : id};
        headers[count++] = (struct log_header){STR(HEADER_ORIGIN), str_from(record->origin)};
        headers[count++] =
            (struct log_header){STR(HEADER_ORIGIN_SEQ),
                                arena_printf(&story->arena, "%lld", (long long)story_number(story, record, partition))};
    }
    const struct log_record appended = {.topic = str_from(record->topic),
                                        .partition = LOG_BY_KEY,
                                        .key = record->key,
                                        .value = story_value(story, record),
                                        .headers = headers,
                                        .header_count = count};
    if (!log_append(story->producer, &appended, story_delivered, NULL, &err))
        fail_msg("%s", err.detail);
}

/* Until all that was appended is in the log. */
static inline void story_flush(struct story *story) {
    assert_true(log_flush(story->producer, 30000));
}

static inline void story_say(struct story *story, const char *topic, const char *origin, struct str key,
                             struct str command_id, const struct message *message) {
    story_append(story,
                 &(struct story_record){
                     .topic = topic, .origin = origin, .key = key, .command_id = command_id, .message = message});
}

#endif
