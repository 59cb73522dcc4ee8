#!/usr/bin/env python3
"""Whether a change of a schema keeps old bytes readable: what schemas/compat.py says, against what happens when fastavro,
which shares nothing with it, writes with the old schema and reads with the new one. Where the two differ, ours is the
stricter one, and the table says so.
"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile

import setting

setting.use_venv()
import avrogen  # noqa: E402
import compat  # noqa: E402
import samples  # noqa: E402
import subset  # noqa: E402

THING = "shop.test.v1.Thing"
UUID = {"type": "string", "logicalType": "uuid"}
TIME = {"type": "long", "logicalType": "timestamp-micros"}


def field(name, type_, **default):
    return {"name": name, "type": type_, **default}


def record(name, *fields, **more):
    return {"type": "record", "name": name, "fields": list(fields), **more}


def enum(name, *symbols):
    return {"type": "enum", "name": name, "symbols": list(symbols)}


def array(items):
    return {"type": "array", "items": items}


def optional(type_):
    return ["null", type_]


def thing(*fields):
    return record("Thing", *fields, namespace="shop.test.v1")


def other(*fields, name="Other"):
    return record(name, *fields, namespace="shop.test.v1")


A, B = field("a", "string"), field("b", "long")
INNER = record("Inner", A)
OK, STRICTER, BREAKS = "both read it", "fastavro reads it, we do not", "neither reads it"


def both(old, new):
    """The same field `a`, of another type."""
    return [thing(field("a", old))], [thing(field("a", new))]


# what changes, (old union, new union), verdict, the paths that break
CHANGES = [
    ("nothing", ([thing(A)], [thing(A)]), OK, []),
    ("a doc", ([thing(A)], [{**thing({**A, "doc": "new"}), "doc": "new"}]), OK, []),
    ("the order of fields", ([thing(A, B)], [thing(B, A)]), OK, []),
    ("a field gone", ([thing(A, B)], [thing(B)]), OK, []),
    ("every field gone", ([thing(A, B)], [thing()]), OK, []),
    ("a new field", ([thing(A)], [thing(A, B)]), BREAKS, [".b"]),
    ("a new field with a default", ([thing(A)], [thing(A, field("b", "long", default=7))]), OK, []),
    ("a new text with a default", ([thing(A)], [thing(A, field("b", "string", default="x"))]), OK, []),
    ("a new optional field without a default", ([thing(A)], [thing(A, field("b", optional("string")))]), BREAKS, [".b"]),
    ("a new optional field", ([thing(A)], [thing(A, field("b", optional("string"), default=None))]), OK, []),
    ("a new list", ([thing(A)], [thing(A, field("b", array("long")))]), BREAKS, [".b"]),
    ("a new list with a default", ([thing(A)], [thing(A, field("b", array("long"), default=[]))]), OK, []),
    ("a new record", ([thing(A)], [thing(A, field("b", INNER))]), BREAKS, [".b"]),
    ("a new enum with a default", ([thing(A)], [thing(A, field("b", enum("E", "x", "y"), default="y"))]), OK, []),
    ("a field renamed", ([thing(A)], [thing(field("c", "string"))]), BREAKS, [".c"]),
    ("a default gone", ([thing({**A, "default": "x"})], [thing(A)]), OK, []),
    ("a default changed", ([thing({**A, "default": "x"})], [thing({**A, "default": "y"})]), OK, []),
    ("string to long", both("string", "long"), BREAKS, [".a"]),
    ("long to string", both("long", "string"), BREAKS, [".a"]),
    ("long to int", both("long", "int"), BREAKS, [".a"]),
    ("int to long", both("int", "long"), STRICTER, [".a"]),
    ("boolean to int", both("boolean", "int"), BREAKS, [".a"]),
    ("string to bytes", both("string", "bytes"), STRICTER, [".a"]),
    ("any string to a UUID", both("string", UUID), STRICTER, [".a"]),
    ("a UUID to any string", both(UUID, "string"), STRICTER, [".a"]),
    ("a number to a time", both("long", TIME), STRICTER, [".a"]),
    ("required to optional", both("string", optional("string")), STRICTER, [".a"]),
    ("optional to required", both(optional("string"), "string"), BREAKS, [".a"]),
    ("optional string to optional long", both(optional("string"), optional("long")), BREAKS, [".a"]),
    ("optional int to optional long", both(optional("int"), optional("long")), STRICTER, [".a"]),
    ("string to a list", both("string", array("string")), BREAKS, [".a"]),
    ("a list of other items", both(array("string"), array("long")), BREAKS, [".a[]"]),
    ("a list of records to one of texts", both(array(INNER), array("string")), BREAKS, [".a[]"]),
    ("a new symbol", both(enum("E", "x"), enum("E", "x", "y")), OK, []),
    ("the order of symbols", both(enum("E", "x", "y"), enum("E", "y", "x")), OK, []),
    ("a symbol gone", both(enum("E", "x", "y"), enum("E", "y")), BREAKS, [".a"]),
    ("two symbols gone", both(enum("E", "x", "y", "z"), enum("E", "y")), BREAKS, [".a", ".a"]),
    ("an enum to a string", both(enum("E", "x"), "string"), BREAKS, [".a"]),
    ("a string to an enum", both("string", enum("E", "x")), BREAKS, [".a"]),
    ("an enum of another name", both(enum("E", "x"), enum("F", "x")), BREAKS, [".a"]),
    ("a field within a record gone", both(record("Inner", A, B), INNER), OK, []),
    ("a new field within a record", both(INNER, record("Inner", A, B)), BREAKS, [".a.b"]),
    ("the same with a default", both(INNER, record("Inner", A, field("b", "long", default=0))), OK, []),
    ("a record of another name", both(INNER, record("Outer", A)), BREAKS, [".a"]),
    ("a record of another namespace", both(INNER, {**INNER, "namespace": "shop.test.v2"}), STRICTER, [".a"]),
    ("a new field within an optional record", both(optional(INNER), optional(record("Inner", A, B))), BREAKS, [".a.b"]),
    ("a new field within a list's record", both(array(INNER), array(record("Inner", A, B))), BREAKS, [".a[].b"]),
    ("a type within a list's record", both(array(INNER), array(record("Inner", field("a", "long")))), BREAKS, [".a[].a"]),
    ("two at once", ([thing(A, B)], [thing(field("b", "string"), field("c", "long"), A)]), BREAKS, [".b", ".c"]),
    ("a new record in the union", ([thing(A)], [other(B), thing(A)]), OK, []),
    ("the order of the union", ([thing(A), other(B)], [other(B), thing(A)]), OK, []),
    ("a record gone from the union", ([thing(A), other(B)], [thing(A)]), BREAKS, ["shop.test.v1.Other"]),
    ("a record renamed", ([thing(A), other(B)], [thing(A), other(B, name="Another")]), BREAKS, ["shop.test.v1.Other"]),
    ("a change in one of two", ([thing(A), other(B)], [thing(A), other(A, B)]), BREAKS, ["shop.test.v1.Other.a"]),
]


def parse(trees):
    return [subset.Version(number, subset.without_docs(tree), subset.Parser(pathlib.Path(f"version {number}")).union(tree))
            for number, tree in enumerate(trees, 1)]


def fastavro_reads(fastavro, old, new):
    """None when it reads all; or the first exception."""
    writer, reader = fastavro.parse_schema(old.tree), fastavro.parse_schema(new.tree)
    for branch in old.branches:
        for value in samples.samples(branch):
            data = samples.write(fastavro, writer, branch, value)
            try:
                fastavro.schemaless_reader(io.BytesIO(data), writer, reader)
            except fastavro.read.SchemaResolutionError as error:
                return error
    return None


def generator_reads(old, new):
    header = avrogen.Header()
    for branch in new.branches:
        header.add(branch)
    subject = subset.Subject("shop.test.v1", [old, new])
    try:
        avrogen.Tables(header.types).version(subject, old, {})
    except subset.SchemaError:
        return False
    return True


def check_change(fastavro, title, trees, verdict, paths):
    old, new = parse(trees)
    found = compat.breaks(old.branches, new.branches)
    theirs = fastavro_reads(fastavro, old, new)
    expected = [path if path.startswith("shop") else THING + path for path in paths]
    problems = []
    if [problem.path for problem in found] != expected:
        problems.append(f"breaks at {[str(p) for p in found]}, not at {expected}")
    if (theirs is None) != (verdict != BREAKS) or (not found) != (verdict == OK):
        problems.append(f"{verdict}? fastavro: {theirs!r}, ours: {[str(p) for p in found]}")
    # A record that is gone is a release's affair: the generated code skips it.
    if generator_reads(old, new) != all(problem.record for problem in found):
        problems.append("the generator says otherwise")
    return [f"{title}: {problem}" for problem in problems]


def check_real(fastavro):
    """Every schema there is: fastavro parses it, and each version reads the ones before."""
    problems = []
    for subject in subset.load(setting.ROOT / "schemas"):
        for version in subject.versions:
            error = fastavro_reads(fastavro, version, subject.current)
            gone = any(problem.record for problem in compat.breaks(version.branches, subject.current.branches))
            if error and not gone:
                problems.append(f"{subject.name}: version {version.id}: {error!r}")
    return problems


def check_command():
    """compat.py OLD NEW, as a person runs it."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("old.avsc", "new.avsc")]
        for path, tree in zip(paths, ([thing(A)], [thing(A, B)])):
            path.write_text(json.dumps(tree))
        for old, new, expected in ((*paths, 1), (*reversed(paths), 0)):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    compat.main(old, new)
            except SystemExit as stop:
                if stop.code != expected:
                    problems.append(f"compat.py {old.name} {new.name} exits with {stop.code!r}")
    return problems


def main():
    fastavro = setting.fastavro_or_none()
    if not fastavro:
        sys.exit(setting.missing())
    problems = [p for change in CHANGES for p in check_change(fastavro, *change)] + check_real(fastavro) + check_command()
    print(*problems, f"{len(CHANGES)} changes, {len(problems)} problems", sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
