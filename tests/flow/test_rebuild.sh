#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# The log is the truth: the views of Redis and of PostgreSQL, thrown away, are folded again to the same rows.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

flow_start
feed_start 200 8
feed_finish 200
settle_and_verify
service_stop up
dump_views "$dir/before"
[ "$(wc -l <"$dir/before/redis")" -gt 200 ] || fail "Redis holds next to nothing"
[ "$(wc -l <"$dir/before/view.orders")" -gt 100 ] || fail "PostgreSQL's views hold next to nothing"

forget_views
up_start
await_views "$dir/before"
