/* orderlog tail: show records of the log, and follow it. */
#include "cli/cli.h"
#include "cli/reader.h"
#include "cli/sequences.h"
#include "cli/tail_print.h"
#include "cli/tail_start.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/log/envelope.h"
#include "gen/types.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

const char tail_help[] =
    "Usage: orderlog tail [-t TOPIC[,TOPIC...]] [OPTION...]\n"
    "\n"
    "Shows the records of topics, with their events decoded, and follows the log until it is stopped. What is there\n"
    "at the start is shown in the order of time across partitions (and by offset within each); what comes later, as\n"
    "it comes, in order within each partition.\n"
    "\n"
    "A decider may append an output twice; the second one, whose number (origin, origin_seq) was shown before, is "
    "left\n"
    "out unless --raw is given. Where reading begins in the middle, the first number seen is taken as it is.\n"
    "\n"
    "Which records:\n"
    "  -t, --topic TOPIC[,...]  these topics (default: all but shop.personal.v1, which holds personal data)\n"
    "  -p, --partition N        only this partition\n"
    "  -o, --offset WHERE       where to begin, in each partition (default: beginning):\n"
    "                             beginning | end      the first record kept | only what comes from now on\n"
    "                             -N                   the last N records\n"
    "                             OFFSET               this offset, or the nearest there is\n"
    "                             s@TIME               the first record at or after TIME\n"
    "                             e@TIME               stop before the first record at or after TIME (with any other)\n"
    "                           TIME: milliseconds since the epoch, or RFC 3339 as 2026-01-31T23:59:59Z\n"
    "  -c, --count N            stop after N records shown\n"
    "  -e, --exit               stop at the end that the log has now\n"
    "  -k, --key KEY            only records with this key\n"
    "  -s, --subject SUBJECT    only those about this cart, order or SKU (ce_subject)\n"
    "      --type NAME          only this type, as OrderPlaced or shop.order.v1.OrderPlaced\n"
    "      --command ID         only what came of this command (command_id; for the API's records also ce_id)\n"
    "      --raw                duplicates too\n"
    "\n"
    "How they are shown:\n"
    "      --output json|table  JSON lines, or a table (default: a table on a terminal, else JSON)\n"
    "  -f, --format FORMAT      by a format: %t topic, %p partition, %o offset, %k key, %K its length, %s event as "
    "JSON,\n"
    "                           %S length of the value, %h headers, %T timestamp in ms, %% percent; \\n \\r \\t \\0 "
    "\\\\ \\xHH\n"
    "      --values hex         JSON: adds \"value_hex\"; a format: %s is the value's bytes in hex; a table: adds "
    "them\n"
    "      --log URL            the log (default: ORDERLOG_LOG)\n"
    "  -h, --help               this text\n"
    "\n"
    "A JSON line: "
    "{\"topic\",\"partition\",\"offset\",\"timestamp\",\"key\",\"type\",\"headers\":{...},\"event\":{...}}; \"event\" "
    "is\n"
    "null for a tombstone, and, with an \"error\", for what cannot be decoded.\n"
    "\n"
    "Exit codes: 0 done; 2 wrong usage, or the log could not be read.\n"
    "\n"
    "Examples:\n"
    "  orderlog tail -t shop.order.events.v1 -o end                 # follow the orders\n"
    "  orderlog tail -s 0193c1f7-8a51-8c3e-9f00-1b2c3d4e5f60 -e     # all about one order\n"
    "  orderlog tail --command 0193c1f7-5d2e-8a10-b000-aabbccddeeff -e   # all that came of one command\n"
    "  orderlog tail -t shop.stock.events.v1 -o -5 -e -f '%T %k %s\\n'\n"
    "  orderlog tail -o s@2026-01-31T00:00:00Z -o e@2026-02-01T00:00:00Z --type OrderRejected\n";

enum { FOLLOW_BATCH = 1000, FOLLOW_POLL_MS = 200, FLUSH_BYTES = 64 * 1024 };

struct tail {
    /* the command line */
    struct str *topics;
    size_t topic_count;
    int64_t partition; /* -1: all */
    struct tail_start start;
    int64_t count; /* records to show; -1: no end */
    bool exit_at_end;
    struct str key, subject, type, command; /* ptr NULL: any */
    bool raw;
    enum cli_output output;
    struct tail_style style;
    /* at work */
    struct log *log;
    struct reader_range *ranges;
    size_t range_count;
    struct sequences sequences;
    struct arena scratch;
    struct buf out;
    int64_t shown;
};

/* ---- one record ---- */

