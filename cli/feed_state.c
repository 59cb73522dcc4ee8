#include "cli/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void feed_count(struct map *counts, struct str name, int64_t by) {
    void **slot = map_put(counts, name);
    *slot = (void *)((intptr_t)*slot + (intptr_t)by);
}

static void add_fate(struct feed_state *state, json_t *fate) {
    const char *key;
    json_t *value;
    struct str basket = str_from(json_string_value(json_object_get(fate, "basket")));
    const char *outcome = json_string_value(json_object_get(fate, "outcome"));
    if (!basket.ptr || !outcome || map_get(&state->done, basket))
        return;
    *map_put(&state->done, basket) = state;
    state->done_count++;
    feed_count(&state->outcomes, str_from(outcome), 1);
    state->revenue_minor += json_integer_value(json_object_get(fate, "revenue_minor"));
    json_object_foreach(json_object_get(fate, "refused"), key, value)
        feed_count(&state->refused, str_from(key), json_integer_value(value));
}

static void add_token(struct feed_state *state, json_t *entry) {
    const char *token = json_string_value(json_object_get(entry, "token"));
    struct str household = str_from(json_string_value(json_object_get(entry, "household")));
    if (!token || !household.ptr)
        return;
    void **slot = map_put(&state->tokens, household);
    if (!*slot)
        *slot = mem_strdup(str_from(token));
}

/* A last line without its end was being written when the feed was killed: its basket is done again. */
static bool load_lines(struct feed_state *state, const char *path, void (*add)(struct feed_state *, json_t *),
                       int *ret_file, struct err *err) {
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    off_t whole = 0;
    if (file < 0 || !in) {
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        if (in)
            fclose(in);
        if (file >= 0)
            close(file);
        return false;
    }
    *ret_file = file; /* closed with the state, whatever comes */
    while ((len = getline(&line, &capacity, in)) > 0 && line[len - 1] == '\n') {
        json_t *json = json_loadb(line, (size_t)len, 0, NULL);
        add(state, json);
        json_decref(json);
        whole += len;
    }
    free(line);
    fclose(in);
    if (ftruncate(file, whole) != 0 || lseek(file, 0, SEEK_END) < 0)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    return true;
}

static bool append_line(int file, json_t *entry, struct err *err) {
    char *text = json_dumps(entry, JSON_COMPACT);
    BUF_AUTO line = {0};
    buf_printf(&line, "%s\n", text);
    free(text);
    json_decref(entry);
    if (write(file, line.ptr, line.len) != (ssize_t)line.len)
        return err_set(err, ERR_IO, "the feed's state cannot be written: %s", strerror(errno));
    return true;
}

bool feed_state_open(struct feed_state *state, const char *folder, struct err *err) {
    BUF_AUTO fates = {0};
    BUF_AUTO tokens = {0};
    *state = (struct feed_state){.folder = mem_strdup(str_from(folder)), .fates_file = -1, .tokens_file = -1};
    pthread_mutex_init(&state->lock, NULL);
    buf_printf(&fates, "%s/fates.jsonl", folder);
    buf_printf(&tokens, "%s/tokens.jsonl", folder);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "%s: %s", folder, strerror(errno));
    return load_lines(state, fates.ptr, add_fate, &state->fates_file, err) &&
           load_lines(state, tokens.ptr, add_token, &state->tokens_file, err);
}

void feed_state_close(struct feed_state *state) {
    if (state->fates_file >= 0)
        close(state->fates_file);
    if (state->tokens_file >= 0)
        close(state->tokens_file);
    map_free(&state->done, NULL);
    map_free(&state->tokens, free);
    map_free(&state->outcomes, NULL);
    map_free(&state->refused, NULL);
    pthread_mutex_destroy(&state->lock);
    free(state->folder);
}

bool feed_state_is_done(struct feed_state *state, struct str basket) {
    pthread_mutex_lock(&state->lock);
    bool done = map_get(&state->done, basket) != NULL;
    pthread_mutex_unlock(&state->lock);
    return done;
}

static json_t *text(struct str s) {
    return json_stringn(s.ptr, s.len);
}

bool feed_state_add(struct feed_state *state, struct str basket, const struct feed_fate *fate, struct err *err) {
    json_t *entry = json_object(), *refused = json_object();
    for (struct map_entry *e = map_next(&fate->refused, NULL); e; e = map_next(&fate->refused, e))
        json_object_setn_new(refused, e->key.ptr, e->key.len, json_integer((intptr_t)e->value));
    json_object_set_new(entry, "basket", text(basket));
    json_object_set_new(entry, "outcome", json_string(fate->outcome));
    json_object_set_new(entry, "order_id", json_string(fate->order_id));
    json_object_set_new(entry, "revenue_minor", json_integer(fate->revenue_minor));
    json_object_set_new(entry, "refused", refused);
    pthread_mutex_lock(&state->lock);
    add_fate(state, entry);
    bool ok = append_line(state->fates_file, entry, err);
    pthread_mutex_unlock(&state->lock);
    return ok;
}

const char *feed_state_token(struct feed_state *state, struct str household) {
    pthread_mutex_lock(&state->lock);
    const char *token = map_get(&state->tokens, household);
    pthread_mutex_unlock(&state->lock);
    return token;
}

bool feed_state_set_token(struct feed_state *state, struct str household, const char *token, struct err *err) {
    json_t *entry = json_object();
    json_object_set_new(entry, "household", text(household));
    json_object_set_new(entry, "token", json_string(token));
    pthread_mutex_lock(&state->lock);
    bool first = map_get(&state->tokens, household) == NULL;
    add_token(state, entry); /* a second one, of a race, is not used */
    bool ok = true;
    if (first)
        ok = append_line(state->tokens_file, entry, err);
    else
        json_decref(entry);
    pthread_mutex_unlock(&state->lock);
    return ok;
}

static void stocked_path(const struct feed_state *state, int64_t percent, struct buf *ret) {
    buf_printf(ret, "%s/stocked-%lld", state->folder, (long long)percent);
}

bool feed_state_stocked(const struct feed_state *state, int64_t percent) {
    BUF_AUTO path = {0};
    stocked_path(state, percent, &path);
    return access(path.ptr, F_OK) == 0;
}

bool feed_state_set_stocked(const struct feed_state *state, int64_t percent, struct err *err) {
    BUF_AUTO path = {0};
    stocked_path(state, percent, &path);
    int file = open(path.ptr, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return err_set(err, ERR_IO, "%s: %s", path.ptr, strerror(errno));
    close(file);
    return true;
}
