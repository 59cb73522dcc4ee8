#include "core/codec/wire.h"

const struct schema_subject *schema_subject_find(struct str name) {
    size_t low = 0, high = SCHEMA_SUBJECT_COUNT;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = str_cmp(name, str_from(schema_subjects[middle].name));
        if (order == 0)
            return &schema_subjects[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct schema_version *schema_version_find(int32_t id) {
    size_t low = 0, high = SCHEMA_VERSION_COUNT;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (schema_versions[middle].id == id)
            return &schema_versions[middle];
        if (id < schema_versions[middle].id)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct str message_name(enum message_type type) {
    return type > MESSAGE_UNKNOWN && type < MESSAGE_TYPE_COUNT ? str_from(schema_messages[type]->name) : STR_NULL;
}

/* A union has at most 64 branches (the generator sees to it), so that the index of one is a single byte. */
static void add_header(const struct schema_version *version, size_t branch, struct buf *ret) {
    wire_add(version, ret);
    buf_add_char(ret, (char)(branch * 2));
}

/* Takes header and branch index off *bytes; *ret is the branch, as the writer's version has it. */
static bool read_header(const struct schema_subject *subject, struct str *bytes, struct arena *arena,
                        const struct schema_branch **ret, struct err *err) {
    const struct schema_version *version;
    if (!wire_take(subject, bytes, arena, &version, err))
        return false;
    size_t index = bytes->len ? (unsigned char)bytes->ptr[0] : SIZE_MAX;
    if (index % 2 != 0 || index / 2 >= version->branch_count)
        return err_set(err, ERR_CORRUPT, "%s: schema %d has no such record", subject->name, version->id);
    *bytes = (struct str){bytes->ptr + 1, bytes->len - 1};
    *ret = &version->branches[index / 2];
    return true;
}

bool message_encode(const struct schema_subject *subject, const struct message *message, struct buf *ret,
                    struct err *err) {
    const struct schema_version *version = subject->current;
    for (size_t i = 0; i < version->branch_count && message->type != MESSAGE_UNKNOWN; i++) {
        if (version->branches[i].message != (int32_t)message->type)
            continue;
        add_header(version, i, ret);
        avro_encode(version->branches[i].type, message_body(message), ret);
        return true;
    }
    struct str name = message_name(message->type);
    return err_set(err, ERR_INTERNAL, "%s has no record %.*s (%d)", subject->name, STR_ARG(name), (int)message->type);
}

/* What is damaged in a record of the log makes it a poison record. */
static bool poison(struct err *err) {
    if (err && err->kind == ERR_CORRUPT)
        err->kind = ERR_POISON;
    return false;
}

bool message_decode(const struct schema_subject *subject, struct str value, struct arena *arena, struct message *ret,
                    struct err *err) {
    const struct schema_branch *branch;
    char *body = (char *)ret + offsetof(struct message, body);
    if (!read_header(subject, &value, arena, &branch, err))
        return poison(err);
    if (!avro_decode_whole(branch->type, value, arena, body, err)) {
        err_wrap(err, "%s", subject->name);
        return poison(err);
    }
    ret->type = (enum message_type)branch->message;
    return true;
}

void state_encode(const struct schema_subject *subject, const void *value, struct buf *ret) {
    add_header(subject->current, 0, ret);
    avro_encode(subject->current->branches[0].type, value, ret);
}

bool state_decode(const struct schema_subject *subject, struct str bytes, struct arena *arena, void *ret,
                  struct err *err) {
    const struct schema_branch *branch;
    if (!read_header(subject, &bytes, arena, &branch, err))
        return false;
    if (!avro_decode_whole(branch->type, bytes, arena, ret, err))
        return err_wrap(err, "%s", subject->name);
    return true;
}
