#include "api/revoked.h"

#include "api/answer.h"
#include "api/limits.h"
#include "api/revoked_set.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/metrics.h"
#include "core/base/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FIRST_LOOK_MS = 2000, /* that the start waits for it */
    SWEEP_US = 60 * 1000 * 1000,
    WAITING_MAX = 1024,
    DETAIL_MAX = sizeof((struct err){0}.detail),
};

/* A request that waits for the store. */
struct addition {
    struct addition *next;
    struct revoked *revoked;
    struct MHD_Connection *connection;
    request_step *then;
    struct revoked_id id;
    int64_t deadline_us;
    int refs; /* the request's, and that of who has it to do */
    bool landed;
    enum err_kind kind; /* ERR_NONE: the store has it */
    char detail[DETAIL_MAX];
};

struct revoked {
    struct revoked_store *store; /* the thread's */
    int64_t interval_us;
    int64_t patience_us;
    size_t known_max;
    pthread_t thread;

    struct revoked_set *known;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t wake;  /* of the thread */
    pthread_cond_t looked;
    struct addition *first, *last;             /* to be done */
    struct addition *batch[REVOKED_BATCH_MAX]; /* being done */
    size_t batch_count;
    size_t waiting;
    bool stopping;
    bool closing;
    bool tried;   /* to read the store, */
    bool loaded;  /* and did */
    bool failing; /* which the log knows */
    struct metric *known_metric;
    struct metric *unread_metric;
};

/* ---- what is known ---- */

static void learn(struct revoked *revoked, const struct revoked_id *ids, size_t count) {
    revoked_set_add(revoked->known, ids, count);
    metrics_set(revoked->known_metric, (double)revoked_set_count(revoked->known));
}

static void sweep(struct revoked *revoked) {
    revoked_set_sweep(revoked->known);
    metrics_set(revoked->known_metric, (double)revoked_set_count(revoked->known));
}

/* Of what the token signs, not of its text: the same signature can be written in several ways. */
static struct revoked_id id_of(const char *kind, struct str text, int64_t expires_s) {
    struct revoked_id id = {.expires_s = expires_s};
    uint8_t hash[SHA256_SIZE];
    BUF_AUTO named = {0};
    buf_printf(&named, "%s:%.*s", kind, STR_ARG(text));
    sha256(buf_str(&named), hash);
    memcpy(id.bytes, hash, sizeof id.bytes);
    return id;
}

static struct revoked_id session_id(const struct principal *principal) {
    return id_of("session", principal->session, principal->expires_s);
}

static struct revoked_id shopper_id(struct str id, int64_t expires_s) {
    return id_of("shopper", id, expires_s);
}

bool revoked_has(struct revoked *revoked, const struct principal *principal) {
    if (!revoked || principal->kind != PRINCIPAL_SHOPPER || !revoked_set_count(revoked->known))
        return false;
    struct revoked_id session = session_id(principal), shopper = shopper_id(principal->id, principal->expires_s);
    return revoked_set_has(revoked->known, &session) || revoked_set_has(revoked->known, &shopper);
}

/* ---- additions, with the lock held ---- */

static void unref(struct addition *addition) {
    if (--addition->refs == 0)
        free(addition);
}

/* It may be gone afterwards, unless there is another reference to it. */
static void land(struct addition *addition, enum err_kind kind, const char *detail) {
    if (addition->landed)
        return;
    addition->landed = true;
    addition->kind = kind;
    snprintf(addition->detail, sizeof addition->detail, "%s", detail);
    MHD_resume_connection(addition->connection);
}

static bool land_overdue(struct addition *addition, int64_t now_us) {
    if (now_us < addition->deadline_us)
        return false;
    land(addition, ERR_STORE_UNAVAILABLE,
         addition->revoked->stopping ? "the server is stopping"
                                     : "the store of revoked sessions has not answered in time");
    return true;
}

/* What was not begun is not done any more, so that a store that hangs gathers nothing; all have the same patience. */
static void land_all_overdue(struct revoked *revoked, int64_t now_us) {
    for (size_t i = 0; i < revoked->batch_count; i++)
        (void)land_overdue(revoked->batch[i], now_us);
    for (struct addition *addition; (addition = revoked->first) && land_overdue(addition, now_us);) {
        revoked->first = addition->next;
        unref(addition);
    }
}

void revoked_tick(struct revoked *revoked) {
    if (!revoked)
        return;
    pthread_mutex_lock(&revoked->lock);
    land_all_overdue(revoked, clock_monotonic_us());
    pthread_mutex_unlock(&revoked->lock);
}

void revoked_stop(struct revoked *revoked) {
    if (!revoked)
        return;
    pthread_mutex_lock(&revoked->lock);
    revoked->stopping = true;
    land_all_overdue(revoked, INT64_MAX);
    pthread_mutex_unlock(&revoked->lock);
}

