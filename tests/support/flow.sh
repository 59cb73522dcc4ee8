# shellcheck shell=bash
# For tests on a whole stack: one of its own, in a folder under var/, stopped and removed at the end. Sourced.
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/stack.sh"

export ORDERLOG_BIN=${ORDERLOG_BIN:-$root/build/orderlog}
feeder=''

fail() {
    say "FAIL: $*"
    exit 1
}

flow_start() {
    need_var
    stack_at "$(mktemp -d "$root/var/test-flow.XXXXXX")"
    chmod 0711 "$dir"
    trap flow_end EXIT
    trap 'exit 143' INT TERM HUP
    choose_places
    "$tools/up" --detach --dir "$dir" --port "$(free_port)"
    # shellcheck source=/dev/null
    . "$dir/env"
}

flow_end() {
    local status=$?
    trap '' INT TERM HUP
    [ -z "$feeder" ] || kill "$feeder" 2>/dev/null || true
    [ "$status" = 0 ] || tail -n 15 "$logs"/*.log
    "$tools/down" --dir "$dir"
    rm -rf "$dir"
}

# feed_start BASKETS CONCURRENCY: in the background; started again, it goes on where it was.
feed_start() {
    "$ORDERLOG_BIN" feed --baskets "$root/tests/data/baskets.csv" --products "$root/tests/data/products.csv" \
        --stock-percent 95 --fulfil --limit "$1" --concurrency "$2" --state "$dir/feed" --report "$dir/feed.json" \
        >>"$logs/feed.log" 2>&1 &
    feeder=$!
}

feed_runs() {
    kill -0 "$feeder" 2>/dev/null
}

# Until it ends by itself, having accounted for every basket.
feed_finish() {
    wait "$feeder" || fail "the feed ended with status $?"
    feeder=''
    python3 - "$dir/feed.json" "$1" <<'PY' || fail "the feed's report does not add up"
import json, sys
report = json.load(open(sys.argv[1]))
print(report)
sys.exit(report["baskets"] != int(sys.argv[2]) or sum(report["outcomes"].values()) != report["baskets"])
PY
}

# One number of the feed's report.
reported() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["outcomes"].get(sys.argv[2], 0))' "$dir/feed.json" "$1"
}

view() {
    psql -XAtq -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "$1"
}

# kill -9, then wait for the supervisor to bring up another.
kill_hard() {
    local name=$1 old new deadline=$((SECONDS + 20))
    old=$(service_pid "$name") || fail "no pid of $name"
    kill -KILL "$old"
    until new=$(service_pid "$name") && [ "$new" != "$old" ] && kill -0 "$new" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$name did not come back"
        sleep 0.05
    done
}

settle_and_verify() {
    service_await up 60 curl -fsS -o /dev/null "$ORDERLOG_API/readyz"
    "$ORDERLOG_BIN" verify --wait 60 --output json || fail "verify found something"
    [ "$(view "SELECT count(*) FROM view.orders WHERE status = 'completed'")" = "$(reported completed)" ] ||
        fail "the views know another number of completed orders than the feed: $(reported completed)"
}

# The feed, killed once itself; then the named service, killed again and again under it. Whatever was in the middle of
# what: every basket ends once, and nothing that must hold is broken.
crash_under_feed() {
    local name=$1 baskets=300 kills=0
    flow_start
    feed_start "$baskets" 4
    sleep 1
    feed_runs || fail "the feed was over before it could be killed"
    kill -KILL "$feeder"
    wait "$feeder" 2>/dev/null || true
    feed_start "$baskets" 4
    while [ "$kills" -lt 5 ]; do
        sleep "0.$((RANDOM % 5 + 3))"
        feed_runs || break
        kill_hard "$name"
        kills=$((kills + 1))
        service_await up 60 curl -fsS -o /dev/null "$ORDERLOG_API/readyz"
    done
    say "$name was killed $kills times"
    [ "$kills" -ge 2 ] || fail "the feed was over too soon for this test"
    feed_finish "$baskets"
    settle_and_verify
}
