/* The next generation of views in Redis: its rows have keys with its number, beside the live ones. It goes live shard
 * by shard, each in one script, when both stand at the same place of the log: positions and parked records take the
 * plain names, and the marker that readers get with each row tells them where to look from then on. */
#include "projections/redis_generation.h"

#include <stdlib.h>

#include "core/codec/avro.h"

enum { SWAP_TRIES = 1000 };

#define CALL(generation, ret, err, ...)                                                                                \
    redis_call((generation)->redis, (const struct str[]){__VA_ARGS__},                                                 \
               sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str), ret, err)

/* ---- positions ---- */

bool redis_generation_positions(struct generation *generation, const struct view *view, int32_t shard, int32_t building,
                                struct arena *arena, struct str *ret, struct err *err) {
    const struct redisReply *reply;
    if (!CALL(generation, &reply, err, STR("GET"), redis_key_of_shard(arena, view, shard, building, REDIS_POSITIONS)))
        return false;
    *ret = arena_dup(arena, redis_text(reply));
    return true;
}

static bool positions_decode(struct str bytes, struct arena *arena, struct state_positions *ret) {
    struct err ignored;
    return bytes.ptr && state_decode(schema_subject_find(STR("state/positions")), bytes, arena, ret, &ignored);
}

int32_t redis_generation_of_positions(struct str positions, struct arena *arena) {
    struct state_positions state;
    return positions_decode(positions, arena, &state) ? state.generation : 1;
}

bool redis_generation_same_place(struct str a, struct str b, struct arena *arena) {
    struct state_positions in_a, in_b;
    if (!positions_decode(a, arena, &in_a) || !positions_decode(b, arena, &in_b))
        return !a.ptr && !b.ptr;
    bool same = in_a.topics.count == in_b.topics.count;
    for (size_t i = 0; same && i < in_a.topics.count; i++)
        same = str_eq(in_a.topics.items[i].topic, in_b.topics.items[i].topic) &&
               in_a.topics.items[i].next_offset == in_b.topics.items[i].next_offset;
    return same;
}

static bool generation_live(struct generation *generation, const struct view *view, int32_t shard, struct arena *arena,
                            struct str *ret_positions, struct err *err) {
    return redis_lock_renew(&generation->lock, err) &&
           redis_generation_positions(generation, view, shard, 0, arena, ret_positions, err);
}

/* ---- opening: what an earlier rebuild left ---- */

/* What was filled, and by whom; kept from when it is filled until it is live. */
static struct str made_key(struct arena *arena, const struct view *view) {
    return arena_printf(arena, "orderlog:rebuild:filled:view-%s", view->name);
}
/* There while there may be rows that are not live. */
static struct str dirty_key(struct arena *arena, const struct view *view) {
    return arena_printf(arena, "orderlog:rebuild:dirty:view-%s", view->name);
}

static bool highest_live(struct generation *generation, int32_t *ret, struct err *err) {
    *ret = 1;
    for (size_t i = 0; i < generation->options.view_count; i++)
        for (int32_t shard = 0; shard < generation->options.partitions; shard++) {
            struct str bytes;
            if (!redis_generation_positions(generation, generation->options.views[i], shard, 0, &generation->arena,
                                            &bytes, err))
                return false;
            int32_t live = redis_generation_of_positions(bytes, &generation->arena);
            *ret = live > *ret ? live : *ret;
        }
    return true;
}

static bool key_exists(struct generation *generation, struct str key, bool *ret, struct err *err) {
    const struct redisReply *reply;
    if (!CALL(generation, &reply, err, STR("EXISTS"), key))
        return false;
    *ret = redis_integer(reply) > 0;
    return true;
}

