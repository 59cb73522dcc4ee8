#!/usr/bin/env bash
# ctest: TIMEOUT=400 RUN_SERIAL=ON
# What analysts get: files of the log that fastavro, pandas and DuckDB read, and that say what PostgreSQL's views say; and a
# page of questions, docs/analysts.md, whose code prints what the page says.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"
. "$tools/s3.sh"

python=$root/var/venv/bin/python
"$python" -c 'import fastavro, pandas, duckdb, duckdb_extension_avro, boto3' || {
    say "fastavro, pandas, DuckDB or boto3 is missing (tests/run makes var/venv)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

# One shopper at a time, so that it ends in the same way each time.
feed_one_by_one() {
    first_baskets "$1" "$dir/baskets.csv"
    "$ORDERLOG_BIN" feed --baskets "$dir/baskets.csv" --products "$root/tests/data/products.csv" --stock-percent 60 \
        --fulfil --concurrency 1 --state "$dir/feed" --report "$dir/feed.json" >>"$logs/feed.log" 2>&1 &
    feeder=$!
    feed_finish "$1"
}

# Killed while it writes: there is no file, or all of it.
check_killed_export() {
    local exporter
    "$ORDERLOG_BIN" export -O killed.jsonl 2>/dev/null &
    exporter=$!
    until compgen -G '.killed.jsonl.*.part' >/dev/null || [ -e killed.jsonl ]; do
        kill -0 "$exporter" 2>/dev/null || break
    done
    kill -KILL "$exporter" 2>/dev/null || true
    wait "$exporter" 2>/dev/null || true
    [ ! -e killed.jsonl ] || cmp killed.jsonl all.jsonl || fail "a killed export left half a file"
}

# Stretches of time that meet are the whole.
check_ranges() {
    local middle
    middle=$(sed -n "$(($(wc -l <all.jsonl) / 2))p" all.jsonl |
        "$python" -c 'import json; print(json.loads(input())["timestamp"])')
    "$ORDERLOG_BIN" export -o "e@$middle" -O first.jsonl
    "$ORDERLOG_BIN" export -o "s@$middle" -O second.jsonl
    [ -s first.jsonl ] && [ -s second.jsonl ] || fail "a range is empty"
    cat first.jsonl second.jsonl | cmp - all.jsonl || fail "the ranges are not the whole"
}

"$tools/s3/get" >/dev/null || {
    say "the page asks an archive, which needs an S3 gateway"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}
flow_start
s3_start shop-archive
guests+=("$s3_pid")
feed_one_by_one 100
"$python" -B "$root/tests/support/analysts_shoppers.py"
settle_and_verify
# A generation that was swapped in has all that analysts had in the one before.
"$ORDERLOG_BIN" rebuild --output json postgres

socket=${DATABASE_URL#*host=}
PGHOST=$("$python" -c 'import sys, urllib.parse; print(urllib.parse.unquote(sys.argv[1]))' "${socket%%&*}")
export PGHOST PGDATABASE=orderlog PGUSER=orderlog_analyst
mkdir "$dir/files" "$dir/page"
cd "$dir/files"
"$ORDERLOG_BIN" export --format avro -O .
"$ORDERLOG_BIN" export -O .
"$python" -B "$root/tests/support/analysts_check.py" .
"$ORDERLOG_BIN" export -O all.jsonl
check_ranges
check_killed_export

cd "$dir/page"
PATH=$(dirname "$ORDERLOG_BIN"):$PATH "$python" -B "$root/tests/support/analysts_page.py" "$root/docs/analysts.md" "$@"
cd "$root"
