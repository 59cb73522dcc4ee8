/* orderlog payments: what only people can settle between the shop and its payment provider. Marks only; the owners of
 * the shards do it. */
#include "cli/payments.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/config.h"

const char payments_help[] =
    "Usage: orderlog payments unknown [--output json|table]\n"
    "       orderlog payments unrouted [--output json|table]\n"
    "       orderlog payments retry ID [--wait SECONDS]\n"
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
    "\n"
    "retry only marks it: the owner of its shard does it within about a second (`orderlog up` must run).\n"
    "\n"
    "Options:\n"
    "  --wait SECONDS       wait until it is settled, or left again, and say which\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --log URL            the log (default: ORDERLOG_LOG), for unrouted\n"
    "  --database URL       PostgreSQL (default: DATABASE_URL), for unknown and retry\n"
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

enum { WAIT_POLL_MS = 100 };

struct payments {
    const char *action;
    const char *id;
    bool waits;
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

/* ---- retry ---- */

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

/* CLI_OK: settled; CLI_NO: left, or refused again; -1: still on its way; CLI_USAGE: it could not be read. */
static int outcome_of(struct payments *payments, const struct payments_row *row, struct err *err) {
    struct payments_rows now;
    bool marked;
    int outcome = CLI_OK;
    if (!payments_is_marked(payments->pg, row, &marked, err) ||
        !payments_find(payments->pg, STR_NULL, true, &payments->arena, &now, err))
        return CLI_USAGE;
    for (size_t i = 0; i < now.count; i++) {
        const struct payments_row *same = &now.rows[i];
        if (!is_same(row, same))
            continue;
        bool again = is_call(same) ? same->tries > row->tries : same->state == PAYMENTS_LEFT;
        outcome = again ? CLI_NO : -1;
        if (again && !marked)
            printf("Call %s is %s again: %.*s\n", payments->id, payments_state_name(same->state), STR_ARG(same->why));
    }
    if (outcome == CLI_OK && !marked)
        printf("Call %s is settled.\n", payments->id);
    return marked ? -1 : outcome;
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

static int retry_run(struct payments *payments, struct err *err) {
    struct payments_rows rows;
    if (!payments_find(payments->pg, str_from(payments->id), true, &payments->arena, &rows, err))
        return cli_fail(err);
    if (!rows.count) {
        cli_note("there is no such call without an outcome: %s", payments->id);
        return CLI_NO;
    }
    if (!payments_mark(payments->pg, &rows.rows[0], err))
        return cli_fail(err);
    if (payments->waits)
        return wait_until_settled(payments, &rows.rows[0], err);
    printf("Call %s is marked: within about a second its owner tries it again.\n", payments->id);
    return CLI_OK;
}

/* ---- the command line ---- */

static bool option_parse(struct payments *payments, int option) {
    switch (option) {
    case 'w':
        payments->waits = true;
        return cli_number("--wait", optarg, 0, 86400, &payments->wait_seconds);
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
        cli_usage_error("what is to be done? unknown, unrouted or retry");
        return false;
    }
    payments->action = argv[optind++];
    bool retry = !strcmp(payments->action, "retry");
    if (!retry && strcmp(payments->action, "unknown") != 0 && strcmp(payments->action, "unrouted") != 0) {
        cli_usage_error("there is no '%s': unknown, unrouted or retry", payments->action);
        return false;
    }
    if (retry && optind == argc) {
        cli_usage_error("retry needs an ID");
        return false;
    }
    if (!retry && payments->waits) {
        cli_usage_error("%s takes no --wait", payments->action);
        return false;
    }
    if (retry)
        payments->id = argv[optind++];
    return cli_no_operands(argc, argv);
}

static bool parse(struct payments *payments, int argc, char **argv) {
    static const struct option options[] = {{"wait", required_argument, NULL, 'w'},
                                            {"output", required_argument, NULL, 'O'},
                                            {"log", required_argument, NULL, 'L'},
                                            {"database", required_argument, NULL, 'D'},
                                            {0}};
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
    int status = !strcmp(payments.action, "retry") ? retry_run(&payments, &err) : unknown_run(&payments, &err);
    arena_free(&payments.arena);
    pg_close(payments.pg);
    return status;
}
