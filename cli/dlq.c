/* orderlog dlq: what the deciders set aside, and what is to be done with it. Marks only; the owners of the shards do
 * it. */
#include "cli/dlq.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/tail_print.h"
#include "core/base/clock.h"
#include "core/base/config.h"

const char dlq_help[] =
    "Usage: orderlog dlq list [--service NAME] [--subject SUBJECT] [--output json|table]\n"
    "       orderlog dlq show ID [--output json|table]\n"
    "       orderlog dlq retry ID|--subject SUBJECT [--service NAME] [--wait SECONDS]\n"
    "       orderlog dlq drop ID|--subject SUBJECT [--service NAME] [--wait SECONDS] [--yes]\n"
    "\n"
    "Dead letters: a record that a decider cannot handle is parked, and later records of its subject (the cart, order\n"
    "or SKU) are parked behind it, in order, until an operator says what is to be done with it:\n"
    "  retry   decide it again; when that fails again, it stays parked\n"
    "  drop    go on without it\n"
    "Then those behind it are decided in their order. Either only marks the first record of a subject, and the owner "
    "of\n"
    "its shard does it within about a second (`orderlog up` must run). A subject that is parked in several shards or\n"
    "services must be told apart by --service, or by the ID.\n"
    "\n"
    "dlq speaks of the deciders. What a read model has set aside (view.parked in PostgreSQL, lists {pN}:parked:... in\n"
    "Redis) cannot be retried: it comes back when that view is built anew.\n"
    "\n"
    "Options:\n"
    "  --service NAME       only of this decider\n"
    "  --subject SUBJECT    only of this subject\n"
    "  --wait SECONDS       wait until it was done, or failed again, and say which\n"
    "  --yes                drop without asking; needed when standard input is no terminal\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --database URL       PostgreSQL (default: DATABASE_URL)\n"
    "  -h, --help           this text\n"
    "\n"
    "JSON: list {\"parked\":[{\"id\",\"service\",\"shard\",\"topic\",\"partition\",\"offset\",\"subject\",\"reason\","
    "\"behind\",\n"
    "      \"status\",\"parked_at\"}],\"total\":N}; behind: it is parked only because its subject was; status: "
    "parked,\n"
    "      retry or drop. show adds \"in_front\" (the ID of the first of its subject; null: itself), \"behind_it\" "
    "(how\n"
    "      many), \"timestamp\", \"key\", \"headers\", \"event\", and for what cannot be decoded \"error\", "
    "\"value_hex\".\n"
    "\n"
    "Exit codes: 0 done or marked; 1 there is no such record, another is in front of it, it was parked again, or\n"
    "nothing was done in time; 2 wrong usage, or PostgreSQL could not be read.\n"
    "\n"
    "Examples:\n"
    "  orderlog dlq list --service orders\n"
    "  orderlog dlq show 17\n"
    "  orderlog dlq retry 17 --wait 30\n"
    "  orderlog dlq drop --subject 5f0c2a1e-3b1d-4c55-9a57-0d5a3d9b7c11 --yes --wait 30\n";

enum { WAIT_POLL_MS = 100 };

struct dlq {
    const char *service; /* NULL: any */
    const char *subject; /* NULL: any */
    int64_t id;          /* 0: none was given */
    int64_t wait_seconds;
    bool waits;
    bool yes;
    enum cli_output output;
    struct pg *pg;
};

/* ---- what it says ---- */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Subjects and reasons are whatever somebody wrote. */
static void say(const char *format, ...) {
    BUF_AUTO text = {0};
    BUF_AUTO out = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    tail_add_printable(&out, buf_str(&text));
    buf_add_char(&out, '\n');
    cli_print(&out);
    fflush(stdout);
}

static int no_such_record(const struct dlq *dlq) {
    if (dlq->id)
        cli_note("there is no parked record %" PRId64 " (see orderlog dlq list)", dlq->id);
    else
        cli_note("no record of subject %s is parked%s%s", dlq->subject, dlq->service ? " by " : "",
                 dlq->service ? dlq->service : "");
    return CLI_NO;
}

/* ---- which record ---- */

static int ambiguous(const struct dlq *dlq, const struct pg_result *rows) {
    cli_note("subject %s is parked in %d shards: name one record by its ID, or a service by --service", dlq->subject,
             pg_rows(rows));
    for (int i = 0; i < pg_rows(rows); i++) {
        struct dlq_row row = dlq_row_get(rows, i);
        cli_note("  record %" PRId64 " of %.*s, shard %" PRId64, row.id, STR_ARG(row.service), row.shard);
    }
    return CLI_NO;
}

