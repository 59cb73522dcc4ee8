#include "api/readiness.h"

bool readiness_of(const struct checks *checks) {
    for (size_t i = 0; i < checks->count; i++)
        if (checks->items[i].state == CHECK_FAILED)
            return false;
    return true;
}

static const char *const state_names[] = {[CHECK_OK] = "ok", [CHECK_WARNING] = "warning", [CHECK_FAILED] = "failed"};

static void write_lines(const struct checks *checks, struct buf *ret) {
    for (size_t i = 0; i < checks->count; i++) {
        const struct check *check = &checks->items[i];
        buf_printf(ret, "%-7s  %s%s%s\n", state_names[check->state], check->name, check->why[0] ? ": " : "",
                   check->why);
    }
}

static void write_json(const struct checks *checks, bool ready, struct buf *ret) {
    buf_printf(ret, "{\"status\":\"%s\",\"checks\":[", ready ? "ready" : "unready");
    for (size_t i = 0; i < checks->count; i++) {
        const struct check *check = &checks->items[i];
        buf_printf(ret, "%s{\"name\":", i ? "," : "");
        buf_add_json_string(ret, str_from(check->name));
        buf_printf(ret, ",\"state\":\"%s\"", state_names[check->state]);
        if (check->why[0]) {
            buf_add_str(ret, STR(",\"detail\":"));
            buf_add_json_string(ret, str_from(check->why));
        }
        buf_add_char(ret, '}');
    }
    buf_add_str(ret, STR("]}"));
}

void readiness_write(const struct checks *checks, bool ready, struct str verbose, struct buf *ret) {
    if (verbose.ptr && str_eq(verbose, STR("json"))) {
        write_json(checks, ready, ret);
        return;
    }
    if (verbose.ptr)
        write_lines(checks, ret);
    buf_add_str(ret, ready ? STR("ready\n") : STR("unready\n"));
}
