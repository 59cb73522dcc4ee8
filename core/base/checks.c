#include "core/base/checks.h"

#include <stdlib.h>

static void add(struct checks *checks, enum check_state state, struct str name, struct str why) {
    checks->items = mem_realloc(checks->items, (checks->count + 1) * sizeof *checks->items);
    checks->items[checks->count++] = (struct check){state, mem_strdup(name), mem_strdup(why.ptr ? why : STR(""))};
}

void checks_add(struct checks *checks, enum check_state state, struct str why, const char *format, ...) {
    BUF_AUTO name = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&name, format, args);
    va_end(args);
    add(checks, state, buf_str(&name), why);
}

void checks_copy(struct checks *checks, const struct checks *from) {
    for (size_t i = 0; i < from->count; i++)
        add(checks, from->items[i].state, str_from(from->items[i].name), str_from(from->items[i].why));
}

void checks_free(struct checks *checks) {
    for (size_t i = 0; i < checks->count; i++) {
        free(checks->items[i].name);
        free(checks->items[i].why);
    }
    free(checks->items);
    *checks = (struct checks){0};
}
