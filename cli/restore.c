/* orderlog restore: a log made again of what an archive holds. */
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/reader.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/log/restore.h"
#include "producers/topics.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

const char restore_help[] =
    "Usage: orderlog restore --from s3://BUCKET[/PREFIX] [--log URL]\n"
    "\n"
    "Fills a log that has no records from a bucket that 'orderlog archive' has written: each record gets the "
    "partition,\n"
    "offset, time, key, headers and value that it had. Read models can be made from it alone; deciders go on if their\n"
    "tables are not ahead of it. What was not archived when the old log was lost is lost; shop.personal.v1 is never\n"
    "archived, and stays empty. Until the log is whole nobody can open it.\n"
    "\n"
    "An embedded log and its topics get the ids that they had: to PostgreSQL and Redis it is the log that they knew. "
    "When\n"
    "it fails, remove what there is and begin again.\n"
    "\n"
    "In Kafka the topics must not be there; restore makes them, with times of the records' own, fills them, and sets "
    "them\n"
    "as 'orderlog topics apply' does. Nobody else may write meanwhile. Started again after it was broken off, it "
    "compares\n"
    "what is there with the archive, and goes on. PostgreSQL and Redis know the cluster by its id, which is given when "
    "its\n"
    "storage is formatted (kafka-storage format --cluster-id); restore says so when it is another one than the "
    "archived\n"
    "log's. What was archived from an embedded log has times that Kafka cannot keep, and is refused.\n"
    "\n"
    "Options:\n"
    "      --from URL  the bucket, and what its objects' names begin with\n"
    "      --log URL   the log (default: ORDERLOG_LOG)\n"
    "  -h, --help      this text\n"
    "\n"
    "The bucket: AWS_REGION, AWS credentials as AWS's own tools find them, and AWS_ENDPOINT_URL_S3 for another "
    "service\n"
    "that speaks S3.\n"
    "\n"
    "Exit codes: 0 done; 2 wrong usage, or it could not be done.\n"
    "\n"
    "Examples:\n"
    "  orderlog restore --from s3://shop-archive/log --log sqlite:///var/lib/orderlog/log.db\n"
    "  orderlog restore --from s3://shop-archive/log --log kafka://127.0.0.1:9092\n";

/* A partition's objects, one after the other. */
struct stream {
    const struct archive_object *objects;
    size_t count, at;
    struct archive_reader *reader;
    const struct log_record *record; /* the next; NULL at the end */
    int64_t end;                     /* of the object before */
};

struct restore {
    const char *from;
    struct archive_place place;
    struct archive_listing listing;
    struct archive_topics topics;
    struct stream *streams;
    size_t count;
    struct log_restore *log;
    bool kept_ids; /* log and topics are called as they were */
    int64_t records;
    int64_t found; /* of an earlier attempt */
    int64_t begun_us;
};

/* ---- streams ---- */

static bool object_open(struct restore *restore, struct stream *stream, struct err *err) {
    const struct archive_object *object = &stream->objects[stream->at];
    if (object->name.first != stream->end)
        return err_set(err, ERR_CORRUPT, "%.*s: the one before ends at offset %" PRId64 "; see orderlog archive verify",
                       STR_ARG(object->key), stream->end);
    if (!archive_reader_open(&restore->place, object->key, object->bytes, &stream->reader, err))
        return false;
    const struct archive_range *range = archive_reader_range(stream->reader);
    stream->end = range->end;
    return (str_eq(range->topic, object->name.topic) && range->partition == object->name.partition &&
            range->first == object->name.first) ||
           err_set(err, ERR_CORRUPT, "%.*s: its name is not its range's", STR_ARG(object->key));
}

static bool stream_next(struct restore *restore, struct stream *stream, struct err *err) {
    stream->record = NULL;
    while (!stream->record && stream->at < stream->count) {
        if (!stream->reader && !object_open(restore, stream, err))
            return false;
        if (!archive_reader_next(stream->reader, &stream->record, err))
            return false;
        if (!stream->record) {
            archive_reader_close(stream->reader);
            stream->reader = NULL;
            stream->at++;
        }
    }
    return true;
}

