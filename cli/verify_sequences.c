/* Loss is detected: deciders' output is numbered without holes. And it can be read. */
#include "cli/verify.h"

#include <inttypes.h>

static void sequence_record(void *state, struct verify_result *result, const struct verify_record *record) {
    (void)state;
    const struct envelope *envelope = record->envelope;
    if (record->verdict == SEQUENCE_NONE)
        return;
    result->count++;
    if (record->verdict == SEQUENCE_HOLE)
        verify_violation(result, &record->at, "origin %.*s jumps from number %" PRId64 " to %" PRId64,
                         STR_ARG(envelope->origin), record->last_seq, envelope->origin_seq);
    if (record->verdict == SEQUENCE_FIRST && record->from_start && envelope->origin_seq != 1)
        verify_violation(result, &record->at, "origin %.*s begins with number %" PRId64 ", not with 1",
                         STR_ARG(envelope->origin), envelope->origin_seq);
}

const struct verify_check verify_sequences = {
    .name = "sequences",
    .holds = "each decider's output is numbered 1, 2, 3, ... in every partition, without holes",
    .sees_all = true,
    .record = sequence_record,
};

/* What others append may be anything, and is set aside by those who read it; our own output may not. */
static void decodable_record(void *state, struct verify_result *result, const struct verify_record *record) {
    (void)state;
    result->count++;
    if (record->undecodable && record->envelope->origin.ptr)
        verify_violation(result, &record->at, "from origin %.*s: %s", STR_ARG(record->envelope->origin),
                         record->undecodable);
}

const struct verify_check verify_decodable = {
    .name = "records-decode",
    .holds = "what the deciders wrote can be read",
    .sees_all = true,
    .record = decodable_record,
};
