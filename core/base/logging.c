#include "core/base/logging.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdatomic.h>
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

static bool is_key_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* Length of the key at the start of `s` when `=` follows it, else 0. */
static size_t key_length(struct str s) {
    size_t len = 0;
    while (len < s.len && is_key_char(s.ptr[len]))
        len++;
    return len < s.len && s.ptr[len] == '=' ? len : 0;
}

static struct str str_skip(struct str s, size_t n) {
    return (struct str){s.ptr + n, s.len - n};
}

/* Length up to the closing quote. The caller need not have escaped quotes inside, so that one closes which ends the
 * text or is followed by the next key. */
static size_t quoted_length(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '"')
            continue;
        if (i + 1 == s.len || (s.ptr[i + 1] == ' ' && key_length(str_skip(s, i + 2))))
            return i;
    }
    return s.len;
}

static void add_fields(struct buf *line, struct str text, bool terminal) {
    while (text.len) {
        if (text.ptr[0] == ' ') {
            text = str_skip(text, 1);
            continue;
        }
        size_t key_len = key_length(text);
        if (key_len == 0) {
            add_field(line, STR("text"), text, true, terminal);
            return;
        }
        struct str key = {text.ptr, key_len};
        text = str_skip(text, key_len + 1);
        bool quoted = text.len && text.ptr[0] == '"';
        if (quoted)
            text = str_skip(text, 1);
        struct str rest;
        struct str value = quoted ? (struct str){text.ptr, quoted_length(text)} : str_cut(text, ' ', &rest);
        add_field(line, key, value, quoted, terminal);
        text = str_skip(text, value.len);
        if (quoted && text.len)
            text = str_skip(text, 1);
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
    BUF_AUTO text = {0};
    buf_vprintf(&text, format, args);
    begin_line(&line, level, event, terminal);
    add_fields(&line, buf_str(&text), terminal);
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
