#!/usr/bin/env python3
"""What version 1 of a schema wrote, read by a program that was generated from version 2 (tests/codec/evolution): new
fields with defaults, fields gone, moved, symbols and records that came and went. The bytes below were put together by
hand; with fastavro at hand, what it writes and how it resolves the two versions is compared as well.
"""
import datetime
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import setting

setting.use_venv()
import samples  # noqa: E402
import subset  # noqa: E402

BASE = ("arena", "clock", "err", "ids", "str")
GARDEN, STATE = "shop.garden.events.v1", "state/garden"


def run(*command, **options):
    result = subprocess.run([str(part) for part in command], text=True, capture_output=True, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def release(folder, *arguments):
    run(sys.executable, "-B", setting.ROOT / "schemas/release.py", "--schemas", folder, *arguments)


def build(folder):
    """Releases version 1, then version 2; returns the program that reads by both."""
    schemas = folder / "schemas"
    shutil.copytree(setting.ROOT / "tests/codec/evolution/v1", schemas)
    release(schemas, "pin")
    release(schemas, "draft", GARDEN, STATE)
    shutil.copytree(setting.ROOT / "tests/codec/evolution/v2", schemas, dirs_exist_ok=True)
    release(schemas, "pin", "--retired", "shop.garden.v1.PlantFelled")
    run(sys.executable, "-B", setting.ROOT / "schemas/avrogen.py", schemas, folder / "gen")
    sources = [*(setting.ROOT / "core/codec").glob("*.c"), *(setting.ROOT / f"core/base/{name}.c" for name in BASE)]
    run(os.environ.get("CC", "cc"), "-std=gnu17", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
        "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{setting.ROOT}", f"-I{folder}", *sources,
        folder / "gen/tables.c", setting.ROOT / "tests/codec/evolution/decode.c", "-lcrypto", "-lz", "-o", folder / "decode")
    return folder / "decode"


def z(number):
    return subset.varint(number)


def text(s):
    return z(len(s.encode())) + s.encode()


def framed(schema_id, branch, *parts):
    return b"\0" + schema_id.to_bytes(4, "big") + z(branch) + b"".join(parts)


def decode(program, values):
    """A line for each (subject, bytes)."""
    lines = run(program, input="".join(f"{subject} {data.hex()}\n" for subject, data in values)).splitlines()
    if len(lines) != len(values):
        sys.exit(f"{len(lines)} answers to {len(values)} values")
    return lines


TAG = {"label": "rare", "colour": "grün", "weight": 3}
GROWN = {"alive": True, "first": TAG, "tags": [TAG, {**TAG, "weight": -1}], "former": "seed", "stage": "tree", "height": 150,
         "width": -2**31, "area": 2**63 - 1, "planted_at": "1970-01-01T00:00:01.500000Z", "next": "stump", "seen": [],
         "sound": "00ff", "name": "Linde"}
GROWN_1 = framed(1, 1, text("Linde"), z(150), z(2), text("a note"), z(1), b"\1", text("b"), z(0), z(0), z(2),
                 z(2), z(3), text("rare"), z(-1), text("rare"), z(0), z(1), z(3), text("rare"), z(1), z(0), text("photo"))
BARE_1 = framed(1, 1, text(""), z(0), z(0), z(1), z(0), z(0), z(0), text(""))
BARE = {**GROWN, "tags": [], "stage": "sprout", "height": 0, "name": ""}
CASES = [
    (GARDEN, GROWN_1, ("shop.garden.v1.PlantGrown", GROWN)),
    (GARDEN, BARE_1, ("shop.garden.v1.PlantGrown", {k: v for k, v in BARE.items() if k not in ("first", "former")})),
    (GARDEN, framed(1, 0, text("id"), z(2), z(5), z(6), z(0)), ("", "unknown")),
    (GARDEN, framed(3, 0, text("window")), ("shop.garden.v1.PlantMoved", {"to": "window"})),
    (GARDEN, framed(1, 0, text("id"), z(2), z(5), z(6)), "error poison: "),
    (GARDEN, GROWN_1[:-1], "error poison: "),
    (GARDEN, GROWN_1 + b"\0", "error poison: "),
    (GARDEN, GROWN_1.replace(b"a note", b"a \xffote"), "error poison: "),
    (GARDEN, framed(1, 2, b""), "error poison: "),
    (GARDEN, framed(2, 0, z(1), z(0)), "error poison: "),
    (GARDEN, framed(9, 0, b""), "error unknown-schema: "),
    (STATE, framed(2, 0, z(12), z(1), text("grow")), ("shop.state.v1.StateGarden", {"beds": 1, "plants": 12})),
    (STATE, framed(2, 0, z(12), z(0)), ("shop.state.v1.StateGarden", {"beds": 1, "plants": 12})),
    (STATE, framed(4, 0, z(2), z(12)), ("shop.state.v1.StateGarden", {"beds": 2, "plants": 12})),
    (STATE, framed(2, 0, z(12), z(1), text("grow")[:-1]), "error corrupt: "),
]


def check(program):
    wrong = 0
    lines = decode(program, [(subject, data) for subject, data, _ in CASES])
    for (subject, data, expected), line in zip(CASES, lines):
        name, _, json_text = line.partition(" ")
        right = line.startswith(expected) if isinstance(expected, str) else (
            name == expected[0] and (json_text == expected[1] or json.loads(json_text) == expected[1]))
        if not right:
            wrong += 1
            print(f"{subject} {data.hex()}\n  gives {line}\n  not   {expected}")
    return wrong


def check_with_fastavro(fastavro, program):
    sys.path.insert(0, str(setting.ROOT / "tests/support"))
    from avro_reader import same
    versions = [subset.read_version(setting.ROOT / f"tests/codec/evolution/{v}/{GARDEN}.avsc", 0) for v in ("v1", "v2")]
    writer, reader = (fastavro.parse_schema(version.tree) for version in versions)
    grown = versions[0].branches[1]
    written = [samples.write(fastavro, writer, grown, value) for value in samples.samples(grown)]
    wrong = 0
    for data, line in zip(written, decode(program, [(GARDEN, framed(1, 1) + data[1:]) for data in written])):
        theirs = fastavro.schemaless_reader(io.BytesIO(data), writer, reader)
        # It leaves a default as the schema's JSON has it, where a value would have been converted.
        theirs["sound"] = theirs["sound"].encode("latin-1")
        theirs["planted_at"] = datetime.datetime.fromtimestamp(theirs["planted_at"] / 1e6, datetime.timezone.utc)
        name, _, json_text = line.partition(" ")
        if name != grown.name or not same(json.loads(json_text), theirs):
            wrong += 1
            print(f"fastavro reads {theirs}\n  we     {line}")
    return wrong


def main():
    fastavro = setting.fastavro_or_none()
    with tempfile.TemporaryDirectory() as folder:
        program = build(pathlib.Path(folder))
        wrong = check(program)
        print(f"{len(CASES)} cases by hand")
        if fastavro:
            wrong += check_with_fastavro(fastavro, program)
    if wrong:
        sys.exit(f"{wrong} are wrong")
    sys.exit(0 if fastavro else setting.missing())


if __name__ == "__main__":
    main()
