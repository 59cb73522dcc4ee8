#include "core/log/envelope.h"

static void read_header(const struct log_header *header, struct envelope *ret, struct str *seq) {
    const struct {
        struct str name;
        struct str *to;
    } known[] = {
        {STR(HEADER_ID), &ret->id},
        {STR(HEADER_TYPE), &ret->type},
        {STR(HEADER_SUBJECT), &ret->subject},
        {STR(HEADER_COMMAND_ID), &ret->command_id},
        {STR(HEADER_BODY_HASH), &ret->body_hash},
        {STR(HEADER_TRACEPARENT), &ret->traceparent},
        {STR(HEADER_TRACESTATE), &ret->tracestate},
        {STR(HEADER_ORIGIN), &ret->origin},
        {STR(HEADER_ORIGIN_SEQ), seq},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_eq(header->name, known[i].name)) {
            *known[i].to = header->value;
            return;
        }
}

bool envelope_read(const struct log_record *record, struct envelope *ret, struct err *err) {
    struct str seq = STR_NULL;
    *ret = (struct envelope){.topic = record->topic,
                             .partition = record->partition,
                             .offset = record->offset,
                             .timestamp_us = record->timestamp_us,
                             .key = record->key};
    for (size_t i = 0; i < record->header_count; i++)
        read_header(&record->headers[i], ret, &seq);
    if (!ret->command_id.ptr && !ret->origin.ptr)
        ret->command_id = ret->id;
    if (ret->origin.ptr && (!str_to_i64(seq, &ret->origin_seq) || ret->origin_seq < 1))
        return err_set(err, ERR_POISON, "header " HEADER_ORIGIN_SEQ " is missing or not a positive number");
    if (!ret->id.ptr || !ret->id.len)
        return err_set(err, ERR_POISON, "header " HEADER_ID " is missing");
    if (!ret->type.ptr || !ret->type.len)
        return err_set(err, ERR_POISON, "header " HEADER_TYPE " is missing");
    return true;
}
