#include "core/base/logging.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static atomic_int log_threshold = LOG_INFO;
static atomic_bool log_terminal;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

void logging_init(enum log_level threshold) {
    atomic_store(&log_threshold, (int)threshold);
    atomic_store(&log_terminal, isatty(STDERR_FILENO) == 1);
    const char *name = getenv("ORDERLOG_LOG_LEVEL");
    if (!name || !name[0])
        return;
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        if (strcasecmp(name, level_names[level]) == 0) {
            atomic_store(&log_threshold, level);
            return;
        }
    }
    logging_write(LOG_WARN, "logging.level_unknown", "ORDERLOG_LOG_LEVEL=\"%s\"", name);
}

static size_t count_digits(struct str s, size_t from) {
    size_t at = from;
    while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9')
        at++;
    return at - from;
}

/* A JSON number as printf writes it. An exponent must have its sign, which keeps hex such as 12e4 a text. */
static bool is_number(struct str s) {
    size_t at = s.len && s.ptr[0] == '-';
    size_t digits = count_digits(s, at);
    if (digits == 0 || (digits > 1 && s.ptr[at] == '0'))
        return false;
    at += digits;
    if (at < s.len && s.ptr[at] == '.') {
        digits = count_digits(s, ++at);
        if (digits == 0)
            return false;
        at += digits;
    }
    if (at + 2 < s.len && s.ptr[at] == 'e' && (s.ptr[at + 1] == '+' || s.ptr[at + 1] == '-'))
        at += 2 + count_digits(s, at + 2);
    return at == s.len;
}

static bool is_plain(struct str value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c <= ' ' || c >= 0x7F || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return value.len > 0;
}

static void add_field(struct buf *line, struct str key, struct str value, bool quoted, bool terminal) {
    if (terminal) {
        buf_add_char(line, ' ');
        buf_add_str(line, key);
        buf_add_char(line, '=');
    } else {
        buf_add_char(line, ',');
        buf_add_json_string(line, key);
        buf_add_char(line, ':');
    }
    bool literal = !quoted && (is_number(value) || str_eq(value, STR("true")) || str_eq(value, STR("false")));
    if (literal || (terminal && is_plain(value)))
        buf_add_str(line, value);
    else
        buf_add_json_string(line, value);
}

/* ---- fields: the format is read here rather than by printf, so that no value can pass for another field ---- */

struct conversion {
    char spec[24]; /* without its length modifier and its conversion character */
    size_t spec_len;
    int precision; /* -1: none */
    int length;    /* 0 int, 1 long, 2 long long, 3 size_t, 4 intmax_t, 5 ptrdiff_t; shorter ones are promoted to int */
    char type;
};

static const char *read_length(const char *at, int *ret) {
    *ret = 0;
    for (; *at == 'h' || *at == 'l'; at++)
        *ret += *at == 'l';
    if (*at == 'z' || *at == 'j' || *at == 't')
        *ret = *at++ == 'z' ? 3 : at[-1] == 'j' ? 4 : 5;
    return at;
}

/* `at` stands behind the percent sign; flags, width and precision are taken over, a `*` as the number that it is. */
static const char *conversion_read(const char *at, va_list *args, struct conversion *ret) {
    bool in_precision = false;
    *ret = (struct conversion){.spec = "%", .spec_len = 1, .precision = -1};
    for (; *at && strchr("-+ #0123456789.*", *at); at++) {
        char piece[12] = {*at};
        int star = *at == '*' ? va_arg(*args, int) : 0;
        if (*at == '*')
            snprintf(piece, sizeof piece, "%d", star);
        if (*at == '.') {
            in_precision = true;
            ret->precision = 0;
        } else if (in_precision) {
            ret->precision = *at == '*' ? star : ret->precision * 10 + (*at - '0');
        }
        size_t len = strlen(piece);
        if (ret->spec_len + len + 4 < sizeof ret->spec) {
            memcpy(ret->spec + ret->spec_len, piece, len);
            ret->spec_len += len;
        }
    }
    at = read_length(at, &ret->length);
    ret->type = *at;
    return *at ? at + 1 : at;
}

static void add_text(struct buf *value, const struct conversion *conversion, const char *text) {
    if (!text)
        text = "(null)";
    buf_add(value, text, conversion->precision >= 0 ? strnlen(text, (size_t)conversion->precision) : strlen(text));
}

