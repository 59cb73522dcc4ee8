/* Waiting until a row of a view is as a client wants it, without a thread for each that waits: their connections are
 * suspended, one thread listens to what the projectors tell (projections/changes.h), reads the rows of those concerned
 * in one round trip, and resumes the connections that it concerns. While Redis is away, or is being filled, all that
 * wait are looked at several times a second in one query of PostgreSQL.
 *
 * What waits is BUSY with a thread of the server's, or WAITS: then its connection is suspended and it belongs to the
 * watcher's thread, until that resumes it. */
#ifndef ORDERLOG_API_WATCH_H
#define ORDERLOG_API_WATCH_H

#include "api/internal.h"
#include "projections/view.h"

struct watched;

/* Called on the watcher's thread while it waits; must not block. True: the connection goes on. */
struct watched_ops {
    bool (*look)(struct watched *watched, const void *row); /* the row as it is, NULL: there is none to be shown */
    bool (*tick)(struct watched *watched, int64_t now_us);  /* several times a second */
    void (*stop)(struct watched *watched);                  /* the server stops: the connection goes on */
};

/* A part of what waits; zeroed but for the first four, which stay as they are from watch_add to watch_remove. */
struct watched {
    const struct watched_ops *ops;
    struct MHD_Connection *connection;
    const struct view *view;
    struct str key; /* borrowed */
    /* from here on the watcher's */
    bool looked;     /* at least once was it known what the row was */
    bool gone;       /* the client has left */
    bool unreadable; /* the row cannot be read; the log says why */
    bool waiting, changed, due;
    int fd;
    uint64_t hash;
    struct watched *bucket_prev, *bucket_next;
    struct watched *prev, *next; /* all of the view */
    struct watched *next_due;
};

/* ERR_CONFIG for URLs that are none. */
CHECK_RESULT bool watch_open(struct api *api, int32_t partitions, struct watch **ret, struct err *err);
/* All that wait go on, as do those that would wait from now on. */
void watch_stop(struct watch *watch);
/* Nothing may be in it any more. NULL is fine. */
void watch_close(struct watch *watch);

/* From now on changes of the row are noted. */
void watch_add(struct watch *watch, struct watched *watched);
/* Suspends the connection: it waits, to be looked at now (`look`), or once the row has changed since it was added or
 * last looked at. Nothing of it may be touched after this. */
void watch_wait(struct watch *watch, struct watched *watched, bool look);
/* Only what is busy. */
void watch_remove(struct watch *watch, struct watched *watched);

#endif
