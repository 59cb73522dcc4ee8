/* orderlog repair: a PostgreSQL that was put back alone, brought up to its log. */
#include "cli/repair.h"

#include "cli/cli.h"
#include "cli/process_settings.h"
#include "core/base/config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

const char repair_help[] =
    "Usage: orderlog repair [OPTION...]\n"
    "\n"
    "Brings a PostgreSQL that was restored from an older backup, while the log went on, up to the log: the deciders'\n"
    "numbers, what they have read and decided since, their tables, deadlines, and open calls to the payment provider.\n"
    "In one transaction: all of it or nothing. The log is only read.\n"
    "\n"
    "First stop every process of orderlog, and see that the log is whole; start the same version afterwards, and run\n"
    "`orderlog verify --wait 60 --provider URL`. docs/operations.md says what can be brought back and what cannot.\n"
    "\n"
    "Options:\n"
    "      --dry-run                  do everything, say what was done, and take it back\n"
    "      --authorizations-checked   authorisations that the log does not know, asked for more than 20 hours ago, "
    "may\n"
    "                                 be asked for again: nothing is held for them at the provider\n"
    "      --output json|table        a table on a terminal, else JSON\n"
    "      --log URL                  the log (default: ORDERLOG_LOG)\n"
    "      --database URL             PostgreSQL (default: DATABASE_URL)\n"
    "  -h, --help                     this text\n"
    "\n"
    "JSON: {\"repaired\",\"records_ahead\",\"parked\",\"shards\":[{\"service\",\"shard\",\"ahead\",\"decided\",\n"
    "       \"commands\",\"rows\",\"timers\",\"calls_made\",\"calls_dropped\"}]}\n"
    "ahead: records of the shard that its row did not know of; decided: inputs that will not be decided again.\n"
    "\n"
    "Settings: ORDERLOG_LOG, DATABASE_URL, ORDERLOG_CURRENCY (USD), ORDERLOG_LOCATIONS (main:0),\n"
    "ORDERLOG_CART_ABANDON_SECONDS.\n"
    "\n"
    "Exit codes: 0 repaired, or there was nothing to repair; 1 with --dry-run: there is; 2 wrong usage, or it could "
    "not\n"
    "be done: then nothing has changed.\n"
    "\n"
    "Examples:\n"
    "  orderlog repair --dry-run\n"
    "  orderlog repair && orderlog up\n";

enum { OPTION_DRY_RUN = 256, OPTION_CHECKED, OPTION_OUTPUT, OPTION_LOG, OPTION_DATABASE };

struct repair_cli {
    struct repair repair;
    struct locations locations;
    enum cli_output output;
    bool done;
};

