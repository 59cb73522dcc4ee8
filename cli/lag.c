/* orderlog lag: how far each group is behind the log. */
#include "cli/cli.h"
#include "core/log/lag.h"

#include <inttypes.h>
#include <stdlib.h>

const char lag_help[] =
    "Usage: orderlog lag [--output json|table] [--log URL]\n"
    "\n"
    "Shows, for each group and each partition of the topics that it reads, its position (the next offset that it will\n"
    "read), the log's end, and the lag between them. BEHIND is the age of the oldest record that waits. A group tells\n"
    "its positions now and then, so that they may be a second old; \"-\" (null) where it has not told one yet.\n"
    "Groups of views that were moved to another store stand still.\n"
    "\n"
    "Options:\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --log URL            the log (default: ORDERLOG_LOG)\n"
    "  -h, --help           this text\n"
    "\n"
    "JSON: {\"groups\":[{\"group\",\"topic\",\"partition\",\"position\",\"end\",\"lag\",\"behind_ms\"}],\"total\":N}\n"
    "\n"
    "Exit codes: 0 done, whatever the lag; 2 wrong usage, or the log could not be read.\n"
    "\n"
    "Examples:\n"
    "  orderlog lag\n"
    "  until [ \"$(orderlog lag --output json | jq .total)\" = 0 ]; do sleep 1; done\n";

/* ---- the command ---- */

static void warn_if_lost(const struct lag_row *row) {
    if (row->lost)
        cli_note("group %.*s is at offset %" PRId64 " of %.*s, partition %d, past its end %" PRId64
                 ": the log has lost records",
                 STR_ARG(row->group), row->position, STR_ARG(row->topic), row->partition, row->end);
}

static void row_print(const struct lag_row *row, int64_t behind_ms, struct cli_table *table, struct buf *json) {
    cli_table_add(table, "%.*s", STR_ARG(row->group));
    cli_table_add(table, "%.*s", STR_ARG(row->topic));
    cli_table_add(table, "%d", row->partition);
    buf_printf(json, "%s{\"group\":", json->len ? "," : "");
    buf_add_json_string(json, row->group);
    buf_printf(json, ",\"topic\":");
    buf_add_json_string(json, row->topic);
    buf_printf(json, ",\"partition\":%d,\"position\":", row->partition);
    if (row->has_position) {
        cli_table_add(table, "%" PRId64, row->position);
        buf_printf(json, "%" PRId64, row->position);
    } else {
        cli_table_add(table, "-");
        buf_printf(json, "null");
    }
    cli_table_add(table, "%" PRId64, row->end);
    cli_table_add(table, "%" PRId64, row->lag);
    buf_printf(json, ",\"end\":%" PRId64 ",\"lag\":%" PRId64 ",\"behind_ms\":", row->end, row->lag);
    if (behind_ms < 0) {
        cli_table_add(table, "-");
        buf_printf(json, "null}");
    } else {
        cli_table_add(table, "%.1f s", (double)behind_ms / 1000);
        buf_printf(json, "%" PRId64 "}", behind_ms);
    }
}

static bool report_print(struct log *log, const struct lag_report *report, enum cli_output output, struct err *err) {
    struct log_consumer *consumer;
    if (!log_consumer_open_manual(log, &consumer, err))
        return false;
    struct cli_table table = {.columns = 7};
    static const char *const heading[] = {"GROUP", "TOPIC", "PARTITION", "POSITION", "END", "LAG", "BEHIND"};
    for (size_t i = 0; i < table.columns; i++)
        cli_table_add(&table, "%s", heading[i]);
    BUF_AUTO json = {0};
    int64_t *behind_us = mem_zalloc((report->count + 1) * sizeof *behind_us);
    bool ok = lag_behind_all_us(consumer, report, behind_us, err);
    for (size_t i = 0; ok && i < report->count; i++) {
        warn_if_lost(&report->rows[i]);
        row_print(&report->rows[i], behind_us[i] < 0 ? -1 : behind_us[i] / 1000, &table, &json);
    }
    free(behind_us);
    log_consumer_close(consumer);
    if (ok && !cli_output_is_json(output))
        cli_table_print(&table, "llrrrrr");
    BUF_AUTO out = {0};
    if (cli_output_is_json(output))
        buf_printf(&out, "{\"groups\":[%.*s],\"total\":%" PRId64 "}\n", STR_ARG(buf_str(&json)), report->total);
    else
        buf_printf(&out, "total lag: %" PRId64 "\n", report->total);
    if (ok)
        cli_print(&out);
    buf_free(&table.cells);
    return ok;
}

static bool lag_show(enum cli_output output, struct err *err) {
    CLI_LOG_AUTO *log = NULL;
    struct lag_report report;
    if (!cli_log_open(&log, err) || !lag_read(log, NULL, &report, err))
        return false;
    bool ok = report_print(log, &report, output, err);
    lag_free(&report);
    return ok;
}

int lag_main(int argc, char **argv) {
    enum cli_output output = CLI_AUTO;
    int status = cli_log_and_output(argc, argv, &output);
    if (status != CLI_OK)
        return status;
    struct err err = {0};
    return lag_show(output, &err) ? CLI_OK : cli_fail(&err);
}
