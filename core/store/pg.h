/* PostgreSQL: a connection with prepared statements, binary parameters and arrays, on libpq.
 *
 * A `struct pg` belongs to one thread at a time. Every call blocks. Errors carry the SQLSTATE: ERR_INTERNAL when the
 * server refuses the data (class 22, 23, 54, P0), ERR_FENCED by our own class OL, ERR_CONFIG when it refuses the
 * statement (42: no such table, no right to it) or us (28, 3D), else ERR_STORE_UNAVAILABLE, also when the connection is
 * gone (what was being done is unknown: roll back in mind, pg_reset, read again). Set-based statements take their rows
 * as arrays: `… FROM UNNEST($1::text[], $2::bigint[])`. */
#ifndef ORDERLOG_STORE_PG_H
#define ORDERLOG_STORE_PG_H

#include "core/base/err.h"

struct pg;
struct pg_result;

/* `settings` is run once after each connect ("SET …; SET …"), may be NULL. Connects within 5 s. */
CHECK_RESULT bool pg_open(const char *url, const char *settings, struct pg **ret, struct err *err);
void pg_close(struct pg *pg);
/* Connects anew. */
CHECK_RESULT bool pg_reset(struct pg *pg, struct err *err);
bool pg_connected(const struct pg *pg);

enum { PG_PARAMS_MAX = 32 };

/* Parameters of one statement, in order. What they point to is borrowed until pg_exec; arrays are built inside and
 * freed by pg_params_free. All-zero is empty. */
struct pg_params {
    int count;
    uint32_t types[PG_PARAMS_MAX];
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int64_t numbers[PG_PARAMS_MAX];
    struct buf arrays[PG_PARAMS_MAX];
};
#define PG_PARAMS_AUTO __attribute__((cleanup(pg_params_free))) struct pg_params

void pg_params_free(struct pg_params *params);
void pg_add_text(struct pg_params *params, struct str value);  /* ptr NULL: null */
void pg_add_bytes(struct pg_params *params, struct str value); /* ptr NULL: null */
void pg_add_i64(struct pg_params *params, int64_t value);
void pg_add_bool(struct pg_params *params, bool value);
void pg_add_time(struct pg_params *params, int64_t time_us); /* timestamptz */

/* An array parameter: add it, then its elements while it is the last parameter. */
enum pg_type {
    PG_BOOL = 16,
    PG_BYTES = 17,
    PG_I64 = 20,
    PG_TEXT = 25,
    PG_TIME = 1184,
};
void pg_add_array(struct pg_params *params, enum pg_type type);
void pg_array_null(struct pg_params *params, int index);
void pg_array_str(struct pg_params *params, int index, struct str value); /* PG_TEXT, PG_BYTES; ptr NULL: null */
void pg_array_i64(struct pg_params *params, int index, int64_t value);    /* PG_I64, PG_TIME (epoch us), PG_BOOL */
/* An element that is itself an array: parameter `inner` of `from`, which begins anew. No statement takes such a
 * parameter: it is for rows that go by COPY (core/store/pg_copy.h). */
void pg_array_move(struct pg_params *params, int index, struct pg_params *from, int inner);

/* Reading an array back, element by element, as PostgreSQL's binary format has them (ptr NULL: null):
 * for (size_t at = pg_array_begin(), i = 0; i < pg_array_count(params, index); i++) … pg_array_next(params, index, &at)
 */
size_t pg_array_count(const struct pg_params *params, int index); /* 0 also for what is no array */
size_t pg_array_begin(void);
struct str pg_array_next(const struct pg_params *params, int index, size_t *at);

/* `sql` must be a string literal (its address names the prepared statement) and is prepared on first use per
 * connection; one statement. ret may be NULL. Results are binary. */
CHECK_RESULT bool pg_exec(struct pg *pg, const char *sql, struct pg_params *params, struct pg_result **ret,
                          struct err *err);
/* Any number of statements without parameters, unprepared. */
CHECK_RESULT bool pg_script(struct pg *pg, const char *sql, struct err *err);
CHECK_RESULT bool pg_begin(struct pg *pg, struct err *err);
/* ERR_STORE_UNAVAILABLE: it is not known whether it was committed. */
CHECK_RESULT bool pg_commit(struct pg *pg, struct err *err);
/* Never fails: a connection that is gone has rolled back. */
void pg_rollback(struct pg *pg);

/* Several statements in one round trip and one transaction: all of them or none. pg_send queues one (its parameters are
 * copied); pg_sync sends what is queued, waits, and gives the first error. Nothing else may be asked of the connection
 * in between. Results are not to be had: a statement that must have found something says so by failing
 * (decider.require in consumers/migrate.c). An error of pg_send, too, is given by pg_sync. As with pg_commit, it is not
 * known after ERR_STORE_UNAVAILABLE whether it was committed. */
void pg_send(struct pg *pg, const char *sql, struct pg_params *params);
CHECK_RESULT bool pg_sync(struct pg *pg, struct err *err);
/* The same without waiting: pg_sync_start sends, then pg_sync_done says whether pg_sync would not block any more. */
void pg_sync_start(struct pg *pg);
bool pg_sync_done(struct pg *pg);

/* From now on, whatever a statement of pg_exec or pg_send says of schema `name` it does in schema `alias`: the same
 * code can so fill another generation of its tables. Before the first of them. Not for pg_script and pg_copy_in. */
void pg_alias_schema(struct pg *pg, const char *name, const char *alias);
/* Statements with parameters are shown to `take` before they are run by pg_exec or pg_send (not those without); one
 * that it takes (*ret_taken, false before) is not run, and has no result. NULL: none any more. */
typedef bool pg_take(void *user, const char *sql, const struct pg_params *params, bool *ret_taken, struct err *err);
void pg_divert(struct pg *pg, pg_take *take, void *user);
/* COPY … FROM STDIN with these bytes as all of its input. */
CHECK_RESULT bool pg_copy_in(struct pg *pg, const char *sql, struct str bytes, struct err *err);

void pg_result_free(struct pg_result *result);
void pg_result_clear(struct pg_result **result); /* for __attribute__((cleanup)) */
#define PG_RESULT_AUTO __attribute__((cleanup(pg_result_clear))) struct pg_result
int pg_rows(const struct pg_result *result);
int64_t pg_affected(const struct pg_result *result);
bool pg_is_null(const struct pg_result *result, int row, int column);
int64_t pg_get_i64(const struct pg_result *result, int row, int column); /* int2, int4, int8 */
bool pg_get_bool(const struct pg_result *result, int row, int column);
struct str pg_get_str(const struct pg_result *result, int row,
                      int column); /* text, bytea, json; borrowed; null: STR_NULL */
int64_t pg_get_time(const struct pg_result *result, int row, int column); /* timestamptz, epoch us */

#endif
