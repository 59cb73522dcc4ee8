"""The deliberate subset of Avro that this project speaks: reads, checks and fingerprints the files of this folder.

Every .avsc is a JSON array of records: the union that is a topic's value, or (below state/, view/ and intent/) what
the program keeps elsewhere. ids.json gives each subject the ids of its versions, oldest first. A version is a draft
until release.py pins it: its fingerprint goes to released.json, a copy to history/<subject>/<id>.avsc, and from then
on an edit is an error here. What is not in the subset is an error too, at build time.
"""
import dataclasses
import hashlib
import json
import pathlib
import re
import typing

SCALARS = ("boolean", "int", "long", "string", "bytes")
LOGICAL = {"uuid": "string", "timestamp-micros": "long"}
ATTRIBUTES = {
    "record": {"type", "name", "namespace", "doc", "fields"},
    "enum": {"type", "name", "namespace", "doc", "symbols"},
    "array": {"type", "items"},
    **{kind: {"type", "logicalType"} for kind in SCALARS},
}
BRANCHES_MAX = 64  # so that the index of a union is one byte
RANGES = {"int": range(-2**31, 2**31), "long": range(-2**63, 2**63)}


class SchemaError(Exception):
    pass


@dataclasses.dataclass
class Type:
    kind: str  # one of SCALARS, record, enum, array, option
    logical: typing.Optional[str] = None
    name: typing.Optional[str] = None  # full, of a record or enum
    fields: list = dataclasses.field(default_factory=list)
    symbols: list = dataclasses.field(default_factory=list)
    item: typing.Optional["Type"] = None  # of an array or option


@dataclasses.dataclass
class Field:
    name: str
    type: Type
    default: typing.Optional[bytes]  # Avro-encoded; None: there is none


@dataclasses.dataclass
class Version:
    id: int
    tree: list  # the JSON, without docs
    branches: list


@dataclasses.dataclass
class Subject:
    name: str
    versions: list  # oldest first; the last one is compiled into types

    @property
    def current(self):
        return self.versions[-1]

    @property
    def is_union(self):  # of messages; the others are one record each
        return "/" not in self.name or self.name.startswith("intent/")


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode_default(type_, value):
    """The default's bytes, or None when it is not one of the type (or of a kind that the subset has no defaults for)."""
    kind = type_.kind
    if kind == "option":
        return b"\x00" if value is None else None
    if kind == "boolean":
        return bytes([value]) if isinstance(value, bool) else None
    if kind in RANGES:
        return varint(value) if type(value) is int and value in RANGES[kind] else None
    if kind in ("string", "bytes") and isinstance(value, str):
        try:
            raw = value.encode("utf-8" if kind == "string" else "latin-1")
        except UnicodeEncodeError:
            return None
        return varint(len(raw)) + raw
    if kind == "enum":
        return varint(type_.symbols.index(value)) if value in type_.symbols else None
    return b"\x00" if kind == "array" and value == [] else None


def least_size(type_):
    """The fewest bytes a value takes: a list of what takes none could claim any number of items."""
    return sum(least_size(f.type) for f in type_.fields) if type_.kind == "record" else 1


