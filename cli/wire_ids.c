#include "cli/wire_ids.h"

#include "cli/registry.h"
#include "core/base/config.h"
#include "core/codec/wire.h"

#include <inttypes.h>
#include <stdio.h>

static bool ask_for(const struct registry *registry, const struct schema_version *version, struct arena *arena,
                    struct err *err) {
    struct registry_schema theirs;
    bool found = false;
    char id[24];
    if (!version->subject->current->branches[0].message || strchr(version->subject->name, '/'))
        return true; /* it is in no topic */
    if (!registry_find(registry, version->subject->name, version->json, arena, &found, &theirs, err))
        return false;
    if (!found)
        return version != version->subject->current ||
               err_set(err, ERR_CONFIG, "%s: schema %d is not in the registry: orderlog schemas push",
                       version->subject->name, version->id);
    snprintf(id, sizeof id, "%" PRId64, theirs.id);
    return wire_id_set(version, str_from(id), err);
}

static bool ask_registry(struct err *err) {
    struct registry registry;
    struct arena arena;
    arena_init(&arena);
    bool ok = registry_open(&registry, err);
    for (size_t i = 0; ok && i < SCHEMA_VERSION_COUNT; i++)
        ok = ask_for(&registry, &schema_versions[i], &arena, err);
    registry_close(&registry);
    arena_free(&arena);
    return ok;
}

bool wire_ids_init(struct err *err) {
    const char *text = config_get("ORDERLOG_WIRE", "pinned"), *ids;
    enum wire_format format;
    bool ok = true;
    if (!wire_format_parse(str_from(text), &format))
        return err_set(err, ERR_CONFIG, "ORDERLOG_WIRE must be pinned, confluent or glue, not %s", text);
    if (config_get("ORDERLOG_WIRE_IDS", NULL) || config_get("ORDERLOG_WIRE_IDS_FILE", NULL))
        ok = config_require("ORDERLOG_WIRE_IDS", &ids, err) &&
             (wire_ids_read(str_from(ids), err) || err_wrap(err, "ORDERLOG_WIRE_IDS"));
    else if (format == WIRE_CONFLUENT)
        ok = ask_registry(err);
    return ok && (wire_format_set(format, err) || err_wrap(err, "ORDERLOG_WIRE=%s", text));
}
