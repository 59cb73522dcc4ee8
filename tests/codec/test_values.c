/* Encode, decode, copy, compare and frame every record; what one record shows is in test_decode.c. */
#include "tests/codec/every.h"

static bool same_bytes(const struct schema_type *type, const void *a, const void *b) {
    BUF_AUTO x = {0}, y = {0};
    avro_encode(type, a, &x);
    avro_encode(type, b, &y);
    return str_eq(buf_str(&x), buf_str(&y));
}

static void check_round_trip(const struct sample *sample) {
    BUF_AUTO framed = {0};
    struct err err = {0};
    const struct schema_type *type = NULL;
    const void *value = NULL;
    frame(sample, &framed);
    assert_int_equal(framed.ptr[framed.len], 0); /* what a buf promises */
    if (!unframe(sample->subject, buf_str(&framed), sample->arena, &type, &value, &err))
        fail_msg("%s", err.detail);
    assert_ptr_equal(type, sample->type);
    assert_true(avro_equal(type, sample->value, value));
}

static void decodes_what_it_encoded(void **state) {
    (void)state;
    every_record(3, 100, check_round_trip);
}

/* One field made up anew: the two are equal exactly when their bytes are. */
static void check_equal(const struct sample *sample) {
    char *other = arena_alloc(sample->arena, sample->type->size);
    avro_copy(sample->type, sample->value, sample->arena, other);
    assert_true(avro_equal(sample->type, sample->value, other));
    const struct schema_field *field = &sample->type->fields[random_below(sample->source, sample->type->field_count)];
    random_value(sample->source, field->type, sample->arena, other + field->offset);
    bool same = same_bytes(sample->type, sample->value, other);
    assert_true(avro_equal(sample->type, sample->value, other) == same);
    assert_true(avro_equal(sample->type, other, sample->value) == same);
}

static void equal_means_the_same_bytes(void **state) {
    (void)state;
    every_record(4, 200, check_equal);
}

/* The original is gone when the copy is looked at: a sanitizer sees any pointer that was left. */
static void check_copy(const struct sample *sample) {
    struct arena own, target;
    BUF_AUTO bytes = {0};
    struct err err = {0};
    arena_init(&own);
    arena_init(&target);
    avro_encode(sample->type, sample->value, &bytes);
    void *original = arena_alloc(&own, sample->type->size);
    void *copy = arena_alloc(&target, sample->type->size);
    if (!avro_decode_whole(sample->type, buf_str(&bytes), &own, original, &err))
        fail_msg("%s", err.detail);
    avro_copy(sample->type, original, &target, copy);
    memset(bytes.ptr, 0xEE, bytes.len);
    arena_free(&own);
    assert_true(avro_equal(sample->type, sample->value, copy));
    arena_free(&target);
}

static void a_copy_shares_nothing(void **state) {
    (void)state;
    every_record(5, 10, check_copy);
}

/* Values one behind the other: each decode takes its own and no more. */
static void check_rest(const struct sample *sample) {
    BUF_AUTO bytes = {0};
    struct err err = {0};
    avro_encode(sample->type, sample->value, &bytes);
    size_t one = bytes.len;
    avro_encode(sample->type, sample->value, &bytes);
    struct str rest = buf_str(&bytes);
    void *value = arena_alloc(sample->arena, sample->type->size);
    for (int i = 0; i < 2; i++) {
        assert_true(avro_decode(sample->type, &rest, sample->arena, value, &err));
        assert_true(avro_equal(sample->type, sample->value, value));
        assert_int_equal(rest.len, i == 0 ? one : 0);
    }
    if (one)
        assert_false(avro_decode_whole(sample->type, buf_str(&bytes), sample->arena, value, &err));
}

static void decode_moves_on(void **state) {
    (void)state;
    every_record(6, 10, check_rest);
}

static void subjects_and_versions_are_found(void **state) {
    (void)state;
    for (size_t i = 0; i < SCHEMA_SUBJECT_COUNT; i++) {
        const struct schema_subject *subject = &schema_subjects[i];
        assert_ptr_equal(schema_subject_find(str_from(subject->name)), subject);
        assert_ptr_equal(subject->current->subject, subject);
        assert_null(schema_subject_find((struct str){subject->name, strlen(subject->name) - 1}));
    }
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++)
        assert_ptr_equal(schema_version_find(schema_versions[i].id), &schema_versions[i]);
    assert_null(schema_subject_find(STR("")));
    assert_null(schema_subject_find(STR_NULL));
    assert_null(schema_subject_find(STR("zzz")));
    assert_null(schema_version_find(0));
    assert_null(schema_version_find(-1));
    assert_null(schema_version_find(INT32_MAX));
}

static void messages_have_names(void **state) {
    (void)state;
    assert_true(str_eq(message_name(MESSAGE_ORDER_PLACED), STR("shop.order.v1.OrderPlaced")));
    assert_null(message_name(MESSAGE_UNKNOWN).ptr);
    assert_null(message_name(MESSAGE_TYPE_COUNT).ptr);
}

static void the_header_is_confluents(void **state) {
    (void)state;
    const struct schema_subject *subject = schema_subject_find(STR(TOPIC_CATALOGUE_EVENTS));
    struct message message = {.type = MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN,
                              .catalogue_product_withdrawn = {STR("A"), STR("b"), STR("")}};
    BUF_AUTO bytes = {0};
    buf_add_str(&bytes, STR("before"));
    assert_true(message_encode(subject, &message, &bytes, NULL));
    const unsigned char expected[] = {0, 0, 0, 0, (unsigned char)subject->current->id, 2, 2, 'A', 2, 'b', 0};
    assert_int_equal(bytes.len, 6 + sizeof expected);
    assert_memory_equal(bytes.ptr + 6, expected, sizeof expected);
}