class Parser:
    """Of one file. Errors name the file and the record that is being read."""

    def __init__(self, path):
        self.path, self.named, self.open = path, {}, []

    def fail(self, what):
        raise SchemaError(": ".join([str(self.path), *self.open[-1:], what]))

    def name(self, text):
        if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", text):
            self.fail(f"{text!r} is not a name")
        return text

    def names(self, texts):
        if len({self.name(t) for t in texts}) != len(texts):
            self.fail(f"a name is there twice in {', '.join(texts)}")
        return texts

    def union(self, tree):
        if not isinstance(tree, list) or not 0 < len(tree) <= BRANCHES_MAX:
            self.fail(f"must be a JSON array of 1 to {BRANCHES_MAX} records")
        branches = [self.type(node, "") for node in tree]
        if any(branch.kind != "record" for branch in branches):
            self.fail("must be a JSON array of records")
        self.names([branch.name for branch in branches])
        return branches

    def type(self, node, space):
        if isinstance(node, str):
            return self.reference(node, space)
        if isinstance(node, list):
            if len(node) != 2 or node[0] != "null":
                self.fail(f'a union inside a record must be ["null", type], not {node}')
            item = self.type(node[1], space)
            if item.kind in ("array", "option"):
                self.fail(f"an optional {item.kind} is not in the subset")
            return Type("option", item=item)
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(kind, str) or kind not in ATTRIBUTES:
            self.fail(f"{kind or node} is not in the subset")
        if not ATTRIBUTES[kind].issuperset(node):
            self.fail(f"{', '.join(sorted(set(node) - ATTRIBUTES[kind]))} of {kind} is not in the subset")
        if kind in ("record", "enum"):
            return self.definition(kind, node, space)
        if kind == "array":
            item = self.type(node["items"], space)
            if item.kind in ("array", "option"):
                self.fail(f"an array of {item.kind}s is not in the subset")
            if least_size(item) == 0:
                self.fail(f"an array of {item.name}, which takes no bytes, is not in the subset")
            return Type("array", item=item)
        logical = node.get("logicalType")
        if logical and LOGICAL.get(logical) != kind:
            self.fail(f"logical type {logical} of {kind} is not in the subset")
        return Type(kind, logical)

    def reference(self, name, space):
        if name in SCALARS:
            return Type(name)
        full = name if "." in name else f"{space}.{name}"
        if full in self.open:
            self.fail(f"{full} is part of itself: not in the subset")
        if full not in self.named:
            self.fail(f"{name} is not known (yet)")
        return self.named[full]

    def definition(self, kind, node, space):
        name = self.name(node.get("name"))
        full = name if "." in name else f"{node.get('namespace', space)}.{name}"
        if full.startswith("."):
            self.fail(f"{name} is in no namespace")
        if full in self.named or full in self.open:
            self.fail(f"{full} is defined twice")
        self.open.append(full)
        made = Type(kind, name=full)
        if kind == "enum":
            made.symbols = self.names(node["symbols"])
        else:
            made.fields = [self.field(field, full.rpartition(".")[0]) for field in node["fields"]]
            self.names([field.name for field in made.fields])
        self.open.pop()
        self.named[full] = made
        return made

    def field(self, node, space):
        name = self.name(node.get("name"))
        if not {"name", "type", "doc", "default"}.issuperset(node):
            self.fail(f"{name}: {', '.join(sorted(set(node) - {'name', 'type', 'doc', 'default'}))} is not in the subset")
        made = Field(name, self.type(node["type"], space), None)
        if "default" in node:
            made.default = encode_default(made.type, node["default"])
            if made.default is None:
                self.fail(f"{name}: {node['default']!r} is no default for {made.type.kind} in the subset")
        return made


def without_docs(node):
    """What an edit of a doc leaves as it was."""
    if isinstance(node, dict):
        return {k: without_docs(v) for k, v in node.items() if k != "doc"}
    return [without_docs(v) for v in node] if isinstance(node, list) else node


def fingerprint(version):
    return hashlib.sha256(json.dumps(version.tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_version(path, schema_id):
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Version(schema_id, without_docs(tree), Parser(path).union(tree))
    except KeyError as error:
        raise SchemaError(f"{path}: something lacks its {error}") from error
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path}: {error}") from error


def current_path(folder, subject):
    return folder / f"{subject}.avsc"


def history_path(folder, subject, schema_id):
    return folder / "history" / subject / f"{schema_id}.avsc"


def load_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def load_subject(folder, name, ids, released):
    """`released`: the fingerprints of its pinned versions, by id."""
    draft = [i for i in ids if str(i) not in released]
    if not ids or draft not in ([], ids[-1:]) or not {str(i) for i in ids}.issuperset(released):
        raise SchemaError(f"{name}: ids.json {ids} and released.json {sorted(released)} do not go together")
    pinned = [read_version(history_path(folder, name, i), i) for i in ids if i not in draft]
    current = read_version(current_path(folder, name), ids[-1])
    for version in pinned + [current]:
        if version.id not in draft and fingerprint(version) != released[str(version.id)]:
            raise SchemaError(f"{name}: version {version.id} is released, but was edited afterwards. "
                              f"For a new version: schemas/release.py draft {name}")
    subject = Subject(name, [v for v in pinned if v.id != current.id] + [current])
    records = [[branch.name for branch in version.branches] for version in subject.versions]
    if not subject.is_union and any(len(r) != 1 or r != records[0] for r in records):
        raise SchemaError(f"{name}: must be one record, of the same name in each version")
    return subject


def load(folder):
    """Every subject of the folder, by name."""
    ids, released = load_json(folder / "ids.json"), load_json(folder / "released.json")
    paths = [p.relative_to(folder) for p in folder.rglob("*.avsc")]
    found = sorted(p.with_suffix("").as_posix() for p in paths if p.parts[0] != "history")
    if set(found) != set(ids) or not set(ids).issuperset(released):
        raise SchemaError(f"ids.json and released.json name other subjects than there are: "
                          f"{', '.join(sorted(set(found) ^ set(ids) | set(released) - set(ids)))}")
    used = [i for versions in ids.values() for i in versions]
    if len(used) != len(set(used)) or not all(type(i) is int and 0 < i < 2**31 for i in used):
        raise SchemaError("ids.json: an id is given twice, or is none")
    kept = {history_path(pathlib.Path(), s, i) for s in released for i in released[s]}
    if kept != {p for p in paths if p.parts[0] == "history"}:
        raise SchemaError("history/ holds other versions than released.json")
    return [load_subject(folder, name, ids[name], released.get(name, {})) for name in found]
