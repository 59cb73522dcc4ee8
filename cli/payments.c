/* orderlog payments: what only people can settle between the shop and its payment provider. Marks only; the owners of
 * the shards do it. */
#include "cli/payments.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/config.h"

const char payments_help[] =
    "Usage: orderlog payments unknown [--output json|table]\n"
    "       orderlog payments unrouted [--output json|table]\n"
    "       orderlog payments retry ID [--wait SECONDS]\n"
    "       orderlog payments close ID [--wait SECONDS] [--yes]\n"
    "\n"
    "What stands open between the shop and its payment provider:\n"
    "  unknown    calls that have no outcome. open: the same call is made again by itself, after ever longer pauses; "
    "later\n"
    "             than 20 hours the provider is only asked what came of it. left: it cannot be settled by itself, "
    "`why`\n"
    "             says why. given-up: the provider has refused a capture, void or refund too often\n"
    "  unrouted   webhooks that name no payment of ours\n"
    "  retry      try one of the unknown again now: the same call, or a look at the provider when it is too late for\n"
    "             that; a call that was given up, or waits for its next try, is made anew\n"
    "  close      a call that is left, when the provider has told you that it was not done: an authorisation counts "
    "as\n"
    "             declined, a capture, void or refund as refused (it is tried anew later); a look is given up\n"
    "\n"
    "retry and close only mark it: the owner of its shard does it within about a second (`orderlog up` must run).\n"
    "\n"
    "Options:\n"
    "  --wait SECONDS       wait until it is settled, or left again, and say which\n"
    "  --yes                close without asking; needed when standard input is no terminal\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --log URL            the log (default: ORDERLOG_LOG), for unrouted\n"
    "  --database URL       PostgreSQL (default: DATABASE_URL), for all others\n"
    "  -h, --help           this text\n"
    "\n"
    "JSON: "
    "{\"unknown\":[{\"id\",\"order_id\",\"state\",\"action\",\"amount\",\"since\",\"age_seconds\",\"tried_at\","
    "\"tries\","
    "\"why\"}],\n"
    "       \"total\":N}, "
    "{\"unrouted\":[{\"time\",\"event_id\",\"type\",\"object_id\",\"status\",\"order_id\"}],\"total\":N}\n"
    "\n"
    "Exit codes: 0 done, marked, or with --wait settled; 1 there is no such call, it was left again, or it is still "
    "open;\n"
    "2 wrong usage, or it could not be read.\n"
    "\n"
    "Examples:\n"
    "  orderlog payments unknown\n"
    "  orderlog payments retry 8f2b0d6e-5a52-8f0e-b7a5-3f2f5f1c9a10 --wait 30\n";

enum { WAIT_POLL_MS = 100, APPEARS_MS = 3000 };

struct payments {
    const char *action;
    const char *id;
    bool waits;
    bool yes;
    int64_t wait_seconds;
    enum cli_output output;
    struct pg *pg;
    struct arena arena;
};

static int unknown_run(struct payments *payments, struct err *err) {
    struct payments_rows rows;
    if (!payments_find(payments->pg, STR_NULL, false, &payments->arena, &rows, err))
        return cli_fail(err);
    payments_print(&rows, payments->output);
    return CLI_OK;
}

static int unrouted_run(struct payments *payments, struct err *err) {
    CLI_LOG_AUTO *log = NULL;
    return cli_log_open(&log, err) && payments_print_unrouted(log, payments->output, err) ? CLI_OK : cli_fail(err);
}

/* ---- retry and close ---- */

static bool is_call(const struct payments_row *row) {
    return row->state == PAYMENTS_WAITING || row->state == PAYMENTS_GIVEN_UP;
}

/* Whether `now` stands for the same call: an intent has its own id; a call that was refused has none while it is made,
 * but then there is an intent of its order. */
static bool is_same(const struct payments_row *row, const struct payments_row *now) {
    if (!is_call(row))
        return str_eq(now->id, row->id);
    return str_eq(now->order_id, row->order_id) && (is_call(now) || now->action == row->action);
}

/* A call that waits for a time that has come is about to be made. */
static bool is_under_way(const struct payments_row *row) {
    return row->state == PAYMENTS_OPEN || (row->state == PAYMENTS_WAITING && row->due_us <= clock_now_us());
}

/* CLI_OK: settled; CLI_NO: left, or refused again; -1: still on its way; CLI_USAGE: it could not be read. */
static int outcome_of(struct payments *payments, const struct payments_row *row, struct err *err) {
    struct payments_rows now;
    const struct payments_row *again = NULL;
    bool under_way;
    if (!payments_is_marked(payments->pg, row, &under_way, err) ||
        !payments_find(payments->pg, STR_NULL, true, &payments->arena, &now, err))
        return CLI_USAGE;
    for (size_t i = 0; i < now.count; i++)
        if (is_same(row, &now.rows[i])) {
            under_way |= is_under_way(&now.rows[i]);
            again = &now.rows[i];
        }
    if (under_way)
        return -1;
    if (again)
        printf("Call %s is %s again: %.*s\n", payments->id, payments_state_name(again->state), STR_ARG(again->why));
    else
        printf("Call %s is settled.\n", payments->id);
    return again ? CLI_NO : CLI_OK;
}

