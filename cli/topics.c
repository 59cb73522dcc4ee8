/* orderlog topics: what is in the log. */
#include "cli/cli.h"

#include "core/base/config.h"
#include "producers/topics.h"

#include <inttypes.h>
#include <stdlib.h>

const char topics_help[] =
    "Usage: orderlog topics [--output json|table] [--log URL]\n"
    "       orderlog topics apply [--log URL]\n"
    "\n"
    "Lists the log's topics with the offsets of each partition: `low`, the first record kept; `high`, the offset that\n"
    "the next record will get; and how many offsets lie between them.\n"
    "\n"
    "apply makes those of the shop's topics that are missing, each with ORDERLOG_PARTITIONS partitions (4). It refuses "
    "a\n"
    "log whose topics have another number: that can never be changed.\n"
    "\n"
    "Options:\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --log URL            the log (default: ORDERLOG_LOG)\n"
    "  -h, --help           this text\n"
    "\n"
    "JSON: "
    "{\"topics\":[{\"topic\",\"records\",\"partitions\":[{\"partition\",\"low\",\"high\",\"records\"}]}],\"total\":N}\n"
    "\n"
    "Exit codes: 0 done; 2 wrong usage, or the log could not be read.\n"
    "\n"
    "Examples:\n"
    "  orderlog topics\n"
    "  orderlog topics apply --log kafka://127.0.0.1:9092\n"
    "  orderlog topics --output json | jq -r '.topics[] | \"\\(.topic) \\(.records)\"'\n";

struct listing {
    struct cli_table table;
    struct buf json;
    int64_t total;
};

static bool topic_list(struct listing *listing, struct log *log, const struct log_topic *topic, struct err *err) {
    BUF_AUTO partitions = {0};
    int64_t records = 0;
    for (int32_t i = 0; i < topic->partitions; i++) {
        int64_t low, high;
        if (!log_watermarks(log, topic->name, i, &low, &high, err))
            return false;
        records += high - low;
        buf_printf(&partitions, "%s{\"partition\":%d,\"low\":%" PRId64 ",\"high\":%" PRId64 ",\"records\":%" PRId64 "}",
                   i ? "," : "", i, low, high, high - low);
        cli_table_add(&listing->table, "%.*s", STR_ARG(topic->name));
        cli_table_add(&listing->table, "%d", i);
        cli_table_add(&listing->table, "%" PRId64, low);
        cli_table_add(&listing->table, "%" PRId64, high);
        cli_table_add(&listing->table, "%" PRId64, high - low);
    }
    buf_printf(&listing->json, "%s{\"topic\":", listing->json.len ? "," : "");
    buf_add_json_string(&listing->json, topic->name);
    buf_printf(&listing->json, ",\"records\":%" PRId64 ",\"partitions\":[%.*s]}", records,
               STR_ARG(buf_str(&partitions)));
    listing->total += records;
    return true;
}

static bool topics_list(struct listing *listing, struct err *err) {
    CLI_LOG_AUTO *log = NULL;
    struct log_topic *topics = NULL;
    size_t count = 0;
    if (!cli_log_open(&log, err) || !log_topics_list(log, &topics, &count, err))
        return false;
    static const char *const heading[] = {"TOPIC", "PARTITION", "LOW", "HIGH", "RECORDS"};
    listing->table.columns = sizeof heading / sizeof heading[0];
    for (size_t i = 0; i < listing->table.columns; i++)
        cli_table_add(&listing->table, "%s", heading[i]);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = topic_list(listing, log, &topics[i], err);
    free(topics);
    return ok;
}

static void listing_print(struct listing *listing, enum cli_output output) {
    BUF_AUTO out = {0};
    if (cli_output_is_json(output)) {
        buf_printf(&out, "{\"topics\":[%.*s],\"total\":%" PRId64 "}\n", STR_ARG(buf_str(&listing->json)),
                   listing->total);
        cli_print(&out);
    } else {
        cli_table_print(&listing->table, "lrrrr");
    }
}

static int apply(void) {
    CLI_LOG_AUTO *log = NULL;
    struct err err = {0};
    const struct log_options options = {0};
    const char *url;
    int64_t partitions;
    if (!config_require("ORDERLOG_LOG", &url, &err) ||
        !config_int("ORDERLOG_PARTITIONS", 4, 1, 1024, &partitions, &err) || !log_open(url, &options, &log, &err) ||
        !topics_create(log, (int32_t)partitions, &err))
        return cli_fail(&err);
    return CLI_OK;
}

/* "apply" is taken out, so that the rest is options as for the list. */
static bool take_word(int *argc, char **argv, const char *word) {
    if (*argc < 2 || strcmp(argv[1], word) != 0)
        return false;
    memmove(&argv[1], &argv[2], (size_t)(*argc - 1) * sizeof *argv);
    --*argc;
    return true;
}

int topics_main(int argc, char **argv) {
    enum cli_output output = CLI_AUTO;
    bool applies = take_word(&argc, argv, "apply");
    int status = cli_log_and_output(argc, argv, &output);
    if (status != CLI_OK)
        return status;
    if (applies)
        return apply();
    struct listing listing = {0};
    struct err err = {0};
    bool ok = topics_list(&listing, &err);
    if (ok)
        listing_print(&listing, output);
    buf_free(&listing.json);
    buf_free(&listing.table.cells);
    return ok ? CLI_OK : cli_fail(&err);
}
