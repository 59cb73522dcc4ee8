/* orderlog verify: check that what always holds does hold. */
#include "cli/verify.h"

#include "cli/cli.h"
#include "core/base/config.h"
#include "projections/views_dynamodb.h"
#include "core/log/lag.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

const char verify_help[] =
    "Usage: orderlog verify [OPTION...]\n"
    "\n"
    "Reads the whole log, in one pass, and the stores, and checks what must always hold:\n"
    "\n"
    "  one-decision-per-order         an order is placed at most once, and rejected at most once\n"
    "  acknowledged-checkout-decided  every checkout in the log ended in OrderPlaced or OrderRejected\n"
    "  one-charge-per-order           one live authorisation and one capture at most, no refund twice\n"
    "  one-shipment-per-order         an order is dispatched at most once\n"
    "  no-oversell                    every stock row follows from the one before, and never goes below zero\n"
    "  money-balances                 lines and totals add up; refunded <= captured <= authorised <= total\n"
    "  sequences                      deciders' output is numbered without holes\n"
    "  order-per-key                  orders, reservations and fulfilments only go the ways there are\n"
    "  records-decode                 what the deciders wrote can be read\n"
    "  redis-equals-log               every row in Redis is the fold of the log          (needs Redis)\n"
    "                                 (of what ORDERLOG_VIEWS_URL keeps in DynamoDB: there)\n"
    "  postgres-equals-log            every row in PostgreSQL is the fold of the log     (needs PostgreSQL)\n"
    "  deciders-equal-log             every row of the deciders is the fold of the log   (needs PostgreSQL)\n"
    "  provider-equals-log            the provider holds and took what the log says      (needs --provider)\n"
    "\n"
    "Checks of a store that is not given are skipped. Views can be compared only when they have read all of the log:\n"
    "when they have not, or move on meanwhile, that check could not be made (exit 2).\n"
    "\n"
    "Options:\n"
    "      --wait SECONDS       first wait until no group is behind the log; of views that may be moved, those in\n"
    "                           the store that ORDERLOG_VIEWS_URL does not name do not count\n"
    "      --in-flight          the shop is at work: what has begun and not ended is no violation\n"
    "      --only NAME[,NAME]   only these checks\n"
    "      --output json|table  a table on a terminal, else JSON\n"
    "      --log URL            the log (default: ORDERLOG_LOG)\n"
    "      --database URL       PostgreSQL (default: DATABASE_URL); '' leaves it out\n"
    "      --redis URL          Redis (default: REDIS_URL); '' leaves it out\n"
    "      --provider URL       the sandbox provider (orderlog provider) whose ledger is compared\n"
    "  -h, --help               this text\n"
    "\n"
    "JSON: {\"checks\":[{\"name\",\"count\",\"violations\",\"first\"?,\"note\"?}],\"violations\":N,\n"
    "       \"skipped\":[{\"name\",\"why\"}],\"unchecked\":[{\"name\",\"why\"}]}\n"
    "`count` is what was looked at; `first` says where the first violation is, and what is wrong; `note` more.\n"
    "\n"
    "Settings: ORDERLOG_LOG, DATABASE_URL, REDIS_URL, ORDERLOG_VIEWS_URL, ORDERLOG_CURRENCY (USD), "
    "ORDERLOG_PROVIDER_SECRET (for "
    "--provider).\n"
    "\n"
    "Exit codes: 0 all that was checked holds; 1 something does not; 2 wrong usage, or it could not be checked.\n"
    "\n"
    "Examples:\n"
    "  orderlog verify --wait 30\n"
    "  orderlog verify --log sqlite:///var/lib/orderlog/log.db --database '' --redis ''\n"
    "  orderlog verify --only no-oversell,money-balances --in-flight --output json\n";

static const struct verify_check *const checks[] = {
    &verify_decisions, &verify_acknowledged, &verify_charges,  &verify_shipments, &verify_stock,
    &verify_money,     &verify_sequences,    &verify_paths,    &verify_decodable, &verify_redis,
    &verify_postgres,  &verify_deciders,     &verify_provider,
};

enum { CHECK_COUNT = sizeof checks / sizeof checks[0] };

struct verify {
    struct verify_options options;
    struct reader_range *ranges;
    struct verify_folds *folds;
    struct verify_running running[CHECK_COUNT];
    struct buf unchecked[CHECK_COUNT]; /* why it could not be checked; empty: it was */
    const char *only;
    int64_t wait_seconds;
    enum cli_output output;
};

void verify_violation(struct verify_result *result, const struct verify_at *at, const char *format, ...) {
    va_list args;
    if (result->violations++)
        return;
    if (at)
        buf_printf(&result->first, "%s, partition %d, offset %" PRId64 ": ", at->topic, at->partition, at->offset);
    va_start(args, format);
    buf_vprintf(&result->first, format, args);
    va_end(args);
}

