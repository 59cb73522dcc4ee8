#!/usr/bin/env bash
# Every C file of the repository is as clang-format leaves it.
set -euo pipefail
cd "$(dirname "$0")/../.."
# A checkout may belong to somebody else than who tests it; git wants to be told that this is meant.
git -c safe.directory='*' ls-files -z '*.c' '*.h' | xargs -0 --no-run-if-empty clang-format --dry-run -Werror
