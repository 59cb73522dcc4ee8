/* Makes rows anew from the log, beside the live ones, compares the two, and swaps the new ones in.
 *
 * The log is read from the beginning and folded in memory (kept_rows.h says what bounds that); rows are written once;
 * then the new generation is read on to where the live one stands, with the projectors' own code, compared with it row
 * for row, and put in its place. The live one is read, and kept up to date by its projector, all the time. It can be
 * ended at any moment, also by kill -9: nothing of the live one has changed until the swap, which is one step (in
 * Redis one per shard). What was filled by then is taken up by the next rebuild of the same program. Blocks. */
#ifndef ORDERLOG_PROJECTIONS_REBUILD_H
#define ORDERLOG_PROJECTIONS_REBUILD_H

#include "projections/generation.h"

enum rebuild_phase {
    REBUILD_FOLD,    /* done and total: records of the log */
    REBUILD_WRITE,   /* rows */
    REBUILD_INDEX,   /* total unknown, as of all that follow */
    REBUILD_READ_ON, /* records */
    REBUILD_COMPARE, /* rows */
    REBUILD_SWAP,
};

struct rebuild_config {
    struct log *log;
    const struct generation_ops *store;
    const char *url;
    const struct view *const *views;
    size_t view_count;
    const struct shop *shop;
    bool only_compare;   /* nothing is swapped in */
    struct str made_by;  /* changes with the program: what another one left behind is not taken up */
    size_t memory_bytes; /* for decoded rows of each view; 0: 64 MiB */
    /* All may be NULL. `progress` comes now and then from within; false ends the rebuild (ERR_TIMEOUT, "interrupted").
     */
    bool (*progress)(void *user, enum rebuild_phase phase, int64_t done, int64_t total);
    void (*differs)(void *user, const struct generation_difference *difference);
    void *user;
};

struct rebuild_report {
    bool resumed;  /* what an earlier rebuild had filled was taken up */
    bool compared; /* false: the live one stands where it cannot be compared; `note` says why */
    bool swapped;
    int64_t events; /* read from the log */
    int64_t rows;   /* folded */
    int64_t rows_compared;
    int64_t differences;
    double fold_seconds, fold_cpu_seconds, seconds;
    struct buf note; /* what else there is to say; the caller's to free */
};

CHECK_RESULT bool rebuild_run(const struct rebuild_config *config, struct rebuild_report *ret, struct err *err);

#endif
