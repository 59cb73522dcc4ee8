#include "projections/refold.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"

enum { POLL_RECORDS = 1000, POLL_MS = 500, PATIENCE_US = 10 * 1000 * 1000 };

/* ---- opening and closing ---- */

static bool view_open(struct refold *refold, struct refold_view *view, const struct shop *shop, struct err *err) {
    struct projector *projector = &view->projector;
    view->config = (struct projector_config){.store = &view->ops, .view = view->view, .shop = shop};
    *projector = (struct projector){.log = refold->log, .config = &view->config};
    projector_group_name(view->ops.name, view->view, projector->service);
    if (!projector_find_topics(projector, err))
        return false;
    arena_init(&projector->arena);
    projector->rows = &projector->arena;
    projector_open_metrics(projector);
    projector_open_shards(projector);
    view->picked = mem_alloc(POLL_RECORDS * sizeof(view->picked[0]));
    view->limits = mem_zalloc((size_t)projector->shard_count * VIEW_TOPICS_MAX * sizeof(view->limits[0]));
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (!positions_read(&projector->shards[i].positions, log_id(refold->log), projector->topics,
                            projector->topic_count, STR_NULL, err))
            return false;
    return true;
}

bool refold_open(struct log *log, const struct projector_store_ops *ops, const struct view *const *views,
                 size_t view_count, const struct shop *shop, struct refold *ret, struct err *err) {
    *ret = (struct refold){.log = log};
    if (!log_consumer_open_manual(log, &ret->consumer, err))
        return false;
    for (size_t i = 0; i < view_count; i++) {
        struct refold_view *view = &ret->views[ret->view_count++];
        view->view = views[i];
        view->ops = *ops;
        if (!view_open(ret, view, shop, err)) {
            refold_close(ret);
            return false;
        }
    }
    return true;
}

void refold_close(struct refold *refold) {
    for (size_t i = 0; i < refold->view_count; i++) {
        struct refold_view *view = &refold->views[i];
        if (view->projector.shards)
            projector_close_shards(&view->projector);
        if (view->projector.arena.grow)
            arena_free(&view->projector.arena);
        free(view->picked);
        free(view->limits);
    }
    log_consumer_close(refold->consumer);
    *refold = (struct refold){0};
}

void refold_use(struct refold_view *view, const struct projector_store_ops *ops, struct projector_store *store,
                struct arena *rows) {
    view->ops = *ops;
    view->projector.store = store;
    view->projector.rows = rows ? rows : &view->projector.arena;
}

bool refold_load(struct refold *refold, struct refold_view *view, int32_t shard, struct err *err) {
    struct projector *projector = &view->projector;
    struct shard *to = &projector->shards[shard];
    struct shard_held held = {0};
    arena_reset(&projector->arena);
    if (!view->ops.load(projector->store, shard, &projector->arena, &held, err) ||
        !positions_read(&to->positions, log_id(refold->log), projector->topics, projector->topic_count, held.positions,
                        err))
        return false;
    buf_reset(&to->expected);
    buf_add_str(&to->expected, held.positions);
    map_free(&to->parked, NULL);
    for (size_t i = 0; i < held.parked_count; i++)
        *map_put(&to->parked, held.parked[i]) = to;
    return true;
}

/* ---- limits ---- */

int64_t *refold_limit(const struct refold_view *view, int32_t shard, size_t topic) {
    return &view->limits[(size_t)shard * VIEW_TOPICS_MAX + topic];
}

static int64_t next_offset(const struct refold_view *view, int32_t shard, size_t topic) {
    return view->projector.shards[shard].positions.state.topics.items[topic].next_offset;
}

void refold_end_shard(struct refold_view *view, int32_t shard) {
    view->projector.shards[shard].state = SHARD_HALTED;
    for (size_t topic = 0; topic < view->projector.topic_count; topic++)
        *refold_limit(view, shard, topic) = next_offset(view, shard, topic);
}

bool refold_shard_has_ended(const struct refold_view *view, int32_t shard) {
    return view->projector.shards[shard].state == SHARD_HALTED;
}

int64_t refold_left(const struct refold *refold) {
    int64_t left = 0;
    for (size_t i = 0; i < refold->view_count; i++) {
        const struct refold_view *view = &refold->views[i];
        for (int32_t shard = 0; shard < view->projector.shard_count; shard++)
            for (size_t topic = 0; topic < view->projector.topic_count; topic++) {
                int64_t more = *refold_limit(view, shard, topic) - next_offset(view, shard, topic);
                left += more > 0 ? more : 0;
            }
    }
    return left;
}

/* What is left of a partition for the views that read it. */
struct span {
    int64_t from, to;
};

