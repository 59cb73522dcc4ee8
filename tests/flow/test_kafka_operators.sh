#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# What operators see of many processes over Kafka: each in top by its name, how far each service is behind, and one that
# died: its service is shown without shards, others run theirs on, and it takes them again.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

need_promtool
kafka_flow_start 140

# top_shows: what top says satisfies the Python expression on stdin, in time.
top_shows() {
    local deadline=$(($(uptime_s) + 120)) test
    test=$(cat)
    until "$ORDERLOG_BIN" top --once --output json >"$dir/top.json" || [ $? = 1 ] &&
        python3 - "$dir/top.json" "$test" <<'PY'; do
import json, sys
frame = json.load(open(sys.argv[1]))
services = {s["name"]: s for s in frame["services"] + frame["views"]}
processes = {p["name"]: p for p in frame["processes"]}
sys.exit(not eval(f"({sys.argv[2]})"))
PY
        (($(uptime_s) < deadline)) || fail "top never showed $test: $(cat "$dir/top.json")"
    done
}

feed_start 120 4
await_orders 10
top_shows <<'PY'
set(processes) >= {"api", "consume-checkout", "consume-orders", "consume-payments", "project-redis", "project-postgres"}
and all(p["answers"] and p["memory_bytes"] > 1 << 20 for p in processes.values())
and set(services) >= {"checkout", "orders", "inventory", "payments", "fulfilment", "redis-view-orders"}
and all(s["running_shards"] == s["shards"] > 0 and s["lag_records"] is not None for s in services.values())
and frame["api"]["requests_per_s"] > 0 and services["orders"]["out_per_s"] > 0
PY

# Each process answers Prometheus.
for name in "${roles[@]}"; do
    curl -fsS -m 5 "http://$(<"$run/$name.listen")/metrics" >"$dir/metrics"
    "$promtool" check metrics <"$dir/metrics" >"$dir/promtool" 2>&1 || fail "$name: $(cat "$dir/promtool")"
    grep -q '^orderlog_kafka_rebalances_total ' "$dir/metrics" || fail "$name does not count rebalances"
done
feed_finish 120
settle_and_verify
"$ORDERLOG_BIN" lag --output json >"$dir/lag.json"
python3 - "$dir/lag.json" <<'PY' || fail "lag shows something else: $(cat "$dir/lag.json")"
import json, sys
lag = json.load(open(sys.argv[1]))
assert lag["total"] == 0 and all(row["behind_ms"] == 0 for row in lag["groups"])
assert {"orders", "payments", "redis-view-orders"} <= {row["group"] for row in lag["groups"]}
PY

# One is gone: what waits for it is told by the others.
kill_and_hold consume-payments
feed_start 140 4
top_shows <<'PY'
not processes["consume-payments"]["answers"] and processes["consume-orders"]["answers"]
and services["payments"]["running_shards"] is None and services["payments"]["lag_records"] > 0
and services["payments"]["lag_seconds"] >= 2 and services["orders"]["running_shards"] == services["orders"]["shards"]
PY
"$ORDERLOG_BIN" lag --output json >"$dir/lag.json"
python3 - "$dir/lag.json" <<'PY' || fail "lag does not show who is behind: $(cat "$dir/lag.json")"
import json, sys
behind = [row for row in json.load(open(sys.argv[1]))["groups"] if row["lag"] and row["group"] == "payments"]
assert behind and all(row["behind_ms"] > 0 for row in behind)
PY
service_back consume-payments
top_shows <<<'services["payments"]["running_shards"] == services["payments"]["shards"] > 0'
feed_finish 140
settle_and_verify
