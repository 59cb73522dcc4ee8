/* The one pass over the log. */
#include "cli/reader.h"
#include "cli/verify.h"
#include "core/codec/avro.h"
#include "core/log/envelope.h"

struct pass {
    struct verify_running *checks;
    size_t count;
    struct sequences sequences;
    struct arena arena; /* of the record */
    const struct reader_range *ranges;
    size_t range_count;
};

static bool reads_from_start(const struct pass *pass, const struct log_record *record) {
    for (size_t i = 0; i < pass->range_count; i++)
        if (pass->ranges[i].partition == record->partition && str_eq(pass->ranges[i].topic, record->topic))
            return pass->ranges[i].from == 0;
    return false;
}

static void record_read(struct pass *pass, const struct log_record *record, const struct schema_subject *subject,
                        struct envelope *envelope, struct message *message, struct err *err) {
    *message = (struct message){.type = MESSAGE_UNKNOWN};
    if (!envelope_read(record, envelope, err))
        return;
    struct message decoded;
    if (!record->value.ptr)
        err_set(err, ERR_POISON, "the value is null");
    else if (message_decode(subject, record->value, &pass->arena, &decoded, err))
        *message = decoded;
    if (!err->kind && message->type == MESSAGE_UNKNOWN)
        err_set(err, ERR_UNKNOWN_SCHEMA, "a record that is known no more");
}

static void record_feed(struct pass *pass, const struct log_record *record) {
    const struct schema_subject *subject = schema_subject_find(record->topic);
    if (!subject)
        return; /* dead letters: they belong to no topic's stream */
    arena_reset(&pass->arena);
    struct envelope envelope;
    struct message message;
    struct err err = {0};
    record_read(pass, record, subject, &envelope, &message, &err);
    struct verify_record fed = {
        .envelope = &envelope,
        .message = &message,
        .at = {subject->name, record->partition, record->offset},
        .undecodable = err.kind ? err.detail : NULL,
        .from_start = reads_from_start(pass, record),
    };
    fed.verdict = sequences_take(&pass->sequences, &envelope, &fed.last_seq);
    bool plain = fed.verdict != SEQUENCE_DUPLICATE && !fed.undecodable;
    for (size_t i = 0; i < pass->count; i++) {
        struct verify_running *running = &pass->checks[i];
        if (running->on && running->check->record && (plain || running->check->sees_all))
            running->check->record(running->state, &running->result, &fed);
    }
}

static bool pass_run(struct pass *pass, struct log *log, struct err *err) {
    struct reader *reader;
    if (!reader_open(log, pass->ranges, pass->range_count, &reader, err))
        return false;
    const struct log_record *record = NULL;
    bool ok;
    while ((ok = reader_next(reader, &record, err)) && record)
        record_feed(pass, record);
    reader_close(reader);
    return ok;
}

bool verify_pass(const struct verify_options *options, struct verify_running *checks, size_t count, struct err *err) {
    struct pass pass = {
        .checks = checks, .count = count, .ranges = options->ranges, .range_count = options->range_count};
    arena_init(&pass.arena);
    bool ok = pass_run(&pass, options->log, err);
    arena_free(&pass.arena);
    sequences_free(&pass.sequences);
    return ok;
}