static struct span span_of(const struct refold *refold, struct str name, int32_t shard) {
    struct span span = {INT64_MAX, 0};
    for (size_t i = 0; i < refold->view_count; i++) {
        const struct refold_view *view = &refold->views[i];
        for (size_t topic = 0; topic < view->projector.topic_count; topic++) {
            int64_t from = next_offset(view, shard, topic), to = *refold_limit(view, shard, topic);
            if (from >= to || !str_eq(view->projector.topics[topic].name, name))
                continue;
            span.from = from < span.from ? from : span.from;
            span.to = to > span.to ? to : span.to;
        }
    }
    return span;
}

/* Reads from where each shard stands; nothing of what is read already. */
static bool seek(struct refold *refold, struct err *err) {
    for (size_t i = 0; i < refold->view_count; i++) {
        struct refold_view *view = &refold->views[i];
        for (int32_t shard = 0; shard < view->projector.shard_count; shard++) {
            if (refold_shard_has_ended(view, shard))
                continue;
            view->projector.shards[shard].state = SHARD_RUNNING;
            for (size_t topic = 0; topic < view->projector.topic_count; topic++) {
                struct str name = view->projector.topics[topic].name;
                struct span span = span_of(refold, name, shard);
                log_consumer_pause(refold->consumer, name, shard);
                if (span.from < span.to && !log_consumer_seek(refold->consumer, name, shard, span.from, err))
                    return false;
            }
        }
    }
    return true;
}

/* ---- records ---- */

/* Into the views that read its topic, unless it is behind the limit. */
static void pick(struct refold *refold, const struct log_record *record) {
    int64_t last = 0;
    for (size_t i = 0; i < refold->view_count; i++) {
        struct refold_view *view = &refold->views[i];
        for (size_t topic = 0; topic < view->projector.topic_count; topic++) {
            if (!str_eq(view->projector.topics[topic].name, record->topic))
                continue;
            int64_t limit = *refold_limit(view, record->partition, topic);
            last = limit > last ? limit : last;
            if (record->offset < limit)
                view->picked[view->picked_count++] = *record;
        }
    }
    if (record->offset >= last - 1)
        log_consumer_pause(refold->consumer, record->topic, record->partition);
}

static bool saved(const struct refold_view *view, const struct shard_save *saves, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++) {
        struct shard *shard = &view->projector.shards[saves[i].shard];
        if (saves[i].conflict)
            return err_set(err, ERR_FENCED, "somebody else writes shard %d of the generation of view %s that is built",
                           saves[i].shard, view->view->name);
        struct buf held = shard->expected;
        shard->expected = shard->next;
        shard->next = held;
    }
    return true;
}

static bool halted(const struct refold_view *view, struct err *err) {
    for (int32_t i = 0; i < view->projector.shard_count; i++)
        if (view->projector.shards[i].halt) {
            *err = *view->projector.shards[i].halt;
            err_wrap(err, "shard %d of view %s", i, view->view->name);
            return true;
        }
    return false;
}

static bool view_handle(struct refold *refold, struct refold_view *view, struct err *err) {
    struct projector *projector = &view->projector;
    struct log_batch records = {view->picked, view->picked_count};
    size_t count = 0;
    if (!records.count)
        return true;
    arena_reset(&projector->arena);
    refold->events += (int64_t)records.count;
    view->picked_count = 0;
    if (!batch_fold(projector, &records, err) || halted(view, err))
        return false;
    struct shard_save *saves = arena_array(&projector->arena, struct shard_save, projector->shard_count);
    for (int32_t i = 0; i < projector->shard_count; i++)
        if (projector->shards[i].touched)
            saves[count++] = projector->shards[i].save;
    return !count ||
           ((!refold->facts || refold->facts(refold->user, view->view, saves, count, err)) &&
            view->ops.save(projector->store, saves, count, &projector->arena, err) && saved(view, saves, count, err));
}

bool refold_run(struct refold *refold, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + PATIENCE_US;
    if (!seek(refold, err))
        return false;
    while (refold_left(refold)) {
        struct log_batch batch;
        if (!log_consumer_poll(refold->consumer, POLL_RECORDS, POLL_MS, &batch, err))
            return false;
        for (size_t i = 0; i < batch.count; i++)
            pick(refold, &batch.records[i]);
        for (size_t i = 0; i < refold->view_count; i++)
            if (!view_handle(refold, &refold->views[i], err))
                return false;
        if (batch.count)
            give_up_us = clock_monotonic_us() + PATIENCE_US;
        else if (clock_monotonic_us() > give_up_us)
            return err_set(err, ERR_TIMEOUT, "the log gives no more, though there are %lld records to be read",
                           (long long)refold_left(refold));
        if (refold->tick && !refold->tick(refold->user, err))
            return false;
    }
    return true;
}
