/* A projector on a log and a store of its own, in a thread; and ways to look at what it made. */
#ifndef ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_TEST_H
#define ORDERLOG_TESTS_PROJECTIONS_PROJECTOR_TEST_H

#include <ftw.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "projections/generation.h"
#include "projections/loop.h"
#include "tests/projections/story_orders.h"

enum { WAIT_MS = 30000 };

/* What differs between the stores, for a suite that is the same for all. */
struct test_store {
    const struct projector_store_ops *ops;
    const struct generation_ops *generation;
    void (*make)(char **ret_url); /* an empty one */
    void (*drop)(char *url);
    void (*wipe)(const char *url); /* all rows and positions, under whoever uses them */
    void (*cut)(const char *url);  /* everybody's connections */
    /* All that is in it, row by row, in an order that does not change. With or without the positions. */
    void (*dump)(const char *url, struct buf *ret);
    int64_t (*parked)(const char *url); /* how many records */
};
extern const struct test_store test_store;

struct world {
    char folder[64];
    char *log_url;
    char *store_url;
    struct log *log;
    struct story story;
};

static inline void world_open_log(struct world *world) {
    struct err err = {0};
    if (!log_open(world->log_url, NULL, &world->log, &err))
        fail_msg("%s", err.detail);
}

static inline void world_open(struct world *world) {
    BUF_AUTO url = {0};
    *world = (struct world){.folder = "/tmp/projections-XXXXXX"};
    assert_non_null(mkdtemp(world->folder));
    buf_printf(&url, "sqlite://%s/log.db", world->folder);
    world->log_url = mem_strdup(buf_str(&url));
    test_store.make(&world->store_url);
    world_open_log(world);
    story_open(&world->story, world->log);
}

static inline int world_remove(const char *path, const struct stat *stat, int flag, struct FTW *at) {
    (void)stat, (void)flag, (void)at;
    return remove(path);
}

static inline void world_close_log(struct world *world) {
    story_close(&world->story);
    log_close(world->log);
    world->log = NULL;
}