void verify_skip(struct verify_result *result, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vprintf(&result->skipped, format, args);
    va_end(args);
}

/* ---- checking ---- */

static bool is_chosen(const struct verify *verify, const char *name) {
    if (!verify->only)
        return true;
    for (struct str rest = str_from(verify->only); rest.ptr;)
        if (str_eq(str_cut(rest, ',', &rest), str_from(name)))
            return true;
    return false;
}

static void checks_begin(struct verify *verify) {
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        struct verify_running *running = &verify->running[i];
        running->check = checks[i];
        if (!is_chosen(verify, checks[i]->name))
            continue;
        running->on = true;
        if (checks[i]->begin)
            running->state = checks[i]->begin(&verify->options, &running->result);
        running->on = !running->result.skipped.len;
    }
}

static void checks_finish(struct verify *verify) {
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        struct verify_running *running = &verify->running[i];
        struct err err = {0};
        if (running->on && running->check->finish &&
            !running->check->finish(running->state, &verify->options, &running->result, &err))
            buf_printf(&verify->unchecked[i], "%s", err.detail);
    }
}

static void checks_end(struct verify *verify) {
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        struct verify_running *running = &verify->running[i];
        if (running->state)
            running->check->end(running->state);
        buf_free(&running->result.first);
        buf_free(&running->result.note);
        buf_free(&running->result.skipped);
        buf_free(&verify->unchecked[i]);
    }
}

/* What personal data there is need not be read, and its topic is compacted: it has no sequences. */
static bool ranges_read(struct verify *verify, struct err *err) {
    struct verify_options *options = &verify->options;
    size_t count;
    if (!reader_ranges(options->log, NULL, 0, &verify->ranges, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!str_eq(verify->ranges[i].topic, STR(TOPIC_PERSONAL)))
            verify->ranges[options->range_count++] = verify->ranges[i];
    options->ranges = verify->ranges;
    return true;
}

static bool verify_run(struct verify *verify, struct err *err) {
    struct lag_left left;
    views_groups_left(verify->options.views_url, &left);
    if ((verify->wait_seconds && !lag_wait(verify->options.log, &left, verify->wait_seconds, err)) ||
        !ranges_read(verify, err))
        return false;
    checks_begin(verify);
    if (!verify_pass(&verify->options, verify->running, CHECK_COUNT, err))
        return false;
    checks_finish(verify);
    return true;
}

/* ---- the report ---- */

static void add_named(struct buf *out, const char *before, const char *name, const struct buf *why) {
    buf_printf(out, "%s{\"name\":\"%s\",\"why\":", before, name);
    buf_add_json_string(out, buf_str(why));
    buf_add_char(out, '}');
}

static void report_json(const struct verify *verify, int64_t violations) {
    BUF_AUTO out = {0};
    BUF_AUTO skipped = {0};
    BUF_AUTO unchecked = {0};
    const char *before = "";
    buf_printf(&out, "{\"checks\":[");
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        const struct verify_running *running = &verify->running[i];
        const struct verify_result *result = &running->result;
        if (result->skipped.len)
            add_named(&skipped, skipped.len ? "," : "", running->check->name, &result->skipped);
        if (verify->unchecked[i].len)
            add_named(&unchecked, unchecked.len ? "," : "", running->check->name, &verify->unchecked[i]);
        if (!running->on || (verify->unchecked[i].len && !result->violations))
            continue;
        buf_printf(&out, "%s{\"name\":\"%s\",\"count\":%" PRId64 ",\"violations\":%" PRId64, before,
                   running->check->name, result->count, result->violations);
        if (result->violations) {
            buf_printf(&out, ",\"first\":");
            buf_add_json_string(&out, buf_str(&result->first));
        }
        if (result->note.len) {
            buf_printf(&out, ",\"note\":");
            buf_add_json_string(&out, buf_str(&result->note));
        }
        buf_add_char(&out, '}');
        before = ",";
    }
    buf_printf(&out, "],\"violations\":%" PRId64 ",\"skipped\":[%s],\"unchecked\":[%s]}\n", violations,
               skipped.ptr ? skipped.ptr : "", unchecked.ptr ? unchecked.ptr : "");
    cli_print(&out);
}

static void table_row(struct cli_table *table, const struct verify *verify, size_t i) {
    const struct verify_running *running = &verify->running[i];
    const struct verify_result *result = &running->result;
    const char *verdict = result->violations ? "VIOLATED" : "holds";
    const char *detail = result->violations ? result->first.ptr
                         : result->note.len ? result->note.ptr
                                            : running->check->holds;
    if (result->skipped.len) {
        verdict = "skipped";
        detail = result->skipped.ptr;
    } else if (verify->unchecked[i].len && !result->violations) {
        verdict = "unchecked";
        detail = verify->unchecked[i].ptr;
    }
    cli_table_add(table, "%s", running->check->name);
    cli_table_add(table, "%s", verdict);
    cli_table_add(table, "%" PRId64, result->count);
    cli_table_add(table, "%" PRId64, result->violations);
    cli_table_add(table, "%s", detail);
}

