# shellcheck shell=bash
# For tests on a whole stack: one of its own, in a folder under var/, stopped and removed at the end. Sourced.
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/stack.sh"

export ORDERLOG_BIN=${ORDERLOG_BIN:-$root/build/orderlog}
feeder='' shopper='' held=()
# Processes of the stack that a test made stand still; further processes that it started.
stopped=() guests=()
# Folders of the test's own that go with it.
litter=()
# Options of infra/local/up.
up_options=()
# What the feed sells.
baskets_file=$root/tests/data/baskets.csv

fail() {
    say "FAIL: $*"
    exit 1
}

flow_start() {
    local kind=embedded port
    need_var
    [[ " ${up_options[*]} " != *' --kafka '* ]] || kind=kafka
    stack_at "$(mktemp -d "$root/var/test-flow.XXXXXX")" "$kind"
    chmod 0711 "$dir"
    trap flow_end EXIT
    trap 'exit 143' INT TERM HUP
    choose_places
    free_port port
    "$tools/up" --detach --dir "$dir" --port "$port" "${up_options[@]}"
    # shellcheck source=/dev/null
    . "$dir/env"
    know_services
    [ "$kind" = embedded ] || kafka_know
}

# Fails a test that passed, too, when a process did not end well.
flow_end() {
    local status=$? name
    all_go_on
    for name in "${guests[@]}"; do
        kill "$name" 2>/dev/null || true
    done
    trap '' INT TERM HUP
    [ -z "$feeder" ] || kill "$feeder" 2>/dev/null || true
    [ -z "$shopper" ] || kill "$shopper" 2>/dev/null || true
    for name in "${held[@]}"; do
        service_back "$name"
    done
    "$tools/down" --dir "$dir"
    if grep -E 'Sanitizer: |runtime error: |(up|provider|api|consume-.*|project-.*), told to stop, ended' "$logs"/*.log; then
        status=1
    fi
    [ "$status" = 0 ] || tail -n 15 "$logs"/*.log
    rm -rf "$dir" "${litter[@]}"
    exit "$status"
}

# feed_start BASKETS CONCURRENCY: in the background; started again, it goes on where it was.
feed_start() {
    "$ORDERLOG_BIN" feed --baskets "$baskets_file" --products "$root/tests/data/products.csv" \
        --stock-percent 95 --fulfil --limit "$1" --concurrency "$2" --state "$dir/feed" --report "$dir/feed.json" \
        >>"$logs/feed.log" 2>&1 &
    feeder=$!
}

# The feed stands still; what it has under way goes on.
feed_holds() {
    kill -STOP "$feeder"
    stopped+=("$feeder")
}

feed_goes_on() {
    kill -CONT "$feeder"
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

# Sets $promtool, or ends the test: skipped, in CI failed.
need_promtool() {
    promtool=$(command -v promtool || echo "$root/var/promtool/promtool")
    [ -x "$promtool" ] || {
        say "promtool is missing (tests/run fetches it)"
        [ -n "${CI:-}" ] && exit 1 || exit 77
    }
}

# Ends the test where there can be no S3 gateway: skipped, in CI failed.
need_s3() {
    local status=0
    "$tools/s3/get" >/dev/null || status=$?
    [ "$status" = 0 ] || {
        [ "$status" = 77 ] && [ -n "${CI:-}" ] && exit 1
        exit "$status"
    }
}

view() {
    psql -XAtq -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "$1"
}

stack_await() {
    postgres_await
    redis_await
    if [ "$log" = kafka ]; then
        kafka_await
        roles_await
    else
        up_await
    fi
}

# kill -9, then wait for the supervisor to bring up another.
kill_hard() {
    local name=$1 old new deadline=$(($(uptime_s) + 20))
    old=$(service_pid "$name") || fail "no pid of $name"
    kill -KILL "$old"
    until new=$(service_pid "$name") && [ "$new" != "$old" ] && kill -0 "$new" 2>/dev/null; do
        [ "$(uptime_s)" -lt "$deadline" ] || fail "$name did not come back"
        sleep 0.05
    done
}

# kill -9, and no other is brought up until service_back: who would do so stands still.
kill_and_hold() {
    local pid
    pid=$(supervisor_pid "$1") && kill -STOP "$pid" || fail "no supervisor of $1"
    held+=("$1")
    pid=$(service_pid "$1") && kill -KILL "$pid" || fail "no pid of $1"
}

service_back() {
    local name others=()
    signal_to CONT "$(supervisor_pid "$1")"
    for name in "${held[@]}"; do
        [ "$name" = "$1" ] || others+=("$name")
    done
    held=("${others[@]}")
}

stand_still() {
    local pid
    pid=$(service_pid "$1") && kill -STOP "$pid" || fail "no pid of $1"
    stopped+=("$pid")
}

all_go_on() {
    local pid
    for pid in "${stopped[@]}"; do
        kill -CONT "$pid" 2>/dev/null || true
    done
    stopped=()
}

# A shopper who goes on meanwhile, and says in the end whether all was as it must be (tests/support/away.py).
away_start() {
    mkdir "$dir/away"
    python3 -B "$root/tests/support/away.py" "$1" "$dir/away" >"$logs/away.log" 2>&1 &
    shopper=$!
    until [ -e "$dir/away/ready" ]; do
        kill -0 "$shopper" 2>/dev/null || fail "the shopper could not begin"
        sleep 0.05
    done
}

away_finish() {
    touch "$dir/away/stop"
    local status=0
    wait "$shopper" || status=$?
    shopper=''
    cat "$logs/away.log"
    [ "$status" = 0 ] || fail "the shopper saw what must not be"
}

# first_baskets COUNT FILE: so many baskets; a feed of them stocks their products only.
first_baskets() {
    python3 -c '
import csv, sys
rows, seen = csv.reader(sys.stdin), {}
out = csv.writer(sys.stdout)
out.writerow(next(rows))
out.writerows(row for row in rows if seen.setdefault(row[2], len(seen)) < int(sys.argv[1]))' "$1" \
        <"$root/tests/data/baskets.csv" >"$2"
}

# Views that are folded again after a crash may take a while: until then verify ends with 2, as it cannot compare them.
settle_and_verify() {
    local status deadline=$(($(uptime_s) + 90))
    stack_await
    while status=0 && "$ORDERLOG_BIN" verify --wait 60 --provider "$ORDERLOG_PROVIDER" --output json >"$dir/verify.json" || status=$?; do
        [ "$status" = 2 ] && [ "$(uptime_s)" -lt "$deadline" ] || break
        sleep 0.5
    done
    cat "$dir/verify.json"
    [ "$status" = 0 ] || fail "verify ended with status $status"
    [ "$(view "SELECT count(*) FROM view.orders WHERE status = 'completed'")" = "$(reported completed)" ] ||
        fail "the views know another number of completed orders than the feed: $(reported completed)"
}

# While the feed runs: until the views know so many orders.
await_orders() {
    while feed_runs; do
        [ "$(view 'SELECT count(*) FROM view.orders')" -lt "$1" ] || return 0
        sleep 0.05
    done
    fail "the feed was over before it could be disturbed"
}

# The feed, killed once itself; then the named service, killed again and again under it. Whatever was in the middle of
# what: every basket ends once, and nothing that must hold is broken.
crash_under_feed() {
    local name=$1 baskets=300 orders
    flow_start
    feed_start "$baskets" 4
    await_orders 30
    kill -KILL "$feeder"
    wait "$feeder" 2>/dev/null || true
    feed_start "$baskets" 4
    for orders in 60 100 140 180 220; do
        await_orders "$orders"
        kill_hard "$name"
        stack_await
    done
    feed_finish "$baskets"
    settle_and_verify
}

# --- views, row by row ---------------------------------------------------------------------------------------------------

view_tables() {
    view "SELECT format('view.%I', relname) FROM pg_class WHERE relnamespace = 'view'::regnamespace AND relkind = 'r' ORDER BY 1"
}

# dump_views FOLDER: every row of every view. How events fall into rows depends on how they came: order_events tells them
# apart.
dump_views() {
    local table
    mkdir "$1"
    for table in $(view_tables | sed 's/order_history/order_events/; s/order_goods/order_lines/; s/stock_records/stock_ledger/'); do
        view "COPY (SELECT t FROM $table t ORDER BY t::text COLLATE \"C\") TO STDOUT" >"$1/$table"
    done
    python3 -B "$root/tests/support/redis_rows.py" "$redis_socket" >"$1/redis"
}

forget_views() {
    redis-cli -s "$redis_socket" FLUSHALL >/dev/null
    view "TRUNCATE $(view_tables | paste -sd,)"
}

# await_views FOLDER: until the views are as they were then.
await_views() {
    local deadline=$(($(uptime_s) + 120))
    until rm -rf "$dir/views-now" && dump_views "$dir/views-now" && diff -r "$1" "$dir/views-now" >"$dir/views-diff"; do
        [ "$(uptime_s)" -lt "$deadline" ] || {
            head -n 20 "$dir/views-diff"
            fail "the views differ from those in $1"
        }
        sleep 0.5
    done
}

# --- the archive ---------------------------------------------------------------------------------------------------------

# archive_whole PLACE [OPTION...]: what is missing is archived, up to the log's end, and nothing is missing after it.
archive_whole() {
    local place=$1 records
    shift
    "$ORDERLOG_BIN" archive --to "$place" --once --flush "$@" || fail "not all could be archived"
    "$ORDERLOG_BIN" archive verify --from "$place" --output json >"$dir/archived.json" || fail "$(<"$dir/archived.json")"
    records=$("$ORDERLOG_BIN" topics --output json | python3 -c '
import json, sys
print(sum(topic["records"] for topic in json.load(sys.stdin)["topics"] if topic["topic"] != "shop.personal.v1"))')
    python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["records"] != int(sys.argv[2]))' \
        "$dir/archived.json" "$records" || fail "not all of $records records are archived: $(<"$dir/archived.json")"
}
