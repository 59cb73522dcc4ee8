#!/usr/bin/env bash
# ctest: TIMEOUT=420 RUN_SERIAL=ON
# A shop that lost its log: archived, restored, and put in the old one's place, the log makes the same views, row for row,
# and deciders go on with it.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"
. "$tools/s3.sh"

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

"$tools/s3/get" >/dev/null || {
    status=$?
    [ "$status" = 77 ] && [ -n "${CI:-}" ] && exit 1
    exit "$status"
}
flow_start
s3_start shop-archive
guests+=("$s3_pid")
# It runs beside the shop, and ends when it is told to.
"$ORDERLOG_BIN" archive --to s3://shop-archive/log --records 200 2>"$logs/archive.log" &
archiver=$!
guests+=("$archiver")
feed_start 200 8
feed_finish 200
settle_and_verify
service_stop up
dump "$dir/before"
[ "$(wc -l <"$dir/before/redis")" -gt 200 ] || fail "Redis holds next to nothing"
kill -TERM "$archiver"
wait "$archiver" || fail "the archiver ended with status $?"
grep -q archive.written "$logs/archive.log" || fail "the archiver wrote nothing while the shop sold"
"$ORDERLOG_BIN" archive --to s3://shop-archive/log --once --flush
"$ORDERLOG_BIN" archive verify --from s3://shop-archive/log --output json >"$dir/verify.json" || fail "$(<"$dir/verify.json")"
records=$("$ORDERLOG_BIN" topics --output json | python3 -c '
import json, sys
print(sum(topic["records"] for topic in json.load(sys.stdin)["topics"] if topic["topic"] != "shop.personal.v1"))')
python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["records"] != int(sys.argv[2]))' \
    "$dir/verify.json" "$records" || fail "not all of $records records are archived: $(<"$dir/verify.json")"

say "The log is lost"
mkdir "$dir/lost"
mv "$data"/log.db* "$dir/lost/"
"$ORDERLOG_BIN" restore --from s3://shop-archive/log
"$ORDERLOG_BIN" archive verify --from s3://shop-archive/log --log "sqlite://$dir/lost/log.db" --output json
"$ORDERLOG_BIN" archive verify --from s3://shop-archive/log --output json
redis-cli -s "$redis_socket" FLUSHALL >/dev/null
view "TRUNCATE $(view_tables | paste -sd,)"
up_start
deadline=$(($(uptime_s) + 60))
until rm -rf "$dir/after" && dump "$dir/after" && diff -r "$dir/before" "$dir/after" >"$dir/diff"; do
    [ "$(uptime_s)" -lt "$deadline" ] || {
        head -n 20 "$dir/diff"
        fail "the views of the restored log differ"
    }
    sleep 0.5
done
feed_start 240 8
feed_finish 240
settle_and_verify
