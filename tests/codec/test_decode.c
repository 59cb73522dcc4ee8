/* What decoding accepts and refuses, byte by byte, on types made by hand: also those that no schema uses today. */
#include "core/codec/avro.h"

#include <inttypes.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct schema_type boolean_type = {.kind = SCHEMA_BOOLEAN, .size = sizeof(bool)};
static const struct schema_type int_type = {.kind = SCHEMA_INT, .size = sizeof(int32_t)};
static const struct schema_type long_type = {.kind = SCHEMA_LONG, .size = sizeof(int64_t)};
static const struct schema_type string_type = {.kind = SCHEMA_STRING, .size = sizeof(struct str)};
static const struct schema_type bytes_type = {.kind = SCHEMA_BYTES, .size = sizeof(struct str)};
static const struct schema_type longs_type = {
    .kind = SCHEMA_ARRAY, .size = sizeof(struct schema_list), .item = &long_type};
static const struct schema_type opt_boolean_type = {
    .kind = SCHEMA_OPTION, .size = sizeof(struct opt_long), .item = &boolean_type};
static const struct schema_type opt_bytes_type = {
    .kind = SCHEMA_OPTION, .size = sizeof(struct str), .item = &bytes_type};

/* As read from an older writer: its symbols were b, gone, a. */
static const struct schema_type enum_type = {.kind = SCHEMA_ENUM,
                                             .size = sizeof(int32_t),
                                             .symbols = (const char *const[]){"a", "b"},
                                             .symbol_map = (const int32_t[]){1, -1, 0},
                                             .symbol_count = 3};

static struct arena arena;
static struct err err;

static int set_up(void **state) {
    (void)state;
    arena_init(&arena);
    err = (struct err){0};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static void accept(const struct schema_type *type, struct str bytes, void *ret) {
    if (!avro_decode_whole(type, bytes, &arena, ret, &err))
        fail_msg("%s", err.detail);
}

static void refuse(const struct schema_type *type, struct str bytes, const char *what) {
    char untouched[64];
    memset(untouched, 0x55, sizeof untouched);
    err = (struct err){0};
    assert_true(type->size <= sizeof untouched);
    assert_false(avro_decode_whole(type, bytes, &arena, untouched, &err));
    assert_int_equal(err.kind, ERR_CORRUPT);
    if (!strstr(err.detail, what))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, what);
    for (size_t i = 0; i < sizeof untouched; i++)
        assert_int_equal(untouched[i], 0x55);
    assert_true(arena_bytes(&arena) < 32 * 1024);
}

static void numbers(void **state) {
    (void)state;
    int64_t wide;
    int32_t narrow;
    accept(&long_type, STR("\x00"), &wide);
    assert_int_equal(wide, 0);
    accept(&long_type, STR("\x01"), &wide);
    assert_true(wide == -1);
    accept(&long_type, STR("\x80\x01"), &wide);
    assert_int_equal(wide, 64);
    accept(&long_type, STR("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), &wide);
    assert_true(wide == INT64_MAX);
    accept(&long_type, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), &wide);
    assert_true(wide == INT64_MIN);
    accept(&int_type, STR("\xFE\xFF\xFF\xFF\x0F"), &narrow);
    assert_true(narrow == INT32_MAX);
    accept(&int_type, STR("\xFF\xFF\xFF\xFF\x0F"), &narrow);
    assert_true(narrow == INT32_MIN);
    refuse(&int_type, STR("\x80\x80\x80\x80\x10"), "does not fit 32 bits");
    refuse(&int_type, STR("\x81\x80\x80\x80\x10"), "does not fit 32 bits");
    refuse(&long_type, STR("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02"), "does not fit 64 bits");
    refuse(&long_type, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), "does not fit 64 bits");
    refuse(&long_type, STR("\x80\x00"), "longer than it need be");
    refuse(&long_type, STR("\x82\x80\x00"), "longer than it need be");
    refuse(&long_type, STR(""), "byte 0: a number is cut off");
    refuse(&long_type, STR_NULL, "byte 0: a number is cut off");
    refuse(&long_type, STR("\x80"), "byte 0: a number is cut off");
    refuse(&long_type, STR("\x02\x02"), "byte 1: there is more behind");
}

static void booleans(void **state) {
    (void)state;
    bool value = true;
    accept(&boolean_type, STR("\x00"), &value);
    assert_false(value);
    accept(&boolean_type, STR("\x01"), &value);
    assert_true(value);
    refuse(&boolean_type, STR("\x02"), "neither 0 nor 1");
    refuse(&boolean_type, STR("\xFF"), "neither 0 nor 1");
    refuse(&boolean_type, STR(""), "cut off");
}

