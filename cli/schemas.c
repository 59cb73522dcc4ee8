/* orderlog schemas: this program's released schemas, and a schema registry's. */
#include "cli/schemas.h"

#include "core/base/config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char schemas_help[] =
    "Usage: orderlog schemas push  [-t TOPIC] [--ids FILE] [--registry URL] [--output json|table]\n"
    "       orderlog schemas check [-t TOPIC] [--registry URL] [--output json|table]\n"
    "       orderlog schemas pull  [-t TOPIC] [--ids FILE] [--to FOLDER] [--registry URL] [--output json|table]\n"
    "\n"
    "Tells a schema registry what this program writes. It speaks the REST API of Confluent's (Apicurio's is at\n"
    "/apis/ccompat/v7); a topic's subject is TOPIC-value.\n"
    "\n"
    "  push   adds the released versions that are not there, oldest first. A new subject is made to demand\n"
    "         BACKWARD_TRANSITIVE: what reads a new version reads all earlier ones. What the registry refuses is "
    "shown\n"
    "         with its reason. Pushing again changes nothing.\n"
    "  check  says whether what this program writes is there, or may be added, and whether this program knows all "
    "that\n"
    "         is there. Changes nothing.\n"
    "  pull   shows what is there.\n"
    "\n"
    "States: there; pushed; absent (not there, and nothing against it); refused; draft (not released, so not pushed);\n"
    "unknown (the registry has it, and this program cannot read it).\n"
    "\n"
    "Options:\n"
    "  -t, --topic TOPIC    this topic only\n"
    "      --ids FILE       write there which id each version has in the registry, for ORDERLOG_WIRE_IDS_FILE\n"
    "      --to FOLDER      write each version to FOLDER/TOPIC/VERSION.avsc\n"
    "      --registry URL   the registry (default: ORDERLOG_SCHEMA_REGISTRY)\n"
    "      --output json|table  a table on a terminal, else JSON\n"
    "  -h, --help           this text\n"
    "\n"
    "Settings: ORDERLOG_SCHEMA_REGISTRY_USER and ORDERLOG_SCHEMA_REGISTRY_PASSWORD, or "
    "ORDERLOG_SCHEMA_REGISTRY_TOKEN;\n"
    "ORDERLOG_SCHEMA_REGISTRY_CA, a PEM file.\n"
    "\n"
    "JSON: {\"versions\":[{\"topic\",\"schema\",\"id\",\"version\",\"state\",\"why\"}]}; `schema` is the number in "
    "this program's\n"
    "schemas, `id` the registry's; what is not known is null. pull adds \"text\".\n"
    "\n"
    "Exit codes: 0 done, and nothing is refused, unknown or a draft; 1 something is; 2 wrong usage, or the registry "
    "did\n"
    "not answer as it should.\n"
    "\n"
    "Examples:\n"
    "  orderlog schemas push --registry https://registry.example.com\n"
    "  orderlog schemas check && echo 'safe to deploy'\n";

static const struct option options[] = {
    {"topic", required_argument, NULL, 't'},  {"ids", required_argument, NULL, 'i'},
    {"to", required_argument, NULL, 'd'},     {"registry", required_argument, NULL, 'r'},
    {"output", required_argument, NULL, 'o'}, {0}};

static bool option_parse(struct schemas *schemas, int option) {
    switch (option) {
    case 't':
        schemas->topic = schema_subject_find(str_from(optarg));
        if (schemas->topic && schemas->topic->current->branches[0].message && !strchr(optarg, '/'))
            return true;
        cli_usage_error("there is no topic '%s'", optarg);
        return false;
    case 'i':
        schemas->ids_file = optarg;
        return true;
    case 'd':
        schemas->folder = optarg;
        return true;
    case 'r':
        config_override("ORDERLOG_SCHEMA_REGISTRY", optarg);
        return true;
    case 'o':
        return cli_output_parse(optarg, &schemas->output);
    default:
        cli_usage_hint();
        return false;
    }
}

static const struct {
    const char *name;
    schemas_action *run;
} actions[] = {{"push", schemas_push}, {"check", schemas_check}, {"pull", schemas_pull}};

static bool command_parse(struct schemas *schemas, int argc, char **argv, schemas_action **ret) {
    const char *name = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    for (size_t i = 0; name && i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(name, actions[i].name) == 0)
            *ret = actions[i].run;
    if (*ret) {
        argv[1] = argv[0];
        argc--, argv++;
    }
    for (int option; (option = getopt_long(argc, argv, "t:", options, NULL)) != -1;)
        if (!option_parse(schemas, option))
            return false;
    if (!*ret) {
        cli_usage_error(name ? "there is no '%s': push, check or pull" : "push, check or pull is missing", name);
        return false;
    }
    if ((schemas->ids_file && *ret == schemas_check) || (schemas->folder && *ret != schemas_pull)) {
        cli_usage_error("%s takes no --%s", name, schemas->folder ? "to" : "ids");
        return false;
    }
    return cli_no_operands(argc, argv);
}

