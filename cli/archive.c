/* orderlog archive: the log into a bucket, range by range. */
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/reader.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/logging.h"
#include "core/base/map.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

const char archive_help[] =
    "Usage: orderlog archive --to s3://BUCKET[/PREFIX] [--once [--flush]] [OPTION...]\n"
    "       orderlog archive verify --from s3://BUCKET[/PREFIX] [OPTION...]\n"
    "\n"
    "Copies every topic but shop.personal.v1 to a bucket, as Avro object container files of the log's own order, from\n"
    "which 'orderlog restore' makes the same log again, bit by bit. An object is written once and never changed; "
    "where\n"
    "to go on is read from the bucket, so there is nothing else to be kept, and several may run at once. It runs "
    "until\n"
    "it is told to stop (SIGTERM).\n"
    "\n"
    "A range of a partition is written when it is whole: up to the next multiple of --records, or to where another "
    "hour\n"
    "begins (by the records' time), whichever comes first. What there is of the present hour waits.\n"
    "\n"
    "Options:\n"
    "      --to URL         the bucket, and what its objects' names begin with\n"
    "      --once           end once all whole ranges that the log has now are written\n"
    "      --flush          with --once: ranges that are not whole, too, up to the log's end\n"
    "      --records N      how many records a range holds at most (default: 16384; 1 to 1000000)\n"
    "      --log URL        the log (default: ORDERLOG_LOG)\n"
    "  -h, --help           this text\n"
    "\n"
    "archive verify reads all that is in the bucket and proves that it is without gaps and overlaps, that each record\n"
    "can be read, and, where a log is given, that the two are equal as far as the log still goes back:\n"
    "      --from URL       the bucket\n"
    "      --log URL        the log (default: ORDERLOG_LOG; without both, the bucket alone)\n"
    "      --output json|table\n"
    "                       what was found; table on a terminal, else JSON\n"
    "\n"
    "The bucket: AWS_REGION, AWS credentials as AWS's own tools find them, and AWS_ENDPOINT_URL_S3 for another "
    "service\n"
    "that speaks S3.\n"
    "\n"
    "Exit codes: 0 done, and all is well; 1 verify found what should not be; 2 wrong usage, or it could not be done.\n"
    "\n"
    "Examples:\n"
    "  orderlog archive --to s3://shop-archive/log\n"
    "  orderlog archive --to s3://shop-archive/log --once --flush\n"
    "  orderlog archive verify --from s3://shop-archive/log\n";

enum {
    RECORDS_DEFAULT = 16384,
    RANGE_BYTES = 64 << 20, /* of keys, values and headers: then a range ends sooner */
    PASS_MS = 1000,
    PAUSE_MAX_MS = 60000,
    GRACE_US = 60 * 1000 * 1000, /* how far a log's clock may be behind ours before an hour is split */
};

struct archive_options {
    const char *to;
    bool once, flush;
    int64_t records;
};

/* What is known of a partition. */
struct part {
    int64_t next; /* what comes next into the bucket */
    int64_t hour; /* of the record there; INT64_MIN: not known yet */
};

