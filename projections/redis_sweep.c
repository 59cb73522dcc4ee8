/* All keys of some views in Redis, and the removal of those that are not live. */
#include "projections/redis_generation.h"

struct sweep {
    struct generation *generation;
    const struct generation_host *host;
    struct arena arena; /* of the numbers */
    int32_t *live;      /* by view and shard */
};

bool redis_generation_scan(struct generation *generation, redis_page_fn *page, void *user, struct err *err) {
    struct arena arena;
    struct str cursor = STR("0");
    BUF_AUTO next = {0};
    bool ok = true;
    arena_init(&arena);
    do {
        const struct str scan[] = {STR("SCAN"), cursor, STR("MATCH"), STR("{p*}:*"), STR("COUNT"), STR("1000")};
        const struct redisReply *reply;
        arena_reset(&arena);
        ok = redis_lock_renew(&generation->lock, err) && redis_call(generation->redis, scan, 6, &reply, err);
        if (!ok)
            break;
        const struct redisReply *found = redis_item(reply, 1);
        size_t count = redis_count(found);
        struct str *names = arena_array(&arena, struct str, count);
        for (size_t i = 0; i < count; i++)
            names[i] = arena_dup(&arena, redis_text(redis_item(found, i)));
        buf_reset(&next);
        buf_add_str(&next, redis_text(redis_item(reply, 0)));
        cursor = buf_str(&next);
        ok = !count || page(user, names, count, &arena, err);
    } while (ok && !str_eq(cursor, STR("0")));
    arena_free(&arena);
    return ok;
}

static int32_t *live_of(struct sweep *sweep, size_t view, int32_t shard) {
    return &sweep->live[view * (size_t)sweep->generation->options.partitions + (size_t)shard];
}

/* {p7}:g2:pos:view-orders: of a generation that is being built, or was. */
static bool is_of_building(const struct view *view, struct str name) {
    static const char *const what[] = {REDIS_POSITIONS, REDIS_PARKED, REDIS_PARKED_SUBJECTS, REDIS_WHOLE};
    struct str rest, tag = str_cut(name, ':', &rest), generation = str_cut(rest, ':', &rest);
    struct str kind = str_cut(rest, ':', &rest);
    int64_t number;
    BUF_AUTO service = {0};
    if (!tag.len || !rest.ptr || generation.len < 2 || generation.ptr[0] != 'g' ||
        !str_to_i64((struct str){generation.ptr + 1, generation.len - 1}, &number))
        return false;
    buf_printf(&service, "view-%s", view->name);
    for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++)
        if (str_eq(kind, str_from(what[i])) && str_eq(rest, buf_str(&service)))
            return true;
    return false;
}

static bool is_dead(struct sweep *sweep, struct str name) {
    const struct generation_options *options = &sweep->generation->options;
    for (size_t i = 0; i < options->view_count; i++) {
        int32_t shard, generation;
        struct str key;
        if (is_of_building(options->views[i], name))
            return true;
        if (redis_key_row_read(name, options->views[i], &shard, &generation, &key) && shard < options->partitions)
            return generation != *live_of(sweep, i, shard);
    }
    return false;
}

static bool sweep_page(void *user, const struct str *names, size_t count, struct arena *arena, struct err *err) {
    struct sweep *sweep = user;
    struct redis_command *commands = arena_array(arena, struct redis_command, count);
    size_t dead = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_dead(sweep, names[i]))
            continue;
        struct str *args = arena_array(arena, struct str, 2);
        args[0] = STR("UNLINK");
        args[1] = names[i];
        commands[dead++] = (struct redis_command){args, 2};
    }
    return (!dead || redis_pipeline(sweep->generation->redis, commands, dead, NULL, err)) &&
           sweep->host->tick(sweep->host->user, err);
}

static bool sweep_all(struct sweep *sweep, struct err *err) {
    const struct generation_options *options = &sweep->generation->options;
    sweep->live = arena_array(&sweep->arena, int32_t, options->view_count * (size_t)options->partitions);
    for (size_t i = 0; i < options->view_count; i++)
        for (int32_t shard = 0; shard < options->partitions; shard++) {
            struct str bytes;
            if (!redis_generation_positions(sweep->generation, options->views[i], shard, 0, &sweep->arena, &bytes, err))
                return false;
            *live_of(sweep, i, shard) = redis_generation_of_positions(bytes, &sweep->arena);
        }
    return redis_generation_scan(sweep->generation, sweep_page, sweep, err);
}

bool redis_generation_sweep(struct generation *generation, const struct generation_host *host, struct err *err) {
    struct sweep sweep = {.generation = generation, .host = host};
    arena_init(&sweep.arena);
    bool ok = sweep_all(&sweep, err);
    arena_free(&sweep.arena);
    return ok;
}
