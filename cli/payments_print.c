#include "cli/payments.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cli/reader.h"
#include "cli/sequences.h"
#include "cli/tail_print.h"
#include "core/base/clock.h"
#include "core/codec/avro.h"
#include "core/log/envelope.h"

const char *payments_state_name(enum payments_state state) {
    static const char *const names[] = {"open", "left", "waiting", "given-up"};
    return names[state];
}

static const char *action_name(enum intent_provider_action action) {
    static const char *const names[] = {"authorize", "capture", "void", "refund", "look"};
    return names[action];
}

static void add_json(struct buf *ret, const char *name, struct str text) {
    buf_printf(ret, "\"%s\":", name);
    if (text.ptr)
        buf_add_json_string(ret, text);
    else
        buf_add_str(ret, STR("null"));
}

static void add_json_time(struct buf *ret, const char *name, int64_t us) {
    char text[CLOCK_TEXT_SIZE];
    clock_format(us, text);
    add_json(ret, name, us ? str_from(text) : STR_NULL);
}

static void add_cell(struct cli_table *table, struct str text) {
    BUF_AUTO cell = {0};
    tail_add_printable(&cell, text);
    cli_table_add(table, "%.*s", STR_ARG(buf_str(&cell)));
}

static void add_time_cell(struct cli_table *table, int64_t us) {
    char text[CLOCK_TEXT_SIZE] = "-";
    if (us)
        clock_format(us, text);
    cli_table_add(table, "%s", text);
}

static void add_headings(struct cli_table *table, const char *const *headings, size_t count) {
    table->columns = count;
    for (size_t i = 0; i < count; i++)
        cli_table_add(table, "%s", headings[i]);
}

/* ---- calls without an outcome ---- */

static void print_json(const struct payments_rows *rows) {
    BUF_AUTO out = {0};
    int64_t now_us = clock_now_us();
    buf_printf(&out, "{\"unknown\":[");
    for (size_t i = 0; i < rows->count; i++) {
        const struct payments_row *row = &rows->rows[i];
        buf_printf(&out, "%s{", i ? "," : "");
        add_json(&out, "id", row->id);
        buf_add_char(&out, ',');
        add_json(&out, "order_id", row->order_id);
        buf_printf(&out, ",\"state\":\"%s\",\"action\":\"%s\",\"amount\":{\"minor\":%" PRId64 ",",
                   payments_state_name(row->state), action_name(row->action), row->amount.minor);
        add_json(&out, "currency", row->amount.currency);
        buf_add_str(&out, STR("},"));
        add_json_time(&out, "since", row->since_us);
        if (row->since_us)
            buf_printf(&out, ",\"age_seconds\":%" PRId64 ",", (now_us - row->since_us) / 1000000);
        else
            buf_printf(&out, ",\"age_seconds\":null,");
        add_json_time(&out, "tried_at", row->tried_us);
        buf_printf(&out, ",\"tries\":%" PRId64 ",", row->tries);
        add_json(&out, "why", row->why);
        buf_add_char(&out, '}');
    }
    buf_printf(&out, "],\"total\":%zu}\n", rows->count);
    cli_print(&out);
}

void payments_print(const struct payments_rows *rows, enum cli_output output) {
    static const char *const headings[] = {"ID",    "ORDER",    "STATE", "ACTION", "AMOUNT",
                                           "SINCE", "LAST TRY", "TRIES", "WHY"};
    struct cli_table table = {0};
    if (cli_output_is_json(output)) {
        print_json(rows);
        return;
    }
    add_headings(&table, headings, sizeof headings / sizeof headings[0]);
    for (size_t i = 0; i < rows->count; i++) {
        const struct payments_row *row = &rows->rows[i];
        add_cell(&table, row->id);
        add_cell(&table, row->order_id);
        cli_table_add(&table, "%s", payments_state_name(row->state));
        cli_table_add(&table, "%s", action_name(row->action));
        cli_table_add(&table, "%" PRId64 " %.*s", row->amount.minor, STR_ARG(row->amount.currency));
        add_time_cell(&table, row->since_us);
        add_time_cell(&table, row->tried_us);
        cli_table_add(&table, "%" PRId64, row->tries);
        add_cell(&table, row->why);
    }
    cli_table_print(&table, "llllrllrl");
    BUF_AUTO out = {0};
    buf_printf(&out, "total: %zu\n", rows->count);
    cli_print(&out);
}

