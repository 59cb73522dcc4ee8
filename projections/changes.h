/* Being told which rows of the views in Redis have changed: a connection that has subscribed to what every save there
 * publishes (projections/redis_store.c). Who is told of a row finds it in Redis as it is by then, or newer.
 *
 * Nothing is told of what happened before a view is followed, or while the connection was lost: CHANGE_FOLLOWED says
 * from when on nothing is missed. A `struct changes` belongs to one thread. Connecting blocks for at most 250 ms,
 * nothing else does. Any failure is ERR_STORE_UNAVAILABLE or Redis' refusal; the connection is gone with it, and no
 * view is followed any more. */
#ifndef ORDERLOG_PROJECTIONS_CHANGES_H
#define ORDERLOG_PROJECTIONS_CHANGES_H

#include "core/base/err.h"
#include "projections/view.h"

struct changes;

enum change_kind {
    CHANGE_NONE,     /* nothing has come */
    CHANGE_ROWS,     /* of `view`: see change_key */
    CHANGE_FOLLOWED, /* from now on all changes of `view` are told */
    CHANGE_OTHER,    /* a sign of life */
};

struct change {
    enum change_kind kind;
    const struct view *view;
    struct str keys; /* borrowed until the next call; taken apart by change_key */
};

/* Does not connect yet. ERR_CONFIG for a URL that is not one. */
CHECK_RESULT bool changes_open(const char *redis_url, struct changes **ret, struct err *err);
void changes_close(struct changes *changes); /* NULL is fine */

/* Asks to be told of a view's changes, or not any more. */
CHECK_RESULT bool changes_follow(struct changes *changes, const struct view *view, bool follow, struct err *err);
/* Asks for a sign of life. */
CHECK_RESULT bool changes_ping(struct changes *changes, struct err *err);
/* What came next; does not wait. */
CHECK_RESULT bool changes_next(struct changes *changes, struct change *ret, struct err *err);
/* To wait on for reading once there was nothing more; -1 while not connected. */
int changes_fd(const struct changes *changes);

/* Takes the next key of CHANGE_ROWS; false when there is none left. */
bool change_key(struct change *change, struct str *ret);

#endif
