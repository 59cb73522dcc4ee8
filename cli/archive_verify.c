/* orderlog archive verify: what is in the bucket is whole, and is what the log says. */
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/reader.h"
#include "core/base/config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

enum { FINDINGS_MAX = 50 };

struct archive_check {
    struct archive_place place;
    struct archive_listing listing;
    struct archive_topics topics;
    struct log *log; /* NULL: the bucket alone */
    int64_t objects, records, bytes, compared, partitions;
    int64_t wrong;
    struct buf json; /* of the first findings */
    struct buf text;
};

static void find(struct archive_check *check, struct str key, const char *what) {
    if (++check->wrong > FINDINGS_MAX)
        return;
    buf_printf(&check->json, "%s{\"key\":", check->json.len ? "," : "");
    buf_add_json_string(&check->json, key);
    buf_printf(&check->json, ",\"wrong\":");
    buf_add_json_string(&check->json, str_from(what));
    buf_add_char(&check->json, '}');
    buf_printf(&check->text, "%.*s: %s\n", STR_ARG(key), what);
}

/* What can be wrong in an object is a finding; what keeps us from looking is an error. */
static bool is_finding(const struct err *err) {
    return err->kind == ERR_CORRUPT || err->kind == ERR_LOST_RECORDS || err->kind == ERR_UNKNOWN_SCHEMA ||
           err->kind == ERR_NOT_FOUND;
}

/* Reads all of it: that the records can be read, follow each other, and are of the hour in the name. */
static bool object_read(struct archive_check *check, const struct archive_object *object, int64_t *ret_end,
                        int64_t *ret_last_us, struct err *err) {
    struct archive_reader *reader;
    const struct log_record *record = NULL;
    if (!archive_reader_open(&check->place, object->key, object->bytes, &reader, err))
        return false;
    const struct archive_range *range = archive_reader_range(reader);
    bool ok = (range->first == object->name.first && range->partition == object->name.partition &&
               str_eq(range->topic, object->name.topic)) ||
              err_set(err, ERR_CORRUPT, "its name is not its range's");
    while (ok && (ok = archive_reader_next(reader, &record, err)) && record) {
        if (archive_hour_of(record->timestamp_us) != object->name.hour)
            ok = err_set(err, ERR_CORRUPT, "offset %" PRId64 " is of another hour than its name", record->offset);
        else if (record->timestamp_us < *ret_last_us)
            ok = err_set(err, ERR_CORRUPT, "offset %" PRId64 " is older than the one before", record->offset);
        else
            *ret_last_us = record->timestamp_us;
    }
    *ret_end = range->end;
    check->records += ok ? range->end - range->first : 0;
    archive_reader_close(reader);
    return ok;
}

static bool object_check(struct archive_check *check, const struct archive_object *object, int64_t *end,
                         int64_t *last_us, struct err *err) {
    struct err found = {0};
    int64_t held_end = -1, matched_end;
    check->objects++;
    check->bytes += object->bytes;
    if (*end >= 0 && object->name.first != *end) {
        BUF_AUTO what = {0};
        buf_printf(&what, "it begins at offset %" PRId64 ", and the one before ends at %" PRId64 ": %s",
                   object->name.first, *end, object->name.first > *end ? "a gap" : "an overlap");
        find(check, object->key, what.ptr);
    }
    bool ok = object_read(check, object, &held_end, last_us, &found);
    if (ok && check->log) {
        ok = archive_match(&check->place, object, check->log, &matched_end, &found);
        check->compared += ok;
    }
    *end = held_end;
    if (!ok && is_finding(&found)) {
        find(check, object->key, found.detail);
        return true;
    }
    if (!ok)
        *err = found;
    return ok;
}

/* What the log has and the bucket has not yet is no fault; what neither has is. */
static bool begin_check(struct archive_check *check, const struct archive_object *first, struct err *err) {
    int64_t low, high;
    if (!archive_takes(first->name.topic))
        find(check, first->key, "personal data must not be archived");
    if (!archive_topics_find(&check->topics, first->name.topic))
        find(check, first->key, "the archive does not say what its topic is");
    if (!check->log || first->name.first == 0)
        return true;
    struct err missing = {0};
    if (!log_watermarks(check->log, first->name.topic, first->name.partition, &low, &high, &missing)) {
        if (!is_finding(&missing))
            *err = missing;
        return is_finding(&missing);
    }
    if (low < first->name.first)
        find(check, first->key, "the log has records before it that the bucket has not");
    return true;
}

