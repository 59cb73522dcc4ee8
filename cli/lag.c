/* orderlog lag: how far each group is behind the log. */
#include "cli/lag.h"

#include "cli/cli.h"
#include "core/base/clock.h"

#include <inttypes.h>
#include <stdlib.h>

const char lag_help[] =
    "Usage: orderlog lag [--output json|table] [--log URL]\n"
    "\n"
    "Shows, for each group and each partition of the topics that it reads, its position (the next offset that it will\n"
    "read), the log's end, and the lag between them. BEHIND is the age of the oldest record that waits. A group tells\n"
    "its positions now and then, so that they may be a second old; \"-\" (null) where it has not told one yet.\n"
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

/* ---- the numbers ---- */

static int compare_positions(const void *left, const void *right) {
    const struct log_group_position *a = left, *b = right;
    int order = str_cmp(a->group, b->group);
    if (!order)
        order = str_cmp(a->position.topic, b->position.topic);
    return order ? order
                 : (a->position.partition > b->position.partition) - (a->position.partition < b->position.partition);
}

static bool same_topic(const struct log_group_position *a, const struct log_group_position *b) {
    return str_eq(a->group, b->group) && str_eq(a->position.topic, b->position.topic);
}

static bool row_read(struct log *log, struct lag_row *row, struct err *err) {
    int64_t low;
    if (!log_watermarks(log, row->topic, row->partition, &low, &row->end, err))
        return false;
    int64_t from = row->has_position ? row->position : low;
    if (from > row->end)
        cli_note("group %.*s is at offset %" PRId64 " of %.*s, partition %d, past its end %" PRId64
                 ": the log has lost records",
                 STR_ARG(row->group), from, STR_ARG(row->topic), row->partition, row->end);
    row->lag = from < row->end ? row->end - from : 0;
    return true;
}

/* All partitions of one topic of one group; `told` are the positions that there are. */
static bool topic_read(struct log *log, const struct log_group_position *told, size_t count, struct lag_report *report,
                       struct err *err) {
    struct log_topic topic;
    if (!log_topic_find(log, told->position.topic, &topic, err))
        return false;
    report->rows = mem_realloc(report->rows, (report->count + (size_t)topic.partitions) * sizeof *report->rows);
    for (int32_t i = 0; i < topic.partitions; i++) {
        struct lag_row *row = &report->rows[report->count];
        *row = (struct lag_row){.group = told->group, .topic = topic.name, .partition = i};
        for (size_t j = 0; j < count; j++)
            if (told[j].position.partition == i) {
                row->has_position = true;
                row->position = told[j].position.offset;
            }
        if (!row_read(log, row, err))
            return false;
        report->count++;
        report->total += row->lag;
    }
    return true;
}

bool lag_read(struct log *log, struct lag_report *ret, struct err *err) {
    struct lag_report report = {0};
    size_t count = 0, same;
    if (!log_group_positions(log, &report.positions, &count, err))
        return false;
    if (count)
        qsort(report.positions, count, sizeof *report.positions, compare_positions);
    for (size_t i = 0; i < count; i += same) {
        for (same = 1; i + same < count && same_topic(&report.positions[i], &report.positions[i + same]);)
            same++;
        if (!topic_read(log, &report.positions[i], same, &report, err)) {
            lag_free(&report);
            return false;
        }
    }
    *ret = report;
    return true;
}

void lag_free(struct lag_report *report) {
    free(report->rows);
    free(report->positions);
    *report = (struct lag_report){0};
}

/* ---- waiting ---- */

enum { WAIT_POLL_MS = 250 };

static int64_t ends_sum(const struct lag_report *report) {
    int64_t sum = 0;
    for (size_t i = 0; i < report->count; i++)
        sum += report->rows[i].end;
    return sum;
}

static const struct lag_row *first_behind(const struct lag_report *report) {
    for (size_t i = 0; i < report->count; i++)
        if (report->rows[i].lag)
            return &report->rows[i];
    return NULL;
}

/* What one group has read may make another write: so nobody may be behind twice running, with nothing new between. */
bool lag_wait(struct log *log, int64_t seconds, struct err *err) {
    int64_t give_up_us = clock_monotonic_us() + seconds * 1000000, ends_before = -1;
    for (;;) {
        struct lag_report report;
        if (!lag_read(log, &report, err))
            return false;
        const struct lag_row *behind = first_behind(&report);
        int64_t ends = ends_sum(&report);
        bool settled = !behind && ends == ends_before, late = clock_monotonic_us() > give_up_us;
        ends_before = behind ? -1 : ends;
        if (!settled && late && behind)
            err_set(err, ERR_TIMEOUT,
                    "after %" PRId64 " s group %.*s is still %" PRId64 " records behind %.*s, partition %d", seconds,
                    STR_ARG(behind->group), behind->lag, STR_ARG(behind->topic), behind->partition);
        else if (!settled && late)
            err_set(err, ERR_TIMEOUT, "after %" PRId64 " s the log still grows", seconds);
        lag_free(&report);
        if (settled || late)
            return settled;
        clock_sleep_ms(WAIT_POLL_MS);
    }
}

/* ---- the command ---- */

/* The age of the first record that waits; -1 when it is gone by now. */
static bool row_behind_ms(struct log_consumer *consumer, const struct lag_row *row, int64_t *ret, struct err *err) {
    struct log_batch batch;
    int64_t from = row->has_position ? row->position : row->end - row->lag;
    if (!log_consumer_seek(consumer, row->topic, row->partition, from, err) ||
        !log_consumer_poll(consumer, 1, 1000, &batch, err))
        return false;
    *ret = batch.count ? (clock_now_us() - batch.records[0].timestamp_us) / 1000 : -1;
    log_consumer_pause(consumer, row->topic, row->partition);
    return true;
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
    bool ok = true;
    for (size_t i = 0; ok && i < report->count; i++) {
        int64_t behind_ms = 0;
        ok = !report->rows[i].lag || row_behind_ms(consumer, &report->rows[i], &behind_ms, err);
        row_print(&report->rows[i], behind_ms, &table, &json);
    }
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
    if (!cli_log_open(&log, err) || !lag_read(log, &report, err))
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
