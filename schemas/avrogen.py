#!/usr/bin/env python3
"""Makes C types and codec tables from the schemas: avrogen.py SCHEMAS_DIR OUT_DIR

Reads a deliberate subset of Avro (see core/base/schema.h for the mapping to C); anything else is an error here,
at build time. Every .avsc is a JSON array of records: the union that is a topic's value, or (below state/, view/
and intent/) what the program keeps elsewhere. ids.json pins a schema id for each version; earlier versions stand
in history/<subject>/<id>.avsc and are compiled in: their bytes decode by name into today's structs, with defaults.
"""
import json
import pathlib
import re
import sys

SCALARS = {"boolean": "bool", "int": "int32_t", "long": "int64_t", "string": "struct str", "bytes": "struct str"}
LOGICAL = {"uuid": ("string", "SCHEMA_UUID"), "timestamp-micros": ("long", "SCHEMA_TIMESTAMP_MICROS")}


def fail(where, what):
    sys.exit(f"avrogen: {where}: {what}")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def c_name(full):
    """shop.order.v1.OrderPlaced -> order_placed; shop.order.v1.CommandRefused -> order_command_refused"""
    parts = full.split(".")
    space, name = (parts[-3] if len(parts) > 3 else ""), snake(parts[-1])
    return name if not space or name == space or name.startswith(space + "_") else f"{space}_{name}"


def topic_macro(subject):
    return "TOPIC_" + re.sub(r"^shop\.|\.v1$", "", subject).replace(".", "_").upper()


class Schema:
    """One parsed version of one subject: named types by full name, branches in order."""

    def __init__(self, subject, path):
        self.subject, self.path, self.named, self.text = subject, path, {}, path.read_text()
        tree = json.loads(self.text)
        if not isinstance(tree, list) or not tree:
            fail(path, "must be a JSON array of records")
        self.branches = [self.parse(branch, "") for branch in tree]

    def parse(self, node, space):
        if isinstance(node, str):
            if node in SCALARS:
                return {"kind": node, "logical": "SCHEMA_PLAIN"}
            full = node if "." in node else f"{space}.{node}"
            return self.named.get(full) or fail(self.path, f"unknown type {node}")
        if isinstance(node, list):
            if len(node) != 2 or node[0] != "null":
                fail(self.path, f"a union inside a record must be [\"null\", type], not {node}")
            item = self.parse(node[1], space)
            if item["kind"] in ("array", "option"):
                fail(self.path, "an optional array is not in the subset")
            return {"kind": "option", "item": item}
        kind = node.get("type")
        if kind == "array":
            return {"kind": "array", "item": self.parse(node["items"], space)}
        if kind in ("record", "enum"):
            return self.parse_named(node, node.get("namespace", space))
        if kind in SCALARS:
            base, logical = LOGICAL.get(node.get("logicalType"), (kind, "SCHEMA_PLAIN"))
            if base != kind or ("logicalType" in node and logical == "SCHEMA_PLAIN"):
                fail(self.path, f"logical type {node.get('logicalType')} of {kind} is not in the subset")
            return {"kind": kind, "logical": logical}
        return fail(self.path, f"{kind} is not in the subset")

    def parse_named(self, node, space):
        full = node["name"] if "." in node["name"] else f"{space}.{node['name']}"
        if full in self.named:
            fail(self.path, f"{full} is defined twice")
        if node.get("aliases"):
            fail(self.path, f"{full}: aliases are not in the subset")
        made = self.named[full] = {"kind": node["type"], "name": full}
        if node["type"] == "enum":
            made["symbols"] = node["symbols"]
            return made
        made["fields"] = []
        for field in node["fields"]:
            entry = {"name": field["name"], "type": self.parse(field["type"], full.rsplit(".", 1)[0])}
            if "default" in field:
                entry["default"] = field["default"]
            made["fields"].append(entry)
        return made


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode_default(type_, value, where):
    kind = type_["kind"]
    if kind == "option":
        if value is not None:
            fail(where, "the default of an optional field must be null")
        return b"\x00"
    if kind == "boolean":
        return b"\x01" if value else b"\x00"
    if kind in ("int", "long"):
        return varint(value)
    if kind in ("string", "bytes"):
        raw = value.encode("utf-8" if kind == "string" else "latin-1")
        return varint(len(raw)) + raw
    if kind == "enum":
        return varint(type_["symbols"].index(value))
    if kind == "array" and value == []:
        return b"\x00"
    return fail(where, f"a default for {kind} is not in the subset")


