#include "producers/topics.h"

#include <stdlib.h>

#include "core/base/arena.h"
#include "gen/types.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* Deciders (and the notifier) read the API's facts and every .requests; what they read can be set aside. */
static bool has_dead_letters(struct str topic) {
    return str_ends_with(topic, STR(".requests.v1")) || str_eq(topic, STR(TOPIC_CART_EVENTS)) ||
           str_eq(topic, STR(TOPIC_ORDER_EVENTS)) || str_eq(topic, STR(TOPIC_RESERVATION_EVENTS)) ||
           str_eq(topic, STR(TOPIC_PAYMENT_EVENTS)) || str_eq(topic, STR(TOPIC_FULFILMENT_EVENTS));
}

static struct log_topic_spec spec_of(const char *name, int32_t partitions) {
    struct str topic = str_from(name);
    bool requests = str_ends_with(topic, STR(".requests.v1"));
    return (struct log_topic_spec){.name = name,
                                   .partitions = partitions,
                                   .retention_ms = requests ? INT64_C(30) * DAY_MS : -1,
                                   .compacted = str_eq(topic, STR(TOPIC_PERSONAL))};
}

enum { SPECS_MAX = 2 * SCHEMA_SUBJECT_COUNT };

/* Names are of the arena or last for ever. */
static size_t specs_of(int32_t partitions, struct arena *arena, struct log_topic_spec *ret) {
    size_t count = 0;
    for (size_t i = 0; i < SCHEMA_SUBJECT_COUNT; i++) {
        const char *name = schema_subjects[i].name;
        if (strchr(name, '/'))
            continue;
        ret[count++] = spec_of(name, partitions);
        if (!has_dead_letters(str_from(name)))
            continue;
        struct log_topic_spec letters = spec_of(name, partitions);
        letters.name = arena_printf(arena, "%s" TOPIC_DEAD_LETTER_SUFFIX, name).ptr;
        letters.retention_ms = INT64_C(90) * DAY_MS;
        ret[count++] = letters;
    }
    return count;
}

bool topics_create(struct log *log, int32_t partitions, struct err *err) {
    struct log_topic_spec specs[SPECS_MAX];
    struct arena arena;
    arena_init(&arena);
    bool ok = log_topics_create(log, specs, specs_of(partitions, &arena, specs), err);
    arena_free(&arena);
    return ok;
}

bool topics_apply(struct log *log, int32_t partitions, struct err *err) {
    struct log_topic_spec specs[SPECS_MAX];
    struct arena arena;
    arena_init(&arena);
    bool ok = log_topics_apply(log, specs, specs_of(partitions, &arena, specs), err);
    arena_free(&arena);
    return ok;
}

bool topics_diff(struct log *log, int32_t partitions, log_drift *each, void *user, struct err *err) {
    struct log_topic_spec specs[SPECS_MAX];
    struct arena arena;
    arena_init(&arena);
    bool ok = log_topics_diff(log, specs, specs_of(partitions, &arena, specs), each, user, err);
    arena_free(&arena);
    return ok;
}
