/* Logs for the tests of the archive:
 *   archive_log make URL SEED RECORDS   a log that begins on 2026-01-01 at 08:00, with all that a record can be, over
 * hours archive_log append URL RECORDS SIZE records of so many random bytes, now archive_log dump URL every record as a
 * line, bytes in hex; all but shop.personal.v1 */
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/codec/avro.h"
#include "core/log/append.h"
#include "core/log/restore.h"
#include "producers/topics.h"
#include "tests/support/random_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTITIONS = 3, HEADERS_MAX = 4 };

static const char *const topics[] = {TOPIC_ORDER_EVENTS, TOPIC_CART_EVENTS, TOPIC_CART_EVENTS TOPIC_DEAD_LETTER_SUFFIX,
                                     TOPIC_PERSONAL, "other.topic"};

static struct err err;

static void must(bool ok) {
    if (!ok) {
        fprintf(stderr, "%s\n", err.detail);
        exit(2);
    }
}

/* ---- what a record can be ---- */

static struct str random_text(struct random_source *source) {
    static const struct str texts[] = {{NULL, 0}, {"", 0}, {"a key", 5}, {"\xff\xfe", 2}, {"\0", 1}, {"\xc3\xa4", 2}};
    return texts[random_below(source, sizeof texts / sizeof texts[0])];
}

/* An event; now and then what is none. */
static struct str random_event(struct random_source *source, struct arena *arena, struct str topic,
                               struct str *ret_type) {
    const struct schema_subject *subject =
        schema_subject_find(str_starts_with(topic, STR(TOPIC_CART_EVENTS)) ? STR(TOPIC_CART_EVENTS) : topic);
    uint64_t kind = random_below(source, 12);
    *ret_type = STR("shop.some.v1.Thing");
    if (kind == 0)
        return STR_NULL;
    if (kind == 1)
        return STR("");
    if (kind == 2 || !subject)
        return (struct str){"\0\0\0\0\x09\xff no event", 14};
    struct message message = {0};
    BUF_AUTO bytes = {0};
    size_t branch = (size_t)random_below(source, subject->current->branch_count);
    message.type = (enum message_type)subject->current->branches[branch].message;
    random_value(source, subject->current->branches[branch].type, arena, (void *)message_body(&message));
    must(message_encode(subject, &message, &bytes, &err));
    if (kind == 3)
        buf_add_char(&bytes, 'x'); /* one byte too many: it is not decoded, and must come back all the same */
    if (kind == 4)
        bytes.ptr[4] = 99; /* an unknown schema */
    *ret_type = message_name(message.type);
    return arena_dup(arena, buf_str(&bytes));
}

static void record_make(struct random_source *source, struct arena *arena, struct log_record *record,
                        struct log_header *headers) {
    struct str type;
    record->key = random_text(source);
    record->value = random_event(source, arena, record->topic, &type);
    record->headers = headers;
    record->header_count = (size_t)random_below(source, HEADERS_MAX);
    headers[0] = (struct log_header){STR("ce_type"), type};
    for (size_t i = 1; i < record->header_count; i++) {
        headers[i].name = random_text(source);
        headers[i].name = headers[i].name.ptr ? headers[i].name : STR("twice");
        headers[i].value = random_text(source);
    }
}

