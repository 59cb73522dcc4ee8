/* Inside of `orderlog verify`: what a check is. One pass over the log, in the order of time, feeds them all; each keeps
 * what it must in memory, and looks at the stores at the end, if it has any business there. */
#ifndef ORDERLOG_CLI_VERIFY_H
#define ORDERLOG_CLI_VERIFY_H

#include "cli/reader.h"
#include "cli/sequences.h"
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/log/log.h"
#include "gen/types.h"

struct verify_folds;

struct verify_options {
    struct log *log;
    const struct reader_range *ranges; /* what of the log is looked at */
    size_t range_count;
    const char *database_url;    /* "": none */
    const char *redis_url;       /* "": none */
    const char *views_url;       /* where movable views are kept instead of Redis; NULL: nowhere */
    const char *provider_url;    /* of the sandbox provider; "": none */
    bool in_flight;              /* the shop is at work: what has only begun is no violation */
    struct verify_folds **folds; /* shared by the checks of the views */
};

/* A record's place, which outlives the record. */
struct verify_at {
    const char *topic;
    int32_t partition;
    int64_t offset;
};

struct verify_record {
    const struct envelope *envelope;
    const struct message *message; /* type MESSAGE_UNKNOWN: could not be decoded, `undecodable` says why */
    struct verify_at at;
    const char *undecodable;
    enum sequence_verdict verdict;
    int64_t last_seq; /* of its origin, before this record */
    bool from_start;  /* its partition is read from offset 0 on */
};

struct verify_result {
    int64_t count; /* of what was looked at */
    int64_t violations;
    struct buf first;   /* where, and what is wrong */
    struct buf note;    /* what else there is to say */
    struct buf skipped; /* why it was not checked; empty: it was */
};

struct verify_check {
    const char *name;
    const char *holds; /* what always does, in a few words */
    bool sees_all;     /* also duplicates and what cannot be decoded */
    /* The state, freed by `end`. May skip the check. NULL: it needs none. */
    void *(*begin)(const struct verify_options *options, struct verify_result *result);
    void (*record)(void *state, struct verify_result *result, const struct verify_record *record);
    /* False: it could not be checked. */
    bool (*finish)(void *state, const struct verify_options *options, struct verify_result *result, struct err *err);
    void (*end)(void *state);
};

extern const struct verify_check verify_decisions, verify_acknowledged, verify_charges, verify_shipments, verify_stock,
    verify_money, verify_sequences, verify_paths, verify_decodable, verify_redis, verify_postgres, verify_deciders,
    verify_provider;

void verify_violation(struct verify_result *result, const struct verify_at *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void verify_skip(struct verify_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A check with its state while it runs. */
struct verify_running {
    const struct verify_check *check;
    void *state;
    bool on;
    struct verify_result result;
};

/* Feeds the records of options->ranges to all checks that are on. */
CHECK_RESULT bool verify_pass(const struct verify_options *options, struct verify_running *checks, size_t count,
                              struct err *err);

#endif