static bool type_matches(struct str type, struct str wanted) {
    if (!type.ptr || str_eq(type, wanted))
        return type.ptr != NULL;
    return type.len > wanted.len && str_ends_with(type, wanted) && type.ptr[type.len - wanted.len - 1] == '.';
}

static bool matches(const struct tail *tail, const struct envelope *envelope) {
    return (!tail->key.ptr || (envelope->key.ptr && str_eq(envelope->key, tail->key))) &&
           (!tail->subject.ptr || (envelope->subject.ptr && str_eq(envelope->subject, tail->subject))) &&
           (!tail->type.ptr || type_matches(envelope->type, tail->type)) &&
           (!tail->command.ptr || (envelope->command_id.ptr && str_eq(envelope->command_id, tail->command)));
}

static bool is_complete(const struct tail *tail) {
    return tail->count >= 0 && tail->shown >= tail->count;
}

static void record_show(struct tail *tail, const struct log_record *record) {
    struct envelope envelope;
    int64_t last;
    /* What its headers say is shown as far as it could be read, also when they are not whole. */
    bool whole = envelope_read(record, &envelope, NULL);
    if (is_complete(tail))
        return;
    if (whole && !tail->raw && sequences_take(&tail->sequences, &envelope, &last) == SEQUENCE_DUPLICATE)
        return;
    if (!matches(tail, &envelope))
        return;
    tail_print(&tail->style, record, &envelope, &tail->scratch, &tail->out);
    tail->shown++;
}

/* ---- the two parts: what is there, and what comes ---- */

static bool history_show(struct tail *tail, struct err *err) {
    struct reader *reader;
    if (!reader_open(tail->log, tail->ranges, tail->range_count, &reader, err))
        return false;
    const struct log_record *record;
    bool ok = true;
    while (ok && !is_complete(tail)) {
        ok = reader_next(reader, &record, err);
        if (!ok || !record)
            break;
        record_show(tail, record);
        if (tail->out.len > FLUSH_BYTES)
            cli_print(&tail->out);
    }
    reader_close(reader);
    cli_print(&tail->out);
    fflush(stdout);
    return ok;
}

static bool follow_is_over(const struct tail *tail) {
    return is_complete(tail) || ferror(stdout) || (tail->start.has_end && clock_now_us() >= tail->start.end_us);
}

static bool follow_batch(struct tail *tail, struct log_consumer *consumer, struct err *err) {
    struct log_batch batch;
    if (!log_consumer_poll(consumer, FOLLOW_BATCH, FOLLOW_POLL_MS, &batch, err))
        return false;
    for (size_t i = 0; i < batch.count; i++)
        if (!tail->start.has_end || batch.records[i].timestamp_us < tail->start.end_us)
            record_show(tail, &batch.records[i]);
    cli_print(&tail->out);
    fflush(stdout);
    return true;
}

