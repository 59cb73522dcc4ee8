"""A consumer that knows a schema registry and nothing of orderlog: wire_reader.py REGISTRY_URL UUIDS

Reads `orderlog tail --output json --values hex` on stdin. A value in Confluent's framing is decoded by the schema that the
registry has under its id; one in Glue's by the schema whose UUID the file UUIDS gives (lines TOPIC NUMBER UUID) in the
topic's subject. Both must say what orderlog says is in the record."""
import collections
import io
import json
import sys
import urllib.request
import uuid

import fastavro

from avro_reader import same


class Registry:
    def __init__(self, url, uuids):
        self.url = url
        self.by_id = {}
        self.subjects = {}
        for line in open(uuids, encoding="utf-8"):
            topic, _, number = line.split()
            self.subjects[number] = topic

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.loads(answer.read())

    def schema(self, key, path):
        if key not in self.by_id:
            self.by_id[key] = fastavro.parse_schema(json.loads(self.get(path)["schema"]))
        return self.by_id[key]

    def read(self, value):
        """(framing, schema, the rest)"""
        if value[0] == 0:
            number = int.from_bytes(value[1:5], "big")
            return "confluent", self.schema(number, f"/schemas/ids/{number}"), value[5:]
        if value[:2] == b"\x03\x00":
            number = str(uuid.UUID(bytes=value[2:18]))
            return "glue", self.schema(number, f"/subjects/{self.subjects[number]}-value/versions/latest"), value[18:]
        raise ValueError(f"no framing that is known: {value[:20].hex()}")


def main(url, uuids):
    registry, seen, wrong, types = Registry(url, uuids), collections.Counter(), 0, set()
    for line in sys.stdin:
        record = json.loads(line)
        if record["value_hex"] is None:
            continue
        framing, schema, rest = registry.read(bytes.fromhex(record["value_hex"]))
        stream = io.BytesIO(rest)
        name, fields = fastavro.schemaless_reader(stream, schema, return_record_name=True)
        seen[framing] += 1
        types.add(name)
        if stream.read() or name != record["type"] or not same(record["event"], fields):
            wrong += 1
            print(f"{framing}: {name} {fields}\n  but orderlog: {line}")
    print(f"{dict(seen)}, {len(types)} types, {wrong} read differently")
    return 1 if wrong or len(types) < 20 or set(seen) != {"confluent", "glue"} else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
