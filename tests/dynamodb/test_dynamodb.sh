#!/usr/bin/env bash
# ctest: TIMEOUT=900 RUN_SERIAL=ON
# Cart views, recommendations and revoked sessions in DynamoDB, against Amazon's DynamoDB Local, with signed requests: the
# projector's suite and those of sessions; then a shop whose process is killed hard while it writes them.
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
dynamodb_table_sessions sessions-suite
for suite in sessions sessions_store; do
    ORDERLOG_TEST_SESSIONS_URL=dynamodb://sessions-suite TMPDIR=$logs "$ORDERLOG_BUILD/tests/test_${suite}_http"
done

dynamodb_table views
dynamodb_table_sessions sessions
export ORDERLOG_VIEWS_URL=dynamodb://views ORDERLOG_SESSIONS_URL=dynamodb://sessions
rm -rf "$logs" # the server goes on writing there, and nobody reads it
server=$dynamodb_pid
guests+=("$server")
flow_start
session() { curl -sf -X POST "$ORDERLOG_API/v1/sessions" | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])'; }
# session_call METHOD PATH TOKEN: the status.
session_call() { curl -s -m 60 -o /dev/null -w '%{http_code}' -X "$1" -H "Authorization: Bearer $3" "$ORDERLOG_API$2"; }
gone=$(session) kept=$(session)
[ "$(session_call DELETE /v1/sessions/current "$gone")" = 204 ] || fail "a session is not revoked"
feed_start 60 4
await_orders 12
kill_hard up
await_orders 25
kill_hard up
feed_finish 60
settle_and_verify
# What Redis has of them.
moved_rows() { redis-cli -s "$redis_socket" --scan --pattern '{p*}:*' | grep -cE '^\{p[0-9]+\}:(cart|recommendation):' || [ $? = 1 ]; }
rows=$(moved_rows)
[ "$rows" = 0 ] || fail "$rows carts or recommendations are in Redis as well"

# A shopper sees them.
sku=$(view "SELECT split_part(key, '/', 2) FROM view.recommendations ORDER BY length(\"row\") DESC, key LIMIT 1")
curl -sf "$ORDERLOG_API/v1/products/$sku/recommendations?limit=100" >"$dir/together.json" || fail "no recommendations for $sku"
python3 - "$dir/together.json" "$sku" <<'PY' || fail "recommendations for $sku: $(<"$dir/together.json")"
import json, sys
answer = json.load(open(sys.argv[1]))
orders = [item["orders"] for item in answer["items"]]
sys.exit(answer["sku"] != sys.argv[2] or not orders or orders != sorted(orders, reverse=True) or min(orders) < 1)
PY

# What was revoked is known to who started since, from DynamoDB, where it ends with its token, and not from PostgreSQL.
[ "$(session_call GET /v1/orders "$gone")$(session_call GET /v1/orders "$kept")" = 401200 ] || fail "a revoked session is good again"
[ "$(view "SELECT to_regclass('sessions.revoked') IS NULL")" = t ] || fail "sessions are in PostgreSQL as well"
dynamodb_call Scan '{"TableName": "sessions"}' >"$dir/sessions.json"
python3 - "$dir/sessions.json" "$gone" <<'PY' || fail "the sessions in DynamoDB: $(<"$dir/sessions.json")"
import base64, json, sys
(item,) = json.load(open(sys.argv[1]))["Items"]
payload = sys.argv[2].split(".")[1]
expires = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode().split(":")[1]
sys.exit(item["expires_at"] != {"N": expires} or set(item) != {"kind", "id", "revoked_us", "expires_at"} or len(item["id"]["S"]) != 32)
PY

# While DynamoDB is away, PostgreSQL's rows are shown, and no session can be revoked.
kill -STOP "$server"
stopped+=("$server")
curl -sf -m 60 "$ORDERLOG_API/v1/products/$sku/recommendations?limit=100" >"$dir/away.json" || fail "nothing is shown without DynamoDB"
cmp "$dir/together.json" "$dir/away.json" || fail "something else is shown without DynamoDB"
[ "$(session_call DELETE /v1/sessions/current "$kept")" = 503 ] || fail "a session is revoked without DynamoDB"
[ "$(session_call GET /v1/orders "$gone")$(session_call GET /v1/orders "$kept")" = 401200 ] || fail "without DynamoDB it is not as before"
kill -CONT "$server"

# Back to Redis, and the shop goes on: nobody is in DynamoDB's groups any more, and nobody waits for them.
service_stop up
unset ORDERLOG_VIEWS_URL
up_start
feed_start 64 4
feed_finish 64
settle_and_verify
rows=$(moved_rows)
[ "$rows" -gt 60 ] || fail "$rows carts and recommendations have come back to Redis"
"$ORDERLOG_BIN" lag --output json >"$dir/lag.json"
grep -q '"group":"dynamodb-view-carts","topic":"shop.cart.events.v1","partition":[0-9]*,"position":[0-9]*,"end":[0-9]*,"lag":[1-9]' "$dir/lag.json" ||
    fail "the group that was left is not behind: $(<"$dir/lag.json")"
curl -sSf -m 60 "$ORDERLOG_API/metrics" >"$dir/metrics" || fail "no metrics"
grep -q 'orderlog_lag.*redis-view-carts' "$dir/metrics" || fail "no lag is told of"
! grep 'orderlog_lag.*dynamodb-view-' "$dir/metrics" || fail "a group that was left is told of"
