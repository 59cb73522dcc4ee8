#include "api/reads.h"

#include "api/answer.h"
#include "core/base/clock.h"
#include "core/base/logging.h"
#include "core/base/thread.h"

#include <pthread.h>
#include <stdlib.h>

/* So many more partners are looked at, since some may not be for sale any more. */
enum { RECOMMENDATIONS_SPARE = 20 };

enum { PROBE_INTERVAL_S = 1, POOL_MAX = 64 };

enum source { SOURCE_HOT, SOURCE_LISTS, SOURCE_COUNT };

static const char *const source_names[] = {"hot", "lists"};

struct reads {
    const char *redis_url;
    const char *database_url;
    const char *views_url;
    int32_t partitions;
    atomic_int_least64_t *redis_away_until_us;
    pthread_mutex_t lock;
    struct views *pool[POOL_MAX]; /* those not in use: a struct views belongs to one thread at a time */
    size_t pool_count;
    atomic_bool away[SOURCE_COUNT];
    pthread_t prober;
    pthread_cond_t wake;
    bool closing;
};

/* ---- the pool ---- */

static bool open_views(const struct reads *reads, struct views **ret, struct err *err) {
    struct views *views;
    if (!views_open(reads->redis_url, reads->database_url, reads->partitions, &views, err))
        return false;
    if (!views_move(views, reads->views_url, err)) {
        views_close(views);
        return false;
    }
    *ret = views;
    return true;
}

static bool pool_take(struct reads *reads, struct views **ret, struct err *err) {
    pthread_mutex_lock(&reads->lock);
    struct views *views = reads->pool_count ? reads->pool[--reads->pool_count] : NULL;
    pthread_mutex_unlock(&reads->lock);
    if (!views && !open_views(reads, &views, err))
        return false;
    views_share(views, reads->redis_away_until_us);
    *ret = views;
    return true;
}

static void pool_give(struct reads *reads, struct views *views) {
    pthread_mutex_lock(&reads->lock);
    bool kept = reads->pool_count < POOL_MAX;
    if (kept)
        reads->pool[reads->pool_count++] = views;
    pthread_mutex_unlock(&reads->lock);
    if (!kept)
        views_close(views);
}

static bool is_away(const struct reads *reads, enum source source) {
    return atomic_load_explicit(&reads->away[source], memory_order_relaxed);
}

static bool set_away(struct reads *reads, enum source source, bool away) {
    return atomic_exchange_explicit(&reads->away[source], away, memory_order_relaxed) != away;
}

static void note(struct reads *reads, enum source source, bool ok, const struct err *err) {
    if (ok && set_away(reads, source, false))
        logging_write(LOG_INFO, "http.reads_back", "source=%s", source_names[source]);
    if (!ok && err->kind == ERR_STORE_UNAVAILABLE && set_away(reads, source, true))
        logging_err(err, "http.reads_away", "source=%s", source_names[source]);
}

/* ---- one read ---- */

static bool begin(struct request *request, enum source source, struct views **ret) {
    struct reads *reads = request->api->reads;
    struct err err = {0};
    bool configured = reads->redis_url && (source == SOURCE_HOT || reads->database_url);
    if (!configured || is_away(reads, source))
        err_set(&err, ERR_STORE_UNAVAILABLE, "%s", configured ? "the views do not answer" : "no views are configured");
    else if (pool_take(reads, ret, &err))
        return true;
    answer_err(request, &err);
    return false;
}

/* Before the first start of a projector there are no tables, and whoever asks will be answered once there are. */
static void tell_apart(struct err *err) {
    if (err->kind == ERR_CONFIG)
        err->kind = ERR_STORE_UNAVAILABLE;
}

static bool end(struct request *request, enum source source, struct views *views, bool ok, struct err *err) {
    pool_give(request->api->reads, views);
    tell_apart(err);
    note(request->api->reads, source, ok, err);
    if (!ok)
        answer_err(request, err);
    return ok;
}

bool reads_order(struct request *request, struct str order_id, struct view_order_row **ret) {
    struct err err = {0};
    struct views *views;
    if (!begin(request, SOURCE_HOT, &views))
        return false;
    return end(request, SOURCE_HOT, views, views_order(views, order_id, &request->arena, ret, &err), &err);
}

bool reads_product(struct request *request, struct str sku, struct view_product_row **ret) {
    struct err err = {0};
    struct views *views;
    if (!begin(request, SOURCE_HOT, &views))
        return false;
    return end(request, SOURCE_HOT, views, views_product(views, sku, &request->arena, ret, &err), &err);
}

static bool partner_products(struct views *views, struct recommendations *found, size_t limit, struct arena *arena,
                             struct err *err) {
    struct view_partner *partners = found->partners;
    struct str *skus = arena_array(arena, struct str, found->count);
    struct view_product_row **products = arena_array(arena, struct view_product_row *, found->count);
    for (size_t i = 0; i < found->count; i++)
        skus[i] = partners[i].sku;
    if (!found->count)
        return true;
    if (!views_products(views, skus, found->count, arena, products, err))
        return false;
    size_t count = 0;
    for (size_t i = 0; i < found->count && count < limit; i++) {
        if (!products[i] || !products[i]->for_sale)
            continue;
        partners[count] = partners[i];
        products[count++] = products[i];
    }
    *found = (struct recommendations){found->product, partners, products, count};
    return true;
}

bool reads_recommendations(struct request *request, struct str sku, size_t limit, struct recommendations *ret) {
    struct err err = {0};
    struct views *views;
    struct arena *arena = &request->arena;
    if (!begin(request, SOURCE_HOT, &views))
        return false;
    *ret = (struct recommendations){0};
    bool ok = views_product(views, sku, arena, &ret->product, &err);
    if (ok && ret->product)
        ok = views_recommendations(views, sku, limit + RECOMMENDATIONS_SPARE, arena, &ret->partners, &ret->count,
                                   &err) &&
             partner_products(views, ret, limit, arena, &err);
    return end(request, SOURCE_HOT, views, ok, &err);
}

