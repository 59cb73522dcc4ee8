#include "projections/changes.h"

#include <stdlib.h>

#include "core/store/redis.h"
#include "projections/redis_keys.h"

enum { CONNECT_MS = 250, COMMAND_MS = 750 };

struct changes {
    struct redis *redis;
    struct arena arena;
    struct str channels[VIEW_COUNT]; /* of views_all */
};

bool changes_open(const char *redis_url, struct changes **ret, struct err *err) {
    const struct redis_options options = {CONNECT_MS, COMMAND_MS};
    struct redis *redis;
    if (!redis_open(redis_url, &options, &redis, err))
        return false;
    struct changes *changes = mem_zalloc(sizeof(*changes));
    changes->redis = redis;
    arena_init(&changes->arena);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        changes->channels[i] = redis_channel(&changes->arena, views_all[i]);
    *ret = changes;
    return true;
}

void changes_close(struct changes *changes) {
    if (!changes)
        return;
    redis_close(changes->redis);
    arena_free(&changes->arena);
    free(changes);
}

static struct str channel_of(const struct changes *changes, const struct view *view) {
    size_t i = 0;
    while (views_all[i] != view)
        i++;
    return changes->channels[i];
}

static const struct view *view_of(const struct changes *changes, struct str channel) {
    for (size_t i = 0; i < VIEW_COUNT; i++)
        if (str_eq(changes->channels[i], channel))
            return views_all[i];
    return NULL;
}

bool changes_follow(struct changes *changes, const struct view *view, bool follow, struct err *err) {
    const struct str args[] = {follow ? STR("SUBSCRIBE") : STR("UNSUBSCRIBE"), channel_of(changes, view)};
    return redis_send(changes->redis, &(struct redis_command){args, 2}, 1, err);
}

bool changes_ping(struct changes *changes, struct err *err) {
    static const struct str args[] = {{"PING", 4}};
    return redis_send(changes->redis, &(struct redis_command){args, 1}, 1, err);
}

bool changes_next(struct changes *changes, struct change *ret, struct err *err) {
    const struct redisReply *reply;
    if (!redis_take(changes->redis, &reply, err))
        return false;
    *ret = (struct change){.kind = reply ? CHANGE_OTHER : CHANGE_NONE};
    if (!reply || redis_count(reply) != 3)
        return true;
    struct str what = redis_text(redis_item(reply, 0));
    ret->view = view_of(changes, redis_text(redis_item(reply, 1)));
    if (ret->view && str_eq(what, STR("message"))) {
        ret->kind = CHANGE_ROWS;
        ret->keys = redis_text(redis_item(reply, 2));
    } else if (ret->view && str_eq(what, STR("subscribe"))) {
        ret->kind = CHANGE_FOLLOWED;
    }
    return true;
}

int changes_fd(const struct changes *changes) {
    return redis_fd(changes->redis);
}

bool change_key(struct change *change, struct str *ret) {
    if (!change->keys.ptr)
        return false;
    *ret = str_cut(change->keys, '\0', &change->keys);
    return true;
}
