#include "projections/rebuild.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/codec/avro.h"
#include "projections/kept_rows.h"
#include "projections/refold.h"

enum {
    MEMORY_BYTES = 64 << 20,
    NEAR_RECORDS = 2000, /* closer than that to the live one, it may be held for the rest */
    ROUNDS_MAX = 100,
};

struct rebuild {
    const struct rebuild_config *config;
    struct rebuild_report *report;
    const struct view *const *swapped; /* views that go live together */
    size_t swapped_count;
    struct generation *generation;
    struct refold refold;
    struct projector_store *stores[VIEW_COUNT]; /* of the new generation, by place in refold.views */
    bool apart[VIEW_COUNT];                     /* the live one cannot be compared with */
    unsigned noted;                             /* of which views that was said, by place in views_all */
    struct arena arena;
    struct generation_host host;
    enum rebuild_phase phase;
    int64_t total;
    int64_t done_before; /* events of phases that are over */
    int64_t rows_written;
};

/* ---- progress ---- */

static bool tick(void *user, struct err *err) {
    struct rebuild *rebuild = user;
    const struct rebuild_config *config = rebuild->config;
    int64_t done = rebuild->phase == REBUILD_WRITE     ? rebuild->rows_written
                   : rebuild->phase == REBUILD_COMPARE ? rebuild->report->rows_compared
                                                       : rebuild->refold.events - rebuild->done_before;
    if (!config->progress || config->progress(config->user, rebuild->phase, done, rebuild->total))
        return true;
    return err_set(err, ERR_TIMEOUT, "interrupted");
}

static bool enter(struct rebuild *rebuild, enum rebuild_phase phase, int64_t total, struct err *err) {
    rebuild->phase = phase;
    rebuild->total = total;
    rebuild->done_before = rebuild->refold.events;
    return tick(rebuild, err);
}

static struct refold_view *refold_view_of(struct rebuild *rebuild, const struct view *view) {
    for (size_t i = 0; i < rebuild->refold.view_count; i++)
        if (rebuild->refold.views[i].view == view)
            return &rebuild->refold.views[i];
    return NULL;
}

static void settled(void *user, const struct view *view, int32_t shard) {
    refold_end_shard(refold_view_of(user, view), shard);
}

static void compared(void *user, int64_t rows) {
    struct rebuild *rebuild = user;
    rebuild->report->rows_compared += rows;
}

static void differs(void *user, const struct generation_difference *difference) {
    struct rebuild *rebuild = user;
    rebuild->report->differences++;
    if (rebuild->config->differs)
        rebuild->config->differs(rebuild->config->user, difference);
}

/* ---- where the live one stands ---- */

static bool log_ends_at(struct rebuild *rebuild, const struct refold_view *view, int32_t shard, size_t topic,
                        int64_t *ret, struct err *err) {
    int64_t low;
    return log_watermarks(rebuild->config->log, view->projector.topics[topic].name, shard, &low, ret, err);
}

static unsigned note_bit(const struct view *view) {
    unsigned bit = 1;
    for (size_t i = 0; views_all[i] != view; i++)
        bit <<= 1;
    return bit;
}

/* Where the live shard stands is the limit. One that has nothing, is of another log, or further than this log goes
 * cannot be compared with: then all that the log holds is. */
static bool limit_shard(struct rebuild *rebuild, struct refold_view *view, int32_t shard, struct err *err) {
    const struct projector *projector = &view->projector;
    struct positions positions;
    struct err why = {0};
    struct str bytes;
    if (refold_shard_has_ended(view, shard))
        return true;
    if (!rebuild->config->store->live(rebuild->generation, view->view, shard, &rebuild->arena, &bytes, err))
        return false;
    positions_init(&positions);
    bool apart = !positions_read(&positions, log_id(rebuild->config->log), projector->topics, projector->topic_count,
                                 bytes, &why);
    bool ok = true;
    for (size_t i = 0; ok && i < projector->topic_count; i++) {
        int64_t end = 0, stands = apart || !bytes.ptr ? 0 : positions.state.topics.items[i].next_offset;
        int64_t *limit = refold_limit(view, shard, i);
        ok = log_ends_at(rebuild, view, shard, i, &end, err);
        if (!apart && stands > end) {
            apart = true;
            err_set(&why, ERR_LOST_RECORDS, "it stands at offset %lld of %.*s, and the log ends at %lld",
                    (long long)stands, STR_ARG(projector->topics[i].name), (long long)end);
        }
        if (!apart && !bytes.ptr && end > 0) {
            apart = true;
            err_set(&why, ERR_NOT_FOUND, "it has not begun");
        }
        int64_t to = apart ? end : stands;
        *limit = to > *limit ? to : *limit;
    }
    positions_free(&positions);
    size_t at = (size_t)(view - rebuild->refold.views);
    if (ok && apart && !(rebuild->noted & note_bit(view->view)))
        buf_printf(&rebuild->report->note, "the live view %s cannot be compared with: shard %d: %s; ", view->view->name,
                   shard, why.detail);
    rebuild->noted |= ok && apart ? note_bit(view->view) : 0;
    rebuild->apart[at] |= apart;
    return ok;
}

