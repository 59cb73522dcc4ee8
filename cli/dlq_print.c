#include "cli/dlq.h"

#include <inttypes.h>

#include "cli/tail_print.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/log/record_codec.h"

static void add_time(struct buf *ret, int64_t time_us) {
    char text[CLOCK_TEXT_SIZE];
    clock_format(time_us, text);
    buf_printf(ret, "%s", text);
}

/* ---- JSON ---- */

static void add_json_text(struct buf *ret, const char *name, struct str text) {
    buf_printf(ret, ",\"%s\":", name);
    if (text.ptr)
        buf_add_json_string(ret, text);
    else
        buf_add_str(ret, STR("null"));
}

/* 0: not known. */
static void add_json_time(struct buf *ret, const char *name, int64_t time_us) {
    BUF_AUTO text = {0};
    if (time_us)
        add_time(&text, time_us);
    add_json_text(ret, name, time_us ? buf_str(&text) : STR_NULL);
}

/* Without its closing brace. */
static void add_json_row(struct buf *ret, const struct dlq_row *row) {
    if (row->place.ptr) {
        buf_add_str(ret, STR("{\"id\":"));
        buf_add_json_string(ret, row->place);
        add_json_text(ret, "store", str_from(row->store));
    } else {
        buf_printf(ret, "{\"id\":%" PRId64, row->id);
    }
    add_json_text(ret, "service", row->service);
    buf_printf(ret, ",\"shard\":%" PRId64, row->shard);
    add_json_text(ret, "topic", row->topic);
    buf_printf(ret, ",\"partition\":%" PRId64 ",\"offset\":%" PRId64, row->partition, row->offset);
    add_json_text(ret, "subject", row->subject);
    add_json_text(ret, "reason", row->reason);
    buf_printf(ret, ",\"behind\":%s", row->behind ? "true" : "false");
    add_json_text(ret, "status", row->status);
    add_json_time(ret, "parked_at", row->parked_at_us);
}

static void add_hex(struct buf *ret, struct str bytes) {
    buf_add_hex(ret, (const uint8_t *)bytes.ptr, bytes.len);
}

/* ---- the list ---- */

static void add_cell(struct cli_table *table, struct str text) {
    BUF_AUTO cell = {0};
    tail_add_printable(&cell, text);
    cli_table_add(table, "%.*s", STR_ARG(buf_str(&cell)));
}

static void add_time_cell(struct cli_table *table, int64_t time_us) {
    BUF_AUTO cell = {0};
    add_time(&cell, time_us);
    cli_table_add(table, "%s", cell.ptr);
}

static void print_list_table(const struct pg_result *rows) {
    static const char *const heading[] = {"ID",      "SERVICE", "SHARD",  "TOPIC",     "PARTITION", "OFFSET",
                                          "SUBJECT", "BEHIND",  "STATUS", "PARKED AT", "REASON"};
    struct cli_table table = {.columns = sizeof heading / sizeof heading[0]};
    for (size_t i = 0; i < table.columns; i++)
        cli_table_add(&table, "%s", heading[i]);
    for (int i = 0; i < pg_rows(rows); i++) {
        struct dlq_row row = dlq_row_get(rows, i);
        cli_table_add(&table, "%" PRId64, row.id);
        add_cell(&table, row.service);
        cli_table_add(&table, "%" PRId64, row.shard);
        add_cell(&table, row.topic);
        cli_table_add(&table, "%" PRId64, row.partition);
        cli_table_add(&table, "%" PRId64, row.offset);
        add_cell(&table, row.subject);
        cli_table_add(&table, "%s", row.behind ? "yes" : "no");
        add_cell(&table, row.status);
        add_time_cell(&table, row.parked_at_us);
        add_cell(&table, row.reason);
    }
    cli_table_print(&table, "rlrlrrlllll");
    BUF_AUTO out = {0};
    buf_printf(&out, "total parked: %d\n", pg_rows(rows));
    cli_print(&out);
}

static void print_views_table(const struct dlq_views *views) {
    static const char *const heading[] = {"ID", "SERVICE", "SHARD", "SUBJECT", "BEHIND", "REASON"};
    struct cli_table table = {.columns = sizeof heading / sizeof heading[0]};
    BUF_AUTO out = {0};
    for (size_t i = 0; i < table.columns; i++)
        cli_table_add(&table, "%s", heading[i]);
    for (size_t i = 0; i < views->count; i++) {
        const struct dlq_row *row = &views->rows[i];
        add_cell(&table, row->place);
        add_cell(&table, row->service);
        cli_table_add(&table, "%" PRId64, row->shard);
        add_cell(&table, row->subject);
        cli_table_add(&table, "%s", row->behind ? "yes" : "no");
        add_cell(&table, row->reason);
    }
    if (views->count) {
        buf_add_char(&out, '\n');
        cli_print(&out);
        cli_table_print(&table, "llrlll");
    } else {
        buf_free(&table.cells);
    }
    buf_printf(&out, "set aside by views: %zu%s\n", views->count,
               views->redis_asked ? "" : " (Redis was not asked: REDIS_URL is not set)");
    cli_print(&out);
}

