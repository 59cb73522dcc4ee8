#!/usr/bin/env bash
# ctest: TIMEOUT=900 RUN_SERIAL=ON
# Cart views and recommendations in DynamoDB, against Amazon's DynamoDB Local, with signed requests: the projector's suite;
# then a shop whose process is killed hard while it writes them.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"
. "$tools/dynamodb.sh"

"$tools/dynamodb/get" >/dev/null || {
    status=$?
    [ "$status" = 77 ] && [ -n "${CI:-}" ] && exit 1
    exit "$status"
}

need_var
logs=$(mktemp -d "$root/var/test-dynamodb.XXXXXX")
trap 'kill "$dynamodb_pid" 2>/dev/null || true; rm -rf "$logs"' EXIT
trap 'exit 143' INT TERM HUP
dynamodb_start
[ -n "${ORDERLOG_TEST_REDIS_URL:-}" ] || fail "ORDERLOG_TEST_REDIS_URL is not set: tests/run sets it"
"$ORDERLOG_BUILD/tests/dynamodb_store"

dynamodb_table views
export ORDERLOG_VIEWS_URL=dynamodb://views
rm -rf "$logs" # the server goes on writing there, and nobody reads it
server=$dynamodb_pid
guests+=("$server")
flow_start
feed_start 60 4
await_orders 12
kill_hard up
await_orders 25
kill_hard up
feed_finish 60
settle_and_verify
[ -z "$(redis --scan --pattern '{p*}:cart:*')$(redis --scan --pattern '{p*}:recommendation:*')" ] ||
    fail "carts or recommendations are in Redis as well"

# A shopper sees them.
sku=$(view "SELECT split_part(key, '/', 2) FROM view.recommendations ORDER BY length(\"row\") DESC, key LIMIT 1")
curl -sf "$ORDERLOG_API/v1/products/$sku/recommendations?limit=100" >"$dir/together.json" || fail "no recommendations for $sku"
python3 - "$dir/together.json" "$sku" <<'PY' || fail "recommendations for $sku: $(<"$dir/together.json")"
import json, sys
answer = json.load(open(sys.argv[1]))
orders = [item["orders"] for item in answer["items"]]
sys.exit(answer["sku"] != sys.argv[2] or not orders or orders != sorted(orders, reverse=True) or min(orders) < 1)
PY

# While DynamoDB is away, PostgreSQL's rows are shown.
kill -STOP "$server"
stopped+=("$server")
curl -sf -m 60 "$ORDERLOG_API/v1/products/$sku/recommendations?limit=100" >"$dir/away.json" || fail "nothing is shown without DynamoDB"
cmp "$dir/together.json" "$dir/away.json" || fail "something else is shown without DynamoDB"
kill -CONT "$server"