static bool limit_all(struct rebuild *rebuild, struct err *err) {
    arena_reset(&rebuild->arena);
    for (size_t i = 0; i < rebuild->refold.view_count; i++)
        for (int32_t shard = 0; shard < rebuild->refold.views[i].projector.shard_count; shard++)
            if (!limit_shard(rebuild, &rebuild->refold.views[i], shard, err))
                return false;
    return true;
}

static bool advance(void *user, struct err *err) {
    struct rebuild *rebuild = user;
    return limit_all(rebuild, err) && refold_run(&rebuild->refold, err);
}

static bool comparable(void *user, const struct view *view) {
    struct rebuild *rebuild = user;
    const struct refold_view *of = refold_view_of(rebuild, view);
    return !rebuild->apart[of - rebuild->refold.views];
}

/* ---- folding in memory, then writing ---- */

static bool fill_facts(void *user, const struct view *view, struct shard_save *shards, size_t count, struct err *err) {
    struct rebuild *rebuild = user;
    return rebuild->config->store->fill_facts(rebuild->generation, view, shards, count, err);
}

struct row_writer {
    struct rebuild *rebuild;
    const struct view *view;
};

static bool write_row(void *user, int32_t shard, struct str key, struct str bytes, struct err *err) {
    struct row_writer *writer = user;
    struct rebuild *rebuild = writer->rebuild;
    if (!rebuild->config->store->fill_row(rebuild->generation, writer->view, shard, key, bytes, err))
        return false;
    return ++rebuild->rows_written % 4096 || tick(rebuild, err);
}

static bool write_positions(struct rebuild *rebuild, struct refold_view *view, struct err *err) {
    for (int32_t i = 0; i < view->projector.shard_count; i++) {
        const struct buf *positions = &view->projector.shards[i].expected;
        if (positions->len &&
            !rebuild->config->store->fill_positions(rebuild->generation, view->view, i, buf_str(positions), err))
            return false;
    }
    return true;
}

static bool write_all(struct rebuild *rebuild, struct projector_store *const *kept, struct err *err) {
    int64_t rows = 0;
    for (size_t i = 0; i < rebuild->refold.view_count; i++)
        rows += (int64_t)kept_rows_count(kept[i]);
    if (!enter(rebuild, REBUILD_WRITE, rows, err))
        return false;
    for (size_t i = 0; i < rebuild->refold.view_count; i++) {
        struct row_writer writer = {rebuild, rebuild->refold.views[i].view};
        if (!kept_rows_each(kept[i], write_row, &writer, err))
            return false;
    }
    for (size_t i = 0; i < rebuild->refold.view_count; i++)
        if (!write_positions(rebuild, &rebuild->refold.views[i], err))
            return false;
    rebuild->report->rows = rows;
    return rebuild->config->store->fill_end(rebuild->generation, err);
}

static bool refold_open_for(struct rebuild *rebuild, const struct view *const *views, size_t count, struct err *err) {
    const struct rebuild_config *config = rebuild->config;
    int64_t events = rebuild->refold.events;
    if (rebuild->refold.consumer)
        refold_close(&rebuild->refold);
    if (!refold_open(config->log, config->store->store, views, count, config->shop, &rebuild->refold, err))
        return false;
    rebuild->refold.events = events;
    rebuild->refold.tick = tick;
    rebuild->refold.user = rebuild;
    memset(rebuild->apart, 0, sizeof(rebuild->apart));
    return true;
}

static bool fold(struct rebuild *rebuild, struct projector_store **kept, struct err *err) {
    const struct rebuild_config *config = rebuild->config;
    struct refold *refold = &rebuild->refold;
    struct projector_store_ops ops = *config->store->store;
    int64_t begun_us = clock_monotonic_us(), begun_cpu_us = clock_thread_cpu_us();
    ops.load_rows = kept_rows_load;
    ops.save = kept_rows_save;
    for (size_t i = 0; i < refold->view_count; i++) {
        size_t memory = config->memory_bytes ? config->memory_bytes : MEMORY_BYTES;
        if (!kept_rows_open(refold->views[i].view, memory, &kept[i], err))
            return false;
        refold_use(&refold->views[i], &ops, kept[i], kept_rows_arena(kept[i]));
        for (int32_t shard = 0; shard < refold->views[i].projector.shard_count; shard++)
            refold->views[i].projector.shards[shard].positions.state.generation =
                config->store->number(rebuild->generation);
    }
    refold->facts = fill_facts;
    bool ok =
        limit_all(rebuild, err) && enter(rebuild, REBUILD_FOLD, refold_left(refold), err) && refold_run(refold, err);
    refold->facts = NULL;
    rebuild->report->fold_seconds = (double)(clock_monotonic_us() - begun_us) / 1e6;
    rebuild->report->fold_cpu_seconds = (double)(clock_thread_cpu_us() - begun_cpu_us) / 1e6;
    return ok;
}

