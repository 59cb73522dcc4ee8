/* Records as bytes, and the checksum. */
#include "core/log/record_codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log/append.h"
#include "core/log/crc32c.h"
#include "core/log/record_words.h"

static const struct log_header some_headers[] = {
    {STR("ce_id"), STR("1")}, {STR(""), STR("")}, {STR("gone"), STR_NULL}, {STR("ce_id"), {"\0\1\2", 3}}};

static void assert_same(struct str a, struct str b) {
    assert_int_equal(a.ptr == NULL, b.ptr == NULL);
    assert_true(str_eq(a, b));
}

static void assert_same_record(const struct log_record *a, const struct log_record *b) {
    assert_same(a->topic, b->topic);
    assert_same(a->key, b->key);
    assert_same(a->value, b->value);
    assert_int_equal(a->partition, b->partition);
    assert_int_equal(a->timestamp_us, b->timestamp_us);
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        assert_same(a->headers[i].name, b->headers[i].name);
        assert_same(a->headers[i].value, b->headers[i].value);
    }
}

/* As this program writes them. */
static const struct log_header our_headers[] = {
    {STR("ce_specversion"), STR("1.0")},
    {STR("ce_id"), STR("1")},
    {STR("ce_source"), STR("/orderlog/orders/3")},
    {STR("ce_type"), STR("shop.order.v1.OrderPlaced")},
    {STR("ce_time"), STR("2026-01-01T00:00:00Z")},
    {STR("ce_subject"), STR("key")},
    {STR("ce_subject"), STR("another")},
    {STR("content-type"), STR("application/avro")},
    {STR("origin"), STR("orders/3")},
    {STR("origin_seq"), STR("300")},
    {STR("command_id"), STR("2")},
    {STR("traceparent"), STR_NULL},
    {STR("body_hash"), STR("")},
};
static const struct log_header nearly_ours[] = {
    {STR("ce_specversion"), STR("2.0")},
    {STR("content-type"), STR_NULL},
    {STR("ce_subject"), STR_NULL},
    {STR("ce_type"), STR("shop.order.v1.OrderForgotten")},
    {STR("ce_type"), STR_NULL},
    {STR("ce_type"), STR("x")},
    {STR("CE_ID"), STR("1")},
};
static struct log_header very_many[40];

static const struct log_record samples[] = {
    {.partition = LOG_BY_KEY},
    {.partition = LOG_BY_KEY, .key = STR(""), .value = STR("")},
    {.partition = 0, .timestamp_us = -1, .key = STR("k")},
    {.topic = STR("shop.order.events.v1"),
     .partition = INT32_MAX,
     .timestamp_us = INT64_MAX,
     .key = STR("key"),
     .value = STR("value"),
     .headers = some_headers,
     .header_count = 4},
    {.topic = STR(""), .partition = 11, .timestamp_us = INT64_MIN, .headers = some_headers, .header_count = 1},
    {.topic = STR("shop.stock.events.v1"),
     .partition = 1,
     .key = STR("key"),
     .headers = our_headers,
     .header_count = 13},
    {.partition = LOG_BY_KEY, .headers = our_headers, .header_count = 13},
    {.partition = LOG_BY_KEY, .key = STR(""), .headers = nearly_ours, .header_count = 7},
    {.partition = LOG_BY_KEY, .headers = very_many, .header_count = 40},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

static void comes_back_as_it_was(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    for (size_t i = 0; i < 40; i++)
        very_many[i] = our_headers[i % 13];
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t before = bytes.len, len;
        record_encode(&bytes, &samples[i]);
        char *block = record_encode_behind(7, &samples[i], &len);
        assert_int_equal(bytes.len - before, len);
        assert_memory_equal(bytes.ptr + before, block + 7, len);
        free(block);
    }
    struct arena arena;
    arena_init(&arena);
    struct str rest = buf_str(&bytes), skipped = rest;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct log_record record;
        struct err err;
        assert_true(record_decode(&rest, &arena, &record, &err));
        assert_same_record(&record, &samples[i]);
        assert_true(record_skip(&skipped, &err));
        assert_ptr_equal(skipped.ptr, rest.ptr);
    }
    assert_int_equal(rest.len, 0);
    arena_free(&arena);
}