/* All of it filled, by this program, and none of it live yet. */
static bool look_for_leftovers(struct generation *generation, bool *ret_filled, bool *ret_dirty, struct err *err) {
    struct arena *arena = &generation->arena;
    struct str made = arena_printf(arena, "%d %.*s", generation->number, STR_ARG(generation->options.made_by));
    *ret_filled = true;
    *ret_dirty = false;
    for (size_t i = 0; i < generation->options.view_count; i++) {
        const struct redisReply *reply;
        bool dirty;
        if (!CALL(generation, &reply, err, STR("GET"), made_key(arena, generation->options.views[i])))
            return false;
        *ret_filled = *ret_filled && str_eq(redis_text(reply), made);
        if (!key_exists(generation, dirty_key(arena, generation->options.views[i]), &dirty, err))
            return false;
        *ret_dirty |= dirty;
    }
    return true;
}

static void generation_close(struct generation *generation) {
    if (!generation)
        return;
    redis_lock_release(&generation->lock);
    redis_close(generation->redis);
    arena_free(&generation->arena);
    free(generation);
}

static bool keep_going(void *user, struct err *err) {
    (void)user, (void)err;
    return true;
}

static bool begin(struct generation *generation, bool *ret_filled, struct buf *note, struct err *err) {
    static const struct generation_host host = {.tick = keep_going};
    bool dirty;
    if (!redis_lock_take(&generation->lock, generation->redis, err) ||
        !highest_live(generation, &generation->number, err))
        return false;
    generation->number++;
    if (!look_for_leftovers(generation, ret_filled, &dirty, err))
        return false;
    if (*ret_filled)
        buf_printf(note, "going on with what an interrupted rebuild had filled; ");
    else if (dirty)
        buf_printf(note, "removing what an interrupted rebuild left, and beginning anew; ");
    return *ret_filled || !dirty || redis_generation_sweep(generation, &host, err);
}

static bool generation_open(const struct generation_options *options, struct generation **ret, bool *ret_filled,
                            struct buf *note, struct err *err) {
    const struct redis_options patient = {.command_timeout_ms = 30000};
    struct generation *generation = mem_zalloc(sizeof(*generation));
    generation->options = *options;
    arena_init(&generation->arena);
    if (!redis_open(options->url, &patient, &generation->redis, err) || !begin(generation, ret_filled, note, err)) {
        generation_close(generation);
        return false;
    }
    arena_reset(&generation->arena);
    *ret = generation;
    return true;
}

static int32_t generation_number(const struct generation *generation) {
    return generation->number;
}

/* ---- filling ---- */

static bool fill_begin(struct generation *generation, struct err *err) {
    for (size_t i = 0; i < generation->options.view_count; i++)
        if (!CALL(generation, NULL, err, STR("SET"), dirty_key(&generation->arena, generation->options.views[i]),
                  STR("1")))
            return false;
    return true;
}

/* Rows are written at the end; of facts there are only the parked records. */
static bool fill_facts(struct generation *generation, const struct view *view, const struct shard_save *shards,
                       size_t count, struct err *err) {
    const struct schema_subject *subject = schema_subject_find(STR("state/parked"));
    struct arena *arena = &generation->arena;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < shards[i].parked_count; k++) {
            const struct state_parked *parked = &shards[i].parked[k];
            BUF_AUTO bytes = {0};
            state_encode(subject, parked, &bytes);
            if (!CALL(generation, NULL, err, STR("RPUSH"),
                      redis_key_of_shard(arena, view, shards[i].shard, generation->number, REDIS_PARKED),
                      buf_str(&bytes)) ||
                !CALL(generation, NULL, err, STR("SADD"),
                      redis_key_of_shard(arena, view, shards[i].shard, generation->number, REDIS_PARKED_SUBJECTS),
                      parked->subject))
                return false;
        }
    return redis_lock_renew(&generation->lock, err);
}

