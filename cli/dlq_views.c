#include "cli/dlq.h"

#include "core/base/config.h"
#include "core/codec/avro.h"
#include "core/store/redis.h"
#include "projections/redis_keys.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SHARDS_AT_LEAST = 64 }; /* so many are looked at, whatever PostgreSQL knows of */

static const char service_prefix[] = "view-";

/* ---- the list ---- */

static bool is_wanted(const char *wanted, struct str is) {
    return !wanted || str_eq(str_from(wanted), is);
}

static void row_add(struct dlq_views *views, const struct dlq_row *row) {
    views->rows = mem_realloc(views->rows, (views->count + 1) * sizeof *views->rows);
    struct dlq_row *added = &views->rows[views->count++];
    *added = *row;
    struct str view = {row->service.ptr + strlen(service_prefix), row->service.len - strlen(service_prefix)};
    added->id = (int64_t)views->count;
    added->status = STR("parked");
    added->behind = str_eq(row->reason, STR(PARKED_BEHIND));
    added->place = arena_printf(&views->arena, "%s/%.*s/%.*s/%" PRId64 "/%" PRId64, row->store, STR_ARG(view),
                                STR_ARG(row->topic), row->partition, row->offset);
}

static bool same_subject(const struct dlq_row *a, const struct dlq_row *b) {
    return a->shard == b->shard && !strcmp(a->store, b->store) && str_eq(a->service, b->service) &&
           str_eq(a->subject, b->subject);
}

/* Who is in front of whom. */
static void rows_link(struct dlq_views *views) {
    for (size_t i = 0; i < views->count; i++) {
        struct dlq_row *row = &views->rows[i];
        for (size_t k = 0; k < views->count; k++) {
            bool same = same_subject(row, &views->rows[k]);
            if (same && !row->leader)
                row->leader = views->rows[k].id;
            row->followers += same && k > i;
        }
    }
}

const struct dlq_row *dlq_views_find(const struct dlq_views *views, struct str place) {
    for (size_t i = 0; i < views->count; i++)
        if (str_eq(views->rows[i].place, place))
            return &views->rows[i];
    return NULL;
}

void dlq_views_free(struct dlq_views *views) {
    free(views->rows);
    arena_free(&views->arena);
}

/* ---- PostgreSQL ---- */

static bool table_exists(struct pg *pg, bool *ret, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(pg, "SELECT to_regclass('view.parked') IS NOT NULL", NULL, &rows, err))
        return false;
    *ret = pg_get_bool(rows, 0, 0);
    return true;
}

static bool postgres_read(struct pg *pg, const char *service, const char *subject, struct dlq_views *views,
                          struct err *err) {
    PG_PARAMS_AUTO params = {0};
    PG_RESULT_AUTO *rows = NULL;
    bool exists = false;
    if (!table_exists(pg, &exists, err))
        return false;
    if (!exists)
        return true;
    pg_add_text(&params, str_from(service));
    pg_add_text(&params, str_from(subject));
    if (!pg_exec(pg,
                 "SELECT service, shard, topic, partition, \"offset\", subject, reason, record FROM view.parked "
                 "WHERE ($1::text IS NULL OR service = $1) AND ($2::text IS NULL OR subject = $2) "
                 "ORDER BY service, shard, at, topic, \"offset\"",
                 &params, &rows, err))
        return false;
    for (int i = 0; i < pg_rows(rows); i++)
        row_add(views, &(struct dlq_row){.store = "postgres",
                                         .service = arena_dup(&views->arena, pg_get_str(rows, i, 0)),
                                         .shard = pg_get_i64(rows, i, 1),
                                         .topic = arena_dup(&views->arena, pg_get_str(rows, i, 2)),
                                         .partition = pg_get_i64(rows, i, 3),
                                         .offset = pg_get_i64(rows, i, 4),
                                         .subject = arena_dup(&views->arena, pg_get_str(rows, i, 5)),
                                         .reason = arena_dup(&views->arena, pg_get_str(rows, i, 6)),
                                         .record = arena_dup(&views->arena, pg_get_str(rows, i, 7))});
    return true;
}

