#include "cli/top.h"

#include <math.h>
#include <stdio.h>

#include "core/base/url.h"

enum tone { TONE_PLAIN, TONE_HEADING, TONE_WARN, TONE_BAD };

static const char *const tones[] = {
    [TONE_PLAIN] = "", [TONE_HEADING] = "\033[1m", [TONE_WARN] = "\033[33m", [TONE_BAD] = "\033[31m"};

enum { CELL_SIZE = 32, BEHIND_WARN_S = 10, OUTBOX_WARN_S = 30 };

/* ---- numbers for people ---- */

/* "-" for what is not known. */
static const char *text_count(double value, char *ret) {
    if (isnan(value))
        snprintf(ret, CELL_SIZE, "-");
    else if (value >= 999.5e3)
        snprintf(ret, CELL_SIZE, "%.1fM", value / 1e6);
    else if (value >= 9999.5)
        snprintf(ret, CELL_SIZE, "%.0fk", value / 1e3);
    else
        snprintf(ret, CELL_SIZE, "%.0f", value);
    return ret;
}

static const char *text_rate(double value, char *ret) {
    if (!(value > 0 && value < 9.95))
        return text_count(value, ret);
    snprintf(ret, CELL_SIZE, "%.1f", value);
    return ret;
}

static const char *text_seconds(double value, char *ret) {
    if (isnan(value))
        snprintf(ret, CELL_SIZE, "-");
    else if (value == 0)
        snprintf(ret, CELL_SIZE, "0");
    else if (value < 0.9995)
        snprintf(ret, CELL_SIZE, value < 0.01 ? "%.1f ms" : "%.0f ms", value * 1e3);
    else if (value < 99.5)
        snprintf(ret, CELL_SIZE, value < 9.95 ? "%.1f s" : "%.0f s", value);
    else if (value < 99 * 60)
        snprintf(ret, CELL_SIZE, "%.0f min", value / 60);
    else if (value < 2 * 86400)
        snprintf(ret, CELL_SIZE, "%.1f h", value / 3600);
    else
        snprintf(ret, CELL_SIZE, "%.1f d", value / 86400);
    return ret;
}

static const char *text_bytes(double value, char *ret) {
    if (isnan(value))
        snprintf(ret, CELL_SIZE, "-");
    else if (value < 10 * 1024.0 * 1024 * 1024)
        snprintf(ret, CELL_SIZE, "%.0f MiB", value / 1024 / 1024);
    else
        snprintf(ret, CELL_SIZE, "%.0f GiB", value / 1024 / 1024 / 1024);
    return ret;
}

/* ---- lines ---- */

struct page {
    const struct top_style *style;
    struct buf *out;
    size_t lines;
    size_t column; /* of the line being written; code points */
};

static void put(struct page *page, enum tone tone, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What does not fit into the line is left out. Texts of others may hold anything: only what can be printed is. */
static void put(struct page *page, enum tone tone, const char *format, ...) {
    BUF_AUTO text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    bool toned = page->style->color && tone != TONE_PLAIN;
    if (toned)
        buf_add_str(page->out, str_from(tones[tone]));
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        page->column += (c & 0xc0) != 0x80;
        if (!page->style->columns || page->column <= page->style->columns)
            buf_add_char(page->out, c < ' ' || c == 0x7f ? '?' : (char)c);
    }
    if (toned)
        buf_add_str(page->out, STR("\033[0m"));
}

static void end_line(struct page *page) {
    buf_add_char(page->out, '\n');
    page->lines++;
    page->column = 0;
}

/* ---- the parts ---- */

/* Halted, or run by nobody that answers. */
static double down_of(const struct top_service *service) {
    return isnan(service->running) ? service->halted : service->shards - service->running;
}

static void draw_store(struct page *page, const char *name, double up, double asked) {
    put(page, up < asked ? TONE_BAD : TONE_PLAIN, "%s %s", name, isnan(up) ? "-" : up == 0 ? "away" : "ok");
    if (up > 0 && up < asked)
        put(page, TONE_BAD, " (to %.0f of %.0f)", up, asked);
}

