#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Over Kafka: members of the deciders' groups come and go every second for a minute (KAFKA_REBALANCE_SECONDS), so that these
# share their shards anew all the time.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

seconds=${KAFKA_REBALANCE_SECONDS:-60} guests_at_once=2

guest_start() {
    env -u ORDERLOG_LISTEN "$ORDERLOG_BIN" consume all >>"$logs/guests.log" 2>&1 &
    guests+=($!)
}

# How often partitions were given to, or taken from, a member in the stack's own process.
rebalances() {
    curl -fsS -m 60 "http://$(<"$run/consume-all.listen")/metrics" | awk '$1 == "orderlog_kafka_rebalances_total" { print $2 }'
}

kafka_flow_start 400 --deciders together
await_more 10
say "members come and go for $seconds s"
before=$(rebalances)
end=$(($(uptime_s) + seconds))
while [ "$(uptime_s)" -lt "$end" ]; do
    feed_on
    guest_start
    [ "${#guests[@]}" -le "$guests_at_once" ] || kill "${guests[-1 - guests_at_once]}"
    sleep 1
done
kill "${guests[@]: -guests_at_once}"
for guest in "${guests[@]}"; do
    wait "$guest" || fail "a guest ended with status $?"
done
shared=$(($(rebalances) - before))
say "${#guests[@]} came and went, and partitions were given and taken $shared times"
[ "$shared" -ge 10 ] || fail "not each of the five groups has given and taken"
guests=()
feed_finish "$fed"
settle_and_verify