struct archiver {
    struct archive_options options;
    struct archive_place place;
    struct log *log;
    struct archive_listing listing; /* as it was at the start */
    struct map parts;               /* "topic/partition" */
    struct map told;                /* topics that the bucket describes */
    struct map writers;             /* by topic */
    struct buf object;
    int64_t objects, records, bytes, found;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

/* ---- where to go on ---- */

static const struct archive_object *last_object(const struct archive_listing *listing, struct str topic,
                                                int32_t partition) {
    const struct archive_object *last = NULL;
    for (size_t i = 0; i < listing->count; i = archive_listing_next(listing, i)) {
        const struct archive_name *name = &listing->objects[i].name;
        if (name->partition == partition && str_eq(name->topic, topic))
            last = &listing->objects[archive_listing_next(listing, i) - 1];
    }
    return last;
}

/* The last object of a partition is read beside the log: a bucket that holds another log's records is found out before
 * anything is added to it. */
static bool part_begin(struct archiver *archiver, const struct log_topic *topic, int32_t partition, struct part *part,
                       struct err *err) {
    int64_t low, high;
    const struct archive_object *last = last_object(&archiver->listing, topic->name, partition);
    if (!log_watermarks(archiver->log, topic->name, partition, &low, &high, err))
        return false;
    *part = (struct part){low, INT64_MIN};
    if (last && !archive_match(&archiver->place, last, archiver->log, &part->next, err))
        return false;
    return part->next >= low || err_set(err, ERR_LOST_RECORDS,
                                        "%.*s/%d: the bucket goes to offset %" PRId64 ", and the log begins at %" PRId64
                                        " only: what lies between is lost",
                                        STR_ARG(topic->name), partition, part->next, low);
}

static bool part_find(struct archiver *archiver, const struct log_topic *topic, int32_t partition, struct part **ret,
                      struct err *err) {
    BUF_AUTO name = {0};
    buf_printf(&name, "%.*s/%d", STR_ARG(topic->name), partition);
    *ret = map_get(&archiver->parts, buf_str(&name));
    if (*ret)
        return true;
    struct part begun;
    if (!part_begin(archiver, topic, partition, &begun, err))
        return false;
    *ret = mem_alloc(sizeof **ret);
    **ret = begun;
    *map_put(&archiver->parts, buf_str(&name)) = *ret;
    return true;
}

static struct archive_writer *writer_of(struct archiver *archiver, struct str topic) {
    void **place = map_put(&archiver->writers, topic);
    if (!*place)
        *place = archive_writer_open(topic);
    return *place;
}

/* ---- a range ---- */

static size_t record_bytes(const struct log_record *record) {
    size_t bytes = record->key.len + record->value.len;
    for (size_t i = 0; i < record->header_count; i++)
        bytes += record->headers[i].name.len + record->headers[i].value.len;
    return bytes;
}

/* What leaves gaps that cannot be told from loss, nor be filled again. */
#define OFFSETS_LEFT_OUT                                                                                               \
    "(Kafka leaves some out where a topic is compacted or written in transactions: such a topic "                      \
    "cannot be archived)"

static bool offset_missing(const struct archive_range *range, struct err *err) {
    return err_set(err, ERR_LOST_RECORDS, "%.*s/%d: the log has no offset %" PRId64 " " OFFSETS_LEFT_OUT,
                   STR_ARG(range->topic), range->partition, range->end);
}

/* Reads from the part's next offset up to `until`, or to where the range ends by what the records say. */
static bool range_fill(struct archiver *archiver, struct archive_writer *writer, struct part *part,
                       struct archive_range *range, int64_t until, struct err *err) {
    struct reader *reader;
    const struct log_record *record = NULL;
    size_t bytes = 0;
    const struct reader_range wanted = {range->topic, range->partition, part->next, until};
    if (!reader_open(archiver->log, &wanted, 1, &reader, err))
        return false;
    archive_writer_begin(writer, range->partition, part->next);
    range->first = range->end = part->next;
    bool ok = true, more = true;
    while (more && (ok = reader_next(reader, &record, err)) && record) {
        if (record->offset != range->end) {
            ok = offset_missing(range, err);
            break;
        }
        if (record->offset == range->first)
            part->hour = archive_hour_of(record->timestamp_us);
        bytes += record_bytes(record);
        more =
            archive_hour_of(record->timestamp_us) == part->hour && (bytes <= RANGE_BYTES || range->end == range->first);
        if (!more)
            break;
        if (!(ok = archive_writer_add(writer, record, err)))
            break;
        range->end++;
    }
    reader_close(reader);
    if (ok && !record && range->end < until)
        return offset_missing(range, err);
    return ok || err->kind != ERR_TIMEOUT || err_wrap(err, "the log may have no such offset " OFFSETS_LEFT_OUT);
}

static bool object_find(void *user, struct str key, int64_t bytes, struct err *err) {
    (void)err;
    struct archive_object *ret = user;
    if (str_eq(key, ret->key))
        ret->bytes = bytes;
    return true;
}

/* Somebody else has written the range, or we have, and did not hear of it. */
static bool range_is_there(struct archiver *archiver, struct archive_object *object, struct part *part,
                           struct err *err) {
    object->bytes = -1;
    if (!s3_list(archiver->place.s3, object->key, object_find, object, err))
        return false;
    if (object->bytes < 0)
        return err_set(err, ERR_IO, "%.*s was not written, nor is it there", STR_ARG(object->key));
    archiver->found++;
    return archive_match(&archiver->place, object, archiver->log, &part->next, err);
}

static bool range_write(struct archiver *archiver, struct archive_writer *writer, struct part *part,
                        const struct archive_range *range, struct err *err) {
    BUF_AUTO key = {0};
    enum s3_written written;
    struct archive_object object = {.name = {range->topic, range->partition, range->first, part->hour}};
    archive_name_add(&key, archiver->place.prefix, &object.name);
    object.key = buf_str(&key);
    if (!archive_writer_finish(writer, range, &archiver->object, err) ||
        !s3_put_new(archiver->place.s3, object.key, buf_str(&archiver->object), &written, err))
        return false;
    if (written == S3_EXISTS) {
        if (!range_is_there(archiver, &object, part, err))
            return false;
    } else {
        part->next = range->end;
        archiver->objects++;
        archiver->records += range->end - range->first;
        archiver->bytes += (int64_t)archiver->object.len;
        logging_write(archiver->options.once ? LOG_DEBUG : LOG_INFO, "archive.written", "key=%s records=%lld bytes=%zu",
                      key.ptr, (long long)(range->end - range->first), archiver->object.len);
    }
    part->hour = INT64_MIN;
    return true;
}

/* Whether the hour of the part's next record is over for the log, too: nothing more can come in it. */
static bool hour_is_over(const struct part *part, int64_t now_us) {
    return part->hour != INT64_MIN && archive_hour_of(now_us - GRACE_US) > part->hour;
}

/* The next range, if it is whole; *ret_written says so. The clock is read before the end of the log. */
static bool range_next(struct archiver *archiver, const struct log_topic *topic, int32_t partition, struct part *part,
                       bool *ret_written, struct err *err) {
    int64_t now_us = clock_now_us(), low, high, records = archiver->options.records;
    struct archive_range range = {.topic = topic->name, .partition = partition, .partitions = topic->partitions};
    *ret_written = false;
    if (!log_watermarks(archiver->log, topic->name, partition, &low, &high, err))
        return false;
    int64_t aligned = (part->next / records + 1) * records, until = aligned < high ? aligned : high;
    bool promising =
        archiver->options.flush || high >= aligned || part->hour == INT64_MIN || hour_is_over(part, now_us);
    if (high <= part->next || !promising)
        return true;
    struct archive_writer *writer = writer_of(archiver, topic->name);
    if (!range_fill(archiver, writer, part, &range, until, err))
        return false;
    bool whole = range.end < until || until == aligned || archiver->options.flush || hour_is_over(part, now_us);
    *ret_written = whole;
    return !whole || range_write(archiver, writer, part, &range, err);
}

/* ---- passes ---- */

/* Also of shop.personal.v1: that it is there, and its id, are nobody's secret. */
static bool topic_tell(struct archiver *archiver, const struct log_topic *topic, struct err *err) {
    if (map_get(&archiver->told, topic->name))
        return true;
    if (!archive_topic_tell(&archiver->place, archiver->log, topic, err))
        return false;
    *map_put(&archiver->told, topic->name) = archiver;
    return true;
}

static bool topic_archive(struct archiver *archiver, const struct log_topic *topic, struct err *err) {
    if (!topic_tell(archiver, topic, err))
        return false;
    if (!archive_takes(topic->name))
        return true;
    for (int32_t partition = 0; partition < topic->partitions && !stopping; partition++) {
        struct part *part;
        if (!part_find(archiver, topic, partition, &part, err))
            return false;
        for (bool more = true; more && !stopping;)
            if (!range_next(archiver, topic, partition, part, &more, err))
                return false;
    }
    return true;
}

static bool will_pass(const struct err *err) {
    return err->kind == ERR_IO || err->kind == ERR_TIMEOUT || err->kind == ERR_LOG_UNAVAILABLE;
}

/* A topic that cannot be archived does not hold up the others; the first such error is the pass's. Where the log or the
 * bucket is away, no other topic will do better. */
static bool pass(struct archiver *archiver, struct err *err) {
    struct log_topic *topics = NULL;
    size_t count = 0;
    struct err first = {0};
    if (!log_topics_list(archiver->log, &topics, &count, err))
        return false;
    for (size_t i = 0; i < count && first.kind != ERR_IO && first.kind != ERR_LOG_UNAVAILABLE; i++) {
        struct err one = {0};
        if (!topic_archive(archiver, &topics[i], &one) && (!first.kind || first.kind == ERR_TIMEOUT))
            first = one;
    }
    free(topics);
    return !first.kind || err_set(err, first.kind, "%s", first.detail);
}

static void wait_ms(int64_t ms) {
    for (int64_t until_us = clock_monotonic_us() + ms * 1000; !stopping && clock_monotonic_us() < until_us;)
        clock_sleep_ms(50);
}

static bool run_on(struct archiver *archiver, struct err *err) {
    int64_t pause_ms = PASS_MS;
    while (!stopping) {
        struct err last = {0};
        if (pass(archiver, &last)) {
            pause_ms = PASS_MS;
        } else if (will_pass(&last)) {
            logging_err(&last, "archive.failed", "place=%s", s3_place(archiver->place.s3));
            pause_ms = 2 * pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : PAUSE_MAX_MS;
        } else {
            *err = last;
            return false;
        }
        wait_ms(pause_ms);
    }
    return true;
}

static bool archiver_run(struct archiver *archiver, struct err *err) {
    if (!archive_place_open(archiver->options.to, &archiver->place, err) || !cli_log_open(&archiver->log, err) ||
        !archive_list(&archiver->place, &archiver->listing, err))
        return false;
    if (!archiver->options.once)
        return run_on(archiver, err);
    if (!pass(archiver, err))
        return false;
    cli_note("%" PRId64 " objects of %" PRId64 " records written (%" PRId64 " bytes); %" PRId64 " were there",
             archiver->objects, archiver->records, archiver->bytes, archiver->found);
    return true;
}

static void writer_free(void *writer) {
    archive_writer_close(writer);
}

static void archiver_free(struct archiver *archiver) {
    map_free(&archiver->parts, free);
    map_free(&archiver->told, NULL);
    map_free(&archiver->writers, writer_free);
    archive_listing_free(&archiver->listing);
    archive_place_close(&archiver->place);
    log_close(archiver->log);
    buf_free(&archiver->object);
}

/* ---- the command line ---- */

enum { OPTION_TO = 256, OPTION_ONCE, OPTION_FLUSH, OPTION_RECORDS, OPTION_LOG };

static const struct option options[] = {
    {"to", required_argument, NULL, OPTION_TO},   {"once", no_argument, NULL, OPTION_ONCE},
    {"flush", no_argument, NULL, OPTION_FLUSH},   {"records", required_argument, NULL, OPTION_RECORDS},
    {"log", required_argument, NULL, OPTION_LOG}, {0}};

static bool option_parse(struct archive_options *ret, int option, char *argument) {
    switch (option) {
    case OPTION_TO:
        ret->to = argument;
        return true;
    case OPTION_ONCE:
        return ret->once = true;
    case OPTION_FLUSH:
        return ret->flush = true;
    case OPTION_RECORDS:
        return cli_number("--records", argument, 1, 1000000, &ret->records);
    case OPTION_LOG:
        config_override("ORDERLOG_LOG", argument);
        return true;
    default:
        cli_usage_hint();
        return false;
    }
}

static bool options_parse(struct archive_options *ret, int argc, char **argv) {
    *ret = (struct archive_options){.records = RECORDS_DEFAULT};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!option_parse(ret, option, optarg))
            return false;
    if (!cli_no_operands(argc, argv))
        return false;
    if (!ret->to)
        cli_usage_error("where to? Give --to s3://BUCKET/PREFIX");
    else if (ret->flush && !ret->once)
        cli_usage_error("--flush goes with --once");
    return ret->to && (!ret->flush || ret->once);
}

int archive_main(int argc, char **argv) {
    struct archiver archiver = {0};
    struct err err = {0};
    if (argc > 1 && strcmp(argv[1], "verify") == 0)
        return archive_verify_main(argc - 1, argv + 1);
    if (!options_parse(&archiver.options, argc, argv))
        return CLI_USAGE;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool ok = archiver_run(&archiver, &err);
    archiver_free(&archiver);
    return ok ? CLI_OK : cli_fail(&err);
}