static void draw_totals(struct page *page, const struct top_frame *frame) {
    char a[CELL_SIZE], b[CELL_SIZE], c[CELL_SIZE], d[CELL_SIZE];
    put(page, TONE_HEADING, "API     ");
    put(page, TONE_PLAIN, "%s requests/s, p99 %s; ", text_rate(frame->requests_per_s, a),
        text_seconds(frame->request_p99_s, b));
    put(page, frame->shed_per_s > 0 ? TONE_WARN : TONE_PLAIN, "shed %s/s", text_rate(frame->shed_per_s, a));
    put(page, TONE_PLAIN, "; in flight %s, waiters %s, streams %s, connections %s", text_count(frame->in_flight, a),
        text_count(frame->waiters, b), text_count(frame->streams, c), text_count(frame->connections, d));
    end_line(page);
    put(page, TONE_HEADING, "Log     ");
    put(page, TONE_PLAIN, "%s commits/s, p99 %s; %s used, %s free", text_rate(frame->commits_per_s, a),
        text_seconds(frame->commit_p99_s, b), text_bytes(frame->log_bytes, c), text_bytes(frame->disk_free_bytes, d));
    end_line(page);
    put(page, TONE_HEADING, "Stores  ");
    draw_store(page, "PostgreSQL", frame->postgres_up, frame->postgres_asked);
    put(page, TONE_PLAIN, ", ");
    draw_store(page, "Redis", frame->redis_up, frame->redis_asked);
    put(page, frame->tables_age_s > 60 ? TONE_WARN : TONE_PLAIN, "; tables asked %s ago",
        text_seconds(frame->tables_age_s, a));
    end_line(page);
    put(page, TONE_HEADING, "Waiting ");
    put(page, frame->payments_oldest_s > 60 ? TONE_WARN : TONE_PLAIN, "payments without outcome %s, oldest %s, ",
        text_count(frame->payments_open, a), text_seconds(frame->payments_oldest_s, b));
    put(page, frame->payments_left > 0 ? TONE_BAD : TONE_PLAIN, "left to people %s; ",
        text_count(frame->payments_left, a));
    put(page, frame->timers_oldest_s > 60 ? TONE_WARN : TONE_PLAIN, "timers overdue %s, oldest %s",
        text_count(frame->timers_overdue, a), text_seconds(frame->timers_oldest_s, b));
    end_line(page);
}

/* Views say nothing, so they have no column for it, nor for an outbox; and longer names. Both tables are 80 wide. */
static void draw_service(struct page *page, const struct top_service *service) {
    char text[CELL_SIZE];
    put(page, TONE_PLAIN, service->view ? "%-35.*s" : "%-22.*s", STR_ARG(service->name));
    put(page, TONE_PLAIN, "%5s", text_rate(service->in_per_s, text));
    if (!service->view)
        put(page, TONE_PLAIN, "%6s", text_rate(service->out_per_s, text));
    put(page, TONE_PLAIN, "%5s", text_count(service->lag_records, text));
    put(page, service->lag_seconds > BEHIND_WARN_S ? TONE_WARN : TONE_PLAIN, "%7s",
        text_seconds(service->lag_seconds, text));
    put(page, TONE_PLAIN, "%7s", text_seconds(service->p50_s, text));
    put(page, TONE_PLAIN, "%7s", text_seconds(service->p99_s, text));
    if (!service->view)
        put(page, service->outbox_s > OUTBOX_WARN_S ? TONE_WARN : TONE_PLAIN, "%7s",
            text_seconds(service->outbox_s, text));
    put(page, service->parked > 0 ? TONE_WARN : TONE_PLAIN, "%7s", text_count(service->parked, text));
    double down = down_of(service);
    put(page, down > 0 ? TONE_BAD : TONE_PLAIN, "%7s", text_count(down, text));
    end_line(page);
}