static bool bucket_check(struct archive_check *check, struct err *err) {
    if (!archive_list(&check->place, &check->listing, err) || !archive_topics_read(&check->place, &check->topics, err))
        return false;
    for (size_t i = 0; i < check->listing.stranger_count; i++)
        find(check, str_from(check->listing.strangers[i]), "it is none of an archive's objects");
    for (size_t i = 0; i < check->listing.count;) {
        size_t next = archive_listing_next(&check->listing, i);
        int64_t end = -1, last_us = INT64_MIN;
        check->partitions++;
        if (!begin_check(check, &check->listing.objects[i], err))
            return false;
        for (; i < next; i++)
            if (!object_check(check, &check->listing.objects[i], &end, &last_us, err))
                return false;
    }
    return true;
}

static void print(struct archive_check *check, enum cli_output output) {
    BUF_AUTO out = {0};
    if (cli_output_is_json(output))
        buf_printf(&out,
                   "{\"ok\":%s,\"objects\":%" PRId64 ",\"partitions\":%" PRId64 ",\"records\":%" PRId64
                   ",\"bytes\":%" PRId64 ",\"compared\":%" PRId64 ",\"wrong\":%" PRId64 ",\"findings\":[%.*s]}\n",
                   check->wrong ? "false" : "true", check->objects, check->partitions, check->records, check->bytes,
                   check->compared, check->wrong, STR_ARG(buf_str(&check->json)));
    else
        buf_printf(&out,
                   "%.*s%" PRId64 " objects of %" PRId64 " partitions, %" PRId64 " records, %" PRId64 " bytes; %" PRId64
                   " objects compared with the log; %" PRId64 " things are wrong\n",
                   STR_ARG(buf_str(&check->text)), check->objects, check->partitions, check->records, check->bytes,
                   check->compared, check->wrong);
    cli_print(&out);
}

enum { OPTION_FROM = 256, OPTION_LOG, OPTION_OUTPUT };

static const struct option options[] = {{"from", required_argument, NULL, OPTION_FROM},
                                        {"log", required_argument, NULL, OPTION_LOG},
                                        {"output", required_argument, NULL, OPTION_OUTPUT},
                                        {0}};

static bool options_parse(int argc, char **argv, const char **ret_from, enum cli_output *ret_output) {
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == OPTION_FROM)
            *ret_from = optarg;
        else if (option == OPTION_LOG)
            config_override("ORDERLOG_LOG", optarg);
        else if (option != OPTION_OUTPUT)
            return cli_usage_hint(), false;
        else if (!cli_output_parse(optarg, ret_output))
            return false;
    }
    if (!cli_no_operands(argc, argv))
        return false;
    if (!*ret_from)
        cli_usage_error("which bucket? Give --from s3://BUCKET/PREFIX");
    return *ret_from != NULL;
}

int archive_verify_main(int argc, char **argv) {
    struct archive_check check = {0};
    struct err err = {0};
    const char *from = NULL;
    enum cli_output output = CLI_AUTO;
    argv[0] = (char *)"orderlog archive verify";
    if (!options_parse(argc, argv, &from, &output))
        return CLI_USAGE;
    bool ok = archive_place_open(from, &check.place, &err) &&
              (!config_get("ORDERLOG_LOG", NULL) || cli_log_open(&check.log, &err)) && bucket_check(&check, &err);
    if (ok)
        print(&check, output);
    int status = !ok ? cli_fail(&err) : check.wrong ? CLI_NO : CLI_OK;
    archive_listing_free(&check.listing);
    archive_topics_free(&check.topics);
    archive_place_close(&check.place);
    log_close(check.log);
    buf_free(&check.json);
    buf_free(&check.text);
    return status;
}
