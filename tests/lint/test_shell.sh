#!/usr/bin/env bash
# ctest: TIMEOUT=1200
# Every shell script is as shellcheck wants it, every Python file compiles.
# SC2015: "a && b || c" stands here only where b cannot fail.
set -euo pipefail
cd "$(dirname "$0")/../.."

# A checkout may belong to somebody else than who tests it; git wants to be told that this is meant.
repo() {
    git -c safe.directory='*' "$@"
}

scripts() {
    { repo ls-files -z '*.sh' && repo grep -lz '^#!/usr/bin/env bash'; } | sort -zu
}

scripts | xargs -0 shellcheck -x -P SCRIPTDIR -P infra/local -P tests/support -e SC2015
repo ls-files -z '*.py' | xargs -0 --no-run-if-empty python3 -c '
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        compile(file.read(), path, "exec")'