static bool follow(struct tail *tail, struct err *err) {
    struct log_consumer *consumer;
    if (!log_consumer_open_manual(tail->log, &consumer, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < tail->range_count; i++)
        ok = log_consumer_seek(consumer, tail->ranges[i].topic, tail->ranges[i].partition, tail->ranges[i].to, err);
    while (ok && !follow_is_over(tail))
        ok = follow_batch(tail, consumer, err);
    log_consumer_close(consumer);
    return ok;
}

/* ---- which partitions ---- */

static bool range_is_wanted(const struct tail *tail, const struct reader_range *range) {
    if (tail->partition >= 0 && range->partition != tail->partition)
        return false;
    return tail->topic_count || !str_eq(range->topic, STR(TOPIC_PERSONAL));
}

static bool ranges_choose(struct tail *tail, struct err *err) {
    size_t count, kept = 0;
    if (!reader_ranges(tail->log, tail->topics, tail->topic_count, &tail->ranges, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (range_is_wanted(tail, &tail->ranges[i]))
            tail->ranges[kept++] = tail->ranges[i];
    tail->range_count = kept;
    if (!kept && tail->partition >= 0)
        return err_set(err, ERR_NOT_FOUND, "no topic here has a partition %lld", (long long)tail->partition);
    for (size_t i = 0; i < kept; i++)
        if (!tail_start_apply(&tail->start, tail->log, &tail->ranges[i], err))
            return false;
    return true;
}

static bool tail_run(struct tail *tail, struct err *err) {
    CLI_LOG_AUTO *log = NULL;
    if (!cli_log_open(&log, err))
        return false;
    tail->log = log;
    if (!ranges_choose(tail, err) || !history_show(tail, err))
        return false;
    return tail->exit_at_end || follow_is_over(tail) || follow(tail, err);
}

/* ---- the command line ---- */

static void topics_add(struct tail *tail, const char *list) {
    for (struct str rest = str_from(list); rest.ptr;) {
        struct str topic = str_cut(rest, ',', &rest);
        if (!topic.len)
            continue;
        tail->topics = mem_realloc(tail->topics, (tail->topic_count + 1) * sizeof *tail->topics);
        tail->topics[tail->topic_count++] = topic;
    }
}

enum { OPTION_TYPE = 256, OPTION_COMMAND, OPTION_RAW, OPTION_OUTPUT, OPTION_VALUES, OPTION_LOG };

static const struct option options[] = {{"topic", required_argument, NULL, 't'},
                                        {"partition", required_argument, NULL, 'p'},
                                        {"offset", required_argument, NULL, 'o'},
                                        {"count", required_argument, NULL, 'c'},
                                        {"exit", no_argument, NULL, 'e'},
                                        {"key", required_argument, NULL, 'k'},
                                        {"subject", required_argument, NULL, 's'},
                                        {"format", required_argument, NULL, 'f'},
                                        {"type", required_argument, NULL, OPTION_TYPE},
                                        {"command", required_argument, NULL, OPTION_COMMAND},
                                        {"raw", no_argument, NULL, OPTION_RAW},
                                        {"output", required_argument, NULL, OPTION_OUTPUT},
                                        {"values", required_argument, NULL, OPTION_VALUES},
                                        {"log", required_argument, NULL, OPTION_LOG},
                                        {0}};

static bool filter_parse(struct tail *tail, int option, const char *argument) {
    struct str text = str_from(argument);
    if (option == 'k')
        tail->key = text;
    else if (option == 's')
        tail->subject = text;
    else if (option == OPTION_TYPE)
        tail->type = text;
    else if (option == OPTION_COMMAND)
        tail->command = text;
    else
        return false;
    return true;
}

static bool style_parse(struct tail *tail, int option, const char *argument) {
    char bad;
    if (option == 'f') {
        tail->style.format = argument;
        if (tail_format_check(argument, &bad))
            return true;
        cli_usage_error("-f '%s' holds a %c sequence that is not known", argument, bad);
        return false;
    }
    if (strcmp(argument, "hex") != 0) {
        cli_usage_error("--values must be hex, not '%s'", argument);
        return false;
    }
    tail->style.hex = true;
    return true;
}

static bool option_parse(struct tail *tail, int option, char *argument) {
    switch (option) {
    case 't':
        topics_add(tail, argument);
        return true;
    case 'p':
        return cli_number("-p", argument, 0, INT32_MAX, &tail->partition);
    case 'o':
        if (tail_start_parse(argument, &tail->start))
            return true;
        cli_usage_error("-o must be beginning, end, -N, an offset, s@TIME or e@TIME, not '%s'", argument);
        return false;
    case 'c':
        return cli_number("-c", argument, 0, INT64_MAX, &tail->count);
    case 'e':
        return tail->exit_at_end = true;
    case OPTION_RAW:
        return tail->raw = true;
    case OPTION_OUTPUT:
        return cli_output_parse(argument, &tail->output);
    case OPTION_LOG:
        config_override("ORDERLOG_LOG", argument);
        return true;
    case 'f':
    case OPTION_VALUES:
        return style_parse(tail, option, argument);
    default:
        if (filter_parse(tail, option, argument))
            return true;
        cli_usage_hint();
        return false;
    }
}

static bool tail_parse(struct tail *tail, int argc, char **argv) {
    for (int option; (option = getopt_long(argc, argv, "t:p:o:c:ek:s:f:", options, NULL)) != -1;)
        if (!option_parse(tail, option, optarg))
            return false;
    if (!cli_no_operands(argc, argv) || !tail_start_check(&tail->start))
        return false;
    if (tail->style.format && tail->output != CLI_AUTO) {
        cli_usage_error("-f and --output exclude each other");
        return false;
    }
    tail->style.json = cli_output_is_json(tail->output);
    tail->style.color = cli_output_has_color();
    tail->style.columns = cli_output_columns();
    return true;
}

int tail_main(int argc, char **argv) {
    struct tail tail = {.partition = -1, .count = -1};
    struct err err = {0};
    arena_init(&tail.scratch);
    int status = CLI_USAGE;
    if (tail_parse(&tail, argc, argv))
        status = tail_run(&tail, &err) ? CLI_OK : cli_fail(&err);
    sequences_free(&tail.sequences);
    arena_free(&tail.scratch);
    buf_free(&tail.out);
    free(tail.ranges);
    free(tail.topics);
    return status;
}
