#include "api/watch_internal.h"

#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/thread.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BUCKETS = 4096, /* a power of two */
    TICK_US = 100 * 1000,
    /* A message may get lost on the way (a failover of Redis, say): nobody waits for longer than this because of it. */
    LOOK_ANYWAY_US = 5 * 1000 * 1000,
    GONE_US = 1000 * 1000,
    ROWS_AT_ONCE = 512,
    IDLE_MS = 1000,
};

/* ---- the table, under the lock ---- */

static uint64_t hash_of(const struct view *view, struct str key) {
    uint64_t hash = UINT64_C(0xCBF29CE484222325) ^ watch_view_index(view); /* FNV-1a */
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.ptr[i]) * UINT64_C(0x100000001B3);
    return hash ^ hash >> 32;
}

static void signal_thread(struct watch *watch) {
    const uint64_t one = 1;
    if (watch->signalled)
        return;
    watch->signalled = true;
    while (write(watch->event_fd, &one, sizeof one) < 0)
        ;
}

static void make_due(struct watch *watch, struct watched *watched) {
    watched->changed = true;
    if (!watched->waiting || watched->due)
        return;
    watched->due = true;
    watched->next_due = NULL;
    *(watch->due_last ? &watch->due_last->next_due : &watch->due_first) = watched;
    watch->due_last = watched;
}

void watch_row_changed(struct watch *watch, const struct view *view, struct str key) {
    uint64_t hash = hash_of(view, key);
    for (struct watched *w = watch->buckets[hash % BUCKETS]; w; w = w->bucket_next)
        if (w->hash == hash && w->view == view && str_eq(w->key, key))
            make_due(watch, w);
}

/* ---- the server's threads ---- */

void watch_add(struct watch *watch, struct watched *watched) {
    size_t index = watch_view_index(watched->view);
    watched->hash = hash_of(watched->view, watched->key);
    watched->fd = MHD_get_connection_info(watched->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    pthread_mutex_lock(&watch->lock);
    struct watched **bucket = &watch->buckets[watched->hash % BUCKETS];
    watched->bucket_next = *bucket;
    if (*bucket)
        (*bucket)->bucket_prev = watched;
    *bucket = watched;
    watched->next = watch->all[index];
    if (watched->next)
        watched->next->prev = watched;
    watch->all[index] = watched;
    watch->counts[index]++;
    pthread_mutex_unlock(&watch->lock);
}

void watch_remove(struct watch *watch, struct watched *watched) {
    size_t index = watch_view_index(watched->view);
    pthread_mutex_lock(&watch->lock);
    *(watched->bucket_prev ? &watched->bucket_prev->bucket_next : &watch->buckets[watched->hash % BUCKETS]) =
        watched->bucket_next;
    if (watched->bucket_next)
        watched->bucket_next->bucket_prev = watched->bucket_prev;
    *(watched->prev ? &watched->prev->next : &watch->all[index]) = watched->next;
    if (watched->next)
        watched->next->prev = watched->prev;
    watch->counts[index]--;
    pthread_mutex_unlock(&watch->lock);
}

/* The connection must be suspended before the watcher may resume it. */
void watch_wait(struct watch *watch, struct watched *watched, bool look) {
    MHD_suspend_connection(watched->connection);
    pthread_mutex_lock(&watch->lock);
    watched->waiting = true;
    if (look || watched->changed)
        make_due(watch, watched);
    if (watched->due || watch->stopping)
        signal_thread(watch);
    pthread_mutex_unlock(&watch->lock);
}

/* ---- the watcher's thread: what waits is its own ---- */

struct bunch {
    struct watched **items;
    size_t count;
};

static void bunch_add(struct bunch *bunch, size_t cap, struct watched *watched) {
    if (bunch->count < cap)
        bunch->items[bunch->count++] = watched;
}

static struct bunch bunch_new(struct watch *watch, size_t cap) {
    return (struct bunch){arena_array(&watch->arena, struct watched *, cap), 0};
}

/* Each goes on: nothing of it may be touched once its connection was resumed. */
static void resume(struct watch *watch, const struct bunch *bunch) {
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < bunch->count; i++)
        bunch->items[i]->waiting = false;
    pthread_mutex_unlock(&watch->lock);
    for (size_t i = 0; i < bunch->count; i++)
        MHD_resume_connection(bunch->items[i]->connection);
}

/* All of a view that wait, or, with index VIEW_COUNT, all. Those that are due are left for then: they are in a list. */
static struct bunch waiting_of(struct watch *watch, size_t index) {
    size_t cap = 0;
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        cap += index == i || index == VIEW_COUNT ? watch->counts[i] : 0;
    struct bunch bunch = bunch_new(watch, cap);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        for (struct watched *w = index == i || index == VIEW_COUNT ? watch->all[i] : NULL; w; w = w->next)
            if (w->waiting && !w->due)
                bunch_add(&bunch, cap, w);
    pthread_mutex_unlock(&watch->lock);
    return bunch;
}

