/* The command line of orderlog export. */
#include "cli/cli.h"
#include "cli/export.h"
#include "core/base/config.h"
#include "gen/types.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

const char export_help[] =
    "Usage: orderlog export [-t TOPIC[,TOPIC...]] [-O FILE|FOLDER|-] [OPTION...]\n"
    "\n"
    "Writes the records of topics, with their events decoded, to files that Python, pandas, DuckDB and other tools "
    "read.\n"
    "Within a file they are in the order of time, and by offset within each partition. The same range gives the same\n"
    "bytes. A file is there whole or not at all.\n"
    "\n"
    "A decider may append an output twice; the second one, whose number (origin, origin_seq) came before, is left out\n"
    "unless --raw is given. Where reading begins in the middle, up to 10000 records before it are looked at for that.\n"
    "shop.personal.v1 is never exported: what is erased there could not be erased from a file.\n"
    "\n"
    "Which records:\n"
    "  -t, --topic TOPIC[,...]  these topics (default: all but shop.personal.v1)\n"
    "  -p, --partition N        only this partition\n"
    "  -o, --offset WHERE       where to begin, in each partition (default: beginning):\n"
    "                             beginning            the first record kept\n"
    "                             -N                   the last N records\n"
    "                             OFFSET               this offset, or the nearest there is\n"
    "                             s@TIME               the first record at or after TIME\n"
    "                             e@TIME               end before the first record at or after TIME (with any other)\n"
    "                           TIME: milliseconds since the epoch, or RFC 3339 as 2026-01-31T23:59:59Z\n"
    "      --until OFFSET       end before this offset, in each partition (default: the end that the log has now)\n"
    "      --raw                duplicates too\n"
    "\n"
    "Where to, and how:\n"
    "  -O, --out FILE           this file; - is standard output (default)\n"
    "      --out FOLDER         a file for each topic, TOPIC.jsonl or TOPIC.avro, in a folder that is there\n"
    "      --format json|avro   JSON lines, or an Avro object container file, which holds one topic (default: avro for "
    "a\n"
    "                           FILE that ends in .avro, else json)\n"
    "      --codec NAME         of Avro: deflate (default) or null\n"
    "      --force              replace files that are there already\n"
    "      --log URL            the log (default: ORDERLOG_LOG)\n"
    "  -h, --help               this text\n"
    "\n"
    "JSON: lines "
    "{\"topic\",\"partition\",\"offset\",\"timestamp\",\"key\",\"type\",\"headers\":{...},\"event\":{...}}. "
    "\"event\"\n"
    "      is null for a tombstone, and, with \"error\" and \"value_hex\", for what cannot be decoded; a key or header "
    "that\n"
    "      is not UTF-8 has its bytes in \"key_hex\" or \"headers_hex\".\n"
    "Avro: records of the same; the event is a union of the topic's records, with their logical types.\n"
    "\n"
    "Exit codes: 0 done; 1 it was interrupted; 2 wrong usage, or it could not be done. But for 0 there is no new "
    "file.\n"
    "\n"
    "Examples:\n"
    "  orderlog export -t shop.order.events.v1 -O orders.jsonl\n"
    "  orderlog export -t shop.order.events.v1 -O orders.avro -o s@2026-01-31T00:00:00Z -o e@2026-02-01T00:00:00Z\n"
    "  mkdir -p archive && orderlog export --format avro -O archive/ --force\n";

static bool topics_add(struct export_options *ret, const char *list) {
    for (struct str rest = str_from(list); rest.ptr;) {
        struct str topic = str_cut(rest, ',', &rest);
        bool known = !topic.len;
        if (str_eq(topic, STR(TOPIC_PERSONAL))) {
            cli_usage_error("%s is not exported: what is erased there could not be erased from a file", TOPIC_PERSONAL);
            return false;
        }
        for (size_t i = 0; i < ret->topic_count; i++)
            known = known || str_eq(ret->topics[i], topic);
        if (known)
            continue;
        ret->topics = mem_realloc(ret->topics, (ret->topic_count + 1) * sizeof *ret->topics);
        ret->topics[ret->topic_count++] = topic;
    }
    return true;
}

