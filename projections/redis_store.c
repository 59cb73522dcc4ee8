/* Read models in Redis: a row is one string, absolute values only; one Lua call saves what a poll changed in a shard.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/codec/avro.h"
#include "core/store/redis.h"
#include "projections/redis_keys.h"
#include "projections/store.h"

struct projector_store {
    const struct view *view;
    const struct schema_subject *subject;
    struct redis *redis;
    struct redis_script save;
    int32_t building;     /* the generation that it fills; 0: it keeps the live one */
    int32_t *generations; /* by shard, as its positions said when they were loaded */
    int32_t shard_count;
};

/* KEYS: positions, parked, parked subjects, whole, rows…   ARGV: the positions expected ('' for none), the new ones,
 * the generation's number if the shard is whole with them (else ''), the channel and the message that tell of the rows
 * ('' for none), the rows' values…, then for each parked record its bytes and its subject. Answers 0 when others are
 * held: nothing was done. MSET in parts, because a Lua stack is finite. Positions come last: were a script ever cut
 * short, rows that are ahead come to the same again, positions that are ahead would lose something. Who is told of rows
 * (projections/changes.h) finds them there. */
static const char save_script[] = "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end\n"
                                  "local rows = #KEYS - 4\n"
                                  "if ARGV[1] == '' then redis.call('DEL', KEYS[2], KEYS[3], KEYS[4]) end\n"
                                  "for first = 1, rows, 1000 do\n"
                                  "  local pairs = {}\n"
                                  "  for i = first, math.min(first + 999, rows) do\n"
                                  "    pairs[#pairs + 1] = KEYS[4 + i]\n"
                                  "    pairs[#pairs + 1] = ARGV[5 + i]\n"
                                  "  end\n"
                                  "  redis.call('MSET', unpack(pairs))\n"
                                  "end\n"
                                  "for i = rows + 6, #ARGV, 2 do\n"
                                  "  redis.call('RPUSH', KEYS[2], ARGV[i])\n"
                                  "  redis.call('SADD', KEYS[3], ARGV[i + 1])\n"
                                  "end\n"
                                  "redis.call('SET', KEYS[1], ARGV[2])\n"
                                  "if ARGV[3] ~= '' then redis.call('SET', KEYS[4], ARGV[3]) end\n"
                                  "if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end\n"
                                  "return 1\n";

static const char *const *more_topics(const struct view *view) {
    static const char *const none[] = {NULL};
    (void)view;
    return none;
}

static bool store_open(const char *url, const struct view *view, struct projector_store **ret, struct err *err) {
    struct redis *redis;
    if (!redis_open(url, NULL, &redis, err))
        return false;
    struct projector_store *store = mem_zalloc(sizeof(*store));
    store->view = view;
    store->subject = schema_subject_find(str_from(view->subject));
    store->redis = redis;
    store->save.source = save_script;
    *ret = store;
    return true;
}

bool projector_redis_open_building(const char *url, const struct view *view, int32_t generation,
                                   struct projector_store **ret, struct err *err) {
    if (!store_open(url, view, ret, err))
        return false;
    (*ret)->building = generation;
    return true;
}

static void store_close(struct projector_store *store) {
    redis_close(store->redis);
    free(store->generations);
    free(store);
}

static struct str key_of_shard(const struct projector_store *store, struct arena *arena, int32_t shard,
                               const char *what) {
    return redis_key_of_shard(arena, store->view, shard, store->building, what);
}

/* ---- generations ---- */

static int32_t generation_of(const struct projector_store *store, int32_t shard) {
    if (store->building)
        return store->building;
    return shard < store->shard_count ? store->generations[shard] : 1;
}

static void generation_set(struct projector_store *store, int32_t shard, int32_t generation) {
    if (shard >= store->shard_count) {
        store->generations = mem_realloc(store->generations, ((size_t)shard + 1) * sizeof(*store->generations));
        while (store->shard_count <= shard)
            store->generations[store->shard_count++] = 1;
    }
    store->generations[shard] = generation;
}

/* What cannot be read is the loop's to tell. */
static void generation_read(struct projector_store *store, int32_t shard, struct str positions, struct arena *arena) {
    struct state_positions state = {.generation = 1};
    struct err ignored;
    if (positions.ptr && !state_decode(schema_subject_find(STR("state/positions")), positions, arena, &state, &ignored))
        state.generation = 1;
    generation_set(store, shard, state.generation);
}

/* The positions are read first: what changes in between changes them too, and then the first save finds out. */
static bool store_load(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                       struct err *err) {
    const struct str get[] = {STR("GET"), key_of_shard(store, arena, shard, REDIS_POSITIONS)};
    const struct str members[] = {STR("SMEMBERS"), key_of_shard(store, arena, shard, REDIS_PARKED_SUBJECTS)};
    const struct redis_command commands[] = {{get, 2}, {members, 2}};
    const struct redisReply *replies[2];
    if (!redis_pipeline(store->redis, commands, 2, replies, err))
        return false;
    ret->positions = redis_text(replies[0]);
    generation_read(store, shard, ret->positions, arena);
    if (!ret->positions.ptr)
        return true;
    ret->parked_count = redis_count(replies[1]);
    ret->parked = arena_array(arena, struct str, ret->parked_count);
    for (size_t i = 0; i < ret->parked_count; i++)
        ret->parked[i] = redis_text(redis_item(replies[1], i));
    return true;
}

/* ---- rows: one MGET per shard, all in one round trip ---- */

