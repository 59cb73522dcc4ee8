/* A schema registry, by the REST API that Confluent's, Apicurio's and Redpanda's speak
 * (docs.confluent.io/platform/current/schema-registry/develop/api.html). A topic's subject is TOPIC-value.
 *
 * Settings: ORDERLOG_SCHEMA_REGISTRY its URL; ORDERLOG_SCHEMA_REGISTRY_USER and _PASSWORD, or _TOKEN (bearer), if it
 * wants them; ORDERLOG_SCHEMA_REGISTRY_CA a PEM file, if the system's authorities do not know it. Every call blocks,
 * for ten seconds at most; errors are ERR_CONFIG (refused, or set up wrongly), ERR_IO and ERR_TIMEOUT. */
#ifndef ORDERLOG_CLI_REGISTRY_H
#define ORDERLOG_CLI_REGISTRY_H

#include "core/base/arena.h"
#include "core/base/err.h"

struct registry {
    struct buf url;
    struct buf headers;
    const char *ca_file;
};

/* Reads the settings; asks nobody yet. To be freed also when it failed. */
CHECK_RESULT bool registry_open(struct registry *ret, struct err *err);
void registry_close(struct registry *registry);

/* The numbers of a topic's versions, oldest first, in the arena; none when it has no subject. */
CHECK_RESULT bool registry_numbers(const struct registry *registry, const char *topic, struct arena *arena,
                                   int64_t **ret, size_t *count, struct err *err);

struct registry_schema {
    int64_t id;
    int64_t number;    /* within its subject */
    struct str schema; /* as the registry writes it */
};

/* One of those. */
CHECK_RESULT bool registry_get(const struct registry *registry, const char *topic, int64_t number, struct arena *arena,
                               struct registry_schema *ret, struct err *err);
/* What the registry holds this schema to be; *found is false when it is none of the topic's. */
CHECK_RESULT bool registry_find(const struct registry *registry, const char *topic, const char *schema,
                                struct arena *arena, bool *found, struct registry_schema *ret, struct err *err);
/* Adds a version. *reason is the registry's when it refuses; ptr NULL: added. */
CHECK_RESULT bool registry_add(const struct registry *registry, const char *topic, const char *schema,
                               struct arena *arena, struct str *reason, struct err *err);
/* Whether it would be added. *reason as above. */
CHECK_RESULT bool registry_check(const struct registry *registry, const char *topic, const char *schema,
                                 struct arena *arena, struct str *reason, struct err *err);
/* What the registry demands of a new version; ptr NULL: nothing is said of this topic. */
CHECK_RESULT bool registry_level(const struct registry *registry, const char *topic, struct arena *arena,
                                 struct str *ret, struct err *err);
CHECK_RESULT bool registry_set_level(const struct registry *registry, const char *topic, const char *level,
                                     struct err *err);

#endif
