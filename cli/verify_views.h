/* Inside of the checks of the views: what the log comes to, and what a store holds. */
#ifndef ORDERLOG_CLI_VERIFY_VIEWS_H
#define ORDERLOG_CLI_VERIFY_VIEWS_H

#include "cli/verify.h"
#include "projections/store.h"

/* The fold of the log into the rows of every view, kept as bytes. One fold serves the checks of all stores. */
struct verify_folds {
    struct map rows[VIEW_COUNT]; /* by key: a struct fold_row */
    struct shop shop;
    struct arena arena;
    struct arena keys; /* of the rows of one record */
    int users;
    int comparisons;
    const void *feeder; /* the check that feeds it */
};

struct fold_row {
    struct verify_at at; /* of the last record that is in it */
    int seen;            /* by which comparison it was last found in a store */
    size_t len;
    char bytes[];
};

struct verify_folds *verify_folds_get(const struct verify_options *options);
void verify_folds_put(struct verify_folds *folds, struct verify_folds **shared);
void verify_folds_record(struct verify_folds *folds, const struct verify_record *record);

/* All rows of a view that a store holds, one after the other, as they were while it is read. */
struct view_rows;
CHECK_RESULT bool view_rows_open_redis(const char *url, const struct view *view, struct view_rows **ret,
                                       struct err *err);
CHECK_RESULT bool view_rows_open_postgres(const char *url, const struct view *view, struct view_rows **ret,
                                          struct err *err);
CHECK_RESULT bool view_rows_open_dynamodb(const char *url, const struct view *view, struct view_rows **ret,
                                          struct err *err);
/* A page of rows: their keys and bytes, in the arena. *ret_count 0: there are no more. */
CHECK_RESULT bool view_rows_next(struct view_rows *rows, struct arena *arena, struct str **ret_keys,
                                 struct str **ret_bytes, size_t *ret_count, struct err *err);
void view_rows_close(struct view_rows *rows); /* NULL is fine */

/* What PostgreSQL's tables say beside the rows' bytes: the same thing. */
CHECK_RESULT bool verify_postgres_tables(const char *url, struct verify_result *result, struct err *err);

#endif
