#!/usr/bin/env bash
# A stack to measure, in a folder of its own below var/: as infra/local/up has it, but with the instant payment provider, so
# that no other program's work is measured. Run as:
#
#   tests/bench/stack.sh start DIR [OPTION...] [SETTING...]    the log, PostgreSQL, Redis, orderlog; SETTINGs: PostgreSQL's
#   tests/bench/stack.sh stores DIR [OPTION...] [SETTING...]   without orderlog
#   tests/bench/stack.sh stop DIR
#
# OPTIONs: --kafka, and with it --processes=N and --deciders=apart|together, as for infra/local/up.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/stack.sh"

[ $# -ge 2 ] || die "usage: $0 start|stores|stop DIR [OPTION...] [SETTING...]"
action=$1 where=$2 kind=embedded
shift 2
for word in "$@"; do
    case $word in
    --kafka) kind=kafka ;;
    --processes=*) processes=${word#*=} ;;
    --deciders=*) deciders=${word#*=} ;;
    --*) die "unknown option $word" ;;
    *) postgres_settings+=("$word") ;;
    esac
done
[ "$action" != stop ] || kind=''
provider=instant
stack_at "$where" "$kind"
case $action in
start | stores)
    trap 'stack_stop' EXIT
    need_binary
    free_port port
    stores_start "$port"
    [ "$action" = stores ] || orderlog_start
    trap - EXIT
    ;;
stop)
    choose_places
    stack_stop
    ;;
*) die "unknown action $action" ;;
esac
