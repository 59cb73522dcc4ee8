#!/usr/bin/env bash
# The domain decides from what it is given: no I/O, no clock, no allocation. So its library, linked into one object, needs
# nothing from outside but mem*.
set -euo pipefail

case ${ORDERLOG_BUILD:?} in
*-asan-ubsan | *-tsan | *-coverage)
    echo "an instrumented build needs its runtime's symbols"
    exit 77
    ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ld -r --whole-archive -o "$folder/domain.o" "$ORDERLOG_BUILD/lib/libdomain.a"
undefined=$(nm -u "$folder/domain.o" | awk '{print $2}' | grep -vE '^mem(cpy|set|cmp|move)$' || true)
if [ -n "$undefined" ]; then
    echo "the domain library is not pure; it needs:"
    nm -A -u "$ORDERLOG_BUILD/lib/libdomain.a" | grep -wF "$undefined"
    exit 1
fi
