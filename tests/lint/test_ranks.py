#!/usr/bin/env python3
"""Includes go downwards only: a folder may include itself and folders of a lower rank, and a few pairs named here."""
import os
import re
import sys

ROOT = os.environ.get("ORDERLOG_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RANKS = {
    "core/base": 0,
    "gen": 1,
    "core/domain": 2,
    "core/http": 2,
    "core/aws": 3, "core/codec": 3, "core/log": 3, "core/store": 3, "core/trace": 3,
    "producers": 4, "projections": 4,
    "consumers": 5, "api": 5,
    "cli": 6,
}
# (folder, what it may include although that is not below it)
ALLOWED = {("core/store", "core/codec")}
# (folder, what it may not include although that is below it, why)
FORBIDDEN = [("projections", "core/log/append.h", "a projection reads the log and never appends to it")]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def folder_of(path):
    """The ranked folder that holds a file or an include, or None."""
    found = [folder for folder in RANKS if path.startswith(folder + "/")]
    return max(found, key=len) if found else None


def sources():
    for top in sorted({folder.split("/")[0] for folder in RANKS}):
        for where, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(where, name), ROOT)


def complaint(path, include):
    """Why this file may not include that, or None."""
    source, target = folder_of(path), folder_of(include)
    if source is None:
        return None if path.startswith("gen/") else "this file's folder has no rank"
    if target is None:
        return "name it by its path from the top" if "/" not in include else "what is included has no rank"
    for folder, forbidden, why in FORBIDDEN:
        if source == folder and include == forbidden:
            return why
    if target == source or RANKS[target] < RANKS[source] or (source, target) in ALLOWED:
        return None
    return f"{target} (rank {RANKS[target]}) is not below {source} (rank {RANKS[source]})"


def main():
    files = wrong = 0
    for path in sources():
        files += 1
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        for match in INCLUDE.finditer(text):
            why = complaint(path, match.group(1))
            if why:
                wrong += 1
                line = text.count("\n", 0, match.start()) + 1
                print(f'{path}:{line}: #include "{match.group(1)}": {why}')
    print(f"{files} files, {wrong} wrong includes")
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main())
