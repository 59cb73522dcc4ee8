#include "cli/tail_print.h"

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/codec/wire.h"

#include <inttypes.h>

/* ---- the value ---- */

/* Topics without a subject of their own (dead letters) hold another topic's records: the schema id tells. */
static const struct schema_subject *subject_of(const struct log_record *record, struct arena *scratch) {
    const struct schema_subject *subject = schema_subject_find(record->topic);
    const struct schema_version *version;
    struct str value = record->value;
    struct err ignored; /* what is unreadable is shown as such */
    if (subject || !wire_take(NULL, &value, scratch, &version, &ignored))
        return subject;
    return version->subject;
}

void tail_add_event(struct buf *ret, const struct log_record *record, struct arena *scratch, struct err *err) {
    struct message message;
    arena_reset(scratch);
    const struct schema_subject *subject = record->value.ptr ? subject_of(record, scratch) : NULL;
    if (!record->value.ptr) {
        buf_add_str(ret, STR("null"));
    } else if (!subject) {
        err_set(err, ERR_UNKNOWN_SCHEMA, "no schema is known for it");
        buf_add_str(ret, STR("null"));
    } else if (!message_decode(subject, record->value, scratch, &message, err)) {
        buf_add_str(ret, STR("null"));
    } else if (message.type == MESSAGE_UNKNOWN) {
        err_set(err, ERR_UNKNOWN_SCHEMA, "a record that is known no more");
        buf_add_str(ret, STR("null"));
    } else {
        avro_to_json(schema_messages[message.type], message_body(&message), ret);
    }
}

static void add_hex(struct buf *ret, struct str value) {
    buf_add_hex(ret, (const uint8_t *)value.ptr, value.len);
}

static void add_time(struct buf *ret, int64_t time_us) {
    char text[CLOCK_TEXT_SIZE];
    buf_add(ret, text, clock_format(time_us, text));
}

/* ---- a JSON line ---- */

static void add_text_or_null(struct buf *ret, struct str text) {
    if (text.ptr)
        buf_add_json_string(ret, text);
    else
        buf_add_str(ret, STR("null"));
}

/* Of headers with the same name the last one counts, as in JSON. */
static bool header_comes_again(const struct log_record *record, size_t index) {
    for (size_t i = index + 1; i < record->header_count; i++)
        if (str_eq(record->headers[i].name, record->headers[index].name))
            return true;
    return false;
}

void tail_add_headers(struct buf *ret, const struct log_record *record) {
    char before = '{';
    for (size_t i = 0; i < record->header_count; i++) {
        if (header_comes_again(record, i))
            continue;
        buf_add_char(ret, before);
        buf_add_json_string(ret, record->headers[i].name);
        buf_add_char(ret, ':');
        add_text_or_null(ret, record->headers[i].value);
        before = ',';
    }
    if (!record->header_count)
        buf_add_char(ret, '{');
    buf_add_char(ret, '}');
}

static void add_hex_member(struct buf *ret, const char *name, struct str bytes) {
    buf_printf(ret, ",\"%s\":\"", name);
    add_hex(ret, bytes);
    buf_add_char(ret, '"');
}

/* What JSON cannot tell of a record's key and headers. */
static void add_not_text(struct buf *ret, const struct log_record *record) {
    if (!str_is_utf8(record->key))
        add_hex_member(ret, "key_hex", record->key);
    const char *before = ",\"headers_hex\":{";
    for (size_t i = 0; i < record->header_count; i++) {
        if (str_is_utf8(record->headers[i].value) || header_comes_again(record, i))
            continue;
        buf_printf(ret, "%s", before);
        buf_add_json_string(ret, record->headers[i].name);
        buf_add_str(ret, STR(":\""));
        add_hex(ret, record->headers[i].value);
        buf_add_char(ret, '"');
        before = ",";
    }
    if (before[1] == '\0')
        buf_add_char(ret, '}');
}

static void add_json_line(const struct tail_style *style, const struct log_record *record,
                          const struct envelope *envelope, struct arena *scratch, struct buf *ret) {
    struct err err = {0};
    buf_add_str(ret, STR("{\"topic\":"));
    buf_add_json_string(ret, record->topic);
    buf_printf(ret, ",\"partition\":%d,\"offset\":%" PRId64 ",\"timestamp\":\"", record->partition, record->offset);
    add_time(ret, record->timestamp_us);
    buf_add_str(ret, STR("\",\"key\":"));
    add_text_or_null(ret, record->key);
    buf_add_str(ret, STR(",\"type\":"));
    add_text_or_null(ret, envelope->type);
    buf_add_str(ret, STR(",\"headers\":"));
    tail_add_headers(ret, record);
    buf_add_str(ret, STR(",\"event\":"));
    tail_add_event(ret, record, scratch, &err);
    if (err.kind) {
        buf_add_str(ret, STR(",\"error\":"));
        buf_add_json_string(ret, str_from(err.detail));
    }
    if (style->whole)
        add_not_text(ret, record);
    if (record->value.ptr && (style->hex || (style->whole && err.kind)))
        add_hex_member(ret, "value_hex", record->value);
    else if (style->hex)
        buf_add_str(ret, STR(",\"value_hex\":null"));
    buf_add_char(ret, '}');
    buf_add_char(ret, '\n');
}

/* ---- a line of the table ---- */

