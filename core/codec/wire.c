#include "core/codec/wire.h"

#include <zlib.h>

enum { PINNED_SIZE = 5, GLUE_MAGIC = 3, GLUE_PLAIN = 0, GLUE_ZLIB = 5, GLUE_SIZE = 2 + WIRE_UUID_SIZE };

/* By the version's place in schema_versions. */
struct given {
    bool has_id, has_uuid;
    uint32_t id;
    uint8_t uuid[WIRE_UUID_SIZE];
};

static struct given given[SCHEMA_VERSION_COUNT];
static enum wire_format written;
static bool any_id, any_uuid;

bool wire_format_parse(struct str text, enum wire_format *ret) {
    static const char *const names[] = {[WIRE_PINNED] = "pinned", [WIRE_CONFLUENT] = "confluent", [WIRE_GLUE] = "glue"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(text, str_from(names[i]))) {
            *ret = (enum wire_format)i;
            return true;
        }
    return false;
}

void wire_reset(void) {
    memset(given, 0, sizeof given);
    written = WIRE_PINNED;
    any_id = any_uuid = false;
}

static size_t place_of(const struct schema_version *version) {
    return (size_t)(version - schema_versions);
}

/* Topics are what the log holds. */
static bool is_topic(const struct schema_subject *subject) {
    return !strchr(subject->name, '/');
}

/* ---- ids ---- */

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool parse_uuid(struct str text, uint8_t ret[WIRE_UUID_SIZE]) {
    size_t nibbles = 0;
    if (text.len != 36)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        int digit = hex_digit(text.ptr[i]);
        if (dash ? text.ptr[i] != '-' : digit < 0)
            return false;
        if (dash)
            continue;
        ret[nibbles / 2] = (uint8_t)(nibbles % 2 ? ret[nibbles / 2] | digit : digit << 4);
        nibbles++;
    }
    return true;
}

/* Another version of the same subject that this id could mean, too. */
static const struct schema_version *also_meant(const struct schema_version *version, const struct given *id) {
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++) {
        const struct schema_version *other = &schema_versions[i];
        if (other == version || other->subject != version->subject)
            continue;
        if (id->has_id && ((uint32_t)other->id == id->id || (given[i].has_id && given[i].id == id->id)))
            return other;
        if (id->has_uuid && given[i].has_uuid && memcmp(given[i].uuid, id->uuid, WIRE_UUID_SIZE) == 0)
            return other;
    }
    return NULL;
}

bool wire_id_set(const struct schema_version *version, struct str id, struct err *err) {
    struct given *kept = &given[place_of(version)];
    struct given parsed = {0};
    int64_t number;
    if (parse_uuid(id, parsed.uuid)) {
        parsed.has_uuid = true;
    } else if (str_to_i64(id, &number) && number >= 0 && number <= INT32_MAX) {
        parsed.has_id = true;
        parsed.id = (uint32_t)number;
    } else {
        return err_set(err, ERR_CONFIG, "%s: schema %d: neither a registry's number nor a UUID: %.*s",
                       version->subject->name, version->id, STR_ARG(id));
    }
    const struct schema_version *other = also_meant(version, &parsed);
    if (other)
        return err_set(err, ERR_CONFIG, "%s: the id %.*s of schema %d could also mean schema %d",
                       version->subject->name, STR_ARG(id), version->id, other->id);
    if (parsed.has_id) {
        kept->has_id = any_id = true;
        kept->id = parsed.id;
    } else {
        kept->has_uuid = any_uuid = true;
        memcpy(kept->uuid, parsed.uuid, sizeof kept->uuid);
    }
    return true;
}

static struct str next_word(struct str *line) {
    while (line->len && strchr(" \t\r", line->ptr[0]))
        *line = (struct str){line->ptr + 1, line->len - 1};
    size_t len = 0;
    while (len < line->len && !strchr(" \t\r", line->ptr[len]))
        len++;
    struct str word = {line->ptr, len};
    *line = (struct str){line->ptr + len, line->len - len};
    return word;
}

static bool read_line(struct str line, int64_t number, struct err *err) {
    struct str topic = next_word(&line), schema = next_word(&line), id = next_word(&line);
    int64_t schema_id;
    if (!topic.len || topic.ptr[0] == '#')
        return true;
    if (!id.len || next_word(&line).len || !str_to_i64(schema, &schema_id) || schema_id < 0 || schema_id > INT32_MAX)
        return err_set(err, ERR_CONFIG, "line %lld is not of the form TOPIC NUMBER ID", (long long)number);
    const struct schema_version *version = schema_version_find((int32_t)schema_id);
    if (!version || !is_topic(version->subject) || !str_eq(topic, str_from(version->subject->name)))
        return err_set(err, ERR_CONFIG, "line %lld: schema %.*s is none of %.*s", (long long)number, STR_ARG(schema),
                       STR_ARG(topic));
    return wire_id_set(version, id, err) || err_wrap(err, "line %lld", (long long)number);
}

bool wire_ids_read(struct str text, struct err *err) {
    int64_t number = 0;
    for (struct str rest = text; rest.ptr;)
        if (!read_line(str_cut(rest, '\n', &rest), ++number, err))
            return false;
    return true;
}

bool wire_format_set(enum wire_format format, struct err *err) {
    for (size_t i = 0; i < SCHEMA_SUBJECT_COUNT; i++) {
        const struct schema_version *current = schema_subjects[i].current;
        const struct given *ids = &given[place_of(current)];
        if (format != WIRE_PINNED && is_topic(current->subject) && !(format == WIRE_GLUE ? ids->has_uuid : ids->has_id))
            return err_set(err, ERR_CONFIG, "%s: schema %d, which is written, has no %s", current->subject->name,
                           current->id, format == WIRE_GLUE ? "UUID" : "id of a registry");
    }
    written = format;
    return true;
}

