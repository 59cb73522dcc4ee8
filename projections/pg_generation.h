/* Inside of PostgreSQL's next generation: what pg_generation.c (making it, swapping it in),
 * pg_generation_fill.c and pg_compare.c share. */
#ifndef ORDERLOG_PROJECTIONS_PG_GENERATION_H
#define ORDERLOG_PROJECTIONS_PG_GENERATION_H

#include "core/store/pg.h"
#include "projections/generation.h"

enum { GENERATION_ROWS_MAX = 1000 };

struct pg_copy;

struct pg_text {
    struct pg_text *next;
    char text[];
};

struct generation {
    struct generation_options options;
    struct buf made_by_text;
    struct str made_by;
    int32_t number;
    bool swapped;
    struct pg *pg;   /* the lock, and all but what follows */
    struct pg *fill; /* NULL: nothing is being filled */
    struct pg_copy *copy;
    struct arena arena; /* of the rows that wait */
    struct view_row *rows[GENERATION_ROWS_MAX];
    size_t row_count;
    const struct view *rows_of;
    struct pg_text *texts;
};

extern const char pg_generation_settings[]; /* of its connections */

/* A statement that lives as long as the generation, for pg_exec. */
const char *pg_generation_sql(struct generation *generation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether a rebuild makes this table anew; *ret_rows: only rows of which this is true (NULL: all). */
bool pg_generation_table_is_made(const struct generation *generation, struct str table, const char **ret_rows);
/* No projector can save until the release. */
CHECK_RESULT bool pg_generation_hold(struct generation *generation, struct err *err);
void pg_generation_release(struct generation *generation);

/* ---- pg_generation_fill.c: as struct generation_ops says ---- */

CHECK_RESULT bool pg_generation_fill_begin(struct generation *generation, struct err *err);
CHECK_RESULT bool pg_generation_fill_facts(struct generation *generation, const struct view *view,
                                           const struct shard_save *shards, size_t count, struct err *err);
CHECK_RESULT bool pg_generation_fill_row(struct generation *generation, const struct view *view, int32_t shard,
                                         struct str key, struct str bytes, struct err *err);
CHECK_RESULT bool pg_generation_fill_positions(struct generation *generation, const struct view *view, int32_t shard,
                                               struct str positions, struct err *err);
CHECK_RESULT bool pg_generation_fill_end(struct generation *generation, struct err *err);
CHECK_RESULT bool pg_generation_finish(struct generation *generation, const struct generation_host *host,
                                       struct err *err);

/* ---- pg_compare.c ---- */

bool pg_generation_compare(struct generation *generation, const struct generation_host *host, struct err *err);

#endif
