#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# A feed that was killed in the middle of the warehouse's work goes on with it: whatever state an order was left in, its
# basket ends once, and its fate is kept.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

operator() {
    curl -fsS -o /dev/null -X POST -H "Authorization: Bearer $ORDERLOG_OPERATOR_TOKEN" -H "Idempotency-Key: $1" \
        ${4:+-H 'Content-Type: application/json' -d "$4"} "$ORDERLOG_API/v1/fulfilments/$2/$3"
}

await_status() {
    local deadline=$((SECONDS + 30))
    until [ "$(view "SELECT status FROM view.orders WHERE order_id = '$1'")" = "$2" ]; do
        [ "$SECONDS" -lt "$deadline" ] || fail "order $1 does not become $2"
        sleep 0.05
    done
}

flow_start
"$ORDERLOG_BIN" feed --baskets "$root/tests/data/baskets.csv" --products "$root/tests/data/products.csv" \
    --stock-percent 95 --limit 12 --concurrency 16 --state "$dir/feed" --report "$dir/feed.json" 2>"$logs/feed.log"
[ "$(reported confirmed)" -ge 3 ] || fail "too few orders to test with"
mapfile -t orders < <(python3 - "$dir/feed/fates.jsonl" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    fate = json.loads(line)
    if fate["outcome"] == "confirmed":
        print(fate["basket"], fate["order_id"])
PY
)
# As a feed that was killed after one call, and after two, would leave them: with its own keys.
read -r basket order <<<"${orders[0]}"
operator "basket-$basket-pick" "$order" pick
await_status "$order" processing
read -r basket order <<<"${orders[1]}"
operator "basket-$basket-pick" "$order" pick
operator "basket-$basket-dispatch" "$order" dispatch "{\"carrier\":\"Demo Parcel\",\"tracking\":\"DP$basket\"}"
await_status "$order" shipped
: >"$dir/feed/fates.jsonl" # it had told nothing of them yet

feed_start 12 2
feed_finish 12
[ "$(reported completed)" = "${#orders[@]}" ] || fail "not all that were confirmed are completed: $(cat "$dir/feed.json")"
settle_and_verify

# And once more: all is known already.
before=$(sha256sum <"$dir/feed/fates.jsonl")
feed_start 12 2
feed_finish 12
[ "$(sha256sum <"$dir/feed/fates.jsonl")" = "$before" ] || fail "a basket was fed again"