/* ---- additions, on the connections' threads ---- */

static void abandon(struct request *request) {
    struct addition *addition = request->context;
    struct revoked *revoked = addition->revoked;
    pthread_mutex_lock(&revoked->lock);
    addition->landed = true; /* nobody is to resume it any more */
    revoked->waiting--;
    unref(addition);
    pthread_mutex_unlock(&revoked->lock);
}

static void go_on(struct request *request) {
    const struct addition *addition = request->context;
    request_step *then = addition->then;
    struct err err = {0};
    if (addition->kind != ERR_NONE)
        err_set(&err, addition->kind, "%s", addition->detail);
    abandon(request);
    if (err.kind == ERR_NONE)
        then(request);
    else
        answer_err(request, &err);
}

/* Anybody can make sessions and end them: that there are many must not keep an operator from ending a stolen one. */
static bool may_wait(struct revoked *revoked, const struct principal *by, struct err *err) {
    bool full = revoked->waiting >= WAITING_MAX ||
                (by->kind != PRINCIPAL_OPERATOR && revoked_set_count(revoked->known) >= revoked->known_max);
    if (revoked->stopping)
        return err_set(err, ERR_STORE_UNAVAILABLE, "the server is stopping");
    return !full || err_set(err, ERR_OVERLOADED, "too many sessions are revoked");
}

static bool enqueue(struct request *request, const struct revoked_id *id, request_step *then, struct err *err) {
    struct revoked *revoked = request->api->revoked;
    if (!revoked)
        return err_set(err, ERR_STORE_UNAVAILABLE, "there is no store of revoked sessions");
    pthread_mutex_lock(&revoked->lock);
    if (!may_wait(revoked, &request->principal, err)) {
        pthread_mutex_unlock(&revoked->lock);
        return false;
    }
    struct addition *addition = mem_zalloc(sizeof *addition);
    *addition = (struct addition){.revoked = revoked,
                                  .connection = request->connection,
                                  .then = then,
                                  .id = *id,
                                  .deadline_us = clock_monotonic_us() + revoked->patience_us,
                                  .refs = 2};
    request->context = addition;
    request->resumed = go_on;
    request->abandoned = abandon;
    MHD_suspend_connection(request->connection); /* before anyone may resume it */
    *(revoked->first ? &revoked->last->next : &revoked->first) = addition;
    revoked->last = addition;
    revoked->waiting++;
    pthread_cond_signal(&revoked->wake);
    pthread_mutex_unlock(&revoked->lock);
    return true;
}

static void start(struct request *request, struct revoked_id id, request_step *then) {
    struct err err;
    if (enqueue(request, &id, then, err_none(&err)))
        return;
    if (err.kind == ERR_OVERLOADED)
        limits_count_shed(request->api->limits, SHED_SESSIONS);
    answer_err(request, &err);
}

void revoked_add_session(struct request *request, request_step *then) {
    start(request, session_id(&request->principal), then);
}

void revoked_add_shopper(struct request *request, struct str id, int64_t expires_s, request_step *then) {
    start(request, shopper_id(id, expires_s), then);
}

/* ---- the thread ---- */

static void note(struct revoked *revoked, bool ok, const struct err *err) {
    if (ok && revoked->failing)
        logging_write(LOG_INFO, "http.sessions_back", " ");
    if (!ok && !revoked->failing)
        logging_err(err, "http.sessions_away", " ");
    if (!ok)
        metrics_add(revoked->unread_metric, 1);
    pthread_mutex_lock(&revoked->lock);
    revoked->tried = true;
    revoked->loaded = revoked->loaded || ok;
    revoked->failing = !ok;
    pthread_cond_broadcast(&revoked->looked);
    pthread_mutex_unlock(&revoked->lock);
}

static void look(struct revoked *revoked) {
    struct revoked_list list = {0};
    struct err err = {0};
    bool ok = revoked->store->ops->read(revoked->store, &list, &err);
    if (list.count) /* also of a read that failed half-way */
        learn(revoked, list.items, list.count);
    free(list.items);
    note(revoked, ok, &err);
}

static bool take_batch(struct revoked *revoked, struct revoked_id *ids) {
    pthread_mutex_lock(&revoked->lock);
    while (revoked->first && revoked->batch_count < revoked->store->ops->batch_max) {
        struct addition *addition = revoked->first;
        revoked->first = addition->next;
        ids[revoked->batch_count] = addition->id;
        revoked->batch[revoked->batch_count++] = addition;
    }
    pthread_mutex_unlock(&revoked->lock);
    return revoked->batch_count > 0;
}

