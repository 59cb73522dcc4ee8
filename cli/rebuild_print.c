/* What `orderlog rebuild` shows: progress, and what came of it. */
#include "cli/rebuild.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { SHOW_EVERY_US = 200 * 1000 };

/* ---- progress ---- */

static const char *phase_name(enum rebuild_phase phase) {
    static const char *const names[] = {"folding",    "writing rows", "making indexes",
                                        "reading on", "comparing",    "swapping"};
    return names[phase];
}

static bool is_terminal(void) {
    return isatty(STDERR_FILENO);
}

void rebuild_show_progress(struct rebuild_cli *cli, enum rebuild_phase phase, int64_t done, int64_t total) {
    int64_t now_us = clock_monotonic_us();
    if (phase != cli->phase || !cli->phase_begun_us) {
        cli->phase = phase;
        cli->phase_begun_us = now_us;
    } else if (now_us - cli->shown_at_us < SHOW_EVERY_US)
        return;
    if (!is_terminal())
        return;
    cli->shown_at_us = now_us;
    cli->line_is_open = true;
    double seconds = (double)(now_us - cli->phase_begun_us) / 1e6, rate = seconds > 0 ? (double)done / seconds : 0;
    fprintf(stderr, "\r\033[K%s: %s", cli->running->name, phase_name(phase));
    if (done > 0)
        fprintf(stderr, " %" PRId64, done);
    if (total > 0)
        fprintf(stderr, " of %" PRId64, total);
    if (rate > 0)
        fprintf(stderr, ", %.0f/s", rate);
    if (rate > 0 && total > done)
        fprintf(stderr, ", %.0f s to go", (double)(total - done) / rate);
    fflush(stderr);
}

void rebuild_clear_progress(struct rebuild_cli *cli) {
    if (cli->line_is_open)
        fputs("\r\033[K", stderr);
    cli->line_is_open = false;
    cli->phase_begun_us = 0;
}

/* ---- differences ---- */

void rebuild_keep_difference(struct rebuild_model *model, const struct generation_difference *difference) {
    struct rebuild_shown *shown = mem_alloc(sizeof *shown);
    *shown = (struct rebuild_shown){NULL, mem_strdup(str_from(difference->table)), mem_strdup(difference->key),
                                    mem_strdup(difference->what)};
    if (!model->shown_end)
        model->shown_end = &model->shown;
    *model->shown_end = shown;
    model->shown_end = &shown->next;
    model->shown_count++;
}

void rebuild_model_free(struct rebuild_model *model) {
    while (model->shown) {
        struct rebuild_shown *shown = model->shown;
        model->shown = shown->next;
        free(shown->table);
        free(shown->key);
        free(shown->what);
        free(shown);
    }
    buf_free(&model->report.note);
}

/* ---- what came of it ---- */

static double events_per_s(const struct rebuild_report *report) {
    return report->fold_seconds > 0 ? (double)report->events / report->fold_seconds : 0;
}

static struct str note_of(const struct rebuild_report *report) {
    struct str note = buf_str(&report->note);
    return note.len > 2 ? (struct str){note.ptr, note.len - 2} : note;
}

static void add_text(struct buf *out, const char *name, struct str text) {
    buf_printf(out, "%s:", name);
    buf_add_json_string(out, text);
}

static void model_json(const struct rebuild_model *model, const char *before, struct buf *out) {
    const struct rebuild_report *report = &model->report;
    buf_printf(out,
               "%s{\"model\":\"%s\",\"events\":%" PRId64 ",\"rows\":%" PRId64 ",\"seconds\":%.3f,\"fold_seconds\":%.3f,"
               "\"fold_cpu_seconds\":%.3f,\"events_per_s\":%.0f,\"compared\":%s,\"rows_compared\":%" PRId64
               ",\"differences\":%" PRId64 ",\"first\":[",
               before, model->name, report->events, report->rows, report->seconds, report->fold_seconds,
               report->fold_cpu_seconds, events_per_s(report), report->compared ? "true" : "false",
               report->rows_compared, report->differences);
    for (const struct rebuild_shown *shown = model->shown; shown; shown = shown->next) {
        add_text(out, shown == model->shown ? "{\"table\"" : ",{\"table\"", str_from(shown->table));
        add_text(out, ",\"key\"", str_from(shown->key));
        add_text(out, ",\"what\"", str_from(shown->what));
        buf_add_char(out, '}');
    }
    buf_printf(out, "],\"swapped\":%s,\"resumed\":%s", report->swapped ? "true" : "false",
               report->resumed ? "true" : "false");
    if (report->note.len)
        add_text(out, ",\"note\"", note_of(report));
    buf_add_char(out, '}');
}

static void model_text(const struct rebuild_model *model, struct buf *out) {
    const struct rebuild_report *report = &model->report;
    buf_printf(out, "%s: ", model->name);
    if (report->resumed)
        buf_printf(out, "%" PRId64 " events more", report->events);
    else
        buf_printf(out, "%" PRId64 " events into %" PRId64 " rows, folded at %.0f events/s", report->events,
                   report->rows, events_per_s(report));
    buf_printf(out, ", %.1f s in all\n", report->seconds);
    if (report->compared)
        buf_printf(out, "  %" PRId64 " rows compared, %" PRId64 " differences\n", report->rows_compared,
                   report->differences);
    for (const struct rebuild_shown *shown = model->shown; shown; shown = shown->next)
        buf_printf(out, "  %s %s: %s\n", shown->table, shown->key, shown->what);
    if (report->differences > model->shown_count)
        buf_printf(out, "  … and %" PRId64 " more\n", report->differences - model->shown_count);
    if (report->note.len)
        buf_printf(out, "  %.*s\n", STR_ARG(note_of(report)));
    bool same_before = model->service && !report->differences;
    buf_printf(out, report->swapped && !same_before ? "  the new rows are live\n" : "  nothing was changed\n");
}

void rebuild_report_all(const struct rebuild_cli *cli) {
    BUF_AUTO out = {0};
    bool json = cli_output_is_json(cli->output);
    const char *before = "";
    if (json)
        buf_printf(&out, "{\"models\":[");
    for (size_t i = 0; i < cli->model_count; i++) {
        if (!cli->models[i].done)
            continue;
        if (json)
            model_json(&cli->models[i], before, &out);
        else
            model_text(&cli->models[i], &out);
        before = ",";
    }
    if (json)
        buf_printf(&out, "]}\n");
    cli_print(&out);
}