/* One MSET per shard, all in one round trip. */
static bool flush_rows(struct generation *generation, struct err *err) {
    struct arena *arena = &generation->arena;
    int32_t partitions = generation->options.partitions;
    struct redis_command *commands = arena_array(arena, struct redis_command, partitions);
    size_t count = 0;
    for (int32_t shard = 0; shard < partitions; shard++) {
        struct str *args = arena_array(arena, struct str, 2 * generation->waiting_count + 1);
        size_t arg_count = 1;
        args[0] = STR("MSET");
        for (size_t i = 0; i < generation->waiting_count; i++)
            if (generation->waiting[i].shard == shard) {
                args[arg_count++] = generation->waiting[i].name;
                args[arg_count++] = generation->waiting[i].bytes;
            }
        if (arg_count > 1)
            commands[count++] = (struct redis_command){args, arg_count};
    }
    bool ok = (!count || redis_pipeline(generation->redis, commands, count, NULL, err)) &&
              redis_lock_renew(&generation->lock, err);
    generation->waiting_count = generation->waiting_bytes = 0;
    arena_reset(arena);
    return ok;
}

static bool fill_row(struct generation *generation, const struct view *view, int32_t shard, struct str key,
                     struct str bytes, struct err *err) {
    struct arena *arena = &generation->arena;
    generation->waiting[generation->waiting_count++] = (struct waiting_row){
        shard, redis_key_row(arena, view, shard, generation->number, key), arena_dup(arena, bytes)};
    generation->waiting_bytes += bytes.len;
    return (generation->waiting_count < WAITING_ROWS && generation->waiting_bytes < WAITING_BYTES) ||
           flush_rows(generation, err);
}

static bool fill_positions(struct generation *generation, const struct view *view, int32_t shard, struct str positions,
                           struct err *err) {
    return flush_rows(generation, err) &&
           CALL(generation, NULL, err, STR("SET"),
                redis_key_of_shard(&generation->arena, view, shard, generation->number, REDIS_POSITIONS), positions);
}

static bool fill_end(struct generation *generation, struct err *err) {
    struct arena *arena = &generation->arena;
    if (!flush_rows(generation, err))
        return false;
    for (size_t i = 0; i < generation->options.view_count; i++)
        if (!CALL(generation, NULL, err, STR("SET"), made_key(arena, generation->options.views[i]),
                  arena_printf(arena, "%d %.*s", generation->number, STR_ARG(generation->options.made_by))))
            return false;
    return true;
}

static bool finish(struct generation *generation, const struct generation_host *host, struct err *err) {
    (void)host;
    return redis_lock_renew(&generation->lock, err);
}

static bool generation_store_open(struct generation *generation, const struct view *view, struct projector_store **ret,
                                  struct err *err) {
    return projector_redis_open_building(generation->options.url, view, generation->number, ret, err);
}

/* ---- swapping ---- */

/* KEYS: positions, parked, their subjects, whole, and the same four of the next one. ARGV: both positions as they must
 * be ('' for none), the next one's number, '1' if the next one is whole though the live one is not. */
static const char swap_script[] =
    "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] or redis.call('GET', KEYS[5]) ~= ARGV[2] then return 0 end\n"
    "for i = 1, 3 do\n"
    "  redis.call('DEL', KEYS[i])\n"
    "  if redis.call('EXISTS', KEYS[4 + i]) == 1 then redis.call('RENAME', KEYS[4 + i], KEYS[i]) end\n"
    "end\n"
    "redis.call('DEL', KEYS[8])\n"
    "if ARGV[4] == '1' or redis.call('EXISTS', KEYS[4]) == 1 then redis.call('SET', KEYS[4], ARGV[3]) end\n"
    "return 1\n";

struct swap {
    struct generation *generation;
    const struct generation_host *host;
    struct redis_script script;
    bool *done; /* by view and shard */
    struct arena arena;
};

static bool swap_call(struct swap *swap, const struct view *view, int32_t shard, struct str live, struct str next,
                      bool *ret, struct err *err) {
    static const char *const what[] = {REDIS_POSITIONS, REDIS_PARKED, REDIS_PARKED_SUBJECTS, REDIS_WHOLE};
    struct str args[13] = {STR("8")};
    const struct redis_command command = {args, 13};
    const struct redisReply *reply;
    for (int i = 0; i < 4; i++) {
        args[1 + i] = redis_key_of_shard(&swap->arena, view, shard, 0, what[i]);
        args[5 + i] = redis_key_of_shard(&swap->arena, view, shard, swap->generation->number, what[i]);
    }
    args[9] = live.ptr ? live : STR("");
    args[10] = next;
    args[11] = arena_printf(&swap->arena, "%d", swap->generation->number);
    args[12] = swap->host->comparable(swap->host->user, view) ? STR("") : STR("1");
    if (!redis_eval_pipeline(swap->generation->redis, &swap->script, &command, 1, &reply, err))
        return false;
    *ret = redis_integer(reply) == 1;
    return true;
}