/* Redis keeps a list for each shard. Each of the deciders' has a row in PostgreSQL, and they are as many. */
static bool shards_count(struct pg *pg, int32_t *ret, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(pg, "SELECT to_regclass('decider.shard') IS NOT NULL", NULL, &rows, err))
        return false;
    *ret = SHARDS_AT_LEAST;
    if (!pg_get_bool(rows, 0, 0))
        return true;
    PG_RESULT_AUTO *most = NULL;
    if (!pg_exec(pg, "SELECT coalesce(max(shard), 0)::bigint + 1 FROM decider.shard", NULL, &most, err))
        return false;
    if (pg_get_i64(most, 0, 0) > *ret)
        *ret = (int32_t)pg_get_i64(most, 0, 0);
    return true;
}

/* ---- Redis ---- */

static bool redis_row_add(struct dlq_views *views, struct str service, int32_t shard, struct str bytes,
                          const char *subject, struct err *err) {
    struct state_parked parked;
    if (!state_decode(schema_subject_find(STR("state/parked")), arena_dup(&views->arena, bytes), &views->arena, &parked,
                      err))
        return err_wrap(err, "what Redis has set aside of %.*s, shard %d", STR_ARG(service), shard);
    if (is_wanted(subject, parked.subject))
        row_add(views, &(struct dlq_row){.store = "redis",
                                         .service = service,
                                         .shard = shard,
                                         .topic = parked.topic,
                                         .partition = parked.partition,
                                         .offset = parked.offset,
                                         .subject = parked.subject,
                                         .reason = parked.reason,
                                         .record = parked.record});
    return true;
}

/* All shards' lists of a view, in one round trip. */
static bool redis_read_view(struct redis *redis, const struct view *view, int32_t shards, const char *service,
                            const char *subject, struct dlq_views *views, struct err *err) {
    struct arena *arena = &views->arena;
    struct str name = arena_printf(arena, "%s%s", service_prefix, view->name);
    struct redis_command *commands = arena_array(arena, struct redis_command, (size_t)shards);
    const struct redisReply **replies = arena_array(arena, const struct redisReply *, (size_t)shards);
    if (!is_wanted(service, name))
        return true;
    for (int32_t i = 0; i < shards; i++) {
        struct str *args = arena_array(arena, struct str, 4);
        args[0] = STR("LRANGE");
        args[1] = redis_key_of_shard(arena, view, i, 0, REDIS_PARKED);
        args[2] = STR("0");
        args[3] = STR("-1");
        commands[i] = (struct redis_command){args, 4};
    }
    if (!redis_pipeline(redis, commands, (size_t)shards, replies, err))
        return false;
    for (int32_t i = 0; i < shards; i++)
        for (size_t k = 0; k < redis_count(replies[i]); k++)
            if (!redis_row_add(views, name, i, redis_text(redis_item(replies[i], k)), subject, err))
                return false;
    return true;
}

static bool redis_read(const char *url, int32_t shards, const char *service, const char *subject,
                       struct dlq_views *views, struct err *err) {
    struct redis *redis;
    if (!redis_open(url, NULL, &redis, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < VIEW_COUNT; i++)
        ok = redis_read_view(redis, views_all[i], shards, service, subject, views, err);
    redis_close(redis);
    return ok;
}

bool dlq_views_read(struct pg *pg, const char *service, const char *subject, struct dlq_views *ret, struct err *err) {
    const char *url;
    struct err redis_err = {0};
    int32_t shards;
    if (!config_optional("REDIS_URL", &url, err))
        return false;
    *ret = (struct dlq_views){.redis_asked = url != NULL};
    arena_init(&ret->arena);
    if (!postgres_read(pg, service, subject, ret, err) || !shards_count(pg, &shards, err)) {
        dlq_views_free(ret);
        return false;
    }
    if (ret->redis_asked && !redis_read(url, shards, service, subject, ret, &redis_err)) {
        cli_note("what the views in Redis have set aside is not known: %s", redis_err.detail);
        ret->redis_failed = true;
    }
    rows_link(ret);
    return true;
}
