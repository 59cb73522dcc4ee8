/* Read models in Redis: a row is one string, absolute values only; one Lua call saves what a poll changed in a shard.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/codec/avro.h"
#include "core/store/redis.h"
#include "projections/redis_keys.h"
#include "projections/row_cache.h"
#include "projections/store.h"

struct projector_store {
    const struct view *view;
    const struct schema_subject *subject;
    struct redis *redis;
    struct redis_script save;
    int32_t building;     /* the generation that it fills; 0: it keeps the live one */
    int32_t *generations; /* by shard, as its positions said when they were loaded */
    int32_t shard_count;
    struct row_cache rows; /* as they were written last */
};

/* For each view: KEYS positions, parked, parked subjects, whole, rows…   ARGV how many rows and parked records, the
 * positions expected ('' for none), the new ones, the generation's number if the shard is whole with them (else ''),
 * the channel and the message that tell of the rows ('' for none), the rows' values…, then for each parked record its
 * bytes and its subject. ARGV begins with the number of views. Answers 0 when others are held in any of them: nothing
 * was done. MSET in parts, because a Lua stack is finite. Positions come last: were a script ever cut short, rows that
 * are ahead come to the same again, positions that are ahead would lose something. Who is told of rows
 * (projections/changes.h) finds them there. */
static const char save_script[] = R"lua(
local held, first_key, first_arg, key, arg = {}, {}, {}, 1, 2
for view = 1, tonumber(ARGV[1]) do
  held[view], first_key[view], first_arg[view] = KEYS[key], key, arg
  key = key + 4 + ARGV[arg]
  arg = arg + 7 + ARGV[arg] + 2 * ARGV[arg + 1]
end
held = redis.call('MGET', unpack(held))
for view, arg in ipairs(first_arg) do
  if (held[view] or '') ~= ARGV[arg + 2] then return 0 end