/* ---- looking at rows ---- */

static bool row_is_damaged(const struct err *err) {
    return err->kind == ERR_CORRUPT || err->kind == ERR_UNKNOWN_SCHEMA;
}

/* Anything else that fails is tried again with the next tick. */
static bool read_rows(struct watch *watch, size_t index, struct watched **items, size_t count, void **ret,
                      struct err *err) {
    bool hot;
    struct str *keys = arena_array(&watch->arena, struct str, count);
    for (size_t i = 0; i < count; i++)
        keys[i] = items[i]->key;
    bool ok = views_rows(watch->views, views_all[index], keys, count, &watch->arena, ret, &hot, err);
    if (!ok || !hot)
        watch->follows[index].hot = false;
    bool failing = !ok && !row_is_damaged(err);
    if (failing && !watch->failing)
        logging_err(err, "http.waiters_away", "view=%s", views_all[index]->name);
    if (!failing && watch->failing)
        logging_write(LOG_INFO, "http.waiters_back", " ");
    watch->failing = failing;
    return ok;
}

static void look_at(struct watched *watched, const void *row, struct bunch *ready, size_t cap) {
    watched->looked = true;
    if (watched->ops->look(watched, row))
        bunch_add(ready, cap, watched);
}

/* A row that cannot be read must not keep the others waiting. */
static void look_at_each(struct watch *watch, size_t index, struct watched **items, size_t count, struct bunch *ready) {
    for (size_t i = 0; i < count; i++) {
        struct err err = {0};
        void *row;
        if (read_rows(watch, index, &items[i], 1, &row, &err)) {
            look_at(items[i], row, ready, count);
        } else if (row_is_damaged(&err)) {
            logging_err(&err, "http.row_unreadable", "view=%s", views_all[index]->name);
            items[i]->unreadable = true;
            bunch_add(ready, count, items[i]);
        }
    }
}

static void look_at_some(struct watch *watch, size_t index, struct watched **items, size_t count) {
    struct err err = {0};
    void **rows = arena_array(&watch->arena, void *, count);
    struct bunch ready = bunch_new(watch, count);
    if (read_rows(watch, index, items, count, rows, &err)) {
        for (size_t i = 0; i < count; i++)
            look_at(items[i], rows[i], &ready, count);
    } else if (row_is_damaged(&err)) {
        look_at_each(watch, index, items, count, &ready);
    }
    resume(watch, &ready);
}

static void look(struct watch *watch, size_t index, const struct bunch *bunch) {
    for (size_t i = 0; i < bunch->count; i += ROWS_AT_ONCE)
        look_at_some(watch, index, &bunch->items[i], bunch->count - i < ROWS_AT_ONCE ? bunch->count - i : ROWS_AT_ONCE);
}

/* Those due, by view. */
static void take_due(struct watch *watch, struct bunch ret[VIEW_COUNT]) {
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        ret[i] = bunch_new(watch, watch->counts[i]);
    for (struct watched *w = watch->due_first; w; w = w->next_due) {
        size_t index = watch_view_index(w->view);
        w->due = w->changed = false;
        bunch_add(&ret[index], watch->counts[index], w);
    }
    watch->due_first = watch->due_last = NULL;
    pthread_mutex_unlock(&watch->lock);
}

static void look_at_due(struct watch *watch) {
    struct bunch due[VIEW_COUNT];
    take_due(watch, due);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        look(watch, i, &due[i]);
}

/* All of a view: what was not told of (yet), or may have been missed. Those that are busy are looked at when they wait.
 */
static void look_at_all(struct watch *watch, size_t index, int64_t now_us) {
    struct follow *follow = &watch->follows[index];
    pthread_mutex_lock(&watch->lock);
    for (struct watched *w = watch->all[index]; w; w = w->next)
        w->changed = !w->waiting;
    pthread_mutex_unlock(&watch->lock);
    const struct bunch all = waiting_of(watch, index);
    follow->looked_all_us = now_us;
    follow->hot = follow->told; /* taken back by any row that is not Redis' own */
    look(watch, index, &all);
}

/* ---- time ---- */

static void tick_all(struct watch *watch, int64_t now_us) {
    const struct bunch all = waiting_of(watch, VIEW_COUNT);
    struct bunch ready = bunch_new(watch, all.count);
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i]->ops->tick(all.items[i], now_us))
            bunch_add(&ready, all.count, all.items[i]);
    resume(watch, &ready);
    /* A Redis that hangs tells nothing, and is found out by who reads it. */
    bool away = now_us < atomic_load_explicit(watch->redis_away_until_us, memory_order_relaxed);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (away || !watch->follows[i].hot || now_us - watch->follows[i].looked_all_us >= LOOK_ANYWAY_US)
            look_at_all(watch, i, now_us);
}

