#include "cli/top.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/config.h"

#define LISTEN_SUFFIX ".listen"

enum { ADDRESS_MAX = 256 };

static void disown(const char *text) {
    free((void *)(uintptr_t)text);
}

static void target_free(struct top_target *target) {
    top_scrape_free(&target->before);
    top_scrape_free(&target->now);
    disown(target->name);
    disown(target->url);
}

/* An address becomes that of its metrics. */
static char *metrics_url(struct str given) {
    BUF_AUTO url = {0};
    BUF_AUTO text = {0};
    buf_add_str(&text, given);
    buf_add_char(&text, '\0');
    const char *scheme = strstr(text.ptr, "://");
    const char *path = strchr(scheme ? scheme + 3 : text.ptr, '/');
    buf_printf(&url, "%s%s", scheme ? "" : "http://", text.ptr);
    if (!path)
        buf_printf(&url, "/metrics");
    else if (!path[1])
        buf_printf(&url, "metrics");
    return mem_strdup(buf_str(&url));
}

void top_targets_add(struct top_targets *targets, struct str name, struct str url) {
    targets->items = mem_realloc(targets->items, (targets->count + 1) * sizeof *targets->items);
    targets->items[targets->count++] =
        (struct top_target){.name = name.ptr ? mem_strdup(name) : NULL, .url = metrics_url(url)};
}

/* ---- where they are told ---- */

static void add_listed(struct top_targets *targets, struct str list) {
    while (list.len) {
        size_t len = 0;
        while (len < list.len && list.ptr[len] != ' ' && list.ptr[len] != ',' && list.ptr[len] != '\n')
            len++;
        struct str url, item = {list.ptr, len}, name = str_cut(item, '=', &url);
        if (len && url.ptr && !memchr(name.ptr, '/', name.len))
            top_targets_add(targets, name, url);
        else if (len)
            top_targets_add(targets, STR_NULL, item);
        len += len < list.len;
        list = (struct str){list.ptr + len, list.len - len};
    }
}

/* The address that a file says; 0: none. */
static size_t read_address(int folder, const char *name, char ret[ADDRESS_MAX]) {
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t len = file < 0 ? 0 : read(file, ret, ADDRESS_MAX);
    if (file >= 0)
        close(file);
    while (len > 0 && (ret[len - 1] == '\n' || ret[len - 1] == ' '))
        len--;
    return len > 0 ? (size_t)len : 0;
}

static int is_listen(const struct dirent *entry) {
    return str_ends_with(str_from(entry->d_name), STR(LISTEN_SUFFIX));
}

/* In the order of their names. */
static void add_folder(struct top_targets *targets, const char *path) {
    struct dirent **entries;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = folder < 0 ? 0 : scandirat(folder, ".", &entries, is_listen, alphasort);
    for (int i = 0; i < count; i++) {
        char address[ADDRESS_MAX];
        struct str name = str_from(entries[i]->d_name);
        size_t len = read_address(folder, entries[i]->d_name, address);
        name.len -= strlen(LISTEN_SUFFIX);
        if (len)
            top_targets_add(targets, name, (struct str){address, len});
        free(entries[i]);
    }
    if (count >= 0 && folder >= 0)
        free(entries);
    if (folder >= 0)
        close(folder);
}

static void keep_scrapes(struct top_targets *targets, struct top_targets *before) {
    for (size_t i = 0; i < targets->count; i++)
        for (size_t k = 0; k < before->count; k++) {
            struct top_target *now = &targets->items[i], *then = &before->items[k];
            if (strcmp(now->url, then->url) != 0)
                continue;
            now->before = then->before;
            now->now = then->now;
            then->before = then->now = (struct top_scrape){0};
            break;
        }
}

void top_targets_refresh(struct top_targets *targets) {
    if (targets->given)
        return;
    struct top_targets before = *targets;
    const char *run = targets->run ? targets->run : config_get("ORDERLOG_RUN", NULL);
    targets->items = NULL;
    targets->count = 0;
    if (!targets->run)
        add_listed(targets, str_from(config_get("ORDERLOG_PROCESSES", "")));
    if (!targets->count && run)
        add_folder(targets, run);
    if (!targets->count)
        top_targets_add(targets, STR_NULL, str_from(config_get("ORDERLOG_API", "http://127.0.0.1:8080")));
    keep_scrapes(targets, &before);
    for (size_t i = 0; i < before.count; i++)
        target_free(&before.items[i]);
    free(before.items);
}

void top_targets_free(struct top_targets *targets) {
    for (size_t i = 0; i < targets->count; i++)
        target_free(&targets->items[i]);
    free(targets->items);
    *targets = (struct top_targets){0};
}
