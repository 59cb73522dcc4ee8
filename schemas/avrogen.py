#!/usr/bin/env python3
"""Makes C types and codec tables from the schemas: avrogen.py SCHEMAS_DIR OUT_DIR

OUT_DIR/types.h has a struct or enum for each named type, as core/base/schema.h says, and the tagged union of all
messages; OUT_DIR/tables.c describes them to the codec, together with every version of every subject: the bytes of an
earlier one decode by name into today's structs, with defaults.
"""
import json
import pathlib
import re
import sys

import compat
import subset

C_SCALARS = {"boolean": "bool", "int": "int32_t", "long": "int64_t", "string": "struct str", "bytes": "struct str"}
NOTE = "/* Made by schemas/avrogen.py from schemas/; do not edit. */\n"


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def c_name(full):
    """shop.order.v1.OrderPlaced -> order_placed; shop.order.v1.CommandRefused -> order_command_refused"""
    parts = full.split(".")
    space, name = (parts[-3] if len(parts) > 3 else ""), snake(parts[-1])
    return name if not space or name == space or name.startswith(space + "_") else f"{space}_{name}"


def topic_macro(subject):
    return "TOPIC_" + re.sub(r"^shop\.|\.v1$", "", subject).replace(".", "_").upper()


def is_text(type_):
    return type_.kind in ("string", "bytes")


def list_name(item):
    return (c_name(item.name) if item.name else "str" if is_text(item) else item.kind) + "_list"


def c_type(t):
    if t.kind in C_SCALARS:
        return C_SCALARS[t.kind]
    if t.kind == "enum":
        return f"enum {c_name(t.name)}"
    if t.kind == "record":
        return f"struct {c_name(t.name)}"
    if t.kind == "array":
        return f"struct {list_name(t.item)}"
    if is_text(t.item):
        return "struct str"
    return f"struct {c_name(t.item.name)} *" if t.item.kind == "record" else "struct opt_long"


def declare(name, type_):
    return f"{type_}{name}" if type_.endswith("*") else f"{type_} {name}"


class Header:
    """The declarations of types, each after what it is made of."""

    def __init__(self):
        self.types = {}  # by full name
        self.made = {"str_list": "struct str_list {\n    struct str *items;\n    size_t count;\n};\n"}  # text by C name

    def add(self, t):
        if t.item:
            self.add(t.item)
        if t.kind == "array":
            self.made.setdefault(list_name(t.item), f"struct {list_name(t.item)} {{\n    {declare('*items', c_type(t.item))};\n"
                                                    f"    size_t count;\n}};\n")
        if not t.name:
            return
        if self.types.setdefault(t.name, t) != t:
            raise subset.SchemaError(f"{t.name} is defined differently in two files")
        for field in t.fields:
            self.add(field.type)
        name = c_name(t.name)
        if t.kind == "enum":
            text = "\n".join(f"    {name.upper()}_{symbol.upper()}," for symbol in t.symbols)
            self.made.setdefault(name, f"enum {name} {{ /* {t.name} */\n{text}\n}};\n")
        else:
            text = "\n".join(f"    {declare(f.name, c_type(f.type))};" for f in t.fields)
            self.made.setdefault(name, f"struct {name} {{ /* {t.name} */\n{text}\n}};\n")

    def check_names(self):
        names = [c_name(full) for full in self.types]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise subset.SchemaError(f"two types share a C name: {', '.join(twice)}")


