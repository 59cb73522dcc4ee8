/* Made-up values of every record of every subject. */
#ifndef ORDERLOG_TESTS_EVERY_H
#define ORDERLOG_TESTS_EVERY_H

#include "core/codec/avro.h"
#include "tests/support/random_value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

enum { HEADER_SIZE = 5 }; /* Confluent's */

struct sample {
    const struct schema_subject *subject;
    size_t branch;
    const struct schema_type *type;
    const void *value;
    struct arena *arena; /* for the check's own use too; emptied after each sample */
    struct random_source *source;
};

static inline void every_record(uint64_t seed, int rounds, void (*check)(const struct sample *sample)) {
    struct random_source source = {seed};
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < SCHEMA_SUBJECT_COUNT; i++) {
        const struct schema_subject *subject = &schema_subjects[i];
        for (size_t branch = 0; branch < subject->current->branch_count; branch++) {
            const struct schema_type *type = subject->current->branches[branch].type;
            for (int round = 0; round < rounds; round++) {
                void *value = arena_alloc(&arena, type->size);
                random_value(&source, type, &arena, value);
                check(&(struct sample){subject, branch, type, value, &arena, &source});
                arena_reset(&arena);
            }
        }
    }
    arena_free(&arena);
}

/* Framed as the program does it: by message_encode for messages, by state_encode for the rest. */
static inline void frame(const struct sample *sample, struct buf *ret) {
    const struct schema_branch *branch = &sample->subject->current->branches[sample->branch];
    struct err err = {0};
    if (!branch->message) {
        state_encode(sample->subject, sample->value, ret);
        return;
    }
    struct message message = {.type = (enum message_type)branch->message};
    memcpy((char *)&message + offsetof(struct message, body), sample->value, sample->type->size);
    if (!message_encode(sample->subject, &message, ret, &err))
        fail_msg("%s", err.detail);
}

/* The other way; *ret_value is in the arena. `branch` is what the subject's current version has. */
static inline bool unframe(const struct schema_subject *subject, struct str bytes, struct arena *arena,
                           const struct schema_type **ret_type, const void **ret_value, struct err *err) {
    if (!subject->current->branches[0].message) {
        *ret_type = subject->current->branches[0].type;
        void *value = arena_alloc(arena, (*ret_type)->size);
        *ret_value = value;
        return state_decode(subject, bytes, arena, value, err);
    }
    struct message *message = arena_new(arena, struct message);
    if (!message_decode(subject, bytes, arena, message, err))
        return false;
    assert_int_not_equal(message->type, MESSAGE_UNKNOWN); /* a current version knows its own records */
    *ret_type = schema_messages[message->type];
    *ret_value = message_body(message);
    return true;
}

#endif