class Generator:
    def __init__(self, schemas):
        self.current = schemas
        self.types = {}  # full name -> parsed type, the reader's
        self.header, self.tables, self.emitted = [], [], {}

    def c_type(self, t):
        kind = t["kind"]
        if kind in SCALARS:
            return SCALARS[kind]
        if kind == "enum":
            return f"enum {c_name(t['name'])}"
        if kind == "record":
            return f"struct {c_name(t['name'])}"
        if kind == "array":
            return f"struct {self.list_name(t['item'])}"
        item = t["item"]
        if item["kind"] in ("string", "bytes"):
            return "struct str"
        return f"struct {c_name(item['name'])} *" if item["kind"] == "record" else "struct opt_long"

    def list_name(self, item):
        if item["kind"] in ("array", "option"):
            fail("subset", "an array of arrays or of optional items is not in the subset")
        return (c_name(item["name"]) if "name" in item else "str" if item["kind"] in ("string", "bytes") else item["kind"]) + "_list"

    # ---- types.h

    def declare(self, t):
        kind = t["kind"]
        if kind in ("array", "option"):
            self.declare(t["item"])
        if kind == "array":
            self.once(self.list_name(t["item"]), lambda: self.header.append(
                f"struct {self.list_name(t['item'])} {{\n    {self.c_type(t['item'])} *items;\n    size_t count;\n}};\n"))
        if kind not in ("record", "enum"):
            return
        known = self.types.setdefault(t["name"], t)
        if known != t:
            fail(t["name"], "is defined differently in two files")
        if kind == "enum":
            name = c_name(t["name"])
            symbols = "\n".join(f"    {name.upper()}_{s.upper()}," for s in t["symbols"])
            self.once(name, lambda: self.header.append(f"enum {name} {{\n{symbols}\n}};\n"))
            return
        for field in t["fields"]:
            self.declare(field["type"])
        body = "\n".join(f"    {self.c_type(f['type'])}{'' if self.c_type(f['type']).endswith('*') else ' '}{f['name']};"
                         for f in t["fields"])
        self.once(c_name(t["name"]), lambda: self.header.append(f"struct {c_name(t['name'])} {{ /* {t['name']} */\n{body}\n}};\n"))

    def once(self, key, emit):
        if key not in self.emitted:
            self.emitted[key] = True
            emit()

    # ---- tables.c

    def table(self, writer, reader, tag):
        """Emits the description of `writer` decoding into `reader` (None: skipped); returns its C expression."""
        kind = writer["kind"]
        if reader is not None and reader["kind"] != kind:
            fail(tag, f"{kind} cannot be read as {reader['kind']}: an incompatible change")
        if kind in SCALARS:
            logical = writer["logical"]
            return f"&scalar_{kind}" + ("" if logical == "SCHEMA_PLAIN" else "_" + logical[7:].lower())
        if kind in ("array", "option"):
            item = self.table(writer["item"], reader and reader["item"], tag)
            name = f"{kind}_of_{item.lstrip('&')}"
            self.once(name, lambda: self.tables.append(
                f"static const struct schema_type {name} = {{.kind = SCHEMA_{kind.upper()}, .size = "
                f"{'sizeof(struct schema_list)' if kind == 'array' else self.option_size(reader)}, .item = {item}}};"))
            return "&" + name
        name = f"schema_{c_name(writer['name'])}" + tag + ("" if reader is not None else "_skipped")
        if kind == "enum":
            self.once(name, lambda: self.enum_table(name, writer, reader))
        else:
            self.once(name, lambda: self.record_table(name, writer, reader, tag))
        return "&" + name

    def option_size(self, reader):
        return f"sizeof({self.c_type(reader)})" if reader else "0"

    def enum_table(self, name, writer, reader):
        reader = reader or writer
        symbols = ", ".join(f'"{s}"' for s in reader["symbols"])
        mapping = ""
        if reader["symbols"] != writer["symbols"]:
            to = ", ".join(str(reader["symbols"].index(s) if s in reader["symbols"] else -1) for s in writer["symbols"])
            mapping = f", .symbol_map = (const int32_t[]){{{to}}}"
        self.tables.append(f"{self.linkage(name)} = {{.kind = SCHEMA_ENUM, .name = \"{writer['name']}\", .size = sizeof(int32_t), "
                           f".symbols = (const char *const[]){{{symbols}}}, .symbol_count = {len(writer['symbols'])}{mapping}}};")

    def record_table(self, name, writer, reader, tag):
        struct = f"struct {c_name(writer['name'])}"
        mine = {f["name"]: f for f in reader["fields"]} if reader else {}
        rows = []
        for field in writer["fields"]:
            match = mine.pop(field["name"], None)
            offset = f"(int32_t)offsetof({struct}, {field['name']})" if match else "SCHEMA_SKIP"
            rows.append(f"    {{\"{field['name']}\", {self.table(field['type'], match and match['type'], tag)}, {offset}}},")
        defaults = []
        for field in mine.values():
            if "default" not in field:
                fail(reader["name"], f"{field['name']} is new and has no default: an incompatible change")
            raw = encode_default(field["type"], field["default"], reader["name"])
            text = "".join(f"\\{b:03o}" for b in raw)
            defaults.append(f"    {{{self.table(field['type'], field['type'], '')}, (int32_t)offsetof({struct}, {field['name']}), \"{text}\", {len(raw)}}},")
        if rows:
            self.tables.append(f"static const struct schema_field {name}_fields[] = {{\n" + "\n".join(rows) + "\n};")
        if defaults:
            self.tables.append(f"static const struct schema_default {name}_defaults[] = {{\n" + "\n".join(defaults) + "\n};")
        self.tables.append(
            f"{self.linkage(name)} = {{.kind = SCHEMA_RECORD, .name = \"{writer['name']}\", "
            f".size = {'sizeof(' + struct + ')' if reader else '0'}, .fields = {name + '_fields' if rows else 'NULL'}, "
            f".field_count = {len(rows)}, .defaults = {name + '_defaults' if defaults else 'NULL'}, .default_count = {len(defaults)}}};")

    def linkage(self, name):
        public = any(name == f"schema_{c_name(full)}" for full in self.types)
        return f"{'' if public else 'static '}const struct schema_type {name}"


