"""Reads `orderlog tail --output json --values hex` on stdin and compares: what an independent Avro reader (fastavro) sees in
each record's bytes, and what orderlog says is in them. avro_reader.py SCHEMAS_DIR"""
import datetime
import io
import json
import pathlib
import sys
import uuid

import fastavro


def load_schemas(folder):
    """Every schema by its id: the last of a subject is the current one, the others are history."""
    schemas = {}
    for subject, ids in json.loads((folder / "ids.json").read_text()).items():
        for number in ids:
            path = folder / (f"{subject}.avsc" if number == ids[-1] else f"history/{subject}/{number}.avsc")
            schemas[number] = fastavro.parse_schema(json.loads(path.read_text()))
    return schemas


def decode(schemas, value):
    """The record's full name and its fields, from Confluent's framing."""
    if value[0] != 0:
        raise ValueError("magic byte")
    stream = io.BytesIO(value[5:])
    decoded = fastavro.schemaless_reader(stream, schemas[int.from_bytes(value[1:5], "big")], return_record_name=True)
    if stream.read():
        raise ValueError("bytes after the record")
    return decoded


def present(fields):
    return {name: value for name, value in fields.items() if value is not None}


def same(ours, theirs):
    """Whether orderlog's JSON says what fastavro read. Times are compared as times; an absent field may be left out."""
    if isinstance(theirs, tuple):  # a record within a union comes with its name
        return same(ours, theirs[1])
    if isinstance(theirs, dict):
        ours, theirs = present(ours), present(theirs)
        return ours.keys() == theirs.keys() and all(same(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, datetime.datetime):
        return datetime.datetime.fromisoformat(ours.replace("Z", "+00:00")) == theirs
    if isinstance(theirs, uuid.UUID):
        return ours == str(theirs)
    if isinstance(theirs, bytes):
        return ours == theirs.hex()
    return ours == theirs and type(ours) is type(theirs)


def main(folder):
    schemas = load_schemas(pathlib.Path(folder))
    seen, wrong = {}, 0
    for line in sys.stdin:
        record = json.loads(line)
        if record["value_hex"] is None:
            continue
        name, fields = decode(schemas, bytes.fromhex(record["value_hex"]))
        seen[name] = seen.get(name, 0) + 1
        if name != record["type"] or not same(record["event"], fields):
            wrong += 1
            print(f"{record['topic']}/{record['partition']}@{record['offset']}: {name} {fields}\n  but orderlog: {line}")
    for name in sorted(seen):
        print(f"{seen[name]:>7} {name}")
    print(f"{sum(seen.values())} records of {len(seen)} types, {wrong} read differently")
    return 1 if wrong or len(seen) < 25 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
