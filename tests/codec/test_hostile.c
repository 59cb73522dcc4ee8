/* Bytes that nobody honest wrote: an error or a value, never a crash, a leak or more memory than the bytes are worth.
 */
#include "tests/codec/every.h"

/* What a decode may take from the system for `len` bytes: at the most some 16 bytes of struct for each (a list's
 * header, an absent option), twice when a list grows, and blocks of arena that are not full. */
static void check_memory(const struct arena *arena, size_t len) {
    assert_true(arena_bytes(arena) <= 64 * 1024 + 64 * len);
}

/* Decodes in memory of exactly that size, so that a sanitizer sees a read past its end. False: it was refused. */
static bool decode_exactly(const struct schema_subject *subject, const char *bytes, size_t len, struct buf *ret_again) {
    struct arena arena;
    struct err err = {0};
    const struct schema_type *type = NULL;
    const void *value = NULL;
    char *copy = mem_alloc(len);
    if (len)
        memcpy(copy, bytes, len);
    arena_init(&arena);
    bool ok = unframe(subject, (struct str){copy, len}, &arena, &type, &value, &err);
    check_memory(&arena, len);
    if (ok) {
        avro_encode(type, value, ret_again);
    } else {
        assert_int_not_equal(err.kind, ERR_NONE);
        assert_true(err.detail[0]);
    }
    arena_free(&arena);
    free(copy);
    return ok;
}

static void check_truncated(const struct sample *sample) {
    BUF_AUTO framed = {0}, again = {0};
    frame(sample, &framed);
    for (size_t len = 0; len < framed.len; len++)
        assert_false(decode_exactly(sample->subject, framed.ptr, len, &again));
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    every_record(7, 2, check_truncated);
}

/* A flip that leaves a value leaves one that can be written again, and that then reads as the same. (What becomes of a
 * damaged header is in test_values.c.) */
static void check_flipped(const struct sample *sample) {
    BUF_AUTO framed = {0};
    frame(sample, &framed);
    size_t bits = 8 * framed.len;
    size_t step = bits > 2000 ? bits / 2000 : 1;
    for (size_t bit = 8 * HEADER_SIZE; bit < bits; bit += step) {
        char mask = (char)(1 << bit % 8);
        BUF_AUTO once = {0}, twice = {0};
        framed.ptr[bit / 8] ^= mask;
        if (decode_exactly(sample->subject, framed.ptr, framed.len, &once)) {
            BUF_AUTO again = {0};
            buf_add(&again, framed.ptr, HEADER_SIZE + 1);
            buf_add_str(&again, buf_str(&once));
            assert_true(decode_exactly(sample->subject, again.ptr, again.len, &twice));
            assert_true(str_eq(buf_str(&once), buf_str(&twice)));
        }
        framed.ptr[bit / 8] ^= mask;
    }
}

static void every_flipped_bit_is_survived(void **state) {
    (void)state;
    every_record(8, 1, check_flipped);
}

/* Whole numbers written over the bytes: lengths and counts that are negative, huge, or endless. */
static void check_overwritten(const struct sample *sample) {
    static const struct str numbers[] = {
        {"\x01", 1},                                          /* -1 */
        {"\xFE\xFF\xFF\xFF\x0F", 5},                          /* 2147483647 */
        {"\xFF\xFF\xFF\xFF\x0F", 5},                          /* -2147483648 */
        {"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10},     /* INT64_MAX */
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10},     /* INT64_MIN */
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11}, /* without end */
        {"\x80\x00", 2},                                      /* 0, longer than it need be */
        {"\x80\x80\x40", 3},                                  /* 524288 */
    };
    BUF_AUTO framed = {0};
    frame(sample, &framed);
    for (size_t at = HEADER_SIZE + 1; at < framed.len; at++) {
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            BUF_AUTO hostile = {0}, again = {0};
            buf_add(&hostile, framed.ptr, at);
            buf_add_str(&hostile, numbers[i]);
            buf_add(&hostile, framed.ptr + at + 1, framed.len - at - 1);
            decode_exactly(sample->subject, hostile.ptr, hostile.len, &again);
        }
    }
}

static void hostile_numbers_are_survived(void **state) {
    (void)state;
    every_record(9, 1, check_overwritten);
}

/* Small numbers are likelier, so that the noise gets past the first field. */
static void check_noise(const struct sample *sample) {
    BUF_AUTO framed = {0}, again = {0};
    frame(sample, &framed);
    framed.len = HEADER_SIZE + 1;
    size_t len = random_below(sample->source, 400);
    for (size_t i = 0; i < len; i++) {
        uint64_t byte = random_below(sample->source, random_below(sample->source, 3) ? 8 : 256);
        buf_add_char(&framed, (char)byte);
    }
    decode_exactly(sample->subject, framed.ptr, framed.len, &again);
}

static void noise_is_survived(void **state) {
    (void)state;
    every_record(10, 500, check_noise);
}

/* A mebibyte of the cheapest bytes there are, for every record: zeros are empty lists and strings, ones of 0x02 are
 * present options and counts of one. */
static void check_long(const struct sample *sample) {
    enum { LEN = 1 << 20 };
    static char bytes[LEN];
    BUF_AUTO framed = {0}, again = {0};
    frame(sample, &framed);
    memset(bytes, random_below(sample->source, 2) ? 2 : 0, LEN);
    memcpy(bytes, framed.ptr, HEADER_SIZE + 1);
    decode_exactly(sample->subject, bytes, LEN, &again);
}

static void a_long_input_is_bounded(void **state) {
    (void)state;
    every_record(11, 2, check_long);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_refused),  cmocka_unit_test(every_flipped_bit_is_survived),
        cmocka_unit_test(hostile_numbers_are_survived), cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(a_long_input_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
