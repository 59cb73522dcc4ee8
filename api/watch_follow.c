#include "api/watch_internal.h"
#include "core/base/clock.h"
#include "core/base/logging.h"

enum {
    RETRY_US = 500 * 1000,
    UNWANTED_US = 30 * 1000 * 1000, /* subscriptions are kept so long after the last that waited */
    SILENT_US = 5 * 1000 * 1000,    /* then Redis is asked for a sign of life, */
    ANSWER_US = 2 * 1000 * 1000,    /* which must have come by then */
};

void follow_close(struct watch *watch) {
    changes_close(watch->changes);
    watch->changes = NULL;
    for (size_t i = 0; i < VIEW_COUNT; i++)
        watch->follows[i].asked = watch->follows[i].told = watch->follows[i].hot = false;
}

static void lost(struct watch *watch, int64_t now_us, const struct err *err) {
    if (!watch->away)
        logging_err(err, "http.changes_away", " ");
    watch->away = true;
    watch->retry_us = now_us + RETRY_US;
    follow_close(watch);
}

static bool follow(struct watch *watch, size_t index, bool wanted, struct err *err) {
    struct follow *state = &watch->follows[index];
    if (!watch->changes && !changes_open(watch->redis_url, &watch->changes, err))
        return false;
    if (!changes_follow(watch->changes, views_all[index], wanted, err))
        return false;
    state->asked = wanted;
    state->told = state->hot = false;
    return true;
}

static bool tend_one(struct watch *watch, size_t index, bool wanted, int64_t now_us, struct err *err) {
    struct follow *state = &watch->follows[index];
    if (wanted)
        state->unwanted_us = 0;
    else if (!state->unwanted_us)
        state->unwanted_us = now_us;
    if (wanted && !state->asked)
        return follow(watch, index, true, err);
    if (state->asked && state->unwanted_us && now_us - state->unwanted_us > UNWANTED_US)
        return follow(watch, index, false, err);
    return true;
}

static bool check_life(struct watch *watch, int64_t now_us, struct err *err) {
    int64_t silent_us = now_us - watch->heard_us;
    if (!follow_any(watch) || silent_us < SILENT_US)
        return true;
    if (!watch->pinged) {
        watch->pinged = true;
        watch->heard_us = now_us - SILENT_US;
        return changes_ping(watch->changes, err);
    }
    return silent_us < SILENT_US + ANSWER_US || err_set(err, ERR_STORE_UNAVAILABLE, "Redis says nothing any more");
}

void follow_tend(struct watch *watch, int64_t now_us) {
    struct err err = {0};
    bool wanted[VIEW_COUNT];
    if (now_us < watch->retry_us)
        return;
    if (!follow_any(watch)) {
        watch->heard_us = now_us;
        watch->pinged = false;
    }
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        wanted[i] = watch->counts[i] > 0;
    pthread_mutex_unlock(&watch->lock);
    bool ok = true;
    for (size_t i = 0; ok && i < VIEW_COUNT; i++)
        ok = tend_one(watch, i, wanted[i], now_us, &err);
    if (!ok || !check_life(watch, now_us, &err))
        lost(watch, now_us, &err);
}

static void take(struct watch *watch, struct change *change) {
    struct str key;
    struct follow *state = change->view ? &watch->follows[watch_view_index(change->view)] : NULL;
    if (change->kind == CHANGE_FOLLOWED && state->asked) {
        state->told = true;
        state->looked_all_us = 0;
        if (watch->away)
            logging_write(LOG_INFO, "http.changes_back", " ");
        watch->away = false;
    } else if (change->kind == CHANGE_ROWS) {
        pthread_mutex_lock(&watch->lock);
        while (change_key(change, &key))
            watch_row_changed(watch, change->view, key);
        pthread_mutex_unlock(&watch->lock);
    }
}

void follow_take(struct watch *watch, int64_t now_us) {
    struct change change = {.kind = CHANGE_OTHER};
    struct err err = {0};
    while (watch->changes && changes_fd(watch->changes) >= 0 && change.kind != CHANGE_NONE) {
        if (!changes_next(watch->changes, &change, &err)) {
            lost(watch, now_us, &err);
            return;
        }
        if (change.kind == CHANGE_NONE)
            return;
        watch->heard_us = now_us;
        watch->pinged = false;
        take(watch, &change);
    }
}

int follow_fd(const struct watch *watch) {
    return watch->changes ? changes_fd(watch->changes) : -1;
}

bool follow_any(const struct watch *watch) {
    bool any = false;
    for (size_t i = 0; i < VIEW_COUNT; i++)
        any = any || watch->follows[i].asked;
    return any;
}
