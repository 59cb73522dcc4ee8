#!/usr/bin/env bash
# A stack to measure, in a folder of its own below var/: as infra/local/up has it, but with the instant payment provider, so
# that no other program's work is measured. Run as:
#
#   tests/bench/stack.sh start DIR [SETTING...]    PostgreSQL, Redis, orderlog; SETTINGs are PostgreSQL's
#   tests/bench/stack.sh stores DIR [SETTING...]   without orderlog
#   tests/bench/stack.sh stop DIR
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/stack.sh"

services=(postgres redis up)

start() {
    local port
    port=$(free_port)
    choose_places
    make_folders
    write_env "$port"
    sed -i "s|^export ORDERLOG_PROVIDER=.*|export ORDERLOG_PROVIDER='instant'|" "$dir/env"
    # shellcheck source=/dev/null
    . "$dir/env"
    postgres_start fsync=on synchronous_commit=on max_connections=60 "$@"
    database_create
    redis_start
}

[ $# -ge 2 ] || die "usage: $0 start|stores|stop DIR [SETTING...]"
action=$1
stack_at "$2"
shift 2
case $action in
start | stores)
    trap 'stack_stop' EXIT
    need_binary
    start "$@"
    [ "$action" = stores ] || up_start
    trap - EXIT
    ;;
stop)
    choose_places
    stack_stop
    ;;
*) die "unknown action $action" ;;
esac
