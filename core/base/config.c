#include "core/base/config.h"

#include "core/base/ids.h"

#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONFIG_FILE_MAX = 1024 * 1024 };

static const struct str reference_prefix = {"secretsmanager:", 15};

struct setting {
    struct setting *next;
    char *key;
    char *value;
};

static struct setting *overrides;
static struct setting *from_file;
/* Contents of KEY_FILE files by path, read once. */
static struct setting *contents;
static pthread_mutex_t contents_lock = PTHREAD_MUTEX_INITIALIZER;
/* What references first stood for. */
static struct setting *secrets;
static pthread_mutex_t secrets_lock = PTHREAD_MUTEX_INITIALIZER;
static config_secret_source *secret_source;
static void *secret_user;

static void setting_push(struct setting **list, struct str key, struct str value) {
    struct setting *setting = mem_alloc(sizeof *setting);
    *setting = (struct setting){.next = *list, .key = mem_strdup(key), .value = mem_strdup(value)};
    *list = setting;
}

static const char *setting_find(const struct setting *list, const char *key) {
    for (; list; list = list->next) {
        if (strcmp(list->key, key) == 0)
            return list->value;
    }
    return NULL;
}

static void settings_free(struct setting *list) {
    while (list) {
        struct setting *next = list->next;
        free(list->key);
        free(list->value);
        free(list);
        list = next;
    }
}

static void fd_close(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}

/* Text only: a zero byte would cut the value short unseen. */
static bool file_read(const char *path, struct buf *ret, struct err *err) {
    __attribute__((cleanup(fd_close))) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot open %s: %s", path, strerrordesc_np(errno));
    char chunk[4096];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(err, ERR_CONFIG, "cannot read %s: %s", path, strerrordesc_np(errno));
        if (got == 0)
            break;
        buf_add(ret, chunk, (size_t)got);
        if (ret->len > CONFIG_FILE_MAX)
            return err_set(err, ERR_CONFIG, "%s is larger than %d bytes", path, (int)CONFIG_FILE_MAX);
    }
    if (ret->len && memchr(ret->ptr, '\0', ret->len))
        return err_set(err, ERR_CONFIG, "%s holds a zero byte", path);
    return true;
}

