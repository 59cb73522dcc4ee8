/* Reading one's own writes: Orderlog-After on reads, Prefer: wait on writes. A command has come to something once its
 * row of a view shows it. */
#ifndef ORDERLOG_API_WAITS_H
#define ORDERLOG_API_WAITS_H

#include "api/internal.h"
#include "projections/view.h"

enum { WAIT_S_MAX = 10, WAIT_S_DEFAULT = 5 };

/* What a row says of a command; borrowed from the row. */
struct outcome {
    bool shown;
    struct str body_hash; /* of the first command with this id; ptr NULL: not known */
    struct str refusal;   /* a slug; ptr NULL: it was not refused */
    struct str detail;
};

/* `row` is of the view's type; NULL shows nothing. `body_hash`: that of the command's body, so that the outcome of
 * another one with the same id is not taken for it; ptr NULL: any will do. */
struct outcome outcome_of(const struct view *view, const void *row, struct str command_id, struct str body_hash);
/* The outcome of the request's own command. */
struct outcome outcome_of_own(const struct request *request, const struct view *view, const void *row);

/* Checks Orderlog-After and Prefer, as they came. */
CHECK_RESULT bool waits_check(struct request *request, struct err *err);

/* For a read that has its row, or knows that there is none: true when the read is to go on with it. False: the request
 * is suspended, and `again` called when the row shows what Orderlog-After names, or did not in time. What `again` reads
 * may come from another store than what was looked at, and be older: it calls this once more, and may wait on. */
bool waits_read(struct request *request, const struct view *view, struct str key, const void *row, request_step *again);

/* For a write that the log has taken: suspends the request until the row shows its command, or the time that the client
 * gives it has passed; then goes on with `then`. False: it does not wait (any more). May be called again, by `then`. */
bool waits_write(struct request *request, const struct view *view, struct str key, request_step *then);
/* What became of the request's own command. True: it was carried out. Else the problem is answered or, when it is not
 * known (yet), `unknown` called: which waits on, where the row that let it go on was read from another store. */
bool waits_done(struct request *request, const struct outcome *outcome, request_step *unknown);

#endif
