/* Our bytes are avro-c's bytes, for every record of every subject, in both directions. */
#include "tests/codec/oracle.h"
#include "tests/codec/every.h"

/* The oracle of the subject that is being checked. */
static struct oracle oracle;
static const struct schema_subject *oracle_subject;

static void oracle_for(const struct schema_subject *subject) {
    if (subject == oracle_subject)
        return;
    if (oracle_subject)
        oracle_close(&oracle);
    oracle_open(&oracle, subject->current);
    oracle_subject = subject;
}

static int close_oracle(void **state) {
    (void)state;
    if (oracle_subject)
        oracle_close(&oracle);
    oracle_subject = NULL;
    return 0;
}

static void check_avro_c_reads_ours(const struct sample *sample) {
    avro_value_t record;
    int discriminant;
    BUF_AUTO framed = {0}, again = {0};
    oracle_for(sample->subject);
    frame(sample, &framed);
    struct str ours = {framed.ptr + HEADER_SIZE, framed.len - HEADER_SIZE};
    oracle_read(&oracle, ours);
    assert_int_equal(avro_value_get_discriminant(&oracle.value, &discriminant), 0);
    assert_int_equal(discriminant, sample->branch);
    assert_int_equal(avro_value_get_current_branch(&oracle.value, &record), 0);
    oracle_check(&record, sample->type, sample->value);
    oracle_write(&oracle, &again);
    assert_int_equal(again.len, ours.len);
    assert_memory_equal(again.ptr, ours.ptr, ours.len);
}

static void check_we_read_avro_c(const struct sample *sample) {
    avro_value_t record;
    BUF_AUTO theirs = {0};
    struct err err = {0};
    oracle_for(sample->subject);
    avro_value_reset(&oracle.value);
    assert_int_equal(avro_value_set_branch(&oracle.value, (int)sample->branch, &record), 0);
    oracle_fill(&record, sample->type, sample->value);
    oracle_write(&oracle, &theirs);
    void *decoded = arena_alloc(sample->arena, sample->type->size);
    struct str body = {theirs.ptr + 1, theirs.len - 1}; /* behind the branch's index */
    if (!avro_decode_whole(sample->type, body, sample->arena, decoded, &err))
        fail_msg("%s", err.detail);
    assert_true(avro_equal(sample->type, sample->value, decoded));
}

static void avro_c_reads_what_we_write(void **state) {
    (void)state;
    every_record(1, 100, check_avro_c_reads_ours);
}

static void we_read_what_avro_c_writes(void **state) {
    (void)state;
    every_record(2, 100, check_we_read_avro_c);
}

/* The registry is told these schemas, so another implementation must be able to parse each. */
static void every_version_parses(void **state) {
    (void)state;
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++) {
        struct oracle of;
        oracle_open(&of, &schema_versions[i]);
        assert_int_equal(avro_typeof(of.schema), AVRO_UNION);
        assert_int_equal(avro_schema_union_size(of.schema), schema_versions[i].branch_count);
        for (size_t b = 0; b < schema_versions[i].branch_count; b++) {
            const char *name = strrchr(schema_versions[i].branches[b].type->name, '.') + 1;
            assert_string_equal(avro_schema_name(avro_schema_union_branch(of.schema, (int)b)), name);
        }
        oracle_close(&of);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(avro_c_reads_what_we_write, close_oracle),
        cmocka_unit_test_teardown(we_read_what_avro_c_writes, close_oracle),
        cmocka_unit_test(every_version_parses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
