/* How a record's schema is named in front of its value, in the log. Three ways:
 *
 *   pinned     a zero byte, and the number that schemas/ids.json gives the version, 4 bytes big endian: the default
 *   confluent  the same with the id that a schema registry gave it
 *   glue       AWS Glue Schema Registry's: the bytes 3 and 0, then the version's UUID, 16 bytes
 *
 * One of them is written; all whose ids are known are read, of glue also zlib's compression (3 and 5). What the program
 * keeps outside of the log (state/, view/, intent/) is always pinned. */
#ifndef ORDERLOG_CODEC_WIRE_H
#define ORDERLOG_CODEC_WIRE_H

#include "core/codec/avro.h"

enum wire_format { WIRE_PINNED, WIRE_CONFLUENT, WIRE_GLUE };

enum { WIRE_UUID_SIZE = 16, WIRE_INFLATED_MAX = 16 << 20 };

/* "pinned", "confluent" or "glue". */
CHECK_RESULT bool wire_format_parse(struct str text, enum wire_format *ret);
/* ---- at the start, on one thread, before anything is encoded or decoded ---- */

/* The id that the registry gave a version: a number, or a UUID in text. ERR_CONFIG: it is neither, or it would make a
 * record's schema doubtful: another version of the topic has this number, pinned or given. */
CHECK_RESULT bool wire_id_set(const struct schema_version *version, struct str id, struct err *err);
/* The same from text: lines "TOPIC NUMBER ID", as `orderlog schemas pull --ids` writes them; # begins a comment. */
CHECK_RESULT bool wire_ids_read(struct str text, struct err *err);
/* What is written from now on. ERR_CONFIG when the current version of a topic has no id of that kind. */
CHECK_RESULT bool wire_format_set(enum wire_format format, struct err *err);
/* Back to the beginning, for tests. */
void wire_reset(void);

/* ---- for message.c and tail ---- */

/* Appends what stands in front of the value of a topic's record. */
void wire_add(const struct schema_version *version, struct buf *ret);
/* Takes it off *value, which is inflated into the arena if need be. `subject` NULL: any topic's. ERR_UNKNOWN_SCHEMA: an
 * id that nobody told us of; ERR_CORRUPT: no such thing stands there, or it is another subject's. */
CHECK_RESULT bool wire_take(const struct schema_subject *subject, struct str *value, struct arena *arena,
                            const struct schema_version **ret, struct err *err);

#endif