void dlq_print_list(const struct pg_result *rows, const struct dlq_views *views, enum cli_output output) {
    if (!cli_output_is_json(output)) {
        print_list_table(rows);
        print_views_table(views);
        return;
    }
    BUF_AUTO out = {0};
    buf_printf(&out, "{\"parked\":[");
    for (int i = 0; i < pg_rows(rows); i++) {
        struct dlq_row row = dlq_row_get(rows, i);
        buf_printf(&out, "%s", i ? "," : "");
        add_json_row(&out, &row);
        buf_add_char(&out, '}');
    }
    buf_printf(&out, "],\"total\":%d,\"views\":[", pg_rows(rows));
    for (size_t i = 0; i < views->count; i++) {
        buf_printf(&out, "%s", i ? "," : "");
        add_json_row(&out, &views->rows[i]);
        buf_add_char(&out, '}');
    }
    buf_printf(&out, "],\"unasked\":[%s]}\n", views->redis_asked && !views->redis_failed ? "" : "\"redis\"");
    cli_print(&out);
}

/* ---- one of them ---- */

struct shown {
    const struct dlq_row *row;
    const struct dlq_views *views;
    struct log_record record;
    struct buf event;
    struct err err; /* why the event cannot be shown */
    struct str raw; /* then: these bytes instead */
    struct arena arena;
};

static void shown_read(struct shown *shown) {
    struct str bytes = shown->row->record;
    struct arena scratch;
    arena_init(&scratch);
    shown->record = (struct log_record){0};
    if (!record_decode(&bytes, &shown->arena, &shown->record, &shown->err)) {
        err_wrap(&shown->err, "what was kept of the record");
        shown->raw = shown->row->record;
        buf_add_str(&shown->event, STR("null"));
    } else {
        shown->record.offset = shown->row->offset;
        tail_add_event(&shown->event, &shown->record, &scratch, &shown->err);
        shown->raw = shown->record.value;
    }
    arena_free(&scratch);
}

static void print_row_json(const struct shown *shown) {
    const struct dlq_row *row = shown->row;
    BUF_AUTO out = {0};
    add_json_row(&out, row);
    buf_printf(&out, ",\"in_front\":");
    if (row->leader == row->id)
        buf_printf(&out, "null");
    else if (row->place.ptr)
        buf_add_json_string(&out, shown->views->rows[row->leader - 1].place);
    else
        buf_printf(&out, "%" PRId64, row->leader);
    buf_printf(&out, ",\"behind_it\":%" PRId64, row->followers);
    add_json_time(&out, "timestamp", shown->record.timestamp_us);
    add_json_text(&out, "key", shown->record.key);
    buf_printf(&out, ",\"headers\":");
    tail_add_headers(&out, &shown->record);
    buf_printf(&out, ",\"event\":");
    buf_add_str(&out, buf_str(&shown->event));
    if (shown->err.kind) {
        add_json_text(&out, "error", str_from(shown->err.detail));
        buf_printf(&out, ",\"value_hex\":\"");
        add_hex(&out, shown->raw);
        buf_add_char(&out, '"');
    }
    buf_printf(&out, "}\n");
    cli_print(&out);
}

static void add_id_cell(struct cli_table *table, const struct dlq_row *row) {
    if (row->place.ptr)
        add_cell(table, row->place);
    else
        cli_table_add(table, "%" PRId64, row->id);
}

static void add_place_rows(struct cli_table *table, const struct dlq_row *row, const struct dlq_views *views) {
    cli_table_add(table, "ID");
    add_id_cell(table, row);
    cli_table_add(table, "service");
    cli_table_add(table, "%.*s, shard %" PRId64, STR_ARG(row->service), row->shard);
    cli_table_add(table, "record");
    cli_table_add(table, "%.*s, partition %" PRId64 ", offset %" PRId64, STR_ARG(row->topic), row->partition,
                  row->offset);
    cli_table_add(table, "subject");
    add_cell(table, row->subject);
    cli_table_add(table, "reason");
    add_cell(table, row->reason);
    cli_table_add(table, "status");
    add_cell(table, row->status);
    if (row->parked_at_us) {
        cli_table_add(table, "parked at");
        add_time_cell(table, row->parked_at_us);
    }
    cli_table_add(table, "in front of it");
    if (row->leader == row->id)
        cli_table_add(table, "nothing");
    else if (row->place.ptr)
        add_id_cell(table, &views->rows[row->leader - 1]);
    else
        cli_table_add(table, "record %" PRId64, row->leader);
    cli_table_add(table, "behind it");
    cli_table_add(table, "%" PRId64, row->followers);
}

static void print_row_table(const struct shown *shown) {
    struct cli_table table = {.columns = 2};
    add_place_rows(&table, shown->row, shown->views);
    if (shown->record.timestamp_us) {
        cli_table_add(&table, "in the log since");
        add_time_cell(&table, shown->record.timestamp_us);
    }
    cli_table_add(&table, "key");
    add_cell(&table, shown->record.key);
    for (size_t i = 0; i < shown->record.header_count; i++) {
        BUF_AUTO name = {0};
        buf_printf(&name, "header ");
        buf_add_str(&name, shown->record.headers[i].name);
        add_cell(&table, buf_str(&name));
        add_cell(&table, shown->record.headers[i].value);
    }
    BUF_AUTO hex = {0};
    if (shown->err.kind) {
        cli_table_add(&table, "cannot be decoded");
        add_cell(&table, str_from(shown->err.detail));
        add_hex(&hex, shown->raw);
    }
    cli_table_add(&table, shown->err.kind ? "value in hex" : "event");
    add_cell(&table, shown->err.kind ? buf_str(&hex) : buf_str(&shown->event));
    cli_table_print(&table, "ll");
}

void dlq_print_row(const struct dlq_row *row, const struct dlq_views *views, enum cli_output output) {
    struct shown shown = {.row = row, .views = views};
    arena_init(&shown.arena);
    shown_read(&shown);
    if (cli_output_is_json(output))
        print_row_json(&shown);
    else
        print_row_table(&shown);
    buf_free(&shown.event);
    arena_free(&shown.arena);
}