class Tables:
    """The descriptions: of today's types, with their plain names, and of earlier versions', with a suffix."""

    def __init__(self, types):
        self.public = {f"schema_{c_name(full)}" for full in types}
        self.made = {}  # text by C name, in the order of need
        for kind, c in C_SCALARS.items():
            self.scalar(kind, f"{{.kind = SCHEMA_{kind.upper()}, .size = sizeof({c})}}")
        for logical, kind in subset.LOGICAL.items():
            upper = logical.replace("-", "_").upper()
            self.scalar(f"{kind}_{upper.lower()}", f"{{.kind = SCHEMA_{kind.upper()}, .logical = SCHEMA_{upper}, "
                                                   f".size = sizeof({C_SCALARS[kind]})}}")

    def scalar(self, name, text):
        self.made[f"scalar_{name}"] = f"static const struct schema_type scalar_{name} __attribute__((unused)) = {text};"

    def type(self, writer, reader, suffix):
        """Describes `writer` decoding into `reader` (None: it is skipped); returns the name of the description."""
        if writer.kind in C_SCALARS:
            return f"scalar_{writer.kind}" + (f"_{writer.logical.replace('-', '_')}" if writer.logical else "")
        if writer.item:
            item = self.type(writer.item, reader and reader.item, suffix)
            name = f"{writer.kind}_of_{item}"
            size = c_type(writer) if writer.kind == "option" else "struct schema_list"
            if writer.kind == "option" and writer.item.kind == "record":
                size = "void *"  # the struct itself may be known no more
            text = f".kind = SCHEMA_{writer.kind.upper()}, .size = sizeof({size}), .item = &{item}"
        else:
            name = f"schema_{c_name(writer.name)}{suffix}" + ("" if reader else "_skipped")
            if name in self.made:
                return name
            text = self.enum(writer, reader or writer) if writer.kind == "enum" else self.record(name, writer, reader, suffix)
        linkage = "" if name in self.public else "static "
        self.made.setdefault(name, f"{linkage}const struct schema_type {name} = {{{text}}};")
        return name

    def enum(self, writer, reader):
        symbols = ", ".join(f'"{s}"' for s in reader.symbols)
        text = (f".kind = SCHEMA_ENUM, .name = \"{writer.name}\", .size = sizeof(int32_t), "
                f".symbols = (const char *const[]){{{symbols}}}, .symbol_count = {len(writer.symbols)}")
        if reader.symbols == writer.symbols:
            return text
        to = ", ".join(str(reader.symbols.index(s)) for s in writer.symbols)
        return f"{text}, .symbol_map = (const int32_t[]){{{to}}}"

    def record(self, name, writer, reader, suffix):
        struct = f"struct {c_name(writer.name)}"
        absent = {f.name: f for f in reader.fields} if reader else {}
        fields, defaults = [], []
        for field in writer.fields:
            mine = absent.pop(field.name, None)
            offset = f"(int32_t)offsetof({struct}, {field.name})" if mine else "SCHEMA_SKIP"
            fields.append(f"    {{\"{field.name}\", &{self.type(field.type, mine and mine.type, suffix)}, {offset}}},")
        for field in absent.values():
            text = "".join(f"\\{byte:03o}" for byte in field.default)
            defaults.append(f"    {{&{self.type(field.type, field.type, '')}, (int32_t)offsetof({struct}, {field.name}), "
                            f"\"{text}\", {len(field.default)}}},")
        text = f".kind = SCHEMA_RECORD, .name = \"{writer.name}\", .size = {f'sizeof({struct})' if reader else 0}"
        for what, one, rows in (("fields", "field", fields), ("defaults", "default", defaults)):
            if rows:
                self.made[f"{name}_{what}"] = f"static const struct schema_{one} {name}_{what}[] = {{\n" + "\n".join(rows) + "\n};"
                text += f", .{what} = {name}_{what}, .{one}_count = {len(rows)}"
        return text

    def version(self, subject, version, number):
        """`number`: the message types, by full name. Returns how many branches there are."""
        mine = {branch.name: branch for branch in subject.current.branches}
        for problem in compat.breaks(version.branches, subject.current.branches):
            if not problem.record:  # a record that is gone is skipped
                raise subset.SchemaError(f"{subject.name}: version {version.id} can be read no more: {problem}")
        suffix = "" if version is subject.current else f"_from_{version.id}"
        rows = [f"    {{{number.get(branch.name, 0) if branch.name in mine else 0}, "
                f"&{self.type(branch, mine.get(branch.name), suffix)}}}," for branch in version.branches]
        self.made[f"branches_{version.id}"] = (f"static const struct schema_branch branches_{version.id}[] = {{\n"
                                               + "\n".join(rows) + "\n};")


