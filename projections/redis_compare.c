/* The live generation and the next one in Redis, row for row. First all rows are looked at while both move on; then
 * those that differed are looked at again, each together with the positions of both, until these are of the same place.
 */
#include "core/base/map.h"
#include "core/codec/avro.h"
#include "projections/redis_generation.h"

enum { SUSPECTS_AT_ONCE = 200, TRIES = 200 };

struct suspect {
    const struct view *view;
    int32_t shard;
    struct str key;
    bool settled;
};

struct comparison {
    struct generation *generation;
    const struct generation_host *host;
    struct map suspects; /* by the name of the next one's key */
    struct arena arena;  /* of the suspects */
    struct arena page;
};

static bool same_row(struct comparison *c, const struct view *view, struct str live, struct str next,
                     struct buf *what) {
    const struct schema_subject *subject = schema_subject_find(str_from(view->subject));
    const struct schema_type *type = subject->current->branches[0].type;
    void *a = arena_alloc(&c->page, view->row_size), *b = arena_alloc(&c->page, view->row_size);
    struct err err = {0};
    if (live.ptr && next.ptr && str_eq(live, next))
        return true;
    if (!live.ptr || !next.ptr) {
        if (live.ptr || next.ptr)
            buf_printf(what,
                       live.ptr ? "is in the live one, and the log knows nothing of it" : "is missing in the live one");
        return !live.ptr && !next.ptr;
    }
    if (!state_decode(subject, live, &c->page, a, &err) || !state_decode(subject, next, &c->page, b, &err)) {
        buf_printf(what, "cannot be read: %s", err.detail);
        return false;
    }
    if (avro_equal(type, a, b))
        return true;
    BUF_AUTO path = {0};
    avro_difference(type, a, b, &path);
    buf_printf(what, "%s differs", path.ptr ? path.ptr : "something");
    return false;
}

/* ---- all rows ---- */

static bool is_row(const struct comparison *c, struct str name, struct suspect *ret, int32_t *ret_generation) {
    const struct generation_options *options = &c->generation->options;
    for (size_t i = 0; i < options->view_count; i++)
        if (redis_key_row_read(name, options->views[i], &ret->shard, ret_generation, &ret->key) &&
            ret->shard < options->partitions) {
            ret->view = options->views[i];
            return c->host->comparable(c->host->user, ret->view);
        }
    return false;
}

static void suspect_add(struct comparison *c, const struct suspect *suspect, struct str name) {
    void **place = map_put(&c->suspects, name);
    if (*place)
        return;
    struct suspect *added = *place = arena_new(&c->arena, struct suspect);
    *added = (struct suspect){suspect->view, suspect->shard, arena_dup(&c->arena, suspect->key), false};
}

/* The live generation of a shard does not change while this rebuild has the lock. */
static bool live_number(struct comparison *c, const struct view *view, int32_t shard, int32_t *ret, struct err *err) {
    struct str bytes;
    if (!redis_generation_positions(c->generation, view, shard, 0, &c->page, &bytes, err))
        return false;
    *ret = redis_generation_of_positions(bytes, &c->page);
    return true;
}

static bool numbers_read(struct comparison *c, int32_t *ret, struct err *err) {
    const struct generation_options *options = &c->generation->options;
    for (size_t i = 0; i < options->view_count; i++)
        for (int32_t shard = 0; shard < options->partitions; shard++)
            if (!live_number(c, options->views[i], shard, &ret[i * (size_t)options->partitions + (size_t)shard], err))
                return false;
    return true;
}

struct all_rows {
    struct comparison *c;
    int32_t *live; /* numbers by view and shard */
};

static int32_t number_of(const struct all_rows *all, const struct suspect *row) {
    const struct generation_options *options = &all->c->generation->options;
    size_t i = 0;
    while (options->views[i] != row->view)
        i++;
    return all->live[i * (size_t)options->partitions + (size_t)row->shard];
}

