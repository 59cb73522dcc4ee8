/* What stands in front of a value: pinned, a registry's id, or Glue's UUID; golden bytes of each, and hostile ones. */
#include "core/codec/wire.h"
#include "tests/codec/every.h"

#include <stdio.h>
#include <zlib.h>

#define UUID "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
#define UUID_BYTES "\x0F\x1E\x2D\x3C\x4B\x5A\x69\x78\x87\x96\xA5\xB4\xC3\xD2\xE1\xF0"
#define TOPIC_BYTES                                                                                                    \
    STR("\x00\x48" CART "\x48" ORDER "\x0A"                                                                            \
        "moved") /* branch 0, two UUIDs as text, the reason */
#define CART "00000000-0000-4000-8000-000000000001"
#define ORDER "00000000-0000-4000-8000-000000000002"

static struct arena arena;

static const struct schema_subject *subject(void) {
    return schema_subject_find(STR(TOPIC_CHECKOUT_REQUESTS));
}

static int set_up(void **state) {
    (void)state;
    wire_reset();
    arena_init(&arena);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    wire_reset();
    arena_free(&arena);
    return 0;
}

/* Every topic's versions get a number or a UUID, as a registry would give them. */
static void give_all(bool uuids) {
    struct err err = {0};
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++) {
        char id[40];
        if (strchr(schema_versions[i].subject->name, '/'))
            continue;
        snprintf(id, sizeof id, uuids ? "0f1e2d3c-4b5a-6978-8796-a5b4c3d2%04zx" : "%zu", 40000 + i);
        if (&schema_versions[i] == subject()->current)
            snprintf(id, sizeof id, "%s", uuids ? UUID : "66051");
        if (!wire_id_set(&schema_versions[i], str_from(id), &err))
            fail_msg("%s", err.detail);
    }
}

static void use(enum wire_format format) {
    struct err err = {0};
    if (!wire_format_set(format, &err))
        fail_msg("%s", err.detail);
}

static void encode(struct buf *ret) {
    struct message message = {
        .type = MESSAGE_CHECKOUT_REOPEN_CART,
        .checkout_reopen_cart = {.cart_id = STR(CART), .order_id = STR(ORDER), .reason = STR("moved")}};
    struct err err = {0};
    if (!message_encode(subject(), &message, ret, &err))
        fail_msg("%s", err.detail);
}

static void check_decodes(struct str bytes) {
    struct message message;
    struct err err = {0};
    if (!message_decode(subject(), bytes, &arena, &message, &err))
        fail_msg("%s", err.detail);
    assert_int_equal(message.type, MESSAGE_CHECKOUT_REOPEN_CART);
    assert_true(str_eq(message.checkout_reopen_cart.order_id, STR(ORDER)));
    assert_true(str_eq(message.checkout_reopen_cart.reason, STR("moved")));
}

static void check_fails(struct str bytes, enum err_kind kind, const char *why) {
    struct message message;
    struct err err = {0};
    /* In memory of its own, so that a byte read behind its end is found. */
    char *exact = mem_alloc(bytes.len + !bytes.len);
    memcpy(exact, bytes.ptr, bytes.len);
    assert_false(message_decode(subject(), (struct str){exact, bytes.len}, &arena, &message, &err));
    free(exact);
    if (err.kind != kind || !strstr(err.detail, why))
        fail_msg("%s: %s, not %s", err_slug(err.kind), err.detail, why);
}

static void check_golden(struct str header) {
    BUF_AUTO made = {0};
    BUF_AUTO expected = {0};
    encode(&made);
    buf_add_str(&expected, header);
    buf_add_str(&expected, TOPIC_BYTES);
    assert_true(str_eq(buf_str(&made), buf_str(&expected)));
    check_decodes(buf_str(&made));
}

static void golden_bytes(void **state) {
    (void)state;
    check_golden(STR("\0\0\0\0\x04"));
    give_all(false);
    check_golden(STR("\0\0\0\0\x04")); /* known ids are not written before they shall be */
    use(WIRE_CONFLUENT);
    check_golden(STR("\0\x00\x01\x02\x03"));
    give_all(true);
    use(WIRE_GLUE);
    check_golden(STR("\x03\x00" UUID_BYTES));
}