/* CLI_OK: *ret_rows has one row, the first of its subject. */
static int find_leader(const struct dlq *dlq, struct pg_result **ret_rows) {
    struct err err = {0};
    bool ok = dlq->id ? dlq_find(dlq->pg, dlq->id, ret_rows, &err)
                      : dlq_find_leaders(dlq->pg, dlq->service, dlq->subject, ret_rows, &err);
    if (!ok)
        return cli_fail(&err);
    if (!pg_rows(*ret_rows))
        return no_such_record(dlq);
    if (pg_rows(*ret_rows) > 1)
        return ambiguous(dlq, *ret_rows);
    struct dlq_row row = dlq_row_get(*ret_rows, 0);
    if (row.leader == row.id)
        return CLI_OK;
    cli_note("record %" PRId64 " is behind record %" PRId64 " of its subject: retry or drop that one first", row.id,
             row.leader);
    return CLI_NO;
}

/* ---- waiting ---- */

static int say_gone(enum dlq_mark mark, int64_t id, bool in_hand) {
    if (in_hand) {
        say("Record %" PRId64 " is not parked any more; the owner may have had it in hand before, so that it may have "
            "been applied or dropped.",
            id);
        return CLI_NO;
    }
    say("Record %" PRId64 " was %s.", id, mark == DLQ_RETRY ? "applied" : "dropped");
    return CLI_OK;
}

static int wait_until_done(const struct dlq *dlq, enum dlq_mark mark, int64_t id, bool in_hand) {
    int64_t deadline_us = clock_monotonic_us() + dlq->wait_seconds * 1000000;
    for (;;) {
        PG_RESULT_AUTO *rows = NULL;
        struct err err = {0};
        if (!dlq_find(dlq->pg, id, &rows, &err))
            return cli_fail(&err);
        if (!pg_rows(rows))
            return say_gone(mark, id, in_hand);
        struct dlq_row row = dlq_row_get(rows, 0);
        if (str_eq(row.status, STR("parked"))) {
            say("Record %" PRId64 " was parked again: %.*s", id, STR_ARG(row.reason));
            return CLI_NO;
        }
        if (clock_monotonic_us() >= deadline_us)
            break;
        clock_sleep_ms(WAIT_POLL_MS);
    }
    say("Record %" PRId64 " is still marked after %" PRId64 " s: does its decider run, and is its shard not halted?",
        id, dlq->wait_seconds);
    return CLI_NO;
}

/* ---- retry and drop ---- */

/* Whether the operator means it. */
static int confirm(const struct dlq *dlq, const struct dlq_row *row) {
    if (dlq->yes)
        return CLI_OK;
    if (!isatty(STDIN_FILENO))
        return cli_usage_error("drop needs --yes when standard input is no terminal");
    BUF_AUTO question = {0};
    char answer[16];
    buf_printf(&question, "Drop record %" PRId64 " of %.*s (%.*s, partition %" PRId64 ", offset %" PRId64 ")? [y/N] ",
               row->id, STR_ARG(row->service), STR_ARG(row->topic), row->partition, row->offset);
    fputs(question.ptr, stderr);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return CLI_OK;
    cli_note("nothing was dropped");
    return CLI_NO;
}

static void say_marked(enum dlq_mark mark, const struct dlq_row *row) {
    BUF_AUTO then = {0};
    if (row->followers)
        buf_printf(&then, ", then decides the %" PRId64 " behind it", row->followers);
    say("Record %" PRId64 " of %.*s, shard %" PRId64 ", is marked: within about a second its owner %s%s%s.", row->id,
        STR_ARG(row->service), row->shard, mark == DLQ_RETRY ? "decides it again" : "drops it",
        then.ptr ? then.ptr : "", mark == DLQ_RETRY ? "; if it fails again, it stays parked" : "");
}

static int mark_record(struct dlq *dlq, enum dlq_mark mark) {
    PG_RESULT_AUTO *rows = NULL;
    struct err err = {0};
    enum dlq_marked marked;
    int status = find_leader(dlq, &rows);
    if (status != CLI_OK)
        return status;
    struct dlq_row row = dlq_row_get(rows, 0);
    if (mark == DLQ_DROP && (status = confirm(dlq, &row)) != CLI_OK)
        return status;
    if (!dlq_mark(dlq->pg, row.id, mark, &marked, &err))
        return cli_fail(&err);
    if (marked == DLQ_GONE) {
        cli_note("record %" PRId64 " is not parked any more", row.id);
        return CLI_NO;
    }
    say_marked(mark, &row);
    return dlq->waits ? wait_until_done(dlq, mark, row.id, marked == DLQ_MARKED_IN_HAND) : CLI_OK;
}