static void make(const char *url, const char *seed, const char *count) {
    struct log_restore *restore;
    struct random_source source = {(uint64_t)atoll(seed)};
    int64_t next[sizeof topics / sizeof topics[0]][PARTITIONS] = {0}, time_us;
    struct arena arena;
    arena_init(&arena);
    must(clock_parse(STR("2026-01-01T08:00:00Z"), &time_us));
    struct str names[sizeof topics / sizeof topics[0]];
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
        names[i] = str_from(topics[i]);
    must(log_restore_open(url, names, sizeof topics / sizeof topics[0], &restore, &err));
    must(topics_create(log_restore_log(restore), PARTITIONS, &err));
    must(log_topics_create(log_restore_log(restore), &(struct log_topic_spec){"other.topic", PARTITIONS, -1, false}, 1,
                           &err));
    for (int64_t i = 0; i < atoll(count); i++) {
        struct log_header headers[HEADERS_MAX];
        size_t topic = (size_t)random_below(&source, sizeof topics / sizeof topics[0]);
        int32_t partition = (int32_t)random_below(&source, PARTITIONS);
        struct log_record record = {.topic = str_from(topics[topic]), .partition = partition};
        /* Several of the same time, some seconds, now and then an hour without any. */
        time_us += random_below(&source, 3) ? 0 : (int64_t)random_below(&source, 20 * 1000 * 1000);
        time_us += random_below(&source, 1000) ? 0 : INT64_C(3600) * 1000 * 1000;
        record.timestamp_us = time_us;
        record.offset = next[topic][partition]++;
        record_make(&source, &arena, &record, headers);
        must(log_restore_add(restore, &record, &err));
        arena_reset(&arena);
    }
    must(log_restore_settle(restore, &err));
    must(log_restore_finish(restore, &err));
    log_restore_close(restore);
    arena_free(&arena);
}

static void append(const char *url, const char *count, const char *size) {
    struct log *log;
    struct log_producer *producer;
    size_t len = (size_t)atoll(size);
    char *bytes = mem_alloc(len);
    must(log_open(url, NULL, &log, &err));
    must(topics_create(log, PARTITIONS, &err));
    must(log_producer_open(log, NULL, &producer, &err));
    for (int64_t i = 0; i < atoll(count); i++) {
        random_bytes(bytes, len);
        struct log_record record = {.topic = STR(TOPIC_ORDER_EVENTS), .key = STR("k"), .value = {bytes, len}};
        record.partition = (int32_t)(i % PARTITIONS);
        must(log_append_wait(producer, &record, 10000, NULL, NULL, &err));
    }
    log_producer_close(producer);
    log_close(log);
    free(bytes);
}

/* ---- dump ---- */

static void print_hex(struct str bytes) {
    putchar(' ');
    if (!bytes.ptr)
        putchar('-');
    for (size_t i = 0; i < bytes.len; i++)
        printf("%02x", (unsigned char)bytes.ptr[i]);
}

static void print_record(const struct log_record *record) {
    printf("%.*s %d %" PRId64 " %" PRId64, STR_ARG(record->topic), record->partition, record->offset,
           record->timestamp_us);
    print_hex(record->key);
    print_hex(record->value);
    for (size_t i = 0; i < record->header_count; i++) {
        print_hex(record->headers[i].name);
        print_hex(record->headers[i].value);
    }
    putchar('\n');
}

static void dump_partition(struct log *log, struct str topic, int32_t partition) {
    struct log_consumer *consumer;
    int64_t low, high, next;
    must(log_watermarks(log, topic, partition, &low, &high, &err));
    must(log_consumer_open_manual(log, &consumer, &err));
    must(log_consumer_seek(consumer, topic, partition, low, &err));
    for (next = low; next < high;) {
        struct log_batch batch;
        must(log_consumer_poll(consumer, 1000, 1000, &batch, &err));
        for (size_t i = 0; i < batch.count; i++, next++)
            print_record(&batch.records[i]);
    }
    log_consumer_close(consumer);
}

static void dump(const char *url) {
    struct log *log;
    struct log_topic *list;
    size_t count;
    must(log_open(url, &(struct log_options){.read_only = true}, &log, &err));
    must(log_topics_list(log, &list, &count, &err));
    for (size_t i = 0; i < count; i++)
        for (int32_t partition = 0; partition < list[i].partitions && !str_eq(list[i].name, STR(TOPIC_PERSONAL));
             partition++)
            dump_partition(log, list[i].name, partition);
    free(list);
    log_close(log);
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "make") == 0)
        make(argv[2], argv[3], argv[4]);
    else if (argc == 5 && strcmp(argv[1], "append") == 0)
        append(argv[2], argv[3], argv[4]);
    else if (argc == 3 && strcmp(argv[1], "dump") == 0)
        dump(argv[2]);
    else
        return fprintf(stderr, "usage: archive_log make|append|dump URL …\n"), 2;
    return 0;
}
