/* orderlog topics: what is in the log. */
#include "cli/cli.h"

#include "core/base/config.h"
#include "producers/topics.h"

#include <inttypes.h>
#include <stdlib.h>

const char topics_help[] =
    "Usage: orderlog topics [--output json|table] [--log URL]\n"
    "       orderlog topics apply [--log URL]\n"
    "       orderlog topics diff [--output json|table] [--log URL]\n"
    "\n"
    "Lists the log's topics with the offsets of each partition: `low`, the first record kept; `high`, the offset that\n"
    "the next record will get; and how many offsets lie between them.\n"
    "\n"
    "apply makes those of the shop's topics that are missing, each with ORDERLOG_PARTITIONS partitions (4), and sets "
    "those\n"
    "that stand as they should be set (on Kafka: retention.ms, cleanup.policy, min.insync.replicas and the like). It\n"
    "refuses a log whose topics have another number of partitions: that can never be changed.\n"
    "\n"
    "diff shows what is otherwise, and whether apply would mend it.\n"
    "\n"
    "On Kafka a topic has ORDERLOG_KAFKA_REPLICATION replicas (3, or as many as there are brokers), of which\n"
    "ORDERLOG_KAFKA_MIN_INSYNC (2, or 1) must have a record before it is acknowledged.\n"
    "\n"
    "Options:\n"
    "  --output json|table  a table on a terminal, else JSON\n"
    "  --log URL            the log (default: ORDERLOG_LOG)\n"
    "  -h, --help           this text\n"
    "\n"
    "JSON: "
    "{\"topics\":[{\"topic\",\"records\",\"partitions\":[{\"partition\",\"low\",\"high\",\"records\"}]}],\"total\":N}\n"
    "\n"
    "diff: {\"drift\":[{\"topic\",\"what\",\"wanted\",\"found\",\"mendable\"}]}; what: topic (it is missing), "
    "partitions,\n"
    "replication, or a setting.\n"
    "\n"
    "Exit codes: 0 done; 1 diff found something; 2 wrong usage, or the log could not be read or written.\n"
    "\n"
    "Examples:\n"
    "  orderlog topics\n"
    "  orderlog topics apply --log kafka://127.0.0.1:9092\n"
    "  orderlog topics diff --output table\n"
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

static bool partitions_wanted(int32_t *ret, struct err *err) {
    int64_t partitions;
    if (!config_int("ORDERLOG_PARTITIONS", 4, 1, 1024, &partitions, err))
        return false;
    *ret = (int32_t)partitions;
    return true;
}

static int apply(void) {
    CLI_LOG_AUTO *log = NULL;
    struct err err = {0};
    const struct log_options options = {0};
    const char *url;
    int32_t partitions;
    if (!config_require("ORDERLOG_LOG", &url, &err) || !partitions_wanted(&partitions, &err) ||
        !log_open(url, &options, &log, &err) || !topics_apply(log, partitions, &err))
        return cli_fail(&err);
    return CLI_OK;
}

struct drift {
    struct cli_table table;
    struct buf json;
    size_t count;
};

static void drift_add(void *user, const char *topic, const char *what, const char *wanted, const char *found,
                      bool mendable) {
    struct drift *drift = user;
    const char *const names[] = {"topic", "what", "wanted", "found"}, *const values[] = {topic, what, wanted, found};
    buf_printf(&drift->json, "%s{", drift->count++ ? "," : "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        buf_printf(&drift->json, "\"%s\":", names[i]);
        buf_add_json_string(&drift->json, str_from(values[i]));
        buf_add_char(&drift->json, ',');
        cli_table_add(&drift->table, "%s", *values[i] ? values[i] : "-");
    }
    buf_printf(&drift->json, "\"mendable\":%s}", mendable ? "true" : "false");
    cli_table_add(&drift->table, "%s", mendable ? "yes" : "no");
}

static bool drift_find(struct drift *drift, struct err *err) {
    CLI_LOG_AUTO *log = NULL;
    int32_t partitions;
    static const char *const heading[] = {"TOPIC", "WHAT", "WANTED", "FOUND", "MENDABLE"};
    drift->table.columns = sizeof heading / sizeof heading[0];
    for (size_t i = 0; i < drift->table.columns; i++)
        cli_table_add(&drift->table, "%s", heading[i]);
    return partitions_wanted(&partitions, err) && cli_log_open(&log, err) &&
           topics_diff(log, partitions, drift_add, drift, err);
}

static int diff(enum cli_output output) {
    struct drift drift = {0};
    struct err err = {0};
    BUF_AUTO out = {0};
    bool ok = drift_find(&drift, &err);
    if (ok && cli_output_is_json(output)) {
        buf_printf(&out, "{\"drift\":[%.*s]}\n", STR_ARG(buf_str(&drift.json)));
        cli_print(&out);
    } else if (ok && drift.count) {
        cli_table_print(&drift.table, "lllll");
    }
    buf_free(&drift.json);
    buf_free(&drift.table.cells);
    return !ok ? cli_fail(&err) : drift.count ? CLI_NO : CLI_OK;
}

/* The word is taken out, so that the rest is options as for the list. */
static bool take_word(int *argc, char **argv, const char *word) {
    if (*argc < 2 || strcmp(argv[1], word) != 0)
        return false;
    memmove(&argv[1], &argv[2], (size_t)(*argc - 1) * sizeof *argv);
    --*argc;
    return true;
}

int topics_main(int argc, char **argv) {
    enum cli_output output = CLI_AUTO;
    bool applies = take_word(&argc, argv, "apply"), compares = !applies && take_word(&argc, argv, "diff");
    int status = cli_log_and_output(argc, argv, &output);
    if (status != CLI_OK)
        return status;
    if (applies)
        return apply();
    if (compares)
        return diff(output);
    struct listing listing = {0};
    struct err err = {0};
    bool ok = topics_list(&listing, &err);
    if (ok)
        listing_print(&listing, output);
    buf_free(&listing.json);
    buf_free(&listing.table.cells);
    return ok ? CLI_OK : cli_fail(&err);
}
