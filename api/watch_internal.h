/* Between watch.c (who waits) and watch_follow.c (what is told of the views). */
#ifndef ORDERLOG_API_WATCH_INTERNAL_H
#define ORDERLOG_API_WATCH_INTERNAL_H

#include "api/watch.h"
#include "projections/changes.h"
#include "projections/views.h"

#include <pthread.h>

/* What is told of one view's changes. */
struct follow {
    bool asked;
    bool told;             /* all changes are, since this is true */
    bool hot;              /* and all that wait were looked at since, and saw Redis' own rows: nothing is missed */
    int64_t unwanted_us;   /* since when nobody waits; 0: somebody does */
    int64_t looked_all_us; /* when all were last looked at */
};

struct watch {
    const char *redis_url;
    const atomic_int_least64_t *redis_away_until_us;
    pthread_t thread;
    int event_fd;
    pthread_mutex_t lock;
    /* under the lock */
    struct watched **buckets;
    struct watched *all[VIEW_COUNT];
    size_t counts[VIEW_COUNT];
    struct watched *due_first, *due_last;
    bool signalled;
    bool stopping;
    bool closing;
    /* the thread's own */
    struct views *views;
    struct arena arena;
    struct changes *changes; /* NULL: not open */
    struct follow follows[VIEW_COUNT];
    int64_t retry_us; /* Redis is not asked to tell before */
    int64_t heard_us;
    bool pinged;
    bool away;    /* Redis does not tell, which the log knows */
    bool failing; /* rows cannot be read, which the log knows */
};

static inline size_t watch_view_index(const struct view *view) {
    size_t i = 0;
    while (views_all[i] != view)
        i++;
    return i;
}

/* Under the lock: what waits for this row is due. */
void watch_row_changed(struct watch *watch, const struct view *view, struct str key);

/* ---- watch_follow.c: the thread's own */

/* Follows what is wanted, and nothing else; notices a connection that has died. */
void follow_tend(struct watch *watch, int64_t now_us);
/* Takes what was told. */
void follow_take(struct watch *watch, int64_t now_us);
void follow_close(struct watch *watch);
int follow_fd(const struct watch *watch);
bool follow_any(const struct watch *watch);

#endif