/* The server does not look at a suspended connection, so that its end would show only with the next answer. */
static void find_gone(struct watch *watch) {
    const struct bunch all = waiting_of(watch, VIEW_COUNT);
    struct bunch ready = bunch_new(watch, all.count);
    struct pollfd *fds = arena_array(&watch->arena, struct pollfd, all.count);
    for (size_t i = 0; i < all.count; i++)
        fds[i] = (struct pollfd){.fd = all.items[i]->fd, .events = POLLRDHUP};
    if (poll(fds, all.count, 0) <= 0)
        return;
    for (size_t i = 0; i < all.count; i++) {
        all.items[i]->gone = fds[i].revents != 0;
        if (all.items[i]->gone)
            bunch_add(&ready, all.count, all.items[i]);
    }
    resume(watch, &ready);
}

static void let_all_go(struct watch *watch) {
    const struct bunch all = waiting_of(watch, VIEW_COUNT);
    for (size_t i = 0; i < all.count; i++)
        all.items[i]->ops->stop(all.items[i]);
    resume(watch, &all);
}

/* ---- the loop ---- */

static size_t count_all(struct watch *watch) {
    size_t count = 0;
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        count += watch->counts[i];
    pthread_mutex_unlock(&watch->lock);
    return count;
}

static void wait_for_news(struct watch *watch, int64_t until_us) {
    struct pollfd fds[] = {{.fd = watch->event_fd, .events = POLLIN}, {.fd = follow_fd(watch), .events = POLLIN}};
    int64_t left_us = until_us - clock_monotonic_us();
    int timeout_ms = left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
    if (!count_all(watch))
        timeout_ms = follow_any(watch) ? IDLE_MS : -1;
    if (poll(fds, 2, timeout_ms) <= 0 || !fds[0].revents)
        return;
    uint64_t signals;
    pthread_mutex_lock(&watch->lock);
    if (read(watch->event_fd, &signals, sizeof signals) > 0)
        watch->signalled = false;
    pthread_mutex_unlock(&watch->lock);
}

static bool is_stopping(struct watch *watch, bool *ret_closing) {
    pthread_mutex_lock(&watch->lock);
    bool stopping = watch->stopping;
    *ret_closing = watch->closing;
    pthread_mutex_unlock(&watch->lock);
    return stopping;
}

static void *run(void *user) {
    struct watch *watch = user;
    int64_t tick_us = 0, gone_us = 0;
    bool closing;
    thread_name("api-streams");
    for (;;) {
        wait_for_news(watch, tick_us);
        int64_t now_us = clock_monotonic_us();
        if (is_stopping(watch, &closing))
            let_all_go(watch);
        if (closing)
            return NULL;
        follow_tend(watch, now_us);
        follow_take(watch, now_us);
        look_at_due(watch);
        for (size_t i = 0; i < VIEW_COUNT; i++)
            if (watch->follows[i].told && !watch->follows[i].looked_all_us)
                look_at_all(watch, i, now_us);
        if (now_us >= tick_us) {
            tick_us = now_us + TICK_US;
            tick_all(watch, now_us);
        }
        if (now_us >= gone_us) {
            gone_us = now_us + GONE_US;
            find_gone(watch);
        }
        arena_reset(&watch->arena);
    }
}

/* ---- opening and closing ---- */

static void destroy(struct watch *watch) {
    follow_close(watch);
    views_close(watch->views);
    arena_free(&watch->arena);
    if (watch->event_fd >= 0)
        close(watch->event_fd);
    pthread_mutex_destroy(&watch->lock);
    free(watch->buckets);
    free(watch);
}

bool watch_open(struct api *api, int32_t partitions, struct watch **ret, struct err *err) {
    const struct api_config *config = &api->config;
    struct watch *watch = mem_zalloc(sizeof *watch);
    pthread_mutex_init(&watch->lock, NULL);
    arena_init(&watch->arena);
    watch->redis_url = config->redis_url;
    watch->redis_away_until_us = &api->redis_away_until_us;
    watch->buckets = mem_zalloc(BUCKETS * sizeof watch->buckets[0]);
    watch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = views_open(config->redis_url, config->database_url, partitions, &watch->views, err) &&
              views_move(watch->views, config->views_url, err);
    if (ok)
        views_share(watch->views, &api->redis_away_until_us);
    if (ok && (watch->event_fd < 0 || pthread_create(&watch->thread, NULL, run, watch) != 0))
        ok = err_set(err, ERR_INTERNAL, "the watcher of views cannot be started");
    if (ok)
        *ret = watch;
    else
        destroy(watch);
    return ok;
}

void watch_stop(struct watch *watch) {
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    signal_thread(watch);
    pthread_mutex_unlock(&watch->lock);
}

void watch_close(struct watch *watch) {
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->closing = true;
    signal_thread(watch);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    destroy(watch);
}