end
local set, last = {}, {}
for view, arg in ipairs(first_arg) do
  local key, rows, parked = first_key[view], tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  if ARGV[arg + 2] == '' then redis.call('DEL', KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]) end
  for row = 1, rows do
    set[#set + 1] = KEYS[key + 3 + row]
    set[#set + 1] = ARGV[arg + 6 + row]
    if #set >= 2000 then
      redis.call('MSET', unpack(set))
      set = {}
    end
  end
  for at = arg + 7 + rows, arg + 5 + rows + 2 * parked, 2 do
    redis.call('RPUSH', KEYS[key + 1], ARGV[at])
    redis.call('SADD', KEYS[key + 2], ARGV[at + 1])
  end
  last[#last + 1] = KEYS[key]
  last[#last + 1] = ARGV[arg + 3]
  if ARGV[arg + 4] ~= '' then
    last[#last + 1] = KEYS[key + 3]
    last[#last + 1] = ARGV[arg + 4]
  end
end
for _, value in ipairs(last) do set[#set + 1] = value end
redis.call('MSET', unpack(set))
for _, arg in ipairs(first_arg) do
  if ARGV[arg + 6] ~= '' then redis.call('PUBLISH', ARGV[arg + 5], ARGV[arg + 6]) end
end
return 1
)lua";

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
    row_cache_clear(&store->rows);
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

/* The positions are read first: what changes in between changes them too, and then the first save finds out. Whatever
 * the reason was to read them again, it may have been that somebody else wrote the rows. */
static bool store_load(struct projector_store *store, int32_t shard, struct arena *arena, struct shard_held *ret,
                       struct err *err) {
    const struct str get[] = {STR("GET"), key_of_shard(store, arena, shard, REDIS_POSITIONS)};
    const struct str members[] = {STR("SMEMBERS"), key_of_shard(store, arena, shard, REDIS_PARKED_SUBJECTS)};
    const struct redis_command commands[] = {{get, 2}, {members, 2}};
    const struct redisReply *replies[2];
    row_cache_clear(&store->rows);
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

/* ---- shards of several views ---- */

/* One more than the highest that a part names. */
static int32_t shards_named(const struct store_part *parts, size_t count) {
    int32_t shards = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].row_count; k++)
            shards = parts[i].rows[k]->shard < shards ? shards : parts[i].rows[k]->shard + 1;
        for (size_t k = 0; k < parts[i].shard_count; k++)
            shards = parts[i].shards[k].shard < shards ? shards : parts[i].shards[k].shard + 1;
    }
    return shards;
}

static struct str join(struct arena *arena, struct str prefix, struct str key) {
    char *text = arena_alloc(arena, prefix.len + key.len);
    memcpy(text, prefix.ptr, prefix.len);
    memcpy(text + prefix.len, key.ptr, key.len);
    return (struct str){text, prefix.len + key.len};
}

/* ---- rows: those written lately are known; of the others one MGET per shard, all in one round trip ---- */

struct read {
    const struct projector_store *store;
    struct view_row *row;
};

struct reads {
    struct redis_command *commands;
    struct read *rows; /* in the order of the commands' keys */
    size_t command_count;
    size_t row_count;
};

static void reads_add_shard(struct reads *reads, const struct store_part *parts, size_t count, size_t rows_left,
                            int32_t shard, struct arena *arena) {
    struct str *args = arena_array(arena, struct str, rows_left + 1);
    size_t arg_count = 0;
    args[arg_count++] = STR("MGET");
    for (size_t i = 0; i < count; i++) {
        const struct projector_store *store = parts[i].store;
        struct str prefix = redis_key_row(arena, store->view, shard, generation_of(store, shard), STR(""));
        for (size_t k = 0; k < parts[i].row_count; k++) {
            if (parts[i].rows[k]->shard != shard || parts[i].rows[k]->value)
                continue;
            args[arg_count++] = join(arena, prefix, parts[i].rows[k]->key);
            reads->rows[reads->row_count++] = (struct read){store, parts[i].rows[k]};
        }
    }
    if (arg_count > 1)
        reads->commands[reads->command_count++] = (struct redis_command){args, arg_count};
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

/* How many are left. */
static bool take_cached(const struct store_part *part, size_t *left, struct arena *arena, struct err *err) {
    for (size_t i = 0; i < part->row_count; i++) {
        struct str bytes = row_cache_get(&part->store->rows, part->rows[i]->key);
        if (!row_decode(part->store, part->rows[i], arena_dup(arena, bytes), arena, err))
            return false;
        *left += !bytes.ptr;
    }
    return true;
}

static bool load_together(const struct store_part *parts, size_t count, struct arena *arena, struct err *err) {
    int32_t shards = shards_named(parts, count);
    size_t rows = 0, row = 0;
    for (size_t i = 0; i < count; i++)
        if (!take_cached(&parts[i], &rows, arena, err))
            return false;
    if (!rows)
        return true;
    struct reads reads = {arena_array(arena, struct redis_command, shards), arena_array(arena, struct read, rows), 0,
                          0};
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, shards);
    for (int32_t shard = 0; shard < shards && reads.row_count < rows; shard++)
        reads_add_shard(&reads, parts, count, rows - reads.row_count, shard, arena);
    if (!redis_pipeline(parts[0].store->redis, reads.commands, reads.command_count, replies, err))
        return false;
    for (size_t i = 0; i < reads.command_count; i++)
        for (size_t k = 0; k < redis_count(replies[i]); k++, row++)
            if (!row_decode(reads.rows[row].store, reads.rows[row].row, redis_text(redis_item(replies[i], k)), arena,
                            err))
                return false;
    return true;
}

static bool store_load_rows(struct projector_store *store, struct view_row *const *rows, size_t count,
                            struct arena *arena, struct err *err) {
    return load_together(&(struct store_part){.store = store, .rows = rows, .row_count = count}, 1, arena, err);
}

/* ---- saving: one script call per shard, all in one round trip ---- */

struct save_args {
    struct str *keys;
    struct str *values;
    size_t key_count;
    size_t value_count;
};

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

static void save_add_keys(struct save_args *args, const struct projector_store *store, const struct shard_save *save,
                          struct arena *arena) {
    struct str prefix = redis_key_row(arena, store->view, save->shard, generation_of(store, save->shard), STR(""));
    args->keys[args->key_count++] = key_of_shard(store, arena, save->shard, REDIS_POSITIONS);
    args->keys[args->key_count++] = key_of_shard(store, arena, save->shard, REDIS_PARKED);
    args->keys[args->key_count++] = key_of_shard(store, arena, save->shard, REDIS_PARKED_SUBJECTS);
    args->keys[args->key_count++] = key_of_shard(store, arena, save->shard, REDIS_WHOLE);
    for (size_t i = 0; i < save->row_count; i++)
        args->keys[args->key_count++] = join(arena, prefix, save->rows[i]->key);
}

static void save_add_values(struct save_args *args, struct projector_store *store, const struct shard_save *save,
                            struct arena *arena) {
    const struct schema_subject *parked = schema_subject_find(STR("state/parked"));
    int32_t generation = generation_of(store, save->shard);
    args->values[args->value_count++] = arena_printf(arena, "%zu", save->row_count);
    args->values[args->value_count++] = arena_printf(arena, "%zu", save->parked_count);
    args->values[args->value_count++] = save->expected.ptr ? save->expected : STR("");
    args->values[args->value_count++] = save->positions;
    args->values[args->value_count++] = save->whole ? arena_printf(arena, "%d", generation) : STR("");
    args->values[args->value_count++] = redis_channel(arena, store->view);
    args->values[args->value_count++] = store->building ? STR("") : changed_keys(save, arena);
    for (size_t i = 0; i < save->row_count; i++) {
        struct str bytes = encode(store->subject, save->rows[i]->value, arena);
        args->values[args->value_count++] = bytes;
        row_cache_put(&store->rows, save->rows[i]->key, bytes); /* should this fail, the shard is loaded again */
    }
    for (size_t i = 0; i < save->parked_count; i++) {
        args->values[args->value_count++] = encode(parked, &save->parked[i], arena);
        args->values[args->value_count++] = save->parked[i].subject;
    }
}

/* What all parts have to save in this shard; no arguments: nothing. */
static struct redis_command save_command(const struct store_part *parts, size_t count, int32_t shard,
                                         struct arena *arena) {
    struct save_args args = {0};
    size_t views = 0, keys = 0, values = 1;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].shard_count; k++) {
            const struct shard_save *save = &parts[i].shards[k];
            if (save->shard != shard)
                continue;
            views++;
            keys += 4 + save->row_count;
            values += 7 + save->row_count + 2 * save->parked_count;
        }
    if (!views)
        return (struct redis_command){NULL, 0};
    struct str *all = arena_array(arena, struct str, 1 + keys + values);
    all[0] = arena_printf(arena, "%zu", keys);
    args.keys = all + 1;
    args.values = all + 1 + keys;
    args.values[args.value_count++] = arena_printf(arena, "%zu", views);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].shard_count; k++)
            if (parts[i].shards[k].shard == shard) {
                save_add_keys(&args, parts[i].store, &parts[i].shards[k], arena);
                save_add_values(&args, parts[i].store, &parts[i].shards[k], arena);
            }
    return (struct redis_command){all, 1 + keys + values};
}