/* The stored bytes may never change their meaning: logs outlive programs. */
static void bytes_are_these(void **state) {
    (void)state;
    const struct log_header headers[] = {{STR("h"), STR("v")}, {STR("n"), STR_NULL}};
    const struct log_record record = {.topic = STR("t"),
                                      .partition = 300,
                                      .timestamp_us = -2,
                                      .key = STR("k"),
                                      .value = STR(""),
                                      .headers = headers,
                                      .header_count = 2};
    /* length, flags, topic, partition, time, key, value, two headers */
    static const struct str golden = STR("\x11\x3f"
                                         "\x01t"
                                         "\xac\x02"
                                         "\x03"
                                         "\x01k"
                                         "\x00"
                                         "\x02\x01h\x02v\x01n\x00");
    BUF_AUTO bytes = {0};
    record_encode(&bytes, &record);
    assert_true(str_eq(buf_str(&bytes), golden));
}

static void short_bytes_are_these(void **state) {
    (void)state;
    const struct log_record record = {.topic = STR("shop.cart.events.v1"),
                                      .partition = LOG_BY_KEY,
                                      .key = STR("key"),
                                      .headers = our_headers,
                                      .header_count = 13};
    /* length, flags, topic, key, thirteen headers */
    static const struct str golden = STR("\x58\xc8"
                                         "\x01"
                                         "\x03key"
                                         "\x0d\x01"
                                         "\x02\x02"
                                         "1"
                                         "\x03\x13/orderlog/orders/3"
                                         "\x04\x33"
                                         "\x05\x15"
                                         "2026-01-01T00:00:00Z"
                                         "\x06\x07\x08"
                                         "another"
                                         "\x08\x09\x09orders/3"
                                         "\x0a\x04"
                                         "300"
                                         "\x0b\x02"
                                         "2"
                                         "\x0c\x00\x0d\x01");
    BUF_AUTO bytes = {0};
    record_encode(&bytes, &record);
    assert_true(str_eq(buf_str(&bytes), golden));
}

/* The numbers may never change their meaning either. */
static void words_are_these(void **state) {
    (void)state;
    struct str word, other;
    enum { RELEASED = 98 };
    uint32_t count = 0, sum = 0;
    while (record_word_get(count + 1, &word)) {
        assert_int_equal(record_word_find(word), ++count);
        if (count <= RELEASED)
            sum = crc32c(sum, word.ptr, word.len);
    }
    assert_true(count >= RELEASED);
    assert_int_equal(sum, 0xd7b5c0f1);
    assert_false(record_word_get(0, &other));
    assert_int_equal(record_word_find(STR("")), 0);
    assert_int_equal(record_word_find(STR("shop.order")), 0);
}

static void refuses_what_is_cut_off(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    record_encode(&bytes, &samples[3]);
    struct arena arena;
    arena_init(&arena);
    for (size_t len = 0; len < bytes.len; len++) {
        char *exact = malloc(len + 1); /* so that a sanitizer sees a byte too many */
        memcpy(exact, bytes.ptr, len);
        exact = realloc(exact, len ? len : 1);
        struct str rest = {exact, len};
        struct log_record record;
        struct err err = {0};
        assert_false(record_decode(&rest, &arena, &record, &err));
        assert_int_equal(err.kind, ERR_CORRUPT);
        assert_int_equal(rest.len, len);
        assert_ptr_equal(rest.ptr, exact);
        assert_false(record_skip(&rest, &err));
        free(exact);
    }
    arena_free(&arena);
}