static bool streams_open(struct restore *restore, struct err *err) {
    const struct archive_listing *listing = &restore->listing;
    if (!listing->count)
        return err_set(err, ERR_NOT_FOUND, "%s: there is no archive at '%.*s'", s3_place(restore->place.s3),
                       STR_ARG(restore->place.prefix));
    if (listing->stranger_count)
        return err_set(err, ERR_CORRUPT, "%s: it is none of an archive's objects", listing->strangers[0]);
    restore->streams = mem_zalloc(listing->count * sizeof *restore->streams);
    for (size_t i = 0, next; i < listing->count; i = next) {
        struct stream *stream = &restore->streams[restore->count++];
        const struct archive_name *name = &listing->objects[i].name;
        next = archive_listing_next(listing, i);
        *stream = (struct stream){.objects = &listing->objects[i], .count = next - i};
        if (!archive_topics_find(&restore->topics, name->topic))
            return err_set(err, ERR_CORRUPT, "the archive does not say what topic %.*s is", STR_ARG(name->topic));
        if (name->first)
            return err_set(err, ERR_CORRUPT,
                           "%.*s/%d: the archive begins at offset %" PRId64 "; a log that is restored begins at 0",
                           STR_ARG(name->topic), name->partition, name->first);
        if (!stream_next(restore, stream, err))
            return false;
    }
    return true;
}

static void streams_close(struct restore *restore) {
    for (size_t i = 0; i < restore->count; i++)
        archive_reader_close(restore->streams[i].reader);
    free(restore->streams);
}

/* ---- topics ---- */

static bool log_open_for(struct restore *restore, const char *url, struct err *err) {
    const struct archive_topics *topics = &restore->topics;
    for (size_t i = 0; i < restore->count; i++)
        if (restore->streams[i].record && !log_restore_check(url, restore->streams[i].record, err))
            return false;
    struct str *names = mem_alloc((topics->count + 1) * sizeof *names);
    for (size_t i = 0; i < topics->count; i++)
        names[i] = str_from(topics->items[i].name);
    bool ok = log_restore_open(url, names, topics->count, &restore->log, err);
    free(names);
    return ok;
}

static bool have_equal_partitions(const struct archive_topics *topics) {
    for (size_t i = 1; i < topics->count; i++)
        if (topics->items[i].partitions != topics->items[0].partitions)
            return false;
    return true;
}

/* With one number of partitions for all the pipeline's own topics are made as it makes them. */
static bool topics_make(struct restore *restore, struct err *err) {
    struct log *log = log_restore_log(restore->log);
    const struct archive_topics *topics = &restore->topics;
    if (have_equal_partitions(topics) && !topics_create(log, topics->items[0].partitions, err))
        return false;
    restore->kept_ids = true;
    for (size_t i = 0; i < topics->count; i++) {
        const struct archive_topic *topic = &topics->items[i];
        const struct log_topic_spec spec = {topic->name, topic->partitions, -1, false};
        bool kept;
        if (!log_topics_create(log, &spec, 1, err) ||
            !log_restore_topic_id(restore->log, str_from(topic->name), str_from(topic->id), &kept, err))
            return false;
        restore->kept_ids &= kept;
    }
    bool kept;
    if (!log_restore_id(restore->log, str_from(topics->items[0].log_id), &kept, err))
        return false;
    restore->kept_ids &= kept;
    return true;
}

/* What was archived says nothing of how topics are set. */
static bool topics_set(struct restore *restore, struct err *err) {
    const struct archive_topics *topics = &restore->topics;
    struct log *log = log_restore_log(restore->log);
    return !have_equal_partitions(topics) || topics_apply(log, topics->items[0].partitions, err);
}

/* ---- what an earlier attempt has left ---- */

static bool stream_compare(struct restore *restore, struct stream *stream, struct reader *reader, int64_t low,
                           int64_t high, struct err *err) {
    const struct log_record *there;
    const char *difference;
    while (stream->record && stream->record->offset < high) {
        if (stream->record->offset >= low) {
            if (!reader_next(reader, &there, err))
                return false;
            if (!there || !archive_record_equal(stream->record, there, &difference))
                return err_set(err, ERR_CORRUPT,
                               "%.*s/%d: offset %" PRId64 " is there already, and is not what the archive has (%s): "
                               "delete the topics, and begin again",
                               STR_ARG(stream->record->topic), stream->record->partition, stream->record->offset,
                               there ? difference : "it has none");
        }
        restore->found++;
        if (!stream_next(restore, stream, err))
            return false;
    }
    return true;
}