static int retry_run(struct dlq *dlq) {
    return mark_record(dlq, DLQ_RETRY);
}

static int drop_run(struct dlq *dlq) {
    return mark_record(dlq, DLQ_DROP);
}

/* ---- list and show ---- */

static int list_run(struct dlq *dlq) {
    PG_RESULT_AUTO *rows = NULL;
    struct err err = {0};
    if (!dlq_list(dlq->pg, dlq->service, dlq->subject, &rows, &err))
        return cli_fail(&err);
    dlq_print_list(rows, dlq->output);
    return CLI_OK;
}

static int show_run(struct dlq *dlq) {
    PG_RESULT_AUTO *rows = NULL;
    struct err err = {0};
    if (!dlq_find(dlq->pg, dlq->id, &rows, &err))
        return cli_fail(&err);
    if (!pg_rows(rows))
        return no_such_record(dlq);
    struct dlq_row row = dlq_row_get(rows, 0);
    row.record = pg_get_str(rows, 0, 13);
    dlq_print_row(&row, dlq->output);
    return CLI_OK;
}

/* ---- the command line ---- */

struct action {
    const char *name;
    const char *options; /* the letters of those that it takes */
    bool takes_id;
    bool needs_id; /* --subject does not do instead */
    int (*run)(struct dlq *dlq);
};

static const struct action actions[] = {
    {"list", "sSO", false, false, list_run},
    {"show", "O", true, true, show_run},
    {"retry", "sSw", true, false, retry_run},
    {"drop", "sSwy", true, false, drop_run},
};

static const struct option options[] = {{"service", required_argument, NULL, 's'},
                                        {"subject", required_argument, NULL, 'S'},
                                        {"wait", required_argument, NULL, 'w'},
                                        {"yes", no_argument, NULL, 'y'},
                                        {"output", required_argument, NULL, 'O'},
                                        {"database", required_argument, NULL, 'D'},
                                        {0}};

static bool option_parse(struct dlq *dlq, int option) {
    switch (option) {
    case 's':
        dlq->service = optarg;
        return true;
    case 'S':
        dlq->subject = optarg;
        return true;
    case 'w':
        dlq->waits = true;
        return cli_number("--wait", optarg, 0, 86400, &dlq->wait_seconds);
    case 'y':
        return dlq->yes = true;
    case 'O':
        return cli_output_parse(optarg, &dlq->output);
    case 'D':
        config_override("DATABASE_URL", optarg);
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static const struct action *action_find(const char *name) {
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (!strcmp(actions[i].name, name))
            return &actions[i];
    cli_usage_error("there is no '%s': list, show, retry or drop", name);
    return NULL;
}

static bool options_fit(const struct action *action, const char *used) {
    for (; *used; used++)
        for (const struct option *option = options; option->name; option++)
            if (option->val == *used && *used != 'D' && !strchr(action->options, *used)) {
                cli_usage_error("%s takes no --%s", action->name, option->name);
                return false;
            }
    return true;
}

static bool operands_parse(struct dlq *dlq, const struct action *action, int argc, char **argv) {
    if (action->takes_id && optind < argc && !cli_number("ID", argv[optind++], 1, INT64_MAX, &dlq->id))
        return false;
    if (!cli_no_operands(argc, argv))
        return false;
    if (action->takes_id && !dlq->id && (action->needs_id || !dlq->subject)) {
        cli_usage_error("%s needs an ID%s", action->name, action->needs_id ? "" : " or --subject");
        return false;
    }
    if (dlq->id && (dlq->subject || dlq->service)) {
        cli_usage_error("an ID says it all: no --%s beside it", dlq->subject ? "subject" : "service");
        return false;
    }
    return true;
}

static bool dlq_parse(struct dlq *dlq, const struct action **ret, int argc, char **argv) {
    BUF_AUTO used = {0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (!option_parse(dlq, option))
            return false;
        buf_add_char(&used, (char)option);
    }
    if (optind == argc) {
        cli_usage_error("what is to be done? list, show, retry or drop");
        return false;
    }
    *ret = action_find(argv[optind]);
    optind++;
    return *ret && options_fit(*ret, used.ptr ? used.ptr : "") && operands_parse(dlq, *ret, argc, argv);
}

int dlq_main(int argc, char **argv) {
    struct dlq dlq = {0};
    struct err err = {0};
    const struct action *action;
    if (!dlq_parse(&dlq, &action, argc, argv))
        return CLI_USAGE;
    if (!dlq_open(&dlq.pg, &err))
        return cli_fail(&err);
    int status = action->run(&dlq);
    pg_close(dlq.pg);
    return status;
}
