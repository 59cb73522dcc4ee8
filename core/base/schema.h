/* Descriptions of the generated types: what a struct made from a schema looks like, so that one interpreter can
 * encode, decode and print all of them. Pure data; the tables are made by schemas/avrogen.py.
 *
 * How Avro maps to C:
 *   boolean bool · int int32_t · long int64_t · string, bytes struct str · enum an int32-sized C enum
 *   record  the struct itself · array struct { T *items; size_t count; }
 *   ["null", string|bytes] struct str with ptr NULL · ["null", record] pointer, NULL for null
 *   ["null", boolean|int|long|enum] struct opt_long { bool has; int64_t value; } */
#ifndef ORDERLOG_BASE_SCHEMA_H
#define ORDERLOG_BASE_SCHEMA_H

#include "core/base/str.h"

enum schema_kind {
    SCHEMA_BOOLEAN,
    SCHEMA_INT,
    SCHEMA_LONG,
    SCHEMA_STRING,
    SCHEMA_BYTES,
    SCHEMA_ENUM,
    SCHEMA_RECORD,
    SCHEMA_ARRAY,
    SCHEMA_OPTION,
};

enum schema_logical { SCHEMA_PLAIN, SCHEMA_UUID, SCHEMA_TIMESTAMP_MICROS };

struct opt_long {
    bool has;
    int64_t value;
};

/* Every generated list has this layout. */
struct schema_list {
    void *items;
    size_t count;
};

struct schema_type;

enum { SCHEMA_SKIP = -1 };

struct schema_field {
    const char *name;
    const struct schema_type *type;
    int32_t offset; /* in the reader's struct; SCHEMA_SKIP: the reader has no such field */
};

/* A reader's field that the writer lacked: its default, Avro-encoded. */
struct schema_default {
    const struct schema_type *type;
    int32_t offset;
    const char *bytes;
    size_t len;
};

struct schema_type {
    enum schema_kind kind;
    enum schema_logical logical;
    const char *name; /* full name of a record or enum */
    size_t size;      /* of the C value */
    const struct schema_field *fields;
    size_t field_count;
    const struct schema_default *defaults;
    size_t default_count;
    const struct schema_type *item; /* of an array or option */
    const char *const *symbols;     /* of an enum, the reader's */
    const int32_t *symbol_map;      /* writer's symbol -> reader's, -1: none; NULL: the same */
    size_t symbol_count;            /* the writer's */
};

/* One branch of a subject's union, as one version of its schema has it. */
struct schema_branch {
    int32_t message;                /* an enum message_type; 0: a record that is known no more (or holds no message) */
    const struct schema_type *type; /* decodes the writer's bytes into the reader's struct */
};

struct schema_subject;

struct schema_version {
    int32_t id; /* pinned in schemas/ids.json, in the Confluent header of each value */
    const struct schema_subject *subject;
    const struct schema_branch *branches;
    size_t branch_count;
    bool released;    /* else a draft, which may still change */
    const char *json; /* with defaults and logical types, without docs: an edit of a doc is no other schema */
};

struct schema_subject {
    const char *name; /* the topic, or state/…, view/…, intent/… */
    const struct schema_version *current;
};

#endif