static bool option_parse(struct repair_cli *cli, int option) {
    switch (option) {
    case OPTION_DRY_RUN:
        return cli->repair.dry_run = true;
    case OPTION_CHECKED:
        return cli->repair.authorizations_checked = true;
    case OPTION_OUTPUT:
        return cli_output_parse(optarg, &cli->output);
    case OPTION_LOG:
        config_override("ORDERLOG_LOG", optarg);
        return true;
    case OPTION_DATABASE:
        config_override("DATABASE_URL", optarg);
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static bool command_line_parse(struct repair_cli *cli, int argc, char **argv) {
    static const struct option options[] = {{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                            {"authorizations-checked", no_argument, NULL, OPTION_CHECKED},
                                            {"output", required_argument, NULL, OPTION_OUTPUT},
                                            {"log", required_argument, NULL, OPTION_LOG},
                                            {"database", required_argument, NULL, OPTION_DATABASE},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!option_parse(cli, option))
            return false;
    return cli_no_operands(argc, argv);
}

/* ---- running ---- */

/* What is on its way from a decider that still runs would be numbered as what comes after it. */
static bool nobody_decides(struct pg *pg, struct err *err) {
    PG_RESULT_AUTO *rows = NULL;
    if (!pg_exec(pg,
                 "SELECT pg_try_advisory_lock(4242011), count(*) FILTER (WHERE application_name IN "
                 "('orderlog-decider', 'orderlog-flush')) FROM pg_stat_activity WHERE datname = current_database()",
                 NULL, &rows, err))
        return false;
    if (!pg_get_bool(rows, 0, 0))
        return err_set(err, ERR_FENCED, "another rebuild or repair is at work");
    return !pg_get_i64(rows, 0, 1) ||
           err_set(err, ERR_FENCED,
                   "a decider has a connection to this database: stop every process of orderlog first");
}

static bool run(struct repair_cli *cli, struct err *err) {
    struct repair *repair = &cli->repair;
    const char *database_url;
    if (!process_shop_load(&repair->shop, &cli->locations, err) ||
        !config_require("DATABASE_URL", &database_url, err) || !cli_log_open(&repair->log, err) ||
        !pg_open(database_url, "SET lock_timeout = '10s'; SET jit = off", &repair->pg, err) ||
        !nobody_decides(repair->pg, err) || !pg_begin(repair->pg, err))
        return false;
    bool ok = repair_shards(repair, err);
    if (!ok || repair->dry_run || !repair->ahead) {
        pg_rollback(repair->pg);
        return ok;
    }
    return cli->done = pg_commit(repair->pg, err);
}

/* ---- saying it ---- */

static void report_json(const struct repair_cli *cli) {
    const struct repair *repair = &cli->repair;
    BUF_AUTO out = {0};
    buf_printf(&out, "{\"repaired\":%s,\"records_ahead\":%" PRId64 ",\"parked\":%" PRId64 ",\"shards\":[",
               cli->done ? "true" : "false", repair->ahead, repair->parked);
    for (size_t i = 0; i < repair->shard_count; i++) {
        const struct repair_shard *shard = &repair->shards[i];
        buf_printf(&out,
                   "%s{\"service\":\"%s\",\"shard\":%d,\"ahead\":%" PRId64 ",\"decided\":%" PRId64
                   ",\"commands\":%" PRId64 ",\"rows\":%" PRId64 ",\"timers\":%" PRId64 ",\"calls_made\":%" PRId64
                   ",\"calls_dropped\":%" PRId64 "}",
                   i ? "," : "", shard->service->decider->service, shard->index, shard->count.ahead,
                   shard->count.decided, shard->count.commands, shard->count.rows, shard->count.timers,
                   shard->count.calls_made, shard->count.calls_dropped);
    }
    buf_printf(&out, "]}\n");
    cli_print(&out);
}

static void report_table(const struct repair_cli *cli) {
    struct cli_table table = {.columns = 9};
    for (const char *const *heading = (const char *const[]){"SERVICE", "SHARD", "AHEAD", "DECIDED", "COMMANDS", "ROWS",
                                                            "TIMERS", "CALLS MADE", "CALLS DROPPED", NULL};
         *heading; heading++)
        cli_table_add(&table, "%s", *heading);
    for (size_t i = 0; i < cli->repair.shard_count; i++) {
        const struct repair_shard *shard = &cli->repair.shards[i];
        const int64_t numbers[] = {
            shard->index,      shard->count.ahead,  shard->count.decided,    shard->count.commands,
            shard->count.rows, shard->count.timers, shard->count.calls_made, shard->count.calls_dropped};
        cli_table_add(&table, "%s", shard->service->decider->service);
        for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
            cli_table_add(&table, "%" PRId64, numbers[n]);
    }
    cli_table_print(&table, "lrrrrrrrr");
}

static void report(const struct repair_cli *cli) {
    const struct repair *repair = &cli->repair;
    if (cli_output_is_json(cli->output))
        report_json(cli);
    else
        report_table(cli);
    if (!repair->ahead)
        cli_note("PostgreSQL knows all that the deciders have said: there is nothing to repair");
    else if (repair->dry_run)
        cli_note("nothing was changed");
    if (repair->ahead && repair->parked)
        cli_note("%" PRId64 " subjects are parked as of the backup: drop what was retried or dropped since "
                 "(orderlog dlq)",
                 repair->parked);
}

static void repair_free(struct repair *repair) {
    for (size_t i = 0; i < repair->shard_count; i++)
        map_free(&repair->shards[i].answered, NULL);
    map_free(&repair->origins, NULL);
    map_free(&repair->requested, NULL);
    map_free(&repair->methods, NULL);
    map_free(&repair->notices, NULL);
    free(repair->shards);
    arena_free(&repair->arena);
    pg_close(repair->pg);
    decider_sql_free(repair->sql);
    cli_log_close(&repair->log);
}

int repair_main(int argc, char **argv) {
    struct repair_cli cli = {0};
    struct err err = {0};
    if (!command_line_parse(&cli, argc, argv))
        return CLI_USAGE;
    arena_init(&cli.repair.arena);
    bool ok = run(&cli, &err);
    if (ok)
        report(&cli);
    int status = !ok ? cli_fail(&err) : cli.repair.dry_run && cli.repair.ahead ? CLI_NO : CLI_OK;
    repair_free(&cli.repair);
    return status;
}
