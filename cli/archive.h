/* The parts of `orderlog archive`, `archive verify` and `restore`: the log in a bucket. docs/adr/0013-archive.md says
 * what is where and why. Main thread only.
 *
 *   PREFIX/topic=T/date=YYYY-MM-DD/hour=HH/PPPPP-FFFFFFFFFFFFFFFFFFFF.avro
 *
 * holds the records of a range of one partition: from offset F on, up to an end that the file itself names. An object
 * is never changed, and a range begins nowhere but at 0 (or where the log began) and where another one ends; so whoever
 * writes, there are neither gaps nor overlaps. Date and hour are those of the range's first record, in UTC. */
#ifndef ORDERLOG_CLI_ARCHIVE_H
#define ORDERLOG_CLI_ARCHIVE_H

#include "cli/avro_file.h"
#include "core/aws/s3.h"
#include "core/log/log.h"

/* ---- archive_names.c: what an object is called, and which there are ---- */

struct archive_name {
    struct str topic;
    int32_t partition;
    int64_t first;
    int64_t hour; /* since the epoch */
};

int64_t archive_hour_of(int64_t time_us);
void archive_name_add(struct buf *ret, struct str prefix, const struct archive_name *name);
/* False: it is none of ours. The topic is borrowed from the key. */
CHECK_RESULT bool archive_name_parse(struct str prefix, struct str key, struct archive_name *ret);

/* s3://BUCKET[/PREFIX]; what is given out lives until archive_place_close. */
struct archive_place {
    struct s3 *s3;
    struct str prefix; /* ends in a slash, or is empty */
};

CHECK_RESULT bool archive_place_open(const char *url, struct archive_place *ret, struct err *err);
void archive_place_close(struct archive_place *place);

struct archive_object {
    struct str key; /* owned by the listing */
    struct archive_name name;
    int64_t bytes;
};

/* By topic, partition and offset. */
struct archive_listing {
    struct archive_object *objects;
    size_t count, cap;
    char **strangers; /* keys under the prefix that are none of ours */
    size_t stranger_count;
};

CHECK_RESULT bool archive_list(const struct archive_place *place, struct archive_listing *ret, struct err *err);
void archive_listing_free(struct archive_listing *listing);
/* The first object behind those of the partition that the one at `from` is of. */
size_t archive_listing_next(const struct archive_listing *listing, size_t from);

/* shop.personal.v1 is never archived: what is erased there could not be erased here. */
bool archive_takes(struct str topic);

/* ---- archive_topics.c: PREFIX/topics/T ---- */

struct archive_topic {
    char *log_id, *name, *id;
    int32_t partitions;
};

struct archive_topics {
    struct archive_topic *items;
    size_t count;
};

/* Writes what the topic is; ERR_CONFIG when another log's is there. */
CHECK_RESULT bool archive_topic_tell(const struct archive_place *place, struct log *log, const struct log_topic *topic,
                                     struct err *err);
CHECK_RESULT bool archive_topics_read(const struct archive_place *place, struct archive_topics *ret, struct err *err);
const struct archive_topic *archive_topics_find(const struct archive_topics *topics, struct str name); /* or NULL */
void archive_topics_free(struct archive_topics *topics);

/* ---- archive_write.c: the bytes of an object ---- */

/* Of the record around the event, and of the metadata: another layout gets another number. */
#define ARCHIVE_FORMAT "1"

struct archive_range {
    struct str topic;
    int32_t partition, partitions; /* which, of how many */
    int64_t first, end;
};

struct archive_writer;

struct archive_writer *archive_writer_open(struct str topic);
void archive_writer_close(struct archive_writer *writer); /* NULL is fine */
/* Forgets what was added. The sync marker is made of the topic, the partition and the first offset. */
void archive_writer_begin(struct archive_writer *writer, int32_t partition, int64_t first);
CHECK_RESULT bool archive_writer_add(struct archive_writer *writer, const struct log_record *record, struct err *err);
/* The whole file; *ret is emptied first. */
CHECK_RESULT bool archive_writer_finish(struct archive_writer *writer, const struct archive_range *range,
                                        struct buf *ret, struct err *err);

/* ---- archive_read.c ---- */

struct archive_reader;

/* Reads an object in pieces of a MiB, so that many can be read side by side. Borrows `place` and `key`. Errors name the
 * key: ERR_CORRUPT for what is no such file, or not whole. */
CHECK_RESULT bool archive_reader_open(const struct archive_place *place, struct str key, int64_t bytes,
                                      struct archive_reader **ret, struct err *err);
void archive_reader_close(struct archive_reader *reader); /* NULL is fine */
const struct archive_range *archive_reader_range(const struct archive_reader *reader);
/* The records as the log had them, by offset, without a gap; NULL at the end of a file that was whole. Good until the
 * next call. */
CHECK_RESULT bool archive_reader_next(struct archive_reader *reader, const struct log_record **ret, struct err *err);

/* Equal in all but their topic and place. `ret` gets what differs. */
bool archive_record_equal(const struct log_record *a, const struct log_record *b, const char **ret);

/* ---- archive_match.c: an object beside the log ---- */

/* Whether an object holds what the log holds, as far as the log still has it. ERR_CORRUPT says where they differ,
 * ERR_LOST_RECORDS that the log ends sooner. `name` is what it is called. */
CHECK_RESULT bool archive_match(const struct archive_place *place, const struct archive_object *object, struct log *log,
                                int64_t *ret_end, struct err *err);

/* ---- archive_verify.c ---- */

int archive_verify_main(int argc, char **argv);

#endif
