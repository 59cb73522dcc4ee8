#include "core/base/ids.h"

#include "core/base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECRET_A STR("0123456789abcdef0123456789abcdef")
#define SECRET_B STR("fedcba9876543210fedcba9876543210")

static const struct secret_pair only_a = {.current = {"0123456789abcdef0123456789abcdef", 32}};

static void check_hex(const uint8_t *bytes, const char *want) {
    BUF_AUTO hex = {0};
    buf_add_hex(&hex, bytes, SHA256_SIZE);
    assert_string_equal(hex.ptr, want);
}

/* FIPS 180-2 and RFC 4231, cases 1, 2 and 6. */
static void hashes_as_the_standards_say(void **state) {
    (void)state;
    uint8_t hash[SHA256_SIZE];
    sha256(STR("abc"), hash);
    check_hex(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256(STR_NULL, hash);
    check_hex(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    char key[131];
    memset(key, 0x0b, 20);
    hmac_sha256((struct str){key, 20}, STR("Hi There"), hash);
    check_hex(hash, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), hash);
    check_hex(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_sha256((struct str){key, sizeof key}, STR("Test Using Larger Than Block-Size Key - Hash Key First"), hash);
    check_hex(hash, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_sha256(STR_NULL, STR_NULL, hash);
    check_hex(hash, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void check_shape(const struct id *id, char version) {
    assert_int_equal(strlen(id->text), 36);
    assert_true(id_valid(id_str(id)));
    assert_int_equal(id->text[14], version);
    assert_non_null(strchr("89ab", id->text[19]));
}

static void random_ids_are_ordered_in_time(void **state) {
    (void)state;
    int64_t before_ms = clock_now_us() / 1000;
    struct id earlier = id_random();
    for (int i = 0; i < 20; i++) {
        clock_sleep_ms(1);
        struct id later = id_random();
        check_shape(&later, '7');
        assert_true(strcmp(earlier.text, later.text) < 0);
        earlier = later;
    }
    char time_hex[13] = {0};
    memcpy(time_hex, earlier.text, 8);
    memcpy(time_hex + 8, earlier.text + 9, 4);
    assert_in_range(strtoll(time_hex, NULL, 16), before_ms, clock_now_us() / 1000);
}

/* Pinned, because stored ids were made so: SHA-256 over parts that each follow their length in 8 bytes. */
static void derived_ids_never_change(void **state) {
    (void)state;
    struct id id = id_derive((const struct str[]){STR("orders"), STR(""), STR("line 1")}, 3);
    assert_string_equal(id.text, "9ba32efb-5f24-8cef-ac9e-c82f47dc1333");
    struct id owned =
        id_owned_derive(STR("shopper-1"), (const struct str[]){STR("checkout"), STR("key-1")}, 2, &only_a);
    assert_string_equal(owned.text, "f8214902-85bc-8ec3-acca-9737631143ee");
}

static void derived_ids_tell_parts_apart(void **state) {
    (void)state;
    struct id a = id_derive((const struct str[]){STR("ab"), STR("c")}, 2);
    struct id b = id_derive((const struct str[]){STR("a"), STR("bc")}, 2);
    struct id c = id_derive((const struct str[]){STR("abc")}, 1);
    struct id d = id_derive(NULL, 0);
    check_shape(&d, '8');
    assert_string_not_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    assert_string_not_equal(b.text, c.text);
}

static void knows_the_shape(void **state) {
    (void)state;
    assert_true(id_valid(STR("00000000-0000-0000-0000-000000000000")));
    static const char *const bad[] = {
        "",
        "9ba32efb-5f24-8cef-ac9e-c82f47dc133",
        "9ba32efb-5f24-8cef-ac9e-c82f47dc13333",
        "9BA32EFB-5F24-8CEF-AC9E-C82F47DC1333",
        "9ba32efb05f24-8cef-ac9e-c82f47dc1333",
        "9ba32efb-5f24-8cef-ac9e-c82f47dc133g",
        "9ba32ef--5f24-8cef-ac9e-c82f47dc1333",
        "{9ba32efb-5f24-8cef-ac9e-c82f47dc133",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(id_valid(str_from(bad[i])));
    assert_false(id_valid(STR_NULL));
}

static struct id owned_id(struct str shopper_id, const char *part, const struct secret_pair *secrets) {
    return id_owned_derive(shopper_id, (const struct str[]){str_from(part)}, 1, secrets);
}

static void owned_ids_prove_their_owner(void **state) {
    (void)state;
    struct id id = owned_id(STR("alice"), "x", &only_a);
    check_shape(&id, '8');
    assert_true(id_owned_by(id_str(&id), STR("alice"), &only_a));
    assert_false(id_owned_by(id_str(&id), STR("bob"), &only_a));
    assert_false(id_owned_by(id_str(&id), STR(""), &only_a));
    assert_false(id_owned_by((struct str){id.text, 35}, STR("alice"), &only_a));
    assert_false(id_owned_by(STR_NULL, STR("alice"), &only_a));
    struct id stranger = id_random();
    assert_false(id_owned_by(id_str(&stranger), STR("alice"), &only_a));
    struct id other = owned_id(STR("bob"), "x", &only_a);
    assert_string_not_equal(other.text, id.text);
}

/* The version and the variant are under the MAC like the rest. */
static void no_digit_of_an_owned_id_may_change(void **state) {
    (void)state;
    struct id id = owned_id(STR("alice"), "x", &only_a);
    for (size_t i = 0; i < ID_TEXT_SIZE - 1; i++) {
        for (const char *digit = "0123456789abcdef"; *digit && id.text[i] != '-'; digit++) {
            struct id changed = id;
            changed.text[i] = *digit;
            assert_int_equal(id_owned_by(id_str(&changed), STR("alice"), &only_a), *digit == id.text[i]);
        }
    }
}

static void a_secret_can_be_replaced(void **state) {
    (void)state;
    const struct secret_pair rotated = {.current = SECRET_B, .previous = SECRET_A};
    const struct secret_pair only_b = {.current = SECRET_B};
    struct id old = owned_id(STR("alice"), "x", &only_a);
    struct id new = owned_id(STR("alice"), "x", &rotated);
    assert_true(id_owned_by(id_str(&old), STR("alice"), &rotated));
    assert_true(id_owned_by(id_str(&new), STR("alice"), &rotated));
    assert_true(id_owned_by(id_str(&new), STR("alice"), &only_b));
    assert_false(id_owned_by(id_str(&old), STR("alice"), &only_b));
    assert_false(id_owned_by(id_str(&new), STR("alice"), &only_a));
}

/* RFC 4648, section 10, without padding. */
static void base64url_goes_both_ways(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        BUF_AUTO text = {0};
        BUF_AUTO bytes = {0};
        buf_add_base64url(&text, (const uint8_t *)pairs[i][0], strlen(pairs[i][0]));
        assert_true(str_eq(buf_str(&text), str_from(pairs[i][1])));
        assert_true(base64url_decode(buf_str(&text), &bytes));
        assert_true(str_eq(buf_str(&bytes), str_from(pairs[i][0])));
    }
}

static void base64_is_the_padded_one(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""}, {"a", "YQ=="}, {"ab", "YWI="}, {"abc", "YWJj"}, {"\xfb\xff", "+/8="}};
    static const char *const bad[] = {"YQ", "YQ=", "Y===", "YQ==YQ==", "-_8=", "YW J"};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        BUF_AUTO bytes = {0};
        assert_true(base64_decode(str_from(pairs[i][1]), &bytes));
        assert_true(str_eq(buf_str(&bytes), str_from(pairs[i][0])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        BUF_AUTO bytes = {0};
        assert_false(base64_decode(str_from(bad[i]), &bytes));
    }
}

static void base64url_is_strict(void **state) {
    (void)state;
    static const char *const bad[] = {"A", "Zg==", "Zh", "Zm9", "Zm9v!", "Zm+v", "Zm/v", "Zm9v\n", "Zm 9v", "AAAAA"};
    BUF_AUTO bytes = {0};
    assert_false(base64url_decode(STR("A"), &bytes));
    buf_add_str(&bytes, STR("kept"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(base64url_decode(str_from(bad[i]), &bytes));
        assert_string_equal(bytes.ptr, "kept");
    }
    assert_true(base64url_decode(STR("Zm8"), &bytes));
    assert_string_equal(bytes.ptr, "keptfo");
}

static void compares_secrets(void **state) {
    (void)state;
    assert_true(bytes_equal_secret("abc", "abc", 3));
    assert_false(bytes_equal_secret("abc", "abd", 3));
    assert_true(bytes_equal_secret("a", "b", 0));
}

enum { THREADS = 4, PER_THREAD = 5000 };

static void *make_ids(void *arg) {
    struct id *ids = arg;
    for (size_t i = 0; i < PER_THREAD; i++)
        ids[i] = id_random();
    return NULL;
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(((const struct id *)a)->text, ((const struct id *)b)->text);
}

static void threads_never_make_the_same(void **state) {
    (void)state;
    struct id *ids = mem_alloc(sizeof *ids * THREADS * PER_THREAD);
    pthread_t threads[THREADS];
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_ids, ids + t * PER_THREAD), 0);
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    qsort(ids, THREADS * PER_THREAD, sizeof *ids, compare_ids);
    for (size_t i = 1; i < THREADS * PER_THREAD; i++)
        assert_true(compare_ids(&ids[i - 1], &ids[i]) < 0);
    free(ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_as_the_standards_say),
        cmocka_unit_test(random_ids_are_ordered_in_time),
        cmocka_unit_test(derived_ids_never_change),
        cmocka_unit_test(derived_ids_tell_parts_apart),
        cmocka_unit_test(knows_the_shape),
        cmocka_unit_test(owned_ids_prove_their_owner),
        cmocka_unit_test(no_digit_of_an_owned_id_may_change),
        cmocka_unit_test(a_secret_can_be_replaced),
        cmocka_unit_test(base64url_goes_both_ways),
        cmocka_unit_test(base64url_is_strict),
        cmocka_unit_test(base64_is_the_padded_one),
        cmocka_unit_test(compares_secrets),
        cmocka_unit_test(threads_never_make_the_same),
    };
    return cmocka_run_group_tests_name("ids", tests, NULL, NULL);
}
