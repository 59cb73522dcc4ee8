#include "core/base/err.h"

#include "core/base/logging.h"

#include <stdio.h>

struct err_row {
    int status;
    const char *slug;
    const char *title;
    enum log_level level;
};

static const struct err_row rows[] = {
#define X(kind, status, slug, title, level) [ERR_##kind] = {status, slug, title, LOG_##level},
    ERR_KINDS(X)
#undef X
};

static const struct err_row *err_row(enum err_kind kind) {
    return (unsigned)kind < ERR_KIND_COUNT ? &rows[kind] : &rows[ERR_INTERNAL];
}

bool err_set(struct err *err, enum err_kind kind, const char *format, ...) {
    if (!err)
        return false;
    /* Formatted aside: an argument may be the old detail. */
    char detail[sizeof err->detail];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    err->kind = kind;
    err->field_count = 0;
    memcpy(err->detail, detail, sizeof detail);
    return false;
}

bool err_wrap(struct err *err, const char *format, ...) {
    if (!err)
        return false;
    BUF_AUTO text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    buf_printf(&text, ": %s", err->detail);
    snprintf(err->detail, sizeof err->detail, "%s", text.ptr);
    return false;
}

bool err_field(struct err *err, enum err_kind kind, const char *pointer, const char *format, ...) {
    if (!err)
        return false;
    struct err_field field;
    snprintf(field.pointer, sizeof field.pointer, "%s", pointer);
    va_list args;
    va_start(args, format);
    vsnprintf(field.detail, sizeof field.detail, format, args);
    va_end(args);
    if (err->kind == ERR_NONE)
        err_set(err, kind, "%s%s%s", field.pointer, field.pointer[0] ? ": " : "", field.detail);
    if (err->field_count < ERR_FIELDS_MAX)
        err->fields[err->field_count++] = field;
    return false;
}

int err_http_status(enum err_kind kind) {
    return err_row(kind)->status;
}

const char *err_slug(enum err_kind kind) {
    return err_row(kind)->slug;
}

const char *err_title(enum err_kind kind) {
    return err_row(kind)->title;
}

int err_log_level(enum err_kind kind) {
    return (int)err_row(kind)->level;
}