static void texts(void **state) {
    (void)state;
    struct str value = STR_NULL;
    accept(&string_type, STR("\x00"), &value);
    assert_non_null(value.ptr); /* empty is not absent */
    assert_int_equal(value.len, 0);
    struct str input = STR("\x06"
                           "a\xC3\xA9");
    accept(&string_type, input, &value);
    assert_ptr_equal(value.ptr, input.ptr + 1); /* borrowed */
    assert_int_equal(value.len, 3);
    refuse(&string_type, STR("\x01"), "length is negative or more");
    refuse(&string_type,
           STR("\x04"
               "a"),
           "length is negative or more");
    refuse(&string_type, STR("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), "length is negative or more");
    refuse(&string_type, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), "length is negative or more");
    refuse(&string_type, STR("\x02\xFF"), "not UTF-8");
    refuse(&string_type, STR("\x04\xC0\x80"), "not UTF-8");     /* an overlong zero */
    refuse(&string_type, STR("\x06\xED\xA0\x80"), "not UTF-8"); /* half of a surrogate pair */
    refuse(&string_type, STR("\x12xxxxxxxx\xE2"), "not UTF-8"); /* cut off by the end of the string */
    accept(&bytes_type, STR("\x02\xFF"), &value);
    assert_int_equal(value.len, 1);
}

static void enums(void **state) {
    (void)state;
    int32_t symbol;
    accept(&enum_type, STR("\x00"), &symbol);
    assert_int_equal(symbol, 1);
    accept(&enum_type, STR("\x04"), &symbol);
    assert_int_equal(symbol, 0);
    refuse(&enum_type, STR("\x02"), "known no more");
    refuse(&enum_type, STR("\x06"), "no such symbol");
    refuse(&enum_type, STR("\x01"), "no such symbol");
    refuse(&enum_type, STR("\xFE\xFF\xFF\xFF\x0F"), "no such symbol");
}

static void check_encoded(const struct schema_type *type, const void *value, struct str expected) {
    BUF_AUTO bytes = {0};
    avro_encode(type, value, &bytes);
    assert_int_equal(bytes.len, expected.len);
    assert_memory_equal(bytes.ptr, expected.ptr, expected.len);
}

static void options_encoded(void **state) {
    (void)state;
    check_encoded(&opt_boolean_type, &(struct opt_long){true, 1}, STR("\x02\x01"));
    check_encoded(&opt_boolean_type, &(struct opt_long){true, 0}, STR("\x02\x00"));
    check_encoded(&opt_boolean_type, &(struct opt_long){false, 1}, STR("\x00"));
    check_encoded(&opt_bytes_type, &STR_NULL, STR("\x00"));
    check_encoded(&opt_bytes_type, &STR(""), STR("\x02\x00"));
    check_encoded(&bytes_type, &STR_NULL, STR("\x00"));
}

static void options(void **state) {
    (void)state;
    struct opt_long flag;
    struct str bytes;
    accept(&opt_boolean_type, STR("\x00"), &flag);
    assert_false(flag.has);
    accept(&opt_boolean_type, STR("\x02\x01"), &flag);
    assert_true(flag.has);
    assert_int_equal(flag.value, 1);
    accept(&opt_bytes_type, STR("\x00"), &bytes);
    assert_null(bytes.ptr);
    accept(&opt_bytes_type, STR("\x02\x00"), &bytes);
    assert_non_null(bytes.ptr);
    refuse(&opt_boolean_type, STR("\x02\x02"), "neither 0 nor 1");
    refuse(&opt_boolean_type, STR("\x04\x01"), "neither absent nor present");
    refuse(&opt_boolean_type, STR("\x01\x01"), "neither absent nor present");
    refuse(&opt_bytes_type, STR("\x02"), "cut off");
}

static void check_longs(struct str bytes, int64_t count) {
    struct schema_list list;
    accept(&longs_type, bytes, &list);
    assert_int_equal(list.count, count);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(((int64_t *)list.items)[i], i + 1);
}

/* A list comes in blocks; a negative count is followed by the block's size in bytes. */
static void lists(void **state) {
    (void)state;
    check_longs(STR("\x00"), 0);
    check_longs(STR("\x06\x02\x04\x06\x00"), 3);
    check_longs(STR("\x02\x02\x04\x04\x06\x00"), 3);
    check_longs(STR("\x05\x06\x02\x04\x06\x00"), 3);
    check_longs(STR("\x01\x02\x02\x02\x04\x03\x04\x06\x08\x00"), 4);
    refuse(&longs_type, STR("\x06\x02\x04\x06"), "byte 4: a number is cut off");
    refuse(&longs_type, STR("\x08\x02\x04\x06"), "more items than there are bytes");
    refuse(&longs_type, STR("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x00"), "more items than there are bytes");
    refuse(&longs_type, STR("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x00"), "block's size");
    refuse(&longs_type, STR("\x05\x08\x02\x04\x06\x00"), "not as long as it says");
    refuse(&longs_type, STR("\x05\x04\x02\x04\x06\x00"), "not as long as it says");
    refuse(&longs_type, STR("\x05\x0C\x02\x04\x06\x00"), "block's size");
    refuse(&longs_type, STR("\x05\x01\x02\x04\x06\x00"), "block's size");
    refuse(&longs_type, STR("\x05"), "cut off");
}

/* Many small blocks cost twice the list, not its square. */
static void many_blocks(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    BUF_AUTO bytes = {0};
    struct schema_list list;
    for (int i = 0; i < COUNT; i++)
        buf_add(&bytes, "\x02\x02", 2);
    buf_add_char(&bytes, 0);
    accept(&longs_type, buf_str(&bytes), &list);
    assert_int_equal(list.count, COUNT);
    assert_true(arena_bytes(&arena) <= 4 * COUNT * sizeof(int64_t) + 64 * 1024);
}

/* How many bytes an item needs at least is counted, so that a large struct is no lever. */
static void the_least_size_of_an_item_counts(void **state) {
    (void)state;
    struct pair {
        int64_t a;
        struct str b;
    };
    static const struct schema_field fields[] = {{"a", &long_type, offsetof(struct pair, a)},
                                                 {"b", &string_type, offsetof(struct pair, b)}};
    static const struct schema_type pair_type = {
        .kind = SCHEMA_RECORD, .size = sizeof(struct pair), .fields = fields, .field_count = 2};
    static const struct schema_type pairs_type = {
        .kind = SCHEMA_ARRAY, .size = sizeof(struct schema_list), .item = &pair_type};
    struct schema_list list;
    accept(&pairs_type, STR("\x04\x00\x00\x00\x00\x00"), &list);
    assert_int_equal(list.count, 2);
    refuse(&pairs_type, STR("\x06\x00\x00\x00\x00\x00"), "more items than there are bytes");
    /* The generator refuses lists of nothing; if one came to be, it could still not claim more than its bytes. */
    static const struct schema_type nothing_type = {.kind = SCHEMA_RECORD, .name = "nothing"};
    static const struct schema_type nothings_type = {
        .kind = SCHEMA_ARRAY, .size = sizeof(struct schema_list), .item = &nothing_type};
    refuse(&nothings_type, STR("\xFE\xFF\xFF\xFF\x0F\x00"), "more items than there are bytes");
}

struct today {
    int32_t kept;
    struct str added;
    struct schema_list list;
};

/* A writer's fields that the reader lacks are checked and dropped; the reader's that the writer lacks get defaults. */
static void skipped_fields_and_defaults(void **state) {
    (void)state;
    static const struct schema_type skipped_enum = {.kind = SCHEMA_ENUM, .size = sizeof(int32_t), .symbol_count = 2};
    static const struct schema_field inner_fields[] = {{"text", &string_type, SCHEMA_SKIP}};
    static const struct schema_type inner = {.kind = SCHEMA_RECORD, .fields = inner_fields, .field_count = 1};
    static const struct schema_type opt_inner = {.kind = SCHEMA_OPTION, .size = sizeof(void *), .item = &inner};
    static const struct schema_type inners = {.kind = SCHEMA_ARRAY, .size = sizeof(struct schema_list), .item = &inner};
    static const struct schema_field fields[] = {
        {"flag", &boolean_type, SCHEMA_SKIP},   {"opt_flag", &opt_boolean_type, SCHEMA_SKIP},
        {"symbol", &skipped_enum, SCHEMA_SKIP}, {"bytes", &opt_bytes_type, SCHEMA_SKIP},
        {"opt", &opt_inner, SCHEMA_SKIP},       {"many", &inners, SCHEMA_SKIP},
        {"longs", &longs_type, SCHEMA_SKIP},    {"kept", &int_type, offsetof(struct today, kept)},
    };
    static const struct schema_default defaults[] = {{&string_type, offsetof(struct today, added), "\004no", 3},
                                                     {&longs_type, offsetof(struct today, list), "\0", 1}};
    static const struct schema_type type = {.kind = SCHEMA_RECORD,
                                            .name = "Today",
                                            .size = sizeof(struct today),
                                            .fields = fields,
                                            .field_count = 8,
                                            .defaults = defaults,
                                            .default_count = 2};
    struct today value;
    accept(&type, STR("\1\2\1\2\2\2x\2\2y\4\2a\2b\0\2\2\0\x0E"), &value);
    assert_int_equal(value.kept, 7);
    assert_true(str_eq(value.added, STR("no")));
    assert_int_equal(value.list.count, 0);
    accept(&type, STR("\0\0\0\0\0\0\0\1"), &value);
    assert_int_equal(value.kept, -1);
    refuse(&type, STR("\2"), "Today: flag: byte 0");
    refuse(&type, STR("\0\2\2"), "Today: opt_flag: byte 2");
    refuse(&type, STR("\0\0\4"), "Today: symbol: byte 3: an enum has no such symbol");
    refuse(&type, STR("\0\0\0\2\4x"), "Today: bytes: byte 5");
    refuse(&type, STR("\0\0\0\0\2\2\xFF"), "Today: opt: text: byte 6: a string is not UTF-8");
    refuse(&type, STR("\0\0\0\0\0\x10\2x"), "Today: many: byte 6: a list claims more");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(booleans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(enums, set_up, tear_down),
        cmocka_unit_test_setup_teardown(options, set_up, tear_down),
        cmocka_unit_test(options_encoded),
        cmocka_unit_test_setup_teardown(lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_least_size_of_an_item_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skipped_fields_and_defaults, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