void config_override(const char *key, const char *value) {
    setting_push(&overrides, str_from(key), str_from(value));
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str str_trim(struct str s) {
    while (s.len && is_blank(s.ptr[0]))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_key(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return s.len > 0;
}

/* Messages name the line, never its text: it may hold a secret. */
static bool line_parse(struct str line, struct setting **list, struct err *err) {
    line = str_trim(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return true;
    struct str value;
    struct str key = str_trim(str_cut(line, '=', &value));
    if (!value.ptr || !is_key(key))
        return err_set(err, ERR_CONFIG, "not of the form KEY=value");
    setting_push(list, key, str_trim(value));
    if (setting_find((*list)->next, (*list)->key))
        return err_set(err, ERR_CONFIG, "%s is set twice", (*list)->key);
    return true;
}

bool config_load(struct err *err) {
    const char *path = config_get("ORDERLOG_CONFIG", NULL);
    if (!path || !path[0])
        return true;
    BUF_AUTO text = {0};
    if (!file_read(path, &text, err))
        return err_wrap(err, "ORDERLOG_CONFIG");
    struct setting *list = NULL;
    int number = 0;
    for (struct str rest = buf_str(&text); rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest);
        number++;
        if (!line_parse(line, &list, err)) {
            settings_free(list);
            return err_wrap(err, "%s, line %d", path, number);
        }
    }
    from_file = list;
    return true;
}

static bool content_find(const char *path, const char **ret, struct err *err) {
    pthread_mutex_lock(&contents_lock);
    const char *value = setting_find(contents, path);
    BUF_AUTO text = {0};
    if (!value && file_read(path, &text, err)) {
        struct str content = buf_str(&text);
        if (str_ends_with(content, STR("\n")))
            content.len--;
        setting_push(&contents, str_from(path), content);
        value = contents->value;
    }
    pthread_mutex_unlock(&contents_lock);
    if (value)
        *ret = value;
    return value != NULL;
}

/* ---- secrets ---- */

void config_secrets_set(config_secret_source *source, void *user) {
    secret_source = source;
    secret_user = user;
}

static void wipe(struct buf *buf) {
    if (buf->ptr)
        explicit_bzero(buf->ptr, buf->len);
    buf_free(buf);
}
#define SECRET_AUTO __attribute__((cleanup(wipe))) struct buf

static bool fetch(const char *reference, bool again, struct buf *ret, struct err *err) {
    if (!secret_source)
        return err_set(err, ERR_CONFIG, "this program has no store of secrets");
    if (!secret_source(secret_user, str_from(reference + reference_prefix.len), again, ret, err))
        return false;
    return !memchr(ret->ptr, '\0', ret->len) || err_set(err, ERR_CONFIG, "%s holds a zero byte", reference);
}

/* `value` as it is, or the secret that it stands for, which is kept. Nothing is locked while the store is asked. */
static bool resolve(const char *value, const char **ret, struct err *err) {
    *ret = value;
    if (!str_starts_with(str_from(value), reference_prefix))
        return true;
    pthread_mutex_lock(&secrets_lock);
    const char *known = setting_find(secrets, value);
    pthread_mutex_unlock(&secrets_lock);
    SECRET_AUTO secret = {0};
    if (!known && !fetch(value, false, &secret, err))
        return false;
    pthread_mutex_lock(&secrets_lock);
    if (!known && !(known = setting_find(secrets, value))) {
        setting_push(&secrets, str_from(value), buf_str(&secret));
        known = secrets->value;
    }
    pthread_mutex_unlock(&secrets_lock);
    *ret = known;
    return true;
}

bool config_fresh(const char *given, bool again, struct buf *ret, struct err *err) {
    const char *reference = NULL;
    pthread_mutex_lock(&secrets_lock);
    for (const struct setting *at = secrets; at && !reference; at = at->next)
        if (at->value == given) /* as config_get gave it: two secrets may have the same text for a while */
            reference = at->key;
    for (const struct setting *at = secrets; at && !reference; at = at->next)
        if (strcmp(at->value, given) == 0)
            reference = at->key;
    pthread_mutex_unlock(&secrets_lock);
    buf_reset(ret);
    if (reference)
        return fetch(reference, again, ret, err);
    buf_add_str(ret, str_from(given));
    return true;
}

bool config_secrets_load(struct err *err) {
    const char *ignored;
    for (char **at = environ; *at; at++) {
        struct str value, key = str_cut(str_from(*at), '=', &value);
        if (value.ptr && !resolve(value.ptr, &ignored, err))
            return err_wrap(err, "%.*s", STR_ARG(key));
    }
    for (const struct setting *at = from_file; at; at = at->next)
        if (!resolve(at->value, &ignored, err))
            return err_wrap(err, "%s", at->key);
    return true;
}

/* ---- looking a setting up ---- */

typedef const char *source_fn(const char *key);

static const char *source_flags(const char *key) {
    return setting_find(overrides, key);
}

static const char *source_environment(const char *key) {
    return getenv(key);
}

static const char *source_file(const char *key) {
    return setting_find(from_file, key);
}

/* Sets *ret to NULL when the key is not set anywhere. Within one source, KEY wins over KEY_FILE. */
static bool config_find(const char *key, const char **ret, struct err *err) {
    static source_fn *const sources[] = {source_flags, source_environment, source_file};
    BUF_AUTO file_key = {0};
    buf_printf(&file_key, "%s_FILE", key);
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const char *value = sources[i](key);
        if (value)
            return resolve(value, ret, err) || err_wrap(err, "%s", key);
        const char *path = sources[i](file_key.ptr);
        if (path && path[0])
            return (content_find(path, &value, err) && resolve(value, ret, err)) || err_wrap(err, "%s", file_key.ptr);
    }
    *ret = NULL;
    return true;
}

const char *config_get(const char *key, const char *fallback) {
    const char *value;
    return config_find(key, &value, NULL) && value ? value : fallback;
}

bool config_optional(const char *key, const char **ret, struct err *err) {
    if (!config_find(key, ret, err))
        return false;
    if (*ret && !**ret)
        *ret = NULL;
    return true;
}

bool config_require(const char *key, const char **ret, struct err *err) {
    const char *value;
    if (!config_find(key, &value, err))
        return false;
    if (!value || !value[0])
        return err_set(err, ERR_CONFIG, "%s is not set", key);
    *ret = value;
    return true;
}

bool config_int(const char *key, int64_t fallback, int64_t low, int64_t high, int64_t *ret, struct err *err) {
    const char *text;
    int64_t value;
    if (!config_find(key, &text, err))
        return false;
    if (!text) {
        *ret = fallback;
        return true;
    }
    if (!str_to_i64(str_from(text), &value) || value < low || value > high)
        return err_set(err, ERR_CONFIG, "%s must be an integer from %" PRId64 " to %" PRId64, key, low, high);
    *ret = value;
    return true;
}

static bool secret_check(const char *key, const char *value, size_t min_len, struct err *err) {
    return strlen(value) >= min_len || err_set(err, ERR_CONFIG, "%s must have at least %zu bytes", key, min_len);
}

bool config_secret(const char *key, size_t min_len, struct secret_pair *ret, struct err *err) {
    const char *current, *previous;
    BUF_AUTO previous_key = {0};
    buf_printf(&previous_key, "%s_PREVIOUS", key);
    if (!config_require(key, &current, err) || !secret_check(key, current, min_len, err) ||
        !config_find(previous_key.ptr, &previous, err))
        return false;
    if (previous && !previous[0])
        previous = NULL;
    if (previous && !secret_check(previous_key.ptr, previous, min_len, err))
        return false;
    *ret = (struct secret_pair){.current = str_from(current), .previous = str_from(previous)};
    return true;
}
