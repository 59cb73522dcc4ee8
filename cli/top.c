/* orderlog top: a live view of what the processes say in /metrics. */
#include "cli/top.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"

const char top_help[] =
    "Usage: orderlog top [--url URL]... [--run DIR] [--interval SECONDS] [--once] [--output json|table]\n"
    "\n"
    "Shows what running processes do, from their /metrics, anew every two seconds: requests, what each service and\n"
    "each view reads and decides a second, how far it is behind, how long a record takes through it, what was set\n"
    "aside or is halted, and what the processes take of the machine. On a terminal it fills the screen; q ends it.\n"
    "Into a pipe or a file it writes one view of one second, as with --once.\n"
    "\n"
    "Options:\n"
    "  --url URL            a process: its address, or that of its metrics; may be repeated. Without it: those of\n"
    "                       ORDERLOG_PROCESSES, else those of --run, else ORDERLOG_API, else http://127.0.0.1:8080\n"
    "  --run DIR            each DIR/NAME.listen says where the process NAME answers; looked at anew each time\n"
    "                       (default: ORDERLOG_RUN)\n"
    "  --interval SECONDS   between two views (2)\n"
    "  --once               one view, of the second after the start; then end\n"
    "  --output json|table  table; json writes one object a line\n"
    "  -h, --help           this text\n"
    "\n"
    "Settings: ORDERLOG_PROCESSES (a list of NAME=URL or URL, by spaces or commas), ORDERLOG_RUN, ORDERLOG_API. "
    "NO_COLOR\n"
    "turns colours off.\n"
    "\n"
    "IN/S and OUT/S are records read and decided a second. LAG is how many records wait, BEHIND (of a view: AGE) how "
    "old\n"
    "the oldest of them is. P50 and P99 run from the log's time of a record to the commit of what the service made of\n"
    "it. OUTBOX is the age of the oldest decision that is not in the log yet. PARKED subjects were set aside "
    "(orderlog\n"
    "dlq); DOWN shards are halted (/readyz?verbose says why), or no process runs them. \"-\" is what is not known. "
    "What\n"
    "each process does is added up, what several tell of the same thing is counted once.\n"
    "\n"
    "Exit codes: 0 done, and every process answered; 1 with --once, one did not; 2 wrong usage, or it could not be\n"
    "done.\n"
    "\n"
    "Examples:\n"
    "  orderlog top\n"
    "  orderlog top --once --output json | jq '.services[] | {name, lag_records}'\n";

struct top {
    struct top_targets targets;
    double interval_s;
    bool once;
    enum cli_output output;
    struct top_terminal *terminal; /* NULL: output is no terminal */
    bool quit, redraw;
    struct buf drawn;
};

/* ---- the command line ---- */

static bool parse_interval(const char *text, double *ret) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0.1 && value <= 3600)) {
        cli_usage_error("--interval must be from 0.1 to 3600 seconds, not '%s'", text);
        return false;
    }
    *ret = value;
    return true;
}

static int parse(struct top *top, int argc, char **argv) {
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},      {"run", required_argument, NULL, 'r'},
        {"interval", required_argument, NULL, 'i'}, {"once", no_argument, NULL, '1'},
        {"output", required_argument, NULL, 'O'},   {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'u')
            top_targets_add(&top->targets, STR_NULL, str_from(optarg));
        else if (option == 'r')
            top->targets.run = optarg;
        else if (option == '1')
            top->once = true;
        else if (option != 'i' && option != 'O')
            return cli_usage_hint();
        else if (option == 'i' ? !parse_interval(optarg, &top->interval_s) : !cli_output_parse(optarg, &top->output))
            return CLI_USAGE;
    }
    if (!cli_no_operands(argc, argv))
        return CLI_USAGE;
    top->targets.given = top->targets.count > 0;
    top_targets_refresh(&top->targets);
    top->once |= top->output != CLI_JSON && !isatty(STDOUT_FILENO);
    return CLI_OK;
}

/* ---- views ---- */

static bool look_at_events(void *user) {
    struct top *top = user;
    enum top_event event = top->terminal ? top_terminal_event(top->terminal) : TOP_NOTHING;
    top->quit |= event == TOP_QUIT;
    top->redraw |= event == TOP_REDRAW;
    return top->quit;
}

static bool fetch(struct top *top, struct err *err) {
    int fds[2];
    size_t fd_count = top->terminal ? top_terminal_fds(top->terminal, fds) : 0;
    top_targets_refresh(&top->targets);
    return top_fetch(top->targets.items, top->targets.count, fds, fd_count, look_at_events, top, err);
}

static void show(struct top *top) {
    struct arena arena;
    struct top_frame frame;
    struct top_style style = {.color = cli_output_has_color(), .columns = cli_output_columns()};
    char now[CLOCK_TEXT_SIZE], heading[128];
    clock_format(clock_now_us() / 1000000 * 1000000, now);
    snprintf(heading, sizeof heading, top->terminal ? "orderlog top  %s  every %g s  (q ends it)" : "orderlog top  %s",
             now, top->interval_s);
    arena_init(&arena);
    top_model(top->targets.items, top->targets.count, &arena, &frame);
    if (top->terminal)
        top_terminal_size(top->terminal, &style.columns, &style.rows);
    if (top->output == CLI_JSON)
        top_draw_json(&frame, &top->drawn);
    else
        top_draw(&frame, &style, heading, &top->drawn);
    if (top->terminal)
        top_terminal_show(top->terminal, buf_str(&top->drawn));
    else
        cli_print(&top->drawn);
    fflush(stdout);
    arena_free(&arena);
    top->redraw = false;
}

/* Waits, drawing anew what is known when the window changes. */
static void rest(struct top *top, int64_t until_us) {
    while (!look_at_events(top) && clock_monotonic_us() < until_us) {
        if (top->redraw)
            show(top);
        if (top->terminal)
            top_terminal_wait(top->terminal, until_us);
        else
            clock_sleep_ms((until_us - clock_monotonic_us()) / 1000 + 1);
    }
}

static bool run(struct top *top, struct err *err) {
    int64_t next_us = clock_monotonic_us();
    if (!fetch(top, err))
        return false;
    if (top->terminal && !top->quit)
        show(top);
    for (next_us += 1000000; !top->quit; next_us += (int64_t)(top->interval_s * 1e6)) {
        rest(top, next_us);
        if (top->quit || !fetch(top, err))
            return top->quit;
        if (top->quit)
            return true;
        show(top);
        if (top->once || ferror(stdout))
            return true;
        if (next_us < clock_monotonic_us())
            next_us = clock_monotonic_us(); /* what did not answer took its time */
    }
    return true;
}

static bool all_answered(const struct top *top) {
    for (size_t i = 0; i < top->targets.count; i++)
        if (!top->targets.items[i].now.answered)
            return false;
    return true;
}

int top_main(int argc, char **argv) {
    struct top top = {.interval_s = 2, .output = CLI_TABLE};
    struct err err = {0};
    int status = parse(&top, argc, argv);
    bool screen = status == CLI_OK && !top.once && top.output != CLI_JSON;
    if (screen && !top_terminal_open(&top.terminal, &err))
        status = cli_fail(&err);
    if (status == CLI_OK) {
        bool ok = run(&top, &err);
        top_terminal_close(top.terminal); /* before anything is said */
        if (!ok)
            status = cli_fail(&err);
        else if (top.once && !all_answered(&top))
            status = CLI_NO;
    }
    top_targets_free(&top.targets);
    buf_free(&top.drawn);
    return status;
}