def messages_of(subjects):
    """Full names of the records that are messages, in the order of their numbers, from 1."""
    return list(dict.fromkeys(b.name for s in subjects if s.is_union for b in s.current.branches))


def header_text(header, subjects, messages):
    names = [c_name(full) for full in messages]
    versions = sum(len(s.versions) for s in subjects)
    return "\n".join([
        NOTE + "#ifndef ORDERLOG_GEN_TYPES_H\n#define ORDERLOG_GEN_TYPES_H\n\n#include \"core/base/schema.h\"\n",
        *(f'#define {topic_macro(s.name)} "{s.name}"' for s in subjects if "/" not in s.name),
        "",
        *header.made.values(),
        "enum message_type {\n    MESSAGE_UNKNOWN,",
        *(f"    MESSAGE_{n.upper()}," for n in names),
        "    MESSAGE_TYPE_COUNT\n};\n",
        "struct message {\n    enum message_type type;\n    union {",
        *(f"        struct {n} {n};" for n in names),
        "        char body[1]; /* where each of them begins */\n    };\n};\n",
        "/* By enum message_type. */\nextern const struct schema_type *const schema_messages[MESSAGE_TYPE_COUNT];",
        f"enum {{ SCHEMA_SUBJECT_COUNT = {len(subjects)}, SCHEMA_VERSION_COUNT = {versions} }};",
        "extern const struct schema_subject schema_subjects[SCHEMA_SUBJECT_COUNT]; /* by name */",
        "extern const struct schema_version schema_versions[SCHEMA_VERSION_COUNT]; /* by id */",
        *(f"extern const struct schema_type schema_{c_name(full)};" for full in header.types),
        "\n#endif\n"])


def tables_text(header, subjects, messages, released):
    tables = Tables(header.types)
    number = {full: i + 1 for i, full in enumerate(messages)}
    versions = sorted(((v, i) for i, s in enumerate(subjects) for v in s.versions), key=lambda pair: pair[0].id)
    for subject in subjects:
        for version in subject.versions:
            tables.version(subject, version, number)
    rows = [f"    {{{v.id}, &schema_subjects[{subject}], branches_{v.id}, {len(v.branches)}, "
            f"{'true' if str(v.id) in released.get(subjects[subject].name, {}) else 'false'},\n     "
            + json.dumps(json.dumps(v.tree, separators=(",", ":"))) + "}," for v, subject in versions]
    place = {v.id: i for i, (v, _) in enumerate(versions)}
    return "\n".join([
        NOTE + '#include "gen/types.h"\n',
        *tables.made.values(),
        "const struct schema_type *const schema_messages[MESSAGE_TYPE_COUNT] = {\n    NULL,",
        *(f"    &schema_{c_name(full)}," for full in messages),
        "};\nconst struct schema_version schema_versions[SCHEMA_VERSION_COUNT] = {",
        *rows,
        "};\nconst struct schema_subject schema_subjects[SCHEMA_SUBJECT_COUNT] = {",
        *(f'    {{"{s.name}", &schema_versions[{place[s.current.id]}]}},' for s in subjects),
        "};\n"])


def main(folder, out):
    subjects = subset.load(folder)
    header = Header()
    for subject in subjects:
        for branch in subject.current.branches:
            header.add(branch)
    header.check_names()
    messages = messages_of(subjects)
    out.mkdir(parents=True, exist_ok=True)
    (out / "types.h").write_text(header_text(header, subjects, messages), encoding="utf-8")
    (out / "tables.c").write_text(tables_text(header, subjects, messages, subset.load_json(folder / "released.json")),
                                    encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    except subset.SchemaError as error:
        sys.exit(f"avrogen: {error}")
