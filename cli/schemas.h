/* Inside of orderlog schemas. */
#ifndef ORDERLOG_CLI_SCHEMAS_H
#define ORDERLOG_CLI_SCHEMAS_H

#include "cli/cli.h"
#include "cli/registry.h"
#include "core/codec/avro.h"

struct schemas {
    const struct schema_subject *topic; /* NULL: all */
    const char *ids_file, *folder;      /* NULL: none is written */
    enum cli_output output;
    struct registry registry;
    struct arena arena;
    struct cli_table table;
    struct buf json;
    struct buf ids;
    bool wrong; /* something is not as it should be */
};

/* ---- schemas.c */

enum schemas_state {
    SCHEMAS_THERE,
    SCHEMAS_PUSHED,
    SCHEMAS_ABSENT,
    SCHEMAS_REFUSED,
    SCHEMAS_DRAFT,
    SCHEMAS_UNKNOWN,
};

struct schemas_row {
    const char *topic;
    const struct schema_version *ours; /* NULL: this program does not know it */
    bool is_there;
    struct registry_schema theirs;
    enum schemas_state state;
    struct str why;  /* ptr NULL: nothing to say */
    struct str text; /* the schema; ptr NULL: not shown */
};

void schemas_add_row(struct schemas *schemas, const struct schemas_row *row);

/* ---- schemas_actions.c: what is done with a topic; rows are added */

typedef bool schemas_action(struct schemas *schemas, const struct schema_subject *subject, struct err *err);
schemas_action schemas_push, schemas_check, schemas_pull;
/* All of it or nothing: a file beside it is renamed. */
CHECK_RESULT bool schemas_write_file(const char *path, struct str text, struct err *err);

#endif