static void all_are_read_whatever_is_written(void **state) {
    (void)state;
    static const struct str headers[] = {{"\0\0\0\0\x04", 5}, {"\0\x00\x01\x02\x03", 5}, {"\x03\x00" UUID_BYTES, 18}};
    give_all(false);
    give_all(true);
    for (int format = WIRE_PINNED; format <= WIRE_GLUE; format++) {
        use((enum wire_format)format);
        for (size_t i = 0; i < 3; i++) {
            BUF_AUTO bytes = {0};
            buf_add_str(&bytes, headers[i]);
            buf_add_str(&bytes, TOPIC_BYTES);
            check_decodes(buf_str(&bytes));
        }
    }
}

static void check_every(const struct sample *sample) {
    const struct schema_type *type = NULL;
    const void *value = NULL;
    BUF_AUTO bytes = {0};
    struct err err = {0};
    frame(sample, &bytes);
    if (!unframe(sample->subject, buf_str(&bytes), sample->arena, &type, &value, &err))
        fail_msg("%s: %s", sample->subject->name, err.detail);
    assert_true(avro_equal(type, sample->value, value));
    bool topic = !strchr(sample->subject->name, '/');
    assert_int_equal(bytes.ptr[0], topic ? 3 : 0); /* what is kept outside of the log is pinned */
}

static void every_record_of_every_subject(void **state) {
    (void)state;
    give_all(true);
    use(WIRE_GLUE);
    every_record(7, 5, check_every);
}

/* ---- compression ---- */

static void add_deflated(struct buf *ret, struct str plain) {
    uLongf len = compressBound(plain.len);
    buf_add_str(ret, STR("\x03\x05" UUID_BYTES));
    buf_reserve(ret, len);
    assert_int_equal(compress((Bytef *)ret->ptr + ret->len, &len, (const Bytef *)plain.ptr, plain.len), Z_OK);
    ret->len += len;
}

static void zlib_is_read(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    give_all(true);
    add_deflated(&bytes, TOPIC_BYTES);
    check_decodes(buf_str(&bytes));
    for (size_t len = 0; len < bytes.len; len++)
        check_fails((struct str){bytes.ptr, len}, ERR_POISON, "");
    buf_add_char(&bytes, 'x');
    check_fails(buf_str(&bytes), ERR_POISON, "compression is damaged");
}

static void what_inflates_without_end_is_refused(void **state) {
    (void)state;
    BUF_AUTO bytes = {0};
    size_t len = (size_t)WIRE_INFLATED_MAX * 4;
    char *zeros = mem_zalloc(len);
    give_all(true);
    add_deflated(&bytes, (struct str){zeros, len});
    free(zeros);
    check_fails(buf_str(&bytes), ERR_POISON, "inflates to more than");
}

/* ---- hostile ---- */

static void short_ones(void **state) {
    (void)state;
    static const struct str whole[] = {{"\0\0\0\0\x04", 5}, {"\x03\x00" UUID_BYTES, 18}};
    give_all(true);
    for (size_t i = 0; i < 2; i++)
        for (size_t len = 0; len <= whole[i].len; len++)
            check_fails((struct str){whole[i].ptr, len}, ERR_POISON,
                        len < whole[i].len ? "no schema id" : "no such record");
}