static void report_table(const struct verify *verify) {
    struct cli_table table = {.columns = 5};
    static const char *const heading[] = {"CHECK", "VERDICT", "LOOKED AT", "VIOLATIONS", ""};
    for (size_t i = 0; i < table.columns; i++)
        cli_table_add(&table, "%s", heading[i]);
    for (size_t i = 0; i < CHECK_COUNT; i++)
        if (verify->running[i].on || verify->running[i].result.skipped.len)
            table_row(&table, verify, i);
    cli_table_print(&table, "llrrl");
}

static int report(const struct verify *verify) {
    int64_t violations = 0;
    bool unchecked = false;
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        violations += verify->running[i].result.violations;
        unchecked |= verify->unchecked[i].len > 0;
        if (verify->unchecked[i].len)
            cli_note("%s could not be checked: %s", checks[i]->name, verify->unchecked[i].ptr);
    }
    if (cli_output_is_json(verify->output))
        report_json(verify, violations);
    else
        report_table(verify);
    return violations ? CLI_NO : unchecked ? CLI_USAGE : CLI_OK;
}

/* ---- the command line ---- */

enum {
    OPTION_WAIT = 256,
    OPTION_IN_FLIGHT,
    OPTION_ONLY,
    OPTION_OUTPUT,
    OPTION_LOG,
    OPTION_DATABASE,
    OPTION_REDIS,
    OPTION_PROVIDER
};

static bool only_check(const char *only) {
    for (struct str rest = str_from(only); rest.ptr;) {
        struct str name = str_cut(rest, ',', &rest);
        bool known = false;
        for (size_t i = 0; i < CHECK_COUNT; i++)
            known |= str_eq(name, str_from(checks[i]->name));
        if (!known) {
            cli_usage_error("there is no check '%.*s'", STR_ARG(name));
            return false;
        }
    }
    return true;
}

static bool option_parse(struct verify *verify, int option, const char *argument) {
    switch (option) {
    case OPTION_WAIT:
        return cli_number("--wait", argument, 0, 86400, &verify->wait_seconds);
    case OPTION_IN_FLIGHT:
        return verify->options.in_flight = true;
    case OPTION_ONLY:
        verify->only = argument;
        return only_check(argument);
    case OPTION_OUTPUT:
        return cli_output_parse(argument, &verify->output);
    case OPTION_LOG:
        config_override("ORDERLOG_LOG", argument);
        return true;
    case OPTION_DATABASE:
        config_override("DATABASE_URL", argument);
        return true;
    case OPTION_REDIS:
        config_override("REDIS_URL", argument);
        return true;
    case OPTION_PROVIDER:
        verify->options.provider_url = argument;
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static bool verify_parse(struct verify *verify, int argc, char **argv) {
    static const struct option options[] = {{"wait", required_argument, NULL, OPTION_WAIT},
                                            {"in-flight", no_argument, NULL, OPTION_IN_FLIGHT},
                                            {"only", required_argument, NULL, OPTION_ONLY},
                                            {"output", required_argument, NULL, OPTION_OUTPUT},
                                            {"log", required_argument, NULL, OPTION_LOG},
                                            {"database", required_argument, NULL, OPTION_DATABASE},
                                            {"redis", required_argument, NULL, OPTION_REDIS},
                                            {"provider", required_argument, NULL, OPTION_PROVIDER},
                                            {0}};
    verify->options.provider_url = "";
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!option_parse(verify, option, optarg))
            return false;
    return cli_no_operands(argc, argv);
}

/* A store that is set but cannot be read from where it is said is not one that there is not. */
static bool stores_load(struct verify_options *options, struct err *err) {
    if (!config_optional("DATABASE_URL", &options->database_url, err) ||
        !config_optional("REDIS_URL", &options->redis_url, err))
        return false;
    options->database_url = options->database_url ? options->database_url : "";
    options->redis_url = options->redis_url ? options->redis_url : "";
    return views_url_load(&options->views_url, err);
}

int verify_main(int argc, char **argv) {
    struct verify verify = {0};
    CLI_LOG_AUTO *log = NULL;
    struct err err = {0};
    if (!verify_parse(&verify, argc, argv))
        return CLI_USAGE;
    verify.options.folds = &verify.folds;
    bool ok = stores_load(&verify.options, &err) && cli_log_open(&log, &err);
    verify.options.log = log;
    ok = ok && verify_run(&verify, &err);
    int status = ok ? report(&verify) : cli_fail(&err);
    checks_end(&verify);
    free(verify.ranges);
    return status;
}
