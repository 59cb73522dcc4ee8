#include "cli/process_projectors.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/base/logging.h"
#include "core/base/thread.h"
#include "projections/loop.h"

/* A projector that waits a little writes more rows with one statement; what shoppers look at waits less. Where much
 * comes, the rows that many orders change wait longer, and are written once for all of them: a product's stock, and
 * what is bought together, for which nobody waits. */
struct pace {
    int64_t linger_ms;
    size_t busy_records;
    int64_t busy_linger_ms;
    size_t batch_max;
};

static const struct pace redis_pace = {.linger_ms = 5};
static const struct pace redis_products_pace = {.linger_ms = 5, .busy_records = 16, .busy_linger_ms = 200};
static const struct pace dynamodb_pace = {.linger_ms = 50};
static const struct pace postgres_pace = {.linger_ms = 200};
/* Also where much comes: the shop's front page lists products from here. */
static const struct pace postgres_products_pace = {.linger_ms = 1000, .batch_max = 3000};
static const struct pace recommendations_pace = {
    .linger_ms = 2000, .busy_records = 200, .busy_linger_ms = 5000, .batch_max = 3000};

enum { PROJECTORS_MAX = PROCESS_STORES * VIEW_COUNT };

struct projector {
    struct projectors *all;
    struct projector_config config;
    struct projector_waker waker;
    struct projector_status status;
    size_t count; /* how many its thread has, from this one on; 0: another's thread has it */
    pthread_t thread;
    bool started;
};

struct projectors {
    struct log *log;
    struct projector items[PROJECTORS_MAX];
    size_t count;
    atomic_bool stop;
    atomic_bool failed;
};

/* Those of one store, from the first that has the thread on. */
static void *projectors_main(void *user) {
    struct projector *first = user;
    const struct projector_config *configs[VIEW_COUNT];
    struct err err = {0};
    const char *store = first->config.store == &projector_postgres ? "pg" : first->config.store->name;
    thread_name("%s-%.10s", store, first->count > 1 ? "views" : first->config.view->name);
    for (size_t i = 0; i < first->count; i++)
        configs[i] = &first[i].config;
    if (!projector_run_together(first->all->log, configs, first->count, &first->all->stop, &err)) {
        logging_err(&err, "projector.stopped", "store=%s view=%s", first->config.store->name,
                    first->count > 1 ? "all" : first->config.view->name);
        atomic_store(&first->all->failed, true);
    }
    return NULL;
}

static const struct projector_store_ops *ops_of(const struct view *view, enum process_store store,
                                                const struct projectors_config *config) {
    if (store == PROCESS_POSTGRES)
        return &projector_postgres;
    return view->movable && config->views_url ? &projector_dynamodb : &projector_redis;
}

static bool shares_thread(const struct projector_store_ops *ops) {
    return ops == &projector_redis;
}

/* Those that share it follow each other in views_all. */
static size_t count_of_thread(size_t first, enum process_store store, const struct projectors_config *config) {
    size_t count = 0;
    if (!shares_thread(ops_of(views_all[first], store, config)))
        return 1;
    if (first > 0 && shares_thread(ops_of(views_all[first - 1], store, config)))
        return 0;
    while (first + count < VIEW_COUNT && shares_thread(ops_of(views_all[first + count], store, config)))
        count++;
    return count;
}

static const struct pace *pace_of(const struct view *view, const struct projector_store_ops *ops) {
    if (view == &view_recommendations)
        return &recommendations_pace;
    if (ops == &projector_postgres)
        return view == &view_products ? &postgres_products_pace : &postgres_pace;
    if (ops == &projector_dynamodb)
        return &dynamodb_pace;
    return view == &view_products ? &redis_products_pace : &redis_pace;
}

/* Redis's views share a thread, because they share round trips. PostgreSQL's have one each: what is wrong with one does
 * not hold up the others. */
static void add_store(struct projectors *projectors, enum process_store store, const struct projectors_config *config) {
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        struct projector *projector = &projectors->items[projectors->count++];
        const struct projector_store_ops *ops = ops_of(views_all[i], store, config);
        const struct pace *pace = pace_of(views_all[i], ops);
        *projector = (struct projector){.all = projectors,
                                        .waker = PROJECTOR_WAKER_INIT,
                                        .status = PROJECTOR_STATUS_INIT,
                                        .count = count_of_thread(i, store, config)};
        projector->config =
            (struct projector_config){.store = ops,
                                      .url = ops == &projector_dynamodb ? config->views_url : config->urls[store],
                                      .view = views_all[i],
                                      .shop = config->shop,
                                      .status = &projector->status,
                                      .waker = &projector->waker,
                                      .batch_max = pace->batch_max,
                                      .linger_ms = pace->linger_ms,
                                      .busy_records = pace->busy_records,
                                      .busy_linger_ms = pace->busy_linger_ms};
    }
}

bool projectors_start(const struct projectors_config *config, struct projectors **ret, struct err *err) {
    struct projectors *projectors = mem_zalloc(sizeof *projectors);
    projectors->log = config->log;
    for (int store = 0; store < PROCESS_STORES; store++)
        if (config->urls[store])
            add_store(projectors, (enum process_store)store, config);
    for (size_t i = 0; i < projectors->count; i++) {
        struct projector *projector = &projectors->items[i];
        if (!projector->count)
            continue;
        if (pthread_create(&projector->thread, NULL, projectors_main, projector) != 0) {
            projectors_stop(projectors);
            return err_set(err, ERR_INTERNAL, "no thread can be started");
        }
        projector->started = true;
    }
    *ret = projectors;
    return true;
}

bool projectors_run(const struct projectors *projectors) {
    return !atomic_load(&projectors->failed);
}

void projectors_check(struct projectors *projectors, struct checks *checks) {
    for (size_t i = 0; i < projectors->count; i++)
        projector_check(&projectors->items[i].status, checks);
}

void projectors_stop(struct projectors *projectors) {
    if (!projectors)
        return;
    atomic_store(&projectors->stop, true);
    for (size_t i = 0; i < projectors->count; i++)
        projector_wake(&projectors->items[i].waker);
    for (size_t i = 0; i < projectors->count; i++)
        if (projectors->items[i].started)
            pthread_join(projectors->items[i].thread, NULL);
    for (size_t i = 0; i < projectors->count; i++)
        projector_status_free(&projectors->items[i].status);
    free(projectors);
}