static void refuses_what_no_encoder_writes(void **state) {
    (void)state;
    static const struct str hostile[] = {
        STR("\x00"),                             /* no flags */
        STR("\x01\x40"),                         /* headers without a count */
        STR("\x03\x40\x01\x0e"),                 /* a header of no number */
        STR("\x03\x40\x01\x06"),                 /* as the key, but there is none */
        STR("\x04\x40\x01\x04\x00"),             /* a type of no number */
        STR("\x05\x60\x01\x01h\x00"),            /* headers of both kinds */
        STR("\x04\x81\x01t\x01"),                /* topics of both kinds */
        STR("\x03\x80\xe7\x07"),                 /* a topic of no number */
        STR("\x02\x00x"),                        /* a byte too many */
        STR("\x02\x20\x00"),                     /* headers, but none */
        STR("\x07\x20\xff\xff\xff\xff\x0f\x00"), /* 4 billion headers */
        STR("\x03\x08\x7f"
            "a"), /* a key longer than the record */
        STR("\x07\x02\xff\xff\xff\xff\x7f"
            "a"),                                            /* a partition over 31 bits */
        STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x00"), /* a length over 64 bits */
        STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"), /* a length of 2^64 - 1 */
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        struct str rest = hostile[i];
        struct log_record record;
        struct err err = {0};
        assert_false(record_decode(&rest, &arena, &record, &err));
        assert_int_equal(err.kind, ERR_CORRUPT);
    }
    assert_true(arena_bytes(&arena) < 100000);
    arena_free(&arena);
}

/* Whatever the bytes, no read outside of them, and little memory. */
static void survives_damaged_bytes(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    for (size_t i = 0; i < SAMPLES; i++)
        record_encode(&bytes, &samples[i]);
    struct arena arena;
    arena_init(&arena);
    srand(1);
    char *copy = malloc(bytes.len);
    for (int round = 0; round < 100000; round++) {
        memcpy(copy, bytes.ptr, bytes.len);
        for (int i = rand() % 8; i >= 0; i--)
            copy[(size_t)rand() % bytes.len] = (char)rand();
        struct str rest = {copy, bytes.len};
        struct log_record record;
        while (rest.len && record_decode(&rest, &arena, &record, NULL))
            assert_true(record.value.len <= bytes.len && record.header_count <= bytes.len);
        assert_true(arena_bytes(&arena) <= 64 * 1024);
        arena_reset(&arena);
    }
    free(copy);
    arena_free(&arena);
}

static void varints_are_minimal(void **state) {
    (void)state;
    for (int bit = 0; bit < 64; bit++)
        for (int below = 0; below < 2; below++) {
            uint64_t value = ((uint64_t)1 << bit) - (uint64_t)below, back = 1;
            char bytes[VARINT_MAX_SIZE];
            size_t size = (size_t)(varint_encode(bytes, value) - bytes);
            assert_int_equal(size, varint_size(value));
            struct str rest = {bytes, size};
            assert_true(varint_decode(&rest, &back));
            assert_true(back == value && rest.len == 0);
        }
}

static void crc32c_is_castagnolis(void **state) {
    (void)state;
    char bytes[100];
    assert_true(crc32c(0, "", 0) == 0);
    assert_true(crc32c(0, "123456789", 9) == 0xe3069283);
    memset(bytes, 0, 32);
    assert_true(crc32c(0, bytes, 32) == 0x8a9136aa); /* RFC 3720, B.4 */
    memset(bytes, 0xff, 32);
    assert_true(crc32c(0, bytes, 32) == 0x62a8ab43);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37);
    for (size_t from = 0; from < 10; from++)
        for (size_t len = 0; len + from <= sizeof bytes; len++) {
            uint32_t whole = crc32c(0, bytes + from, len), half = crc32c(0, bytes + from, len / 2);
            assert_true(whole == crc32c_portable(0, bytes + from, len));
            assert_true(whole == crc32c(half, bytes + from + len / 2, len - len / 2));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),    cmocka_unit_test(bytes_are_these),
        cmocka_unit_test(short_bytes_are_these),   cmocka_unit_test(words_are_these),
        cmocka_unit_test(refuses_what_is_cut_off), cmocka_unit_test(refuses_what_no_encoder_writes),
        cmocka_unit_test(survives_damaged_bytes),  cmocka_unit_test(varints_are_minimal),
        cmocka_unit_test(crc32c_is_castagnolis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