/* ---- webhooks that were set aside ---- */

struct unrouted {
    struct cli_table table;
    struct buf json;
    struct sequences sequences; /* payments' own are numbered, and may be there twice */
    int64_t total;
};

static void add_unrouted(struct unrouted *listing, const struct log_record *record,
                         const struct payment_provider_notified *m) {
    struct str fields[] = {m->provider_event_id, m->event_type, m->object_id, m->status, m->order_id};
    static const char *const names[] = {"event_id", "type", "object_id", "status", "order_id"};
    buf_printf(&listing->json, "%s{", listing->json.len ? "," : "");
    add_json_time(&listing->json, "time", record->timestamp_us);
    add_time_cell(&listing->table, record->timestamp_us);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        buf_add_char(&listing->json, ',');
        add_json(&listing->json, names[i], fields[i]);
        add_cell(&listing->table, fields[i].ptr ? fields[i] : STR("-"));
    }
    buf_add_char(&listing->json, '}');
    listing->total++;
}

static void read_unrouted(struct unrouted *listing, const struct log_record *record, struct arena *arena) {
    struct message message = {0};
    struct envelope envelope = {0};
    struct err err = {0};
    if (!envelope_read(record, &envelope, &err) ||
        !message_decode(schema_subject_find(record->topic), record->value, arena, &message, &err) ||
        message.type != MESSAGE_PAYMENT_PROVIDER_NOTIFIED) {
        cli_note("partition %d, offset %" PRId64 " is left out: %s", record->partition, record->offset,
                 err.kind ? err.detail : "it is no webhook");
        return;
    }
    int64_t last;
    if (sequences_take(&listing->sequences, &envelope, &last) != SEQUENCE_DUPLICATE)
        add_unrouted(listing, record, &message.payment_provider_notified);
}

static bool list_unrouted(struct log *log, struct unrouted *listing, struct err *err) {
    struct str topic = STR(TOPIC_PAYMENT_UNROUTED);
    struct reader_range *ranges = NULL;
    struct reader *reader = NULL;
    struct arena arena;
    size_t count = 0;
    const struct log_record *record = NULL;
    arena_init(&arena);
    bool ok = reader_ranges(log, &topic, 1, &ranges, &count, err) && reader_open(log, ranges, count, &reader, err);
    while (ok && (ok = reader_next(reader, &record, err)) && record) {
        arena_reset(&arena);
        read_unrouted(listing, record, &arena);
    }
    reader_close(reader);
    free(ranges);
    arena_free(&arena);
    return ok;
}

bool payments_print_unrouted(struct log *log, enum cli_output output, struct err *err) {
    static const char *const headings[] = {"TIME", "EVENT", "TYPE", "OBJECT", "STATUS", "ORDER"};
    struct unrouted listing = {0};
    add_headings(&listing.table, headings, sizeof headings / sizeof headings[0]);
    bool ok = list_unrouted(log, &listing, err);
    BUF_AUTO out = {0};
    if (ok && cli_output_is_json(output)) {
        buf_printf(&out, "{\"unrouted\":[%.*s],\"total\":%" PRId64 "}\n", STR_ARG(buf_str(&listing.json)),
                   listing.total);
    } else if (ok) {
        cli_table_print(&listing.table, "llllll");
        buf_printf(&out, "total: %" PRId64 "\n", listing.total);
    }
    if (ok)
        cli_print(&out);
    buf_free(&listing.json);
    buf_free(&listing.table.cells);
    sequences_free(&listing.sequences);
    return ok;
}