static void a_record_of_another_topic_is_not_encoded(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    struct err err = {0};
    const struct schema_subject *subject = schema_subject_find(STR(TOPIC_CATALOGUE_EVENTS));
    assert_false(message_encode(subject, &(struct message){.type = MESSAGE_ORDER_PLACED}, &bytes, &err));
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_non_null(strstr(err.detail, "shop.order.v1.OrderPlaced"));
    assert_false(message_encode(subject, &(struct message){.type = MESSAGE_UNKNOWN}, &bytes, &err));
    /* A subject that is no union of messages has branches without a type. */
    subject = schema_subject_find(STR("view/order"));
    assert_false(message_encode(subject, &(struct message){.type = MESSAGE_UNKNOWN}, &bytes, &err));
    assert_int_equal(bytes.len, 0);
}

/* Framed bytes that cannot be decoded leave the result alone, and say what is wrong. */
static void refuse(const char *topic, const char *bytes, size_t len, enum err_kind kind, const char *what) {
    struct arena arena;
    struct err err = {0};
    struct message message, before;
    memset(&message, 0x55, sizeof message);
    before = message;
    arena_init(&arena);
    assert_false(
        message_decode(schema_subject_find(str_from(topic)), (struct str){bytes, len}, &arena, &message, &err));
    assert_int_equal(err.kind, kind);
    if (!strstr(err.detail, what))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, what);
    assert_memory_equal(&message, &before, sizeof message);
    assert_false(
        message_decode(schema_subject_find(str_from(topic)), (struct str){bytes, len}, &arena, &message, NULL));
    arena_free(&arena);
}

static void bad_frames_are_refused(void **state) {
    (void)state;
    const struct schema_subject *subject = schema_subject_find(STR(TOPIC_CATALOGUE_EVENTS));
    struct message message = {.type = MESSAGE_CATALOGUE_PRODUCT_WITHDRAWN,
                              .catalogue_product_withdrawn = {STR("A"), STR("b"), STR("")}};
    BUF_AUTO bytes = {0};
    assert_true(message_encode(subject, &message, &bytes, NULL));
    refuse(TOPIC_CATALOGUE_EVENTS, NULL, 0, ERR_POISON, "no schema id");
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, 4, ERR_POISON, "no schema id");
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, HEADER_SIZE, ERR_POISON, "no such record");
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, bytes.len - 1, ERR_POISON, "body_hash: byte 4");
    refuse(TOPIC_ORDER_EVENTS, bytes.ptr, bytes.len, ERR_POISON, "is one of shop.catalogue.events.v1");
    bytes.ptr[HEADER_SIZE] = 4;
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, bytes.len, ERR_POISON, "no such record");
    bytes.ptr[HEADER_SIZE] = 1; /* -1 */
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, bytes.len, ERR_POISON, "no such record");
    bytes.ptr[HEADER_SIZE] = (char)0x82; /* 1, but longer than it need be */
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, bytes.len, ERR_POISON, "no such record");
    bytes.ptr[HEADER_SIZE] = 2;
    buf_add_char(&bytes, '\0');
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, bytes.len, ERR_POISON, "more behind");
    bytes.ptr[0] = 1;
    refuse(TOPIC_CATALOGUE_EVENTS, bytes.ptr, bytes.len - 1, ERR_POISON, "no schema id");
    refuse(TOPIC_CATALOGUE_EVENTS, "\0\x7F\xFF\xFF\xFF\2", 6, ERR_UNKNOWN_SCHEMA, "2147483647");
    refuse(TOPIC_CATALOGUE_EVENTS, "\0\xFF\xFF\xFF\xFF\2", 6, ERR_UNKNOWN_SCHEMA, "4294967295");
}

static void damaged_state_is_corrupt(void **state) {
    (void)state;
    struct arena arena;
    struct err err = {0};
    BUF_AUTO bytes = {0};
    arena_init(&arena);
    const struct schema_subject *subject = schema_subject_find(STR("view/order"));
    size_t size = subject->current->branches[0].type->size;
    state_encode(subject, arena_alloc(&arena, size), &bytes);
    char *decoded = memset(arena_alloc(&arena, size), 0x55, size);
    assert_false(state_decode(subject, (struct str){bytes.ptr, bytes.len - 1}, &arena, decoded, &err));
    assert_int_equal(err.kind, ERR_CORRUPT);
    buf_add_char(&bytes, 0);
    assert_false(state_decode(subject, buf_str(&bytes), &arena, decoded, &err));
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_false(state_decode(schema_subject_find(STR("view/cart")), buf_str(&bytes), &arena, decoded, &err));
    assert_int_equal(err.kind, ERR_CORRUPT);
    assert_false(state_decode(subject, STR("\0\x7F\xFF\xFF\xFF\0"), &arena, decoded, &err));
    assert_int_equal(err.kind, ERR_UNKNOWN_SCHEMA);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(decoded[i], 0x55);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_it_encoded),         cmocka_unit_test(equal_means_the_same_bytes),
        cmocka_unit_test(a_copy_shares_nothing),           cmocka_unit_test(decode_moves_on),
        cmocka_unit_test(subjects_and_versions_are_found), cmocka_unit_test(messages_have_names),
        cmocka_unit_test(the_header_is_confluents),        cmocka_unit_test(a_record_of_another_topic_is_not_encoded),
        cmocka_unit_test(bad_frames_are_refused),          cmocka_unit_test(damaged_state_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