static bool format_parse(struct export_options *ret, const char *text) {
    ret->format = strcmp(text, "json") == 0 ? EXPORT_JSON : strcmp(text, "avro") == 0 ? EXPORT_AVRO : EXPORT_AUTO;
    if (ret->format == EXPORT_AUTO)
        cli_usage_error("--format must be json or avro, not '%s'", text);
    return ret->format != EXPORT_AUTO;
}

static bool codec_parse(struct export_options *ret, const char *text) {
    ret->codec_is_given = true;
    ret->deflate = strcmp(text, "deflate") == 0;
    if (!ret->deflate && strcmp(text, "null") != 0) {
        cli_usage_error("--codec must be deflate or null, not '%s'", text);
        return false;
    }
    return true;
}

static bool start_parse(struct export_options *ret, const char *text) {
    if (tail_start_parse(text, &ret->start) && ret->start.kind != START_END)
        return true;
    cli_usage_error("-o must be beginning, -N, an offset, s@TIME or e@TIME, not '%s'", text);
    return false;
}

enum { OPTION_UNTIL = 256, OPTION_RAW, OPTION_FORMAT, OPTION_CODEC, OPTION_FORCE, OPTION_LOG };

static const struct option options[] = {{"topic", required_argument, NULL, 't'},
                                        {"partition", required_argument, NULL, 'p'},
                                        {"offset", required_argument, NULL, 'o'},
                                        {"until", required_argument, NULL, OPTION_UNTIL},
                                        {"raw", no_argument, NULL, OPTION_RAW},
                                        {"out", required_argument, NULL, 'O'},
                                        {"format", required_argument, NULL, OPTION_FORMAT},
                                        {"codec", required_argument, NULL, OPTION_CODEC},
                                        {"force", no_argument, NULL, OPTION_FORCE},
                                        {"log", required_argument, NULL, OPTION_LOG},
                                        {0}};

static bool option_parse(struct export_options *ret, int option, char *argument) {
    switch (option) {
    case 't':
        return topics_add(ret, argument);
    case 'p':
        return cli_number("-p", argument, 0, INT32_MAX, &ret->partition);
    case 'o':
        return start_parse(ret, argument);
    case OPTION_UNTIL:
        return cli_number("--until", argument, 0, INT64_MAX, &ret->until);
    case OPTION_RAW:
        return ret->raw = true;
    case 'O':
        ret->out = argument;
        return true;
    case OPTION_FORMAT:
        return format_parse(ret, argument);
    case OPTION_CODEC:
        return codec_parse(ret, argument);
    case OPTION_FORCE:
        return ret->force = true;
    case OPTION_LOG:
        config_override("ORDERLOG_LOG", argument);
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static bool options_fit(struct export_options *ret) {
    bool by_offset = ret->until >= 0 && ret->start.kind == START_OFFSET;
    if (!tail_start_check(&ret->start))
        return false;
    if (by_offset && ret->until < ret->start.value) {
        cli_usage_error("--until %" PRId64 " is before the beginning, -o %" PRId64, ret->until, ret->start.value);
        return false;
    }
    if (ret->format == EXPORT_AUTO)
        ret->format = str_ends_with(str_from(ret->out), STR(".avro")) ? EXPORT_AVRO : EXPORT_JSON;
    if (ret->codec_is_given && ret->format != EXPORT_AVRO) {
        cli_usage_error("--codec goes with --format avro");
        return false;
    }
    if (ret->format == EXPORT_AVRO && strcmp(ret->out, "-") == 0 && isatty(STDOUT_FILENO)) {
        cli_usage_error("Avro is not for a terminal: name a file by -O");
        return false;
    }
    return true;
}

bool export_options_parse(struct export_options *ret, int argc, char **argv) {
    *ret = (struct export_options){.partition = -1, .until = -1, .out = "-", .deflate = true};
    for (int option; (option = getopt_long(argc, argv, "t:p:o:O:", options, NULL)) != -1;)
        if (!option_parse(ret, option, optarg))
            return false;
    return cli_no_operands(argc, argv) && options_fit(ret);
}

void export_options_free(struct export_options *given) {
    free(given->topics);
}