static inline void world_close(struct world *world) {
    if (world->log)
        world_close_log(world);
    test_store.drop(world->store_url);
    free(world->store_url);
    free(world->log_url);
    nftw(world->folder, world_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- a projector in a thread ---- */

struct runner {
    struct world *world;
    struct projector_config config;
    struct projector_waker waker;
    struct shop shop;
    atomic_bool stop;
    atomic_int halted; /* shards */
    _Atomic(enum err_kind) why;
    pthread_t thread;
    bool ok;
    struct err err;
};

static inline void runner_shard_changed(void *user, int32_t shard, bool running, const struct err *why) {
    struct runner *runner = user;
    (void)shard;
    if (running)
        return;
    atomic_store(&runner->why, why->kind);
    atomic_fetch_add(&runner->halted, 1);
}

static inline void *runner_main(void *user) {
    struct runner *runner = user;
    runner->ok = projector_run(runner->world->log, &runner->config, &runner->stop, &runner->err);
    return NULL;
}

static inline void runner_init(struct runner *runner, struct world *world, const struct view *view) {
    *runner = (struct runner){.world = world, .waker = PROJECTOR_WAKER_INIT, .shop = shop_defaults()};
    runner->config = (struct projector_config){.store = test_store.ops,
                                               .url = world->store_url,
                                               .view = view,
                                               .shop = &runner->shop,
                                               .waker = &runner->waker,
                                               .shard_changed = runner_shard_changed,
                                               .user = runner};
}

static inline void runner_start(struct runner *runner) {
    assert_int_equal(pthread_create(&runner->thread, NULL, runner_main, runner), 0);
}

static inline void runner_stop(struct runner *runner) {
    atomic_store(&runner->stop, true);
    projector_wake(&runner->waker);
    pthread_join(runner->thread, NULL);
    if (!runner->ok)
        fail_msg("%s", runner->err.detail);
}

/* ---- waiting for it ---- */

static inline int64_t deadline_us(void) {
    return clock_monotonic_us() + WAIT_MS * INT64_C(1000);
}

static inline void nap(int64_t until_us, const char *for_what) {
    if (clock_monotonic_us() > until_us)
        fail_msg("waited too long for %s", for_what);
    clock_sleep_ms(2);
}

/* Where a shard stands by the store, by the name of the topic; 0 when it has not begun. */
static inline int64_t stored_offset(const struct projector_store_ops *ops, struct projector_store *store,
                                    struct arena *arena, int32_t shard, struct str topic) {
    struct shard_held held = {0};
    struct state_positions positions = {0};
    struct err err = {0};
    if (!ops->load(store, shard, arena, &held, &err) || !held.positions.ptr)
        return 0;
    if (!state_decode(schema_subject_find(STR("state/positions")), held.positions, arena, &positions, &err))
        fail_msg("%s", err.detail);
    for (size_t i = 0; i < positions.topics.count; i++)
        if (str_eq(positions.topics.items[i].topic, topic))
            return positions.topics.items[i].next_offset;
    return 0;
}

static inline bool topic_is_read(const struct projector_store_ops *ops, struct projector_store *store, struct log *log,
                                 const char *topic) {
    struct err err = {0};
    struct arena arena;
    bool done = true;
    arena_init(&arena);
    for (int32_t i = 0; done && i < STORY_PARTITIONS; i++) {
        int64_t low, high;
        if (!log_watermarks(log, str_from(topic), i, &low, &high, &err))
            fail_msg("%s", err.detail);
        done = stored_offset(ops, store, &arena, i, str_from(topic)) >= high;
    }
    arena_free(&arena);
    return done;
}

static inline bool view_is_read(const struct projector_store_ops *ops, struct projector_store *store, struct log *log,
                                const struct view *view) {
    bool done = true;
    for (size_t i = 0; done && i < view->topic_count; i++)
        done = topic_is_read(ops, store, log, view->topics[i]);
    for (const char *const *more = ops->more_topics(view); done && *more; more++)
        done = topic_is_read(ops, store, log, *more);
    return done;
}

/* Until the store says that all of the log is in it. `meanwhile` may be NULL. */
static inline void await_read_in(const struct projector_store_ops *ops, const char *url, const struct world *world,
                                 const struct view *view, void (*meanwhile)(const char *store_url)) {
    struct projector_store *store;
    struct err err = {0};
    if (!ops->open(url, view, &store, &err))
        fail_msg("%s", err.detail);
    for (int64_t until_us = deadline_us(); !view_is_read(ops, store, world->log, view);) {
        if (meanwhile)
            meanwhile(url);
        nap(until_us, view->name);
    }
    ops->close(store);
}

static inline void await_read_while(const struct world *world, const struct view *view,
                                    void (*meanwhile)(const char *store_url)) {
    await_read_in(test_store.ops, world->store_url, world, view, meanwhile);
}

static inline void await_read(const struct world *world, const struct view *view) {
    await_read_while(world, view, NULL);
}

static inline void await_halted(struct runner *runner, int shards) {
    for (int64_t until_us = deadline_us(); atomic_load(&runner->halted) < shards;)
        nap(until_us, "a shard to halt");
}

/* Runs each view until all of the log is in the store. */
static inline void read_all(struct world *world, size_t batch_max) {
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        struct runner runner;
        runner_init(&runner, world, views_all[i]);
        runner.config.batch_max = batch_max;
        runner_start(&runner);
        await_read(world, views_all[i]);
        runner_stop(&runner);
    }
}

/* A row by its key; NULL: there is none. */
static inline void *row_of(struct world *world, const struct view *view, struct str key, struct arena *arena) {
    struct projector_store *store;
    struct err err = {0};
    struct view_row row = {.key = key, .shard = view_shard_of(view, key, STORY_PARTITIONS)}, *rows[] = {&row};
    if (!test_store.ops->open(world->store_url, view, &store, &err) ||
        !test_store.ops->load_rows(store, rows, 1, arena, &err))
        fail_msg("%s", err.detail);
    const struct schema_subject *subject = schema_subject_find(str_from(view->subject));
    void *copy = NULL;
    if (row.value) {
        copy = arena_alloc(arena, view->row_size);
        avro_copy(subject->current->branches[0].type, row.value, arena, copy);
    }
    test_store.ops->close(store);
    return copy;
}

static inline char *dump_of(const struct world *world) {
    struct buf dump = {0};
    test_store.dump(world->store_url, &dump);
    buf_add_char(&dump, '\0');
    return dump.ptr;
}

#endif
