/* orderlog dlq: what the deciders and the views set aside, and what is to be done with it. */
#include "cli/dlq.h"

#include <getopt.h>

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
    "list and show tell, too, what the views in PostgreSQL and Redis have set aside. Such a record's ID is\n"
    "STORE/VIEW/TOPIC/PARTITION/OFFSET. It cannot be retried by itself: `orderlog rebuild STORE/VIEW` makes the view "
    "anew.\n"
    "\n"
    "Options:\n"
    "  --service NAME       only of this decider or, as view-orders, of this view\n"
    "  --subject SUBJECT    only of this subject\n"
    "  --wait SECONDS       wait until it was done, or failed again, and say which, and what came of those behind it\n"
    "  --yes                drop without asking; needed when standard input is no terminal\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --database URL       PostgreSQL (default: DATABASE_URL)\n"
    "  --redis URL          Redis (default: REDIS_URL; without it, its views are left out)\n"
    "  -h, --help           this text\n"
    "\n"
    "JSON: list {\"parked\":[{\"id\",\"service\",\"shard\",\"topic\",\"partition\",\"offset\",\"subject\",\"reason\","
    "\"behind\",\n"
    "      \"status\",\"parked_at\"}],\"total\":N,\"views\":[{the same, and \"store\"}],\"unasked\":[...]}; behind: it "
    "is\n"
    "      parked only because its subject was; status: parked, retry or drop; unasked: stores whose views were left\n"
    "      out. show adds\n"
    "      \"in_front\" (the ID of the first of its subject; null: itself), \"behind_it\" (how many), \"timestamp\", "
    "\"key\",\n"
    "      \"headers\", \"event\", and for what cannot be decoded \"error\", \"value_hex\".\n"
    "\n"
    "Exit codes: 0 done or marked; 1 there is no such record, another is in front of it, it is a view's, it was\n"
    "parked again, one behind it cannot be decided, it was not done in time, or Redis did not answer list; 2 wrong\n"
    "usage, or PostgreSQL could not be read.\n"
    "\n"
    "Examples:\n"
    "  orderlog dlq list --service orders\n"
    "  orderlog dlq show 17\n"
    "  orderlog dlq retry 17 --wait 30\n"
    "  orderlog dlq drop --subject 5f0c2a1e-3b1d-4c55-9a57-0d5a3d9b7c11 --yes --wait 30\n";

/* ---- list and show ---- */

/* A name that is mistyped must not look as if nothing was parked. */
static int check_service(const struct dlq *dlq) {
    BUF_AUTO names = {0};
    struct err err = {0};
    bool known;
    if (!dlq->service)
        return CLI_OK;
    if (!dlq_service_is_known(dlq->pg, dlq->service, &known, &names, &err))
        return cli_fail(&err);
    return known ? CLI_OK : cli_usage_error("there is no service '%s' here: %s", dlq->service, names.ptr);
}

static int list_run(struct dlq *dlq) {
    PG_RESULT_AUTO *rows = NULL;
    struct dlq_views views;
    struct err err = {0};
    if (!dlq_list(dlq->pg, dlq->service, dlq->subject, &rows, &err) ||
        !dlq_views_read(dlq->pg, dlq->service, dlq->subject, &views, &err))
        return cli_fail(&err);
    dlq_print_list(rows, &views, dlq->output);
    int status = views.redis_failed ? CLI_NO : CLI_OK;
    dlq_views_free(&views);
    return status;
}

static int show_view_record(struct dlq *dlq) {
    struct dlq_views views;
    struct err err = {0};
    if (!dlq_views_read(dlq->pg, NULL, NULL, &views, &err))
        return cli_fail(&err);
    const struct dlq_row *row = dlq_views_find(&views, dlq->place);
    int status = row ? CLI_OK : dlq_no_such_record(dlq);
    if (row)
        dlq_print_row(row, &views, dlq->output);
    dlq_views_free(&views);
    return status;
}

static int show_run(struct dlq *dlq) {
    PG_RESULT_AUTO *rows = NULL;
    struct err err = {0};
    if (dlq->place.ptr)
        return show_view_record(dlq);
    if (!dlq_find(dlq->pg, dlq->id, &rows, &err))
        return cli_fail(&err);
    if (!pg_rows(rows))
        return dlq_no_such_record(dlq);
    struct dlq_row row = dlq_row_get(rows, 0);
    row.record = pg_get_str(rows, 0, 13);
    dlq_print_row(&row, NULL, dlq->output);
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
    {"retry", "sSw", true, false, dlq_retry_run},
    {"drop", "sSwy", true, false, dlq_drop_run},
};

static const struct option options[] = {
    {"service", required_argument, NULL, 's'}, {"subject", required_argument, NULL, 'S'},
    {"wait", required_argument, NULL, 'w'},    {"yes", no_argument, NULL, 'y'},
    {"output", required_argument, NULL, 'O'},  {"database", required_argument, NULL, 'D'},
    {"redis", required_argument, NULL, 'R'},   {0}};

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
    case 'R':
        config_override("REDIS_URL", optarg);
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
            if (option->val == *used && !strchr("DR", *used) && !strchr(action->options, *used)) {
                cli_usage_error("%s takes no --%s", action->name, option->name);
                return false;
            }
    return true;
}

/* A view's has slashes: STORE/VIEW/TOPIC/PARTITION/OFFSET. */
static bool id_parse(struct dlq *dlq, const char *text) {
    if (!strchr(text, '/'))
        return cli_number("ID", text, 1, INT64_MAX, &dlq->id);
    dlq->place = str_from(text);
    return true;
}

static bool operands_parse(struct dlq *dlq, const struct action *action, int argc, char **argv) {
    if (action->takes_id && optind < argc && !id_parse(dlq, argv[optind++]))
        return false;
    if (!cli_no_operands(argc, argv))
        return false;
    if (action->takes_id && !dlq->id && !dlq->place.ptr && (action->needs_id || !dlq->subject)) {
        cli_usage_error("%s needs an ID%s", action->name, action->needs_id ? "" : " or --subject");
        return false;
    }
    if ((dlq->id || dlq->place.ptr) && (dlq->subject || dlq->service)) {
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
    int status = check_service(&dlq);
    if (status == CLI_OK)
        status = action->run(&dlq);
    pg_close(dlq.pg);
    return status;
}
