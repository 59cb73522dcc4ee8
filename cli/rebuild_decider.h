/* Rebuilding a decider's tables, shard by shard: what the log makes of them is folded in memory, compared with the
 * table, and what differs is put right in one transaction that holds the shard's row, so that its owner decides nothing
 * meanwhile, and raises its epoch, so that the owner throws away what it holds and takes over anew.
 *
 * It is not a second table that is swapped in, as with views: nobody reads these tables but the owner, rows that are
 * right keep their versions, and the transaction is as small as the damage. What bounds the memory: the rows of one
 * shard. Nothing is kept when it is interrupted. */
#ifndef ORDERLOG_CLI_REBUILD_DECIDER_H
#define ORDERLOG_CLI_REBUILD_DECIDER_H

#include "cli/reader.h"
#include "cli/verify_room.h"
#include "core/store/pg.h"
#include "projections/rebuild.h"

struct rebuild_decider_config {
    struct log *log;
    const char *database_url;
    const struct fold_service *service;
    const struct shop *shop;
    bool only_compare;
    bool (*progress)(void *user, enum rebuild_phase phase, int64_t done, int64_t total);
    void (*differs)(void *user, const struct generation_difference *difference);
    void *user;
};

CHECK_RESULT bool rebuild_decider_run(const struct rebuild_decider_config *config, struct rebuild_report *ret,
                                      struct err *err);

/* ---- inside: what rebuild_decider.c (the log) and rebuild_decider_rows.c (the tables) share ---- */

struct decider_shard {
    const struct rebuild_decider_config *config;
    struct rebuild_report *report;
    struct pg *pg;
    int32_t index;
    struct fold_room room;
    struct sequences folded;     /* the last numbers that are in it */
    struct reader_range *ranges; /* of its topics: `from` is what comes next */
    size_t range_count;
    struct map parked;   /* records that the shard has set aside: "topic/partition/offset" */
    struct map suspects; /* live rows that the log knows nothing of, or other things: "table/key" */
    struct map changes;  /* committed, and not in the table yet, by "table/key": a struct decider_change */
    struct arena arena;
    struct decider_sql *sql; /* statements, known to the connection by their addresses */
};

struct decider_change {
    int64_t version;
    int64_t guard;
    bool closed;
    size_t len;
    char state[];
};

/* What the shard's owner has committed and not brought into the tables yet. */
CHECK_RESULT bool decider_changes_read(struct decider_shard *shard, struct err *err);
/* All live rows against the fold, while the owner goes on: marks (`seen`) what is the same, keeps the rest in mind. */
CHECK_RESULT bool decider_rows_compare(struct decider_shard *shard, struct err *err);
/* What was not the same, or has changed since, again, and puts it right unless only_compare. With the shard's row
 * locked and the fold at its place. *ret_mended: how many rows. */
CHECK_RESULT bool decider_rows_mend(struct decider_shard *shard, int64_t *ret_mended, struct err *err);
void decider_sql_free(struct decider_sql *sql);
/* Folds, from the beginning, what a shard that stands at `state` has decided and read. `room` is initialised. */
CHECK_RESULT bool decider_shard_fold(struct decider_shard *shard, const struct state_shard *state, struct err *err);
/* That all which a shard at `state` has decided and read is in the log, and so in the fold; else *ret_missing names one
 * that is not. */
CHECK_RESULT bool decider_shard_is_folded(const struct decider_shard *shard, const struct state_shard *state,
                                          struct buf *ret_missing);
/* All but the connection. */
void decider_shard_free(struct decider_shard *shard);

#endif