static void add_batch(struct revoked *revoked, const struct revoked_id *ids) {
    struct err err = {0};
    bool ok = revoked->store->ops->add(revoked->store, ids, revoked->batch_count, &err);
    if (ok)
        learn(revoked, ids, revoked->batch_count);
    pthread_mutex_lock(&revoked->lock);
    for (size_t i = 0; i < revoked->batch_count; i++) {
        land(revoked->batch[i], ok ? ERR_NONE : err.kind, err.detail);
        unref(revoked->batch[i]);
    }
    revoked->batch_count = 0;
    pthread_mutex_unlock(&revoked->lock);
}

/* Until then, or until there is something to add. False: it is to end. */
static bool pause_until(struct revoked *revoked, int64_t time_us) {
    struct timespec until = {.tv_sec = time_us / 1000000, .tv_nsec = time_us % 1000000 * 1000};
    pthread_mutex_lock(&revoked->lock);
    if (!revoked->closing && !revoked->first)
        pthread_cond_timedwait(&revoked->wake, &revoked->lock, &until);
    bool closing = revoked->closing;
    pthread_mutex_unlock(&revoked->lock);
    return !closing;
}

static void *run(void *user) {
    struct revoked *revoked = user;
    struct revoked_id ids[REVOKED_BATCH_MAX];
    int64_t look_us = 0, sweep_us = clock_monotonic_us() + SWEEP_US;
    thread_name("api-sessions");
    do {
        if (take_batch(revoked, ids)) /* a batch only: however many come, what others revoke is looked for, too */
            add_batch(revoked, ids);
        int64_t now_us = clock_monotonic_us();
        if (now_us >= look_us) {
            look(revoked);
            look_us = now_us + revoked->interval_us;
        }
        if (now_us >= sweep_us) {
            sweep(revoked);
            sweep_us = now_us + SWEEP_US;
        }
    } while (pause_until(revoked, look_us));
    return NULL;
}

/* ---- for probes ---- */

void revoked_check(struct revoked *revoked, struct checks *checks) {
    if (!revoked)
        return;
    pthread_mutex_lock(&revoked->lock);
    bool loaded = revoked->loaded, failing = revoked->failing;
    pthread_mutex_unlock(&revoked->lock);
    if (loaded && !failing)
        checks_add(checks, CHECK_OK, STR_NULL, "sessions");
    else
        checks_add(checks, loaded ? CHECK_WARNING : CHECK_FAILED, STR("the store of revoked sessions does not answer"),
                   "sessions");
}

/* ---- opening and closing ---- */

static void destroy(struct revoked *revoked) {
    revoked->store->ops->close(revoked->store);
    pthread_cond_destroy(&revoked->wake);
    pthread_cond_destroy(&revoked->looked);
    pthread_mutex_destroy(&revoked->lock);
    revoked_set_free(revoked->known);
    free(revoked);
}

/* While the store is away the server starts all the same; it only is not ready. */
static void await_first_look(struct revoked *revoked) {
    int64_t time_us = clock_monotonic_us() + FIRST_LOOK_MS * INT64_C(1000);
    struct timespec until = {.tv_sec = time_us / 1000000, .tv_nsec = time_us % 1000000 * 1000};
    pthread_mutex_lock(&revoked->lock);
    while (!revoked->tried && pthread_cond_timedwait(&revoked->looked, &revoked->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&revoked->lock);
}

bool revoked_open(const struct api_config *config, struct revoked **ret, struct err *err) {
    struct revoked_store *store;
    *ret = NULL;
    if (!config->sessions_url)
        return true;
    if (!revoked_store_open(config->sessions_url, &store, err))
        return false;
    struct revoked *revoked = mem_zalloc(sizeof *revoked);
    revoked->store = store;
    revoked->interval_us = config->sessions_interval_ms * 1000;
    revoked->known_max = (size_t)config->revoked_max;
    revoked->patience_us = config->ack_timeout_ms * 1000;
    revoked->known_metric =
        metrics_gauge("orderlog_http_sessions_revoked", "Revoked sessions that are remembered.", "");
    revoked->unread_metric = metrics_counter("orderlog_http_sessions_unread_total",
                                             "Looks at the store of revoked sessions that failed.", "");
    revoked->known = revoked_set_new();
    metrics_set(revoked->known_metric, 0);
    pthread_mutex_init(&revoked->lock, NULL);
    thread_cond_init(&revoked->wake);
    thread_cond_init(&revoked->looked);
    if (pthread_create(&revoked->thread, NULL, run, revoked) != 0) {
        destroy(revoked);
        return err_set(err, ERR_INTERNAL, "no thread can be started");
    }
    await_first_look(revoked);
    *ret = revoked;
    return true;
}

void revoked_close(struct revoked *revoked) {
    if (!revoked)
        return;
    pthread_mutex_lock(&revoked->lock);
    revoked->closing = true;
    pthread_cond_signal(&revoked->wake);
    pthread_mutex_unlock(&revoked->lock);
    pthread_join(revoked->thread, NULL);
    destroy(revoked);
}