def is_message(subject):
    return "/" not in subject or subject.startswith("intent/")


def load(folder):
    ids = json.loads((folder / "ids.json").read_text())
    found = sorted(str(p.relative_to(folder))[:-5] for p in folder.rglob("*.avsc") if "history" not in p.parts)
    if found != sorted(ids):
        fail("ids.json", f"names other subjects than there are: {sorted(set(found) ^ set(ids))}")
    used = [i for versions in ids.values() for i in versions]
    if len(used) != len(set(used)):
        fail("ids.json", "an id is given twice")
    versions = []
    for subject in found:
        for schema_id in ids[subject][:-1]:
            versions.append((schema_id, Schema(subject, folder / "history" / subject / f"{schema_id}.avsc")))
        versions.append((ids[subject][-1], Schema(subject, folder / f"{subject}.avsc")))
    return found, versions, {s: ids[s][-1] for s in found}


def main(folder, out):
    subjects, versions, current = load(folder)
    latest = {s.subject: s for i, s in versions if i == current[s.subject]}
    gen = Generator(latest)
    messages = {}
    for subject in subjects:
        for branch in latest[subject].branches:
            gen.declare(branch)
            if is_message(subject):
                messages[branch["name"]] = c_name(branch["name"])
    number = {full: i + 1 for i, full in enumerate(messages)}
    names = [c_name(full) for full in gen.types]
    if len(names) != len(set(names)):
        fail("names", f"two types share a C name: {sorted(n for n in names if names.count(n) > 1)}")
    gen.emitted.clear()
    rows, subject_rows = [], {s: i for i, s in enumerate(subjects)}
    for schema_id, schema in sorted(versions, key=lambda v: v[0]):
        is_current = schema_id == current[schema.subject]
        branches = []
        for branch in schema.branches:
            reader = gen.types.get(branch["name"])
            table = gen.table(branch, reader, "" if is_current else f"_from_{schema_id}")
            branches.append(f"    {{{number.get(branch['name'], 0)}, {table}}},")
        gen.tables.append(f"static const struct schema_branch branches_{schema_id}[] = {{\n" + "\n".join(branches) + "\n};")
        text = json.dumps(json.dumps(json.loads(schema.text), separators=(",", ":")))
        rows.append(f"    {{{schema_id}, &schema_subjects[{subject_rows[schema.subject]}], branches_{schema_id}, {len(branches)}, {text}}},")
    order = {schema_id: i for i, (schema_id, _) in enumerate(sorted(versions, key=lambda v: v[0]))}
    write(out, gen, messages, subjects, rows, {s: order[current[s]] for s in subjects})