/* ---- what is shown ---- */

static const char *const state_names[] = {"there", "pushed", "absent", "refused", "draft", "unknown"};

void schemas_add_row(struct schemas *schemas, const struct schemas_row *row) {
    struct buf *json = &schemas->json;
    struct cli_table *table = &schemas->table;
    struct str why = row->why.ptr ? row->why : STR("");
    schemas->wrong |= row->state == SCHEMAS_REFUSED || row->state == SCHEMAS_DRAFT || row->state == SCHEMAS_UNKNOWN;
    buf_printf(json, "%s{\"topic\":\"%s\",\"schema\":", json->len ? "," : "", row->topic);
    cli_table_add(table, "%s", row->topic);
    if (row->ours) {
        buf_printf(json, "%d", row->ours->id);
        cli_table_add(table, "%d", row->ours->id);
    } else {
        buf_printf(json, "null");
        cli_table_add(table, "-");
    }
    if (row->is_there) {
        buf_printf(json, ",\"id\":%" PRId64 ",\"version\":%" PRId64, row->theirs.id, row->theirs.number);
        cli_table_add(table, "%" PRId64, row->theirs.id);
        cli_table_add(table, "%" PRId64, row->theirs.number);
    } else {
        buf_printf(json, ",\"id\":null,\"version\":null");
        cli_table_add(table, "-");
        cli_table_add(table, "-");
    }
    buf_printf(json, ",\"state\":\"%s\",\"why\":", state_names[row->state]);
    if (row->why.ptr)
        buf_add_json_string(json, row->why);
    else
        buf_printf(json, "null");
    if (row->text.ptr) {
        buf_printf(json, ",\"text\":");
        buf_add_json_string(json, row->text);
    }
    buf_add_char(json, '}');
    cli_table_add(table, "%s%s%.*s", state_names[row->state], why.len ? ": " : "", STR_ARG(why));
    if (row->ours && row->is_there)
        buf_printf(&schemas->ids, "%s %d %" PRId64 "\n", row->topic, row->ours->id, row->theirs.id);
}

static bool write_ids(const struct schemas *schemas, struct err *err) {
    BUF_AUTO text = {0};
    buf_printf(&text, "# topic, its schema's number, and the id in the registry (orderlog schemas)\n%s",
               buf_str(&schemas->ids).ptr);
    return schemas_write_file(schemas->ids_file, buf_str(&text), err);
}

static void print(struct schemas *schemas) {
    BUF_AUTO out = {0};
    if (cli_output_is_json(schemas->output)) {
        buf_printf(&out, "{\"versions\":[%s]}\n", buf_str(&schemas->json).ptr);
        cli_print(&out);
    } else {
        cli_table_print(&schemas->table, "lrrrl");
    }
}

static bool is_topic(const struct schema_subject *subject) {
    return subject->current->branches[0].message && !strchr(subject->name, '/');
}

static bool run(struct schemas *schemas, schemas_action *action, struct err *err) {
    static const char *const heading[] = {"TOPIC", "SCHEMA", "ID", "VERSION", "STATE"};
    schemas->table.columns = sizeof heading / sizeof heading[0];
    for (size_t i = 0; i < schemas->table.columns; i++)
        cli_table_add(&schemas->table, "%s", heading[i]);
    if (!registry_open(&schemas->registry, err))
        return false;
    for (size_t i = 0; i < SCHEMA_SUBJECT_COUNT; i++) {
        const struct schema_subject *subject = &schema_subjects[i];
        if (!is_topic(subject) || (schemas->topic && schemas->topic != subject))
            continue;
        if (!action(schemas, subject, err))
            return err_wrap(err, "%s", subject->name);
    }
    if (schemas->ids_file && !write_ids(schemas, err))
        return false;
    print(schemas);
    return true;
}

int schemas_main(int argc, char **argv) {
    struct schemas schemas = {.output = CLI_AUTO};
    struct err err = {0};
    schemas_action *action = NULL;
    if (!command_parse(&schemas, argc, argv, &action))
        return CLI_USAGE;
    arena_init(&schemas.arena);
    bool ok = run(&schemas, action, &err);
    registry_close(&schemas.registry);
    arena_free(&schemas.arena);
    buf_free(&schemas.json);
    buf_free(&schemas.ids);
    buf_free(&schemas.table.cells);
    return !ok ? cli_fail(&err) : schemas.wrong ? CLI_NO : CLI_OK;
}