/* The formats are made of what the compiler has checked in the caller's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void add_integer(struct buf *value, struct conversion *conversion, va_list *args) {
    char *end = conversion->spec + conversion->spec_len;
    intmax_t number = conversion->length == 0   ? va_arg(*args, int)
                      : conversion->length == 1 ? va_arg(*args, long)
                      : conversion->length == 2 ? va_arg(*args, long long)
                      : conversion->length == 3 ? va_arg(*args, ssize_t)
                      : conversion->length == 4 ? va_arg(*args, intmax_t)
                                                : va_arg(*args, ptrdiff_t);
    if (conversion->type != 'd' && conversion->type != 'i' && conversion->length == 0)
        number = (unsigned)number;
    memcpy(end, (char[]){'j', conversion->type, 0}, 3);
    buf_printf(value, conversion->spec, number);
}

static void add_real(struct buf *value, struct conversion *conversion, va_list *args) {
    memcpy(conversion->spec + conversion->spec_len, (char[]){conversion->type, 0}, 2);
    buf_printf(value, conversion->spec, va_arg(*args, double));
}
#pragma GCC diagnostic pop

/* False: a conversion that is not known here; what follows in the arguments cannot be told. */
static bool add_conversion(struct buf *value, struct conversion *conversion, va_list *args) {
    switch (conversion->type) {
    case '%':
        buf_add_char(value, '%');
        return true;
    case 's':
        add_text(value, conversion, va_arg(*args, const char *));
        return true;
    case 'c':
        buf_add_char(value, (char)va_arg(*args, int));
        return true;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
        add_integer(value, conversion, args);
        return true;
    case 'e':
    case 'f':
    case 'g':
        add_real(value, conversion, args);
        return true;
    default:
        return false;
    }
}

static bool is_key_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* One value, up to `end` (a quote or a space of the format) or the format's end. */
static const char *value_read(const char *at, char end, va_list *args, struct buf *ret, bool *ret_text) {
    *ret_text = end == '"';
    while (*at && *at != end) {
        struct conversion conversion;
        if (*at != '%') {
            buf_add_char(ret, *at++);
            continue;
        }
        at = conversion_read(at + 1, args, &conversion);
        *ret_text |= conversion.type == 's' || conversion.type == 'c';
        if (!add_conversion(ret, &conversion, args))
            return NULL;
    }
    return *at && end == '"' ? at + 1 : at;
}

static void add_fields(struct buf *line, const char *format, va_list *args, bool terminal) {
    const char *at = format;
    while (at && *at) {
        BUF_AUTO value = {0};
        bool text;
        if (*at == ' ') {
            at++;
            continue;
        }
        struct str key = {at, 0};
        while (is_key_char(at[key.len]))
            key.len++;
        bool keyed = key.len && at[key.len] == '=';
        if (!keyed)
            key = STR("text");
        else
            at += key.len + 1;
        bool quoted = keyed && *at == '"';
        at = value_read(quoted ? at + 1 : at, !keyed ? '\0' : quoted ? '"' : ' ', args, &value, &text);
        if (value.len || !str_eq(key, STR("trace_id")))
            add_field(line, key, buf_str(&value), text || !keyed, terminal);
    }
}

static void begin_line(struct buf *line, enum log_level level, const char *event, bool terminal) {
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_now_us(), now);
    if (terminal) {
        buf_printf(line, "ts=%s level=%s event=%s", now, level_names[level], event);
        return;
    }
    buf_printf(line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":", now, level_names[level]);
    buf_add_json_string(line, str_from(event));
}

/* One write for a line, so that lines of several threads do not mix. What cannot be written is lost: there is nowhere
 * left to say so. */
static void end_line(struct buf *line, bool terminal) {
    if (!terminal)
        buf_add_char(line, '}');
    buf_add_char(line, '\n');
    ssize_t written;
    do {
        written = write(STDERR_FILENO, line->ptr, line->len);
    } while (written < 0 && errno == EINTR);
}

static void __attribute__((format(printf, 4, 0)))
write_line(enum log_level level, const struct err *err, const char *event, const char *format, va_list args) {
    if ((int)level < atomic_load_explicit(&log_threshold, memory_order_relaxed))
        return;
    int errno_before = errno;
    bool terminal = atomic_load_explicit(&log_terminal, memory_order_relaxed);
    BUF_AUTO line = {0};
    va_list copy; /* a parameter's address is not that of a va_list everywhere */
    va_copy(copy, args);
    begin_line(&line, level, event, terminal);
    add_fields(&line, format, &copy, terminal);
    va_end(copy);
    if (err) {
        add_field(&line, STR("kind"), str_from(err_slug(err->kind)), true, terminal);
        add_field(&line, STR("error"), str_from(err->detail), true, terminal);
    }
    end_line(&line, terminal);
    errno = errno_before;
}

void logging_write(enum log_level level, const char *event, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line(level, NULL, event, format, args);
    va_end(args);
}

void logging_err(const struct err *err, const char *event, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line((enum log_level)err_log_level(err->kind), err, event, format, args);
    va_end(args);
}