static void tell_conflict(const struct store_part *parts, size_t count, int32_t shard, bool conflict) {
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].shard_count; k++)
            if (parts[i].shards[k].shard == shard)
                parts[i].shards[k].conflict = conflict;
}

static bool save_together(const struct store_part *parts, size_t count, struct arena *arena, struct err *err) {
    int32_t shards = shards_named(parts, count);
    struct redis_command *commands = arena_array(arena, struct redis_command, shards);
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, shards);
    int32_t *shard_of = arena_array(arena, int32_t, shards);
    size_t command_count = 0;
    for (int32_t shard = 0; shard < shards; shard++) {
        commands[command_count] = save_command(parts, count, shard, arena);
        shard_of[command_count] = shard;
        command_count += commands[command_count].count > 0;
    }
    struct projector_store *first = parts[0].store;
    if (!redis_eval_pipeline(first->redis, &first->save, commands, command_count, replies, err))
        return false;
    for (size_t i = 0; i < command_count; i++)
        tell_conflict(parts, count, shard_of[i], redis_integer(replies[i]) != 1);
    return true;
}

static bool store_save(struct projector_store *store, struct shard_save *shards, size_t count, struct arena *arena,
                       struct err *err) {
    return save_together(&(struct store_part){.store = store, .shards = shards, .shard_count = count}, 1, arena, err);
}

const struct projector_store_ops projector_redis = {.name = "redis",
                                                    .more_topics = more_topics,
                                                    .open = store_open,
                                                    .close = store_close,
                                                    .load = store_load,
                                                    .load_rows = store_load_rows,
                                                    .save = store_save,
                                                    .load_together = load_together,
                                                    .save_together = save_together};
