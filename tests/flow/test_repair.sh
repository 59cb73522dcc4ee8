#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# PostgreSQL, put back alone in the middle of a feed: the deciders halt, `orderlog repair` brings it up to the log, the feed
# goes on to its end, and nothing is placed, charged, told to a shopper or numbered twice. With
# ORDERLOG_TEST_TOLD_SINCE=backup the shop has a notifier only since the backup, which therefore knows of none.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

baskets=200 python=$root/var/venv/bin/python
"$python" -c 'import aiosmtpd' 2>/dev/null || {
    say "aiosmtpd is missing (tests/run makes var/venv)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

is_halted() {
    curl -sS -m 5 "$ORDERLOG_API/readyz?verbose" | grep -q 'PostgreSQL is of an earlier time than the log'
}

# Until every shopper has been told of all that became of the order.
are_told() {
    "$ORDERLOG_BIN" tail -e --output json -t shop.order.events.v1,shop.payment.events.v1,shop.notification.events.v1 >"$dir/events" &&
        "$python" -B "$root/tests/lambda/check_notices.py" settled "$dir/events" "$dir/mails"
}

switch_notifier_on() {
    export ORDERLOG_MAIL=smtp+plain://127.0.0.1:$mail_port ORDERLOG_MAIL_FROM=orders@shop.example ORDERLOG_SHOP_NAME="Corner Shop"
}

has_told() {
    "$ORDERLOG_BIN" tail -e --output json -t shop.notification.events.v1 >"$dir/told" && [ -s "$dir/told" ]
}

told_since=${ORDERLOG_TEST_TOLD_SINCE:-start} mail_port=''
free_port mail_port
[ "$told_since" != start ] || switch_notifier_on
flow_start
touch "$dir/mails"
"$python" -B "$root/tests/lambda/smtp_sink.py" "$dir/mails" "$mail_port" >"$logs/sink.log" 2>&1 &
guests+=($!)
first_baskets "$baskets" "$dir/baskets.csv"
baskets_file=$dir/baskets.csv
feed_start "$baskets" 8
await_orders 30
# As of a moment in which outbox rows are on their way into the log.
coproc SNAPSHOT { psql -XAtq -d "$DATABASE_URL"; }
echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot();" >&"${SNAPSHOT[1]}"
read -r snapshot <&"${SNAPSHOT[0]}"
feed_holds
pg_dump -Fc --snapshot="$snapshot" "$DATABASE_URL" >"$dir/backup"
echo '\q' >&"${SNAPSHOT[1]}"
[ "$told_since" != backup ] || {
    service_stop up
    switch_notifier_on
    up_start
}
feed_goes_on
await_orders 90
service_await up 240 has_told
feed_holds
status=0
"$ORDERLOG_BIN" repair >"$dir/refused" 2>&1 || status=$?
[ "$status" = 2 ] && grep -q 'stop every process' "$dir/refused" || fail "a shop at work was repaired: $(cat "$dir/refused")"

service_stop up
psql -Xq -d "$DATABASE_URL" -c 'DROP SCHEMA decider CASCADE' 2>/dev/null # and with it what the backup does not know of
pg_restore --clean --if-exists -d "$DATABASE_URL" "$dir/backup"
service_start up "$ORDERLOG_BIN" up
service_await up 60 is_halted
feed_goes_on # its writes are acknowledged, and wait
service_stop up

# A log without a topic for a notifier, as older versions made them: nobody is there to be repaired.
[ "$told_since" != backup ] || {
    python3 - "${ORDERLOG_LOG#sqlite://}" "$dir/untold.db" <<'PY'
import sqlite3, sys
source, copy = (sqlite3.connect(path) for path in sys.argv[1:])
source.backup(copy)
with copy:
    assert copy.execute("UPDATE topic SET name = 'other' WHERE name = 'shop.notification.events.v1'").rowcount == 1
PY
    status=0
    "$ORDERLOG_BIN" repair --dry-run --output json --log "sqlite://$dir/untold.db" >"$dir/untold.json" || status=$?
    [ "$status" = 1 ] && ! grep -q '"service":"notifier"' "$dir/untold.json" ||
        fail "without a notifier's topic repair --dry-run ended with status $status: $(cat "$dir/untold.json")"
}

status=0
"$ORDERLOG_BIN" repair --dry-run --output json >"$dir/dry.json" || status=$?
[ "$status" = 1 ] || fail "repair --dry-run ended with status $status"
"$ORDERLOG_BIN" repair --output json >"$dir/repair.json" || fail "repair ended with status $?"
cat "$dir/repair.json"
python3 - "$dir/dry.json" "$dir/repair.json" <<'PY' || fail "repair did not do what its dry run said"
import json, sys
dry, done = (json.load(open(path)) for path in sys.argv[1:])
same = dry["shards"] == done["shards"] and dry["records_ahead"] == done["records_ahead"] > 100
sys.exit(not (same and done["repaired"] and not dry["repaired"]))
PY
"$ORDERLOG_BIN" repair --output json >"$dir/again.json" || fail "a repair of what is repaired ended with status $?"
grep -q '"repaired":false,"records_ahead":0' "$dir/again.json" || fail "repaired twice: $(cat "$dir/again.json")"

up_start
feed_finish "$baskets"
settle_and_verify
"$ORDERLOG_BIN" rebuild --diff deciders >/dev/null || fail "the deciders' tables are not what the log comes to"
service_await up 240 are_told
"$python" -B "$root/tests/lambda/check_notices.py" check "$dir/events" "$dir/mails" || fail "shoppers were told something else"
