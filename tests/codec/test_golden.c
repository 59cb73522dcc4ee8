/* Old events decode forever: the bytes of every record of every version that was released, kept in
 * tests/codec/golden/<subject>/<id>/<Record>.hex (a line of hex each), still read as what they said.
 *
 * After `schemas/release.py pin`, and a build: ORDERLOG_SOURCE=. BUILD/tests/test_golden_codec --write
 * adds the files of what was pinned. It changes none that is there. */
#include "tests/codec/every.h"
#include "tests/codec/oracle.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINES = 3 };

static const char *source_folder(void) {
    const char *folder = getenv("ORDERLOG_SOURCE");
    assert_non_null(folder);
    return folder;
}

/* {"shop.order.events.v1": {"9": fingerprint}, …} */
static json_t *load_released(void) {
    BUF_AUTO path = {0};
    json_error_t error;
    buf_printf(&path, "%s/schemas/released.json", source_folder());
    json_t *released = json_load_file(path.ptr, 0, &error);
    if (!released)
        fail_msg("%s: %s", path.ptr, error.text);
    return released;
}

static bool is_released(const json_t *released, const struct schema_version *version) {
    char id[16];
    snprintf(id, sizeof id, "%d", version->id);
    return json_object_get(json_object_get(released, version->subject->name), id);
}

static void golden_path(const struct schema_version *version, const struct schema_type *type, struct buf *ret) {
    buf_reset(ret);
    buf_printf(ret, "%s/tests/codec/golden/%s/%d", source_folder(), version->subject->name, version->id);
    if (type)
        buf_printf(ret, "/%s.hex", strrchr(type->name, '.') + 1);
}

static int hex_digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *found = memchr(digits, c, 16);
    return found ? (int)(found - digits) : -1;
}

static void read_hex(const char *line, struct buf *ret) {
    for (size_t i = 0; line[i] && line[i] != '\n'; i += 2) {
        int high = hex_digit(line[i]), low = high < 0 ? -1 : hex_digit(line[i + 1]);
        assert_true(low >= 0);
        buf_add_char(ret, (char)(high * 16 + low));
    }
}

/* Our reading against avro-c's by the writer's schema; and, of a current version, our writing. */
static void check_bytes(const struct schema_version *version, size_t branch, struct oracle *oracle, struct str bytes) {
    const struct schema_type *type = version->branches[branch].type;
    struct arena arena;
    struct err err = {0};
    avro_value_t record;
    struct message message;
    int discriminant;
    arena_init(&arena);
    void *value = (char *)&message + offsetof(struct message, body);
    bool is_message = version->subject->current->branches[0].message;
    if (!is_message)
        value = arena_alloc(&arena, type->size);
    if (is_message ? !message_decode(version->subject, bytes, &arena, &message, &err)
                   : !state_decode(version->subject, bytes, &arena, value, &err))
        fail_msg("%s", err.detail);
    if (is_message)
        assert_int_equal(message.type, version->branches[branch].message);
    oracle_read(oracle, (struct str){bytes.ptr + HEADER_SIZE, bytes.len - HEADER_SIZE});
    assert_int_equal(avro_value_get_discriminant(&oracle->value, &discriminant), 0);
    assert_int_equal(discriminant, branch);
    assert_int_equal(avro_value_get_current_branch(&oracle->value, &record), 0);
    oracle_check(&record, type, value);
    if (version == version->subject->current) {
        BUF_AUTO again = {0};
        frame(&(struct sample){version->subject, branch, type, value, &arena, NULL}, &again);
        assert_true(str_eq(buf_str(&again), bytes));
    }
    arena_free(&arena);
}

static void check_file(const struct schema_version *version, size_t branch, struct oracle *oracle) {
    BUF_AUTO path = {0}, bytes = {0};
    char *line = NULL;
    size_t size = 0, lines = 0;
    golden_path(version, version->branches[branch].type, &path);
    FILE *file = fopen(path.ptr, "r");
    if (!file)
        fail_msg("%s: released without golden bytes: test_golden_codec --write", path.ptr);
    for (; getline(&line, &size, file) > 0; lines++) {
        buf_reset(&bytes);
        read_hex(line, &bytes);
        check_bytes(version, branch, oracle, buf_str(&bytes));
    }
    free(line);
    fclose(file);
    assert_true(lines > 0);
}

static void released_versions_decode_as_ever(void **state) {
    (void)state;
    json_t *released = load_released();
    size_t count = 0;
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++) {
        const struct schema_version *version = &schema_versions[i];
        struct oracle oracle;
        if (!is_released(released, version))
            continue;
        oracle_open(&oracle, version);
        for (size_t branch = 0; branch < version->branch_count; branch++)
            check_file(version, branch, &oracle);
        oracle_close(&oracle);
        count++;
    }
    json_decref(released);
    print_message("%zu versions of %d are released\n", count, (int)SCHEMA_VERSION_COUNT);
}

/* What may still change has no golden bytes, or they would be in its way. */
static void drafts_have_no_golden_bytes(void **state) {
    (void)state;
    json_t *released = load_released();
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++) {
        BUF_AUTO path = {0};
        golden_path(&schema_versions[i], NULL, &path);
        if (!is_released(released, &schema_versions[i]) && access(path.ptr, F_OK) == 0)
            fail_msg("%s: of a version that is not released", path.ptr);
    }
    json_decref(released);
}

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            fail_msg("%s: %s", path, strerror(errno));
        *slash = '/';
    }
}

static const json_t *to_write;

static void write_sample(const struct sample *sample) {
    BUF_AUTO path = {0};
    if (!is_released(to_write, sample->subject->current))
        return;
    golden_path(sample->subject->current, sample->type, &path);
    make_folders(path.ptr);
    FILE *file = fopen(path.ptr, "wx");
    if (!file && errno == EEXIST)
        return;
    if (!file)
        fail_msg("%s: %s", path.ptr, strerror(errno));
    for (int line = 0; line < LINES; line++) {
        BUF_AUTO bytes = {0};
        char *value = arena_alloc(sample->arena, sample->type->size);
        random_value(sample->source, sample->type, sample->arena, value);
        frame(&(struct sample){sample->subject, sample->branch, sample->type, value, sample->arena, NULL}, &bytes);
        for (size_t i = 0; i < bytes.len; i++)
            fprintf(file, "%02x", (unsigned char)bytes.ptr[i]);
        fputc('\n', file);
    }
    if (fclose(file) != 0)
        fail_msg("%s: %s", path.ptr, strerror(errno));
    print_message("%s\n", path.ptr);
}

static void write_what_is_missing(void **state) {
    (void)state;
    json_t *released = load_released();
    to_write = released;
    every_record(13, 1, write_sample);
    json_decref(released);
}

int main(int argc, char **argv) {
    const struct CMUnitTest writing[] = {cmocka_unit_test(write_what_is_missing)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(released_versions_decode_as_ever),
        cmocka_unit_test(drafts_have_no_golden_bytes),
    };
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return cmocka_run_group_tests(writing, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