static bool cart_products(struct views *views, const struct state_cart *cart, struct arena *arena,
                          struct view_product_row ***ret, struct err *err) {
    size_t count = cart ? cart->lines.count : 0;
    struct str *skus = arena_array(arena, struct str, count);
    *ret = arena_array(arena, struct view_product_row *, count);
    for (size_t i = 0; i < count; i++)
        skus[i] = cart->lines.items[i].sku;
    return count == 0 || views_products(views, skus, count, arena, *ret, err);
}

bool reads_cart(struct request *request, struct str cart_id, struct state_cart **ret,
                struct view_product_row ***ret_products) {
    struct err err = {0};
    struct views *views;
    struct arena *arena = &request->arena;
    if (!begin(request, SOURCE_HOT, &views))
        return false;
    bool ok = views_cart(views, cart_id, arena, ret, &err) && cart_products(views, *ret, arena, ret_products, &err);
    return end(request, SOURCE_HOT, views, ok, &err);
}

bool reads_product_page(struct request *request, struct str after, int32_t limit, struct product_page *ret) {
    struct err err = {0};
    struct views *views;
    if (!begin(request, SOURCE_LISTS, &views))
        return false;
    bool ok = views_product_page(views, after, limit, &request->arena, &ret->rows, &ret->count, &ret->next, &err);
    return end(request, SOURCE_LISTS, views, ok, &err);
}

bool reads_order_page(struct request *request, struct str shopper_id, struct str after, int32_t limit,
                      struct order_page *ret) {
    struct err err = {0};
    struct views *views;
    if (!begin(request, SOURCE_LISTS, &views))
        return false;
    bool ok =
        views_order_page(views, shopper_id, after, limit, &request->arena, &ret->rows, &ret->count, &ret->next, &err);
    return end(request, SOURCE_LISTS, views, ok, &err);
}

bool reads_order_events(struct request *request, struct str order_id, struct buf *ret) {
    struct err err = {0};
    struct views *views;
    if (!begin(request, SOURCE_LISTS, &views))
        return false;
    return end(request, SOURCE_LISTS, views, views_order_events_json(views, order_id, ret, &err), &err);
}

void reads_end_page(struct buf *reply, struct str next) {
    buf_add_char(reply, ']');
    if (next.ptr) {
        buf_add_str(reply, STR(",\"next\":"));
        buf_add_json_string(reply, next);
    }
    buf_add_char(reply, '}');
}

/* ---- the prober ---- */

static void probe(struct reads *reads, struct views *views) {
    struct err err = {0};
    note(reads, SOURCE_HOT, views_ping(views, &err), &err);
    if (!reads->database_url || !is_away(reads, SOURCE_LISTS))
        return;
    struct arena arena;
    struct product_page page;
    arena_init(&arena);
    bool ok = views_product_page(views, STR_NULL, 1, &arena, &page.rows, &page.count, &page.next, &err);
    arena_free(&arena);
    note(reads, SOURCE_LISTS, ok, &err);
}

static void *probe_on(void *user) {
    struct reads *reads = user;
    struct views *views = NULL;
    struct err err = {0};
    thread_name("api-probe");
    pthread_mutex_lock(&reads->lock);
    while (!reads->closing) {
        pthread_mutex_unlock(&reads->lock);
        if (views || open_views(reads, &views, &err)) {
            views_share(views, reads->redis_away_until_us);
            probe(reads, views);
        }
        pthread_mutex_lock(&reads->lock);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PROBE_INTERVAL_S;
        if (!reads->closing)
            pthread_cond_timedwait(&reads->wake, &reads->lock, &until);
    }
    pthread_mutex_unlock(&reads->lock);
    views_close(views);
    return NULL;
}

bool reads_hot_answers(const struct reads *reads) {
    return reads->redis_url && !is_away(reads, SOURCE_HOT);
}

bool reads_lists_answer(const struct reads *reads) {
    return reads->database_url && !is_away(reads, SOURCE_LISTS);
}

/* ---- opening and closing ---- */

bool reads_open(struct api *api, int32_t partitions, struct reads **ret, struct err *err) {
    const struct api_config *config = &api->config;
    struct reads *reads = mem_zalloc(sizeof *reads);
    reads->redis_url = config->redis_url;
    reads->database_url = config->database_url;
    reads->views_url = config->views_url;
    reads->partitions = partitions;
    reads->redis_away_until_us = &api->redis_away_until_us;
    pthread_mutex_init(&reads->lock, NULL);
    pthread_cond_init(&reads->wake, NULL);
    int failed = reads->redis_url ? pthread_create(&reads->prober, NULL, probe_on, reads) : 0;
    if (failed) {
        reads->redis_url = NULL;
        reads_close(reads);
        return err_set(err, ERR_INTERNAL, "cannot start a thread: %s", strerrordesc_np(failed));
    }
    *ret = reads;
    return true;
}

void reads_close(struct reads *reads) {
    if (!reads)
        return;
    pthread_mutex_lock(&reads->lock);
    reads->closing = true;
    pthread_cond_signal(&reads->wake);
    pthread_mutex_unlock(&reads->lock);
    if (reads->redis_url)
        pthread_join(reads->prober, NULL);
    for (size_t i = 0; i < reads->pool_count; i++)
        views_close(reads->pool[i]);
    pthread_cond_destroy(&reads->wake);
    pthread_mutex_destroy(&reads->lock);
    free(reads);
}
