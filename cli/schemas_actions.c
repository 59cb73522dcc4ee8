#include "cli/schemas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEVEL "BACKWARD_TRANSITIVE"

/* One of our versions of a topic. */
struct known {
    const struct schema_version *ours;
    bool is_there;
    struct registry_schema theirs;
};

struct topic {
    struct known *known; /* oldest first */
    size_t count;
    int64_t *numbers; /* the registry's */
    size_t number_count;
};

static bool read_topic(struct schemas *schemas, const struct schema_subject *subject, struct topic *ret,
                       struct err *err) {
    struct arena *arena = &schemas->arena;
    *ret = (struct topic){.known = arena_array(arena, struct known, SCHEMA_VERSION_COUNT)};
    if (!registry_numbers(&schemas->registry, subject->name, arena, &ret->numbers, &ret->number_count, err))
        return false;
    for (size_t i = 0; i < SCHEMA_VERSION_COUNT; i++) {
        const struct schema_version *version = &schema_versions[i];
        if (version->subject != subject)
            continue;
        struct known *known = &ret->known[ret->count++];
        known->ours = version;
        if (ret->number_count && !registry_find(&schemas->registry, subject->name, version->json, arena,
                                                &known->is_there, &known->theirs, err))
            return false;
    }
    return true;
}

static struct schemas_row row_of(const struct known *known) {
    return (struct schemas_row){.topic = known->ours->subject->name,
                                .ours = known->ours,
                                .is_there = known->is_there,
                                .theirs = known->theirs,
                                .state = known->is_there ? SCHEMAS_THERE : SCHEMAS_ABSENT};
}

/* ---- push ---- */

/* What follows the newest that is there. An older one that the registry never had is in no record of its framing. */
static size_t first_to_push(const struct topic *topic) {
    size_t first = 0;
    for (size_t i = 0; i < topic->count; i++)
        if (topic->known[i].is_there)
            first = i + 1;
    return first;
}

static bool set_level(struct schemas *schemas, const char *topic, struct err *err) {
    struct str level;
    if (!registry_level(&schemas->registry, topic, &schemas->arena, &level, err))
        return false;
    return (level.ptr && !str_eq(level, STR("NONE"))) || registry_set_level(&schemas->registry, topic, LEVEL, err);
}

static bool push_one(struct schemas *schemas, struct known *known, struct schemas_row *row, struct err *err) {
    const char *topic = known->ours->subject->name;
    struct arena *arena = &schemas->arena;
    if (!known->ours->released) {
        row->state = SCHEMAS_DRAFT;
        return true;
    }
    if (!registry_add(&schemas->registry, topic, known->ours->json, arena, &row->why, err))
        return false;
    if (row->why.ptr) {
        row->state = SCHEMAS_REFUSED;
        return true;
    }
    row->state = SCHEMAS_PUSHED;
    if (!registry_find(&schemas->registry, topic, known->ours->json, arena, &row->is_there, &row->theirs, err))
        return false;
    return row->is_there ||
           err_set(err, ERR_IO, "the schema registry took schema %d, and does not have it", known->ours->id);
}

bool schemas_push(struct schemas *schemas, const struct schema_subject *subject, struct err *err) {
    struct topic topic;
    if (!read_topic(schemas, subject, &topic, err))
        return false;
    size_t first = first_to_push(&topic);
    bool refused = false, has_level = topic.number_count > 0;
    for (size_t i = 0; i < topic.count; i++) {
        struct schemas_row row = row_of(&topic.known[i]);
        if (i >= first && !refused && !push_one(schemas, &topic.known[i], &row, err))
            return false;
        refused |= row.state == SCHEMAS_REFUSED;
        if (!has_level && row.state == SCHEMAS_PUSHED && !set_level(schemas, subject->name, err))
            return false;
        has_level |= row.state == SCHEMAS_PUSHED;
        schemas_add_row(schemas, &row);
    }
    return true;
}

/* ---- check ---- */

