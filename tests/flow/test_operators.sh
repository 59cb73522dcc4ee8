#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# What operators look at, on a stack that has worked: metrics that Prometheus accepts, probes that say what is wrong.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

need_promtool

scrape() {
    curl -fsS -m 5 "$ORDERLOG_API/metrics"
}

# value NAME-AND-LABELS: as in the last scrape; nothing when it is not told.
value() {
    awk -v name="$1" '$1 == name { print $2 }' "$dir/metrics"
}

# await_metric NAME-AND-LABELS TEST VALUE: until it is so.
await_metric() {
    local deadline=$(($(uptime_s) + 60))
    until scrape >"$dir/metrics" && awk -v v="$(value "$1")" -v w="$3" "BEGIN { exit !(v != \"\" && v + 0 $2 w + 0) }"; do
        [ "$(uptime_s)" -lt "$deadline" ] || fail "$1 is '$(value "$1")', not $2 $3"
        sleep 0.2
    done
}

# await_probe STATUS PATTERN: until /readyz?verbose has the status and a line like this.
await_probe() {
    local deadline=$(($(uptime_s) + 60)) status
    until status=$(curl -sS -m 5 -o "$dir/probe" -w '%{http_code}' "$ORDERLOG_API/readyz?verbose") &&
        [ "$status" = "$1" ] && grep -qE "$2" "$dir/probe"; do
        [ "$(uptime_s)" -lt "$deadline" ] || {
            cat "$dir/probe"
            fail "/readyz?verbose answers $status, without a line like $2"
        }
        sleep 0.2
    done
}

flow_start
feed_start 30 4
feed_finish 30
settle_and_verify

await_metric 'orderlog_gauges_updated_timestamp_seconds' '>' 0
"$promtool" check metrics <"$dir/metrics" || fail "promtool does not like the metrics"
for service in checkout orders inventory payments fulfilment; do
    [ "$(value "orderlog_decider_records_total{service=\"$service\"}")" -gt 0 ] || fail "$service has read nothing"
    [ "$(value "orderlog_decider_records_out_total{service=\"$service\"}")" -gt 0 ] || fail "$service has decided nothing"
    await_metric "orderlog_outbox_oldest_seconds{service=\"$service\"}" '==' 0
    [ "$(value "orderlog_shard_halted{service=\"$service\",shard=\"3\"}")" = 0 ] || fail "$service is halted"
done
for view in redis-view-orders postgres-view-orders; do
    [ "$(value "orderlog_stage_seconds_count{service=\"$view\"}")" -gt 30 ] || fail "$view has seen nothing"
    await_metric "orderlog_lag_records{service=\"$view\",topic=\"shop.order.events.v1\",partition=\"0\"}" '==' 0
done
await_metric 'orderlog_payment_intents{age="under_1m"}' '==' 0
[ "$(value orderlog_log_commit_seconds_count)" -gt 30 ] || fail "the log has hardly committed"
[ "$(grep -c '_bucket{method="POST",route="/v1/checkouts",class="2xx",le="+Inf"} ' "$dir/metrics")" = 1 ] ||
    fail "no latency of checkouts by class"

# All is well; then a store is away, which is a warning; then it is back.
await_probe 200 '^ready$'
! grep -v '^ok \|^ready$' "$dir/probe" || fail "not all is well"
for line in postgres redis 'decider orders/3' 'view redis-view-orders/3' 'view postgres-view-products/0' 'disk: [0-9]+ MiB'; do
    grep -qE "^ok +$line" "$dir/probe" || fail "/readyz?verbose does not speak of $line"
done
service_stop redis
await_probe 200 '^warning +redis: did not answer'
await_metric 'orderlog_store_up{store="redis"}' '==' 0
redis_start
await_probe 200 '^ok +redis$'
settle_and_verify # it came back empty, and nothing was sold since: it is filled again all the same

# What top makes of it, while something happens.
feed_start 60 4
await_orders 40
"$ORDERLOG_BIN" top --once --output json >"$dir/top.json" || fail "top ended with status $?"
feed_finish 60
python3 - "$dir/top.json" <<'PY' || fail "top shows something else"
import json, sys
frame = json.load(open(sys.argv[1]))
print(json.dumps(frame))
assert {s["name"] for s in frame["services"]} == {"checkout", "orders", "inventory", "payments", "fulfilment"}
assert all(v["lag_records"] is not None and v["halted_shards"] == 0 for v in frame["services"] + frame["views"])
assert {"redis-view-orders", "postgres-view-orders"} <= {v["name"] for v in frame["views"]}
assert frame["api"]["requests_per_s"] > 0 and frame["log"]["commits_per_s"] > 0
assert frame["stores"]["postgres_up"] == frame["stores"]["redis_up"] == 1
assert all(s["running_shards"] == s["shards"] > 0 for s in frame["services"] + frame["views"]), frame
assert frame["processes"][0]["memory_bytes"] > 1 << 20 and frame["processes"][0]["cpu_cores"] > 0
PY
"$ORDERLOG_BIN" top --url "$ORDERLOG_API" >"$dir/top" || fail "top ended with status $?"
grep -qE '^orders +[0-9.]+k? +[0-9.]+k? +[0-9]+ ' "$dir/top" || fail "top shows no orders: $(cat "$dir/top")"
service_stop up
! "$ORDERLOG_BIN" top >"$dir/top" || fail "top does not say that nobody answers"
grep -q 'away: ' "$dir/top" || fail "top does not show who is away"
up_start
