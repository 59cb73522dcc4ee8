#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# Read models and deciders' tables are made anew while the feed runs, killed in the middle and begun again, and put in place
# under readers: nobody sees a row missing or older than before, and in the end all is what the log says.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

rebuild() {
    "$ORDERLOG_BIN" rebuild --output json "$@" >"$dir/rebuild.json" 2>"$dir/rebuild.err" ||
        fail "rebuild $*: exit status $?: $(cat "$dir/rebuild.err")"
}

# told EXPRESSION: of the models of the last report, `m`, it is true of all.
told() {
    python3 -c 'import json, sys
sys.exit(not all(eval(sys.argv[2]) for m in json.load(open(sys.argv[1]))["models"]))' "$dir/rebuild.json" "$1" ||
        fail "not so: $1 in $(cat "$dir/rebuild.json")"
}

redis() {
    redis-cli -s "$redis_socket" "$@"
}

postgres_is_filling() {
    [ "$(view "SELECT to_regclass('view_next.rebuild') IS NOT NULL")" = t ]
}

redis_is_filling() {
    [ "$(redis EXISTS orderlog:rebuild:dirty:view-orders)" = 1 ]
}

deciders_are_folded() {
    [ "$(view "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4242011 AND granted")" = 1 ]
}

# rebuild_begun MODEL CONDITION: in the background, stopped where the condition came true. False: it was over before.
rebuild_begun() {
    "$ORDERLOG_BIN" rebuild "$1" >"$dir/stopped.json" 2>&1 &
    rebuilder=$!
    until "$2"; do
        kill -0 "$rebuilder" 2>/dev/null || return 1
    done
    kill -STOP "$rebuilder" 2>/dev/null
}

# kill_in_the_middle MODEL CONDITION EXPRESSION: killed where it is, then again, to the end, and then EXPRESSION is so. One
# that was over too soon to be killed is tried a few times.
kill_in_the_middle() {
    local model=$1 condition=$2
    for _ in 1 2 3 4 5; do
        if rebuild_begun "$model" "$condition"; then
            status=0
            "$ORDERLOG_BIN" rebuild "$model" >/dev/null 2>"$dir/second.err" || status=$?
            if [ "$status" != 2 ] || ! grep -q 'another rebuild' "$dir/second.err"; then
                fail "a second rebuild of $model was not refused: $(cat "$dir/second.err")"
            fi
            kill -KILL "$rebuilder"
            wait "$rebuilder" 2>/dev/null || true
            rebuild "$model"
            told 'm["swapped"] and m["differences"] == 0'
            told "$3"
            return
        fi
        wait "$rebuilder" || fail "a rebuild of $model failed: $(cat "$dir/stopped.json")"
    done
    fail "rebuilds of $model are too quick to be killed"
}

flow_start
feed_start 260 4
await_orders 30
python3 -B "$root/tests/support/steady_reads.py" "$dir/stop-reading" >"$logs/reads.log" 2>&1 &
reader=$!

kill_in_the_middle postgres postgres_is_filling '"interrupted" in m["note"]'
kill_in_the_middle redis redis_is_filling '"interrupted" in m["note"]'
kill_in_the_middle deciders deciders_are_folded 'm["events"] > 0'
for model in views {redis,postgres}/{carts,orders,products,recommendations} deciders; do
    rebuild "$model"
    told 'm["swapped"] and m["compared"] and m["differences"] == 0 and m["rows"] > 0'
done
rebuild --diff views deciders
told 'm["compared"] and not m["swapped"] and m["differences"] == 0'

touch "$dir/stop-reading"
wait "$reader" || fail "readers saw what they must not: $(tail -n 5 "$logs/reads.log")"
cat "$logs/reads.log"
feed_finish 260
settle_and_verify
[ "$(view "SELECT count(*) FROM pg_namespace WHERE nspname IN ('view_next', 'view_old')")" = 0 ] || fail "a schema is left"
[ -z "$(redis --scan --pattern 'orderlog:rebuild:*')" ] || fail "keys of a rebuild are left"
[ -n "$(redis --scan --pattern '{p*}:g*:order:*')" ] || fail "the rows in Redis are of the first generation still"

# What is damaged is shown, and mended. The deciders rest: nobody else would notice before.
order=$(view "SELECT order_id FROM view.orders WHERE status = 'completed' ORDER BY 1 LIMIT 1")
other=$(view "SELECT order_id FROM view.orders WHERE status = 'completed' ORDER BY 1 DESC LIMIT 1")
stock=$(view "SELECT key FROM decider.stock ORDER BY 1 LIMIT 1")
view "UPDATE view.orders SET total_minor = total_minor + 1 WHERE order_id = '$order'; DELETE FROM view.order_goods WHERE order_id = '$other'"
key=$(redis --scan --pattern "{p*}:*order:$order")
redis COPY "$(redis --scan --pattern "{p*}:*order:$other")" "$key" REPLACE >/dev/null
view "UPDATE decider.stock SET version = version + 10, guard = guard + 7 WHERE key = '$stock'"
status=0
"$ORDERLOG_BIN" rebuild --diff --output json views inventory >"$dir/rebuild.json" || status=$?
[ "$status" = 1 ] || fail "--diff ended with status $status over damaged rows"
told 'm["differences"] > 0 and not m["swapped"]'
for name in "$order" "$other" "$stock" total_minor order_lines guard; do
    grep -qF "$name" "$dir/rebuild.json" || fail "--diff does not name $name: $(cat "$dir/rebuild.json")"
done
rebuild views inventory
told 'm["differences"] > 0 and m["swapped"]'
settle_and_verify