static bool is_known(const struct topic *topic, int64_t number) {
    for (size_t i = 0; i < topic->count; i++)
        if (topic->known[i].is_there && topic->known[i].theirs.number == number)
            return true;
    return false;
}

static bool add_unknown(struct schemas *schemas, const char *name, const struct topic *topic, struct err *err) {
    for (size_t i = 0; i < topic->number_count; i++) {
        struct schemas_row row = {.topic = name, .is_there = true, .state = SCHEMAS_UNKNOWN};
        if (is_known(topic, topic->numbers[i]))
            continue;
        if (!registry_get(&schemas->registry, name, topic->numbers[i], &schemas->arena, &row.theirs, err))
            return false;
        schemas_add_row(schemas, &row);
    }
    return true;
}

/* Only what would be written is to be added: the current version. */
bool schemas_check(struct schemas *schemas, const struct schema_subject *subject, struct err *err) {
    struct topic topic;
    if (!read_topic(schemas, subject, &topic, err))
        return false;
    for (size_t i = 0; i < topic.count; i++) {
        struct schemas_row row = row_of(&topic.known[i]);
        bool is_current = row.ours == subject->current;
        if (is_current && !row.is_there && topic.number_count &&
            !registry_check(&schemas->registry, subject->name, row.ours->json, &schemas->arena, &row.why, err))
            return false;
        if (row.why.ptr)
            row.state = SCHEMAS_REFUSED;
        else if (is_current && !row.ours->released)
            row.state = SCHEMAS_DRAFT;
        schemas_add_row(schemas, &row);
    }
    return add_unknown(schemas, subject->name, &topic, err);
}

/* ---- pull ---- */

bool schemas_write_file(const char *path, struct str text, struct err *err) {
    BUF_AUTO beside = {0};
    buf_printf(&beside, "%s.new", path);
    FILE *file = fopen(beside.ptr, "w");
    bool ok = file && fwrite(text.ptr, 1, text.len, file) == text.len;
    int why = errno;
    if (file && fclose(file) != 0 && ok) {
        why = errno;
        ok = false;
    }
    if (ok && rename(beside.ptr, path) != 0) {
        why = errno;
        ok = false;
    }
    if (ok)
        return true;
    if (file)
        unlink(beside.ptr);
    return err_set(err, ERR_IO, "%s: %s", path, strerrordesc_np(why));
}

static bool store(const struct schemas *schemas, const char *topic, const struct registry_schema *schema,
                  struct err *err) {
    BUF_AUTO path = {0};
    buf_printf(&path, "%s/%s", schemas->folder, topic);
    if ((mkdir(schemas->folder, 0777) != 0 && errno != EEXIST) || (mkdir(path.ptr, 0777) != 0 && errno != EEXIST))
        return err_set(err, ERR_IO, "%s: %s", path.ptr, strerrordesc_np(errno));
    buf_printf(&path, "/%" PRId64 ".avsc", schema->number);
    return schemas_write_file(path.ptr, schema->schema, err);
}

bool schemas_pull(struct schemas *schemas, const struct schema_subject *subject, struct err *err) {
    struct topic topic;
    if (!read_topic(schemas, subject, &topic, err))
        return false;
    for (size_t i = 0; i < topic.number_count; i++) {
        struct schemas_row row = {.topic = subject->name, .is_there = true, .state = SCHEMAS_UNKNOWN};
        if (!registry_get(&schemas->registry, subject->name, topic.numbers[i], &schemas->arena, &row.theirs, err))
            return false;
        for (size_t k = 0; k < topic.count; k++)
            if (topic.known[k].is_there && topic.known[k].theirs.number == row.theirs.number) {
                row.ours = topic.known[k].ours;
                row.state = SCHEMAS_THERE;
            }
        row.text = row.theirs.schema;
        if (schemas->folder && !store(schemas, subject->name, &row.theirs, err))
            return false;
        schemas_add_row(schemas, &row);
    }
    return true;
}