static int wait_until_settled(struct payments *payments, const struct payments_row *row, struct err *err) {
    int64_t deadline_us = clock_monotonic_us() + payments->wait_seconds * 1000000;
    for (;;) {
        int status = outcome_of(payments, row, err);
        if (status == CLI_USAGE)
            return cli_fail(err);
        if (status >= 0)
            return status;
        if (clock_monotonic_us() >= deadline_us)
            break;
        clock_sleep_ms(WAIT_POLL_MS);
    }
    printf("Call %s is still open after %" PRId64 " s.\n", payments->id, payments->wait_seconds);
    return CLI_NO;
}

/* Whether the operator means it. */
static int confirm(const struct payments *payments, const struct payments_row *row) {
    char answer[16];
    if (row->state != PAYMENTS_LEFT) {
        cli_note("call %s is %s: only one that is left can be closed", payments->id, payments_state_name(row->state));
        return CLI_NO;
    }
    if (payments->yes)
        return CLI_OK;
    if (!isatty(STDIN_FILENO))
        return cli_usage_error("close needs --yes when standard input is no terminal");
    fprintf(stderr, "Does the provider say that call %s of order %.*s was not done? [y/N] ", payments->id,
            STR_ARG(row->order_id));
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return CLI_OK;
    cli_note("nothing was closed");
    return CLI_NO;
}

/* The owner of a shard keeps what is new in memory for up to a second or so. */
static bool find(struct payments *payments, struct payments_rows *ret, struct err *err) {
    int64_t deadline_us = clock_monotonic_us() + APPEARS_MS * INT64_C(1000);
    do {
        if (!payments_find(payments->pg, str_from(payments->id), true, &payments->arena, ret, err))
            return false;
        if (!ret->count)
            clock_sleep_ms(WAIT_POLL_MS);
    } while (!ret->count && clock_monotonic_us() < deadline_us);
    return true;
}

static int mark_run(struct payments *payments, struct err *err) {
    struct payments_rows rows;
    bool closes = !strcmp(payments->action, "close");
    if (!find(payments, &rows, err))
        return cli_fail(err);
    if (!rows.count) {
        cli_note("there is no such call without an outcome: %s", payments->id);
        return CLI_NO;
    }
    int status = closes ? confirm(payments, &rows.rows[0]) : CLI_OK;
    if (status != CLI_OK)
        return status;
    if (!payments_mark(payments->pg, &rows.rows[0], closes, err))
        return cli_fail(err);
    if (payments->waits)
        return wait_until_settled(payments, &rows.rows[0], err);
    printf("Call %s is marked: within about a second its owner %s.\n", payments->id,
           closes ? "closes it" : "tries it again");
    return CLI_OK;
}

/* ---- the command line ---- */

static bool option_parse(struct payments *payments, int option) {
    switch (option) {
    case 'w':
        payments->waits = true;
        return cli_number("--wait", optarg, 0, 86400, &payments->wait_seconds);
    case 'y':
        return payments->yes = true;
    case 'O':
        return cli_output_parse(optarg, &payments->output);
    case 'L':
        config_override("ORDERLOG_LOG", optarg);
        return true;
    case 'D':
        config_override("DATABASE_URL", optarg);
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static bool operands_parse(struct payments *payments, int argc, char **argv) {
    if (optind == argc) {
        cli_usage_error("what is to be done? unknown, unrouted, retry or close");
        return false;
    }
    payments->action = argv[optind++];
    bool close = !strcmp(payments->action, "close"), marks = close || !strcmp(payments->action, "retry");
    if (!marks && strcmp(payments->action, "unknown") != 0 && strcmp(payments->action, "unrouted") != 0) {
        cli_usage_error("there is no '%s': unknown, unrouted, retry or close", payments->action);
        return false;
    }
    if (marks && optind == argc) {
        cli_usage_error("%s needs an ID", payments->action);
        return false;
    }
    if ((!marks && payments->waits) || (!close && payments->yes)) {
        cli_usage_error("%s takes no --%s", payments->action, payments->yes ? "yes" : "wait");
        return false;
    }
    if (marks)
        payments->id = argv[optind++];
    return cli_no_operands(argc, argv);
}

static bool parse(struct payments *payments, int argc, char **argv) {
    static const struct option options[] = {
        {"wait", required_argument, NULL, 'w'},     {"yes", no_argument, NULL, 'y'},
        {"output", required_argument, NULL, 'O'},   {"log", required_argument, NULL, 'L'},
        {"database", required_argument, NULL, 'D'}, {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!option_parse(payments, option))
            return false;
    return operands_parse(payments, argc, argv);
}

int payments_main(int argc, char **argv) {
    struct payments payments = {0};
    struct err err = {0};
    if (!parse(&payments, argc, argv))
        return CLI_USAGE;
    if (!strcmp(payments.action, "unrouted"))
        return unrouted_run(&payments, &err);
    if (!payments_open(&payments.pg, &err))
        return cli_fail(&err);
    arena_init(&payments.arena);
    int status = payments.id ? mark_run(&payments, &err) : unknown_run(&payments, &err);
    arena_free(&payments.arena);
    pg_close(payments.pg);
    return status;
}