def write(out, gen, messages, subjects, version_rows, current_row):
    out.mkdir(parents=True, exist_ok=True)
    note = "/* Made by schemas/avrogen.py from schemas/; do not edit. */\n"
    topics = [s for s in subjects if "/" not in s]
    header = [note + "#ifndef ORDERLOG_GEN_TYPES_H\n#define ORDERLOG_GEN_TYPES_H\n\n#include \"core/base/schema.h\"\n"]
    header += [f'#define {topic_macro(t)} "{t}"' for t in topics]
    header += ["", "struct str_list {\n    struct str *items;\n    size_t count;\n};\n"]
    header += [h for h in gen.header if not h.startswith("struct str_list")]
    header.append("enum message_type {\n    MESSAGE_UNKNOWN,\n" + "".join(f"    MESSAGE_{n.upper()},\n" for n in messages.values())
                  + "    MESSAGE_TYPE_COUNT\n};\n")
    header.append("struct message {\n    enum message_type type;\n    union {\n"
                  + "".join(f"        struct {n} {n};\n" for n in messages.values())
                  + "        char body[1]; /* where each of them begins */\n    };\n};\n")
    header.append("/* By enum message_type. */\nextern const struct schema_type *const schema_messages[MESSAGE_TYPE_COUNT];")
    header.append(f"enum {{ SCHEMA_SUBJECT_COUNT = {len(subjects)}, SCHEMA_VERSION_COUNT = {len(version_rows)} }};")
    header.append("extern const struct schema_subject schema_subjects[SCHEMA_SUBJECT_COUNT]; /* by name */")
    header.append("extern const struct schema_version schema_versions[SCHEMA_VERSION_COUNT]; /* by id */")
    header += [f"extern const struct schema_type schema_{c_name(full)};" for full in gen.types]
    header.append("\n#endif")
    (out / "types.h").write_text("\n".join(header) + "\n")

    tables = [note + '#include "gen/types.h"\n']
    for kind in SCALARS:
        tables.append(f"static const struct schema_type scalar_{kind} __attribute__((unused)) = "
                      f"{{.kind = SCHEMA_{kind.upper()}, .size = sizeof({SCALARS[kind]})}};")
    for logical, (kind, c_logical) in LOGICAL.items():
        tables.append(f"static const struct schema_type scalar_{kind}_{c_logical[7:].lower()} __attribute__((unused)) = "
                      f"{{.kind = SCHEMA_{kind.upper()}, .logical = {c_logical}, .size = sizeof({SCALARS[kind]})}};")
    tables += gen.tables
    tables.append("const struct schema_type *const schema_messages[MESSAGE_TYPE_COUNT] = {\n    NULL,\n"
                  + "".join(f"    &schema_{n},\n" for n in messages.values()) + "};")
    tables.append("const struct schema_version schema_versions[SCHEMA_VERSION_COUNT] = {\n" + "\n".join(version_rows) + "\n};")
    tables.append("const struct schema_subject schema_subjects[SCHEMA_SUBJECT_COUNT] = {\n"
                  + "\n".join(f'    {{"{s}", &schema_versions[{current_row[s]}]}},' for s in subjects) + "\n};")
    (out / "tables.c").write_text("\n".join(tables) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
