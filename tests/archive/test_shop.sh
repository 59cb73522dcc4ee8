#!/usr/bin/env bash
# ctest: TIMEOUT=420 RUN_SERIAL=ON
# A shop that lost its log: archived, restored, and put in the old one's place, the log makes the same views, row for row,
# and deciders go on with it.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"
. "$tools/s3.sh"

need_s3
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
dump_views "$dir/before"
[ "$(wc -l <"$dir/before/redis")" -gt 200 ] || fail "Redis holds next to nothing"
kill -TERM "$archiver"
wait "$archiver" || fail "the archiver ended with status $?"
grep -q archive.written "$logs/archive.log" || fail "the archiver wrote nothing while the shop sold"
archive_whole s3://shop-archive/log

say "The log is lost"
mkdir "$dir/lost"
mv "$data"/log.db* "$dir/lost/"
"$ORDERLOG_BIN" restore --from s3://shop-archive/log
"$ORDERLOG_BIN" archive verify --from s3://shop-archive/log --log "sqlite://$dir/lost/log.db" --output json
"$ORDERLOG_BIN" archive verify --from s3://shop-archive/log --output json
forget_views
up_start
await_views "$dir/before"
feed_start 240 8
feed_finish 240
settle_and_verify