/* ---- in front of a value ---- */

static void add_number(uint32_t id, struct buf *ret) {
    const unsigned char header[PINNED_SIZE] = {0, (unsigned char)(id >> 24), (unsigned char)(id >> 16),
                                               (unsigned char)(id >> 8), (unsigned char)id};
    buf_add(ret, header, sizeof header);
}

void wire_add(const struct schema_version *version, struct buf *ret) {
    if (written == WIRE_PINNED || !is_topic(version->subject)) {
        add_number((uint32_t)version->id, ret);
        return;
    }
    const struct given *ids = &given[place_of(version)];
    if (written == WIRE_CONFLUENT) {
        add_number(ids->id, ret);
        return;
    }
    buf_add(ret, (const char[]){GLUE_MAGIC, GLUE_PLAIN}, 2);
    buf_add(ret, ids->uuid, sizeof ids->uuid);
}

static bool fits(const struct schema_subject *subject, const struct schema_version *version) {
    return !subject || version->subject == subject;
}

/* A registry's ids go before pinned ones; within a subject none means two (wire_id_set). */
static bool take_number(const struct schema_subject *subject, const char *name, struct str *value,
                        const struct schema_version **ret, struct err *err) {
    const unsigned char *header = (const unsigned char *)value->ptr;
    uint32_t id = (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 | header[4];
    const struct schema_version *version = NULL;
    if (any_id && (!subject || is_topic(subject)))
        for (size_t i = 0; !version && i < SCHEMA_VERSION_COUNT; i++)
            if (given[i].has_id && given[i].id == id && fits(subject, &schema_versions[i]))
                version = &schema_versions[i];
    if (!version)
        version = schema_version_find((int32_t)id);
    if (!version)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "%s: schema id %u is not known to this program", name, id);
    if (!fits(subject, version))
        return err_set(err, ERR_CORRUPT, "%s: schema id %u is one of %s", name, id, version->subject->name);
    *value = (struct str){value->ptr + PINNED_SIZE, value->len - PINNED_SIZE};
    *ret = version;
    return true;
}

static bool inflate_all(z_stream *stream, struct buf *ret, const char *name, struct err *err) {
    int status = Z_OK;
    while (status == Z_OK) {
        buf_reserve(ret, 4096 + ret->len);
        size_t room = ret->cap - ret->len - 1;
        stream->next_out = (Bytef *)ret->ptr + ret->len;
        stream->avail_out = (uInt)room;
        status = inflate(stream, Z_NO_FLUSH);
        ret->len += room - stream->avail_out;
        if (ret->len > WIRE_INFLATED_MAX)
            return err_set(err, ERR_CORRUPT, "%s: the value inflates to more than %d bytes", name, WIRE_INFLATED_MAX);
        if (status == Z_OK && stream->avail_in == 0 && stream->avail_out > 0)
            break;
    }
    if (status != Z_STREAM_END || stream->avail_in > 0)
        return err_set(err, ERR_CORRUPT, "%s: the value's compression is damaged", name);
    return true;
}

static bool inflate_value(struct str *value, struct arena *arena, const char *name, struct err *err) {
    BUF_AUTO plain = {0};
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)value->ptr, .avail_in = (uInt)value->len};
    if (value->len > WIRE_INFLATED_MAX || inflateInit(&stream) != Z_OK)
        return err_set(err, ERR_CORRUPT, "%s: the value cannot be inflated", name);
    bool ok = inflate_all(&stream, &plain, name, err);
    inflateEnd(&stream);
    if (ok)
        *value = arena_dup(arena, buf_str(&plain));
    return ok;
}

static bool take_uuid(const struct schema_subject *subject, const char *name, struct str *value, struct arena *arena,
                      const struct schema_version **ret, struct err *err) {
    const unsigned char *header = (const unsigned char *)value->ptr;
    const struct schema_version *version = NULL;
    for (size_t i = 0; !version && i < SCHEMA_VERSION_COUNT; i++)
        if (given[i].has_uuid && memcmp(given[i].uuid, header + 2, WIRE_UUID_SIZE) == 0)
            version = &schema_versions[i];
    if (header[1] != GLUE_PLAIN && header[1] != GLUE_ZLIB)
        return err_set(err, ERR_CORRUPT, "%s: Glue's compression %u is not known", name, header[1]);
    if (!version)
        return err_set(err, ERR_UNKNOWN_SCHEMA, "%s: Glue's schema version is not known to this program%s", name,
                       any_uuid ? "" : ", which was given no UUIDs (ORDERLOG_WIRE_IDS)");
    if (!fits(subject, version))
        return err_set(err, ERR_CORRUPT, "%s: Glue's schema version is one of %s", name, version->subject->name);
    *value = (struct str){value->ptr + GLUE_SIZE, value->len - GLUE_SIZE};
    *ret = version;
    return header[1] == GLUE_PLAIN || inflate_value(value, arena, name, err);
}

bool wire_take(const struct schema_subject *subject, struct str *value, struct arena *arena,
               const struct schema_version **ret, struct err *err) {
    const char *name = subject ? subject->name : "a record";
    if (value->len >= PINNED_SIZE && value->ptr[0] == 0)
        return take_number(subject, name, value, ret, err);
    if (value->len >= GLUE_SIZE && value->ptr[0] == GLUE_MAGIC && (!subject || is_topic(subject)))
        return take_uuid(subject, name, value, arena, ret, err);
    return err_set(err, ERR_CORRUPT, "%s: no schema id in front of the value", name);
}