static void ids_that_mean_nothing(void **state) {
    (void)state;
    static const char unknown[] = "\x03\x00"
                                  "0123456789abcdef"
                                  "\0";
    check_fails(STR("\x03\x00" UUID_BYTES "\0"), ERR_UNKNOWN_SCHEMA, "was given no UUIDs");
    give_all(false);
    give_all(true);
    check_fails((struct str){unknown, sizeof unknown - 1}, ERR_UNKNOWN_SCHEMA, "Glue's schema version is not known");
    check_fails(STR("\0\x7F\xFF\xFF\xFF\0"), ERR_UNKNOWN_SCHEMA, "schema id 2147483647");
    check_fails(STR("\0\xFF\xFF\xFF\xFF\0"), ERR_UNKNOWN_SCHEMA, "schema id 4294967295");
    check_fails(STR("\x03\x01" UUID_BYTES "\0"), ERR_POISON, "compression 1 is not known");
    check_fails(STR("\x02\x00" UUID_BYTES "\0"), ERR_POISON, "no schema id");
    check_fails(STR("\0\0\0\0\x01\0"), ERR_POISON, "one of shop.cart.events.v1");
    check_fails(STR("\x03\x00" UUID_BYTES "\x02"), ERR_POISON, "no such record");
}

static void the_same_number_of_two_topics(void **state) {
    (void)state;
    struct err err = {0};
    const struct schema_subject *cart = schema_subject_find(STR(TOPIC_CART_EVENTS));
    assert_true(wire_id_set(subject()->current, STR("1"), &err)); /* pinned, 1 is the cart's */
    assert_true(wire_id_set(cart->current, STR("4"), &err));
    BUF_AUTO bytes = {0};
    buf_add_str(&bytes, STR("\0\0\0\0\x01"));
    buf_add_str(&bytes, TOPIC_BYTES);
    check_decodes(buf_str(&bytes));
    bytes.ptr[4] = 4;
    check_decodes(buf_str(&bytes)); /* as it was pinned */
}

/* ---- settings ---- */

static void check_refused(struct str lines, const char *why) {
    struct err err = {0};
    assert_false(wire_ids_read(lines, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
    if (!strstr(err.detail, why))
        fail_msg("%s, not %s", err.detail, why);
}

static void ids_in_text(void **state) {
    (void)state;
    struct err err = {0};
    assert_true(wire_ids_read(
        STR("# ids\n\nshop.checkout.requests.v1 4 66051\r\n  shop.checkout.requests.v1\t4 " UUID "  \n"), &err));
    check_decodes((struct str){"\0\x00\x01\x02\x03"
                               "\x00\x48" CART "\x48" ORDER "\x0A"
                               "moved",
                               5 + TOPIC_BYTES.len});
    check_refused(STR("shop.checkout.requests.v1 4"), "line 1 is not of the form");
    check_refused(STR("\nshop.checkout.requests.v1 4 1 1"), "line 2 is not of the form");
    check_refused(STR("shop.checkout.requests.v1 x 1"), "line 1 is not of the form");
    check_refused(STR("shop.checkout.requests.v1 1 1"), "schema 1 is none of shop.checkout.requests.v1");
    check_refused(STR("state/cart 601 1"), "schema 601 is none of state/cart");
    check_refused(STR("shop.checkout.requests.v1 4 -1"), "neither a registry's number nor a UUID: -1");
    check_refused(STR("shop.checkout.requests.v1 4 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg"),
                  "neither a registry's number");
    assert_false(wire_format_set(WIRE_CONFLUENT, &err));
    assert_non_null(strstr(err.detail, "has no id of a registry"));
    assert_false(wire_format_set(WIRE_GLUE, &err));
    assert_non_null(strstr(err.detail, "has no UUID"));
    assert_true(wire_format_set(WIRE_PINNED, &err));
}

static void formats_by_name(void **state) {
    (void)state;
    enum wire_format format;
    assert_true(wire_format_parse(STR("glue"), &format));
    assert_int_equal(format, WIRE_GLUE);
    assert_false(wire_format_parse(STR("Glue"), &format));
    assert_false(wire_format_parse(STR(""), &format));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(golden_bytes),          TEST(all_are_read_whatever_is_written),     TEST(every_record_of_every_subject),
        TEST(zlib_is_read),          TEST(what_inflates_without_end_is_refused), TEST(short_ones),
        TEST(ids_that_mean_nothing), TEST(the_same_number_of_two_topics),        TEST(ids_in_text),
        TEST(formats_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
