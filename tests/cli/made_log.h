/* A log made by a test, record by record, for the commands that read one; and a way to run such a command. */
#ifndef ORDERLOG_TESTS_CLI_MADE_LOG_H
#define ORDERLOG_TESTS_CLI_MADE_LOG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/base/envelope.h"
#include "core/base/ids.h"
#include "core/base/map.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "producers/topics.h"
#include "tests/log/temp_folder.h"

enum { MADE_PARTITIONS = 4 };

struct made_log {
    struct temp_folder folder;
    char url[4200];
    struct log *log;
    struct log_producer *producer;
    struct arena arena;
    struct map numbers; /* last number of "origin topic partition" */
    int64_t made;
};

struct made_record {
    const char *topic;
    const char *origin; /* NULL: the API's */
    struct str key;
    struct str command_id; /* ptr NULL: its own id */
    const struct message *message;
    struct str value;  /* instead of the message's bytes, if ptr is not NULL */
    int64_t skip;      /* how many numbers to leave out before this one; -1: the last number again */
    int32_t partition; /* by key unless moved */
    bool moved;
};

struct made_at {
    int32_t partition;
    int64_t offset;
};

static inline void made_open(struct made_log *made) {
    struct err err = {0};
    *made = (struct made_log){0};
    arena_init(&made->arena);
    assert_true(temp_folder_make(&made->folder));
    char *path = realpath(made->folder.path, NULL);
    assert_non_null(path);
    snprintf(made->url, sizeof made->url, "sqlite://%s/log.db", path);
    free(path);
    if (!log_open(made->url, &(struct log_options){0}, &made->log, &err) ||
        !topics_create(made->log, MADE_PARTITIONS, &err) ||
        !log_producer_open(made->log, &(struct log_producer_options){0}, &made->producer, &err))
        fail_msg("%s", err.detail);
}

/* The file stays, for commands to read. */
static inline void made_close(struct made_log *made) {
    log_producer_close(made->producer);
    log_close(made->log);
    made->producer = NULL;
    made->log = NULL;
}

static inline void made_remove(struct made_log *made) {
    if (made->log)
        made_close(made);
    map_free(&made->numbers, free);
    arena_free(&made->arena);
    temp_folder_remove(&made->folder);
}

/* The nth id of a kind, always the same. */
static inline struct str made_id(struct made_log *made, const char *kind, int64_t n) {
    struct str parts[] = {str_from(kind), arena_printf(&made->arena, "%lld", (long long)n)};
    struct id id = id_derive(parts, 2);
    return arena_dup(&made->arena, id_str(&id));
}

static inline int64_t made_number(struct made_log *made, const struct made_record *record, int32_t partition) {
    struct str name = arena_printf(&made->arena, "%s %s %d", record->origin, record->topic, partition);
    void **place = map_put(&made->numbers, name);
    if (!*place)
        *place = mem_zalloc(sizeof(int64_t));
    int64_t *last = *place;
    return *last += 1 + record->skip;
}

static inline struct str made_value(struct made_log *made, const struct made_record *record) {
    BUF_AUTO bytes = {0};
    struct err err = {0};
    if (record->value.ptr)
        return record->value;
    if (!message_encode(schema_subject_find(str_from(record->topic)), record->message, &bytes, &err))
        fail_msg("%s", err.detail);
    return arena_dup(&made->arena, buf_str(&bytes));
}

static inline struct made_at made_append(struct made_log *made, const struct made_record *record) {
    struct err err = {0};
    struct made_at at;
    struct log_header headers[6];
    size_t count = 0;
    int32_t partition = record->moved ? record->partition : log_partition_of(record->key, MADE_PARTITIONS);
    struct str id = made_id(made, "record", ++made->made);
    struct str type = record->message ? message_name(record->message->type) : STR("shop.order.v1.Nothing");
    headers[count++] = (struct log_header){STR(HEADER_ID), id};
    headers[count++] = (struct log_header){STR(HEADER_TYPE), type};
    headers[count++] = (struct log_header){STR(HEADER_SUBJECT), record->key};
    if (record->origin) {
        int64_t number = made_number(made, record, partition);
        headers[count++] =
            (struct log_header){STR(HEADER_COMMAND_ID), record->command_id.ptr ? record->command_id : id};
        headers[count++] = (struct log_header){STR(HEADER_ORIGIN), str_from(record->origin)};
        headers[count++] =
            (struct log_header){STR(HEADER_ORIGIN_SEQ), arena_printf(&made->arena, "%lld", (long long)number)};
    }
    const struct log_record appended = {.topic = str_from(record->topic),
                                        .partition = partition,
                                        .key = record->key,
                                        .value = made_value(made, record),
                                        .headers = headers,
                                        .header_count = count};
    if (!log_append_wait(made->producer, &appended, 30000, &at.partition, &at.offset, &err))
        fail_msg("%s", err.detail);
    return at;
}

/* ---- commands ---- */

/* Runs `orderlog ARGUMENTS`, a piece of shell; what it prints is appended. Returns its exit code. */
static inline int made_run(struct buf *ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline int made_run(struct buf *ret, const char *format, ...) {
    BUF_AUTO command = {0};
    va_list args;
    const char *binary = getenv("ORDERLOG_BIN");
    assert_non_null(binary);
    buf_printf(&command, "env -u ORDERLOG_LOG -u DATABASE_URL -u REDIS_URL '%s' ", binary);
    va_start(args, format);
    buf_vprintf(&command, format, args);
    va_end(args);
    FILE *pipe = popen(command.ptr, "r");
    assert_non_null(pipe);
    char chunk[4096];
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, pipe)) > 0;)
        buf_add(ret, chunk, got);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The same for one that prints JSON. */
static inline json_t *made_json(const struct buf *text) {
    json_error_t error;
    json_t *json = json_loadb(text->ptr ? text->ptr : "", text->len, 0, &error);
    if (!json)
        fail_msg("not JSON: %s\n%s", error.text, text->ptr ? text->ptr : "");
    return json;
}

#endif
