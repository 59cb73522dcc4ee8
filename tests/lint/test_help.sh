#!/usr/bin/env bash
# Every subcommand explains itself: --help ends with 0 and says on stdout how to use it; what is unknown is refused.
set -euo pipefail
bin=${ORDERLOG_BIN:?} wrong=0
out=$(mktemp) err=$(mktemp)
trap 'rm -f "$out" "$err"' EXIT

complain() {
    echo "$*"
    wrong=1
}

check_help() {
    timeout 20 "$bin" "$@" --help >"$out" 2>"$err" || complain "orderlog $* --help: exit status $?"
    grep -qi usage "$out" || complain "orderlog $* --help: no usage on stdout"
    [ ! -s "$err" ] || complain "orderlog $* --help: writes on stderr: $(head -n 1 "$err")"
}

check_refused() {
    local status=0
    timeout 20 "$bin" "$@" >"$out" 2>"$err" || status=$?
    [ "$status" = 2 ] || complain "orderlog $*: exit status $status, not 2"
    [ -s "$err" ] || complain "orderlog $*: nothing on stderr"
    [ ! -s "$out" ] || complain "orderlog $*: writes on stdout"
}

check_help
mapfile -t commands < <("$bin" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }')
[ "${#commands[@]}" -ge 7 ] || complain "only ${#commands[@]} commands found in orderlog --help"
for command in "${commands[@]}"; do
    check_help "$command"
    check_refused "$command" --no-such-option
done
check_refused no-such-command
exit "$wrong"