struct reads {
    struct redis_command *commands;
    struct view_row **rows; /* in the order of the commands' keys */
    size_t command_count;
    size_t row_count;
};

static void reads_add_shard(struct reads *reads, const struct projector_store *store, struct view_row *const *rows,
                            size_t count, int32_t shard, struct arena *arena) {
    struct str *args = arena_array(arena, struct str, count + 1);
    size_t arg_count = 0;
    args[arg_count++] = STR("MGET");
    for (size_t i = 0; i < count; i++)
        if (rows[i]->shard == shard) {
            args[arg_count++] = redis_key_row(arena, store->view, shard, generation_of(store, shard), rows[i]->key);
            reads->rows[reads->row_count++] = rows[i];
        }
    reads->commands[reads->command_count++] = (struct redis_command){args, arg_count};
}

static bool shard_seen_before(struct view_row *const *rows, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (rows[i]->shard == rows[at]->shard)
            return true;
    return false;
}

static bool row_decode(const struct projector_store *store, struct view_row *row, struct str bytes, struct arena *arena,
                       struct err *err) {
    if (!bytes.ptr)
        return true;
    void *value = arena_alloc(arena, store->view->row_size);
    if (!state_decode(store->subject, bytes, arena, value, err))
        return err_wrap(err, "the row of %s %.*s", store->view->key_name, STR_ARG(row->key));
    row->value = value;
    return true;
}

static bool store_load_rows(struct projector_store *store, struct view_row *const *rows, size_t count,
                            struct arena *arena, struct err *err) {
    struct reads reads = {arena_array(arena, struct redis_command, count), arena_array(arena, struct view_row *, count),
                          0, 0};
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, count);
    for (size_t i = 0; i < count; i++)
        if (!shard_seen_before(rows, i))
            reads_add_shard(&reads, store, rows, count, rows[i]->shard, arena);
    if (!redis_pipeline(store->redis, reads.commands, reads.command_count, replies, err))
        return false;
    size_t row = 0;
    for (size_t i = 0; i < reads.command_count; i++)
        for (size_t k = 0; k < redis_count(replies[i]); k++)
            if (!row_decode(store, reads.rows[row++], redis_text(redis_item(replies[i], k)), arena, err))
                return false;
    return true;
}

/* ---- saving ---- */

static struct str encode(const struct schema_subject *subject, const void *value, struct arena *arena) {
    BUF_AUTO bytes = {0};
    state_encode(subject, value, &bytes);
    return arena_dup(arena, buf_str(&bytes));
}

/* The rows' keys with a zero byte between: no key holds one. Nobody reads a generation that is being built. */
static struct str changed_keys(const struct shard_save *save, struct arena *arena) {
    BUF_AUTO keys = {0};
    for (size_t i = 0; i < save->row_count; i++) {
        if (i)
            buf_add_char(&keys, '\0');
        buf_add_str(&keys, save->rows[i]->key);
    }
    return arena_dup(arena, buf_str(&keys));
}

static struct redis_command save_command(const struct projector_store *store, const struct shard_save *save,
                                         struct arena *arena) {
    const struct schema_subject *parked = schema_subject_find(STR("state/parked"));
    struct str *args = arena_array(arena, struct str, 10 + 2 * save->row_count + 2 * save->parked_count);
    int32_t generation = generation_of(store, save->shard);
    size_t count = 0;
    args[count++] = arena_printf(arena, "%zu", 4 + save->row_count);
    args[count++] = key_of_shard(store, arena, save->shard, REDIS_POSITIONS);
    args[count++] = key_of_shard(store, arena, save->shard, REDIS_PARKED);
    args[count++] = key_of_shard(store, arena, save->shard, REDIS_PARKED_SUBJECTS);
    args[count++] = key_of_shard(store, arena, save->shard, REDIS_WHOLE);
    for (size_t i = 0; i < save->row_count; i++)
        args[count++] = redis_key_row(arena, store->view, save->shard, generation, save->rows[i]->key);
    args[count++] = save->expected.ptr ? save->expected : STR("");
    args[count++] = save->positions;
    args[count++] = save->whole ? arena_printf(arena, "%d", generation) : STR("");
    args[count++] = redis_channel(arena, store->view);
    args[count++] = store->building ? STR("") : changed_keys(save, arena);
    for (size_t i = 0; i < save->row_count; i++)
        args[count++] = encode(store->subject, save->rows[i]->value, arena);
    for (size_t i = 0; i < save->parked_count; i++) {
        args[count++] = encode(parked, &save->parked[i], arena);
        args[count++] = save->parked[i].subject;
    }
    return (struct redis_command){args, count};
}

static bool store_save(struct projector_store *store, struct shard_save *shards, size_t count, struct arena *arena,
                       struct err *err) {
    struct redis_command *commands = arena_array(arena, struct redis_command, count);
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, count);
    for (size_t i = 0; i < count; i++)
        commands[i] = save_command(store, &shards[i], arena);
    if (!redis_eval_pipeline(store->redis, &store->save, commands, count, replies, err))
        return false;
    for (size_t i = 0; i < count; i++)
        shards[i].conflict = redis_integer(replies[i]) != 1;
    return true;
}

const struct projector_store_ops projector_redis = {.name = "redis",
                                                    .more_topics = more_topics,
                                                    .open = store_open,
                                                    .close = store_close,
                                                    .load = store_load,
                                                    .load_rows = store_load_rows,
                                                    .save = store_save};