static bool fill(struct rebuild *rebuild, struct err *err) {
    struct projector_store *kept[VIEW_COUNT] = {0};
    const struct rebuild_config *config = rebuild->config;
    bool ok = refold_open_for(rebuild, config->views, config->view_count, err) &&
              config->store->fill_begin(rebuild->generation, err) && fold(rebuild, kept, err) &&
              write_all(rebuild, kept, err);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        kept_rows_close(kept[i]);
    return ok;
}

/* ---- reading on ---- */

static bool stores_open(struct rebuild *rebuild, struct err *err) {
    const struct generation_ops *ops = rebuild->config->store;
    if (!refold_open_for(rebuild, rebuild->swapped, rebuild->swapped_count, err))
        return false;
    for (size_t i = 0; i < rebuild->refold.view_count; i++) {
        struct refold_view *view = &rebuild->refold.views[i];
        if (!ops->store_open(rebuild->generation, view->view, &rebuild->stores[i], err))
            return false;
        refold_use(view, ops->store, rebuild->stores[i], NULL);
        for (int32_t shard = 0; shard < view->projector.shard_count; shard++) {
            if (!refold_load(&rebuild->refold, view, shard, err))
                return false;
            view->projector.shards[shard].positions.state.generation = ops->number(rebuild->generation);
        }
    }
    return true;
}

static void stores_close(struct rebuild *rebuild) {
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (rebuild->stores[i]) {
            rebuild->config->store->store->close(rebuild->stores[i]);
            rebuild->stores[i] = NULL;
        }
}

/* Near enough to the live one that the rest takes a moment. */
static bool read_on(struct rebuild *rebuild, struct err *err) {
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (!limit_all(rebuild, err))
            return false;
        int64_t left = refold_left(&rebuild->refold);
        if (!enter(rebuild, REBUILD_READ_ON, left, err) || !refold_run(&rebuild->refold, err))
            return false;
        if (left < NEAR_RECORDS)
            return true;
    }
    return err_set(err, ERR_TIMEOUT, "the log grows as fast as it can be read: try again when less is going on");
}

/* ---- all of it ---- */

static bool make(struct rebuild *rebuild, struct err *err) {
    const struct generation_ops *ops = rebuild->config->store;
    struct rebuild_report *report = rebuild->report;
    if ((!report->resumed && !fill(rebuild, err)) || !stores_open(rebuild, err) ||
        !enter(rebuild, REBUILD_INDEX, 0, err) || !ops->finish(rebuild->generation, &rebuild->host, err) ||
        !read_on(rebuild, err) || !enter(rebuild, REBUILD_COMPARE, 0, err) ||
        !ops->compare(rebuild->generation, &rebuild->host, err))
        return false;
    report->compared = true;
    for (size_t i = 0; i < rebuild->config->view_count; i++)
        report->compared &= comparable(rebuild, rebuild->config->views[i]);
    if (rebuild->config->only_compare) {
        stores_close(rebuild);
        return ops->discard(rebuild->generation, &rebuild->host, &report->note, err);
    }
    if (!read_on(rebuild, err) || !enter(rebuild, REBUILD_SWAP, 0, err) ||
        !ops->swap(rebuild->generation, &rebuild->host, err))
        return false;
    report->swapped = true;
    stores_close(rebuild);
    return ops->discard(rebuild->generation, &rebuild->host, &report->note, err);
}

bool rebuild_run(const struct rebuild_config *config, struct rebuild_report *ret, struct err *err) {
    struct rebuild rebuild = {.config = config, .report = ret};
    struct log_topic topic;
    int64_t begun_us = clock_monotonic_us();
    *ret = (struct rebuild_report){0};
    rebuild.swapped = config->store->swaps_all ? views_all : config->views;
    rebuild.swapped_count = config->store->swaps_all ? VIEW_COUNT : config->view_count;
    rebuild.host = (struct generation_host){&rebuild, advance, comparable, settled, compared, differs, tick};
    if (!log_topic_find(config->log, str_from(config->views[0]->topics[0]), &topic, err))
        return false;
    const struct generation_options options = {config->url, config->views, config->view_count, topic.partitions,
                                               config->made_by};
    arena_init(&rebuild.arena);
    bool ok = config->store->open(&options, &rebuild.generation, &ret->resumed, &ret->note, err) && make(&rebuild, err);
    ret->events = rebuild.refold.events;
    ret->seconds = (double)(clock_monotonic_us() - begun_us) / 1e6;
    stores_close(&rebuild);
    if (rebuild.refold.consumer)
        refold_close(&rebuild.refold);
    if (rebuild.generation)
        config->store->close(rebuild.generation);
    arena_free(&rebuild.arena);
    return ok;
}
