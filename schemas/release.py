#!/usr/bin/env python3
"""Versions of schemas: release.py draft SUBJECT... | pin [--retired RECORD]... [SUBJECT...] | check

draft   gives each subject its next id, for a version that may be edited until it is pinned.
pin     releases the drafts (all, or those of the subjects named): refuses one that cannot read every version released
        before, then keeps a copy in history/ and the fingerprint in released.json. A record may leave a union only when
        it is named by --retired: no log, archive or table holds one any more.
check   says whether what is pinned is as it was (the build does too), and whether the drafts could be pinned.

Afterwards ORDERLOG_SOURCE=. BUILD/tests/test_golden_codec --write adds the golden bytes of what was pinned; commit all of it.
"""
import argparse
import json
import pathlib
import shutil
import sys

import compat
import subset


def write_json(path, value):
    """One line for each subject, so that two branches that add different ones merge."""
    lines = (f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in value.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n" if value else "{}\n", encoding="utf-8")


def next_id(ids, name):
    """Ids of a family (topics, state/, view/, intent/) stay together, as far as there is room."""
    family = name.rpartition("/")[0]
    used = {i for versions in ids.values() for i in versions}
    found = max(i for subject, versions in ids.items() if subject.rpartition("/")[0] == family for i in versions)
    while found in used:
        found += 1
    return found


def draft(folder, names):
    subset.load(folder)
    ids, released = subset.load_json(folder / "ids.json"), subset.load_json(folder / "released.json")
    for name in names:
        if name not in ids:
            raise subset.SchemaError(f"{name}: no such subject; a new one is a file, and a line in ids.json")
        if str(ids[name][-1]) not in released.get(name, {}):
            raise subset.SchemaError(f"{name}: {ids[name][-1]} is a draft already")
        ids[name].append(next_id(ids, name))
        print(f"{name}: {ids[name][-1]} is a draft now")
    write_json(folder / "ids.json", ids)


def breaks(subject, retired):
    """What keeps the draft from reading each released version; a record once retired is missed by no later version."""
    before = {branch.name for version in subject.versions[-2:-1] for branch in version.branches}
    return [f"{subject.name}: version {version.id} could be read no more: {problem}"
            for version in subject.versions[:-1]
            for problem in compat.breaks(version.branches, subject.current.branches)
            if not problem.record or problem.record in before - set(retired)]


def drafts(folder, names):
    subjects, released = subset.load(folder), subset.load_json(folder / "released.json")
    unknown = set(names) - {s.name for s in subjects}
    if unknown:
        raise subset.SchemaError(f"no such subject: {', '.join(sorted(unknown))}")
    return [s for s in subjects if str(s.current.id) not in released.get(s.name, {}) and (not names or s.name in names)]


def pin(folder, names, retired):
    chosen = drafts(folder, names)
    problems = [p for subject in chosen for p in breaks(subject, retired)]
    if problems:
        raise subset.SchemaError("\n".join(problems))
    released = subset.load_json(folder / "released.json")
    for subject in chosen:
        kept = subset.history_path(folder, subject.name, subject.current.id)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(subset.current_path(folder, subject.name), kept)
        released.setdefault(subject.name, {})[str(subject.current.id)] = subset.fingerprint(subject.current)
        print(f"{subject.name}: {subject.current.id} is released")
    write_json(folder / "released.json", dict(sorted(released.items())))


def check(folder):
    waiting = drafts(folder, [])
    problems = [p for subject in waiting for p in breaks(subject, ())]
    if problems:
        raise subset.SchemaError("\n".join(problems))
    print(f"{len(waiting)} drafts: {', '.join(s.name for s in waiting)}" if waiting else "all are released")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent, metavar="FOLDER")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draft").add_argument("subjects", nargs="+", metavar="SUBJECT")
    pinning = commands.add_parser("pin")
    pinning.add_argument("--retired", action="append", default=[], metavar="RECORD")
    pinning.add_argument("subjects", nargs="*", metavar="SUBJECT")
    commands.add_parser("check")
    args = parser.parse_args()
    try:
        if args.command == "draft":
            draft(args.schemas, args.subjects)
        elif args.command == "pin":
            pin(args.schemas, args.subjects, args.retired)
        else:
            check(args.schemas)
    except subset.SchemaError as error:
        sys.exit(f"release: {error}")


if __name__ == "__main__":
    main()