/* Each found in one of the two is looked at in both: so what is only in one is found as well. */
static bool page_compare(void *user, const struct str *names, size_t count, struct arena *arena, struct err *err) {
    struct all_rows *all = user;
    struct comparison *c = all->c;
    struct suspect *rows = arena_array(arena, struct suspect, count);
    struct redis_command *commands = arena_array(arena, struct redis_command, count);
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, count);
    size_t row_count = 0;
    int64_t live_rows = 0;
    for (size_t i = 0; i < count; i++) {
        struct suspect *row = &rows[row_count];
        int32_t generation;
        if (!is_row(c, names[i], row, &generation))
            continue;
        int32_t live = number_of(all, row);
        if (generation != live && generation != c->generation->number)
            continue;
        live_rows += generation == live;
        struct str *args = arena_array(arena, struct str, 3);
        args[0] = STR("MGET");
        args[1] = redis_key_row(arena, row->view, row->shard, live, row->key);
        args[2] = redis_key_row(arena, row->view, row->shard, c->generation->number, row->key);
        commands[row_count++] = (struct redis_command){args, 3};
    }
    if (row_count && !redis_pipeline(c->generation->redis, commands, row_count, replies, err))
        return false;
    for (size_t i = 0; i < row_count; i++) {
        BUF_AUTO ignored = {0};
        arena_reset(&c->page);
        if (!same_row(c, rows[i].view, redis_text(redis_item(replies[i], 0)), redis_text(redis_item(replies[i], 1)),
                      &ignored))
            suspect_add(c, &rows[i], commands[i].args[2]);
    }
    c->host->compared(c->host->user, live_rows);
    return c->host->tick(c->host->user, err);
}

static bool rows_compare(struct comparison *c, struct err *err) {
    const struct generation_options *options = &c->generation->options;
    struct all_rows all = {c, NULL};
    all.live = arena_array(&c->arena, int32_t, options->view_count * (size_t)options->partitions);
    return numbers_read(c, all.live, err) && redis_generation_scan(c->generation, page_compare, &all, err);
}

/* ---- those that differed ---- */

/* Some of one shard. *ret: they were seen at one place. */
static bool look_again(struct comparison *c, struct suspect **some, size_t count, bool *ret, struct err *err) {
    const struct view *view = some[0]->view;
    int32_t shard = some[0]->shard, live;
    arena_reset(&c->page);
    if (!c->host->advance(c->host->user, err) || !live_number(c, view, shard, &live, err))
        return false;
    struct str *args = arena_array(&c->page, struct str, 3 + 2 * count);
    const struct redisReply *reply;
    args[0] = STR("MGET");
    args[1] = redis_key_of_shard(&c->page, view, shard, 0, REDIS_POSITIONS);
    args[2] = redis_key_of_shard(&c->page, view, shard, c->generation->number, REDIS_POSITIONS);
    for (size_t i = 0; i < count; i++) {
        args[3 + 2 * i] = redis_key_row(&c->page, view, shard, live, some[i]->key);
        args[4 + 2 * i] = redis_key_row(&c->page, view, shard, c->generation->number, some[i]->key);
    }
    if (!redis_call(c->generation->redis, args, 3 + 2 * count, &reply, err))
        return false;
    *ret = redis_generation_same_place(redis_text(redis_item(reply, 0)), redis_text(redis_item(reply, 1)), &c->page);
    for (size_t i = 0; *ret && i < count; i++) {
        BUF_AUTO what = {0};
        if (!same_row(c, view, redis_text(redis_item(reply, 2 + 2 * i)), redis_text(redis_item(reply, 3 + 2 * i)),
                      &what))
            c->host->differs(c->host->user, &(struct generation_difference){view->name, some[i]->key, buf_str(&what)});
        some[i]->settled = true;
    }
    return c->host->tick(c->host->user, err);
}

static bool suspects_compare(struct comparison *c, struct err *err) {
    struct suspect *some[SUSPECTS_AT_ONCE];
    for (size_t count = 1; count;) {
        count = 0;
        for (struct map_entry *entry = map_next(&c->suspects, NULL); entry && count < SUSPECTS_AT_ONCE;
             entry = map_next(&c->suspects, entry)) {
            struct suspect *suspect = entry->value;
            if (!suspect->settled && (!count || (suspect->view == some[0]->view && suspect->shard == some[0]->shard)))
                some[count++] = suspect;
        }
        bool seen = !count;
        for (int tries = 0; !seen && tries < TRIES; tries++)
            if (!look_again(c, some, count, &seen, err))
                return false;
        if (!seen)
            return err_set(err, ERR_TIMEOUT, "the live rows never stood still for a moment: try again");
    }
    return true;
}

bool redis_generation_compare(struct generation *generation, const struct generation_host *host, struct err *err) {
    struct comparison c = {.generation = generation, .host = host};
    arena_init(&c.arena);
    arena_init(&c.page);
    bool ok = host->advance(host->user, err) && rows_compare(&c, err) && suspects_compare(&c, err);
    map_free(&c.suspects, NULL);
    arena_free(&c.arena);
    arena_free(&c.page);
    return ok;
}