/* Keys and types are whatever somebody wrote; a terminal must not take them for commands. */
void tail_add_printable(struct buf *ret, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        buf_add_char(ret, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

static struct str type_short(struct str type) {
    for (size_t i = type.len; i > 0; i--)
        if (type.ptr[i - 1] == '.')
            return (struct str){type.ptr + i, type.len - i};
    return type;
}

/* Appends a piece in a colour, within what is left of the line's columns. Code points count as one column. */
struct table_line {
    const struct tail_style *style;
    struct buf *ret;
    size_t left; /* columns */
};

static void line_add(struct table_line *line, const char *color, struct str text) {
    size_t end = 0, columns = 0;
    bool cut = false;
    for (; end < text.len; end++) {
        if (((unsigned char)text.ptr[end] & 0xc0) == 0x80)
            continue;
        if (line->style->columns && columns == line->left) {
            cut = true;
            break;
        }
        columns++;
    }
    if (line->style->color)
        buf_printf(line->ret, "%s", color);
    buf_add(line->ret, text.ptr, end);
    if (line->style->color)
        buf_printf(line->ret, "\033[0m");
    line->left -= cut ? line->left : columns;
}

static void line_printf(struct table_line *line, const char *color, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void line_printf(struct table_line *line, const char *color, const char *format, ...) {
    BUF_AUTO text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    line_add(line, color, buf_str(&text));
}

static void add_table_line(const struct tail_style *style, const struct log_record *record,
                           const struct envelope *envelope, struct arena *scratch, struct buf *ret) {
    struct table_line line = {.style = style, .ret = ret, .left = style->columns};
    struct err err = {0};
    BUF_AUTO text = {0};
    add_time(&text, record->timestamp_us);
    line_printf(&line, "\033[2m", "%-27s  ", text.ptr);
    line_printf(&line, "\033[36m", "%.*s %d/%" PRId64 "  ", STR_ARG(record->topic), record->partition, record->offset);
    buf_reset(&text);
    tail_add_printable(&text, type_short(envelope->type));
    line_printf(&line, "\033[1;32m", "%s  ", text.ptr ? text.ptr : "");
    buf_reset(&text);
    tail_add_printable(&text, record->key);
    line_printf(&line, "\033[33m", "%s  ", text.ptr ? text.ptr : "");
    buf_reset(&text);
    tail_add_event(&text, record, scratch, &err);
    if (err.kind)
        line_printf(&line, "\033[31m", "(%s) ", err.detail);
    line_add(&line, "", buf_str(&text));
    if (style->hex) {
        buf_reset(&text);
        add_hex(&text, record->value);
        line_printf(&line, "\033[2m", "  %s", text.ptr ? text.ptr : "");
    }
    buf_add_char(ret, '\n');
}

/* ---- a format ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* After a backslash: appends what it means and returns how many characters it took; 0: not known. */
static size_t add_escape(const char *at, struct buf *ret) {
    static const char names[] = "nrt0\\", meanings[] = "\n\r\t\0\\";
    const char *found = *at ? strchr(names, *at) : NULL;
    if (found) {
        buf_add_char(ret, meanings[found - names]);
        return 1;
    }
    if (*at != 'x' || hex_digit(at[1]) < 0 || hex_digit(at[2]) < 0)
        return 0;
    buf_add_char(ret, (char)(hex_digit(at[1]) << 4 | hex_digit(at[2])));
    return 3;
}

static void add_header_list(struct buf *ret, const struct log_record *record) {
    for (size_t i = 0; i < record->header_count; i++) {
        buf_printf(ret, "%s", i ? "," : "");
        buf_add_str(ret, record->headers[i].name);
        buf_add_char(ret, '=');
        buf_add_str(ret, record->headers[i].value);
    }
}

static void add_token(char token, const struct tail_style *style, const struct log_record *record,
                      struct arena *scratch, struct buf *ret) {
    switch (token) {
    case 't':
        buf_add_str(ret, record->topic);
        break;
    case 'p':
        buf_printf(ret, "%d", record->partition);
        break;
    case 'o':
        buf_printf(ret, "%" PRId64, record->offset);
        break;
    case 'k':
        buf_add_str(ret, record->key);
        break;
    case 'K':
        buf_printf(ret, "%" PRId64, record->key.ptr ? (int64_t)record->key.len : INT64_C(-1));
        break;
    case 's':
        if (style->hex)
            add_hex(ret, record->value);
        else if (record->value.ptr)
            tail_add_event(ret, record, scratch, NULL);
        break;
    case 'S':
        buf_printf(ret, "%" PRId64, record->value.ptr ? (int64_t)record->value.len : INT64_C(-1));
        break;
    case 'h':
        add_header_list(ret, record);
        break;
    case 'T':
        buf_printf(ret, "%" PRId64, record->timestamp_us / 1000);
        break;
    case '%':
        buf_add_char(ret, '%');
        break;
    }
}

bool tail_format_check(const char *format, char *ret_bad) {
    BUF_AUTO scratch = {0};
    for (const char *at = format; *at; at++) {
        if (*at == '%' && (!at[1] || !strchr("tpokKsShT%", *++at))) {
            *ret_bad = '%';
            return false;
        }
        if (*at == '\\') {
            size_t taken = add_escape(at + 1, &scratch);
            if (!taken) {
                *ret_bad = '\\';
                return false;
            }
            at += taken;
        }
    }
    return true;
}

static void add_formatted(const struct tail_style *style, const struct log_record *record, struct arena *scratch,
                          struct buf *ret) {
    for (const char *at = style->format; *at; at++) {
        if (*at == '%')
            add_token(*++at, style, record, scratch, ret);
        else if (*at == '\\')
            at += add_escape(at + 1, ret);
        else
            buf_add_char(ret, *at);
    }
}

void tail_print(const struct tail_style *style, const struct log_record *record, const struct envelope *envelope,
                struct arena *scratch, struct buf *ret) {
    if (style->format)
        add_formatted(style, record, scratch, ret);
    else if (style->json)
        add_json_line(style, record, envelope, scratch, ret);
    else
        add_table_line(style, record, envelope, scratch, ret);
}
