#include "cli/archive.h"
#include "cli/reader.h"

#include <inttypes.h>

/* What the log holds no more (its retention) cannot be compared; nor what it has not, which is another matter. */
static bool ranges_fit(const struct archive_range *range, struct log *log, struct reader_range *ret, struct err *err) {
    int64_t low, high;
    struct log_topic topic;
    if (!log_topic_find(log, range->topic, &topic, err))
        return false;
    if (topic.partitions != range->partitions)
        return err_set(err, ERR_CORRUPT, "it is of %d partitions, and the log has %d", range->partitions,
                       topic.partitions);
    if (!log_watermarks(log, range->topic, range->partition, &low, &high, err))
        return false;
    if (range->end > high)
        return err_set(err, ERR_LOST_RECORDS,
                       "it goes to offset %" PRId64 ", and the log to %" PRId64
                       ": it is another log's, or the log has lost records",
                       range->end, high);
    int64_t from = range->first > low ? range->first : low;
    *ret = (struct reader_range){topic.name, range->partition, from < range->end ? from : range->end, range->end};
    return true;
}

static bool records_match(struct archive_reader *archived, const struct reader_range *range, struct reader *logged,
                          struct err *err) {
    const struct log_record *a, *b;
    const char *difference;
    for (;;) {
        if (!archive_reader_next(archived, &a, err))
            return false;
        if (!a)
            return true;
        if (a->offset < range->from)
            continue;
        if (!reader_next(logged, &b, err))
            return false;
        if (!b || !archive_record_equal(a, b, &difference))
            return err_set(err, ERR_CORRUPT,
                           "offset %" PRId64 " is not what the log has (%s): it is another log's, or it was altered",
                           a->offset, b ? difference : "it has none");
    }
}

bool archive_match(const struct archive_place *place, const struct archive_object *object, struct log *log,
                   int64_t *ret_end, struct err *err) {
    struct archive_reader *archived;
    struct reader *logged = NULL;
    struct reader_range range;
    if (!archive_reader_open(place, object->key, object->bytes, &archived, err))
        return false;
    const struct archive_range *held = archive_reader_range(archived);
    bool ok = (str_eq(held->topic, object->name.topic) && held->partition == object->name.partition &&
               held->first == object->name.first) ||
              err_set(err, ERR_CORRUPT, "its name is not its range's");
    ok = ok && ranges_fit(held, log, &range, err) && reader_open(log, &range, 1, &logged, err) &&
         records_match(archived, &range, logged, err);
    if (ok)
        *ret_end = held->end;
    else
        err_wrap(err, "%.*s", STR_ARG(object->key));
    reader_close(logged);
    archive_reader_close(archived);
    return ok;
}