static void draw_services(struct page *page, const struct top_frame *frame, bool views) {
    end_line(page);
    if (views)
        put(page, TONE_HEADING, "%-35s%5s%5s%7s%7s%7s%7s%7s", "VIEW", "IN/S", "LAG", "AGE", "P50", "P99", "PARKED",
            "DOWN");
    else
        put(page, TONE_HEADING, "%-22s%5s%6s%5s%7s%7s%7s%7s%7s%7s", "SERVICE", "IN/S", "OUT/S", "LAG", "BEHIND", "P50",
            "P99", "OUTBOX", "PARKED", "DOWN");
    end_line(page);
    for (size_t i = 0; i < frame->service_count; i++)
        if (frame->services[i].view == views)
            draw_service(page, &frame->services[i]);
}

static void draw_processes(struct page *page, const struct top_frame *frame) {
    end_line(page);
    put(page, TONE_HEADING, "%-36s%7s%9s%8s%8s  %s", "PROCESS", "CPU", "MEMORY", "FDS", "UP FOR", "VERSION");
    end_line(page);
    for (size_t i = 0; i < frame->process_count; i++) {
        const struct top_process *process = &frame->processes[i];
        char cpu[CELL_SIZE] = "-", text[CELL_SIZE];
        put(page, process->answered ? TONE_PLAIN : TONE_BAD, "%-36s",
            process->name ? process->name : url_show(process->url).text);
        if (!process->answered) {
            put(page, TONE_BAD, "  away: %s", process->why[0] ? process->why : "not asked yet");
            end_line(page);
            continue;
        }
        if (!isnan(process->cpu))
            snprintf(cpu, sizeof cpu, "%.0f %%", process->cpu * 100);
        put(page, TONE_PLAIN, "%7s%9s", cpu, text_bytes(process->memory_bytes, text));
        put(page, TONE_PLAIN, "%8s", text_count(process->fds, text));
        put(page, TONE_PLAIN, "%8s  %.*s", text_seconds(process->uptime_s, text), STR_ARG(process->version));
        end_line(page);
    }
}

/* Cuts what is too high for the screen, and says so in the last line. */
static void cut_lines(struct page *page) {
    size_t rows = page->style->rows;
    if (!rows || page->lines <= rows)
        return;
    size_t line = 0, at = 0;
    while (line + 1 < rows)
        line += page->out->ptr[at++] == '\n';
    page->out->len = at;
    page->out->ptr[at] = '\0';
    size_t hidden = page->lines - line;
    page->column = 0;
    put(page, TONE_WARN, "%zu more lines: the window is too low for them", hidden);
    buf_add_char(page->out, '\n');
}

void top_draw(const struct top_frame *frame, const struct top_style *style, const char *heading, struct buf *ret) {
    struct page page = {.style = style, .out = ret};
    buf_reset(ret);
    put(&page, TONE_PLAIN, "%s", heading);
    end_line(&page);
    draw_totals(&page, frame);
    draw_services(&page, frame, false);
    draw_services(&page, frame, true);
    draw_processes(&page, frame);
    cut_lines(&page);
}

/* ---- JSON ---- */

struct pair {
    const char *name;
    double value;
};

static void add_pairs(struct buf *ret, const struct pair *pairs, size_t count, bool first) {
    for (size_t i = 0; i < count; i++) {
        buf_printf(ret, "%s\"%s\":", first && i == 0 ? "" : ",", pairs[i].name);
        if (isnan(pairs[i].value) || isinf(pairs[i].value))
            buf_add_str(ret, STR("null"));
        else
            buf_printf(ret, "%.15g", pairs[i].value);
    }
}

#define ADD_PAIRS(ret, first, ...)                                                                                     \
    add_pairs(ret, (const struct pair[]){__VA_ARGS__},                                                                 \
              sizeof((const struct pair[]){__VA_ARGS__}) / sizeof(struct pair), first)

