/* Avro binary encoding of the generated types, driven by their descriptions (core/base/schema.h).
 *
 * Sources: Avro 1.11 specification, "Binary Encoding" and "Schema Resolution". What stands in front of a value to name
 * its schema is core/codec/wire.h's.
 *
 * Decoding is bounded by the input: no allocation is larger than a small multiple of the bytes that are left, and no
 * call is deeper than the schema. Strings and bytes of a decoded value are borrowed from the input (or from constants,
 * when they are defaults); lists and optional records are in the arena. Strings must be UTF-8: others are refused.
 * Encoding, JSON, copying and comparing take today's types (schema_order_placed), never an earlier version's.
 * No function here keeps state, blocks or logs; any thread. */
#ifndef ORDERLOG_CODEC_AVRO_H
#define ORDERLOG_CODEC_AVRO_H

#include "core/base/arena.h"
#include "core/base/err.h"
#include "gen/types.h"

/* Appends the value's bytes. Cannot fail: strings are at most 2 GiB and enums in range by construction. */
void avro_encode(const struct schema_type *type, const void *value, struct buf *ret);
/* Decodes from the front of *rest and moves it on. ERR_CORRUPT says what is wrong and at which byte. */
CHECK_RESULT bool avro_decode(const struct schema_type *type, struct str *rest, struct arena *arena, void *ret,
                              struct err *err);
/* The same for bytes that must be one value and nothing behind it. */
CHECK_RESULT bool avro_decode_whole(const struct schema_type *type, struct str bytes, struct arena *arena, void *ret,
                                    struct err *err);
/* JSON in the API's manner: money {"minor","currency"}, times RFC 3339, enums by name, bytes in lower-case hex, null
 * fields left out. */
void avro_to_json(const struct schema_type *type, const void *value, struct buf *ret);
/* A copy that shares nothing with the original (strings too). */
void avro_copy(const struct schema_type *type, const void *value, struct arena *arena, void *ret);
/* Equal in every field. */
bool avro_equal(const struct schema_type *type, const void *a, const void *b);
/* Appends the way to the first field in which two records differ (order.status); nothing when they are equal. */
void avro_difference(const struct schema_type *type, const void *a, const void *b, struct buf *ret);

/* Subjects: a topic's name, or state/…, view/…, intent/…  NULL when there is none. */
const struct schema_subject *schema_subject_find(struct str name);
/* NULL when no version compiled in has this id. */
const struct schema_version *schema_version_find(int32_t id);

/* A record of a topic (or intent subject) with its header (wire.h). ERR_INTERNAL when the subject's union has no
 * such record. */
CHECK_RESULT bool message_encode(const struct schema_subject *subject, const struct message *message, struct buf *ret,
                                 struct err *err);
/* ERR_UNKNOWN_SCHEMA: an id that is not compiled in; ERR_POISON: damaged bytes, or a schema of another subject.
 * A branch that today's program knows no more is checked, and gives MESSAGE_UNKNOWN. */
CHECK_RESULT bool message_decode(const struct schema_subject *subject, struct str value, struct arena *arena,
                                 struct message *ret, struct err *err);
/* The full name (shop.order.v1.OrderPlaced) of a message type; MESSAGE_UNKNOWN gives STR_NULL. */
struct str message_name(enum message_type type);
/* The record inside, for avro_to_json(schema_messages[m->type], message_body(m), …). */
static inline const void *message_body(const struct message *message) {
    return (const char *)message + offsetof(struct message, body);
}

/* The same framing for what the program keeps outside of the log: a subject of one record (state/…, view/…).
 * Decoding fails with ERR_UNKNOWN_SCHEMA or ERR_CORRUPT. */
void state_encode(const struct schema_subject *subject, const void *value, struct buf *ret);
CHECK_RESULT bool state_decode(const struct schema_subject *subject, struct str bytes, struct arena *arena, void *ret,
                               struct err *err);

#endif
