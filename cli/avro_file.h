/* Avro object container files (Avro 1.11 specification, "Object Container Files"), written into memory; and what files
 * of the log's records share. Equal input gives equal bytes. One thread. */
#ifndef ORDERLOG_CLI_AVRO_FILE_H
#define ORDERLOG_CLI_AVRO_FILE_H

#include "core/base/arena.h"
#include "core/base/ids.h"
#include "core/codec/avro.h"

enum {
    AVRO_SYNC_SIZE = 16,
    AVRO_BLOCK_BYTES = 256 * 1024, /* before compression: a block is ended once it is as large */
    AVRO_FRAME_SIZE = 5,           /* the schema id in front of a value */
};

struct avro_block {
    bool deflate;
    uint8_t sync[AVRO_SYNC_SIZE];
    struct buf records; /* encoded, one behind the other */
    int64_t count;
    struct buf packed;
};

/* Values of Avro's binary encoding. */
void avro_add_long(struct buf *ret, int64_t value);
void avro_add_text(struct buf *ret, struct str text);
/* ["null", "string"]: null, too, for what is not UTF-8. */
void avro_add_optional(struct buf *ret, struct str text);

struct avro_metadata {
    struct str name;
    struct str value;
};

/* "Obj", version and metadata; the sync marker is to follow. */
void avro_add_header(struct buf *ret, const struct avro_metadata *metadata, size_t count);
/* The sync marker need not be random, only unlike anything in the blocks: it is made of a text that is the file's own.
 */
void avro_block_begin(struct avro_block *block, bool deflate, struct str own);
/* Appends the block, if there is anything in it, and empties it. ERR_INTERNAL when zlib does not work. */
CHECK_RESULT bool avro_block_end(struct avro_block *block, struct buf *ret, struct err *err);
void avro_block_free(struct avro_block *block);

/* The subject of a topic's records; dead letters are another topic's. NULL: no schema is known. */
const struct schema_subject *avro_subject_of(struct str topic);
/* The branches of the subject's union (none without a subject), each with a comma behind it: null may follow, so that
 * the records of the union keep their places. */
void avro_add_branches(const struct schema_subject *subject, struct buf *ret);
/* The event of a value in today's schema, branch first, without the schema id: the value's own bytes, or, of an earlier
 * version, made anew in `scratch`. */
CHECK_RESULT bool avro_event_of(const struct schema_subject *subject, struct str value, struct arena *arena,
                                struct buf *scratch, struct message *ret_message, struct str *ret, struct err *err);

#endif
