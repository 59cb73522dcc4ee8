/* Records as bytes, and the checksum. */
#include "core/log/record_codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/log/append.h"
#include "core/log/crc32c.h"

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
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

static void comes_back_as_it_was(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t before = bytes.len;
        record_encode(&bytes, &samples[i]);
        assert_int_equal(bytes.len - before, record_encoded_size(&samples[i]));
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
        STR("\x01\x40"),                         /* an unknown flag */
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
        cmocka_unit_test(refuses_what_is_cut_off), cmocka_unit_test(refuses_what_no_encoder_writes),
        cmocka_unit_test(survives_damaged_bytes),  cmocka_unit_test(varints_are_minimal),
        cmocka_unit_test(crc32c_is_castagnolis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