/* *ret: it is live, or there is nothing of it. */
static bool swap_shard(struct swap *swap, const struct view *view, int32_t shard, bool *ret, struct err *err) {
    struct generation *generation = swap->generation;
    struct str live, next;
    if (!redis_generation_positions(generation, view, shard, 0, &swap->arena, &live, err) ||
        !redis_generation_positions(generation, view, shard, generation->number, &swap->arena, &next, err))
        return false;
    *ret = !next.ptr;
    bool fits =
        !swap->host->comparable(swap->host->user, view) || redis_generation_same_place(live, next, &swap->arena);
    return *ret || !fits || swap_call(swap, view, shard, live, next, ret, err);
}

static bool swap_round(struct swap *swap, bool *ret_all, struct err *err) {
    const struct generation_options *options = &swap->generation->options;
    if (!swap->host->advance(swap->host->user, err))
        return false;
    *ret_all = true;
    for (size_t i = 0; i < options->view_count; i++)
        for (int32_t shard = 0; shard < options->partitions; shard++) {
            bool *done = &swap->done[i * (size_t)options->partitions + (size_t)shard];
            arena_reset(&swap->arena);
            if (*done)
                continue;
            if (!swap_shard(swap, options->views[i], shard, done, err))
                return false;
            if (*done)
                swap->host->settled(swap->host->user, options->views[i], shard);
            *ret_all &= *done;
        }
    return true;
}

static bool generation_swap(struct generation *generation, const struct generation_host *host, struct err *err) {
    struct swap swap = {.generation = generation, .host = host, .script = {.source = swap_script}};
    bool all = false, ok = true;
    swap.done = mem_zalloc(generation->options.view_count * (size_t)generation->options.partitions + 1);
    arena_init(&swap.arena);
    for (int tries = 0; ok && !all && tries < SWAP_TRIES; tries++)
        ok = swap_round(&swap, &all, err) && host->tick(host->user, err);
    if (ok && !all)
        ok = err_set(err, ERR_TIMEOUT, "the live rows never stood still for a moment: try again");
    arena_free(&swap.arena);
    free(swap.done);
    generation->swapped = ok;
    return ok;
}

/* What is not live is removed; in small steps, so that nobody waits. */
static bool generation_discard(struct generation *generation, const struct generation_host *host, struct buf *note,
                               struct err *err) {
    (void)note;
    struct arena *arena = &generation->arena;
    for (size_t i = 0; i < generation->options.view_count; i++)
        if (!CALL(generation, NULL, err, STR("DEL"), made_key(arena, generation->options.views[i])))
            return false;
    if (!redis_generation_sweep(generation, host, err))
        return false;
    for (size_t i = 0; i < generation->options.view_count; i++)
        if (!CALL(generation, NULL, err, STR("DEL"), dirty_key(arena, generation->options.views[i])))
            return false;
    return true;
}

const struct generation_ops generation_redis = {.name = "redis",
                                                .store = &projector_redis,
                                                .open = generation_open,
                                                .close = generation_close,
                                                .number = generation_number,
                                                .live = generation_live,
                                                .fill_begin = fill_begin,
                                                .fill_facts = fill_facts,
                                                .fill_row = fill_row,
                                                .fill_positions = fill_positions,
                                                .fill_end = fill_end,
                                                .finish = finish,
                                                .store_open = generation_store_open,
                                                .compare = redis_generation_compare,
                                                .swap = generation_swap,
                                                .discard = generation_discard};
