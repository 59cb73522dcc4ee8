#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# The log is the truth: the views of Redis and of PostgreSQL, thrown away, are folded again to the same rows.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

view_tables() {
    view "SELECT format('view.%I', relname) FROM pg_class WHERE relnamespace = 'view'::regnamespace AND relkind = 'r' ORDER BY 1"
}

# dump FOLDER: every row of every view. How events fall into rows depends on how they came: order_events tells them apart.
dump() {
    local table
    mkdir "$1"
    for table in $(view_tables | sed 's/order_history/order_events/; s/order_goods/order_lines/; s/stock_records/stock_ledger/'); do
        view "COPY (SELECT t FROM $table t ORDER BY t::text COLLATE \"C\") TO STDOUT" >"$1/$table"
    done
    python3 -B "$root/tests/support/redis_rows.py" "$redis_socket" >"$1/redis"
}

flow_start
feed_start 200 8
feed_finish 200
settle_and_verify
service_stop up
dump "$dir/before"
[ "$(wc -l <"$dir/before/redis")" -gt 200 ] || fail "Redis holds next to nothing"
[ "$(wc -l <"$dir/before/view.orders")" -gt 100 ] || fail "PostgreSQL's views hold next to nothing"

redis-cli -s "$redis_socket" FLUSHALL >/dev/null
view "TRUNCATE $(view_tables | paste -sd,)"
up_start
deadline=$(($(uptime_s) + 60))
until rm -rf "$dir/after" && dump "$dir/after" && diff -r "$dir/before" "$dir/after" >"$dir/diff"; do
    [ "$(uptime_s)" -lt "$deadline" ] || {
        head -n 20 "$dir/diff"
        fail "the rebuilt views differ"
    }
    sleep 0.5
done
settle_and_verify
