/* What the subcommands of `orderlog` share: their table's row, exit codes, output.
 *
 * Before a command's main runs, main() has loaded the configuration, started logging and answered --help.
 * argv[0] is "orderlog <command>", so that getopt's messages name it. Main thread only. */
#ifndef ORDERLOG_CLI_CLI_H
#define ORDERLOG_CLI_CLI_H

#include "core/base/err.h"
#include "core/log/log.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_NO = 1,    /* what was asked about is not so, or did not succeed */
    CLI_USAGE = 2, /* the command line is wrong, or it could not be done */
};

struct cli_command {
    const char *name;
    const char *summary; /* one line, no full stop */
    const char *help;    /* what --help prints */
    int (*main)(int argc, char **argv);
};

extern const char up_help[], api_help[], consume_help[], project_help[];
extern const char tail_help[], lag_help[], top_help[], topics_help[], verify_help[], feed_help[], provider_help[],
    dlq_help[], payments_help[], bench_help[], export_help[];
extern const char rebuild_help[], repair_help[], schemas_help[], archive_help[], restore_help[];
int schemas_main(int argc, char **argv);
int archive_main(int argc, char **argv);
int restore_main(int argc, char **argv);
int rebuild_main(int argc, char **argv);
int repair_main(int argc, char **argv);
int up_main(int argc, char **argv);
int api_main(int argc, char **argv);
int consume_main(int argc, char **argv);
int project_main(int argc, char **argv);
int tail_main(int argc, char **argv);
int export_main(int argc, char **argv);
int lag_main(int argc, char **argv);
int top_main(int argc, char **argv);
int topics_main(int argc, char **argv);
int verify_main(int argc, char **argv);
int dlq_main(int argc, char **argv);
int payments_main(int argc, char **argv);
int feed_main(int argc, char **argv);
int provider_main(int argc, char **argv);
int bench_main(int argc, char **argv);

void cli_set_name(const char *name); /* "orderlog tail"; kept, not copied */
/* Say on standard error what is wrong, and return CLI_USAGE. */
int cli_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_usage_hint(void); /* when getopt has complained already */
int cli_fail(const struct err *err);
/* Says what else there is to say: "orderlog verify: …" on standard error. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* After the last getopt_long of a command without operands: complains of what is left over. */
CHECK_RESULT bool cli_no_operands(int argc, char **argv);
/* An option's number; false says that it is none, having complained. */
CHECK_RESULT bool cli_number(const char *option, const char *text, int64_t low, int64_t high, int64_t *ret);

enum cli_output { CLI_AUTO, CLI_JSON, CLI_TABLE };
/* "json" or "table"; complains of anything else. */
CHECK_RESULT bool cli_output_parse(const char *text, enum cli_output *ret);
/* The whole command line of a command that takes --log URL and --output FORMAT only: CLI_OK, or the exit code, having
 * complained. */
CHECK_RESULT int cli_log_and_output(int argc, char **argv, enum cli_output *ret);
/* What CLI_AUTO means here: a table on a terminal, else JSON. */
bool cli_output_is_json(enum cli_output output);
bool cli_output_has_color(void); /* a terminal, and NO_COLOR is not set */
/* The terminal's columns; 0: not a terminal, lines may be of any length. */
size_t cli_output_columns(void);
/* Writes to standard output and empties the buffer. Failures show when main() closes standard output. */
void cli_print(struct buf *buf);

/* Opens the log of ORDERLOG_LOG (--log) for reading. */
CHECK_RESULT bool cli_log_open(struct log **ret, struct err *err);
void cli_log_close(struct log **log);
#define CLI_LOG_AUTO __attribute__((cleanup(cli_log_close))) struct log

/* Rows of text in aligned columns. Cells are copied. */
struct cli_table {
    size_t columns;
    struct buf cells; /* zero-terminated, one after the other; the first row is the heading */
    size_t count;
};
void cli_table_add(struct cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `alignment` has a character for each column: 'r' aligns to the right. Frees the table. */
void cli_table_print(struct cli_table *table, const char *alignment);

#endif
