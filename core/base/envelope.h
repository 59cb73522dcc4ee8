/* What every record carries around its value: its place in the log, and the CloudEvents attributes of its headers
 * (Kafka protocol binding, binary mode). Filled by core/log/envelope.c; all text is borrowed. */
#ifndef ORDERLOG_BASE_ENVELOPE_H
#define ORDERLOG_BASE_ENVELOPE_H

#include "core/base/str.h"

#define HEADER_SPECVERSION "ce_specversion"
#define HEADER_ID "ce_id"
#define HEADER_SOURCE "ce_source"
#define HEADER_TYPE "ce_type"
#define HEADER_TIME "ce_time"
#define HEADER_SUBJECT "ce_subject"
#define HEADER_CONTENT_TYPE "content-type"
#define HEADER_TRACEPARENT "traceparent"
#define HEADER_TRACESTATE "tracestate"
#define HEADER_COMMAND_ID "command_id"
#define HEADER_BODY_HASH "body_hash"
#define HEADER_ORIGIN "origin"
#define HEADER_ORIGIN_SEQ "origin_seq"

struct envelope {
    struct str topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_us; /* when the log took it */
    struct str key;
    struct str id;          /* ce_id */
    struct str type;        /* ce_type: the record's full name */
    struct str subject;     /* ce_subject: the cart, order or SKU it is about */
    struct str command_id;  /* the ce_id of the API's record that began it; for that record itself, its own id */
    struct str body_hash;   /* of a command's record, on what was decided of it at once; ptr NULL: on anything else */
    struct str traceparent; /* ptr NULL: none */
    struct str tracestate;  /* ptr NULL: none */
    struct str origin;      /* "orders/3"; ptr NULL: not a decider's output */
    int64_t origin_seq;     /* 1, 2, 3, … per origin and partition; 0 without origin */
};

/* The trace's id in a traceparent (version 00), for the log; empty when there is none. */
static inline struct str envelope_trace_id(struct str traceparent) {
    return traceparent.len >= 35 ? (struct str){traceparent.ptr + 3, 32} : STR("");
}

#endif
