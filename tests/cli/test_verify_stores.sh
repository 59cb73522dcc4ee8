#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# orderlog verify on a whole stack: what is changed behind the log's back, in any store, is found and named.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

redis() {
    redis-cli -s "$redis_socket" "$@"
}

verify() {
    "$ORDERLOG_BIN" verify --output json "$@" 2>"$dir/stderr" >"$dir/report" || return $?
}

# expect_found CHECK WORDS: the check is violated, and its first violation says so.
expect_found() {
    local status=0
    verify || status=$?
    [ "$status" = 1 ] || fail "status $status, not 1: $(cat "$dir/report" "$dir/stderr")"
    python3 - "$dir/report" "$@" <<'PY' || fail "$1 did not find it"
import json, sys
report, name, words = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3]
check = next(check for check in report["checks"] if check["name"] == name)
print(check)
others = [other["name"] for other in report["checks"] if other["violations"] and other["name"] != name]
sys.exit(check["violations"] < 1 or words not in check["first"] or others != [])
PY
}

expect_clean() {
    verify || fail "status $?: $(cat "$dir/report" "$dir/stderr")"
}

# tampered CHECK WORDS SQL UNDO: changes PostgreSQL, which must be found; then changes it back.
tampered() {
    view "$3" >/dev/null
    expect_found "$1" "$2"
    view "$4" >/dev/null
}

flow_start
feed_start 40 8
feed_finish 40
settle_and_verify
service_stop up # nobody else writes from here on
expect_clean

order=$(view "SELECT order_id FROM view.orders WHERE status = 'completed' ORDER BY order_id LIMIT 1")
other=$(view "SELECT order_id FROM view.orders WHERE status = 'completed' AND order_id <> '$order' ORDER BY 1 LIMIT 1")
sku=$(view "SELECT sku FROM view.order_lines WHERE order_id = '$order' LIMIT 1")

# --- Redis: a row changed, missing, too many
key=$(redis --scan --pattern "{p*}:order:$order")
[ -n "$key" ] || fail "Redis has no $order"
redis RENAME "$key" kept >/dev/null
expect_found redis-equals-log "the order $order is missing"
redis COPY "$(redis --scan --pattern "{p*}:order:$other")" "$key" >/dev/null
expect_found redis-equals-log "the order $order is not what the log comes to"
redis SET "$key" nonsense >/dev/null
expect_found redis-equals-log "the order $order cannot be read"
redis RENAME kept "$key" >/dev/null
redis COPY "$key" "${key%:*}:00000000-0000-8000-8000-000000000000" >/dev/null
expect_found redis-equals-log "of which the log knows nothing"
redis DEL "${key%:*}:00000000-0000-8000-8000-000000000000" >/dev/null
expect_clean

# --- PostgreSQL: the rows' bytes, and the tables beside them
swap="UPDATE view.orders a SET \"row\" = b.\"row\" FROM view.orders b WHERE a.order_id = '$order' AND b.order_id = '$other'"
view "CREATE TABLE kept AS SELECT order_id, \"row\" FROM view.orders" >/dev/null
tampered postgres-equals-log "the order $order is not what the log comes to" "$swap" \
    "UPDATE view.orders o SET \"row\" = k.\"row\" FROM kept k WHERE o.order_id = k.order_id"
tampered postgres-equals-log "do not add up to its items: $order" \
    "UPDATE view.order_goods SET line_total_minor[1] = line_total_minor[1] + 1 WHERE order_id = '$order'" \
    "UPDATE view.order_goods SET line_total_minor[1] = line_total_minor[1] - 1 WHERE order_id = '$order'"
tampered postgres-equals-log "not charged its total, once: $order" \
    "UPDATE view.payments SET status = 'authorized' WHERE order_id = '$order'" \
    "UPDATE view.payments SET status = 'captured' WHERE order_id = '$order'"
tampered postgres-equals-log "what is available of a product" \
    "UPDATE view.products SET available = available + 1 WHERE sku = '$sku'" \
    "UPDATE view.products SET available = available - 1 WHERE sku = '$sku'"
tampered postgres-equals-log "an hour's sales" \
    "UPDATE view.sales_by_hour SET revenue_minor = revenue_minor + 1" \
    "UPDATE view.sales_by_hour SET revenue_minor = revenue_minor - 1"
tampered postgres-equals-log "a stock row's ledger has holes: main/$sku" \
    "UPDATE view.stock_records SET counters[1] = 100000 WHERE sku = ARRAY['$sku'] AND counters[1] = 1" \
    "UPDATE view.stock_records SET counters[1] = 1 WHERE sku = ARRAY['$sku'] AND counters[1] = 100000"
expect_clean

# --- the deciders' own tables
tampered deciders-equal-log "decider.orders: the row $order is not what the log comes to" \
    "UPDATE decider.orders a SET state = b.state FROM decider.orders b WHERE a.key = '$order' AND b.key = '$other'" \
    "SELECT 1"
view "CREATE TABLE gone AS SELECT * FROM decider.orders WHERE key = '$order'; DELETE FROM decider.orders WHERE key = '$order'" >/dev/null
expect_found deciders-equal-log "decider.orders: the row $order is missing"
view "UPDATE gone SET key = 'x'; INSERT INTO decider.orders SELECT * FROM gone" >/dev/null
expect_found deciders-equal-log "decider.orders: there is a row x"

# --- what cannot be compared is no violation, and no success either
redis DEL "$(redis --scan --pattern '{p0}:pos:view-orders')" >/dev/null
status=0
verify --only redis-equals-log || status=$?
[ "$status" = 2 ] || fail "a view that is behind: status $status"
grep -q "records behind" "$dir/stderr" || fail "it does not say that the view is behind: $(cat "$dir/stderr")"
verify --only redis-equals-log,sequences --redis '' || fail "skipping is no failure: $?"
python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["skipped"][0]["name"] != "redis-equals-log")' "$dir/report" ||
    fail "what was skipped is not named"