static void json_services(const struct top_frame *frame, bool views, struct buf *ret) {
    bool first = true;
    for (size_t i = 0; i < frame->service_count; i++) {
        const struct top_service *service = &frame->services[i];
        if (service->view != views)
            continue;
        buf_add_str(ret, first ? STR("{\"name\":") : STR(",{\"name\":"));
        buf_add_json_string(ret, service->name);
        ADD_PAIRS(ret, false, {"in_per_s", service->in_per_s}, {"lag_records", service->lag_records},
                  {"lag_seconds", service->lag_seconds}, {"stage_p50_s", service->p50_s},
                  {"stage_p99_s", service->p99_s}, {"parked_subjects", service->parked},
                  {"halted_shards", service->halted}, {"running_shards", service->running},
                  {"shards", service->shards});
        if (!views)
            ADD_PAIRS(ret, false, {"out_per_s", service->out_per_s}, {"outbox_oldest_s", service->outbox_s});
        buf_add_char(ret, '}');
        first = false;
    }
}

static double up_for_all(double up, double asked) {
    return isnan(up) ? up : up == asked;
}

static void json_process(const struct top_process *process, struct buf *ret) {
    buf_add_str(ret, STR("{\"name\":"));
    if (process->name)
        buf_add_json_string(ret, str_from(process->name));
    else
        buf_add_str(ret, STR("null"));
    buf_add_str(ret, STR(",\"url\":"));
    buf_add_json_string(ret, str_from(url_show(process->url).text));
    buf_printf(ret, ",\"answers\":%s", process->answered ? "true" : "false");
    if (process->answered) {
        buf_add_str(ret, STR(",\"version\":"));
        buf_add_json_string(ret, process->version.ptr ? process->version : STR(""));
        ADD_PAIRS(ret, false, {"cpu_cores", process->cpu}, {"memory_bytes", process->memory_bytes},
                  {"open_fds", process->fds}, {"uptime_s", process->uptime_s});
    } else {
        buf_add_str(ret, STR(",\"why\":"));
        buf_add_json_string(ret, str_from(process->why));
    }
    buf_add_char(ret, '}');
}

void top_draw_json(const struct top_frame *frame, struct buf *ret) {
    buf_reset(ret);
    buf_add_char(ret, '{');
    ADD_PAIRS(ret, true, {"seconds", frame->seconds});
    buf_add_str(ret, STR(",\"api\":{"));
    ADD_PAIRS(ret, true, {"requests_per_s", frame->requests_per_s}, {"request_p99_s", frame->request_p99_s},
              {"shed_per_s", frame->shed_per_s}, {"in_flight", frame->in_flight}, {"waiters", frame->waiters},
              {"streams", frame->streams}, {"connections", frame->connections});
    buf_add_str(ret, STR("},\"log\":{"));
    ADD_PAIRS(ret, true, {"commits_per_s", frame->commits_per_s}, {"commit_p99_s", frame->commit_p99_s},
              {"size_bytes", frame->log_bytes}, {"disk_free_bytes", frame->disk_free_bytes});
    buf_add_str(ret, STR("},\"stores\":{"));
    ADD_PAIRS(ret, true, {"postgres_up", up_for_all(frame->postgres_up, frame->postgres_asked)},
              {"redis_up", up_for_all(frame->redis_up, frame->redis_asked)}, {"tables_age_s", frame->tables_age_s});
    buf_add_str(ret, STR("},\"waiting\":{"));
    ADD_PAIRS(ret, true, {"payments", frame->payments_open}, {"payments_oldest_s", frame->payments_oldest_s},
              {"payments_left_to_operators", frame->payments_left}, {"timers", frame->timers_overdue},
              {"timers_oldest_s", frame->timers_oldest_s});
    buf_add_str(ret, STR("},\"services\":["));
    json_services(frame, false, ret);
    buf_add_str(ret, STR("],\"views\":["));
    json_services(frame, true, ret);
    buf_add_str(ret, STR("],\"processes\":["));
    for (size_t i = 0; i < frame->process_count; i++) {
        if (i)
            buf_add_char(ret, ',');
        json_process(&frame->processes[i], ret);
    }
    buf_add_str(ret, STR("]}\n"));
}