static bool stream_go_on(struct restore *restore, struct stream *stream, struct err *err) {
    const struct archive_name *name = &stream->objects[0].name;
    struct log *log = log_restore_log(restore->log);
    struct reader *reader;
    struct log_topic topic;
    int64_t low, high;
    if (!log_topic_find(log, name->topic, &topic, err) ||
        !log_watermarks(log, topic.name, name->partition, &low, &high, err))
        return false;
    if (!high)
        return true;
    const struct reader_range range = {topic.name, name->partition, low, high};
    if (!reader_open(log, &range, 1, &reader, err))
        return false;
    bool ok = stream_compare(restore, stream, reader, low, high, err);
    reader_close(reader);
    if (ok && !stream->record && stream->end < high)
        return err_set(err, ERR_CORRUPT,
                       "%.*s/%d goes to offset %" PRId64 " already, and the archive to %" PRId64 " only",
                       STR_ARG(name->topic), name->partition, high, stream->end);
    return ok;
}

static bool streams_go_on(struct restore *restore, struct err *err) {
    for (size_t i = 0; i < restore->count; i++)
        if (!stream_go_on(restore, &restore->streams[i], err))
            return false;
    return true;
}

/* ---- records ---- */

/* All that the archive has of the oldest time, in the order of the partitions. */
static bool oldest_add(struct restore *restore, bool *ret_more, struct err *err) {
    int64_t oldest_us = INT64_MAX;
    *ret_more = false;
    for (size_t i = 0; i < restore->count; i++) {
        const struct log_record *record = restore->streams[i].record;
        if (record && (!*ret_more || record->timestamp_us < oldest_us))
            oldest_us = record->timestamp_us;
        *ret_more |= record != NULL;
    }
    for (size_t i = 0; i < restore->count; i++) {
        struct stream *stream = &restore->streams[i];
        while (stream->record && stream->record->timestamp_us <= oldest_us) {
            if (!log_restore_add(restore->log, stream->record, err) || !stream_next(restore, stream, err))
                return false;
            restore->records++;
        }
    }
    return true;
}

static bool restore_run(struct restore *restore, struct err *err) {
    const char *url;
    if (!config_require("ORDERLOG_LOG", &url, err))
        return err_wrap(err, "which log? Give --log URL or set ORDERLOG_LOG");
    if (!archive_place_open(restore->from, &restore->place, err) ||
        !archive_list(&restore->place, &restore->listing, err) ||
        !archive_topics_read(&restore->place, &restore->topics, err) || !streams_open(restore, err) ||
        !log_open_for(restore, url, err) || !topics_make(restore, err) || !streams_go_on(restore, err))
        return false;
    for (bool more = true; more;)
        if (!oldest_add(restore, &more, err))
            return false;
    return log_restore_settle(restore->log, err) && topics_set(restore, err) && log_restore_finish(restore->log, err);
}

static void tell(const struct restore *restore) {
    double seconds = (double)(clock_monotonic_us() - restore->begun_us) / 1e6;
    cli_note("%" PRId64 " records of %zu partitions in %.2f s (%.0f records/s)", restore->records, restore->count,
             seconds, (double)restore->records / (seconds + 1e-9));
    if (restore->found)
        cli_note("%" PRId64 " records were there already, and are what the archive has", restore->found);
    if (!restore->kept_ids)
        cli_note("The log or its topics have other ids than the archived log's (%s): PostgreSQL and Redis do not take "
                 "it for the log that they knew",
                 restore->topics.items[0].log_id);
}

static const struct option options[] = {
    {"from", required_argument, NULL, 'f'}, {"log", required_argument, NULL, 'l'}, {0}};

int restore_main(int argc, char **argv) {
    struct restore restore = {.begun_us = clock_monotonic_us()};
    struct err err = {0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'f')
            restore.from = optarg;
        else if (option == 'l')
            config_override("ORDERLOG_LOG", optarg);
        else
            return cli_usage_hint();
    }
    if (!cli_no_operands(argc, argv))
        return CLI_USAGE;
    if (!restore.from)
        return cli_usage_error("where from? Give --from s3://BUCKET/PREFIX");
    bool ok = restore_run(&restore, &err);
    if (ok)
        tell(&restore);
    streams_close(&restore);
    log_restore_close(restore.log);
    archive_listing_free(&restore.listing);
    archive_topics_free(&restore.topics);
    archive_place_close(&restore.place);
    return ok ? CLI_OK : cli_fail(&err);
}
