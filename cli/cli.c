#include "cli/cli.h"

#include "core/base/config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *cli_name = "orderlog";

void cli_set_name(const char *name) {
    cli_name = name;
}

static void say(const char *format, va_list args) {
    BUF_AUTO text = {0};
    buf_printf(&text, "%s: ", cli_name);
    buf_vprintf(&text, format, args);
    buf_add_char(&text, '\n');
    fwrite(text.ptr, 1, text.len, stderr);
}

int cli_usage_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return cli_usage_hint();
}

int cli_usage_hint(void) {
    fprintf(stderr, "Try '%s --help'.\n", cli_name);
    return CLI_USAGE;
}

void cli_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int cli_fail(const struct err *err) {
    cli_note("%s", err->detail);
    return CLI_USAGE;
}

bool cli_no_operands(int argc, char **argv) {
    if (optind >= argc)
        return true;
    cli_usage_error("unexpected '%s'", argv[optind]);
    return false;
}

bool cli_number(const char *option, const char *text, int64_t low, int64_t high, int64_t *ret) {
    int64_t value;
    if (str_to_i64(str_from(text), &value) && value >= low && value <= high) {
        *ret = value;
        return true;
    }
    if (high == INT64_MAX)
        cli_usage_error("%s must be an integer from %lld on, not '%s'", option, (long long)low, text);
    else
        cli_usage_error("%s must be an integer from %lld to %lld, not '%s'", option, (long long)low, (long long)high,
                        text);
    return false;
}

bool cli_output_parse(const char *text, enum cli_output *ret) {
    if (strcmp(text, "json") == 0)
        *ret = CLI_JSON;
    else if (strcmp(text, "table") == 0)
        *ret = CLI_TABLE;
    else {
        cli_usage_error("--output must be json or table, not '%s'", text);
        return false;
    }
    return true;
}

int cli_log_and_output(int argc, char **argv, enum cli_output *ret) {
    static const struct option options[] = {
        {"output", required_argument, NULL, 'O'}, {"log", required_argument, NULL, 'L'}, {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'L')
            config_override("ORDERLOG_LOG", optarg);
        else if (option != 'O')
            return cli_usage_hint();
        else if (!cli_output_parse(optarg, ret))
            return CLI_USAGE;
    }
    return cli_no_operands(argc, argv) ? CLI_OK : CLI_USAGE;
}

bool cli_output_is_json(enum cli_output output) {
    return output == CLI_JSON || (output == CLI_AUTO && !isatty(STDOUT_FILENO));
}

bool cli_output_has_color(void) {
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && (!no_color || !no_color[0]);
}

size_t cli_output_columns(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

void cli_print(struct buf *buf) {
    if (buf->len)
        fwrite(buf->ptr, 1, buf->len, stdout);
    buf_reset(buf);
}

bool cli_log_open(struct log **ret, struct err *err) {
    const char *url;
    if (!config_require("ORDERLOG_LOG", &url, err))
        return err_wrap(err, "which log? Give --log URL or set ORDERLOG_LOG");
    return log_open(url, &(struct log_options){.read_only = true}, ret, err);
}

void cli_log_close(struct log **log) {
    log_close(*log);
}

void cli_table_add(struct cli_table *table, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vprintf(&table->cells, format, args);
    va_end(args);
    buf_add_char(&table->cells, '\0');
    table->count++;
}

/* Columns that it takes on a terminal, near enough: code points. */
static size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void cell_print(struct buf *out, const char *cell, size_t width, bool right, bool last) {
    size_t padding = width - text_width(cell);
    if (right)
        buf_printf(out, "%*s", (int)padding, "");
    buf_printf(out, "%s", cell);
    if (!right && !last)
        buf_printf(out, "%*s", (int)padding, "");
    buf_printf(out, "%s", last ? "\n" : "  ");
}

void cli_table_print(struct cli_table *table, const char *alignment) {
    size_t *widths = mem_zalloc(table->columns * sizeof *widths);
    const char *cell = table->cells.ptr;
    for (size_t i = 0; i < table->count; i++, cell += strlen(cell) + 1) {
        size_t width = text_width(cell);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    BUF_AUTO out = {0};
    const char *bold = cli_output_has_color() ? "\033[1m" : "", *plain = *bold ? "\033[0m" : "";
    cell = table->cells.ptr;
    for (size_t i = 0; i < table->count; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->columns;
        if (i == 0)
            buf_printf(&out, "%s", bold);
        cell_print(&out, cell, widths[column], alignment[column] == 'r', column + 1 == table->columns);
        if (i + 1 == table->columns)
            buf_printf(&out, "%s", plain);
    }
    cli_print(&out);
    buf_free(&table->cells);
    free(widths);
}
