/* orderlog: one binary, a table of subcommands. */
#include "cli/cli.h"
#include "cli/kafka_auth.h"
#include "cli/lambda.h"
#include "cli/secrets.h"
#include "cli/wire_ids.h"

#include "core/base/config.h"
#include "core/base/logging.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cli_command commands[] = {
    {"up", "Run every role in one process", up_help, up_main},
    {"api", "Run the HTTP API", api_help, api_main},
    {"consume", "Run deciders", consume_help, consume_main},
    {"project", "Keep read models", project_help, project_main},
    {"tail", "Show records of the log, and follow it", tail_help, tail_main},
    {"export", "Write records of the log to files for analysts' tools", export_help, export_main},
    {"archive", "Copy the log to S3, and check what is there", archive_help, archive_main},
    {"restore", "Fill an empty log from what archive has copied", restore_help, restore_main},
    {"lag", "Show how far each group is behind the log", lag_help, lag_main},
    {"top", "Show live what the running processes do", top_help, top_main},
    {"topics", "List topics, partitions and offsets", topics_help, topics_main},
    {"schemas", "Tell a schema registry what is written, or compare", schemas_help, schemas_main},
    {"verify", "Check that what always holds does hold", verify_help, verify_main},
    {"rebuild", "Make read models and deciders' tables anew from the log, beside the live ones", rebuild_help,
     rebuild_main},
    {"repair", "Bring a PostgreSQL that was put back alone up to its log", repair_help, repair_main},
    {"dlq", "List, retry or drop what the deciders set aside", dlq_help, dlq_main},
    {"payments", "List and retry what stands open with the payment provider", payments_help, payments_main},
    {"feed", "Send shopping baskets through the HTTP API", feed_help, feed_main},
    {"provider", "Run a sandbox payment provider", provider_help, provider_main},
    {"bench", "Measure what an order costs", bench_help, bench_main},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct cli_command *command_find(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void global_help(void) {
    puts("Usage: orderlog COMMAND [OPTION...]\n"
         "       orderlog COMMAND --help\n"
         "       orderlog --version\n"
         "\n"
         "An event-sourced order pipeline on a log.\n"
         "\n"
         "Commands:");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    puts(
        "\n"
        "Settings come from flags, then the environment, then the file named by ORDERLOG_CONFIG (lines KEY=value):\n"
        "  ORDERLOG_LOG   the log's URL, as sqlite:///path/log.db or kafka://host:9092\n"
        "  DATABASE_URL   PostgreSQL, as a libpq URI\n"
        "  REDIS_URL      Redis, as redis[s]://host:port or unix:///path\n"
        "Any may be secretsmanager:NAME#field, asked for anew after ORDERLOG_SECRETS_REFRESH_SECONDS (300).\n"
        "Each command's --help names those that it reads. NO_COLOR turns colours off.\n"
        "\n"
        "Exit codes: 0 done, and what was asked about is so; 1 it is not so, or did not succeed; 2 wrong usage, or it\n"
        "could not be done.\n"
        "\n"
        "Examples:\n"
        "  orderlog topics\n"
        "  orderlog tail -t shop.order.events.v1 -o -10\n"
        "  orderlog lag --output json\n"
        "  orderlog verify --wait 30");
}

static bool is_help(const char *arg) {
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static bool asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

static int help_main(int argc, char **argv) {
    const struct cli_command *command = argc > 1 ? command_find(argv[1]) : NULL;
    if (argc > 1 && !command)
        return cli_usage_error("there is no command '%s'", argv[1]);
    if (command)
        fputs(command->help, stdout);
    else
        global_help();
    return CLI_OK;
}

/* The schemas' own command must work before a registry knows any. */
static bool settings_load(const struct cli_command *command, struct err *err) {
    return config_load(err) && secrets_init(err) && kafka_auth_init(err) &&
           (command->main == schemas_main || wire_ids_init(err));
}

static int command_run(const struct cli_command *command, int argc, char **argv) {
    if (asks_for_help(argc, argv)) {
        fputs(command->help, stdout);
        return CLI_OK;
    }
    BUF_AUTO name = {0};
    buf_printf(&name, "orderlog %s", command->name);
    cli_set_name(name.ptr);
    argv[0] = name.ptr;
    struct err err = {0};
    logging_init(LOG_INFO);
    int status = settings_load(command, &err) ? command->main(argc, argv) : cli_fail(&err);
    cli_set_name("orderlog");
    return status;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2)
        return cli_usage_error("a command is missing");
    if (is_help(argv[1])) {
        global_help();
        return CLI_OK;
    }
    if (strcmp(argv[1], "help") == 0)
        return help_main(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0) {
        puts("orderlog " ORDERLOG_VERSION);
        return CLI_OK;
    }
    const struct cli_command *command = command_find(argv[1]);
    return command ? command_run(command, argc - 1, argv + 1)
                   : cli_usage_error(argv[1][0] == '-' ? "unknown option '%s'" : "there is no command '%s'", argv[1]);
}

/* As AWS Lambda starts it: by that name, and without an argument. */
static bool is_bootstrap(int argc, char **argv) {
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    return argc == 1 && strcmp(slash ? slash + 1 : argv[0], "bootstrap") == 0;
}

int main(int argc, char **argv) {
    int status = is_bootstrap(argc, argv) ? lambda_main() : dispatch(argc, argv);
    /* What could not be written was not done, whatever the command thinks. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_note("cannot write to standard output: %s", strerrordesc_np(errno));
        return CLI_USAGE;
    }
    return status;
}
